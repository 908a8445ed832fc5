// The ring relay from inside: one worker per interface, each with a thread, rings, a flow table and counters of its own.
#pragma once
#include <linux/if_packet.h>
#include <pthread.h>
#include <stdbool.h>

#include "RingTable.h"
#include "include/PacketRing.h"
#include "include/RingRelay.h"
#include "RouteQuery.h"

#define RING_BATCH_COUNT_MAX PACKET_TRANSMIT_COUNT_MAX

enum { RING_IPV4, RING_IPV6, RING_COUNT };

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
	struct packet_ring rings[RING_COUNT];
	struct route_query routes;
	uint64_t now; // when the packet arrived, CLOCK_MONOTONIC
	uint64_t batch_start; // the same clock
	int64_t clock_offset; // from CLOCK_MONOTONIC to the clock of the slots' timestamps
	uint64_t passed_lost;
	int transmit;

	pthread_t thread;
	bool has_thread;
	int stop; // eventfd
};

struct ring_relay {
	uint32_t flow_count_max;
	struct relay_interface_table interfaces;
	/// By counter_index, for all workers: a round trip is seen from both sides. Written without a lock, as in the kernel.
	struct relay_quality *quality;
	uint32_t *free_indices; // a stack
	uint32_t free_count;
	/// The packets for sockets, from all workers to the owner: sequenced, each whole.
	int passed[2]; // owner, workers
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

/// Relays one batch of what waits; returns how many frames that was. The lock is held.
uint32_t ring_worker_relay(struct ring_worker *worker);
/// All that waits, but at most what the rings hold: new packets must not keep us here. The lock is held, or the thread has
/// ended.
void ring_worker_relay_waiting(struct ring_worker *worker);
void ring_worker_update_clock(struct ring_worker *worker);
void ring_add_counters(struct relay_flow_counters *sum, const struct relay_flow_counters *share);

/// The classic filters: of a ring, and of the socket behind its ports. Return how many instructions.
#define RING_FILTER_COUNT_MAX 256
uint16_t ring_filter(bool is_v6, const struct relay_guarded_table *ports, struct sock_filter *instructions);
