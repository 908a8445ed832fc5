// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Reads the media packets of a flow for its quality; changes nothing but the flow's record.
// Plain C: the same for every engine.
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include <bpf/bpf_endian.h>

#include "../include/FlowTable.h"

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

// RFC 3550 A.1: a step further than this forward, or back, is a jump of the sequence.
#define QUALITY_DROPOUT_MAX 3000
#define QUALITY_MISORDER_MAX 100
#define QUALITY_SEEN_COUNT 64

#define RTCP_SENDER_REPORT 200
#define RTCP_RECEIVER_REPORT 201
#define RTCP_REPORT_COUNT_MASK 0x1f
#define RTCP_RECEIVER_HEADER_BYTE_COUNT 8
#define RTCP_SENDER_HEADER_BYTE_COUNT 28
#define RTCP_BLOCK_BYTE_COUNT 24

static __always_inline __u32 quality_word(const __u8 *at)
{
	return *(const __be32 *)at;
}

/// The runs before this packet are over. `first` is extended, in its first cycle.
static __always_inline void quality_begin_run(struct relay_stream_quality *stream, __be32 ssrc, __u32 first)
{
	if (stream->received)
		stream->expected_before += stream->highest - stream->first + 1;
	stream->ssrc = ssrc;
	stream->first = first;
	stream->highest = first;
	stream->seen = 1;
	stream->jump = 0;
	stream->payload_type = 0xff;
}

/// Places the packet in its sequence; false: it says nothing about time, as a duplicate or not yet believed.
static __always_inline bool quality_follow_sequence(struct relay_stream_quality *stream, __be32 ssrc, __u16 sequence)
{
	__u16 step = sequence - (__u16)stream->highest;

	if (!stream->received || ssrc != stream->ssrc) {
		if (stream->received)
			stream->source_changes++;
		quality_begin_run(stream, ssrc, 1 << 16 | sequence);
	} else if (step && step < QUALITY_DROPOUT_MAX) {
		stream->highest += step;
		stream->seen = step < QUALITY_SEEN_COUNT ? stream->seen << step | 1 : 1;
	} else {
		__u16 age = -step;

		if (age > QUALITY_MISORDER_MAX) {
			// The second in a row means it: the sender began anew (RFC 3550 A.1).
			if (stream->jump != (1 << 16 | sequence)) {
				stream->jump = 1 << 16 | (__u16)(sequence + 1);
				return false;
			}
			quality_begin_run(stream, ssrc, (1 << 16 | sequence) - 1);
			stream->highest++;
			stream->seen = 3;
			stream->received++; // the one that announced it
			stream->restarts++;
		} else if (age < QUALITY_SEEN_COUNT && stream->seen >> age & 1) {
			stream->received++;
			stream->duplicates++;
			return false;
		} else {
			if (age < QUALITY_SEEN_COUNT)
				stream->seen |= 1ULL << age;
			stream->reordered++;
			// Overtaken by what we took for the first.
			if (stream->highest - age < stream->first)
				stream->first = stream->highest - age;
		}
	}
	stream->received++;
	return true;
}

/// One per event: all packets of an event carry its timestamp, and the further segments of a long one follow without
/// a gap (RFC 4733 §2.5.1.2, §2.5.1.3).
static __always_inline void quality_count_event(struct relay_stream_quality *stream, __u32 timestamp)
{
	__s32 age = timestamp - stream->event_timestamp;

	if (stream->has_event && age <= 0)
		return;
	if (!stream->has_event || age != 0xffff)
		stream->events++;
	stream->event_timestamp = timestamp;
	stream->has_event = 1;
}

/// RFC 3550 §6.4.1 and A.8, over consecutive packets of one payload type: another one may have another clock. A step
/// of more than a second is a new beginning of the timestamps, not jitter.
static __always_inline void quality_follow_time(struct relay_stream_quality *stream, __u32 ticks, __u8 payload_type,
						__u32 timestamp, __u64 now)
{
	__u32 transit = (__u32)(now * ticks >> 32) - timestamp;

	if (ticks != stream->clock_ticks) {
		stream->clock_ticks = ticks;
		stream->jitter = 0;
	} else if (payload_type == stream->payload_type) {
		__s32 step = transit - stream->transit;
		__u32 distance = step < 0 ? -(__u32)step : step;
		if (distance < ticks >> 2)
			stream->jitter += distance - ((stream->jitter + 8) >> 4);
	}
	stream->transit = transit;
	stream->payload_type = payload_type;
}

