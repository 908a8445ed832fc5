#define _GNU_SOURCE
#include "RingWorker.h"

#include <errno.h>
#include <linux/if_ether.h>
#include <net/if_arp.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <net/if.h>
#include <unistd.h>

// A quarter of a second of 500 flows waits in 12800 slots at worst; the threads are late by milliseconds.
#define SLOT_BYTE_COUNT 2048
#define SLOT_COUNT 1024
#define HEADROOM_BYTE_COUNT 64 // for a packet that came without an Ethernet header and leaves with one, a tag and IPv6
#define TURN_COUNT_MAX 16 // full batches before anything else has its turn

#ifndef PACKET_FANOUT_FLAG_IGNORE_OUTGOING // Linux 6.3
#define PACKET_FANOUT_FLAG_IGNORE_OUTGOING 0x4000
#endif

void ring_worker_look_around(struct ring_worker *worker)
{
	uint64_t one = 1;

	// Eight bytes into an eventfd that is read before it is full: cannot fail.
	if (write(worker->signal, &one, sizeof(one)) != sizeof(one))
		abort();
}

enum { WAIT_SIGNAL, WAIT_ROUTES, WAIT_RINGS };

/// What to wait for: the rings may be others each time.
static uint32_t list_waits(const struct ring_worker *worker, struct pollfd *waits)
{
	waits[WAIT_SIGNAL] = (struct pollfd){.fd = worker->signal, .events = POLLIN};
	waits[WAIT_ROUTES] = (struct pollfd){.fd = worker->routes.changes ? worker->routes.changes : -1, .events = POLLIN};
	for (uint32_t kind = 0; kind < worker->ring_count; kind++)
		waits[WAIT_RINGS + kind] = (struct pollfd){.fd = worker->rings[kind].descriptor, .events = POLLIN};
	return WAIT_RINGS + worker->ring_count;
}

static void *run(void *argument)
{
	struct ring_worker *worker = argument;
	struct pollfd waits[WAIT_RINGS + RING_COUNT_MAX];
	uint32_t wait_count = 0;
	uint64_t signals;

	for (;;) {
		for (uint32_t index = 0; index < wait_count; index++)
			waits[index].revents = 0;
		if (wait_count && poll(waits, wait_count, -1) < 0 && errno != EINTR)
			return NULL;
		bool is_called = wait_count && waits[WAIT_SIGNAL].revents && read(worker->signal, &signals, sizeof(signals)) > 0;
		bool is_ending;
		uint32_t count, turn = 0;
		do {
			ring_worker_enter(worker);
			// Other descriptors than those waited for are of no concern: they are looked at anyway.
			for (uint32_t index = WAIT_RINGS; index < wait_count && !is_called; index++) {
				if (waits[index].revents & POLLERR)
					packet_ring_take_error(&worker->rings[index - WAIT_RINGS]);
				waits[index].revents = 0;
			}
			if (wait_count && waits[WAIT_ROUTES].revents)
				route_query_note_changes(&worker->routes);
			count = ring_worker_relay(worker);
			is_ending = worker->is_ending;
			wait_count = list_waits(worker, waits);
			ring_worker_leave(worker);
		} while (count == RING_BATCH_COUNT_MAX && ++turn < TURN_COUNT_MAX && !is_ending);
		if (is_ending)
			return NULL;
	}
}

void ring_worker_stop(struct ring_worker *worker)
{
	if (!worker->has_thread)
		return;
	ring_worker_enter(worker);
	worker->is_ending = true;
	ring_worker_leave(worker);
	ring_worker_look_around(worker);
	pthread_join(worker->thread, NULL);
	worker->has_thread = false;
}

void ring_close_rings(struct packet_ring *rings)
{
	for (int kind = 0; kind < RING_COUNT_MAX; kind++)
		packet_ring_close(&rings[kind]);
}

void ring_worker_close(struct ring_worker *worker)
{
	if (!worker)
		return;
	ring_worker_stop(worker);
	ring_ingress_close(&worker->ingress);
	ring_close_rings(worker->rings);
	if (worker->signal >= 0)
		close(worker->signal);
	if (worker->transmit >= 0)
		close(worker->transmit);
	if (worker->routes.netlink)
		route_query_close(&worker->routes);
	pthread_mutex_destroy(&worker->gate);
	pthread_mutex_destroy(&worker->lock);
	ring_table_free(&worker->flows);
	free(worker);
}

