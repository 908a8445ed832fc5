#include "RingIngress.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <net/ethernet.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <bpf/libbpf.h>

#include "RingProgram.h"
#include "include/RingRelay.h"

#define FILTER_HANDLE 0x43524553
#define FILTER_PRIORITY 0x4353 // behind the BPF program's, of which there is none while this is attached
#define FILTER_MARK 0x43524553 // the first instruction loads it: so we know our own
#define WORD_COUNT_MAX 600 // six instructions each; the rest is left to the sockets' filters
#define PASSED ((uint32_t)TC_ACT_UNSPEC)
#define FRAGMENT_MASK 0x3fff
#define TO_TAIL UINT32_MAX

// The program: which datagrams go to a port with a flow.

static bool is_mapped(const uint8_t *address)
{
	static const uint8_t prefix[12] = {[10] = 0xff, [11] = 0xff};

	return memcmp(address, prefix, sizeof(prefix)) == 0;
}

/// One 32-port word or half of those that remain: A holds the port's upper eleven bits, X the lower five.
static void add_search(struct ring_program *program, const uint32_t *words, const uint16_t *used, uint32_t count)
{
	if (count == 1) {
		ring_require(program, BPF_JEQ, used[0], PASSED);
		ring_add(program, BPF_LD | BPF_IMM, 0, 0, words[used[0]]);
		ring_add(program, BPF_JMP | BPF_JA, 0, 0, TO_TAIL);
		return;
	}
	uint32_t left = count / 2;
	ring_add(program, BPF_JMP | BPF_JGE | BPF_K, 0, 1, used[left]);
	uint16_t jump = program->count;
	ring_add(program, BPF_JMP | BPF_JA, 0, 0, 0);
	add_search(program, words, used, left);
	program->instructions[jump].k = (uint32_t)(program->count - jump - 1);
	add_search(program, words, used + left, count - left);
}

/// Returns how many words of the budget it took.
static uint32_t add_address(struct ring_program *program, const struct ring_ingress_ports *ports, uint32_t word_count_max)
{
	bool is_v6 = !is_mapped(ports->address);
	int32_t header = is_v6 ? (int32_t)sizeof(struct ipv6hdr) : (int32_t)sizeof(struct iphdr);
	int32_t address = is_v6 ? (int32_t)offsetof(struct ipv6hdr, daddr) : (int32_t)offsetof(struct iphdr, daddr);
	uint16_t used[WORD_COUNT_MAX], jumps[4];
	uint32_t used_count = 0, jump_count = 0;

	const uint32_t *words = ports->words[RING_INGRESS_PENDING];

	for (uint32_t word = 0; word < 65536 / 32 && used_count < word_count_max; word++) {
		if (words[word])
			used[used_count++] = (uint16_t)word;
	}
	if (!used_count)
		return 0;
	for (int at = is_v6 ? 0 : 12; at < 16; at += 4) {
		uint32_t word;
		memcpy(&word, ports->address + at, sizeof(word));
		ring_load(program, BPF_W, SKF_NET_OFF + address + (is_v6 ? at : 0));
		ring_add(program, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, ntohl(word));
		jumps[jump_count++] = program->count;
		ring_add(program, BPF_JMP | BPF_JA, 0, 0, 0);
	}
	uint16_t start = program->count;
	ring_load(program, BPF_H, SKF_NET_OFF + header + 2);
	ring_add(program, BPF_ALU | BPF_AND | BPF_K, 0, 0, 31);
	ring_add(program, BPF_MISC | BPF_TAX, 0, 0, 0);
	ring_load(program, BPF_H, SKF_NET_OFF + header + 2);
	ring_add(program, BPF_ALU | BPF_RSH | BPF_K, 0, 0, 5);
	add_search(program, words, used, used_count);
	for (uint16_t at = start; at < program->count; at++) {
		struct sock_filter *instruction = &program->instructions[at];
		if (instruction->code == (BPF_JMP | BPF_JA) && instruction->k == TO_TAIL)
			instruction->k = (uint32_t)(program->count - at - 1);
	}
	ring_add(program, BPF_ALU | BPF_RSH | BPF_X, 0, 0, 0);
	ring_require(program, BPF_JSET, 1, PASSED);
	ring_answer(program, TC_ACT_SHOT);
	for (uint32_t jump = 0; jump < jump_count; jump++)
		program->instructions[jumps[jump]].k = (uint32_t)(program->count - jumps[jump] - 1);
	return used_count;
}

