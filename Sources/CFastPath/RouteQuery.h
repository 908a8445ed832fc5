// Where the kernel would send a packet of our own: rtnetlink's answer, for engines that cannot ask bpf_fib_lookup.
// Acts in the network namespace it was opened in; one thread at a time. Functions that return int return a negative
// errno on failure.
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct route_query {
	int netlink; // rtnetlink
	int control; // for what only ioctl tells
	/// Readable when routes, neighbours, rules, addresses or links changed; 0 where the kernel does not tell.
	int changes;
	/// Grows with each change noted; 0: changes are not told, so nothing may be remembered for long.
	uint64_t state;
	uint32_t sequence;
};

int route_query_open(struct route_query *query);
void route_query_close(struct route_query *query);
/// Notes what changed since last asked; for when `changes` is readable.
void route_query_note_changes(struct route_query *query);

/// A UDP packet from one of our addresses; addresses are sixteen bytes, IPv4 as ::ffff:a.b.c.d, ports in network order.
struct route_packet {
	bool is_v6;
	uint8_t traffic_class;
	uint16_t source_port;
	uint16_t destination_port;
	const uint8_t *source;
	const uint8_t *destination;
};

struct route_answer {
	uint32_t interface_index;
	uint16_t packet_byte_count_max; // the path's MTU
	bool has_link_header; // false: packets leave without an Ethernet header (PPP, tunnels)
	uint8_t addresses[12]; // Ethernet destination and source, as they stand in a frame
};

/// -ENETUNREACH: no route, or one that does not lead out (to ourselves, prohibited, broadcast). -EHOSTUNREACH: the next
/// hop's address is not known (yet).
int route_query_ask(struct route_query *query, const struct route_packet *packet, struct route_answer *answer);
