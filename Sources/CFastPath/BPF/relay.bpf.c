// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The two ways a packet comes in: as a frame of the driver (XDP) and as a buffer of the stack (TC).
#include <linux/if_packet.h>
#include <linux/pkt_cls.h>

#include "relay_host.h"
#include "rewrite.h"
#include "shield.h"
#include "tap.h"
#include "translate.h"

struct vlan_tag {
	__be16 control; // priority, drop eligible, identifier
	__be16 protocol;
};

#define VLAN_IDENTIFIER_MASK 0x0fff
#define BLOCK_BYTE_COUNT 16
#define BLOCK_COUNT_MAX 128 // datagrams of up to 2 KiB; larger unfinished ones go to the socket

/// The folded sum of `byte_count` bytes from `offset` on, or -1 if the frame does not hold them.
/// Not static, so that the verifier looks at its loops once and not for every path that leads here.
__attribute__((noinline)) int sum_frame(struct xdp_md *context, __u32 offset, __u32 byte_count)
{
	const __u8 *at = (const __u8 *)(long)context->data;
	const void *end = (const void *)(long)context->data_end;
	__u64 sum = 0;

	if (offset > 255)
		return -1;
	at += offset;
	for (__u32 i = 0; i < BLOCK_COUNT_MAX && byte_count >= BLOCK_BYTE_COUNT; i++) {
		if (!lies_before(at, BLOCK_BYTE_COUNT, end))
			return -1;
		const __u32 *words = (const __u32 *)at;
		sum += (__u64)words[0] + words[1] + words[2] + words[3];
		at += BLOCK_BYTE_COUNT;
		byte_count -= BLOCK_BYTE_COUNT;
	}
	for (__u32 i = 0; i < BLOCK_BYTE_COUNT / 2 && byte_count >= 2; i++) {
		if (!lies_before(at, 2, end))
			return -1;
		sum += *(const __u16 *)at;
		at += 2;
		byte_count -= 2;
	}
	if (byte_count) {
		if (byte_count > 1 || !lies_before(at, 1, end))
			return -1;
		sum += bpf_htons((__u16)*at << 8);
	}
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	return fold((sum & 0xffff) + (sum >> 16));
}

/// Makes room for the other family's header, or takes it away, and puts it in place. A function of its own for its stack,
/// which adds up with the caller's only.
static __attribute__((noinline)) enum relay_outcome translate_frame(struct xdp_md *context, const struct plan *plan,
								     bool tagged, bool tag_out)
{
	const __u32 tag_byte_count = sizeof(struct vlan_tag);
	void *network = (void *)(long)context->data + sizeof(struct ethhdr) + (tagged ? tag_byte_count : 0);
	void *end = (void *)(long)context->data_end;
	int growth = header_growth(plan) + (tag_out ? (int)tag_byte_count : 0) - (tagged ? (int)tag_byte_count : 0);
	union ip_header header;

	if (network + (plan->is_v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr)) > end)
		return RELAY_PASSED_UNUSUAL;
	make_header(&header, network, plan);
	if (bpf_xdp_adjust_head(context, -growth))
		return RELAY_PASSED_UNUSUAL;
	network = (void *)(long)context->data + sizeof(struct ethhdr) + (tag_out ? tag_byte_count : 0);
	end = (void *)(long)context->data_end;
	return place_header(network, end, &header, plan) ? RELAY_RELAYED : RELAY_DROPPED_NO_ROOM;
}

/// Copies in words: the compiler takes the header's type for unaligned and would copy byte by byte.
static __always_inline void address_frame(struct ethhdr *ethernet, const struct plan *plan)
{
	__u32 *to = (__u32 *)ethernet;
	const __u32 *from = (const __u32 *)plan->counters->next_hop.addresses;

	for (int i = 0; i < 3; i++)
		to[i] = from[i];
}

