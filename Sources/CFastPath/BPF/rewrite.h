// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What a relayed packet leaves with: addresses, ports, traffic class, payload type, and checksums that follow by what
// changed (RFC 1624).
#pragma once
#include "relay_core.h"

/// RFC 1624 §3, equation 3; `difference` is at most a few folded words.
static __always_inline __u16 updated(__u16 checksum, __u32 difference)
{
	return ~fold((__u16)~checksum + difference);
}

/// The sum of the pseudo-header (RFC 768) the packet came with.
static __always_inline __u16 pseudo_header_sum(const struct udphdr *udp, const struct relay_flow *flow)
{
	return fold((__u32)flow->pseudo_header_sum + udp->len);
}

/// True if the UDP checksum is what the stack leaves for a device to finish: the pseudo-header's sum, not inverted.
/// A finished checksum looks like it once in 65535 packets; then whoever asks recomputes it, which is right too.
static __always_inline bool looks_unfinished(const struct udphdr *udp, const struct relay_flow *flow)
{
	return udp->check == pseudo_header_sum(udp, flow);
}

/// Sets the traffic class (RFC 2474 §3) and keeps what that changes in the header's sum: not constant, as ECN stays.
static __always_inline void set_class(__u16 *first, struct plan *plan)
{
	__u16 word = (*first & plan->flow->class_keep) | plan->flow->class_set;

	plan->class_difference = fold((__u16)~*first + (__u32)word);
	*first = word;
}

/// Rewrites the IP header, but for one of the other family.
static __always_inline bool rewrite_header(void *network, void *end, struct plan *plan)
{
	const struct relay_flow *flow = plan->flow;

	if (plan->is_v6) {
		struct ipv6hdr *v6 = network;
		if ((void *)(v6 + 1) > end)
			return false;
		set_class(network, plan);
		__builtin_memcpy(&v6->saddr, flow->source_address, 16);
		__builtin_memcpy(&v6->daddr, flow->destination_address, 16);
		v6->hop_limit--;
	} else {
		struct iphdr *v4 = network;
		if ((void *)(v4 + 1) > end)
			return false;
		set_class(network, plan);
		v4->saddr = *(__u32 *)&flow->source_address[12];
		v4->daddr = *(__u32 *)&flow->destination_address[12];
		v4->ttl--;
		v4->check = updated(v4->check, (__u32)flow->header_difference + plan->class_difference);
	}
	return true;
}

/// Rewrites the ports and the payload type, not the UDP checksum. Returns the difference this makes;
/// `*udp_out` is NULL if the datagram does not lie there, only to please the verifier.
static __always_inline __u32 rewrite_datagram(void *network, void *end, const struct plan *plan,
					      struct udphdr **udp_out)
{
	struct udphdr *udp = network + (plan->leaves_as_v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
	__u16 *payload = (void *)(udp + 1);
	__u32 difference = plan->flow->port_difference;

	*udp_out = NULL;
	if ((void *)(payload + 1) > end)
		return 0;
	udp->source = plan->flow->source_port;
	udp->dest = plan->flow->destination_port;
	if (*payload != plan->payload_word) {
		difference += (__u16)~*payload + (__u32)plan->payload_word;
		*payload = plan->payload_word;
	}
	*udp_out = udp;
	return difference;
}

static __always_inline void update_checksum(struct udphdr *udp, __u32 difference)
{
	__u16 checksum = updated(udp->check, difference);

	udp->check = checksum ? checksum : 0xffff;
}

/// The checksum of a frame, which bears no note whether it is finished. `sum` is that of the whole datagram before
/// rewriting where it looked unfinished, else -1; `difference` is what rewrite_datagram() returned.
static __always_inline void finish_frame_checksum(struct udphdr *udp, __u32 difference, int sum,
						  const struct relay_flow *flow)
{
	if (sum >= 0) {
		// `sum` has the old pseudo-header in it, where the checksum stood: add what changed and it is what the
		// sender's device would have made of the rewritten datagram.
		__u16 checksum = ~fold(sum + difference + flow->address_difference);
		udp->check = checksum ? checksum : 0xffff;
	} else if (udp->check) {
		update_checksum(udp, difference + flow->address_difference);
	}
}
