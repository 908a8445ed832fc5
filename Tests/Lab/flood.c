// The two loads of flood.py. `flood` sends SIP requests from many forged sources as raw frames; `media` is one end of
// many RTP streams, and counts what arrives. Both print one line of JSON.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BATCH_COUNT 32
#define FRAME_BYTE_COUNT_MAX 512
#define STREAM_COUNT_MAX 1024
#define SEQUENCE_COUNT 65536
#define PACKET_BYTE_COUNT 172
#define TAIL_NANOSECONDS 1500000000

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static volatile sig_atomic_t stopped;

static void stop(int number)
{
	(void)number;
	stopped = 1;
}

static int64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static uint32_t sum(uint32_t value, const void *bytes, size_t byte_count)
{
	const uint8_t *at = bytes;

	for (size_t i = 0; i + 1 < byte_count; i += 2)
		value += (uint32_t)at[i] << 8 | at[i + 1];
	if (byte_count % 2)
		value += (uint32_t)at[byte_count - 1] << 8;
	return value;
}

static uint16_t finish(uint32_t value)
{
	while (value >> 16)
		value = (value & 0xffff) + (value >> 16);
	return htons((uint16_t)~value);
}

/// One frame with a request from source number `number`.
static size_t make_frame(uint8_t *frame, uint32_t number, const char *method, const uint8_t *to, const uint8_t *from,
			 struct in_addr box, struct in_addr forged)
{
	struct ethhdr *ethernet = (void *)frame;
	struct iphdr *ip = (void *)(ethernet + 1);
	struct udphdr *udp = (void *)(ip + 1);
	char *text = (char *)(udp + 1), name[INET_ADDRSTRLEN], boxName[INET_ADDRSTRLEN];
	struct in_addr source = forged.s_addr ? forged : (struct in_addr){htonl(0x0a420001 + number)}; // 10.66.0.1 and on

	memset(frame, 0, FRAME_BYTE_COUNT_MAX);
	memcpy(ethernet->h_dest, to, ETH_ALEN);
	memcpy(ethernet->h_source, from, ETH_ALEN);
	ethernet->h_proto = htons(ETH_P_IP);
	inet_ntop(AF_INET, &source, name, sizeof(name));
	inet_ntop(AF_INET, &box, boxName, sizeof(boxName));
	int byte_count = snprintf(text, FRAME_BYTE_COUNT_MAX - (text - (char *)frame),
				  "%s sip:%s%s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK%u\r\nFrom: <sip:2001@%s>;tag=%u\r\n"
				  "To: <sip:2001@%s>\r\nCall-ID: %u@%s\r\nCSeq: 1 %s\r\nMax-Forwards: 70\r\n"
				  "Contact: <sip:2001@%s>\r\nContent-Length: 0\r\n\r\n",
				  method, *method == 'I' ? "95551234@" : "", boxName, name, number, boxName, number, boxName, number,
				  name, method, name);
	udp->dest = htons(5060);
	udp->source = forged.s_addr ? htons(5062) : udp->dest; // or the answers would flood whom we forge
	udp->len = htons(sizeof(*udp) + byte_count);
	ip->version = 4;
	ip->ihl = 5;
	ip->ttl = 64;
	ip->protocol = IPPROTO_UDP;
	ip->tot_len = htons(sizeof(*ip) + sizeof(*udp) + byte_count);
	ip->saddr = source.s_addr;
	ip->daddr = box.s_addr;
	ip->check = finish(sum(0, ip, sizeof(*ip)));
	udp->check = finish(sum(sum(IPPROTO_UDP + sizeof(*udp) + byte_count, &ip->saddr, 8), udp, sizeof(*udp) + byte_count));
	return (uint8_t *)text + byte_count - frame;
}

static void parse_mac(const char *text, uint8_t *mac)
{
	if (sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", mac, mac + 1, mac + 2, mac + 3, mac + 4, mac + 5) != 6) {
		fprintf(stderr, "no MAC address: %s\n", text);
		exit(1);
	}
}

/// interface, MAC of the box, own MAC, address of the box, packets a second, seconds, sources, and perhaps the one address to
/// forge instead of theirs. SIGTERM ends it early.
/// With `mixed` every second request is an INVITE, else all are REGISTERs.
static int flood(char **arguments, const char *address_forged, bool mixed)
{
	uint8_t to[ETH_ALEN], from[ETH_ALEN];
	struct in_addr box, forged = {0};
	int64_t rate = atoll(arguments[4]), seconds = atoll(arguments[5]);
	uint32_t source_count = (uint32_t)atoi(arguments[6]);
	struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(arguments[0])};
	int descriptor = socket(AF_PACKET, SOCK_RAW, 0), one = 1;
	uint64_t sent = 0, refused = 0;

	parse_mac(arguments[1], to);
	parse_mac(arguments[2], from);
	if (descriptor < 0 || bind(descriptor, (void *)&address, sizeof(address)) || !inet_aton(arguments[3], &box) ||
	    (address_forged && !inet_aton(address_forged, &forged)))
		fail("socket");
	if (rate <= 0 || seconds <= 0 || !source_count)
		fail("arguments");
	setsockopt(descriptor, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof(one));
	uint8_t *frames = malloc((size_t)source_count * FRAME_BYTE_COUNT_MAX);
	struct iovec *parts = calloc(source_count, sizeof(*parts));
	struct mmsghdr *messages = calloc(source_count, sizeof(*messages));
	if (!frames || !parts || !messages)
		fail("malloc");
	for (uint32_t i = 0; i < source_count; i++) {
		uint8_t *frame = frames + (size_t)i * FRAME_BYTE_COUNT_MAX;
		parts[i] = (struct iovec){frame, make_frame(frame, i, mixed && i % 2 ? "INVITE" : "REGISTER", to, from, box, forged)};
		messages[i].msg_hdr.msg_iov = &parts[i];
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	int64_t start = now(), end = start + seconds * 1000000000LL, moment;
	uint32_t next = 0;
	signal(SIGTERM, stop);
	while ((moment = now()) < end && !stopped) {
		if ((int64_t)(sent + refused) >= (moment - start) / 1000 * rate / 1000000)
			continue; // busy, since a sleep would make bursts
		uint32_t count = source_count - next < BATCH_COUNT ? source_count - next : BATCH_COUNT;
		int done = sendmmsg(descriptor, messages + next, count, 0);
		if (done < 0 && errno != ENOBUFS && errno != EAGAIN)
			fail("sendmmsg");
		sent += done > 0 ? (uint64_t)done : 0;
		refused += done > 0 ? 0 : 1;
		next = (next + (done > 0 ? (uint32_t)done : 1)) % source_count;
	}
	printf("{\"sent\": %lu, \"refused\": %lu, \"seconds\": %.3f}\n", sent, refused, (double)(moment - start) / 1e9);
	return 0;
}

