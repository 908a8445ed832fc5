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
#include "TapRecord.h"

/// What does not fit is left to the sockets: one datagram above it is in fragments on Ethernet, or on a jumbo network.
#define RING_RELAY_IPV4_BYTE_COUNT_MAX 1500
/// IPv6 fragments cannot be told from whole packets once the stack has put them together; up to here nobody makes any
/// (RFC 8200 §5).
#define RING_RELAY_IPV6_BYTE_COUNT_MAX 1280

/// In relay_next_hop and relay_interface: packets leave without an Ethernet header.
#define RING_RELAY_NO_LINK_HEADER 0xffff

struct ring_relay;

/// Where on a packet's way the rings of an interface lie.
enum ring_relay_place {
	/// Behind TC ingress: they see what a program there lets up.
	RING_RELAY_BEHIND_INGRESS,
	/// Before it: what they take need not go up the stack, and where the kernel can (CAP_NET_ADMIN, cls_bpf) a filter at
	/// TC ingress drops it there.
	RING_RELAY_BEFORE_INGRESS,
};

/// A relay without an interface. On failure `*call` names the step (static storage).
int ring_relay_create(uint32_t flow_count_max, struct ring_relay **relay, const char **call);
/// Ends threads and rings.
void ring_relay_destroy(struct ring_relay *relay);

/// Where packets may leave, and the rows of the totals. Before the first interface is added.
void ring_relay_set_interfaces(struct ring_relay *relay, const struct relay_interface_table *table);

/// Packets arriving at this interface are relayed from now on, those to these ports only; without a range, to any. At
/// most RELAY_INTERFACE_COUNT_MAX; -EEXIST if it is there already. `is_idle`: no media now, so what takes a moment of the
/// interface's transmission (the place of filters at TC ingress) may be done; else it is used only if it is there.
int ring_relay_add(struct ring_relay *relay, uint32_t interface_index, enum ring_relay_place place, bool is_idle,
		   const struct relay_guarded_table *ports, const char **call);
/// Moves the rings of an interface under the packets: each is seen by the old or the new ones, but perhaps one that
/// passes in the very moment. -ENOENT without rings there.
int ring_relay_move(struct ring_relay *relay, uint32_t interface_index, enum ring_relay_place place,
		    const struct relay_guarded_table *ports, const char **call);
/// Removes what a process that was killed left at the TC ingress of this interface. Not while there are rings.
void ring_relay_forget(uint32_t interface_index);
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

/// From now on packets of flows with a tap are copied, as they arrived, into a ring of so many bytes (relay_tap_writer_open).
/// Returns the reader's descriptor, which belongs to the caller.
int ring_relay_open_taps(struct ring_relay *relay, uint32_t byte_count, uint32_t generation);
void ring_relay_close_taps(struct ring_relay *relay);
/// Of the ring there is; zeroes without one.
void ring_relay_tap_counters(struct ring_relay *relay, struct relay_tap_counters *counters);

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