static void add_family(struct ring_program *program, const struct ring_ingress *ingress, bool is_v6, uint32_t *budget)
{
	ring_require_packet(program, is_v6, PASSED);
	if (!is_v6) {
		// The rings see fragments put together; up here they are still apart.
		ring_load(program, BPF_H, SKF_NET_OFF + (int32_t)offsetof(struct iphdr, frag_off));
		ring_refuse(program, BPF_JSET, FRAGMENT_MASK, PASSED);
	}
	for (uint32_t index = 0; index < ingress->address_count; index++) {
		const struct ring_ingress_ports *ports = ingress->addresses[index];
		if (is_mapped(ports->address) != is_v6)
			*budget -= add_address(program, ports, *budget);
	}
	ring_answer(program, PASSED);
}

static void write_program(struct ring_program *program, const struct ring_ingress *ingress)
{
	uint32_t budget = WORD_COUNT_MAX;

	ring_add(program, BPF_LD | BPF_IMM, 0, 0, FILTER_MARK);
	ring_load(program, BPF_W, SKF_AD_OFF + SKF_AD_PKTTYPE);
	ring_require(program, BPF_JEQ, PACKET_HOST, PASSED);
	ring_load(program, BPF_W, SKF_AD_OFF + SKF_AD_PROTOCOL);
	ring_add(program, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, ETHERTYPE_IP);
	uint16_t jump = program->count;
	ring_add(program, BPF_JMP | BPF_JA, 0, 0, 0);
	add_family(program, ingress, false, &budget);
	program->instructions[jump].k = (uint32_t)(program->count - jump - 1);
	ring_require(program, BPF_JEQ, ETHERTYPE_IPV6, PASSED);
	add_family(program, ingress, true, &budget);
}

// Its way into the kernel.

struct message {
	struct nlmsghdr header;
	struct tcmsg filter;
	char attributes[BPF_MAXINSNS * sizeof(struct sock_filter) + 256];
};

static struct rtattr *add(struct message *message, uint16_t type, const void *value, size_t byte_count)
{
	struct rtattr *attribute = (void *)((char *)message + NLMSG_ALIGN(message->header.nlmsg_len));

	attribute->rta_type = type;
	attribute->rta_len = (uint16_t)RTA_LENGTH(byte_count);
	if (byte_count)
		memcpy(RTA_DATA(attribute), value, byte_count);
	message->header.nlmsg_len = (uint32_t)(NLMSG_ALIGN(message->header.nlmsg_len) + RTA_ALIGN(attribute->rta_len));
	return attribute;
}

static void start(struct message *message, uint32_t interface_index, uint16_t type, uint16_t flags)
{
	message->header = (struct nlmsghdr){.nlmsg_len = NLMSG_LENGTH(sizeof(struct tcmsg)),
					    .nlmsg_type = type,
					    .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags)};
	message->filter = (struct tcmsg){.tcm_ifindex = (int)interface_index,
					 .tcm_handle = FILTER_HANDLE,
					 .tcm_parent = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS),
					 .tcm_info = TC_H_MAKE(FILTER_PRIORITY << 16, htons(ETH_P_ALL))};
	add(message, TCA_KIND, "bpf", sizeof("bpf"));
}

