#include <errno.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "TapRing.h"

#define BLOCK_COUNT_MIN 16 // of each CPU: two of the largest records

/// The blocks before those of the first CPU: whole pages, which alone the reader may write.
static uint32_t head_count(uint32_t cpu_count)
{
	uint32_t per_page = sysconf(_SC_PAGESIZE) / RELAY_TAP_BLOCK_BYTE_COUNT;

	return (1 + cpu_count + per_page - 1) / per_page * per_page;
}

uint64_t relay_tap_ring_byte_count(const struct relay_tap_shape *shape)
{
	return (uint64_t)shape->cpu_count * shape->block_count * RELAY_TAP_BLOCK_BYTE_COUNT;
}

int relay_tap_ring_create(uint32_t byte_count, uint32_t generation, struct relay_tap_shape *shape)
{
	LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_MMAPABLE | BPF_F_INNER_MAP);
	int cpu_count = libbpf_num_possible_cpus();
	struct relay_tap_block first = {};
	uint32_t zero = 0;

	if (cpu_count < 0)
		return cpu_count;
	*shape = (struct relay_tap_shape){
		.generation = generation,
		.cpu_count = cpu_count,
		.first = head_count(cpu_count),
		.block_count = BLOCK_COUNT_MIN,
	};
	while (relay_tap_ring_byte_count(shape) * 2 <= byte_count)
		shape->block_count *= 2;
	int descriptor = bpf_map_create(BPF_MAP_TYPE_ARRAY, "cresset_tap", sizeof(uint32_t), sizeof(first),
					shape->first + shape->cpu_count * shape->block_count, &options);
	if (descriptor < 0)
		return descriptor;
	memcpy(first.bytes, shape, sizeof(*shape));
	int error = bpf_map_update_elem(descriptor, &zero, &first, BPF_ANY);
	if (error) {
		close(descriptor);
		return error;
	}
	return descriptor;
}

int relay_tap_reader_open(int descriptor, struct relay_tap_reader *reader)
{
	uint32_t page = sysconf(_SC_PAGESIZE);

	memset(reader, 0, sizeof(*reader));
	const struct relay_tap_block *first = mmap(NULL, page, PROT_READ, MAP_SHARED, descriptor, 0);
	if (first == MAP_FAILED)
		return -errno;
	memcpy(&reader->shape, first->bytes, sizeof(reader->shape));
	munmap((void *)first, page);
	const struct relay_tap_shape *shape = &reader->shape;
	// Whoever handed the descriptor over may have confused it with another one.
	if (!shape->generation || !shape->cpu_count || shape->cpu_count > 1 << 16 || !shape->block_count ||
	    shape->block_count & (shape->block_count - 1) || shape->first != head_count(shape->cpu_count))
		return -EINVAL;
	reader->head_byte_count = shape->first * RELAY_TAP_BLOCK_BYTE_COUNT;
	reader->byte_count = relay_tap_ring_byte_count(shape);
	void *heads = mmap(NULL, reader->head_byte_count, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
	if (heads == MAP_FAILED)
		return -errno;
	void *blocks = mmap(NULL, reader->byte_count, PROT_READ, MAP_SHARED, descriptor, reader->head_byte_count);
	if (blocks == MAP_FAILED) {
		int error = -errno;
		munmap(heads, reader->head_byte_count);
		return error;
	}
	reader->heads = heads;
	reader->blocks = blocks;
	reader->positions = calloc(shape->cpu_count, sizeof(*reader->positions));
	reader->whole = calloc(RELAY_TAP_BLOCK_COUNT_MAX, sizeof(*reader->whole));
	if (!reader->positions || !reader->whole) {
		relay_tap_reader_close(reader);
		return -ENOMEM;
	}
	for (uint32_t cpu = 0; cpu < shape->cpu_count; cpu++)
		reader->positions[cpu] = ((struct relay_tap_progress *)&reader->heads[1 + cpu])->read;
	return 0;
}

static const struct relay_tap_block *block_at(const struct relay_tap_reader *reader, uint32_t cpu, uint32_t number)
{
	uint64_t position = reader->positions[cpu] + number;

	return &reader->blocks[(uint64_t)cpu * reader->shape.block_count + (position & (reader->shape.block_count - 1))];
}

static const struct relay_tap_record *record_in(const struct relay_tap_block *block)
{
	return (const struct relay_tap_record *)block->bytes;
}

/// The CPU whose next record is the oldest; -1: none has one.
static int oldest(const struct relay_tap_reader *reader)
{
	uint64_t earliest = 0;
	int found = -1;

	for (uint32_t cpu = 0; cpu < reader->shape.cpu_count; cpu++) {
		const struct relay_tap_block *block = block_at(reader, cpu, 0);
		if (__atomic_load_n(&block->sequence, __ATOMIC_ACQUIRE) != reader->positions[cpu] + 1)
			continue;
		uint64_t timestamp = record_in(block)->timestamp;
		if (found < 0 || timestamp < earliest) {
			earliest = timestamp;
			found = cpu;
		}
	}
	return found;
}

static const struct relay_tap_record *put_together(struct relay_tap_reader *reader, uint32_t cpu, uint32_t captured)
{
	uint8_t *to = reader->whole->bytes + sizeof(struct relay_tap_record) + RELAY_TAP_FIRST_BYTE_COUNT;

	memcpy(reader->whole, block_at(reader, cpu, 0), sizeof(*reader->whole));
	for (uint32_t left = captured - RELAY_TAP_FIRST_BYTE_COUNT; left;) {
		uint32_t part = left < RELAY_TAP_OTHER_BYTE_COUNT ? left : RELAY_TAP_OTHER_BYTE_COUNT;
		memcpy(to, block_at(reader, cpu, reader->taken++)->bytes, part);
		to += part;
		left -= part;
	}
	return record_in(reader->whole);
}

const struct relay_tap_record *relay_tap_reader_next(struct relay_tap_reader *reader, uint32_t *captured)
{
	if (!reader->heads)
		return NULL;
	if (reader->taken) {
		struct relay_tap_progress *progress = (struct relay_tap_progress *)&reader->heads[1 + reader->taken_cpu];
		reader->positions[reader->taken_cpu] += reader->taken;
		__atomic_store_n(&progress->read, reader->positions[reader->taken_cpu], __ATOMIC_RELEASE);
		reader->taken = 0;
	}
	int cpu = oldest(reader);
	if (cpu < 0)
		return NULL;
	const struct relay_tap_record *record = record_in(block_at(reader, cpu, 0));
	*captured = record->packet_byte_count < RELAY_TAP_PACKET_BYTE_COUNT_MAX ? record->packet_byte_count
										: RELAY_TAP_PACKET_BYTE_COUNT_MAX;
	reader->taken = 1;
	reader->taken_cpu = cpu;
	return *captured <= RELAY_TAP_FIRST_BYTE_COUNT ? record : put_together(reader, cpu, *captured);
}

void relay_tap_reader_close(struct relay_tap_reader *reader)
{
	if (!reader->heads)
		return;
	munmap(reader->heads, reader->head_byte_count);
	munmap((void *)reader->blocks, reader->byte_count);
	free(reader->positions);
	free(reader->whole);
	reader->heads = NULL;
}
