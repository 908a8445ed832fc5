// The relay in user space, for kernels and interfaces without BPF: packets are taken from AF_PACKET rings, rewritten where
// they lie by the same core as in the kernel, and sent from there. One thread per interface does it; the functions here
// belong to one other thread, the owner, and act in its network namespace. Functions that return int return a negative
// errno on failure.
//
// The stack sees the same packets and hands them to the bound socket behind each port. Its owner attaches the filter of
// ring_relay_socket_filter while the ring has a flow there: it drops exactly the packets the ring takes. What the core
// then does not relay (a foreign source, no neighbour …) comes up by ring_relay_receive instead.
#pragma once
#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "FlowTable.h"

/// What does not fit is left to the sockets: one datagram above it is in fragments on Ethernet, or on a jumbo network.
#define RING_RELAY_IPV4_BYTE_COUNT_MAX 1500
/// IPv6 fragments cannot be told from whole packets once the stack has put them together; up to here nobody makes any
/// (RFC 8200 §5).
#define RING_RELAY_IPV6_BYTE_COUNT_MAX 1280

/// In relay_next_hop and relay_interface: packets leave without an Ethernet header.
#define RING_RELAY_NO_LINK_HEADER 0xffff

struct ring_relay;

/// A relay without an interface. On failure `*call` names the step (static storage).
int ring_relay_create(uint32_t flow_count_max, struct ring_relay **relay, const char **call);
/// Ends threads and rings.
void ring_relay_destroy(struct ring_relay *relay);

/// Where packets may leave, and the rows of the totals. Before the first interface is added.
void ring_relay_set_interfaces(struct ring_relay *relay, const struct relay_interface_table *table);

/// Packets arriving at this interface are relayed from now on, those to these ports only; without a range, to any. At
/// most RELAY_INTERFACE_COUNT_MAX; -EEXIST if it is there already.
int ring_relay_add(struct ring_relay *relay, uint32_t interface_index, const struct relay_guarded_table *ports,
		   const char **call);
/// Relays what waits there, then ends the ring and its thread; what it counted stays counted.
void ring_relay_drop(struct ring_relay *relay, uint32_t interface_index);
/// The ports of all interfaces, from now on.
int ring_relay_set_ports(struct ring_relay *relay, const struct relay_guarded_table *ports);

/// Sets or replaces a flow, whose counters continue and whose counter_index is the relay's own; -ENOSPC when the table is full, -ENOMEM.
int ring_relay_update(struct ring_relay *relay, const struct relay_flow_key *key, const struct relay_flow *flow);
/// Relays what waits in the rings, then forgets the flow: a socket that hears again before loses nothing. Returns the last
/// counters; -ENOENT.
int ring_relay_remove(struct ring_relay *relay, const struct relay_flow_key *key, struct relay_flow_counters *counters,
		      struct relay_quality *quality);
/// The sum over all threads; -ENOENT.
int ring_relay_counters(struct ring_relay *relay, const struct relay_flow_key *key,
			struct relay_flow_counters *counters, struct relay_quality *quality);
void ring_relay_totals(struct ring_relay *relay, uint32_t slot, struct relay_totals *totals);

struct ring_relay_losses {
	uint64_t ring_full; // frames the kernel had no slot for
	uint64_t passed; // packets for the socket that found nobody to take them in time
};
void ring_relay_losses(struct ring_relay *relay, struct ring_relay_losses *losses);

/// What a socket behind a port of the ring must not hear; at most RING_RELAY_FILTER_COUNT_MAX instructions. Another one
/// after each ring_relay_add. Returns how many.
#define RING_RELAY_FILTER_COUNT_MAX 256
uint16_t ring_relay_socket_filter(const struct ring_relay *relay, struct sock_filter *instructions);

/// Readable while a packet waits that is the socket's after all.
int ring_relay_descriptor(const struct ring_relay *relay);
struct ring_relay_passed {
	struct relay_flow_key local;
	uint8_t source_address[16];
	uint16_t source_port; // network order
	uint16_t payload_byte_count;
};
/// 1 and the packet's payload (at most `byte_count` bytes), or 0 if none waits.
int ring_relay_receive(struct ring_relay *relay, struct ring_relay_passed *passed, uint8_t *payload,
		       size_t byte_count);

/// Runs the core on one Ethernet frame as if it had arrived at this interface, for tests: counts, but transmits nothing
/// and passes nothing up. The frame to send is left in `output`; for any other outcome, the frame as it came.
struct ring_relay_result {
	uint32_t outcome; // enum relay_outcome
	uint32_t byte_count;
};
int ring_relay_run(struct ring_relay *relay, uint32_t interface_index, const uint8_t *frame, uint32_t byte_count,
		   uint8_t *output, uint32_t output_byte_count, struct ring_relay_result *result);
