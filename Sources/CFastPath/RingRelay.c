#define _GNU_SOURCE
// The relay core compiled for user space, its host functions, and the way of a frame through a slot.
#include <errno.h>
#include <linux/virtio_net.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "BPF/relay_core.h"
#include "BPF/translate.h"
#include "RingWorker.h"

#define ETHERNET_PADDING_OFFSET 2 // before an Ethernet header, so that what follows it is aligned
#define VLAN_TAG_BYTE_COUNT 4
#define HEADERS_BYTE_COUNT_MIN (sizeof(struct ipv6hdr) + sizeof(struct udphdr)) // less of IPv4, but media never is
#define NANOSECONDS 1000000000ull
/// How long an answer of routing stands while no change is told; not every change is (a rule's packet mark, IPsec).
#define ROUTE_NANOSECONDS_MAX (4 * NANOSECONDS)
#define VLAN_IDENTIFIER_MASK 0x0fff

// The core's host: `context` is the worker.

static __always_inline struct ring_entry *entry_of(const struct relay_flow *flow)
{
	return (struct ring_entry *)((char *)flow - offsetof(struct ring_entry, flow));
}

static __always_inline struct relay_flow *host_flow(void *context, const struct relay_flow_key *key)
{
	const struct ring_worker *worker = context;
	struct ring_entry *entry = ring_table_find(&worker->flows, key);

	return entry && worker->now >= entry->since ? &entry->flow : NULL;
}

static __always_inline struct relay_flow_counters *host_counters(void *context, const struct relay_flow *flow)
{
	(void)context;
	return &entry_of(flow)->counters;
}

static __always_inline struct relay_quality *host_quality(void *context, const struct relay_flow *flow)
{
	return &((struct ring_worker *)context)->relay->quality[flow->counter_index];
}

static __always_inline struct relay_totals *host_totals(void *context, __u32 slot)
{
	return &((struct ring_worker *)context)->totals[slot];
}

static __always_inline struct relay_interface_table *host_interfaces(void *context)
{
	return &((struct ring_worker *)context)->relay->interfaces;
}

/// A ring only copies what the stack gets as well, so it can keep no closed port silent.
static __always_inline const struct relay_guarded_table *host_guarded(void *context)
{
	static const struct relay_guarded_table none;

	(void)context;
	return &none;
}

static __always_inline bool host_is_unbound(void *context, const struct relay_flow_key *key, const __u8 *source,
					    __be16 source_port, bool is_v6)
{
	(void)context, (void)key, (void)source, (void)source_port, (void)is_v6;
	return false;
}

static __always_inline __u64 host_now(void *context)
{
	return ((struct ring_worker *)context)->now;
}

/// True if routing said where this goes a moment ago and nothing of it has changed since.
static bool remembers(const struct ring_worker *worker, const struct ring_entry *entry, __u32 byte_count)
{
	return worker->routes.state && entry->route_state == worker->routes.state &&
	       entry->route_generation == entry->flow.generation &&
	       worker->now - entry->route_time < ROUTE_NANOSECONDS_MAX &&
	       byte_count <= entry->counters.next_hop.packet_byte_count_max;
}

