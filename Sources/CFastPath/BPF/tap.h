// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Taps: a copy of each relayed packet of a tapped flow goes into a ring that another process may read. Nobody is woken
// for it, and nothing waits for it: a full ring costs records, never packets.
//
// Not a BPF ring buffer: its lock and its submission make a CPU wait until all it wrote has been seen by the others, two
// thirds of what a tap cost.
#pragma once
#include "../include/TapRecord.h"
#include "relay_host.h"

#define TAP_COPY_BYTE_COUNT 32

struct tap_ring {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE | BPF_F_INNER_MAP);
	__uint(max_entries, 1); // only a model: each ring has its own size
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct relay_tap_block));
};

/// Empty until a tap is first wanted, so that a box without one spends no memory.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct tap_ring);
} tap_rings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct relay_tap_counters);
} tap_counters SEC(".maps");

/// Of the ring that is in `tap_rings`, set before it.
struct relay_tap_shape tap_shape SEC(".data.tap") = {};

/// Whether other CPUs see this one's stores in their order (x86). The loader sets it.
const volatile bool tap_stores_are_ordered SEC(".rodata.machine") = false;

/// The blocks of this CPU that the record takes are free. What the reader left is read only when what is known of it
/// does not suffice: its cache line is the reader's.
static __always_inline bool has_room(void *ring, struct relay_tap_counters *counters, __u32 count)
{
	const struct relay_tap_progress *progress;
	__u32 index = 1 + bpf_get_smp_processor_id();

	if (counters->written + count - counters->read <= tap_shape.block_count)
		return true;
	progress = bpf_map_lookup_elem(ring, &index);
	if (!progress)
		return false;
	counters->read = *(volatile const __u64 *)&progress->read;
	return counters->written + count - counters->read <= tap_shape.block_count;
}

static __always_inline struct relay_tap_block *block_at(void *ring, const struct relay_tap_counters *counters,
							__u32 number)
{
	__u32 index = counters->first + ((counters->written + number) & (tap_shape.block_count - 1));

	return bpf_map_lookup_elem(ring, &index);
}

/// False if the frame does not hold so many, as when they lie in pages.
static __always_inline bool copy_linear(__u8 *to, const __u8 *from, const void *end, __u32 byte_count)
{
	__u32 done = 0;

	for (; done + TAP_COPY_BYTE_COUNT <= RELAY_TAP_FIRST_BYTE_COUNT && done + TAP_COPY_BYTE_COUNT <= byte_count;
	     done += TAP_COPY_BYTE_COUNT) {
		if (!lies_before(from + done, TAP_COPY_BYTE_COUNT, end))
			return false;
		for (__u32 i = 0; i < TAP_COPY_BYTE_COUNT; i += 8)
			*(__u64 *)(to + done + i) = *(const __u64 *)(from + done + i);
	}
	for (; done + 8 <= RELAY_TAP_FIRST_BYTE_COUNT && done + 8 <= byte_count; done += 8) {
		if (!lies_before(from + done, 8, end))
			return false;
		*(__u64 *)(to + done) = *(const __u64 *)(from + done);
	}
	for (; done < RELAY_TAP_FIRST_BYTE_COUNT && done < byte_count; done++) {
		if (!lies_before(from + done, 1, end))
			return false;
		to[done] = from[done];
	}
	return true;
}

/// Room for `byte_count_max` bytes. The comparisons are apart and signed, else the compiler makes one of them that the
/// verifier of Linux 6.1 does not follow.
static __always_inline bool load_bytes(void *context, bool is_xdp, __u32 offset, void *to, __s64 byte_count,
				       const __s64 byte_count_max)
{
	barrier_var(byte_count);
	if (byte_count < 1)
		return false;
	barrier_var(byte_count);
	if (byte_count > byte_count_max)
		return false;
	return !(is_xdp ? bpf_xdp_load_bytes(context, offset, to, byte_count)
			: bpf_skb_load_bytes(context, offset, to, byte_count));
}

