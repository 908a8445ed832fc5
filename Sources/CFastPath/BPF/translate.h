// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Packets that leave in the other family than they came in: a new IP header in front of the same datagram. Not a
// translator of networks (RFC 7915): both headers are ours, and the datagram is rewritten like any other.
#pragma once
#include "rewrite.h"

#define DONT_FRAGMENT 0x4000

/// An IP header of either family.
union ip_header {
	struct iphdr v4;
	struct ipv6hdr v6;
	__u16 halves[sizeof(struct ipv6hdr) / 2];
	__u32 words[sizeof(struct ipv6hdr) / 4];
};

/// What the translated header is longer by.
static __always_inline int header_growth(const struct plan *plan)
{
	const int growth = sizeof(struct ipv6hdr) - sizeof(struct iphdr);

	return plan->leaves_as_v6 ? growth : -growth;
}

/// The header the packet leaves with, given the one it came with, of which `network` holds all.
static __always_inline void make_header(union ip_header *header, const void *network, const struct plan *plan)
{
	const struct relay_flow *flow = plan->flow;
	__u32 sum = 0;

	__builtin_memset(header, 0, sizeof(*header));
	header->halves[0] = leaving_class(network, plan);
	if (plan->leaves_as_v6) {
		header->v6.payload_len = bpf_htons(plan->udp_byte_count);
		header->v6.nexthdr = IPPROTO_UDP;
		header->v6.hop_limit = ((const struct iphdr *)network)->ttl - 1;
		__builtin_memcpy(&header->v6.saddr, flow->source_address, 16);
		__builtin_memcpy(&header->v6.daddr, flow->destination_address, 16);
		return;
	}
	header->v4.tot_len = bpf_htons(plan->udp_byte_count + sizeof(struct iphdr));
	// Atomic, hence without an identification (RFC 6864 §4.1).
	header->v4.frag_off = bpf_htons(DONT_FRAGMENT);
	header->v4.ttl = ((const struct ipv6hdr *)network)->hop_limit - 1;
	header->v4.protocol = IPPROTO_UDP;
	header->v4.saddr = *(__u32 *)&flow->source_address[12];
	header->v4.daddr = *(__u32 *)&flow->destination_address[12];
	for (__u32 i = 0; i < sizeof(struct iphdr) / 2; i++)
		sum += header->halves[i];
	header->v4.check = ~fold(sum);
}

/// Writes it where the old one, or the room for it, is; false only to please the verifier.
static __always_inline bool place_header(void *network, void *end, const union ip_header *header,
					 const struct plan *plan)
{
	__u32 *to = network;

	if (plan->leaves_as_v6) {
		if (network + sizeof(header->v6) > end)
			return false;
		for (__u32 i = 0; i < sizeof(header->v6) / 4; i++)
			to[i] = header->words[i];
	} else {
		if (network + sizeof(header->v4) > end)
			return false;
		for (__u32 i = 0; i < sizeof(header->v4) / 4; i++)
			to[i] = header->words[i];
	}
	return true;
}
