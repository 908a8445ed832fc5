// The ring of a tap from both ends: made by whoever relays, read by whoever was handed its descriptor. Functions that
// return int return a negative errno on failure.
#pragma once
#include <stdint.h>

#include "TapRecord.h"

/// Makes a ring of about so many bytes, divided among the CPUs; returns its descriptor. `shape` is what the program
/// must be told of it, with a generation of the caller's.
int relay_tap_ring_create(uint32_t byte_count, uint32_t generation, struct relay_tap_shape *shape);
/// What the records of a ring may take in all.
uint64_t relay_tap_ring_byte_count(const struct relay_tap_shape *shape);

/// One reader's view of a ring. There may be one reader at a time.
struct relay_tap_reader {
	struct relay_tap_shape shape;
	/// Block 1 is the first CPU's.
	struct relay_tap_block *heads;
	const struct relay_tap_block *blocks;
	uint64_t *positions; // blocks read of each CPU
	uint32_t taken; // blocks that the last record occupies, and whose they are
	uint32_t taken_cpu;
	uint32_t head_byte_count; // mapped
	uint64_t byte_count; // mapped
	/// A record that takes several blocks is put together here.
	struct relay_tap_block *whole;
};

/// Maps the ring; needs no privilege but the descriptor, which may be closed afterwards.
int relay_tap_reader_open(int descriptor, struct relay_tap_reader *reader);
/// The oldest record there is and how many bytes of its packet it holds; NULL when there is none yet. It stays valid until
/// the next call, which makes its room free again.
const struct relay_tap_record *relay_tap_reader_next(struct relay_tap_reader *reader, uint32_t *captured);
void relay_tap_reader_close(struct relay_tap_reader *reader);
