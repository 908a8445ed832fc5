// The ring relay from inside: one worker per interface, each with a thread, rings, a flow table and counters of its own.
#pragma once
#include <linux/if_packet.h>
#include <pthread.h>
#include <stdbool.h>

#include "RingIngress.h"
#include "RingTable.h"
#include "include/PacketRing.h"
#include "include/RingRelay.h"
#include "include/TapWriter.h"
#include "RouteQuery.h"

#define RING_BATCH_COUNT_MAX PACKET_TRANSMIT_COUNT_MAX

#define RING_COUNT_MAX 2

struct ring_worker {
	struct ring_relay *relay;
	uint32_t interface_index; // 0: the bench, which has no rings and no thread
	bool has_link_header;

	/// Whoever wants `lock` takes `gate` first and leaves it when he has `lock`: so neither waits for more than one turn
	/// of the other. All below belongs to who holds `lock`.
	pthread_mutex_t gate;
	pthread_mutex_t lock;
	struct ring_table flows;
	struct relay_totals totals[RELAY_INTERFACE_COUNT_MAX];
	enum ring_relay_place place;
	struct packet_ring rings[RING_COUNT_MAX];
	uint32_t ring_count;
	uint64_t earlier_drops; // of rings that are closed
	/// Frames stamped before it, or from `until` on, belong to the rings before or after these (CLOCK_REALTIME, ns).
	uint64_t since;
	uint64_t until;
	struct ring_ingress ingress;
	struct route_query routes;
	uint64_t now; // when the packet arrived, CLOCK_MONOTONIC
	uint64_t batch_start; // the same clock
	int64_t clock_offset; // from CLOCK_MONOTONIC to the clock of the slots' timestamps
	uint64_t passed_lost;
	int transmit;

	pthread_t thread;
	bool has_thread;
	int signal; // eventfd: look around
	bool is_ending;
};

struct ring_relay {
	uint32_t flow_count_max;
	struct relay_interface_table interfaces;
	/// By counter_index, for all workers: a round trip is seen from both sides. Written without a lock, as in the kernel.
	struct relay_quality *quality;
	uint32_t *free_indices; // a stack
	uint32_t free_count;
	/// Where copies of tapped flows go; without heads: nowhere. Changed with all workers' locks.
	struct relay_tap_writer taps;
	/// The packets for sockets, from all workers to the owner: sequenced, each whole.
	int passed[2]; // owner, workers
	/// The thread that keeps the filters at TC ingress up to date. The lock goes before a worker's, and holds the list
	/// of workers still.
	pthread_mutex_t ingress_lock;
	pthread_t ingress_thread;
	bool has_ingress_thread;
	int ingress_signal; // eventfd
	bool is_ending;
	struct ring_worker *workers[RELAY_INTERFACE_COUNT_MAX + 1];
	uint32_t worker_count; // the bench is the first
};

static inline void ring_worker_enter(struct ring_worker *worker)
{
	pthread_mutex_lock(&worker->gate);
	pthread_mutex_lock(&worker->lock);
	pthread_mutex_unlock(&worker->gate);
}

static inline void ring_worker_leave(struct ring_worker *worker)
{
	pthread_mutex_unlock(&worker->lock);
}

/// A worker without rings and thread; `*result` is set as soon as there is something to close.
int ring_worker_make(struct ring_relay *relay, uint32_t interface_index, struct ring_worker **result, const char **call);
/// Its rings and what else it needs.
int ring_worker_open(struct ring_worker *worker, enum ring_relay_place place, const struct relay_guarded_table *ports,
		     const char **call);
int ring_worker_start(struct ring_worker *worker);
void ring_worker_stop(struct ring_worker *worker);
/// Whatever there is of it; NULL is nothing.
void ring_worker_close(struct ring_worker *worker);
/// Its thread waits for what it has now, and looks whether it shall end.
void ring_worker_look_around(struct ring_worker *worker);
/// Before the ingress one ring hears everything; behind it each protocol has its own.
int ring_worker_open_rings(const struct ring_worker *worker, enum ring_relay_place place,
			   const struct relay_guarded_table *ports, struct packet_ring *rings, uint32_t *count,
			   const char **call);
void ring_close_rings(struct packet_ring *rings);

/// Relays one batch of what waits; returns how many frames that was. The lock is held.
uint32_t ring_worker_relay(struct ring_worker *worker);
/// All that waits, but at most what the rings hold: new packets must not keep us here. The lock is held, or the thread has
/// ended.
void ring_worker_relay_waiting(struct ring_worker *worker);
/// Flows came or went: the filters at TC ingress follow soon.
void ring_relay_renew_ingress(struct ring_relay *relay);
/// That thread, from the first rings before TC ingress on; a negative errno.
int ring_relay_start_ingress(struct ring_relay *relay);
void ring_relay_stop_ingress(struct ring_relay *relay);
/// A thread without signals: they are for the owner's signalfd.
int ring_start_thread(pthread_t *thread, void *(*body)(void *), void *argument);
void ring_worker_update_clock(struct ring_worker *worker);
void ring_add_counters(struct relay_flow_counters *sum, const struct relay_flow_counters *share);

/// The classic filter of all rings: UDP to these ports. Returns how many instructions.
#define RING_FILTER_COUNT_MAX 256
uint16_t ring_filter(const struct relay_guarded_table *ports, struct sock_filter *instructions);
