// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The floor under every relay in BPF, the sinks at the far ends, and the generator.
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_helpers.h>

#include "bench.h"

const volatile __u32 target = 0; // interface index, set by the loader

struct sink sink SEC(".bss.sink");

/// Media only: a packet of the size we send.
static __always_inline int is_ours(__u32 byte_count)
{
	return byte_count == FRAME_BYTE_COUNT;
}

static __always_inline void count_one(const __u64 *stamp)
{
	sink.count++; // one core only ever counts
	if (*stamp) {
		__u64 bucket = (bpf_ktime_get_ns() - *stamp) / LATENCY_BUCKET_NANOSECONDS;
		if (bucket >= LATENCY_BUCKET_COUNT)
			bucket = LATENCY_BUCKET_COUNT - 1;
		sink.latencies[bucket]++;
	}
}

SEC("xdp")
int bare_xdp(struct xdp_md *context)
{
	if (!is_ours(context->data_end - context->data))
		return XDP_PASS;
	return bpf_redirect(target, 0);
}

SEC("tc")
int bare_tc(struct __sk_buff *buffer)
{
	if (!is_ours(buffer->len))
		return TC_ACT_UNSPEC;
	return bpf_redirect(target, 0);
}

SEC("xdp")
int sink_xdp(struct xdp_md *context)
{
	const __u8 *data = (const __u8 *)(long)context->data, *end = (const __u8 *)(long)context->data_end;

	if (!is_ours(end - data) || data + FRAME_BYTE_COUNT > end)
		return XDP_PASS;
	count_one((const __u64 *)(data + STAMP_OFFSET));
	return XDP_DROP;
}

SEC("tc")
int sink_tc(struct __sk_buff *buffer)
{
	__u64 stamp = 0;

	if (!is_ours(buffer->len))
		return TC_ACT_UNSPEC;
	bpf_skb_load_bytes(buffer, STAMP_OFFSET, &stamp, sizeof(stamp));
	count_one(&stamp);
	return TC_ACT_SHOT;
}

// The generator runs by BPF_PROG_RUN with live frames: one system call sends everything, paced in here.

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u32);
} ends SEC(".maps");

struct generator generator SEC(".bss.generator");

static long wait_until(__u64 index, __u64 *due)
{
	return bpf_ktime_get_ns() >= *due;
}

SEC("xdp")
int generate(struct xdp_md *context)
{
	__u8 *data = (__u8 *)(long)context->data, *end = (__u8 *)(long)context->data_end;
	__u32 direction = generator.direction & 1;
	__u64 *to = (__u64 *)data;

	if (data + FRAME_BYTE_COUNT > end)
		return XDP_DROP;
	if (generator.position == 0) {
		__u64 now = bpf_ktime_get_ns(), due = generator.due;

		if (!due || now > due + LATE_NANOSECONDS_MAX) {
			if (due)
				generator.late++;
			else
				generator.began = now;
			generator.due = due = now;
		}
		if (now < due)
			bpf_loop(1 << 20, wait_until, &due, 0);
		generator.last = now < due ? due : now;
		generator.due += generator.burst_nanoseconds;
	}
	__u32 index = generator.next[direction];
	struct stream *stream = &generator.streams[direction][index & (STREAM_COUNT_MAX - 1)];
	__u64 stamp = generator.stamps ? bpf_ktime_get_ns() : 0;
	__u32 sum = stream->sum;

	for (int i = 0; i < HEADER_WORD_COUNT; i++)
		to[i] = stream->words[i];
	// RFC 3550 §5.1: 20 ms of G.711 a packet.
	__u16 sequence = __builtin_bswap16(stream->sequence++);
	__u32 timestamp = __builtin_bswap32(stream->timestamp);
	stream->timestamp += 160;
	*(__u16 *)(data + SEQUENCE_OFFSET) = sequence;
	*(__u32 *)(data + TIMESTAMP_OFFSET) = timestamp;
	*(__u64 *)(data + STAMP_OFFSET) = stamp;
	sum += sequence + (timestamp & 0xffff) + (timestamp >> 16);
	sum += (stamp & 0xffff) + (stamp >> 16 & 0xffff) + (stamp >> 32 & 0xffff) + (stamp >> 48);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	__u16 checksum = ~sum;
	*(__u16 *)(data + CHECKSUM_OFFSET) = checksum ? checksum : 0xffff;

	generator.next[direction] = index + 1 < generator.stream_count ? index + 1 : 0;
	generator.sent++;
	if (++generator.position >= generator.burst) {
		generator.position = 0;
		generator.direction ^= 1;
	}
	return bpf_redirect_map(&ends, direction, 0);
}

char bench_license[] SEC("license") = "Dual BSD/GPL";
