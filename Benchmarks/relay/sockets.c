// sockets LOCAL,PEER,OTHER-LOCAL,OTHER-PEER…: relays UDP between pairs of connected sockets, as well as sockets can.
// Connected, so that the kernel looks up no route; level-triggered epoll, so that a socket with one datagram costs one
// recvmmsg that does not look for a second; a socket that stays full gets a longer vector. Prints "ready"; ends with its input.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define PAIR_COUNT_MAX 4096
#define EVENT_COUNT_MAX 512
#define VECTOR_COUNT_MAX 32
#define DATAGRAM_BYTE_COUNT_MAX 2048
#define RECEIVE_BYTE_COUNT (1 << 20)

struct end {
	int descriptor;
	int other; // where its datagrams leave
	int expected; // datagrams a call
	uint32_t round; // when it was last full
};

static void fail(const char *what)
{
	printf("sockets: %s: %s\n", what, strerror(errno));
	exit(1);
}

/// Takes "address:port" and the separator behind it off `text`.
static struct sockaddr_in take(char **text)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	char *part = strsep(text, ","), *colon = part ? strchr(part, ':') : NULL;

	if (!colon) {
		errno = EINVAL;
		fail(part ? part : "address missing");
	}
	*colon = 0;
	if (inet_pton(AF_INET, part, &address.sin_addr) != 1) {
		errno = EINVAL;
		fail(part);
	}
	address.sin_port = htons(atoi(colon + 1));
	return address;
}

static int open_end(char **text)
{
	struct sockaddr_in local = take(text), peer = take(text);
	int descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), byte_count = RECEIVE_BYTE_COUNT;

	if (descriptor < 0 || bind(descriptor, (struct sockaddr *)&local, sizeof(local)) ||
	    connect(descriptor, (struct sockaddr *)&peer, sizeof(peer)) ||
	    setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &byte_count, sizeof(byte_count)))
		fail("socket");
	return descriptor;
}

static void watch(int poll, int descriptor, uint32_t tag)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u32 = tag};

	if (epoll_ctl(poll, EPOLL_CTL_ADD, descriptor, &event))
		fail("epoll_ctl");
}

int main(int count, char **arguments)
{
	static struct end ends[2 * PAIR_COUNT_MAX];
	static uint8_t buffers[VECTOR_COUNT_MAX][DATAGRAM_BYTE_COUNT_MAX];
	struct mmsghdr messages[VECTOR_COUNT_MAX] = {};
	struct iovec vectors[VECTOR_COUNT_MAX];
	struct epoll_event events[EVENT_COUNT_MAX];
	uint32_t end_count = 0, input = UINT32_MAX;
	int poll = epoll_create1(0);
	struct rlimit limit = {2 * PAIR_COUNT_MAX + 64, 2 * PAIR_COUNT_MAX + 64};

	if (poll < 0 || count - 1 > PAIR_COUNT_MAX || setrlimit(RLIMIT_NOFILE, &limit))
		fail("set-up");
	for (int i = 1; i < count; i++) {
		char *text = arguments[i];
		int first = open_end(&text), second = open_end(&text);
		ends[end_count++] = (struct end){first, second, 1, 0};
		ends[end_count++] = (struct end){second, first, 1, 0};
		watch(poll, first, end_count - 2);
		watch(poll, second, end_count - 1);
	}
	watch(poll, STDIN_FILENO, input);
	for (int i = 0; i < VECTOR_COUNT_MAX; i++)
		messages[i].msg_hdr = (struct msghdr){.msg_iov = &vectors[i], .msg_iovlen = 1};
	puts("ready");
	fflush(stdout);
	for (uint32_t round = 2;; round++) {
		int ready = epoll_wait(poll, events, EVENT_COUNT_MAX, -1);
		if (ready < 0 && errno != EINTR)
			fail("epoll_wait");
		for (int i = 0; i < ready; i++) {
			if (events[i].data.u32 == input)
				return 0;
			struct end *end = &ends[events[i].data.u32];
			for (int n = 0; n < end->expected; n++)
				vectors[n] = (struct iovec){buffers[n], DATAGRAM_BYTE_COUNT_MAX};
			int received = recvmmsg(end->descriptor, messages, end->expected, MSG_DONTWAIT, NULL);
			if (received <= 0)
				continue; // a pending ICMP error, taken off by asking
			for (int n = 0; n < received; n++)
				vectors[n].iov_len = messages[n].msg_len;
			for (int sent = 0; sent < received;) {
				int result = sendmmsg(end->other, messages + sent, received - sent, MSG_DONTWAIT);
				sent += result > 0 ? result : 1; // what cannot leave now is late anyway
			}
			if (received < end->expected) {
				end->expected = received;
				continue;
			}
			if (end->round == round - 1 && end->expected < VECTOR_COUNT_MAX)
				end->expected *= 2;
			end->round = round;
		}
	}
}
