#include <errno.h>
#include <linux/bpf.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "TapRing.h"

int relay_tap_ring_create(uint32_t byte_count)
{
	return bpf_map_create(BPF_MAP_TYPE_RINGBUF, "cresset_tap", 0, 0, byte_count, NULL);
}

int relay_tap_reader_open(int descriptor, uint32_t byte_count, struct relay_tap_reader *reader)
{
	uint32_t page = sysconf(_SC_PAGESIZE);

	memset(reader, 0, sizeof(*reader));
	if (byte_count < page || byte_count & (byte_count - 1) || byte_count > 1u << 30)
		return -EINVAL;
	void *consumer = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
	if (consumer == MAP_FAILED)
		return -errno;
	// The kernel maps the data twice in a row, so that no record is ever split.
	const uint8_t *rest = mmap(NULL, page + 2 * (size_t)byte_count, PROT_READ, MAP_SHARED, descriptor, page);
	if (rest == MAP_FAILED) {
		int error = -errno;
		munmap(consumer, page);
		return error;
	}
	reader->consumer = consumer;
	reader->producer = (const volatile uint64_t *)rest;
	reader->data = rest + page;
	reader->byte_count = byte_count;
	reader->page_byte_count = page;
	reader->position = *reader->consumer;
	return 0;
}

const struct relay_tap_record *relay_tap_reader_next(struct relay_tap_reader *reader, uint32_t *byte_count)
{
	if (!reader->consumer)
		return NULL;
	for (;;) {
		__atomic_store_n(reader->consumer, reader->position, __ATOMIC_RELEASE);
		if (reader->position >= __atomic_load_n(reader->producer, __ATOMIC_ACQUIRE))
			return NULL;
		const uint8_t *header = reader->data + (reader->position & (reader->byte_count - 1));
		uint32_t length = __atomic_load_n((const uint32_t *)header, __ATOMIC_ACQUIRE);
		if (length & BPF_RINGBUF_BUSY_BIT)
			return NULL;
		uint32_t size = length & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);
		reader->position += (size + BPF_RINGBUF_HDR_SZ + 7) & ~(uint64_t)7;
		if (length & BPF_RINGBUF_DISCARD_BIT || size < sizeof(struct relay_tap_record))
			continue;
		*byte_count = size;
		return (const struct relay_tap_record *)(header + BPF_RINGBUF_HDR_SZ);
	}
}

void relay_tap_reader_close(struct relay_tap_reader *reader)
{
	if (!reader->consumer)
		return;
	munmap((void *)reader->consumer, reader->page_byte_count);
	munmap((void *)reader->producer, reader->page_byte_count + 2 * (size_t)reader->byte_count);
	reader->consumer = NULL;
}