/// Not inline: a few times a second and flow.
static __attribute__((noinline)) enum relay_outcome ask_for_next_hop(struct ring_worker *worker, void *network,
								      __u32 byte_count, const struct plan *plan,
								      __u32 *interface_index)
{
	struct ring_entry *entry = entry_of(plan->flow);
	struct relay_next_hop *next_hop = &plan->counters->next_hop;
	const struct relay_flow *flow = plan->flow;
	struct route_answer answer;
	__u16 word = bpf_ntohs(leaving_class(network, plan));
	struct route_packet packet = {
		.is_v6 = plan->leaves_as_v6,
		.traffic_class = (__u8)(plan->leaves_as_v6 ? word >> 4 : word),
		.source_port = flow->source_port,
		.destination_port = flow->destination_port,
		.source = flow->source_address,
		.destination = flow->destination_address,
	};
	if (remembers(worker, entry, byte_count)) {
		*interface_index = entry->route_interface;
		return RELAY_RELAYED;
	}
	entry->route_generation = 0;
	switch (route_query_ask(&worker->routes, &packet, &answer)) {
	case 0:
		break;
	case -EHOSTUNREACH:
		return RELAY_PASSED_NO_NEIGHBOUR;
	default:
		return RELAY_PASSED_NO_ROUTE;
	}
	if (byte_count > answer.packet_byte_count_max)
		return RELAY_PASSED_TOO_LARGE;
	*interface_index = answer.interface_index;
	next_hop->packet_byte_count_max = answer.packet_byte_count_max;
	memcpy(next_hop->addresses, answer.addresses, sizeof(answer.addresses));
	entry->route_generation = flow->generation;
	entry->route_interface = answer.interface_index;
	entry->route_state = worker->routes.state;
	entry->route_time = worker->now;
	return RELAY_RELAYED;
}

static __always_inline enum relay_outcome host_next_hop(void *context, void *network, __u32 byte_count,
							const struct plan *plan, __u32 *interface_index)
{
	return ask_for_next_hop(context, network, byte_count, plan, interface_index);
}

// One packet.

struct packet {
	__u8 *network;
	__u32 byte_count; // from the IP header on, all of it in the slot
	__be16 protocol; // EtherType
	__be16 control; // of the VLAN tag it came with, else 0
	bool is_joined;
};

/// A packet that is to leave: where its frame begins now, before the packet in its slot.
struct departure {
	__u8 *start;
	__u32 byte_count;
	__u32 interface_index;
	__be16 protocol;
};

/// The folded sum of bytes in network order (RFC 1071).
static __u16 sum_bytes(const __u8 *bytes, __u32 byte_count)
{
	__u64 sum = 0;
	__u32 word;

	for (; byte_count >= sizeof(word); bytes += sizeof(word), byte_count -= sizeof(word)) {
		memcpy(&word, bytes, sizeof(word));
		sum += word;
	}
	__u8 rest[sizeof(word)] = {};
	memcpy(rest, bytes, byte_count);
	memcpy(&word, rest, sizeof(word));
	sum += word;
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	return fold((__u32)((sum & 0xffff) + (sum >> 16)));
}

/// Decides, and rewrites the packet where it lies. The frame grows towards the headroom before it.
static enum relay_outcome relay_packet(struct ring_worker *worker, struct packet *packet, struct departure *departure)
{
	void *network = packet->network, *end = packet->network + packet->byte_count;
	struct udphdr *udp;
	struct plan plan;
	int sum = -1;

