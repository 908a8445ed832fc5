// Datagrams the box itself makes, out of packet sockets: past the stack, as the ring relay's packets leave. One thread owns
// a sender; it acts in that thread's network namespace. Functions that return int return a negative errno on failure.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct media_sender;

/// Addresses are sixteen bytes, IPv4 as ::ffff:a.b.c.d, ports in network order.
struct media_datagram {
	bool is_v6;
	uint8_t traffic_class;
	uint8_t time_to_live;
	/// Where a multicast group is reached; else 0: routing says.
	uint32_t interface_index;
	uint16_t source_port;
	uint16_t destination_port;
	uint8_t source[16];
	uint8_t destination[16];
	const uint8_t *payload;
	size_t byte_count;
};

/// Beyond it: -EMSGSIZE.
#define MEDIA_SENDER_BYTE_COUNT_MAX 1400
/// Interfaces a sender may use; more are ignored.
#define MEDIA_SENDER_INTERFACE_COUNT_MAX 16

int media_sender_create(const uint32_t *interfaces, uint32_t count, struct media_sender **sender);
void media_sender_destroy(struct media_sender *sender);

/// 0: it left. Whatever else: a socket of the stack has to send it. -ENETUNREACH: the route leads out of none of the
/// interfaces; -EHOSTUNREACH: the next hop's address is not known yet, which a packet of the stack changes.
int media_sender_send(struct media_sender *sender, const struct media_datagram *datagram);
