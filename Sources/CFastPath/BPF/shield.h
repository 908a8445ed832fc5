// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The shield: what becomes of a packet that belongs to no media flow. Blocked sources end here; signalling is
// looked at roughly and counted against buckets, so that a flood never reaches the stack; closed ports are silent.
#pragma once
#include <linux/in6.h>
#include <linux/tcp.h>

#include "../include/ShieldTable.h"
#include "relay_host.h"

#define SHIELD_SOURCE_COUNT_MAX 16384
#define SHIELD_PREFIX_COUNT_MAX 16384
/// "ACK a SIP/2.0" and a line end: no message is shorter.
#define SHIELD_SIP_BYTE_COUNT_MIN 15
#define SHIELD_KEEPALIVE_BYTE_COUNT_MAX 8
#define SHIELD_STUN_BYTE_COUNT_MIN 20
#define SHIELD_STUN_COOKIE 0x2112a442
#define SHIELD_FRAGMENT_HEADER_BYTE_COUNT 8
#define SHIELD_TCP_FLAGS_OFFSET 13
#define SHIELD_TCP_SYN 0x02
#define SHIELD_TCP_ACK 0x10
#define SHIELD_TAKE_ATTEMPTS 4
#define SHIELD_AGGREGATE (1 << 16)
/// So much of a request's first line is searched; TC must have it in the linear part.
#define SHIELD_LINE_BYTE_COUNT 32
#define SHIELD_REACH_BYTE_COUNT (sizeof(struct ipv6hdr) + sizeof(struct udphdr) + SHIELD_LINE_BYTE_COUNT)

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, SHIELD_PREFIX_COUNT_MAX);
	__type(key, struct shield_prefix_key);
	__type(value, struct shield_block);
} shield_blocked SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, SHIELD_PREFIX_COUNT_MAX);
	__type(key, struct shield_prefix_key);
	__type(value, struct shield_allowance);
} shield_allowed SEC(".maps");

/// By source address, IPv6 by its /64: who has one address there has them all.
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, SHIELD_SOURCE_COUNT_MAX);
	__type(key, __u8[16]);
	__type(value, struct shield_source);
} shield_sources SEC(".maps");

/// The bucket of all unknown sources, one for each interface: a flood from outside does not lock out the phones. Behind
/// them those for requests for help.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2 * RELAY_INTERFACE_COUNT_MAX);
	__type(key, __u32);
	__type(value, struct shield_source);
} shield_unknown SEC(".maps");

struct shield_settings shield_settings SEC(".data.shield") = {};

static __always_inline bool shield_has_token(const struct shield_source *bucket, __u64 now,
					     const struct shield_rate *rate)
{
	__u64 full_at = *(volatile const __u64 *)&bucket->full_at;

	return full_at <= now || full_at - now <= rate->tolerance;
}

static __always_inline bool shield_take(struct shield_source *bucket, __u64 now, const struct shield_rate *rate)
{
	for (int i = 0; i < SHIELD_TAKE_ATTEMPTS; i++) {
		__u64 old = *(volatile __u64 *)&bucket->full_at;
		__u64 from = old > now ? old : now;
		if (from - now > rate->tolerance)
			return false;
		if (__sync_val_compare_and_swap(&bucket->full_at, old, from + rate->interval) == old)
			return true;
	}
	return false; // other CPUs were faster so many times: there is no lack of packets
}

/// A UDP payload at a SIP port: a message, a keepalive (line ends, zeros, nothing; RFC 5626 §3.5.1) or STUN (RFC 8489).
static __always_inline bool shield_is_signalling(const __u8 *payload, const void *end, __u32 byte_count)
{
	__u8 first;

	if (!byte_count)
		return true;
	if ((const void *)(payload + 1) > end)
		return false;
	first = payload[0];
	if (first == '\r' || first == '\n')
		return true;
	if (byte_count <= SHIELD_KEEPALIVE_BYTE_COUNT_MAX)
		return first == 0 || first == ' ';
	if ((const void *)(payload + 8) > end)
		return false;
	if (first < 0x40)
		return byte_count >= SHIELD_STUN_BYTE_COUNT_MIN &&
		       *(const __u32 *)(payload + 4) == bpf_htonl(SHIELD_STUN_COOKIE);
	first |= 0x20;
	return first >= 'a' && first <= 'z' && payload[1] > ' ' && payload[1] < 0x7f && payload[2] > ' ' &&
	       payload[2] < 0x7f && byte_count >= SHIELD_SIP_BYTE_COUNT_MIN;
}

