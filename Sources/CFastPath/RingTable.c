#include "RingTable.h"

#include <stdlib.h>
#include <string.h>

#define ENTRY_COUNT_MIN 64

/// Only our own addresses and ports are keys, so nobody can choose them to collide.
static uint32_t hash(const struct relay_flow_key *key)
{
	uint64_t low, high;

	memcpy(&low, key->address, sizeof(low));
	memcpy(&high, key->address + 8, sizeof(high));
	low = (low ^ high ^ (uint64_t)key->port << 17) * 0x9e3779b97f4a7c15;
	return (uint32_t)(low >> 32);
}

static uint32_t home(const struct ring_table *table, const struct relay_flow_key *key)
{
	return hash(key) & table->mask;
}

static int is_same(const struct relay_flow_key *left, const struct relay_flow_key *right)
{
	return memcmp(left, right, sizeof(*left)) == 0;
}

struct ring_entry *ring_table_find(const struct ring_table *table, const struct relay_flow_key *key)
{
	if (!table->count)
		return NULL;
	for (uint32_t at = home(table, key); table->entries[at].is_used; at = (at + 1) & table->mask) {
		if (is_same(&table->entries[at].key, key))
			return &table->entries[at];
	}
	return NULL;
}

static struct ring_entry *free_place(struct ring_table *table, const struct relay_flow_key *key)
{
	uint32_t at = home(table, key);

	while (table->entries[at].is_used)
		at = (at + 1) & table->mask;
	return &table->entries[at];
}

/// At most half of the entries are used, so that a miss ends soon.
static int grow(struct ring_table *table)
{
	uint32_t count = table->entries ? (table->mask + 1) * 2 : ENTRY_COUNT_MIN;
	struct ring_table larger = {calloc(count, sizeof(struct ring_entry)), count - 1, table->count};

	if (!larger.entries)
		return -1;
	for (uint32_t at = 0; table->entries && at <= table->mask; at++) {
		if (table->entries[at].is_used)
			*free_place(&larger, &table->entries[at].key) = table->entries[at];
	}
	free(table->entries);
	*table = larger;
	return 0;
}

struct ring_entry *ring_table_insert(struct ring_table *table, const struct relay_flow_key *key)
{
	struct ring_entry *entry = ring_table_find(table, key);

	if (entry)
		return entry;
	if ((!table->entries || (table->count + 1) * 2 > table->mask + 1) && grow(table))
		return NULL;
	entry = free_place(table, key);
	memset(entry, 0, sizeof(*entry));
	entry->key = *key;
	entry->is_used = 1;
	table->count++;
	return entry;
}

/// Moves back what was displaced by the entry, so that no search ends early.
void ring_table_remove(struct ring_table *table, struct ring_entry *entry)
{
	uint32_t hole = (uint32_t)(entry - table->entries);

	for (uint32_t at = (hole + 1) & table->mask; table->entries[at].is_used; at = (at + 1) & table->mask) {
		uint32_t wanted = home(table, &table->entries[at].key);
		if (((at - wanted) & table->mask) >= ((at - hole) & table->mask)) {
			table->entries[hole] = table->entries[at];
			hole = at;
		}
	}
	table->entries[hole].is_used = 0;
	table->count--;
}

void ring_table_free(struct ring_table *table)
{
	free(table->entries);
	*table = (struct ring_table){};
}
