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
#define PASSED_BYTE_COUNT (1 << 20)

static const uint16_t protocols[RING_COUNT] = {[RING_IPV4] = ETH_P_IP, [RING_IPV6] = ETH_P_IPV6};

static void *run(void *argument)
{
	struct ring_worker *worker = argument;
	struct pollfd waits[RING_COUNT + 1] = {{.fd = worker->stop, .events = POLLIN}};

	for (int kind = 0; kind < RING_COUNT; kind++)
		waits[kind + 1] = (struct pollfd){.fd = worker->rings[kind].descriptor, .events = POLLIN};
	for (;;) {
		if (poll(waits, RING_COUNT + 1, -1) < 0 && errno != EINTR)
			return NULL;
		if (waits[0].revents)
			return NULL;
		for (int kind = 0; kind < RING_COUNT; kind++) {
			if (waits[kind + 1].revents & POLLERR)
				packet_ring_take_error(&worker->rings[kind]);
		}
		uint32_t count;
		do {
			ring_worker_enter(worker);
			count = ring_worker_relay(worker);
			ring_worker_leave(worker);
		} while (count == RING_BATCH_COUNT_MAX);
	}
}

static void stop_thread(struct ring_worker *worker)
{
	uint64_t one = 1;

	// Eight bytes into an eventfd that nobody else counts up: cannot fail.
	if (worker->has_thread && write(worker->stop, &one, sizeof(one)) == sizeof(one))
		pthread_join(worker->thread, NULL);
	worker->has_thread = false;
}

static void close_worker(struct ring_worker *worker)
{
	if (!worker)
		return;
	stop_thread(worker);
	for (int kind = 0; kind < RING_COUNT; kind++)
		packet_ring_close(&worker->rings[kind]);
	if (worker->stop >= 0)
		close(worker->stop);
	if (worker->transmit >= 0)
		close(worker->transmit);
	if (worker->routes.netlink)
		route_query_close(&worker->routes);
	pthread_mutex_destroy(&worker->gate);
	pthread_mutex_destroy(&worker->lock);
	ring_table_free(&worker->flows);
	free(worker);
}

static int make_worker(struct ring_relay *relay, uint32_t interface_index, struct ring_worker **result,
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
	worker->stop = worker->transmit = -1;
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

static int open_rings(struct ring_worker *worker, const struct relay_guarded_table *ports, const char **call)
{
	struct sock_filter filter[RING_FILTER_COUNT_MAX];
	int error;

	*call = "SIOCGIFHWADDR";
	if ((error = has_link_header(worker->interface_index, &worker->has_link_header)))
		return error;
	for (int kind = 0; kind < RING_COUNT; kind++) {
		struct packet_ring_options options = {
			.interface_index = worker->interface_index,
			.protocol = protocols[kind],
			.allows_any_link = true,
			.filter = filter,
			.filter_count = ring_filter(kind == RING_IPV6, ports, filter),
			.slot_byte_count = SLOT_BYTE_COUNT,
			.slot_count = SLOT_COUNT,
			.headroom_byte_count = HEADROOM_BYTE_COUNT,
			.has_virtio_header = true,
		};
		// A group of one, for its side effect: fragments come put together, as the socket hears them (IPv4 only).
		if (kind == RING_IPV4)
			options.fanout_mode = PACKET_FANOUT_HASH | PACKET_FANOUT_FLAG_DEFRAG |
					      PACKET_FANOUT_FLAG_UNIQUEID;
		if ((error = packet_ring_open(&options, &worker->rings[kind], call)))
			return error;
	}
	*call = "socket(AF_PACKET)";
	worker->transmit = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (worker->transmit < 0)
		return -errno;
	*call = "eventfd";
	worker->stop = eventfd(0, EFD_CLOEXEC);
	return worker->stop < 0 ? -errno : 0;
}

int ring_relay_create(uint32_t flow_count_max, struct ring_relay **result, const char **call)
{
	struct ring_relay *relay = calloc(1, sizeof(*relay));
	int byte_count = PASSED_BYTE_COUNT, error;

	*call = "calloc";
	if (!relay)
		return -ENOMEM;
	relay->quality = calloc(flow_count_max, sizeof(*relay->quality));
	relay->free_indices = calloc(flow_count_max, sizeof(*relay->free_indices));
	error = relay->quality && relay->free_indices ? 0 : -ENOMEM;
	if (!error) {
		*call = "socketpair";
		error = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, relay->passed) ? -errno : 0;
	}
	if (error) {
		free(relay->quality);
		free(relay->free_indices);
		free(relay);
		return error;
	}
	while (relay->free_count < flow_count_max) {
		relay->free_indices[relay->free_count] = flow_count_max - 1 - relay->free_count;
		relay->free_count++;
	}
	setsockopt(relay->passed[1], SOL_SOCKET, SO_SNDBUF, &byte_count, sizeof(byte_count));
	error = make_worker(relay, 0, &relay->workers[0], call);
	relay->worker_count = 1;
	if (error) {
		ring_relay_destroy(relay);
		return error;
	}
	*result = relay;
	return 0;
}

