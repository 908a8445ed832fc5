#define _GNU_SOURCE
// The relay as a whole, and the interfaces that come, move and go: what their owner does.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "RingWorker.h"

#define PASSED_BYTE_COUNT (1 << 20)

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
	pthread_mutex_init(&relay->ingress_lock, NULL);
	setsockopt(relay->passed[1], SOL_SOCKET, SO_SNDBUF, &byte_count, sizeof(byte_count));
	error = ring_worker_make(relay, 0, &relay->workers[0], call);
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
	ring_relay_stop_ingress(relay);
	for (uint32_t index = 0; index < relay->worker_count; index++)
		ring_worker_close(relay->workers[index]);
	close(relay->passed[0]);
	close(relay->passed[1]);
	relay_tap_writer_close(&relay->taps);
	pthread_mutex_destroy(&relay->ingress_lock);
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
		ring_ingress_note(&to->ingress, &entry->key, true);
	}
	return 0;
}

static struct ring_worker *worker_at(const struct ring_relay *relay, uint32_t interface_index)
{
	for (uint32_t index = 1; index < relay->worker_count; index++) {
		if (relay->workers[index]->interface_index == interface_index)
			return relay->workers[index];
	}
	return NULL;
}

int ring_relay_add(struct ring_relay *relay, uint32_t interface_index, enum ring_relay_place place, bool is_idle,
		   const struct relay_guarded_table *ports, const char **call)
{
	struct ring_worker *worker = NULL;
	int error;

	*call = "ring_relay_add";
	if (relay->worker_count > RELAY_INTERFACE_COUNT_MAX)
		return -E2BIG;
	if (worker_at(relay, interface_index))
		return -EEXIST;
	error = ring_worker_make(relay, interface_index, &worker, call);
	if (!error)
		error = copy_flows(worker, relay->workers[0]);
	if (!error)
		error = ring_worker_open(worker, place, ports, call);
	if (!error) {
		*call = "pthread_create";
		error = ring_worker_start(worker);
	}
	if (!error && place == RING_RELAY_BEFORE_INGRESS) {
		*call = "eventfd, pthread_create";
		error = ring_relay_start_ingress(relay);
		if (!error && is_idle)
			ring_ingress_make_place(interface_index);
	}
	if (error) {
		ring_worker_close(worker);
		return error;
	}
	pthread_mutex_lock(&relay->ingress_lock);
	relay->workers[relay->worker_count++] = worker;
	pthread_mutex_unlock(&relay->ingress_lock);
	ring_relay_renew_ingress(relay);
	return 0;
}

int ring_relay_move(struct ring_relay *relay, uint32_t interface_index, enum ring_relay_place place,
		    const struct relay_guarded_table *ports, const char **call)
{
	struct ring_worker *worker = worker_at(relay, interface_index);
	struct packet_ring rings[RING_COUNT_MAX];
	struct timespec now;
	uint32_t count;
	int error;

	*call = "ring_relay_move";
	if (!worker)
		return -ENOENT;
	if (worker->place == place)
		return 0;
	if (place == RING_RELAY_BEFORE_INGRESS && (error = ring_relay_start_ingress(relay)))
		return error;
	pthread_mutex_lock(&relay->ingress_lock);
	if (worker->place == RING_RELAY_BEFORE_INGRESS)
		ring_ingress_detach(&worker->ingress);
	ring_worker_enter(worker);
	ring_ingress_settle(&worker->ingress, false);
	worker->ingress.is_stale = true;
	// Both hear everything from here on, and the clock divides what they hear.
	error = ring_worker_open_rings(worker, place, ports, rings, &count, call);
	if (!error) {
		clock_gettime(CLOCK_REALTIME, &now);
		worker->until = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
		ring_worker_relay_waiting(worker);
		for (uint32_t kind = 0; kind < worker->ring_count; kind++) {
			packet_ring_statistics(&worker->rings[kind]);
			worker->earlier_drops += worker->rings[kind].drops;
		}
		ring_close_rings(worker->rings);
		memcpy(worker->rings, rings, sizeof(rings));
		worker->ring_count = count;
		worker->place = place;
		worker->since = worker->until;
		worker->until = UINT64_MAX;
	}
	ring_worker_leave(worker);
	pthread_mutex_unlock(&relay->ingress_lock);
	ring_worker_look_around(worker);
	ring_relay_renew_ingress(relay);
	return error;
}

int ring_relay_set_ports(struct ring_relay *relay, const struct relay_guarded_table *ports)
{
	struct sock_filter filter[RING_FILTER_COUNT_MAX];

	struct sock_fprog program = {ring_filter(ports, filter), filter};

	for (uint32_t index = 1; index < relay->worker_count; index++) {
		for (uint32_t kind = 0; kind < relay->workers[index]->ring_count; kind++) {
			if (setsockopt(relay->workers[index]->rings[kind].descriptor, SOL_SOCKET, SO_ATTACH_FILTER,
				       &program, sizeof(program)))
				return -errno;
		}
	}
	return 0;
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
	pthread_mutex_lock(&relay->ingress_lock);
	relay->workers[at] = relay->workers[--relay->worker_count];
	// From now on the stack has it all, and the ring still hears what came before.
	ring_ingress_detach(&worker->ingress);
	pthread_mutex_unlock(&relay->ingress_lock);
	ring_worker_stop(worker);
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
	ring_worker_close(worker);
}
