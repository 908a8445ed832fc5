// The kernel program's reading of media, compiled for user space, so that a test sets the clock.
#include "include/CNamespaces.h"

#include "../../Sources/CFastPath/BPF/quality.h"

_Static_assert(sizeof(struct relay_quality) <= QUALITY_RECORD_BYTE_COUNT, "the caller's record is large enough");

void quality_observe_rtp(void *record, uint32_t clock_ticks, uint8_t event_payload_type, const uint8_t *packet,
			 uint64_t now)
{
	struct relay_flow flow = {.clock_ticks = clock_ticks, .event_payload_type = event_payload_type};

	quality_read_rtp(&((struct relay_quality *)record)->stream, &flow, packet, now);
}

void quality_observe_rtcp(void *record, const void *opposite, const uint8_t *packet, uint32_t byte_count, uint64_t now)
{
	quality_read_rtcp(&((struct relay_quality *)record)->reports, &((const struct relay_quality *)opposite)->reports,
			  packet, byte_count, packet + byte_count, now);
}
