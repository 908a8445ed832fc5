// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What tool.c and bench.bpf.c share. A frame is Ethernet, IPv4, UDP, RTP and 160 bytes of G.711.
#pragma once
#include <linux/types.h>

#define FRAME_BYTE_COUNT 214
#define CHECKSUM_OFFSET 40
#define SEQUENCE_OFFSET 44
#define TIMESTAMP_OFFSET 46
#define STAMP_OFFSET 54 // when the generator made it, CLOCK_MONOTONIC, in place of the first samples; 0: not asked for
#define HEADER_WORD_COUNT 8
#define STREAM_COUNT_MAX 1024 // in each direction; a power of two
#define LATENCY_BUCKET_NANOSECONDS 64
#define LATENCY_BUCKET_COUNT (1 << 18) // the last holds everything from 16.8 ms on
#define LATE_NANOSECONDS_MAX 1000000 // further behind, the generator gives up catching up

struct sink {
	__u64 count;
	__u32 latencies[LATENCY_BUCKET_COUNT];
};

struct stream {
	__u64 words[HEADER_WORD_COUNT]; // the frame's beginning, with zeroes where each packet differs
	__u32 sum; // of pseudo-header and datagram
	__u32 timestamp;
	__u16 sequence;
};

struct generator {
	__u64 due;
	__u64 began;
	__u64 last; // beginning of the last burst
	__u64 sent;
	__u64 late; // times it gave up catching up
	__u64 burst_nanoseconds;
	__u32 burst; // packets; directions take turns by the burst
	__u32 stamps;
	__u32 stream_count;
	__u32 position;
	__u32 direction;
	__u32 next[2];
	struct stream streams[2][STREAM_COUNT_MAX];
};