/// Sends the request and reads the answer over it: 0 for an acknowledgement, 1 for something else than that.
static int ask(int netlink, uint32_t sequence, struct message *message)
{
	message->header.nlmsg_seq = sequence;
	if (send(netlink, message, message->header.nlmsg_len, 0) < 0)
		return -errno;
	for (;;) {
		ssize_t byte_count = recv(netlink, message, sizeof(*message), 0);
		if (byte_count < 0 && errno == EINTR)
			continue;
		if (byte_count < 0)
			return -errno;
		if (!NLMSG_OK(&message->header, (size_t)byte_count))
			return -EBADMSG;
		if (message->header.nlmsg_seq != sequence)
			continue; // of a request that was given up
		if (message->header.nlmsg_type != NLMSG_ERROR)
			return 1;
		return ((struct nlmsgerr *)NLMSG_DATA(&message->header))->error;
	}
}

static int keep_quiet(enum libbpf_print_level level, const char *format, va_list arguments)
{
	(void)level, (void)format, (void)arguments;
	return 0;
}

void ring_ingress_make_place(uint32_t interface_index)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)interface_index, .attach_point = BPF_TC_INGRESS);
	libbpf_print_fn_t previous = libbpf_set_print(keep_quiet);

	bpf_tc_hook_create(&hook);
	libbpf_set_print(previous);
}

static int open_netlink(struct ring_ingress *ingress)
{
	int cut = 1;

	if (ingress->netlink)
		return 0;
	int descriptor = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (descriptor < 0)
		return -errno;
	// An answer need not repeat the program.
	setsockopt(descriptor, SOL_NETLINK, NETLINK_CAP_ACK, &cut, sizeof(cut));
	ingress->netlink = descriptor;
	return 0;
}

int ring_ingress_attach(struct ring_ingress *ingress, const struct sock_filter *instructions, uint16_t count)
{
	uint32_t flags = TCA_BPF_FLAG_ACT_DIRECT;
	int error = open_netlink(ingress);

	if (error)
		return error;
	struct message *message = calloc(1, sizeof(*message));
	if (!message)
		return -ENOMEM;
	start(message, ingress->interface_index, RTM_NEWTFILTER, NLM_F_ACK | NLM_F_CREATE);
	struct rtattr *options = add(message, TCA_OPTIONS, NULL, 0);
	add(message, TCA_BPF_OPS_LEN, &count, sizeof(count));
	add(message, TCA_BPF_OPS, instructions, count * sizeof(*instructions));
	add(message, TCA_BPF_FLAGS, &flags, sizeof(flags));
	options->rta_len = (uint16_t)((char *)message + message->header.nlmsg_len - (char *)options);
	error = ask(ingress->netlink, ++ingress->sequence, message);
	free(message);
	return error;
}

static int detach(int netlink, uint32_t *sequence, uint32_t interface_index)
{
	struct message *message = calloc(1, sizeof(*message));

	if (!message)
		return -ENOMEM;
	start(message, interface_index, RTM_DELTFILTER, NLM_F_ACK);
	int error = ask(netlink, ++*sequence, message);
	free(message);
	return error;
}

void ring_ingress_detach(struct ring_ingress *ingress)
{
	if (!ingress->netlink)
		return;
	detach(ingress->netlink, &ingress->sequence, ingress->interface_index);
	close(ingress->netlink);
	ingress->netlink = 0;
}

void ring_ingress_close(struct ring_ingress *ingress)
{
	ring_ingress_detach(ingress);
	for (uint32_t index = 0; index < ingress->address_count; index++)
		free(ingress->addresses[index]);
	memset(ingress, 0, sizeof(*ingress));
}

// What the worker sees of it.

static struct ring_ingress_ports *ports_of(const struct ring_ingress *ingress, const struct relay_flow_key *key)
{
	for (uint32_t index = 0; index < ingress->address_count; index++) {
		if (!memcmp(ingress->addresses[index]->address, key->address, sizeof(key->address)))
			return ingress->addresses[index];
	}
	return NULL;
}

static bool holds(const struct ring_ingress_ports *ports, enum ring_ingress_stage stage, uint16_t port)
{
	return ports->words[stage][port / 32] >> port % 32 & 1;
}