	enum relay_outcome outcome =
		decide(worker, network, end, packet->byte_count, packet->protocol, packet->is_joined, &plan);
	if (outcome != RELAY_RELAYED)
		return outcome;
	if (plan.flow->tap && worker->relay->taps.heads)
		relay_tap_write(&worker->relay->taps, plan.flow->tap, plan.flow->tap_direction, plan.now, network,
				packet_byte_count(&plan));
	udp = network + (plan.is_v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
	// A frame that a container or the stack of this machine sent: nobody will finish its checksum after us. And IPv6
	// wants one where IPv4 had none (RFC 8200 §8.1).
	if (!udp->check && is_translated(&plan))
		sum = fold((__u32)sum_bytes((__u8 *)udp, plan.udp_byte_count) + pseudo_header_sum(udp, plan.flow));
	else if (udp->check && looks_unfinished(udp, plan.flow))
		sum = sum_bytes((__u8 *)udp, plan.udp_byte_count);
	if (is_translated(&plan)) {
		union ip_header header;
		make_header(&header, network, &plan);
		network -= header_growth(&plan);
		place_header(network, end, &header, &plan);
		packet->protocol = bpf_htons(plan.leaves_as_v6 ? ETH_P_IPV6 : ETH_P_IP);
	} else {
		rewrite_header(network, end, &plan);
	}
	__u32 difference = rewrite_datagram(network, end, &plan, &udp);
	finish_frame_checksum(udp, difference, sum, plan.flow);

	const struct relay_next_hop *next_hop = &plan.counters->next_hop;
	departure->start = network;
	departure->protocol = packet->protocol;
	departure->interface_index = next_hop->transmit_index;
	if (next_hop->vlan != RING_RELAY_NO_LINK_HEADER) {
		__be16 *type = (__be16 *)network - 1;
		*type = packet->protocol;
		if (next_hop->vlan) {
			*--type = (packet->control & ~bpf_htons(VLAN_IDENTIFIER_MASK)) | bpf_htons(next_hop->vlan);
			*--type = departure->protocol = bpf_htons(ETH_P_8021Q);
		}
		departure->start = (__u8 *)type - 2 * ETH_ALEN;
		memcpy(departure->start, next_hop->addresses, 2 * ETH_ALEN);
	}
	departure->byte_count = (__u32)((__u8 *)end - departure->start);
	count_relayed(&plan);
	return RELAY_RELAYED;
}

// What the core leaves to the socket.

/// True if the stack would have handed this datagram to the socket: the socket no longer hears it, so we look ourselves.
static bool is_intact(const struct packet *packet, const struct udphdr *udp, bool is_v6, __u32 udp_byte_count,
		      bool is_checked)
{
	const struct ipv6hdr *v6 = (const void *)packet->network;
	const struct iphdr *v4 = (const void *)packet->network;

	if (!is_v6 && sum_bytes(packet->network, sizeof(*v4)) != 0xffff)
		return false;
	if (!udp->check)
		return !is_v6;
	if (is_checked)
		return true;
	__u32 sum = is_v6 ? sum_bytes((const __u8 *)&v6->saddr, 32) : sum_bytes((const __u8 *)&v4->saddr, 8);
	sum += sum_bytes((const __u8 *)udp, udp_byte_count) + bpf_htons(IPPROTO_UDP) + (__u32)bpf_htons(udp_byte_count);
	return fold(sum) == 0xffff;
}

/// Our address and port as the flow table knows them; returns where the UDP header begins.
static __u32 read_key(const struct packet *packet, struct relay_flow_key *key)
{
	const struct ipv6hdr *v6 = (const void *)packet->network;
	const struct iphdr *v4 = (const void *)packet->network;
	bool is_v6 = packet->protocol == bpf_htons(ETH_P_IPV6);
	__u32 header_byte_count = is_v6 ? sizeof(*v6) : sizeof(*v4);

	memset(key, 0, sizeof(*key));
	if (is_v6) {
		memcpy(key->address, &v6->daddr, 16);
	} else {
		key->address[10] = key->address[11] = 0xff;
		memcpy(key->address + 12, &v4->daddr, 4);
	}
	key->port = ((const struct udphdr *)(packet->network + header_byte_count))->dest;
	return header_byte_count;
}

/// A packet without a flow, or from before it, that TC ingress drops all the same: its filter is late.
static bool is_kept_from_stack(const struct ring_worker *worker, const struct packet *packet, uint64_t time)
{
	struct relay_flow_key key;

	if (!worker->ingress.settled || packet->byte_count < HEADERS_BYTE_COUNT_MIN)
		return false;
	read_key(packet, &key);
	return ring_ingress_drops(&worker->ingress, &key, time);
}

static void pass(struct ring_worker *worker, const struct packet *packet, __u32 segment_byte_count, bool is_checked)
{
	struct ring_relay_passed passed = {};
	const struct iphdr *v4 = (const void *)packet->network;
	const struct ipv6hdr *v6 = (const void *)packet->network;
	bool is_v6 = packet->protocol == bpf_htons(ETH_P_IPV6);
	__u32 header_byte_count = read_key(packet, &passed.local);
	const struct udphdr *udp = (const void *)(packet->network + header_byte_count);
	__u32 udp_byte_count = bpf_ntohs(udp->len);

	if (udp_byte_count < sizeof(*udp) || header_byte_count + udp_byte_count > packet->byte_count ||
	    !is_intact(packet, udp, is_v6, udp_byte_count, is_checked))
		return;
	if (is_v6) {
		memcpy(passed.source_address, &v6->saddr, 16);
	} else {
		passed.source_address[10] = passed.source_address[11] = 0xff;
		memcpy(passed.source_address + 12, &v4->saddr, 4);
	}
	passed.source_port = udp->source;
	const __u8 *payload = (const __u8 *)(udp + 1);
	__u32 left = udp_byte_count - sizeof(*udp);
	do {
		__u32 byte_count = segment_byte_count && segment_byte_count < left ? segment_byte_count : left;
		struct iovec pieces[] = {{&passed, sizeof(passed)}, {(void *)payload, byte_count}};
		struct msghdr message = {.msg_iov = pieces, .msg_iovlen = 2};
		passed.payload_byte_count = (uint16_t)byte_count;
		if (sendmsg(worker->relay->passed[1], &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			worker->passed_lost++;
		payload += byte_count;
		left -= byte_count;
	} while (left);
}

// Batches.

void ring_worker_update_clock(struct ring_worker *worker)
{
	struct timespec now, wall;

	clock_gettime(CLOCK_MONOTONIC, &now);
	clock_gettime(CLOCK_REALTIME, &wall);
	worker->now = worker->batch_start = (uint64_t)now.tv_sec * NANOSECONDS + (uint64_t)now.tv_nsec;
	worker->clock_offset = wall.tv_sec * (int64_t)NANOSECONDS + wall.tv_nsec - (int64_t)worker->now;
}

/// When the kernel received the frame: jitter must not contain how long it waited for us. A slot older than a second was
/// stamped before somebody set the clock.
static uint64_t arrival(const struct ring_worker *worker, const struct packet_ring_frame *frame)
{
	uint64_t time = frame->timestamp - (uint64_t)worker->clock_offset;

	return time <= worker->batch_start && worker->batch_start - time < NANOSECONDS ? time : worker->batch_start;
}

/// Sends all frames, whatever becomes of one of them; counts their outcomes.
static void transmit(struct ring_worker *worker, const struct departure *departures, uint32_t count)
{
	struct mmsghdr messages[RING_BATCH_COUNT_MAX];
	struct sockaddr_ll addresses[RING_BATCH_COUNT_MAX];
	struct iovec pieces[RING_BATCH_COUNT_MAX];

	for (uint32_t index = 0; index < count; index++) {
		const struct departure *departure = &departures[index];
		pieces[index] = (struct iovec){departure->start, departure->byte_count};
		addresses[index] = (struct sockaddr_ll){.sll_family = AF_PACKET,
							.sll_protocol = departure->protocol,
							.sll_ifindex = (int)departure->interface_index};
		messages[index] = (struct mmsghdr){.msg_hdr = {.msg_name = &addresses[index],
							       .msg_namelen = sizeof(addresses[index]),
							       .msg_iov = &pieces[index],
							       .msg_iovlen = 1}};
	}
	for (uint32_t sent = 0; sent < count;) {
		int result = sendmmsg(worker->transmit, messages + sent, count - sent, MSG_DONTWAIT);
		if (result < 0 && errno == EINTR)
			continue;
		// The first of the rest met a full queue or a device that is down: like a socket's datagram, it is lost.
		enum relay_outcome outcome = result > 0 ? RELAY_RELAYED : RELAY_DROPPED_NO_ROOM;
		uint32_t done = result > 0 ? (uint32_t)result : 1;
		for (uint32_t index = 0; index < done; index++)
			count_outcome(worker, outcome, worker->interface_index);
		sent += done;
	}
}

uint32_t ring_worker_relay(struct ring_worker *worker)
{
	struct departure departures[RING_BATCH_COUNT_MAX];
	uint32_t slots[RING_BATCH_COUNT_MAX];
	uint8_t owners[RING_BATCH_COUNT_MAX];
	struct packet_ring_frame frame;
	uint32_t count = 0, leaving = 0;

	ring_worker_update_clock(worker);
	for (uint8_t kind = 0; kind < worker->ring_count; kind++) {
		// Each gets its share of a batch, so that neither keeps the other waiting.
		uint32_t limit = (kind + 1u) * RING_BATCH_COUNT_MAX / worker->ring_count;
		while (count < limit && packet_ring_next(&worker->rings[kind], &frame)) {
			__u32 link = worker->has_link_header ? ETH_HLEN : 0;
			slots[count] = frame.slot;
			owners[count++] = kind;
			if (frame.timestamp < worker->since || frame.timestamp >= worker->until)
				continue;
			// The filter sees to it that only whole UDP packets to us come in.
			if (frame.byte_count < link || frame.status & PACKET_RING_TRUNCATED)
				continue;
			struct packet packet = {
				.network = frame.bytes + link,
				.byte_count = frame.byte_count - link,
				.protocol = frame.protocol,
				.control = frame.status & PACKET_RING_VLAN ? bpf_htons(frame.vlan_control) : 0,
				.is_joined = frame.status & PACKET_RING_JOINED,
			};
			worker->now = arrival(worker, &frame);
			enum relay_outcome outcome = relay_packet(worker, &packet, &departures[leaving]);
			if (outcome == RELAY_RELAYED) {
				leaving++;
				continue;
			}
			count_outcome(worker, outcome, worker->interface_index);
			if ((outcome > RELAY_LAST_DROPPED && outcome < RELAY_OUTCOME_COUNT) ||
			    (outcome == RELAY_NOT_OURS && is_kept_from_stack(worker, &packet, frame.timestamp)))
				pass(worker, &packet, frame.segment_byte_count,
				     frame.status & (PACKET_RING_CHECKSUM_UNFINISHED | PACKET_RING_CHECKSUM_VALID));
		}
	}
	if (leaving)
		transmit(worker, departures, leaving);
	for (uint32_t index = 0; index < count; index++)
		packet_ring_release(&worker->rings[owners[index]], slots[index]);
	return count;
}

int ring_relay_run(struct ring_relay *relay, uint32_t interface_index, const uint8_t *frame, uint32_t byte_count,
		   uint8_t *output, uint32_t output_byte_count, struct ring_relay_result *result)
{
	struct ring_worker *bench = relay->workers[0];
	_Alignas(16) uint8_t buffer[64 + 4096];
	uint8_t *start = buffer + 64 - ETHERNET_PADDING_OFFSET;
	struct departure departure = {.start = start, .byte_count = byte_count};
	const struct ethhdr *ethernet = (const void *)start;
	uint32_t header_byte_count = ETH_HLEN;
	struct packet packet = {};

	if (byte_count > sizeof(buffer) - 64 || byte_count < ETH_HLEN)
		return -EINVAL;
	memcpy(start, frame, byte_count);
	result->outcome = RELAY_NOT_OURS;
	packet.protocol = ethernet->h_proto;
	if (packet.protocol == bpf_htons(ETH_P_8021Q) && byte_count >= ETH_HLEN + VLAN_TAG_BYTE_COUNT) {
		header_byte_count += VLAN_TAG_BYTE_COUNT;
		memcpy(&packet.control, start + ETH_HLEN, 2);
		memcpy(&packet.protocol, start + ETH_HLEN + 2, 2);
	}
	packet.network = start + header_byte_count;
	packet.byte_count = byte_count - header_byte_count;
	ring_worker_enter(bench);
	ring_worker_update_clock(bench);
	if (!(ethernet->h_dest[0] & 1))
		result->outcome = relay_packet(bench, &packet, &departure);
	count_outcome(bench, result->outcome, interface_index);
	ring_worker_leave(bench);
	result->byte_count = departure.byte_count;
	if (departure.byte_count > output_byte_count)
		return -ENOSPC;
	memcpy(output, departure.start, departure.byte_count);
	return 0;
}
