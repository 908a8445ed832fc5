// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Taps: a copy of each relayed packet of a tapped flow goes into a ring that another process may read. Nobody is woken
// for it, and nothing waits for it: a full ring costs records, never packets.
#pragma once
#include "../include/TapRecord.h"
#include "relay_host.h"

struct tap_ring {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096); // only a model: each ring has its own size
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

/// `room` is a constant: the verifier wants to know what is reserved.
static __always_inline bool copy_packet(void *context, bool is_xdp, const struct relay_flow *flow, __u32 offset,
					__u32 byte_count, void *ring, const __u32 room)
{
	struct relay_tap_record *record = bpf_ringbuf_reserve(ring, room, 0);
	__u32 captured = byte_count;
	long error;

	if (!record)
		return false;
	if (captured > room - sizeof(*record))
		captured = room - sizeof(*record);
	barrier_var(captured);
	if (captured < sizeof(struct iphdr) || captured > room - sizeof(*record)) {
		bpf_ringbuf_discard(record, BPF_RB_NO_WAKEUP);
		return false;
	}
	record->timestamp = bpf_ktime_get_ns();
	record->tap = flow->tap;
	record->direction = flow->tap_direction;
	record->zero = 0;
	record->packet_byte_count = byte_count;
	error = is_xdp ? bpf_xdp_load_bytes(context, offset, record->packet, captured)
		       : bpf_skb_load_bytes(context, offset, record->packet, captured);
	if (error) {
		bpf_ringbuf_discard(record, BPF_RB_NO_WAKEUP);
		return false;
	}
	bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	return true;
}

static __always_inline void tap_packet(void *context, bool is_xdp, const struct relay_flow *flow, __u32 offset,
				       __u32 byte_count)
{
	const __u32 header = sizeof(struct relay_tap_record);
	__u32 zero = 0;
	void *ring = bpf_map_lookup_elem(&tap_rings, &zero);
	struct relay_tap_counters *counters = bpf_map_lookup_elem(&tap_counters, &zero);
	bool copied = false;

	if (!counters)
		return;
	if (ring) {
		if (byte_count <= RELAY_TAP_ROOM_SMALL - header)
			copied = copy_packet(context, is_xdp, flow, offset, byte_count, ring, RELAY_TAP_ROOM_SMALL);
		else if (byte_count <= RELAY_TAP_ROOM_MEDIUM - header)
			copied = copy_packet(context, is_xdp, flow, offset, byte_count, ring, RELAY_TAP_ROOM_MEDIUM);
		else
			copied = copy_packet(context, is_xdp, flow, offset, byte_count, ring, RELAY_TAP_ROOM_LARGE);
	}
	if (copied)
		counters->copied++;
	else
		counters->lost++;
}

/// Before the packet is rewritten; `offset` is that of the IP header. Functions of their own for their stack and
/// so that the verifier's paths through them do not multiply with the relay's.
static __attribute__((noinline)) int tap_frame(struct xdp_md *context, const struct relay_flow *flow, __u32 offset,
					       __u32 byte_count)
{
	tap_packet(context, true, flow, offset, byte_count);
	return 0;
}

static __attribute__((noinline)) int tap_buffer(struct __sk_buff *context, const struct relay_flow *flow, __u32 offset,
						__u32 byte_count)
{
	tap_packet(context, false, flow, offset, byte_count);
	return 0;
}
