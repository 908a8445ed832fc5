// The flows of one thread of the ring relay: a hash table with open addressing, its counters beside each flow.
#pragma once
#include <stdint.h>

#include "FlowTable.h"

struct ring_entry {
	struct relay_flow_key key;
	uint32_t is_used;
	/// Nanoseconds of CLOCK_MONOTONIC at which the flow became known: what arrived before, but is read only now, the
	/// socket has heard.
	uint64_t since;
	struct relay_flow flow;
	struct relay_flow_counters counters;
	/// What routing last said, of which of its states and when, for this generation of the flow (0: nothing yet).
	uint32_t route_generation;
	uint32_t route_interface;
	uint64_t route_state;
	uint64_t route_time;
};

struct ring_table {
	struct ring_entry *entries;
	uint32_t mask; // entries less one; 0 while there are none
	uint32_t count;
};

struct ring_entry *ring_table_find(const struct ring_table *table, const struct relay_flow_key *key);
/// The entry of this key, made if there is none; NULL without memory.
struct ring_entry *ring_table_insert(struct ring_table *table, const struct relay_flow_key *key);
void ring_table_remove(struct ring_table *table, struct ring_entry *entry);
void ring_table_free(struct ring_table *table);