/// An INVITE to what may be an emergency number (911, 112, sos, whatever stands before it): more than there are, as
/// cressetd reads it again. A token of the reserve it needs all the same.
static __attribute__((noinline)) bool shield_asks_for_help(void *context, const __u8 *payload, const void *end,
							    __u64 ingress_index, __u64 now)
{
	struct shield_source *bucket;
	bool asks = false;
	__u32 slot = 0;

	if ((const void *)(payload + SHIELD_LINE_BYTE_COUNT) > end ||
	    __builtin_memcmp(payload, "INVITE ", 7))
		return false;
	for (int i = 7; i < SHIELD_LINE_BYTE_COUNT - 2; i++) {
		const __u8 *at = payload + i;
		if (at[0] == '@')
			break;
		if ((at[0] == '9' && at[1] == '1' && at[2] == '1') || (at[0] == '1' && at[1] == '1' && at[2] == '2') ||
		    ((at[0] | 0x20) == 's' && (at[1] | 0x20) == 'o' && (at[2] | 0x20) == 's')) {
			asks = true;
			break;
		}
	}
	if (!asks)
		return false;
	interface_at(context, ingress_index, &slot);
	slot += RELAY_INTERFACE_COUNT_MAX;
	bucket = bpf_map_lookup_elem(&shield_unknown, &slot);
	return bucket && shield_take(bucket, now, &shield_settings.emergency);
}

/// A status line (RFC 3261 §7.2).
static __always_inline bool shield_is_response(const __u8 *payload, const void *end)
{
	return (const void *)(payload + 4) <= end && !__builtin_memcmp(payload, "SIP/", 4);
}

static __always_inline enum shield_standing shield_standing_of(const struct shield_prefix_key *source, __u64 now,
							       __u32 block_bit_length)
{
	const struct shield_allowance *allowance = bpf_map_lookup_elem(&shield_allowed, source);

	if (!allowance || (allowance->expiry && allowance->expiry <= now) || allowance->bit_length < block_bit_length)
		return SHIELD_UNKNOWN;
	return allowance->standing;
}

/// Buckets of a datagram or a new connection to a SIP port. Whoever is unknown gets no entry of his own while the common
/// bucket is empty: a flood of ever new sources costs one look at it.
static __always_inline enum relay_outcome shield_limit(const struct shield_prefix_key *source, bool is_v6,
						       enum shield_standing standing, __u32 ingress_index, __u64 now)
{
	const struct shield_rate *rate = &shield_settings.source;
	struct shield_source *common = NULL, *bucket;
	__u32 key[4];
	__u32 slot = 0;

	if (standing > SHIELD_TRUNK)
		return RELAY_NOT_OURS;
	__builtin_memcpy(key, source->address, sizeof(key));
	if (is_v6)
		key[2] = key[3] = 0;
	if (standing >= SHIELD_STATION) {
		rate = &shield_settings.station;
	} else if (shield_settings.unknown.interval) {
		interface_at(NULL, ingress_index, &slot);
		common = bpf_map_lookup_elem(&shield_unknown, &slot);
		if (common && !shield_has_token(common, now, &shield_settings.unknown))
			return RELAY_DROPPED_UNKNOWN_RATE;
	}
	if (rate->interval) {
		bucket = bpf_map_lookup_elem(&shield_sources, key);
		if (bucket) {
			if (!shield_take(bucket, now, rate)) {
				__sync_fetch_and_add(&bucket->dropped, 1);
				return RELAY_DROPPED_SOURCE_RATE;
			}
		} else {
			struct shield_source fresh = {.full_at = now + rate->interval};
			bpf_map_update_elem(&shield_sources, key, &fresh, BPF_NOEXIST);
		}
	}
	if (common && !shield_take(common, now, &shield_settings.unknown))
		return RELAY_DROPPED_UNKNOWN_RATE;
	return RELAY_NOT_OURS;
}

