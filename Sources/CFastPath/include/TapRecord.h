// What a tap delivers, shared by the BPF program and by whoever reads the ring.
#pragma once
#include <linux/types.h>

/// One relayed packet as it arrived.
struct relay_tap_record {
	__u64 timestamp; // nanoseconds of CLOCK_MONOTONIC
	__u32 tap;
	__u8 direction;
	__u8 zero;
	/// From the IP header on; more than the record holds where the packet was too large for it.
	__u16 packet_byte_count;
	__u8 packet[];
};
_Static_assert(sizeof(struct relay_tap_record) == 16, "shared with the BPF program");

/// Room is taken in these sizes, record header included: one for the usual G.711 packet, with IPv6 as well, one for its
/// longer relatives, one for everything else.
#define RELAY_TAP_ROOM_SMALL 256
#define RELAY_TAP_ROOM_MEDIUM 512
#define RELAY_TAP_ROOM_LARGE 2048

/// One per CPU.
struct relay_tap_counters {
	__u64 copied;
	__u64 lost; // the ring was full, or the packet could not be read
};
_Static_assert(sizeof(struct relay_tap_counters) == 16, "shared with the BPF program");