void ring_relay_destroy(struct ring_relay *relay)
{
	for (uint32_t index = 0; index < relay->worker_count; index++)
		close_worker(relay->workers[index]);
	close(relay->passed[0]);
	close(relay->passed[1]);
	free(relay->quality);
	free(relay->free_indices);
	free(relay);
}

void ring_relay_set_interfaces(struct ring_relay *relay, const struct relay_interface_table *table)
{
	for (uint32_t index = 0; index < relay->worker_count; index++)
		ring_worker_enter(relay->workers[index]);
	relay->interfaces = *table;
	for (uint32_t index = 0; index < relay->worker_count; index++)
		ring_worker_leave(relay->workers[index]);
}

/// A new worker knows the flows the others know.
static int copy_flows(struct ring_worker *to, const struct ring_worker *from)
{
	for (uint32_t at = 0; from->flows.entries && at <= from->flows.mask; at++) {
		const struct ring_entry *entry = &from->flows.entries[at];
		if (!entry->is_used)
			continue;
		struct ring_entry *copy = ring_table_insert(&to->flows, &entry->key);
		if (!copy)
			return -ENOMEM;
		copy->flow = entry->flow;
		copy->since = entry->since;
	}
	return 0;
}

/// The thread takes no signals: they are for the owner's signalfd.
static int start_thread(struct ring_worker *worker)
{
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int error = -pthread_create(&worker->thread, NULL, run, worker);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	worker->has_thread = !error;
	return error;
}

int ring_relay_add(struct ring_relay *relay, uint32_t interface_index, const struct relay_guarded_table *ports,
		   const char **call)
{
	struct ring_worker *worker = NULL;
	int error;

	*call = "ring_relay_add";
	if (relay->worker_count > RELAY_INTERFACE_COUNT_MAX)
		return -E2BIG;
	for (uint32_t index = 1; index < relay->worker_count; index++) {
		if (relay->workers[index]->interface_index == interface_index)
			return -EEXIST;
	}
	error = make_worker(relay, interface_index, &worker, call);
	if (!error)
		error = copy_flows(worker, relay->workers[0]);
	if (!error)
		error = open_rings(worker, ports, call);
	if (!error) {
		*call = "pthread_create";
		error = start_thread(worker);
	}
	if (error) {
		close_worker(worker);
		return error;
	}
	relay->workers[relay->worker_count++] = worker;
	return 0;
}

int ring_relay_set_ports(struct ring_relay *relay, const struct relay_guarded_table *ports)
{
	struct sock_filter filter[RING_FILTER_COUNT_MAX];

	for (uint32_t index = 1; index < relay->worker_count; index++) {
		for (int kind = 0; kind < RING_COUNT; kind++) {
			struct sock_fprog program = {ring_filter(kind == RING_IPV6, ports, filter), filter};
			if (setsockopt(relay->workers[index]->rings[kind].descriptor, SOL_SOCKET, SO_ATTACH_FILTER,
				       &program, sizeof(program)))
				return -errno;
		}
	}
	return 0;
}

void ring_worker_relay_waiting(struct ring_worker *worker)
{
	uint32_t batch_count = worker->interface_index ? RING_COUNT * SLOT_COUNT / RING_BATCH_COUNT_MAX : 0;

	for (uint32_t batch = 0; batch < batch_count; batch++) {
		if (!ring_worker_relay(worker))
			break;
	}
}

void ring_relay_drop(struct ring_relay *relay, uint32_t interface_index)
{
	struct ring_worker *bench = relay->workers[0];
	uint32_t at = 1;

	while (at < relay->worker_count && relay->workers[at]->interface_index != interface_index)
		at++;
	if (at == relay->worker_count)
		return;
	struct ring_worker *worker = relay->workers[at];
	stop_thread(worker);
	ring_worker_relay_waiting(worker);
	for (uint32_t place = 0; worker->flows.entries && place <= worker->flows.mask; place++) {
		const struct ring_entry *entry = &worker->flows.entries[place];
		struct ring_entry *kept = entry->is_used ? ring_table_find(&bench->flows, &entry->key) : NULL;
		if (kept)
			ring_add_counters(&kept->counters, &entry->counters);
	}
	for (int slot = 0; slot < RELAY_INTERFACE_COUNT_MAX; slot++) {
		for (int outcome = 0; outcome < RELAY_OUTCOME_COUNT; outcome++)
			bench->totals[slot].outcomes[outcome] += worker->totals[slot].outcomes[outcome];
	}
	close_worker(worker);
	relay->workers[at] = relay->workers[--relay->worker_count];
}
