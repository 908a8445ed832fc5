#define _GNU_SOURCE
// What the owner does with the flows of the ring relay, thread by thread, and what he reads.
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "RingWorker.h"

int ring_relay_update(struct ring_relay *relay, const struct relay_flow_key *key, const struct relay_flow *flow)
{
	const struct ring_entry *old = ring_table_find(&relay->workers[0]->flows, key);
	struct relay_flow numbered = *flow;
	struct timespec now;
	uint64_t since;

	if (!old && !relay->free_count)
		return -ENOSPC;
	numbered.counter_index = old ? old->flow.counter_index : relay->free_indices[relay->free_count - 1];
	if (!old)
		memset(&relay->quality[numbered.counter_index], 0, sizeof(*relay->quality));
	clock_gettime(CLOCK_MONOTONIC, &now);
	since = old ? old->since : (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
	for (uint32_t index = 0; index < relay->worker_count; index++) {
		struct ring_worker *worker = relay->workers[index];
		ring_worker_enter(worker);
		struct ring_entry *entry = ring_table_insert(&worker->flows, key);
		if (entry) {
			entry->flow = numbered;
			entry->since = since;
			if (worker->interface_index)
				ring_ingress_note(&worker->ingress, key, true);
		}
		ring_worker_leave(worker);
		if (!entry)
			return -ENOMEM;
		// Taken with the first worker that has the flow, so that removing it gives the number back.
		if (!index && !old)
			relay->free_count--;
		old = entry;
	}
	ring_relay_renew_ingress(relay);
	return 0;
}

void ring_add_counters(struct relay_flow_counters *sum, const struct relay_flow_counters *share)
{
	sum->packets += share->packets;
	sum->bytes += share->bytes;
	sum->wrong_source += share->wrong_source;
	sum->malformed += share->malformed;
	if (share->last_arrival > sum->last_arrival)
		sum->last_arrival = share->last_arrival;
}

int ring_relay_remove(struct ring_relay *relay, const struct relay_flow_key *key, struct relay_flow_counters *counters,
		      struct relay_quality *quality)
{
	const struct ring_entry *known = ring_table_find(&relay->workers[0]->flows, key);

	memset(counters, 0, sizeof(*counters));
	if (!known)
		return -ENOENT;
	uint32_t number = known->flow.counter_index;
	for (uint32_t index = 0; index < relay->worker_count; index++) {
		struct ring_worker *worker = relay->workers[index];
		ring_worker_enter(worker);
		ring_ingress_note(&worker->ingress, key, false);
		ring_worker_relay_waiting(worker);
		struct ring_entry *entry = ring_table_find(&worker->flows, key);
		if (entry) {
			ring_add_counters(counters, &entry->counters);
			ring_table_remove(&worker->flows, entry);
		}
		ring_worker_leave(worker);
	}
	ring_relay_renew_ingress(relay);
	*quality = relay->quality[number];
	relay->free_indices[relay->free_count++] = number;
	return 0;
}

int ring_relay_counters(struct ring_relay *relay, const struct relay_flow_key *key,
			struct relay_flow_counters *counters, struct relay_quality *quality)
{
	int result = -ENOENT;

	memset(counters, 0, sizeof(*counters));
	for (uint32_t index = 0; index < relay->worker_count; index++) {
		struct ring_worker *worker = relay->workers[index];
		ring_worker_enter(worker);
		const struct ring_entry *entry = ring_table_find(&worker->flows, key);
		if (entry) {
			ring_add_counters(counters, &entry->counters);
			*quality = relay->quality[entry->flow.counter_index];
			result = 0;
		}
		ring_worker_leave(worker);
	}
	return result;
}

void ring_relay_totals(struct ring_relay *relay, uint32_t slot, struct relay_totals *totals)
{
	memset(totals, 0, sizeof(*totals));
	for (uint32_t index = 0; slot < RELAY_INTERFACE_COUNT_MAX && index < relay->worker_count; index++) {
		struct ring_worker *worker = relay->workers[index];
		ring_worker_enter(worker);
		for (int outcome = 0; outcome < RELAY_OUTCOME_COUNT; outcome++)
			totals->outcomes[outcome] += worker->totals[slot].outcomes[outcome];
		ring_worker_leave(worker);
	}
}

void ring_relay_losses(struct ring_relay *relay, struct ring_relay_losses *losses)
{
	memset(losses, 0, sizeof(*losses));
	for (uint32_t index = 1; index < relay->worker_count; index++) {
		struct ring_worker *worker = relay->workers[index];
		ring_worker_enter(worker);
		for (uint32_t kind = 0; kind < worker->ring_count; kind++) {
			packet_ring_statistics(&worker->rings[kind]);
			losses->ring_full += worker->rings[kind].drops;
		}
		losses->ring_full += worker->earlier_drops;
		losses->passed += worker->passed_lost;
		ring_worker_leave(worker);
	}
}

static void enter_all(struct ring_relay *relay)
{
	for (uint32_t index = 0; index < relay->worker_count; index++)
		ring_worker_enter(relay->workers[index]);
}

static void leave_all(struct ring_relay *relay)
{
	for (uint32_t index = 0; index < relay->worker_count; index++)
		ring_worker_leave(relay->workers[index]);
}

int ring_relay_open_taps(struct ring_relay *relay, uint32_t byte_count, uint32_t generation)
{
	enter_all(relay);
	int result = relay->taps.heads ? -EEXIST : relay_tap_writer_open(byte_count, generation, &relay->taps);
	leave_all(relay);
	return result;
}

void ring_relay_close_taps(struct ring_relay *relay)
{
	enter_all(relay);
	relay_tap_writer_close(&relay->taps);
	leave_all(relay);
}

void ring_relay_tap_counters(struct ring_relay *relay, struct relay_tap_counters *counters)
{
	enter_all(relay);
	*counters = relay->taps.counters;
	leave_all(relay);
}

int ring_relay_descriptor(const struct ring_relay *relay)
{
	return relay->passed[0];
}

int ring_relay_receive(struct ring_relay *relay, struct ring_relay_passed *passed, uint8_t *payload, size_t byte_count)
{
	struct iovec pieces[] = {{passed, sizeof(*passed)}, {payload, byte_count}};
	struct msghdr message = {.msg_iov = pieces, .msg_iovlen = 2};
	ssize_t received = recvmsg(relay->passed[0], &message, MSG_DONTWAIT);

	if (received < 0)
		return errno == EAGAIN ? 0 : -errno;
	return received >= (ssize_t)sizeof(*passed);
}
