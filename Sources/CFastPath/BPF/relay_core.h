// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The relay, but for how a hook hands packets over: decide first, touch nothing until all is decided, then rewrite
// (rewrite.h, translate.h).
//
// Compiled twice: as BPF (relay.bpf.c) and as ordinary code of the daemon (../RingRelay.c). What differs is the host:
// where flows, counters and tables lie, what time it is, where a route leads. Each engine defines the host functions
// declared below; nothing else in this file may know which one it is compiled for.
#pragma once
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/types.h>
#include <linux/udp.h>
#include <stdbool.h>
#include <stddef.h>

#include <bpf/bpf_endian.h>

#include "../include/FlowTable.h"
#include "quality.h"

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

/// Two values as they stand one after the other in memory, in one.
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define JOINED(first, second, bit_count) ((__u64)(second) << (bit_count) | (first))
#else
#define JOINED(first, second, bit_count) ((__u64)(first) << (bit_count) | (second))
#endif

#define RTP_BYTE_COUNT_MIN 12
#define RTCP_BYTE_COUNT_MIN 8
/// What must lie in the linear part of a buffer behind the Ethernet header: IPv6, UDP, RTP.
#define HEADERS_BYTE_COUNT (sizeof(struct ipv6hdr) + sizeof(struct udphdr) + RTP_BYTE_COUNT_MIN)

/// What decide() found out, for those who rewrite.
struct plan {
	struct relay_flow *flow;
	struct relay_flow_counters *counters;
	__u64 now;
	__u16 udp_byte_count;
	__u16 payload_word; // the first two payload bytes, as they will be
	__u16 class_difference; // what the traffic class changes in a sum over the IP header
	bool is_v6;
	bool leaves_as_v6;
};

// The host: `context` is the engine's own, handed through.

/// NULL when the table has no such flow. The key is aligned to eight bytes.
static __always_inline struct relay_flow *host_flow(void *context, const struct relay_flow_key *key);
/// NULL when there are none, and then the packet is not ours.
static __always_inline struct relay_flow_counters *host_counters(void *context, const struct relay_flow *flow);
/// The one record of the flow that all CPUs or workers share; NULL: nothing is gathered.
static __always_inline struct relay_quality *host_quality(void *context, const struct relay_flow *flow);
/// The row of one interface; NULL when there is none.
static __always_inline struct relay_totals *host_totals(void *context, __u32 slot);
static __always_inline struct relay_interface_table *host_interfaces(void *context);
static __always_inline const struct relay_guarded_table *host_guarded(void *context);
/// Nanoseconds of CLOCK_MONOTONIC, exact: jitter is made of them.
static __always_inline __u64 host_now(void *context);
/// Where the rewritten packet of `byte_count` bytes from `network` on would go if our own socket had sent it.
/// RELAY_RELAYED, with `interface_index` and the flow's `next_hop` filled (its packet_byte_count_max and addresses), or
/// one of RELAY_PASSED_….
static __always_inline enum relay_outcome host_next_hop(void *context, void *network, __u32 byte_count,
							const struct plan *plan, __u32 *interface_index);
/// True if the stack would find no socket for this datagram, in the namespace it arrived in, and say so by ICMP.
static __always_inline bool host_is_unbound(void *context, const struct relay_flow_key *key, const __u8 *source,
					    __be16 source_port, bool is_v6);

static __always_inline struct relay_interface *interface_at(void *context, __u32 index, __u32 *slot)
{
	struct relay_interface_table *interfaces = host_interfaces(context);

	for (__u32 i = 0; i < RELAY_INTERFACE_COUNT_MAX && i < interfaces->count; i++) {
		if (interfaces->entries[i].index == index) {
			*slot = i;
			return &interfaces->entries[i];
		}
	}
	return NULL;
}

static __always_inline void count_outcome(void *context, enum relay_outcome outcome, __u32 ingress_index)
{
	__u32 slot = 0;

	if (outcome >= RELAY_OUTCOME_COUNT || !interface_at(context, ingress_index, &slot))
		return;
	struct relay_totals *row = host_totals(context, slot);
	if (row)
		row->outcomes[outcome]++;
}

