// tool hold OBJECT PROGRAM INTERFACE [TARGET]: holds one program of bench.bpf.o on INTERFACE (names ending in _xdp as
// native XDP, else TCX ingress), redirecting to TARGET; prints the count of its sink for each line read.
// tool generate INTERFACE FLOWS PACKETS_PER_SECOND SECONDS BURST: sends G.711-size RTP (20 ms, 214-byte frames), flows in
// turn; FLOWS holds lines "destination-mac source-mac source port destination port". Prints what it sent.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#define TCX_INGRESS 46 // enum bpf_attach_type since Linux 6.6
#define FRAME_BYTE_COUNT 214
#define FLOW_COUNT_MAX 4096
#define BURST_MAX 256

static void fail(const char *what)
{
	fprintf(stderr, "tool: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int hold(char **arguments, int count)
{
	const char *name = arguments[1];
	int is_xdp = strlen(name) > 4 && !strcmp(name + strlen(name) - 4, "_xdp");
	struct bpf_object *object = bpf_object__open_file(arguments[0], NULL);
	struct bpf_program *program;

	if (libbpf_get_error(object))
		fail(arguments[0]);
	bpf_object__for_each_program(program, object)
		bpf_program__set_autoload(program, !strcmp(bpf_program__name(program), name));
	if (count > 3) {
		size_t byte_count;
		uint32_t *target = (uint32_t *)bpf_map__initial_value(
			bpf_object__find_map_by_name(object, ".rodata"), &byte_count);
		if (!target || !(*target = if_nametoindex(arguments[3])))
			fail(arguments[3]);
	}
	if (bpf_object__load(object))
		fail("load");
	LIBBPF_OPTS(bpf_link_create_opts, options, .flags = is_xdp ? XDP_FLAGS_DRV_MODE : 0);
	int descriptor = bpf_program__fd(bpf_object__find_program_by_name(object, name));
	if (bpf_link_create(descriptor, if_nametoindex(arguments[2]), is_xdp ? BPF_XDP : TCX_INGRESS, &options) < 0)
		fail("attach");
	int map = bpf_object__find_map_fd_by_name(object, "count");
	puts("ready");
	fflush(stdout);
	for (char line[64]; fgets(line, sizeof(line), stdin);) {
		uint64_t values[256] = {}, sum = 0;
		uint32_t zero = 0;
		bpf_map_lookup_elem(map, &zero, values);
		for (int i = 0; i < libbpf_num_possible_cpus() && i < 256; i++)
			sum += values[i];
		printf("%llu\n", (unsigned long long)sum);
		fflush(stdout);
	}
	return 0;
}

static uint32_t add(uint32_t sum, const uint8_t *bytes, int count)
{
	for (int i = 0; i < count; i += 2)
		sum += bytes[i] << 8 | bytes[i + 1];
	return sum;
}

static uint16_t fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static void put16(uint8_t *at, uint16_t value)
{
	at[0] = value >> 8;
	at[1] = value;
}

static void build(uint8_t *frame, const uint8_t *macs, in_addr_t source, int source_port, in_addr_t destination,
		  int destination_port, uint32_t ssrc)
{
	uint8_t *ip = frame + 14, *udp = ip + 20, *rtp = udp + 8;

	memcpy(frame, macs, 12);
	put16(frame + 12, ETH_P_IP);
	ip[0] = 0x45;
	ip[1] = 0xb8;
	put16(ip + 2, 200);
	put16(ip + 6, 0x4000);
	ip[8] = 64;
	ip[9] = 17;
	memcpy(ip + 12, &source, 4);
	memcpy(ip + 16, &destination, 4);
	put16(ip + 10, ~fold(add(0, ip, 20)));
	put16(udp, source_port);
	put16(udp + 2, destination_port);
	put16(udp + 4, 180);
	rtp[0] = 0x80;
	memcpy(rtp + 8, &ssrc, 4);
	for (int i = 12; i < 172; i++)
		rtp[i] = 0xd5 ^ i;
	put16(udp + 6, ~fold(add(17 + 180, ip + 12, 8) + add(0, udp, 180)));
}

static int64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static int generate(char **arguments)
{
	static uint8_t frames[FLOW_COUNT_MAX][FRAME_BYTE_COUNT];
	struct mmsghdr messages[BURST_MAX] = {};
	struct iovec vectors[BURST_MAX];
	int flow_count = 0, burst = atoi(arguments[4]), one = 1;
	int64_t rate = atoll(arguments[2]);
	char source[64], destination[64];
	uint8_t macs[12];
	int source_port, destination_port;
	FILE *file = fopen(arguments[1], "r");

	if (!file)
		fail(arguments[1]);
	while (flow_count < FLOW_COUNT_MAX &&
	       fscanf(file, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx %hhx:%hhx:%hhx:%hhx:%hhx:%hhx %63s %d %63s %d", macs, macs + 1,
		      macs + 2, macs + 3, macs + 4, macs + 5, macs + 6, macs + 7, macs + 8, macs + 9, macs + 10, macs + 11,
		      source, &source_port, destination, &destination_port) == 16) {
		build(frames[flow_count], macs, inet_addr(source), source_port, inet_addr(destination), destination_port,
		      flow_count);
		flow_count++;
	}
	if (!flow_count || burst < 1 || burst > BURST_MAX || rate < 1) {
		errno = EINVAL;
		fail("arguments");
	}
	struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_ifindex = if_nametoindex(arguments[0])};
	int descriptor = socket(AF_PACKET, SOCK_RAW, 0);
	if (descriptor < 0 || bind(descriptor, (struct sockaddr *)&address, sizeof(address)) ||
	    setsockopt(descriptor, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof(one)))
		fail(arguments[0]);
	for (int i = 0; i < burst; i++) {
		messages[i].msg_hdr.msg_iov = &vectors[i];
		messages[i].msg_hdr.msg_iovlen = 1;
		vectors[i].iov_len = FRAME_BYTE_COUNT;
	}
	int64_t start = now(), end = start + (int64_t)(atof(arguments[3]) * 1e9), sent = 0, refused = 0;
	int flow = 0;
	for (int64_t due = start; due < end; due = start + (sent + refused) * 1000000000LL / rate) {
		while (now() < due)
			;
		for (int i = 0; i < burst; i++, flow = (flow + 1) % flow_count)
			vectors[i].iov_base = frames[flow];
		int result = sendmmsg(descriptor, messages, burst, 0);
		sent += result > 0 ? result : 0;
		refused += burst - (result > 0 ? result : 0);
	}
	printf("%lld %lld\n", (long long)sent, (long long)refused);
	return 0;
}

int main(int count, char **arguments)
{
	if (count >= 5 && !strcmp(arguments[1], "hold"))
		return hold(arguments + 2, count - 2);
	if (count == 7 && !strcmp(arguments[1], "generate"))
		return generate(arguments + 2);
	fputs("usage: see the top of tool.c\n", stderr);
	return 2;
}
