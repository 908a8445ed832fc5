// The ring of a tap from both ends: made by whoever relays, read by whoever was handed its descriptor. Functions that
// return int return a negative errno on failure.
#pragma once
#include <stdint.h>

#include "TapRecord.h"

/// Makes a ring (BPF_MAP_TYPE_RINGBUF) of so many bytes, a power of two and whole pages; returns its descriptor.
int relay_tap_ring_create(uint32_t byte_count);

/// One reader's view of a ring. There may be one reader at a time.
struct relay_tap_reader {
	volatile uint64_t *consumer;
	const volatile uint64_t *producer;
	const uint8_t *data;
	uint32_t byte_count;
	uint32_t page_byte_count;
	uint64_t position;
};

/// Maps the ring; needs no privilege but the descriptor, which may be closed afterwards.
int relay_tap_reader_open(int descriptor, uint32_t byte_count, struct relay_tap_reader *reader);
/// The next record and how many bytes it takes, header included; NULL when there is none yet. It stays valid until
/// the next call, which makes its room free again.
const struct relay_tap_record *relay_tap_reader_next(struct relay_tap_reader *reader, uint32_t *byte_count);
void relay_tap_reader_close(struct relay_tap_reader *reader);
