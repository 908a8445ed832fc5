// Two filters that must agree: what enters a ring, and what the socket behind the ring's ports does not hear.
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <net/ethernet.h>
#include <stddef.h>
#include <string.h>

#include "RingWorker.h"

#define PROTOCOL_UDP 17
#define IPV4_WITHOUT_OPTIONS 0x45
#define IPV6_PAYLOAD_BYTE_COUNT_MAX (RING_RELAY_IPV6_BYTE_COUNT_MAX - 40)
#define VLAN_IDENTIFIER_MASK 0x0fff
#define ANY_BYTE_COUNT 0xffff

/// A program that grows; jumps to its end are written once it is known.
struct program {
	struct sock_filter *instructions;
	uint16_t count;
	uint16_t capacity;
};

static void add(struct program *program, uint16_t code, uint8_t when_true, uint8_t when_false, uint32_t value)
{
	if (program->count < program->capacity)
		program->instructions[program->count++] = (struct sock_filter){code, when_true, when_false, value};
}

static void answer(struct program *program, uint32_t value)
{
	add(program, BPF_RET | BPF_K, 0, 0, value);
}

/// Ends the program with `value` unless what was loaded compares so.
static void require(struct program *program, uint16_t comparison, uint32_t with, uint32_t value)
{
	add(program, BPF_JMP | comparison | BPF_K, 1, 0, with);
	answer(program, value);
}

static void refuse(struct program *program, uint16_t comparison, uint32_t with, uint32_t value)
{
	add(program, BPF_JMP | comparison | BPF_K, 0, 1, with);
	answer(program, value);
}

static void load(struct program *program, uint16_t width, int32_t offset)
{
	add(program, BPF_LD | width | BPF_ABS, 0, 0, (uint32_t)offset);
}

/// Ends with `other` unless the packet came untagged, from the wire, and is UDP as a ring takes it. The socket's program
/// and the ring's have this in common.
static void require_packet(struct program *program, bool is_v6, uint32_t other)
{
	load(program, BPF_W, SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT);
	add(program, BPF_JMP | BPF_JEQ | BPF_K, 3, 0, 0);
	// A VLAN device has a ring of its own; identifier 0 is a priority and no VLAN.
	load(program, BPF_W, SKF_AD_OFF + SKF_AD_VLAN_TAG);
	add(program, BPF_JMP | BPF_JSET | BPF_K, 0, 1, VLAN_IDENTIFIER_MASK);
	answer(program, other);
	if (is_v6) {
		load(program, BPF_B, SKF_NET_OFF + (int32_t)offsetof(struct ipv6hdr, nexthdr));
		require(program, BPF_JEQ, PROTOCOL_UDP, other);
		load(program, BPF_H, SKF_NET_OFF + (int32_t)offsetof(struct ipv6hdr, payload_len));
		refuse(program, BPF_JGT, IPV6_PAYLOAD_BYTE_COUNT_MAX, other);
	} else {
		load(program, BPF_B, SKF_NET_OFF);
		require(program, BPF_JEQ, IPV4_WITHOUT_OPTIONS, other);
		load(program, BPF_B, SKF_NET_OFF + (int32_t)offsetof(struct iphdr, protocol));
		require(program, BPF_JEQ, PROTOCOL_UDP, other);
		load(program, BPF_H, SKF_NET_OFF + (int32_t)offsetof(struct iphdr, tot_len));
		refuse(program, BPF_JGT, RING_RELAY_IPV4_BYTE_COUNT_MAX, other);
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

uint16_t ring_filter(bool is_v6, const struct relay_guarded_table *ports, struct sock_filter *instructions)
{
	struct program program = {instructions, 0, RING_FILTER_COUNT_MAX};
	int32_t address = is_v6 ? (int32_t)offsetof(struct ipv6hdr, daddr) + 12 : (int32_t)offsetof(struct iphdr, daddr);
	int32_t port = (is_v6 ? (int32_t)sizeof(struct ipv6hdr) : (int32_t)sizeof(struct iphdr)) + 2;

	load(&program, BPF_W, SKF_AD_OFF + SKF_AD_PKTTYPE);
	require(&program, BPF_JEQ, PACKET_HOST, 0);
	require_packet(&program, is_v6, 0);
	// The last word of an address tells ours apart well enough; the flow table looks at all of it.
	for (uint32_t index = 0; index < ports->count && index < RELAY_GUARDED_RANGE_COUNT_MAX; index++) {
		const struct relay_guarded_range *range = &ports->entries[index];
		if (is_mapped(range->address) == is_v6)
			continue;
		load(&program, BPF_W, SKF_NET_OFF + address);
		add(&program, BPF_JMP | BPF_JEQ | BPF_K, 0, 4, last_word(range->address));
		load(&program, BPF_H, SKF_NET_OFF + port);
		add(&program, BPF_JMP | BPF_JGE | BPF_K, 0, 2, range->port_min);
		add(&program, BPF_JMP | BPF_JGT | BPF_K, 1, 0, range->port_max);
		answer(&program, UINT32_MAX);
	}
	answer(&program, ports->count ? 0 : UINT32_MAX);
	return program.count;
}

uint16_t ring_relay_socket_filter(const struct ring_relay *relay, struct sock_filter *instructions)
{
	struct program program = {instructions, 0, RING_RELAY_FILTER_COUNT_MAX};
	uint32_t worker_count = relay->worker_count - 1;

	// What arrives by another interface, `lo` among them, is the socket's.
	load(&program, BPF_W, SKF_AD_OFF + SKF_AD_IFINDEX);
	for (uint32_t index = 0; index < worker_count; index++)
		add(&program, BPF_JMP | BPF_JEQ | BPF_K, (uint8_t)(worker_count - index), 0,
		    relay->workers[index + 1]->interface_index);
	answer(&program, UINT32_MAX);
	load(&program, BPF_W, SKF_AD_OFF + SKF_AD_PROTOCOL);
	// Over the IPv4 part, whose length is known only afterwards.
	uint16_t jump = program.count;
	add(&program, BPF_JMP | BPF_JEQ | BPF_K, 0, 0, ETHERTYPE_IP);
	require_packet(&program, true, UINT32_MAX);
	answer(&program, 0);
	program.instructions[jump].jt = (uint8_t)(program.count - jump - 1);
	require_packet(&program, false, UINT32_MAX);
	answer(&program, 0);
	return program.count;
}
