// The layout of the maps, shared by the BPF program and by user space. Addresses are sixteen bytes in network
// order, IPv4 as ::ffff:a.b.c.d; ports and checksum words are in network order, as they stand in a packet.
#pragma once
#include <linux/types.h>

#include "FlowQuality.h"

/// Where a packet arrives: our address and port.
struct relay_flow_key {
	__u8 address[16];
	__be16 port;
	__u16 zero;
};
_Static_assert(sizeof(struct relay_flow_key) == 20, "shared with the BPF program");

enum relay_flow_kind { RELAY_FLOW_RTP = 0, RELAY_FLOW_RTCP = 1 };
enum relay_wrong_source { RELAY_WRONG_SOURCE_PASS = 0, RELAY_WRONG_SOURCE_DROP = 1 };

/// Whether the packet leaves in the other family.
enum relay_translation { RELAY_TRANSLATION_NONE = 0, RELAY_TRANSLATION_V4_TO_V6, RELAY_TRANSLATION_V6_TO_V4 };

#define RELAY_PAYLOAD_TYPE_COUNT_MAX 4

/// What to do with it. The differences are ones' complement sums, new minus old, folded to sixteen bits; they are
/// constant because a relayed packet has exactly the key's destination and exactly the accepted source.
struct relay_flow {
	__u8 accepted_address[16];
	__u8 source_address[16];
	__u8 destination_address[16];
	__be16 accepted_port;
	__be16 source_port;
	__be16 destination_port;
	/// What an unfinished UDP checksum holds (the pseudo-header before rewriting), but for the length.
	__u16 pseudo_header_sum;
	__u16 address_difference;
	__u16 port_difference;
	/// address_difference and one less in the TTL: for the IPv4 header.
	__u16 header_difference;
	__u8 kind;
	__u8 wrong_source;
	__u32 counter_index;
	/// Not 0, and another one each time the flow is applied: what was remembered of the old one is void.
	__u32 generation;
	__u8 payload_type_from[RELAY_PAYLOAD_TYPE_COUNT_MAX];
	__u8 payload_type_to[RELAY_PAYLOAD_TYPE_COUNT_MAX];
	__u8 payload_type_count;
	__u8 translation; // enum relay_translation
	/// The traffic class as it leaves: of the first two bytes of the outgoing IP header, in network order, what is
	/// kept and what is put in its place. ECN is always kept.
	__be16 class_keep;
	__be16 class_set;
	__u8 tap_direction;
	/// Of telephone-event as packets of this flow bring it (RFC 4733); 0xff: none.
	__u8 event_payload_type;
	/// Not 0: each relayed packet is copied to the tap ring, with this number and tap_direction.
	__u32 tap;
	/// RTP clock ticks in 2^32 ns, for jitter; 0: unknown.
	__u32 clock_ticks;
};
_Static_assert(sizeof(struct relay_flow) == 96, "shared with the BPF program");

#define RELAY_NEXT_HOP_NANOSECONDS 250000000

/// What the kernel's routing said, for the program alone to remember: long enough to spare most look-ups, short enough
/// that a changed route or neighbour is followed before anybody hears it.
struct relay_next_hop {
	__u64 expiry; // nanoseconds of CLOCK_MONOTONIC
	__u32 generation; // of the flow it was asked for; 0: nothing is remembered
	__u32 transmit_index;
	__u16 vlan;
	__u16 packet_byte_count_max;
	__u8 addresses[12]; // Ethernet destination and source, as they stand in a frame
};

/// One per flow and CPU, at counter_index.
struct relay_flow_counters {
	__u64 packets;
	__u64 bytes; // of UDP payload
	__u64 wrong_source;
	__u64 malformed;
	__u64 last_arrival; // nanoseconds of CLOCK_MONOTONIC; 0 before the first packet
	struct relay_next_hop next_hop;
};
_Static_assert(sizeof(struct relay_flow_counters) == 72, "shared with the BPF program");

/// How a packet of a known flow, to a guarded port or before the shield ended. The others than relayed and dropped pass it up, untouched,
/// to the socket.
enum relay_outcome {
	RELAY_RELAYED = 0,
	RELAY_DROPPED_WRONG_SOURCE,
	RELAY_DROPPED_MALFORMED,
	RELAY_DROPPED_NO_ROOM, // the kernel had no memory for a VLAN tag
	RELAY_DROPPED_CLOSED_PORT, // no flow, and a guarded port without a socket
	RELAY_DROPPED_BLOCKED, // from here the shield: no flow, and the source is blocked
	RELAY_DROPPED_UNUSUAL, // to a SIP address: lengths that lie, options or extension headers
	RELAY_DROPPED_NOT_SIP, // to a SIP port
	RELAY_DROPPED_SOURCE_RATE, // signalling from one source
	RELAY_DROPPED_UNKNOWN_RATE, // signalling from all unknown sources
	RELAY_LAST_DROPPED = RELAY_DROPPED_UNKNOWN_RATE, // up to here a packet ends with us
	RELAY_PASSED_WRONG_SOURCE,
	RELAY_PASSED_UNUSUAL, // lengths that disagree, several datagrams in one buffer, IPv6 without a checksum
	RELAY_PASSED_TTL,
	RELAY_PASSED_NO_ROUTE,
	RELAY_PASSED_NO_NEIGHBOUR,
	RELAY_PASSED_TOO_LARGE,
	RELAY_PASSED_FOREIGN_INTERFACE, // the route leads out of an interface we were not given
	RELAY_OUTCOME_COUNT,
	RELAY_NOT_OURS = RELAY_OUTCOME_COUNT, // no flow: passed, not counted
};

/// One per interface of the table and CPU.
struct relay_totals {
	__u64 outcomes[RELAY_OUTCOME_COUNT];
};

#define RELAY_INTERFACE_COUNT_MAX 16

/// An interface packets may arrive at or leave by. A VLAN device leaves by its parent, with a tag.
struct relay_interface {
	__u32 index;
	__u32 transmit_index; // 0: nothing leaves here
	__u16 vlan; // 0: no tag
	__u16 zero;
};

/// A global variable of the program.
struct relay_interface_table {
	__u32 count;
	struct relay_interface entries[RELAY_INTERFACE_COUNT_MAX];
};
_Static_assert(sizeof(struct relay_interface_table) == 196, "shared with the BPF program");

#define RELAY_GUARDED_RANGE_COUNT_MAX 16

/// Ports of one of our addresses where a packet without a flow and without a socket ends unanswered.
struct relay_guarded_range {
	__u8 address[16];
	__u16 port_min; // these two in host order
	__u16 port_max;
};

/// A global variable of the program. It is replaced while packets arrive, which at worst see a mixture of both tables:
/// what has a socket is never dropped, whatever stands here.
struct relay_guarded_table {
	__u32 count;
	struct relay_guarded_range entries[RELAY_GUARDED_RANGE_COUNT_MAX];
};
_Static_assert(sizeof(struct relay_guarded_table) == 324, "shared with the BPF program");
