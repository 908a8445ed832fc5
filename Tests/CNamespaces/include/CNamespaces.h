// Network namespaces, raw frames and attached programs, for tests. Negative errno on failure.
#pragma once
#include <stdbool.h>
#include <stdint.h>

/// A descriptor of a new network namespace, its `lo` up; the calling thread stays where it is. The namespace ends
/// with the descriptor and with what was moved into it.
int namespace_create(void);

/// Moves the calling thread; returns a descriptor of where it was.
int namespace_enter(int descriptor);

/// Switches generic receive offload, which makes a veth accept frames redirected to it.
int namespace_set_gro(const char *interface, bool on);

/// Switches checksum offload: off, the stack finishes every checksum itself.
int namespace_set_checksum_offload(const char *interface, bool on);

/// A packet socket on an interface, for every protocol, blind to what it sends itself.
int namespace_packet_socket(const char *interface);

/// Receives one frame. `*tag` is the VLAN tag the kernel took out of it, or -1. Returns the byte count.
long namespace_receive_frame(int descriptor, uint8_t *frame, uint32_t byte_count, int *tag);

/// Identifiers of the programs on an interface: XDP, TCX ingress. 0 if there is none.
uint32_t namespace_xdp_program(const char *interface);
uint32_t namespace_tcx_program(const char *interface);
bool namespace_program_exists(uint32_t identifier);

#define QUALITY_RECORD_BYTE_COUNT 192
/// One RTP or RTCP packet into a record of the relay program (struct relay_quality), by the program's own code, at a
/// time of the caller's.
void quality_observe_rtp(void *record, uint32_t clock_ticks, uint8_t event_payload_type, const uint8_t *packet,
			 uint64_t now);
void quality_observe_rtcp(void *record, const void *opposite, const uint8_t *packet, uint32_t byte_count, uint64_t now);

/// Keeps the calling thread on one CPU; a negative one lets it go.
int namespace_pin(int cpu);

/// Hands a descriptor to the process at the other end of a Unix socket (SCM_RIGHTS), or takes one.
int namespace_send_descriptor(int socket, int descriptor);
int namespace_receive_descriptor(int socket);