int ring_worker_make(struct ring_relay *relay, uint32_t interface_index, struct ring_worker **result,
		       const char **call)
{
	struct ring_worker *worker = calloc(1, sizeof(*worker));
	int error;

	*call = "calloc";
	if (!worker)
		return -ENOMEM;
	*result = worker;
	worker->relay = relay;
	worker->interface_index = interface_index;
	worker->ingress.interface_index = interface_index;
	worker->until = UINT64_MAX;
	worker->signal = worker->transmit = -1;
	pthread_mutex_init(&worker->gate, NULL);
	pthread_mutex_init(&worker->lock, NULL);
	*call = "socket(AF_NETLINK)";
	if ((error = route_query_open(&worker->routes))) {
		worker->routes.netlink = 0;
		return error;
	}
	return 0;
}

static int has_link_header(uint32_t interface_index, bool *result)
{
	struct ifreq request = {};
	int descriptor = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), error = 0;

	if (descriptor < 0)
		return -errno;
	if (!if_indextoname(interface_index, request.ifr_name) || ioctl(descriptor, SIOCGIFHWADDR, &request))
		error = -errno;
	close(descriptor);
	switch (request.ifr_hwaddr.sa_family) {
	case ARPHRD_ETHER:
		*result = true;
		return error;
	case ARPHRD_PPP:
	case ARPHRD_NONE:
	case ARPHRD_RAWIP:
		*result = false;
		return error;
	default:
		return error ? error : -EAFNOSUPPORT;
	}
}

/// Before the ingress one ring hears everything; behind it each protocol has its own.
int ring_worker_open_rings(const struct ring_worker *worker, enum ring_relay_place place,
		      const struct relay_guarded_table *ports, struct packet_ring *rings, uint32_t *count, const char **call)
{
	static const uint16_t behind[] = {ETH_P_IP, ETH_P_IPV6}, before[] = {ETH_P_ALL};
	const uint16_t *protocols = place == RING_RELAY_BEFORE_INGRESS ? before : behind;
	struct sock_filter filter[RING_FILTER_COUNT_MAX];
	uint16_t filter_count = ring_filter(ports, filter);
	int error = 0;

	memset(rings, 0, sizeof(*rings) * RING_COUNT_MAX);
	*count = place == RING_RELAY_BEFORE_INGRESS ? 1 : 2;
	for (uint32_t kind = 0; !error && kind < *count; kind++) {
		struct packet_ring_options options = {
			.interface_index = worker->interface_index,
			.protocol = protocols[kind],
			.allows_any_link = true,
			.filter = filter,
			.filter_count = filter_count,
			.slot_byte_count = SLOT_BYTE_COUNT,
			.slot_count = SLOT_COUNT,
			.headroom_byte_count = HEADROOM_BYTE_COUNT,
			.has_virtio_header = true,
		};
		// A group of one, for its side effect: fragments come put together, as the socket hears them (IPv4 only).
		// Of all modes this one costs the least. In a group, PACKET_IGNORE_OUTGOING is the group's.
		if (protocols[kind] != ETH_P_IPV6)
			options.fanout_mode = PACKET_FANOUT_CPU | PACKET_FANOUT_FLAG_DEFRAG |
					      PACKET_FANOUT_FLAG_IGNORE_OUTGOING | PACKET_FANOUT_FLAG_UNIQUEID;
		error = packet_ring_open(&options, &rings[kind], call);
	}
	if (error)
		ring_close_rings(rings);
	return error;
}

int ring_worker_open(struct ring_worker *worker, enum ring_relay_place place,
		       const struct relay_guarded_table *ports, const char **call)
{
	int error;

	*call = "SIOCGIFHWADDR";
	if ((error = has_link_header(worker->interface_index, &worker->has_link_header)))
		return error;
	worker->place = place;
	if ((error = ring_worker_open_rings(worker, place, ports, worker->rings, &worker->ring_count, call)))
		return error;
	*call = "socket(AF_PACKET)";
	worker->transmit = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (worker->transmit < 0)
		return -errno;
	*call = "eventfd";
	worker->signal = eventfd(0, EFD_CLOEXEC);
	return worker->signal < 0 ? -errno : 0;
}

int ring_start_thread(pthread_t *thread, void *(*body)(void *), void *argument)
{
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int error = -pthread_create(thread, NULL, body, argument);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return error;
}

int ring_worker_start(struct ring_worker *worker)
{
	int error = ring_start_thread(&worker->thread, run, worker);

	worker->has_thread = !error;
	return error;
}

void ring_worker_relay_waiting(struct ring_worker *worker)
{
	uint32_t batch_count = worker->interface_index ? RING_COUNT_MAX * SLOT_COUNT / RING_BATCH_COUNT_MAX : 0;

	for (uint32_t batch = 0; batch < batch_count; batch++) {
		if (!ring_worker_relay(worker))
			break;
	}
}
