// Where the flows of the BPF program lie, shared by it and by user space.
//
// A flow lies in a slot. `flow_heads` holds the slot of the one flow that may be found by its port and address alone,
// without a hash table: two loads instead of a hash and a chain. Should two flows fall on one head, which takes many
// ports on several addresses, the second one's slot is in the hash table `flows`.
#pragma once
#include "FlowTable.h"

#define RELAY_HEAD_BITS 14
#define RELAY_HEAD_COUNT (1 << RELAY_HEAD_BITS)

/// Two cache lines of 64 bytes.
struct relay_slot {
	struct relay_flow_key key;
	__u32 zero;
	struct relay_flow flow;
	__u64 zeros;
} __attribute__((aligned(64)));
_Static_assert(sizeof(struct relay_slot) == 128, "shared with the BPF program");

/// 0: none; slot 0 is nobody's. In an array map each element takes eight bytes.
struct relay_head {
	__u32 slot;
	__u32 zero;
};

/// Neighbouring ports of an address have heads of their own; addresses begin at different heads.
static inline __attribute__((always_inline)) __u32 relay_head_index(const struct relay_flow_key *key)
{
	const __u8 *port = (const __u8 *)&key->port, *last = key->address + 12;
	__u32 address = (__u32)last[3] << 24 | last[2] << 16 | last[1] << 8 | last[0];

	return ((port[0] << 8 | port[1]) + (address * 2654435761u >> (32 - RELAY_HEAD_BITS))) & (RELAY_HEAD_COUNT - 1);
}
