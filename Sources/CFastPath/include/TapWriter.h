// The ring of a tap where no program writes it: the same layout as TapRecord.h describes, with one share, in memory of
// ours (a sealed memfd). Several threads may write; nothing of what the reader may write is trusted.
#pragma once
#include <pthread.h>
#include <stdint.h>

#include "TapRecord.h"

struct relay_tap_writer {
	pthread_mutex_t lock;
	struct relay_tap_block *heads; // the first of all blocks; NULL: there is no ring
	struct relay_tap_block *blocks;
	uint64_t byte_count; // mapped
	uint32_t block_count;
	uint64_t written;
	struct relay_tap_counters counters;
};

/// Makes a ring of about so many bytes, at most 2^30; returns the reader's descriptor, which belongs to the caller, or a
/// negative errno.
int relay_tap_writer_open(uint32_t byte_count, uint32_t generation, struct relay_tap_writer *writer);
void relay_tap_writer_close(struct relay_tap_writer *writer);
/// One packet from its IP header on; what finds no room is counted as lost.
void relay_tap_write(struct relay_tap_writer *writer, uint32_t tap, uint8_t direction, uint64_t timestamp,
		     const uint8_t *packet, uint32_t byte_count);