static __always_inline void quality_read_rtp(struct relay_stream_quality *stream, const struct relay_flow *flow,
					     const __u8 *packet, __u64 now)
{
	__u8 payload_type = packet[1] & 0x7f;
	__u32 timestamp = bpf_ntohl(quality_word(packet + 4));
	__u64 gap = now - stream->last_arrival;

	// Another CPU may have been here with a later time.
	if (stream->last_arrival && now > stream->last_arrival && gap > stream->longest_gap)
		stream->longest_gap = gap;
	stream->last_arrival = now;
	if (!quality_follow_sequence(stream, quality_word(packet + 8), bpf_ntohs(*(const __be16 *)(packet + 2))))
		return;
	if (payload_type == flow->event_payload_type)
		quality_count_event(stream, timestamp);
	else if (flow->clock_ticks)
		quality_follow_time(stream, flow->clock_ticks, payload_type, timestamp, now);
}

/// A reception report block of this flow's peer against the sender reports that passed towards it (`opposite`).
static __always_inline void quality_read_block(struct relay_report_quality *reports,
					       const struct relay_report_quality *opposite, const __u8 *block, __u64 now)
{
	__be32 last_report = quality_word(block + 16);
	__u64 delay = (__u64)bpf_ntohl(quality_word(block + 20)) * 1000000000 >> 16;

	reports->ssrc = quality_word(block);
	reports->lost = quality_word(block + 4);
	reports->highest = quality_word(block + 8);
	reports->jitter = quality_word(block + 12);
	reports->receptions++;
	if (!last_report || !opposite)
		return;
	for (int i = 0; i < RELAY_SENDER_REPORT_COUNT; i++) {
		__u64 passed = opposite->sender_report_passed[i];
		if (!passed || opposite->sender_report_time[i] != last_report || now - passed < delay)
			continue;
		__u64 round_trip = now - passed - delay;
		__u32 microseconds = round_trip / 1000;
		reports->round_trip_sum += round_trip;
		if (!reports->round_trip_count++ || microseconds < reports->round_trip_min)
			reports->round_trip_min = microseconds;
		if (microseconds > reports->round_trip_max)
			reports->round_trip_max = microseconds;
		reports->round_trip = microseconds;
		break;
	}
}

/// The report a compound begins with (RFC 3550 §6.1) and the first block in it.
static __always_inline void quality_read_rtcp(struct relay_report_quality *reports,
					      const struct relay_report_quality *opposite, const __u8 *packet,
					      __u32 byte_count, const void *end, __u64 now)
{
	bool has_block = packet[0] & RTCP_REPORT_COUNT_MASK;

	if (packet[1] == RTCP_SENDER_REPORT) {
		if (byte_count < RTCP_SENDER_HEADER_BYTE_COUNT ||
		    (const void *)(packet + RTCP_SENDER_HEADER_BYTE_COUNT) > end)
			return;
		__u32 slot = reports->sender_reports++ % RELAY_SENDER_REPORT_COUNT;
		__u16 high = *(const __u16 *)(packet + 10), low = *(const __u16 *)(packet + 12);
		reports->sender_report_time[slot] = bpf_htonl((__u32)bpf_ntohs(high) << 16 | bpf_ntohs(low));
		reports->sender_report_passed[slot] = now;
		if (has_block && byte_count >= RTCP_SENDER_HEADER_BYTE_COUNT + RTCP_BLOCK_BYTE_COUNT &&
		    (const void *)(packet + RTCP_SENDER_HEADER_BYTE_COUNT + RTCP_BLOCK_BYTE_COUNT) <= end)
			quality_read_block(reports, opposite, packet + RTCP_SENDER_HEADER_BYTE_COUNT, now);
	} else if (packet[1] == RTCP_RECEIVER_REPORT) {
		if (has_block && byte_count >= RTCP_RECEIVER_HEADER_BYTE_COUNT + RTCP_BLOCK_BYTE_COUNT &&
		    (const void *)(packet + RTCP_RECEIVER_HEADER_BYTE_COUNT + RTCP_BLOCK_BYTE_COUNT) <= end)
			quality_read_block(reports, opposite, packet + RTCP_RECEIVER_HEADER_BYTE_COUNT, now);
	}
}