static __always_inline __u16 fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static __always_inline bool is_translated(const struct plan *plan)
{
	return plan->is_v6 != plan->leaves_as_v6;
}

/// As it came, from the IP header on.
static __always_inline __u32 packet_byte_count(const struct plan *plan)
{
	return plan->udp_byte_count + (plan->is_v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
}

/// The first two bytes of the IP header the packet leaves with: version and traffic class, in network order.
static __always_inline __u16 leaving_class(const void *network, const struct plan *plan)
{
	__u16 word = *(const __u16 *)network;

	// The class lies four bits apart in the two families; of an IPv6 header's flow label nothing is kept.
	if (is_translated(plan))
		word = plan->is_v6 ? bpf_htons(0x4500 | (bpf_ntohs(word) >> 4 & 0xff))
				   : bpf_htons(0x6000 | (bpf_ntohs(word) & 0xff) << 4);
	return (word & plan->flow->class_keep) | plan->flow->class_set;
}

static __always_inline bool same_address(const __u8 *left, const __u8 *right)
{
	const __u32 *a = (const __u32 *)left, *b = (const __u32 *)right;

	return a[0] == b[0] && a[1] == b[1] && a[2] == b[2] && a[3] == b[3];
}

/// The UDP payload against what the flow carries; leaves the first payload word, mapped, in the plan.
static __always_inline bool is_media(const __u8 *payload, void *end, struct plan *plan)
{
	struct relay_flow *flow = plan->flow;
	__u32 byte_count = plan->udp_byte_count - sizeof(struct udphdr);

	if (payload + RTCP_BYTE_COUNT_MIN > (const __u8 *)end || byte_count < RTCP_BYTE_COUNT_MIN || payload[0] >> 6 != 2)
		return false;
	plan->payload_word = *(const __u16 *)payload;
	if (flow->kind == RELAY_FLOW_RTCP)
		return payload[1] >= 192 && payload[1] <= 223;
	if (byte_count < RTP_BYTE_COUNT_MIN || payload + RTP_BYTE_COUNT_MIN > (const __u8 *)end)
		return false;
	if (flow->payload_type_count) {
		__u8 type = payload[1] & 0x7f;
		for (int i = 0; i < RELAY_PAYLOAD_TYPE_COUNT_MAX; i++) {
			if (i < flow->payload_type_count && flow->payload_type_from[i] == type) {
				__u8 mapped = (payload[1] & 0x80) | flow->payload_type_to[i];
				plan->payload_word = bpf_htons((__u16)payload[0] << 8 | mapped);
				break;
			}
		}
	}
	return true;
}

/// The report of a peer, against those that passed towards it. A function of its own: seldom, and the stack is short.
static __attribute__((noinline)) int read_reports(void *context, const struct relay_flow *flow, const __u8 *payload,
						  const void *end, __u64 now)
{
	const struct udphdr *udp = (const struct udphdr *)payload - 1;
	struct relay_quality *quality = host_quality(context, flow);

	if (!quality || payload + RTCP_BYTE_COUNT_MIN > (const __u8 *)end)
		return 0;
	// The flow in the other direction arrives where this one leaves.
	struct relay_flow_key key __attribute__((aligned(8))) = {.port = flow->source_port};
	__builtin_memcpy(key.address, flow->source_address, 16);
	struct relay_flow *opposite = host_flow(context, &key);
	struct relay_quality *other = opposite ? host_quality(context, opposite) : NULL;
	quality_read_rtcp(&quality->reports, other ? &other->reports : NULL, payload,
			  bpf_ntohs(udp->len) - sizeof(*udp), end, now);
	return 0;
}

/// Media of the right source, whether it is relayed or, for want of a neighbour perhaps, passed up. `payload` lies
/// behind the UDP header.
static __always_inline void read_quality(void *context, const struct relay_flow *flow, const __u8 *payload,
					 const void *end, __u64 now)
{
	if (payload[1] >= 192 && payload[1] <= 223) {
		read_reports(context, flow, payload, end, now);
	} else if (payload + RTP_BYTE_COUNT_MIN <= (const __u8 *)end) {
		struct relay_quality *quality = host_quality(context, flow);
		if (quality)
			quality_read_rtp(&quality->stream, flow, payload, now);
	}
}

/// Asks the host where the packet goes and remembers the answer.
static __always_inline enum relay_outcome find_next_hop(void *context, void *network, __u32 byte_count,
							struct plan *plan)
{
	struct relay_next_hop *next_hop = &plan->counters->next_hop;
	struct relay_interface *egress;
	__u32 interface_index, slot;

	next_hop->generation = 0;
	enum relay_outcome outcome = host_next_hop(context, network, byte_count, plan, &interface_index);
	if (outcome != RELAY_RELAYED)
		return outcome;
	egress = interface_at(context, interface_index, &slot);
	if (!egress || !egress->transmit_index)
		return RELAY_PASSED_FOREIGN_INTERFACE;
	next_hop->expiry = plan->now + RELAY_NEXT_HOP_NANOSECONDS;
	next_hop->generation = plan->flow->generation;
	next_hop->transmit_index = egress->transmit_index;
	next_hop->vlan = egress->vlan;
	return RELAY_RELAYED;
}

static __always_inline bool is_guarded(void *context, const struct relay_flow_key *key)
{
	const struct relay_guarded_table *guarded = host_guarded(context);
	__u16 port = bpf_ntohs(key->port);

	for (__u32 i = 0; i < RELAY_GUARDED_RANGE_COUNT_MAX && i < guarded->count; i++) {
		const struct relay_guarded_range *range = &guarded->entries[i];
		if (port >= range->port_min && port <= range->port_max && same_address(key->address, range->address))
			return true;
	}
	return false;
}

/// A datagram without a flow ends here, without an answer. Apart from the relay's path, with a stack of its own: all that
/// is called in turn has 512 bytes together.
static __attribute__((noinline)) bool is_closed(void *context, const struct relay_flow_key *key, const __u8 *source,
						__be16 source_port, bool is_v6)
{
	return is_guarded(context, key) && host_is_unbound(context, key, source, source_port, is_v6);
}

/// Looks the packet up and decides; changes nothing but counters.
/// `byte_count` is what the packet holds from the IP header on, Ethernet padding included.
static __always_inline enum relay_outcome decide(void *context, void *network, void *end, __u32 byte_count,
						 __be16 protocol, bool is_aggregate, struct plan *plan)
{
	// Written in the words in which the map's hash reads it or larger ones: a CPU that must put a load together from
	// two younger stores waits for both.
	union {
		__u64 words[3];
		struct relay_flow_key key;
	} built;
	union {
		__u64 words[2];
		__u8 address[16];
	} source;
	struct iphdr *v4 = network;
	struct ipv6hdr *v6 = network;
	struct udphdr *udp;
	__u32 packet_byte_count;
	__u8 hops;

	if (protocol == bpf_htons(ETH_P_IP)) {
		udp = (void *)(v4 + 1);
		if ((void *)(udp + 1) > end)
			return RELAY_NOT_OURS;
		// Options and fragments are for the stack.
		if (*(__u8 *)v4 != 0x45 || v4->protocol != IPPROTO_UDP || v4->frag_off & bpf_htons(0x3fff))
			return RELAY_NOT_OURS;
		built.words[0] = 0;
		built.words[1] = JOINED(bpf_htonl(0xffff), v4->daddr, 32);
		source.words[0] = 0;
		source.words[1] = JOINED(bpf_htonl(0xffff), v4->saddr, 32);
		plan->is_v6 = false;
	} else if (protocol == bpf_htons(ETH_P_IPV6)) {
		udp = (void *)(v6 + 1);
		if ((void *)(udp + 1) > end)
			return RELAY_NOT_OURS;
		// Extension headers, the fragment header among them, are for the stack.
		if (*(__u8 *)v6 >> 4 != 6 || v6->nexthdr != IPPROTO_UDP)
			return RELAY_NOT_OURS;
		built.words[0] = JOINED(v6->daddr.s6_addr32[0], v6->daddr.s6_addr32[1], 32);
		built.words[1] = JOINED(v6->daddr.s6_addr32[2], v6->daddr.s6_addr32[3], 32);
		source.words[0] = JOINED(v6->saddr.s6_addr32[0], v6->saddr.s6_addr32[1], 32);
		source.words[1] = JOINED(v6->saddr.s6_addr32[2], v6->saddr.s6_addr32[3], 32);
		plan->is_v6 = true;
	} else {
		return RELAY_NOT_OURS;
	}
	built.words[2] = JOINED(JOINED(udp->dest, 0, 16), 0, 32);

	plan->flow = host_flow(context, &built.key);
	// What concerns packets without a flow (closed ports, signalling) is decided in here, off the relay's path.
	if (!plan->flow)
		return is_closed(context, &built.key, source.address, udp->source, plan->is_v6) ? RELAY_DROPPED_CLOSED_PORT
											 : RELAY_NOT_OURS;
	// The clock waits for all that is still being read; what follows need not wait for the clock.
	plan->now = host_now(context);
	plan->counters = host_counters(context, plan->flow);
	if (!plan->counters)
		return RELAY_NOT_OURS;

	const __u64 *accepted = (const __u64 *)plan->flow->accepted_address;
	if (udp->source != plan->flow->accepted_port || source.words[0] != accepted[0] ||
	    source.words[1] != accepted[1]) {
		plan->counters->wrong_source++;
		return plan->flow->wrong_source == RELAY_WRONG_SOURCE_DROP ? RELAY_DROPPED_WRONG_SOURCE
									   : RELAY_PASSED_WRONG_SOURCE;
	}

	plan->udp_byte_count = bpf_ntohs(udp->len);
	if (plan->is_v6) {
		packet_byte_count = sizeof(*v6) + bpf_ntohs(v6->payload_len);
		hops = v6->hop_limit;
		if (plan->udp_byte_count + sizeof(*v6) != packet_byte_count || !udp->check)
			return RELAY_PASSED_UNUSUAL;
	} else {
		packet_byte_count = bpf_ntohs(v4->tot_len);
		hops = v4->ttl;
		if (plan->udp_byte_count + sizeof(*v4) != packet_byte_count)
			return RELAY_PASSED_UNUSUAL;
	}
	if (plan->udp_byte_count < sizeof(*udp) || packet_byte_count > byte_count || is_aggregate)
		return RELAY_PASSED_UNUSUAL;

	if (!is_media((__u8 *)(udp + 1), end, plan)) {
		plan->counters->malformed++;
		return RELAY_DROPPED_MALFORMED;
	}
	read_quality(context, plan->flow, (__u8 *)(udp + 1), end, plan->now);
	// The packet is addressed to us, so it may arrive with its last hop; user space sends it on afresh.
	if (hops <= 1)
		return RELAY_PASSED_TTL;

	plan->leaves_as_v6 = plan->is_v6;
	if (plan->flow->translation) {
		plan->leaves_as_v6 = !plan->is_v6;
		packet_byte_count += plan->leaves_as_v6 ? sizeof(*v6) - sizeof(*v4) : -(sizeof(*v6) - sizeof(*v4));
	}

	struct relay_next_hop *next_hop = &plan->counters->next_hop;
	if (next_hop->generation == plan->flow->generation && plan->now < next_hop->expiry &&
	    packet_byte_count <= next_hop->packet_byte_count_max)
		return RELAY_RELAYED;
	return find_next_hop(context, network, packet_byte_count, plan);
}

/// Called once for each relayed packet, by every hook, when nothing can fail any more: what is to be known of relayed
/// packets is gathered here, into the flow's counters of this CPU or worker.
static __always_inline void count_relayed(struct plan *plan)
{
	plan->counters->packets++;
	plan->counters->bytes += plan->udp_byte_count - sizeof(struct udphdr);
	plan->counters->last_arrival = plan->now;
}