/// True if the stack would answer this with a reset or with ICMP port unreachable.
static __always_inline bool shield_is_unbound(void *context, const struct shield_prefix_key *source,
					      const __u8 *address, const __be16 *ports, bool is_v6, bool is_tcp)
{
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *socket;
	__u32 byte_count;

	if (is_v6) {
		__builtin_memcpy(tuple.ipv6.saddr, source->address, 16);
		__builtin_memcpy(tuple.ipv6.daddr, address, 16);
		tuple.ipv6.sport = ports[0];
		tuple.ipv6.dport = ports[1];
		byte_count = sizeof(tuple.ipv6);
	} else {
		tuple.ipv4.saddr = *(const __u32 *)&source->address[12];
		tuple.ipv4.daddr = *(const __u32 *)&address[12];
		tuple.ipv4.sport = ports[0];
		tuple.ipv4.dport = ports[1];
		byte_count = sizeof(tuple.ipv4);
	}
	if (is_tcp)
		socket = bpf_skc_lookup_tcp(context, &tuple, byte_count, BPF_F_CURRENT_NETNS, 0);
	else
		socket = bpf_sk_lookup_udp(context, &tuple, byte_count, BPF_F_CURRENT_NETNS, 0);
	if (!socket)
		return true;
	bpf_sk_release(socket);
	return false;
}

/// Which of our SIP addresses this is: the flags of all entries with it, SHIELD_SIP_* only where the port is theirs, too.
static __always_inline __u32 shield_flags_of(const __u8 *address, __be16 port, bool *is_ours)
{
	__u32 flags = 0;

	for (__u32 i = 0; i < SHIELD_ENDPOINT_COUNT_MAX && i < shield_settings.endpoint_count; i++) {
		const struct shield_endpoint *endpoint = &shield_settings.endpoints[i];
		if (!same_address(address, endpoint->address))
			continue;
		*is_ours = true;
		flags |= endpoint->port == port ? endpoint->flags : endpoint->flags & SHIELD_SILENT;
	}
	return flags;
}

