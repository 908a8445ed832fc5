// tool hold OBJECT PROGRAM NETNS/INTERFACE[=TARGET]…: holds a copy of one program of bench.bpf.o on each interface (names
// ending in _xdp as native XDP, else TCX ingress), redirecting to TARGET in the same namespace. For each line it reads:
// "count" prints how many packets came, "latency" also the 50th, 99th and 99.9th percentile in nanoseconds since it was
// last asked.
// tool generate OBJECT FLOWS NETNS/INTERFACE NETNS/INTERFACE: for each line "PACKETS_PER_SECOND SECONDS BURST STAMPS" sends
// G.711-size RTP (214-byte frames) out of both interfaces, bursts and flows in turn; prints "sending", then "packets sent,
// nanoseconds taken, times late". FLOWS holds lines "direction destination-mac source-mac source port destination port".
// "nanoseconds taken" is from the first packet to the end of the last burst's turn.
// tool runtime NETNS/INTERFACE xdp|tcx: measures between two lines it reads; prints run count and nanoseconds of what
// is attached there.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "bench.h"

#define TCX_INGRESS 46 // enum bpf_attach_type since Linux 6.6
#define HELD_COUNT_MAX 4

static void fail(const char *what)
{
	printf("tool: %s: %s\n", what, strerror(errno));
	exit(1);
}

/// Enters the namespace of "NETNS/INTERFACE" and returns the interface's index there.
static int enter(char *place)
{
	char path[128], *slash = strchr(place, '/');
	int descriptor, index;

	if (!slash) {
		errno = EINVAL;
		fail(place);
	}
	snprintf(path, sizeof(path), "/run/netns/%.*s", (int)(slash - place), place);
	descriptor = open(path, O_RDONLY | O_CLOEXEC);
	if (descriptor < 0 || setns(descriptor, CLONE_NEWNET))
		fail(path);
	close(descriptor);
	index = if_nametoindex(slash + 1);
	if (!index)
		fail(place);
	return index;
}

static struct bpf_object *open_object(const char *path, const char *name)
{
	struct bpf_object *object = bpf_object__open_file(path, NULL);
	struct bpf_program *program;

	if (libbpf_get_error(object))
		fail(path);
	bpf_object__for_each_program(program, object)
		bpf_program__set_autoload(program, !strcmp(bpf_program__name(program), name));
	return object;
}

/// A section of the loaded program's variables, shared with it.
static void *section(struct bpf_object *object, const char *name, size_t byte_count)
{
	void *at = mmap(NULL, byte_count, PROT_READ | PROT_WRITE, MAP_SHARED,
			bpf_object__find_map_fd_by_name(object, name), 0);

	if (at == MAP_FAILED)
		fail(name);
	return at;
}

/// Prints where the percentiles lie and empties the buckets.
static void print_latencies(struct sink *sinks[], int held_count)
{
	static const int permille[] = {500, 990, 999};
	uint64_t sum = 0, passed = 0;
	int next = 0;

	for (int held = 0; held < held_count; held++)
		for (int i = 0; i < LATENCY_BUCKET_COUNT; i++)
			sum += sinks[held]->latencies[i];
	printf(" %llu", (unsigned long long)sum);
	for (int i = 0; i < LATENCY_BUCKET_COUNT && next < 3; i++) {
		for (int held = 0; held < held_count; held++)
			passed += sinks[held]->latencies[i];
		for (; next < 3 && sum && passed * 1000 >= sum * permille[next]; next++)
			printf(" %lld", (i * 2LL + 1) * LATENCY_BUCKET_NANOSECONDS / 2);
	}
	for (int held = 0; held < held_count; held++)
		memset(sinks[held]->latencies, 0, sizeof(sinks[held]->latencies));
}

