// What a tap delivers, and how it lies in the ring, shared by the BPF program and by whoever reads the ring.
//
// The ring is an array map of blocks, which its reader maps: block 0 is the ring's shape; one block follows for each CPU,
// in which the reader says how far it has come; the rest, from a page on, are each CPU's own blocks in turn. A packet
// takes one block or several in a row. Nobody waits for anybody: a CPU writes its blocks only, and a full ring costs
// records.
#pragma once
#include <linux/types.h>

/// One relayed packet as it arrived.
struct relay_tap_record {
	__u64 timestamp; // nanoseconds of CLOCK_MONOTONIC
	__u32 tap;
	__u8 direction;
	__u8 zero;
	/// From the IP header on; more than the record holds where the packet was too large for it.
	__u16 packet_byte_count;
	__u8 packet[];
};
_Static_assert(sizeof(struct relay_tap_record) == 16, "shared with the BPF program");

#define RELAY_TAP_BLOCK_BYTE_COUNT 256

/// Four cache lines: a G.711 packet of 20 ms fits into one block, with IPv6 as well.
struct relay_tap_block {
	/// Written last: of the first block of a record its number among the blocks of this CPU, from 1 on; of others 0.
	__u64 sequence;
	__u8 bytes[RELAY_TAP_BLOCK_BYTE_COUNT - 8];
};
_Static_assert(sizeof(struct relay_tap_block) == RELAY_TAP_BLOCK_BYTE_COUNT, "shared with the BPF program");

#define RELAY_TAP_BLOCK_COUNT_MAX 8 // of one record
/// Of the packet: in the record's first block, in each of the others, and in all.
#define RELAY_TAP_FIRST_BYTE_COUNT (RELAY_TAP_BLOCK_BYTE_COUNT - 8 - 16)
#define RELAY_TAP_OTHER_BYTE_COUNT (RELAY_TAP_BLOCK_BYTE_COUNT - 8)
#define RELAY_TAP_PACKET_BYTE_COUNT_MAX 1968
_Static_assert(RELAY_TAP_PACKET_BYTE_COUNT_MAX ==
		       RELAY_TAP_FIRST_BYTE_COUNT + (RELAY_TAP_BLOCK_COUNT_MAX - 1) * RELAY_TAP_OTHER_BYTE_COUNT,
	       "what the blocks hold");

/// Block 0 of the ring, and a global variable of the program.
struct relay_tap_shape {
	__u32 generation; // not 0, and another one for each ring: where a CPU stood in the old one is void
	__u32 cpu_count;
	__u32 first; // block of the first CPU
	__u32 block_count; // of each CPU, a power of two
};

/// What a CPU's reader writes into block 1 + CPU.
struct relay_tap_progress {
	__u64 read; // so many blocks of this CPU may be written again
};

/// One per CPU.
struct relay_tap_counters {
	__u64 copied;
	__u64 lost; // the ring was full, or the packet could not be read
	// The program's own: where it stands in the ring.
	__u64 written; // blocks
	__u64 read; // as last seen
	__u32 generation;
	__u32 first;
};
_Static_assert(sizeof(struct relay_tap_counters) == 40, "shared with the BPF program");
