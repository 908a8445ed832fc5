#define _GNU_SOURCE
#include "include/TapWriter.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BLOCK_COUNT_MIN 16 // two of the largest records

int relay_tap_writer_open(uint32_t byte_count, uint32_t generation, struct relay_tap_writer *writer)
{
	uint32_t per_page = (uint32_t)sysconf(_SC_PAGESIZE) / RELAY_TAP_BLOCK_BYTE_COUNT;
	struct relay_tap_shape shape = {
		.generation = generation, .cpu_count = 1, .first = per_page, .block_count = BLOCK_COUNT_MIN};

	memset(writer, 0, sizeof(*writer));
	while (shape.block_count * 2ull * RELAY_TAP_BLOCK_BYTE_COUNT <= byte_count)
		shape.block_count *= 2;
	uint64_t whole = (uint64_t)(shape.first + shape.block_count) * RELAY_TAP_BLOCK_BYTE_COUNT;
	int descriptor = memfd_create("cresset_tap", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (descriptor < 0)
		return -errno;
	void *start = MAP_FAILED;
	// The reader must not be able to take the pages away from under us.
	if (!ftruncate(descriptor, (off_t)whole) &&
	    !fcntl(descriptor, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		start = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
	if (start == MAP_FAILED) {
		int error = -errno;
		close(descriptor);
		return error;
	}
	writer->heads = start;
	writer->blocks = writer->heads + shape.first;
	writer->byte_count = whole;
	writer->block_count = shape.block_count;
	memcpy(writer->heads->bytes, &shape, sizeof(shape));
	pthread_mutex_init(&writer->lock, NULL);
	return descriptor;
}

void relay_tap_writer_close(struct relay_tap_writer *writer)
{
	if (!writer->heads)
		return;
	munmap(writer->heads, writer->byte_count);
	pthread_mutex_destroy(&writer->lock);
	memset(writer, 0, sizeof(*writer));
}

static struct relay_tap_block *block_at(const struct relay_tap_writer *writer, uint32_t number)
{
	return &writer->blocks[(writer->written + number) & (writer->block_count - 1)];
}

void relay_tap_write(struct relay_tap_writer *writer, uint32_t tap, uint8_t direction, uint64_t timestamp,
		     const uint8_t *packet, uint32_t byte_count)
{
	uint32_t captured =
		byte_count < RELAY_TAP_PACKET_BYTE_COUNT_MAX ? byte_count : RELAY_TAP_PACKET_BYTE_COUNT_MAX;
	uint32_t first = captured < RELAY_TAP_FIRST_BYTE_COUNT ? captured : RELAY_TAP_FIRST_BYTE_COUNT, count = 1;

	count += (captured - first + RELAY_TAP_OTHER_BYTE_COUNT - 1) / RELAY_TAP_OTHER_BYTE_COUNT;
	pthread_mutex_lock(&writer->lock);
	const struct relay_tap_progress *progress = (const void *)&writer->heads[1];
	uint64_t waiting = writer->written - __atomic_load_n(&progress->read, __ATOMIC_ACQUIRE);
	if (waiting > writer->block_count || writer->block_count - waiting < count) {
		writer->counters.lost++;
		pthread_mutex_unlock(&writer->lock);
		return;
	}
	struct relay_tap_block *block = block_at(writer, 0);
	struct relay_tap_record *record = (struct relay_tap_record *)block->bytes;
	*record = (struct relay_tap_record){.timestamp = timestamp,
					    .tap = tap,
					    .direction = direction,
					    .packet_byte_count = (uint16_t)byte_count};
	memcpy(record->packet, packet, first);
	for (uint32_t number = 1, done = first; number < count; number++, done += RELAY_TAP_OTHER_BYTE_COUNT) {
		struct relay_tap_block *other = block_at(writer, number);
		uint32_t left = captured - done;
		other->sequence = 0;
		memcpy(other->bytes, packet + done,
		       left < RELAY_TAP_OTHER_BYTE_COUNT ? left : RELAY_TAP_OTHER_BYTE_COUNT);
	}
	__atomic_store_n(&block->sequence, writer->written + 1, __ATOMIC_RELEASE);
	writer->written += count;
	writer->counters.copied++;
	pthread_mutex_unlock(&writer->lock);
}
