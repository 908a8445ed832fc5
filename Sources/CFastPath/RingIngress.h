// What the rings of one interface take need not go up the stack: a classic filter at TC ingress drops it behind them.
// Only what the filter of the socket behind the port would drop as well, only sooner and cheaper, so it is never needed:
// without CAP_NET_ADMIN or classifiers in the kernel the sockets' filters do it alone.
//
// Changing it needs the kernel's configuration lock, which others may hold for seconds. So no packet and no flow waits for
// it: a thread of its own does it, and meanwhile the ring hands up what finds the filter too early or too late.
#pragma once
#include <linux/filter.h>
#include <stdbool.h>
#include <stdint.h>

#include "FlowTable.h"

#define RING_INGRESS_ADDRESS_COUNT_MAX 16

enum ring_ingress_stage {
	RING_INGRESS_WANTED, // there is a flow
	RING_INGRESS_PENDING, // on its way into the kernel
	RING_INGRESS_ATTACHED, // the stack may not get what goes there
	RING_INGRESS_EARLIER, // nor what came before the last change, and is only read now
	RING_INGRESS_STAGE_COUNT
};

/// Ports of one of our addresses, 32 a word.
struct ring_ingress_ports {
	uint8_t address[16];
	uint32_t words[RING_INGRESS_STAGE_COUNT][65536 / 32];
};

struct ring_ingress {
	/// These belong to who holds the worker's lock.
	struct ring_ingress_ports *addresses[RING_INGRESS_ADDRESS_COUNT_MAX];
	uint32_t address_count;
	bool is_stale; // what is wanted is not what is attached
	bool is_attached;
	uint64_t settled; // CLOCK_REALTIME of the last change, ns
	/// These to who holds the relay's ingress lock.
	uint32_t interface_index;
	int netlink; // 0: not opened
	uint32_t sequence;
	bool is_refused; // by the kernel, once and for all
};

// With the worker's lock:

/// Notes a flow that came or went. Addresses beyond the table's size are left to the sockets.
void ring_ingress_note(struct ring_ingress *ingress, const struct relay_flow_key *key, bool has_flow);
/// Whether the stack may not have got what went there at this time (CLOCK_REALTIME, ns).
bool ring_ingress_drops(const struct ring_ingress *ingress, const struct relay_flow_key *key, uint64_t time);
/// What is wanted as a program of at most BPF_MAXINSNS instructions, which is then pending; returns how many.
uint16_t ring_ingress_write(struct ring_ingress *ingress, struct sock_filter *instructions);
/// What was pending is attached now, or (false) nothing is.
void ring_ingress_settle(struct ring_ingress *ingress, bool is_attached);

// With the relay's ingress lock, in the rings' network namespace:

/// Makes the place where filters go (clsact), if it is not there; it stays, as others may have put theirs there. The
/// kernel stops the interface's transmission for a moment to do it, so never under media; without it, no filter.
void ring_ingress_make_place(uint32_t interface_index);
/// Puts the program in the place of the one before; a negative errno on failure.
int ring_ingress_attach(struct ring_ingress *ingress, const struct sock_filter *instructions, uint16_t count);
void ring_ingress_detach(struct ring_ingress *ingress);
/// Both locks, or nobody else any more.
void ring_ingress_close(struct ring_ingress *ingress);