struct stream {
	int descriptor;
	uint16_t next;
	uint32_t sent, received, repeated, foreign;
	uint8_t seen[SEQUENCE_COUNT / 8];
};

static void receive_all(struct stream *stream)
{
	uint8_t packet[2048];
	ssize_t byte_count;

	while ((byte_count = recv(stream->descriptor, packet, sizeof(packet), MSG_DONTWAIT)) >= 0) {
		uint16_t sequence = (uint16_t)(packet[2] << 8 | packet[3]);
		uint8_t *byte = &stream->seen[sequence / 8], bit = (uint8_t)(1 << sequence % 8);
		if (byte_count != PACKET_BYTE_COUNT || packet[0] != 0x80)
			stream->foreign++;
		else if (*byte & bit)
			stream->repeated++;
		else {
			*byte |= bit;
			stream->received++;
		}
	}
}

/// seconds; the streams as lines of standard input: own address and port, the other's address and port.
/// Packets of 20 ms, the streams spread over those; listens for longer than it sends.
static int media(char **arguments)
{
	static struct stream streams[STREAM_COUNT_MAX];
	static struct epoll_event events[STREAM_COUNT_MAX];
	char ours[64], theirs[64];
	unsigned our_port, their_port, count = 0;
	int poll = epoll_create1(0);
	int64_t seconds = atoll(arguments[0]), late_max = 0;
	uint64_t sent = 0, received = 0, repeated = 0, foreign = 0;

	while (count < STREAM_COUNT_MAX && scanf("%63s %u %63s %u", ours, &our_port, theirs, &their_port) == 4) {
		struct stream *stream = &streams[count];
		struct sockaddr_in local = {.sin_family = AF_INET, .sin_port = htons((uint16_t)our_port)};
		struct sockaddr_in remote = {.sin_family = AF_INET, .sin_port = htons((uint16_t)their_port)};
		struct epoll_event event = {.events = EPOLLIN, .data.u32 = count++};
		inet_aton(ours, &local.sin_addr);
		inet_aton(theirs, &remote.sin_addr);
		stream->descriptor = socket(AF_INET, SOCK_DGRAM, 0);
		if (bind(stream->descriptor, (void *)&local, sizeof(local)) ||
		    connect(stream->descriptor, (void *)&remote, sizeof(remote)) ||
		    epoll_ctl(poll, EPOLL_CTL_ADD, stream->descriptor, &event))
			fail("bind");
	}
	if (!count)
		fail("no streams");
	usleep(500000); // the other end binds its ports meanwhile
	int64_t start = now(), end = start + seconds * 1000000000LL, step = 20000000LL / count, due = start, moment;
	for (unsigned next = 0; (moment = now()) < end + TAIL_NANOSECONDS;) {
		for (; due <= moment && due < end; due += step, next = (next + 1) % count) {
			uint8_t packet[PACKET_BYTE_COUNT] = {0x80};
			struct stream *stream = &streams[next];
			packet[2] = (uint8_t)(stream->next >> 8);
			packet[3] = (uint8_t)stream->next;
			packet[11] = (uint8_t)next;
			if (moment - due > late_max)
				late_max = moment - due;
			if (send(stream->descriptor, packet, sizeof(packet), 0) == sizeof(packet)) {
				stream->sent++;
				stream->next++;
			}
		}
		int64_t wait = due < end ? (due - moment + 999999) / 1000000 : 50;
		int ready = epoll_wait(poll, events, STREAM_COUNT_MAX, wait < 0 ? 0 : (int)wait);
		for (int i = 0; i < ready; i++)
			receive_all(&streams[events[i].data.u32]);
	}
	for (unsigned i = 0; i < count; i++) {
		sent += streams[i].sent;
		received += streams[i].received;
		repeated += streams[i].repeated;
		foreign += streams[i].foreign;
	}
	printf("{\"streams\": %u, \"sent\": %lu, \"received\": %lu, \"repeated\": %lu, \"foreign\": %lu, \"late_ms\": %.1f}\n",
	       count, sent, received, repeated, foreign, (double)late_max / 1e6);
	return 0;
}

int main(int count, char **arguments)
{
	if (count >= 9 && count <= 10 && (!strcmp(arguments[1], "flood") || !strcmp(arguments[1], "mixed")))
		return flood(arguments + 2, arguments[9], *arguments[1] == 'm');
	if (count == 3 && !strcmp(arguments[1], "media"))
		return media(arguments + 2);
	fprintf(stderr, "flood|mixed INTERFACE MAC MAC ADDRESS RATE SECONDS SOURCES [FORGED] | media SECONDS\n");
	return 64;
}