bool ring_ingress_drops(const struct ring_ingress *ingress, const struct relay_flow_key *key, uint64_t time)
{
	const struct ring_ingress_ports *ports = ports_of(ingress, key);

	if (!ports || (time >= ingress->settled && !ingress->is_attached))
		return false;
	return holds(ports, time < ingress->settled ? RING_INGRESS_EARLIER : RING_INGRESS_ATTACHED, ntohs(key->port));
}

void ring_ingress_note(struct ring_ingress *ingress, const struct relay_flow_key *key, bool has_flow)
{
	struct ring_ingress_ports *ports = ports_of(ingress, key);
	uint16_t port = ntohs(key->port);

	if (!ports) {
		if (!has_flow || ingress->address_count == RING_INGRESS_ADDRESS_COUNT_MAX)
			return;
		ports = calloc(1, sizeof(*ports));
		if (!ports)
			return;
		memcpy(ports->address, key->address, sizeof(ports->address));
		ingress->addresses[ingress->address_count++] = ports;
	}
	if (holds(ports, RING_INGRESS_WANTED, port) == has_flow)
		return;
	ports->words[RING_INGRESS_WANTED][port / 32] ^= (uint32_t)1 << port % 32;
	ingress->is_stale = true;
}

uint16_t ring_ingress_write(struct ring_ingress *ingress, struct sock_filter *instructions)
{
	struct ring_program program = {instructions, 0, BPF_MAXINSNS};

	for (uint32_t index = 0; index < ingress->address_count; index++) {
		struct ring_ingress_ports *ports = ingress->addresses[index];
		memcpy(ports->words[RING_INGRESS_PENDING], ports->words[RING_INGRESS_WANTED], sizeof(*ports->words));
	}
	write_program(&program, ingress);
	ingress->is_stale = false;
	return program.count;
}

void ring_ingress_settle(struct ring_ingress *ingress, bool is_attached)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	ingress->settled = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
	ingress->is_attached = is_attached;
	for (uint32_t index = 0; index < ingress->address_count; index++) {
		struct ring_ingress_ports *ports = ingress->addresses[index];
		size_t byte_count = sizeof(*ports->words);
		memcpy(ports->words[RING_INGRESS_EARLIER], ports->words[RING_INGRESS_ATTACHED], byte_count);
		if (is_attached)
			memcpy(ports->words[RING_INGRESS_ATTACHED], ports->words[RING_INGRESS_PENDING], byte_count);
		else
			memset(ports->words[RING_INGRESS_ATTACHED], 0, byte_count);
	}
}

/// The first instruction of the filter an RTM_NEWTFILTER describes; 0 if it has none.
static uint32_t mark_of(const struct message *message)
{
	int left = (int)message->header.nlmsg_len - (int)NLMSG_SPACE(sizeof(struct tcmsg));
	const struct rtattr *outer = (const void *)message->attributes;

	for (; RTA_OK(outer, left); outer = RTA_NEXT(outer, left)) {
		if (outer->rta_type != TCA_OPTIONS)
			continue;
		int inner_left = (int)RTA_PAYLOAD(outer);
		for (const struct rtattr *inner = RTA_DATA(outer); RTA_OK(inner, inner_left);
		     inner = RTA_NEXT(inner, inner_left)) {
			if (inner->rta_type == TCA_BPF_OPS && RTA_PAYLOAD(inner) >= sizeof(struct sock_filter))
				return ((const struct sock_filter *)RTA_DATA(inner))->k;
		}
	}
	return 0;
}

void ring_relay_forget(uint32_t interface_index)
{
	struct message *message = calloc(1, sizeof(*message));
	int netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	uint32_t sequence = 0;

	if (message && netlink >= 0) {
		start(message, interface_index, RTM_GETTFILTER, 0);
		if (ask(netlink, ++sequence, message) == 1 && mark_of(message) == FILTER_MARK)
			detach(netlink, &sequence, interface_index);
	}
	if (netlink >= 0)
		close(netlink);
	free(message);
}
