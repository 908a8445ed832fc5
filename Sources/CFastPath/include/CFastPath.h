// libbpf, rtnetlink and ethtool in the few forms FastPath needs. Everything acts in the calling thread's network
// namespace. Functions that return int return a negative errno on failure.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bpf/bpf.h>

#include "FlowSlots.h"
#include "FlowTable.h"
#include "MediaSender.h"
#include "PacketRing.h"
#include "RingRelay.h"
#include "ShieldTable.h"
#include "TapRing.h"
#include "TapWriter.h"

struct relay_slots;

/// A loaded object and the descriptors of its parts; all belong to `object`.
struct relay_program {
	void *object;
	int xdp;
	int tc;
	struct relay_slots *slots;
	int flow_counters;
	int flow_quality;
	int totals;
	int interfaces;
	int guarded;
	int shield_settings;
	int shield_blocked;
	int shield_allowed;
	int shield_sources;
	int tap_rings;
	int tap_shape;
	int tap_counters;
};

/// Loads the program into the kernel. On failure `*call` names the step (static storage), and `log` holds the end of
/// what libbpf and the verifier said, terminated by zero.
int relay_load(const void *bytes, size_t byte_count, uint32_t flow_count_max, struct relay_program *result,
	       const char **call, char *log, size_t log_byte_count);
void relay_unload(struct relay_program *program);

/// Puts a flow in the place of the one with this key, if there is one; packets see the one or the other.
int relay_slots_set(struct relay_slots *table, const struct relay_flow_key *key, const struct relay_flow *flow);
/// -ENOENT if there is no flow with this key.
int relay_slots_get(const struct relay_slots *table, const struct relay_flow_key *key, struct relay_flow *flow);
int relay_slots_remove(struct relay_slots *table, const struct relay_flow_key *key);
/// What relay_load and relay_unload need. The descriptors belong to the object.
int relay_slots_open(int flows, int heads, int slots, uint32_t flow_count_max, struct relay_slots **result);
void relay_slots_close(struct relay_slots *table);
uint32_t relay_slot_count(uint32_t flow_count_max);

/// Size of one CPU's share is the value's size; this many shares follow each other in a look-up.
int relay_possible_cpu_count(void);

/// Attach by a link: the descriptor returned owns the attachment, which ends with it.
int relay_link_xdp(int program, uint32_t interface_index);
int relay_link_tcx(int program, uint32_t interface_index);

/// Attach by a classic filter at clsact ingress (kernels before 6.6), with a handle and priority of our own.
int relay_clsact_attach(int program, uint32_t interface_index);
/// Removes the filter with that handle and priority if its program is ours; 0 also when there is none.
int relay_clsact_detach(uint32_t interface_index);

/// Name, then zero; "" when the driver does not say.
struct relay_interface_facts {
	uint32_t index;
	uint32_t parent_index; // of a VLAN device, else 0
	uint16_t vlan;         // of a VLAN device, else 0
	bool is_ethernet;
	char driver[32];
	char parent_name[16];
};
int relay_interface_facts(const char *name, struct relay_interface_facts *facts);

enum relay_xdp_features {
	RELAY_XDP_BASIC = 1,
	RELAY_XDP_REDIRECT = 2,
	RELAY_XDP_TRANSMIT = 4,
};
/// What the driver says it can do right now (netdev family of generic netlink, Linux 6.3), bits as above.
int relay_xdp_features(uint32_t interface_index, uint64_t *features);

/// Runs a program on one packet (BPF_PROG_TEST_RUN), `repeat` times; for tests and benchmarks.
struct relay_run_result {
	uint32_t action;
	uint32_t byte_count;
	uint32_t nanoseconds; // per run
};
int relay_run(int program, bool is_xdp, uint32_t interface_index, uint32_t repeat, const uint8_t *packet,
	      uint32_t byte_count, uint8_t *output, uint32_t output_byte_count, struct relay_run_result *result);
