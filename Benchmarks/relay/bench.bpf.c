// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The floor under every relay in BPF, and the sinks at the far end.
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_helpers.h>

const volatile __u32 target = 0; // interface index, set by the loader

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} count SEC(".maps");

static __always_inline void count_one(void)
{
	__u32 zero = 0;
	__u64 *value = bpf_map_lookup_elem(&count, &zero);

	if (value)
		(*value)++;
}

/// Media only: an IPv4 packet of the size we send.
static __always_inline int is_ours(__u32 byte_count)
{
	return byte_count == 214;
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
	if (!is_ours(context->data_end - context->data))
		return XDP_PASS;
	count_one();
	return XDP_DROP;
}

SEC("tc")
int sink_tc(struct __sk_buff *buffer)
{
	if (!is_ours(buffer->len))
		return TC_ACT_UNSPEC;
	count_one();
	return TC_ACT_SHOT;
}

char bench_license[] SEC("license") = "Dual BSD/GPL";