static int hold(char **arguments, int place_count)
{
	const char *name = arguments[1];
	int is_xdp = strlen(name) > 4 && !strcmp(name + strlen(name) - 4, "_xdp");
	struct sink *sinks[HELD_COUNT_MAX];

	if (place_count > HELD_COUNT_MAX) {
		errno = E2BIG;
		fail("hold");
	}
	for (int i = 0; i < place_count; i++) {
		struct bpf_object *object = open_object(arguments[0], name);
		char *place = arguments[2 + i], *target = strchr(place, '=');

		if (target)
			*target++ = 0;
		int index = enter(place);
		if (target) {
			uint32_t target_index = if_nametoindex(target);
			if (!target_index || bpf_map__set_initial_value(
						     bpf_object__find_map_by_name(object, ".rodata"), &target_index,
						     sizeof(target_index)))
				fail(target);
		}
		if (bpf_object__load(object))
			fail("load");
		LIBBPF_OPTS(bpf_link_create_opts, options, .flags = is_xdp ? XDP_FLAGS_DRV_MODE : 0);
		int descriptor = bpf_program__fd(bpf_object__find_program_by_name(object, name));
		if (bpf_link_create(descriptor, index, is_xdp ? BPF_XDP : TCX_INGRESS, &options) < 0)
			fail("attach");
		sinks[i] = section(object, ".bss.sink", sizeof(struct sink));
	}
	puts("ready");
	fflush(stdout);
	for (char line[64]; fgets(line, sizeof(line), stdin);) {
		uint64_t sum = 0;
		for (int i = 0; i < place_count; i++)
			sum += *(volatile __u64 *)&sinks[i]->count;
		printf("%llu", (unsigned long long)sum);
		if (line[0] == 'l')
			print_latencies(sinks, place_count);
		puts("");
		fflush(stdout);
	}
	return 0;
}

/// In the order of the machine, as the generator adds.
static uint32_t add(uint32_t sum, const uint8_t *bytes, int count)
{
	for (int i = 0; i < count; i += 2)
		sum += *(const uint16_t *)(bytes + i);
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

static void build(uint8_t *frame, struct stream *stream, const uint8_t *macs, in_addr_t source, int source_port,
		  in_addr_t destination, int destination_port, uint32_t ssrc)
{
	uint8_t *ip = frame + 14, *udp = ip + 20, *rtp = udp + 8;
	uint16_t checksum;

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
	put16(ip + 10, 0);
	checksum = ~fold(add(0, ip, 20));
	memcpy(ip + 10, &checksum, 2);
	put16(udp, source_port);
	put16(udp + 2, destination_port);
	put16(udp + 4, 180);
	rtp[0] = 0x80;
	rtp[1] = 8;
	memcpy(rtp + 8, &ssrc, 4);
	for (int i = 20; i < 172; i++)
		rtp[i] = 0xd5 ^ i;
	memcpy(stream->words, frame, sizeof(stream->words));
	stream->sum = fold(add(htons(17) + htons(180), ip + 12, 8) + add(0, udp, 180));
}

static void interrupt(int signal)
{
	(void)signal; // ends BPF_PROG_RUN with EINTR
}

static int generate(char **arguments)
{
	uint8_t frame[FRAME_BYTE_COUNT] = {}, macs[12];
	char source[64], destination[64];
	int source_port, destination_port;
	unsigned int direction, counts[2] = {};
	FILE *file = fopen(arguments[1], "r");
	struct bpf_object *object = open_object(arguments[0], "generate");

	if (!file)
		fail(arguments[1]);
	if (bpf_object__load(object))
		fail("load");
	volatile struct generator *generator = section(object, ".bss.generator", sizeof(struct generator));
	while (fscanf(file, "%u %hhx:%hhx:%hhx:%hhx:%hhx:%hhx %hhx:%hhx:%hhx:%hhx:%hhx:%hhx %63s %d %63s %d", &direction,
		      macs, macs + 1, macs + 2, macs + 3, macs + 4, macs + 5, macs + 6, macs + 7, macs + 8, macs + 9,
		      macs + 10, macs + 11, source, &source_port, destination, &destination_port) == 17 &&
	       direction < 2 && counts[direction] < STREAM_COUNT_MAX) {
		build(frame, (struct stream *)&generator->streams[direction][counts[direction]], macs, inet_addr(source), source_port,
		      inet_addr(destination), destination_port, direction << 16 | counts[direction]);
		counts[direction]++;
	}
	fclose(file);
	if (!counts[0] || counts[0] != counts[1]) {
		errno = EINVAL;
		fail(arguments[1]);
	}
	for (uint32_t i = 0; i < 2; i++) {
		uint32_t index = enter(arguments[2 + i]);
		if (bpf_map_update_elem(bpf_object__find_map_fd_by_name(object, "ends"), &i, &index, BPF_ANY))
			fail(arguments[2 + i]);
	}
	struct sigaction action = {.sa_handler = interrupt};
	sigaction(SIGALRM, &action, NULL);
	int descriptor = bpf_program__fd(bpf_object__find_program_by_name(object, "generate"));
	puts("ready");
	fflush(stdout);
	for (char line[128]; fgets(line, sizeof(line), stdin);) {
		double rate, seconds;
		uint32_t burst, stamps;
		if (sscanf(line, "%lf %lf %u %u", &rate, &seconds, &burst, &stamps) != 4 || rate < 1 || burst < 1 ||
		    burst > 256) {
			errno = EINVAL;
			fail(line);
		}
		generator->stream_count = counts[0];
		generator->burst = burst;
		generator->burst_nanoseconds = burst * 1e9 / rate;
		generator->stamps = stamps;
		generator->due = generator->sent = generator->late = generator->position = 0;
		struct xdp_md context = {.data_end = FRAME_BYTE_COUNT};
		uint32_t repeat = rate * seconds / burst + 1;
		LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame, .data_size_in = FRAME_BYTE_COUNT,
			    .ctx_in = &context, .ctx_size_in = sizeof(context), .repeat = repeat * burst,
			    .flags = BPF_F_TEST_XDP_LIVE_FRAMES, .batch_size = burst);
		// Hardly longer than asked for, even if the rate is out of reach; set-up alone takes tens of milliseconds.
		double longest = seconds * 1.2 + 0.1;
		struct itimerval timer = {.it_value = {.tv_sec = longest, .tv_usec = (longest - (int)longest) * 1e6}};
		puts("sending");
		fflush(stdout);
		setitimer(ITIMER_REAL, &timer, NULL);
		int result = bpf_prog_test_run_opts(descriptor, &options);
		setitimer(ITIMER_REAL, &(struct itimerval){}, NULL);
		if (result && result != -EINTR) {
			errno = -result;
			fail("BPF_PROG_RUN");
		}
		printf("%llu %llu %llu\n", (unsigned long long)generator->sent,
		       (unsigned long long)(generator->last - generator->began + generator->burst_nanoseconds),
		       (unsigned long long)generator->late);
		fflush(stdout);
	}
	return 0;
}