/// From the IP header on; `control` is that of the tag the frame came with.
static __always_inline int relay_frame(struct xdp_md *context, void *network, __be16 protocol, bool tagged,
				       __be16 control, enum relay_outcome *outcome)
{
	void *data = (void *)(long)context->data, *end = (void *)(long)context->data_end;
	struct ethhdr *ethernet = data;
	struct plan plan;
	struct udphdr *udp;
	struct vlan_tag *tag;
	__u32 difference;
	int sum = -1; // of the whole datagram, where it must be made anew

	*outcome = decide(context, network, end, end - network, protocol, false, &plan);
	if (*outcome == RELAY_NOT_OURS)
		*outcome = shield(context, network, end, end - network, protocol | (__u64)context->ingress_ifindex << 32);
	if (*outcome != RELAY_RELAYED)
		return *outcome <= RELAY_LAST_DROPPED ? XDP_DROP : XDP_PASS;

	udp = network + (plan.is_v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
	if ((void *)(udp + 1) > end)
		return XDP_PASS;
	__u16 no_sum = !udp->check; // IPv6 wants one (RFC 8200 §8.1)
	if (no_sum ? is_translated(&plan) : looks_unfinished(udp, plan.flow)) {
		// A frame carries no note that its checksum is unfinished, and nobody will finish it after us: veth
		// hands over the sender's frame as it is.
		__u16 pseudo_header = no_sum ? pseudo_header_sum(udp, plan.flow) : 0;
		sum = sum_frame(context, (void *)udp - (void *)ethernet, plan.udp_byte_count);
		if (sum < 0) {
			*outcome = RELAY_PASSED_UNUSUAL;
			return XDP_PASS;
		}
		sum = fold(sum + pseudo_header);
	}

	if (plan.flow->tap)
		tap_frame(context, &plan, network - (void *)ethernet, network, end);

	// The only other step that may fail, hence before the first write: room for another header or a tag.
	const struct relay_next_hop *next_hop = &plan.counters->next_hop;
	bool tag_out = next_hop->vlan != 0;
	int growth = ((int)tag_out - (int)tagged) * (int)sizeof(*tag);
	if (is_translated(&plan)) {
		*outcome = translate_frame(context, &plan, tagged, tag_out);
		if (*outcome != RELAY_RELAYED)
			return *outcome <= RELAY_LAST_DROPPED ? XDP_DROP : XDP_PASS;
		protocol = bpf_htons(plan.leaves_as_v6 ? ETH_P_IPV6 : ETH_P_IP);
		data = (void *)(long)context->data;
		end = (void *)(long)context->data_end;
		network = data + sizeof(*ethernet) + (tag_out ? sizeof(*tag) : 0);
	} else {
		if (growth && bpf_xdp_adjust_head(context, -growth)) {
			*outcome = RELAY_PASSED_UNUSUAL;
			return XDP_PASS;
		}
		data = (void *)(long)context->data;
		end = (void *)(long)context->data_end;
		network = data + sizeof(*ethernet) + (tag_out ? sizeof(*tag) : 0);
		if (!rewrite_header(network, end, &plan))
			return XDP_DROP;
	}
	ethernet = data;
	if ((void *)(ethernet + 1) > end)
		return XDP_DROP;
	address_frame(ethernet, &plan);
	if (tag_out) {
		tag = (void *)(ethernet + 1);
		if ((void *)(tag + 1) > end)
			return XDP_DROP;
		ethernet->h_proto = bpf_htons(ETH_P_8021Q);
		tag->control = (control & ~bpf_htons(VLAN_IDENTIFIER_MASK)) | bpf_htons(next_hop->vlan);
		tag->protocol = protocol;
	} else {
		ethernet->h_proto = protocol;
	}

	difference = rewrite_datagram(network, end, &plan, &udp);
	if (!udp)
		return XDP_DROP;
	finish_frame_checksum(udp, difference, sum, plan.flow);
	count_relayed(&plan);
	// Not XDP_TX, even where it came in: veth wakes its peer for that only if the peer has XDP, not for GRO.
	return bpf_redirect(next_hop->transmit_index, 0);
}

static __always_inline int xdp_relay(struct xdp_md *context, enum relay_outcome *outcome)
{
	void *data = (void *)(long)context->data, *end = (void *)(long)context->data_end;
	struct ethhdr *ethernet = data;
	void *network = ethernet + 1;
	struct vlan_tag *tag;
	__be16 protocol, control = 0;
	bool tagged = false;

	*outcome = RELAY_NOT_OURS;
	if (network > end || ethernet->h_dest[0] & 1)
		return XDP_PASS;
	protocol = ethernet->h_proto;
	if (protocol == bpf_htons(ETH_P_8021Q)) {
		tag = network;
		network = tag + 1;
		if (network > end)
			return XDP_PASS;
		protocol = tag->protocol;
		control = tag->control;
		tagged = true;
	}
	// The usual frame has a path of its own, in which the compiler knows these.
	if (!tagged && protocol == bpf_htons(ETH_P_IP))
		return relay_frame(context, network, bpf_htons(ETH_P_IP), false, 0, outcome);
	return relay_frame(context, network, protocol, tagged, control, outcome);
}

SEC("xdp")
int relay_xdp(struct xdp_md *context)
{
	enum relay_outcome outcome;
	int action = xdp_relay(context, &outcome);

	count_outcome(context, outcome, context->ingress_ifindex);
	return action;
}

/// The rest of a buffer's checksum state: an unfinished checksum takes only what changes in the pseudo-header (the
/// device sums the rest later), a finished one takes all, and a sum the device made over the whole packet
/// (CHECKSUM_COMPLETE) follows. Writes through `udp`; afterwards it is invalid.
static __always_inline void finish_buffer_checksum(struct __sk_buff *buffer, struct udphdr *udp, __u32 difference,
						   const struct plan *plan)
{
	__u32 offset = sizeof(struct ethhdr) + offsetof(struct udphdr, check) +
		       (plan->leaves_as_v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
	__u16 old = udp->check;

	if (old && looks_unfinished(udp, plan->flow)) {
		// The helper knows whether it is; the direct way below would not.
		bpf_l4_csum_replace(buffer, offset, 0, plan->flow->address_difference,
				    BPF_F_PSEUDO_HDR | BPF_F_MARK_MANGLED_0);
		bpf_l4_csum_replace(buffer, offset, 0, fold(difference), BPF_F_MARK_MANGLED_0);
		return;
	}
	if (old) {
		update_checksum(udp, difference + plan->flow->address_difference);
		difference += (__u16)~old + (__u32)udp->check;
	}
	// The IPv4 header sums to the same before and after; the IPv6 header does not. A new header is accounted for.
	if (plan->is_v6 && plan->leaves_as_v6)
		difference += (__u32)plan->flow->header_difference + plan->class_difference;
	bpf_csum_update(buffer, fold(difference));
}

/// Puts the other family's header in place, in front of the datagram as it came. The kernel does it, since the offsets
/// of a checksum to be finished later and the sum over the packet must follow.
static __always_inline enum relay_outcome translate_buffer(struct __sk_buff *buffer, const void *network,
							   const struct plan *plan)
{
	const struct udphdr *udp = network + (plan->is_v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
	union ip_header header;
	long error;

	// The sum IPv6 wants would have to be made over pages: user space does.
	if (!udp->check)
		return RELAY_PASSED_UNUSUAL;
	make_header(&header, network, plan);
	if (bpf_skb_change_proto(buffer, bpf_htons(plan->leaves_as_v6 ? ETH_P_IPV6 : ETH_P_IP), 0))
		return RELAY_PASSED_UNUSUAL;
	error = plan->leaves_as_v6 ? bpf_skb_store_bytes(buffer, sizeof(struct ethhdr), &header, sizeof(header.v6),
							 BPF_F_RECOMPUTE_CSUM)
				   : bpf_skb_store_bytes(buffer, sizeof(struct ethhdr), &header, sizeof(header.v4),
							 BPF_F_RECOMPUTE_CSUM);
	return error ? RELAY_DROPPED_NO_ROOM : RELAY_RELAYED;
}

static __always_inline int tc_relay(struct __sk_buff *buffer, enum relay_outcome *outcome)
{
	void *data = (void *)(long)buffer->data, *end = (void *)(long)buffer->data_end;
	struct plan plan;
	struct udphdr *udp;
	__be16 protocol = buffer->protocol;
	__u32 difference;

	*outcome = RELAY_NOT_OURS;
	if (buffer->pkt_type != PACKET_HOST)
		return TC_ACT_UNSPEC;
	if (protocol != bpf_htons(ETH_P_IP) && protocol != bpf_htons(ETH_P_IPV6))
		return TC_ACT_UNSPEC;
	if (data + sizeof(struct ethhdr) + HEADERS_BYTE_COUNT > end) {
		// Short, or its bytes lie in pages: fetch the headers.
		__u32 wanted = sizeof(struct ethhdr) + HEADERS_BYTE_COUNT;
		if (wanted > buffer->len)
			wanted = buffer->len;
		if (bpf_skb_pull_data(buffer, wanted))
			return TC_ACT_UNSPEC;
		data = (void *)(long)buffer->data;
		end = (void *)(long)buffer->data_end;
	}
	if (data + sizeof(struct ethhdr) > end)
		return TC_ACT_UNSPEC;
	*outcome = decide(buffer, data + sizeof(struct ethhdr), end, buffer->len - sizeof(struct ethhdr), protocol,
			  buffer->gso_size != 0, &plan);
	if (*outcome == RELAY_NOT_OURS) {
		if (data + sizeof(struct ethhdr) + SHIELD_REACH_BYTE_COUNT > end) {
			__u32 wanted = sizeof(struct ethhdr) + SHIELD_REACH_BYTE_COUNT;
			if (bpf_skb_pull_data(buffer, wanted > buffer->len ? buffer->len : wanted))
				return TC_ACT_UNSPEC;
			data = (void *)(long)buffer->data;
			end = (void *)(long)buffer->data_end;
			if (data + sizeof(struct ethhdr) > end)
				return TC_ACT_UNSPEC;
		}
		*outcome = shield(buffer, data + sizeof(struct ethhdr), end, buffer->len - sizeof(struct ethhdr),
				  protocol | (buffer->gso_size ? SHIELD_AGGREGATE : 0) |
					  (__u64)buffer->ingress_ifindex << 32);
	}
	if (*outcome != RELAY_RELAYED)
		return *outcome <= RELAY_LAST_DROPPED ? TC_ACT_SHOT : TC_ACT_UNSPEC;

	if (plan.flow->tap)
		tap_buffer(buffer, &plan, data + sizeof(struct ethhdr), end);

	struct ethhdr *ethernet = data;
	if (is_translated(&plan)) {
		*outcome = translate_buffer(buffer, ethernet + 1, &plan);
		if (*outcome != RELAY_RELAYED)
			return *outcome <= RELAY_LAST_DROPPED ? TC_ACT_SHOT : TC_ACT_UNSPEC;
		data = (void *)(long)buffer->data;
		end = (void *)(long)buffer->data_end;
		ethernet = data;
		if ((void *)(ethernet + 1) > end)
			return TC_ACT_SHOT;
		ethernet->h_proto = buffer->protocol;
	} else if (!rewrite_header(ethernet + 1, end, &plan)) {
		return TC_ACT_SHOT;
	}
	address_frame(ethernet, &plan);
	difference = rewrite_datagram(ethernet + 1, end, &plan, &udp);
	if (!udp)
		return TC_ACT_SHOT;
	finish_buffer_checksum(buffer, udp, difference, &plan);

	const struct relay_next_hop *next_hop = &plan.counters->next_hop;
	__u16 vlan = next_hop->vlan;
	if (buffer->vlan_present || vlan) {
		__u16 priority = buffer->vlan_present ? buffer->vlan_tci & ~VLAN_IDENTIFIER_MASK : 0;
		if ((buffer->vlan_present && bpf_skb_vlan_pop(buffer)) ||
		    (vlan && bpf_skb_vlan_push(buffer, bpf_htons(ETH_P_8021Q), priority | vlan))) {
			*outcome = RELAY_DROPPED_NO_ROOM;
			return TC_ACT_SHOT;
		}
	}
	count_relayed(&plan);
	return bpf_redirect(next_hop->transmit_index, 0);
}

SEC("tc")
int relay_tc(struct __sk_buff *buffer)
{
	enum relay_outcome outcome;
	int action = tc_relay(buffer, &outcome);

	count_outcome(buffer, outcome, buffer->ingress_ifindex);
	return action;
}

char relay_license[] SEC("license") = "Dual BSD/GPL";
