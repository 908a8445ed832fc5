// Puts flows into slots and takes them out again, while the program reads them: a slot is written before anything
// leads to it, and one that nothing leads to any more rests until all others have been used.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "CFastPath.h"
#include "FlowSlots.h"

struct relay_slots {
	int flows; // the hash table
	uint32_t slot_count;
	struct relay_head *heads;
	struct relay_slot *slots;
	uint32_t free_count;
	uint32_t oldest; // where in `free` the one that rested longest stands
	uint32_t free[];
};

static size_t slots_byte_count(uint32_t slot_count)
{
	return (size_t)slot_count * sizeof(struct relay_slot);
}

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
	table->slot_count = slot_count;
	table->heads = mmap(NULL, RELAY_HEAD_COUNT * sizeof(struct relay_head), PROT_READ | PROT_WRITE, MAP_SHARED, heads, 0);
	table->slots = mmap(NULL, slots_byte_count(slot_count), PROT_READ | PROT_WRITE, MAP_SHARED, slots, 0);
	if (table->heads == MAP_FAILED || table->slots == MAP_FAILED) {
		int error = -errno;
		relay_slots_close(table);
		return error;
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
	if (table->heads != MAP_FAILED)
		munmap(table->heads, RELAY_HEAD_COUNT * sizeof(struct relay_head));
	if (table->slots != MAP_FAILED)
		munmap(table->slots, slots_byte_count(table->slot_count));
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
	return slot && !memcmp(&table->slots[slot].key, key, sizeof(*key));
}

int relay_slots_set(struct relay_slots *table, const struct relay_flow_key *key, const struct relay_flow *flow)
{
	struct relay_head *head = &table->heads[relay_head_index(key)];
	uint32_t slot = take_free(table), old = head->slot;
	int error = 0;

	if (!slot)
		return -E2BIG;
	table->slots[slot] = (struct relay_slot){.key = *key, .flow = *flow};
	if (!old || holds(table, old, key)) {
		uint32_t hashed = 0;
		bool was_hashed = !old && !bpf_map_lookup_elem(table->flows, key, &hashed);
		__atomic_store_n(&head->slot, slot, __ATOMIC_RELEASE);
		if (was_hashed) { // the head was another's when it came
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
	uint32_t slot = table->heads[relay_head_index(key)].slot;

	if (!holds(table, slot, key) && bpf_map_lookup_elem(table->flows, key, &slot))
		return -ENOENT;
	*flow = table->slots[slot].flow;
	return 0;
}

int relay_slots_remove(struct relay_slots *table, const struct relay_flow_key *key)
{
	struct relay_head *head = &table->heads[relay_head_index(key)];
	uint32_t slot = head->slot;

	if (holds(table, slot, key)) {
		__atomic_store_n(&head->slot, 0, __ATOMIC_RELEASE);
	} else {
		if (bpf_map_lookup_elem(table->flows, key, &slot))
			return -ENOENT;
		bpf_map_delete_elem(table->flows, key);
	}
	give_back(table, slot);
	return 0;
}
