// Two filters that must agree: what enters a ring, and what the socket behind the ring's ports does not hear.
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <net/ethernet.h>
#include <stddef.h>
#include <string.h>

#include "RingProgram.h"
#include "RingWorker.h"

#define PROTOCOL_UDP 17
#define IPV4_WITHOUT_OPTIONS 0x45
#define IPV6_PAYLOAD_BYTE_COUNT_MAX (RING_RELAY_IPV6_BYTE_COUNT_MAX - 40)
#define VLAN_IDENTIFIER_MASK 0x0fff

void ring_require_packet(struct ring_program *program, bool is_v6, uint32_t other)
{
	ring_load(program, BPF_W, SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT);
	ring_add(program, BPF_JMP | BPF_JEQ | BPF_K, 3, 0, 0);
	// A VLAN device has a ring of its own; identifier 0 is a priority and no VLAN.
	ring_load(program, BPF_W, SKF_AD_OFF + SKF_AD_VLAN_TAG);
	ring_add(program, BPF_JMP | BPF_JSET | BPF_K, 0, 1, VLAN_IDENTIFIER_MASK);
	ring_answer(program, other);
	if (is_v6) {
		ring_load(program, BPF_B, SKF_NET_OFF + (int32_t)offsetof(struct ipv6hdr, nexthdr));
		ring_require(program, BPF_JEQ, PROTOCOL_UDP, other);
		ring_load(program, BPF_H, SKF_NET_OFF + (int32_t)offsetof(struct ipv6hdr, payload_len));
		ring_refuse(program, BPF_JGT, IPV6_PAYLOAD_BYTE_COUNT_MAX, other);
	} else {
		ring_load(program, BPF_B, SKF_NET_OFF);
		ring_require(program, BPF_JEQ, IPV4_WITHOUT_OPTIONS, other);
		ring_load(program, BPF_B, SKF_NET_OFF + (int32_t)offsetof(struct iphdr, protocol));
		ring_require(program, BPF_JEQ, PROTOCOL_UDP, other);
		ring_load(program, BPF_H, SKF_NET_OFF + (int32_t)offsetof(struct iphdr, tot_len));
		ring_refuse(program, BPF_JGT, RING_RELAY_IPV4_BYTE_COUNT_MAX, other);
	}
}

static uint32_t last_word(const uint8_t *address)
{
	uint32_t word;

	memcpy(&word, address + 12, sizeof(word));
	return ntohl(word);
}

static bool is_mapped(const uint8_t *address)
{
	static const uint8_t prefix[12] = {[10] = 0xff, [11] = 0xff};

	return memcmp(address, prefix, sizeof(prefix)) == 0;
}

static void add_ports(struct ring_program *program, bool is_v6, const struct relay_guarded_table *ports)
{
	int32_t address = is_v6 ? (int32_t)offsetof(struct ipv6hdr, daddr) + 12 : (int32_t)offsetof(struct iphdr, daddr);
	int32_t port = (is_v6 ? (int32_t)sizeof(struct ipv6hdr) : (int32_t)sizeof(struct iphdr)) + 2;

	ring_require_packet(program, is_v6, 0);
	// The last word of an address tells ours apart well enough; the flow table looks at all of it.
	for (uint32_t index = 0; index < ports->count && index < RELAY_GUARDED_RANGE_COUNT_MAX; index++) {
		const struct relay_guarded_range *range = &ports->entries[index];
		if (is_mapped(range->address) == is_v6)
			continue;
		ring_load(program, BPF_W, SKF_NET_OFF + address);
		ring_add(program, BPF_JMP | BPF_JEQ | BPF_K, 0, 4, last_word(range->address));
		ring_load(program, BPF_H, SKF_NET_OFF + port);
		ring_add(program, BPF_JMP | BPF_JGE | BPF_K, 0, 2, range->port_min);
		ring_add(program, BPF_JMP | BPF_JGT | BPF_K, 1, 0, range->port_max);
		ring_answer(program, UINT32_MAX);
	}
	ring_answer(program, ports->count ? 0 : UINT32_MAX);
}

uint16_t ring_filter(const struct relay_guarded_table *ports, struct sock_filter *instructions)
{
	struct ring_program program = {instructions, 0, RING_FILTER_COUNT_MAX};

	ring_load(&program, BPF_W, SKF_AD_OFF + SKF_AD_PKTTYPE);
	ring_require(&program, BPF_JEQ, PACKET_HOST, 0);
	ring_load(&program, BPF_W, SKF_AD_OFF + SKF_AD_PROTOCOL);
	// Over the IPv4 part, whose length is known only afterwards.
	uint16_t jump = program.count;
	ring_add(&program, BPF_JMP | BPF_JEQ | BPF_K, 0, 0, ETHERTYPE_IP);
	ring_require(&program, BPF_JEQ, ETHERTYPE_IPV6, 0);
	add_ports(&program, true, ports);
	program.instructions[jump].jt = (uint8_t)(program.count - jump - 1);
	add_ports(&program, false, ports);
	return program.count;
}

uint16_t ring_relay_socket_filter(const struct ring_relay *relay, struct sock_filter *instructions)
{
	struct ring_program program = {instructions, 0, RING_RELAY_FILTER_COUNT_MAX};
	uint32_t worker_count = relay->worker_count - 1;

	// What arrives by another interface, `lo` among them, is the socket's.
	ring_load(&program, BPF_W, SKF_AD_OFF + SKF_AD_IFINDEX);
	for (uint32_t index = 0; index < worker_count; index++)
		ring_add(&program, BPF_JMP | BPF_JEQ | BPF_K, (uint8_t)(worker_count - index), 0,
		    relay->workers[index + 1]->interface_index);
	ring_answer(&program, UINT32_MAX);
	ring_load(&program, BPF_W, SKF_AD_OFF + SKF_AD_PROTOCOL);
	// Over the IPv4 part, whose length is known only afterwards.
	uint16_t jump = program.count;
	ring_add(&program, BPF_JMP | BPF_JEQ | BPF_K, 0, 0, ETHERTYPE_IP);
	ring_require_packet(&program, true, UINT32_MAX);
	ring_answer(&program, 0);
	program.instructions[jump].jt = (uint8_t)(program.count - jump - 1);
	ring_require_packet(&program, false, UINT32_MAX);
	ring_answer(&program, 0);
	return program.count;
}