/// What a record holds beyond its first block.
static __always_inline bool copy_rest(void *context, bool is_xdp, void *ring, const struct relay_tap_counters *counters,
				      __u32 offset, __u32 byte_count)
{
	for (__u32 number = 1; number < RELAY_TAP_BLOCK_COUNT_MAX && byte_count; number++) {
		struct relay_tap_block *block = block_at(ring, counters, number);
		__u32 part = byte_count < RELAY_TAP_OTHER_BYTE_COUNT ? byte_count : RELAY_TAP_OTHER_BYTE_COUNT;

		if (!block || !load_bytes(context, is_xdp, offset, block->bytes, part, RELAY_TAP_OTHER_BYTE_COUNT))
			return false;
		block->sequence = 0;
		offset += part;
		byte_count -= part;
	}
	return true;
}

static __always_inline bool copy_packet(void *context, bool is_xdp, const struct plan *plan, __u32 offset,
					const void *network, const void *end, void *ring,
					struct relay_tap_counters *counters)
{
	__u32 byte_count = packet_byte_count(plan), captured = byte_count, first, count = 1;
	struct relay_tap_record *record;
	struct relay_tap_block *block;

	if (counters->generation != tap_shape.generation) {
		counters->generation = tap_shape.generation;
		counters->first = tap_shape.first + bpf_get_smp_processor_id() * tap_shape.block_count;
		counters->written = counters->read = 0;
	}
	if (captured > RELAY_TAP_PACKET_BYTE_COUNT_MAX)
		captured = RELAY_TAP_PACKET_BYTE_COUNT_MAX;
	first = captured;
	if (first > RELAY_TAP_FIRST_BYTE_COUNT) {
		first = RELAY_TAP_FIRST_BYTE_COUNT;
		count += (captured - first + RELAY_TAP_OTHER_BYTE_COUNT - 1) / RELAY_TAP_OTHER_BYTE_COUNT;
	}
	if (!has_room(ring, counters, count))
		return false;
	block = block_at(ring, counters, 0);
	if (!block)
		return false;
	record = (struct relay_tap_record *)block->bytes;
	record->timestamp = plan->now;
	record->tap = plan->flow->tap;
	record->direction = plan->flow->tap_direction;
	record->zero = 0;
	record->packet_byte_count = byte_count;
	if (!copy_linear(record->packet, network, end, first) &&
	    !load_bytes(context, is_xdp, offset, record->packet, first, RELAY_TAP_FIRST_BYTE_COUNT))
		return false;
	if (count > 1 && !copy_rest(context, is_xdp, ring, counters, offset + first, captured - first))
		return false;
	barrier();
	if (tap_stores_are_ordered)
		*(volatile __u64 *)&block->sequence = counters->written + 1;
	else
		__sync_lock_test_and_set(&block->sequence, counters->written + 1);
	counters->written += count;
	return true;
}

static __always_inline void tap_packet(void *context, bool is_xdp, const struct plan *plan, __u32 offset,
				       const void *network, const void *end)
{
	__u32 zero = 0;
	struct relay_tap_counters *counters = bpf_map_lookup_elem(&tap_counters, &zero);
	void *ring = bpf_map_lookup_elem(&tap_rings, &zero);

	if (!counters)
		return;
	if (ring && copy_packet(context, is_xdp, plan, offset, network, end, ring, counters))
		counters->copied++;
	else
		counters->lost++;
}

/// Before the packet is rewritten; `network` is its IP header, `offset` bytes into the frame. Functions of their own for
/// their stack and so that the verifier's paths through them do not multiply with the relay's.
static __attribute__((noinline)) int tap_frame(struct xdp_md *context, const struct plan *plan, __u32 offset,
					       const void *network, const void *end)
{
	tap_packet(context, true, plan, offset, network, end);
	return 0;
}

static __attribute__((noinline)) int tap_buffer(struct __sk_buff *context, const struct plan *plan,
						const void *network, const void *end)
{
	tap_packet(context, false, plan, sizeof(struct ethhdr), network, end);
	return 0;
}
