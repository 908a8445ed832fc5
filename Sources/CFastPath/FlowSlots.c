// Puts flows into slots and takes them out again, while the program reads them: a slot is written before anything
// leads to it, and one that nothing leads to any more rests until all others have been used. What leads where is kept
// here, too: mapping the program's tables would count a megabyte of the kernel's memory as ours.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "CFastPath.h"
#include "FlowSlots.h"

struct relay_slots {
	int flows; // the hash table
	int heads; // array maps
	int slots;
	uint32_t slot_count;
	uint32_t *slot_of_head; // as in `heads`
	struct relay_flow_key *keys; // as in `slots`
	uint32_t free_count;
	uint32_t oldest; // where in `free` the one that rested longest stands
	uint32_t free[];
};

uint32_t relay_slot_count(uint32_t flow_count_max)
{
	return 2 * flow_count_max + 1; // each may be replaced while all rest, and slot 0
}

int relay_slots_open(int flows, int heads, int slots, uint32_t flow_count_max, struct relay_slots **result)
{
	uint32_t slot_count = relay_slot_count(flow_count_max);
	struct relay_slots *table = malloc(sizeof(*table) + slot_count * sizeof(uint32_t));

	if (!table)
		return -ENOMEM;
	table->flows = flows;
	table->heads = heads;
	table->slots = slots;
	table->slot_count = slot_count;
	table->slot_of_head = calloc(RELAY_HEAD_COUNT, sizeof(*table->slot_of_head));
	table->keys = calloc(slot_count, sizeof(*table->keys));
	if (!table->slot_of_head || !table->keys) {
		relay_slots_close(table);
		return -ENOMEM;
	}
	table->oldest = 0;
	table->free_count = slot_count - 1;
	for (uint32_t i = 0; i < table->free_count; i++)
		table->free[i] = i + 1;
	*result = table;
	return 0;
}

void relay_slots_close(struct relay_slots *table)
{
	if (!table)
		return;
	free(table->slot_of_head);
	free(table->keys);
	free(table);
}

static uint32_t take_free(struct relay_slots *table)
{
	if (!table->free_count)
		return 0;
	uint32_t slot = table->free[table->oldest];
	table->oldest = (table->oldest + 1) % table->slot_count;
	table->free_count--;
	return slot;
}

static void give_back(struct relay_slots *table, uint32_t slot)
{
	table->free[(table->oldest + table->free_count) % table->slot_count] = slot;
	table->free_count++;
}

static bool holds(const struct relay_slots *table, uint32_t slot, const struct relay_flow_key *key)
{
	return slot && !memcmp(&table->keys[slot], key, sizeof(*key));
}

/// The program may read the head half written: then it looks into a slot of another key, and passes the packet up.
static int lead(struct relay_slots *table, uint32_t index, uint32_t slot)
{
	struct relay_head head = {.slot = slot};

	if (bpf_map_update_elem(table->heads, &index, &head, BPF_ANY))
		return -errno;
	table->slot_of_head[index] = slot;
	return 0;
}

int relay_slots_set(struct relay_slots *table, const struct relay_flow_key *key, const struct relay_flow *flow)
{
	uint32_t index = relay_head_index(key);
	uint32_t slot = take_free(table), old = table->slot_of_head[index];
	struct relay_slot entry = {.key = *key, .flow = *flow};
	int error = 0;

	if (!slot)
		return -E2BIG;
	if (bpf_map_update_elem(table->slots, &slot, &entry, BPF_ANY)) {
		error = -errno;
		give_back(table, slot);
		return error;
	}
	table->keys[slot] = *key;
	__atomic_thread_fence(__ATOMIC_SEQ_CST); // the slot is written before anything leads to it
	if (!old || holds(table, old, key)) {
		uint32_t hashed = 0;
		bool was_hashed = !old && !bpf_map_lookup_elem(table->flows, key, &hashed);
		error = lead(table, index, slot);
		if (error) {
			old = slot;
		} else if (was_hashed) { // the head was another's when it came
			bpf_map_delete_elem(table->flows, key);
			old = hashed;
		}
	} else {
		uint32_t hashed;
		old = bpf_map_lookup_elem(table->flows, key, &hashed) ? 0 : hashed;
		error = bpf_map_update_elem(table->flows, key, &slot, BPF_ANY);
		if (error)
			old = slot;
	}
	if (old)
		give_back(table, old);
	return error;
}

int relay_slots_get(const struct relay_slots *table, const struct relay_flow_key *key, struct relay_flow *flow)
{
	uint32_t slot = table->slot_of_head[relay_head_index(key)];
	struct relay_slot entry;

	if (!holds(table, slot, key) && bpf_map_lookup_elem(table->flows, key, &slot))
		return -ENOENT;
	if (bpf_map_lookup_elem(table->slots, &slot, &entry))
		return -errno;
	*flow = entry.flow;
	return 0;
}

int relay_slots_remove(struct relay_slots *table, const struct relay_flow_key *key)
{
	uint32_t index = relay_head_index(key);
	uint32_t slot = table->slot_of_head[index];

	if (holds(table, slot, key)) {
		int error = lead(table, index, 0);
		if (error)
			return error;
	} else {
		if (bpf_map_lookup_elem(table->flows, key, &slot))
			return -ENOENT;
		bpf_map_delete_elem(table->flows, key);
	}
	give_back(table, slot);
	return 0;
}
