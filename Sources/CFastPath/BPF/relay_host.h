// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The kernel as the relay core's host: maps and helpers.
#pragma once
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "../include/FlowSlots.h"
#include "relay_core.h"

#define ADDRESS_FAMILY_INET 2
#define ADDRESS_FAMILY_INET6 10
#define LOOPBACK_INDEX 1

/// In this form, since the verifier does not follow what the compiler else makes of `at + n > end` in a loop.
static __always_inline bool lies_before(const __u8 *at, __u32 byte_count, const void *end)
{
	const __u8 *next = at + byte_count;

	barrier_var(next);
	return (const void *)next <= end;
}

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096); // the loader sets it
	__type(key, struct relay_flow_key);
	__type(value, __u32); // slot
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, RELAY_HEAD_COUNT);
	__type(key, __u32);
	__type(value, struct relay_head);
} flow_heads SEC(".maps");

// To be mapped, though nobody maps these: then they begin at a page, hence each element at a cache line.

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 8193); // the loader sets it
	__type(key, __u32);
	__type(value, struct relay_slot);
} flow_slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 4096); // the loader sets it
	__type(key, __u32);
	__type(value, struct relay_quality);
} flow_quality SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 4096); // the loader sets it
	__type(key, __u32);
	__type(value, struct relay_flow_counters);
} flow_counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, RELAY_INTERFACE_COUNT_MAX);
	__type(key, __u32);
	__type(value, struct relay_totals);
} totals SEC(".maps");

struct relay_interface_table interfaces SEC(".data.interfaces") = {};
struct relay_guarded_table guarded SEC(".data.guarded") = {};

static __always_inline struct relay_flow *host_flow(void *context, const struct relay_flow_key *key)
{
	__u32 index = relay_head_index(key), slot;
	const __u64 *left = (const __u64 *)key, *right;
	const struct relay_head *head;
	struct relay_slot *entry;
	const __u32 *found;

	(void)context;
	head = bpf_map_lookup_elem(&flow_heads, &index);
	if (!head)
		return NULL;
	slot = *(volatile const __u32 *)&head->slot;
	if (slot) {
		entry = bpf_map_lookup_elem(&flow_slots, &slot);
		if (!entry)
			return NULL;
		right = (const __u64 *)&entry->key;
		if (left[0] == right[0] && left[1] == right[1] && *(const __u32 *)&left[2] == *(const __u32 *)&right[2])
			return &entry->flow;
	}
	found = bpf_map_lookup_elem(&flows, key);
	if (!found)
		return NULL;
	slot = *found;
	entry = bpf_map_lookup_elem(&flow_slots, &slot);
	return entry ? &entry->flow : NULL;
}

static __always_inline struct relay_flow_counters *host_counters(void *context, const struct relay_flow *flow)
{
	(void)context;
	return bpf_map_lookup_elem(&flow_counters, &flow->counter_index);
}

static __always_inline struct relay_quality *host_quality(void *context, const struct relay_flow *flow)
{
	(void)context;
	return bpf_map_lookup_elem(&flow_quality, &flow->counter_index);
}

static __always_inline struct relay_totals *host_totals(void *context, __u32 slot)
{
	(void)context;
	return bpf_map_lookup_elem(&totals, &slot);
}

static __always_inline struct relay_interface_table *host_interfaces(void *context)
{
	(void)context;
	return &interfaces;
}

static __always_inline const struct relay_guarded_table *host_guarded(void *context)
{
	(void)context;
	return &guarded;
}

static __always_inline __u64 host_now(void *context)
{
	(void)context;
	return bpf_ktime_get_ns();
}

/// Asked as if `lo` had received the packet: the answer our own socket would get.
static __attribute__((noinline)) enum relay_outcome host_next_hop(void *context, void *network, __u32 byte_count,
							const struct plan *plan, __u32 *interface_index)
{
	struct relay_next_hop *next_hop = &plan->counters->next_hop;
	const struct relay_flow *flow = plan->flow;
	struct bpf_fib_lookup lookup = {};

	lookup.l4_protocol = IPPROTO_UDP;
	lookup.sport = flow->source_port;
	lookup.dport = flow->destination_port;
	lookup.ifindex = LOOPBACK_INDEX;
	lookup.tot_len = byte_count;
	if (plan->leaves_as_v6) {
		lookup.family = ADDRESS_FAMILY_INET6;
		lookup.flowinfo = bpf_htonl((__u32)(bpf_ntohs(leaving_class(network, plan)) & 0x0fff) << 16);
		__builtin_memcpy(lookup.ipv6_src, flow->source_address, 16);
		__builtin_memcpy(lookup.ipv6_dst, flow->destination_address, 16);
	} else {
		lookup.family = ADDRESS_FAMILY_INET;
		lookup.tos = bpf_ntohs(leaving_class(network, plan)) & 0xff;
		lookup.ipv4_src = *(__u32 *)&flow->source_address[12];
		lookup.ipv4_dst = *(__u32 *)&flow->destination_address[12];
	}
	switch (bpf_fib_lookup(context, &lookup, sizeof(lookup), 0)) {
	case BPF_FIB_LKUP_RET_SUCCESS:
		break;
	case BPF_FIB_LKUP_RET_NO_NEIGH:
		return RELAY_PASSED_NO_NEIGHBOUR;
	case BPF_FIB_LKUP_RET_FRAG_NEEDED:
		return RELAY_PASSED_TOO_LARGE;
	default:
		return RELAY_PASSED_NO_ROUTE;
	}
	*interface_index = lookup.ifindex;
	next_hop->packet_byte_count_max = lookup.mtu_result;
	__builtin_memcpy(next_hop->addresses, lookup.dmac, ETH_ALEN);
	__builtin_memcpy(next_hop->addresses + ETH_ALEN, lookup.smac, ETH_ALEN);
	return RELAY_RELAYED;
}

static __always_inline bool host_is_unbound(void *context, const struct relay_flow_key *key, const __u8 *source,
					    __be16 source_port, bool is_v6)
{
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *socket;

	if (is_v6) {
		__builtin_memcpy(tuple.ipv6.saddr, source, 16);
		__builtin_memcpy(tuple.ipv6.daddr, key->address, 16);
		tuple.ipv6.sport = source_port;
		tuple.ipv6.dport = key->port;
	} else {
		tuple.ipv4.saddr = *(const __u32 *)&source[12];
		tuple.ipv4.daddr = *(const __u32 *)&key->address[12];
		tuple.ipv4.sport = source_port;
		tuple.ipv4.dport = key->port;
	}
	socket = bpf_sk_lookup_udp(context, &tuple, is_v6 ? sizeof(tuple.ipv6) : sizeof(tuple.ipv4),
				   BPF_F_CURRENT_NETNS, 0);
	if (!socket)
		return true;
	bpf_sk_release(socket);
	return false;
}