static void program_time(int index, int is_xdp, uint64_t *count, uint64_t *nanoseconds)
{
	struct bpf_prog_info info = {};
	uint32_t byte_count = sizeof(info), identifiers[8] = {}, held = 8;

	if (is_xdp ? bpf_xdp_query_id(index, XDP_FLAGS_DRV_MODE, identifiers)
		   : bpf_prog_query(index, TCX_INGRESS, 0, NULL, identifiers, &held))
		fail("query");
	int descriptor = bpf_prog_get_fd_by_id(identifiers[0]);
	if (descriptor < 0 || bpf_obj_get_info_by_fd(descriptor, &info, &byte_count))
		fail("program");
	close(descriptor);
	*count = info.run_cnt;
	*nanoseconds = info.run_time_ns;
}

static int runtime(char **arguments)
{
	int index = enter(arguments[0]), is_xdp = !strcmp(arguments[1], "xdp");
	uint64_t counts[2], nanoseconds[2];
	char line[64];
	int statistics = bpf_enable_stats(BPF_STATS_RUN_TIME);

	if (statistics < 0)
		fail("BPF_ENABLE_STATS");
	program_time(index, is_xdp, counts, nanoseconds);
	puts("ready");
	fflush(stdout);
	if (!fgets(line, sizeof(line), stdin))
		return 1;
	program_time(index, is_xdp, counts + 1, nanoseconds + 1);
	printf("%llu %llu\n", (unsigned long long)(counts[1] - counts[0]),
	       (unsigned long long)(nanoseconds[1] - nanoseconds[0]));
	return 0;
}

int main(int count, char **arguments)
{
	if (count >= 5 && !strcmp(arguments[1], "hold"))
		return hold(arguments + 2, count - 4);
	if (count == 6 && !strcmp(arguments[1], "generate"))
		return generate(arguments + 2);
	if (count == 4 && !strcmp(arguments[1], "runtime"))
		return runtime(arguments + 2);
	fputs("usage: see the top of tool.c\n", stderr);
	return 2;
}
