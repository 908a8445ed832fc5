#define _GNU_SOURCE
// The thread that keeps the filters at TC ingress up to date, some milliseconds behind the flows.
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "RingWorker.h"

#define PAUSE_MICROSECONDS 20000 // between two renewals: many flows come at once

static void renew(struct ring_worker *worker, struct sock_filter *instructions)
{
	uint16_t count = 0;

	ring_worker_enter(worker);
	if (worker->place == RING_RELAY_BEFORE_INGRESS && worker->ingress.is_stale && !worker->ingress.is_refused)
		count = ring_ingress_write(&worker->ingress, instructions);
	ring_worker_leave(worker);
	if (!count)
		return;
	bool is_attached = !ring_ingress_attach(&worker->ingress, instructions, count);
	if (!is_attached) {
		ring_ingress_detach(&worker->ingress);
		worker->ingress.is_refused = true;
	}
	ring_worker_enter(worker);
	ring_ingress_settle(&worker->ingress, is_attached);
	ring_worker_leave(worker);
}

static void *run(void *argument)
{
	struct ring_relay *relay = argument;
	struct sock_filter instructions[BPF_MAXINSNS];
	uint64_t signals;

	while (read(relay->ingress_signal, &signals, sizeof(signals)) > 0 || errno == EINTR) {
		pthread_mutex_lock(&relay->ingress_lock);
		bool is_ending = relay->is_ending;
		for (uint32_t index = 1; index < relay->worker_count && !is_ending; index++)
			renew(relay->workers[index], instructions);
		pthread_mutex_unlock(&relay->ingress_lock);
		if (is_ending)
			break;
		usleep(PAUSE_MICROSECONDS);
	}
	return NULL;
}

void ring_relay_renew_ingress(struct ring_relay *relay)
{
	uint64_t one = 1;

	// Eight bytes into an eventfd that is read before it is full: cannot fail.
	if (relay->has_ingress_thread && write(relay->ingress_signal, &one, sizeof(one)) != sizeof(one))
		abort();
}

int ring_relay_start_ingress(struct ring_relay *relay)
{
	if (relay->has_ingress_thread)
		return 0;
	relay->ingress_signal = eventfd(0, EFD_CLOEXEC);
	if (relay->ingress_signal < 0)
		return -errno;
	int error = ring_start_thread(&relay->ingress_thread, run, relay);
	if (error) {
		close(relay->ingress_signal);
		return error;
	}
	relay->has_ingress_thread = true;
	return 0;
}

void ring_relay_stop_ingress(struct ring_relay *relay)
{
	if (!relay->has_ingress_thread)
		return;
	pthread_mutex_lock(&relay->ingress_lock);
	relay->is_ending = true;
	pthread_mutex_unlock(&relay->ingress_lock);
	ring_relay_renew_ingress(relay);
	pthread_join(relay->ingress_thread, NULL);
	relay->has_ingress_thread = false;
	close(relay->ingress_signal);
}
