// What a flow's packets say about its quality: the layout of the map `flow_quality`, shared by the programs and by
// user space.
//
// One record per flow, not one per CPU: sequence, transit time and gap follow the packets, whichever CPU gets them. It
// is written without a lock or atomics. When a flow moves to another CPU while packets of it are still under way on the
// first, each such pair of packets may lose one count or one jitter step; nothing else depends on what stands here.
#pragma once
#include <linux/types.h>
#include <stddef.h>

/// RTP (RFC 3550 §6.4.1, A.1, A.3, A.8). A run is what came with one SSRC and without a jump in its sequence.
struct relay_stream_quality {
	__u64 seen; // bit n: the packet n before the highest came
	__u64 last_arrival; // nanoseconds of CLOCK_MONOTONIC; 0 before the first packet
	__u64 longest_gap; // nanoseconds between two packets
	__be32 ssrc;
	__u32 highest; // of the run, extended
	__u32 received; // in all runs, duplicates too
	__u32 transit; // of the packet before, in RTP clock ticks
	__u32 jitter; // in sixteenths of a tick
	__u32 clock_ticks; // of the flow when `jitter` was counted; 0: never
	__u32 reordered;
	__u32 duplicates;
	__u16 source_changes;
	__u16 restarts; // jumps of the sequence within one SSRC
	__u8 payload_type; // of the packet that `transit` belongs to; 0xff: none
	__u8 has_event;
	__u8 zero[2];
	// All that a packet in its order needs stands before this, in one cache line.
	__u32 first; // of the run, extended by the count of cycles
	__u32 jump; // 1 << 16 | the sequence number that would confirm a jump; 0: none expected
	__u32 expected_before; // by the runs that are over
	__u32 event_timestamp; // of the latest telephone-event
	__u32 events;
	__u32 zeros;
};
_Static_assert(sizeof(struct relay_stream_quality) == 88, "shared with the BPF program");
_Static_assert(offsetof(struct relay_stream_quality, first) == 64, "a cache line");

#define RELAY_SENDER_REPORT_COUNT 2

/// RTCP (RFC 3550 §6.4): when this peer's sender reports passed, and what it last said of the stream sent to it.
struct relay_report_quality {
	__u64 sender_report_passed[RELAY_SENDER_REPORT_COUNT]; // nanoseconds of CLOCK_MONOTONIC; 0: none
	__u64 round_trip_sum; // between us and this peer, in nanoseconds
	__u32 round_trip_count;
	__u32 round_trip; // the latest, here and below in microseconds
	__u32 round_trip_min;
	__u32 round_trip_max;
	__be32 sender_report_time[RELAY_SENDER_REPORT_COUNT]; // the middle of its NTP time, as it stands in the packet
	__u32 sender_reports;
	__u32 receptions; // reception report blocks read: the first of each report
	__be32 ssrc; // of the latest block, here and below as it stands in the packet
	__be32 lost; // fraction in the first byte, cumulative in the others
	__be32 highest;
	__be32 jitter;
};
_Static_assert(sizeof(struct relay_report_quality) == 72, "shared with the BPF program");

/// One per flow, at counter_index. A flow of RTP has both parts where RTCP shares its port (RFC 5761).
struct relay_quality {
	struct relay_stream_quality stream;
	struct relay_report_quality reports;
	__u64 zeros[4]; // to whole cache lines
};
_Static_assert(sizeof(struct relay_quality) == 192, "shared with the BPF program");