/// RELAY_NOT_OURS: up to the stack. `how`: the EtherType, SHIELD_AGGREGATE, and above 32 bits the index of the interface.
static __attribute__((noinline)) enum relay_outcome shield(void *context, void *network, void *end, __u32 byte_count,
							   __u64 how)
{
	struct shield_prefix_key source = {.bit_length = 128};
	struct iphdr *v4 = network;
	struct ipv6hdr *v6 = network;
	__u8 destination[16] = {}, protocol;
	__u32 header_byte_count, packet_byte_count, flags;
	enum shield_standing standing;
	bool is_v6, is_ours = false, is_fragment = false, is_unusual = false;
	void *transport;
	__be16 ports[2];
	__u64 now;

	if (!shield_settings.is_on)
		return RELAY_NOT_OURS;
	if ((__be16)how == bpf_htons(ETH_P_IP)) {
		if ((void *)(v4 + 1) > end || *(__u8 *)v4 >> 4 != 4)
			return RELAY_NOT_OURS;
		is_v6 = false;
		*(__u16 *)&source.address[10] = *(__u16 *)&destination[10] = 0xffff;
		*(__u32 *)&source.address[12] = v4->saddr;
		*(__u32 *)&destination[12] = v4->daddr;
		protocol = v4->protocol;
		header_byte_count = sizeof(*v4);
		packet_byte_count = bpf_ntohs(v4->tot_len);
		is_unusual = (*(__u8 *)v4 & 0xf) != 5;
		is_fragment = v4->frag_off & bpf_htons(0x3fff);
	} else if ((__be16)how == bpf_htons(ETH_P_IPV6)) {
		if ((void *)(v6 + 1) > end || *(__u8 *)v6 >> 4 != 6)
			return RELAY_NOT_OURS;
		is_v6 = true;
		__builtin_memcpy(source.address, &v6->saddr, 16);
		__builtin_memcpy(destination, &v6->daddr, 16);
		protocol = v6->nexthdr;
		header_byte_count = sizeof(*v6);
		packet_byte_count = sizeof(*v6) + bpf_ntohs(v6->payload_len);
		is_unusual = protocol == IPPROTO_HOPOPTS || protocol == IPPROTO_ROUTING || protocol == IPPROTO_DSTOPTS;
	} else {
		return RELAY_NOT_OURS;
	}
	now = bpf_ktime_get_coarse_ns();

	struct shield_block *block = bpf_map_lookup_elem(&shield_blocked, &source);
	if (block && (!block->expiry || now < block->expiry) &&
	    shield_standing_of(&source, now, block->bit_length) != SHIELD_ALLOWED) {
		struct udphdr *udp = network + header_byte_count; // TCP has its ports there, too
		bool is_help = !is_unusual && !is_fragment && (void *)(udp + 1) <= end &&
			       (protocol == IPPROTO_UDP || protocol == IPPROTO_TCP) &&
			       shield_flags_of(destination, udp->dest, &is_ours) & SHIELD_EMERGENCY;
		// What comes over a connection is judged where it is put together: cressetd hears nothing but a call for help.
		// Opening one takes tokens like anybody's, below.
		if (is_help && protocol == IPPROTO_UDP &&
		    shield_asks_for_help(context, (__u8 *)(udp + 1), end, how >> 32, now))
			return RELAY_NOT_OURS;
		if (!is_help || protocol == IPPROTO_UDP) {
			__sync_fetch_and_add(&block->packets, 1);
			return RELAY_DROPPED_BLOCKED;
		}
	}

	shield_flags_of(destination, 0, &is_ours);
	if (!is_ours)
		return RELAY_NOT_OURS;
	transport = network + header_byte_count;
	if (is_v6 && protocol == IPPROTO_FRAGMENT) {
		if (transport + SHIELD_FRAGMENT_HEADER_BYTE_COUNT > end)
			return RELAY_NOT_OURS;
		protocol = *(__u8 *)transport;
		is_fragment = true;
		if (*(__be16 *)(transport + 2) & bpf_htons(0xfff8))
			return RELAY_NOT_OURS; // a later one: without the first nothing comes of it
		transport += SHIELD_FRAGMENT_HEADER_BYTE_COUNT;
	} else if (!is_v6 && v4->frag_off & bpf_htons(0x1fff)) {
		return RELAY_NOT_OURS;
	}
	if (protocol != IPPROTO_UDP && protocol != IPPROTO_TCP && !(is_v6 && is_unusual))
		return RELAY_NOT_OURS;
	standing = shield_standing_of(&source, now, 0);
	// Nobody needs options or extension headers to call us, and they would hide what follows.
	if (is_unusual)
		return standing == SHIELD_UNKNOWN ? RELAY_DROPPED_UNUSUAL : RELAY_NOT_OURS;
	if (transport + sizeof(struct udphdr) > end)
		return RELAY_DROPPED_UNUSUAL;
	ports[0] = *(__be16 *)transport;
	ports[1] = *(__be16 *)(transport + 2);
	flags = shield_flags_of(destination, ports[1], &is_ours);

	if (protocol == IPPROTO_UDP) {
		struct udphdr *udp = transport;
		__u32 udp_byte_count = bpf_ntohs(udp->len);
		if (flags & SHIELD_SIP_UDP) {
			if (!is_fragment && !(how & SHIELD_AGGREGATE) &&
			    (udp_byte_count < sizeof(*udp) || header_byte_count + udp_byte_count != packet_byte_count ||
			     packet_byte_count > byte_count))
				return RELAY_DROPPED_UNUSUAL;
			if (!is_fragment &&
			    !shield_is_signalling(transport + sizeof(*udp), end, udp_byte_count - sizeof(*udp)))
				return RELAY_DROPPED_NOT_SIP;
			// Its address can be forged, too: then the answers of the trunk must not drown in what asks.
			if (standing == SHIELD_TRUNK && shield_is_response(transport + sizeof(*udp), end))
				return RELAY_NOT_OURS;
			enum relay_outcome outcome = shield_limit(&source, is_v6, standing, how >> 32, now);
			if (outcome != RELAY_NOT_OURS && flags & SHIELD_EMERGENCY && !is_fragment &&
			    shield_asks_for_help(context, transport + sizeof(*udp), end, how >> 32, now))
				return RELAY_NOT_OURS;
			return outcome;
		}
		// Answers to DHCP are read beside the stack, without a socket.
		if (ports[1] == bpf_htons(68) || ports[1] == bpf_htons(546))
			return RELAY_NOT_OURS;
	} else {
		if (transport + SHIELD_TCP_FLAGS_OFFSET + 1 > end)
			return RELAY_DROPPED_UNUSUAL;
		__u8 tcp_flags = *((__u8 *)transport + SHIELD_TCP_FLAGS_OFFSET);
		if (flags & SHIELD_SIP_TCP && (tcp_flags & (SHIELD_TCP_SYN | SHIELD_TCP_ACK)) == SHIELD_TCP_SYN &&
		    standing != SHIELD_TRUNK)
			return shield_limit(&source, is_v6, standing, how >> 32, now);
	}
	if (flags & SHIELD_SILENT && standing == SHIELD_UNKNOWN &&
	    shield_is_unbound(context, &source, destination, ports, is_v6, protocol == IPPROTO_TCP))
		return RELAY_DROPPED_CLOSED_PORT;
	return RELAY_NOT_OURS;
}
