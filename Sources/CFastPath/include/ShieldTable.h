// The layout of the shield's maps, shared by the BPF program and by user space. Addresses as in FlowTable.h: sixteen
// bytes, IPv4 as ::ffff:a.b.c.d, so one map serves both families. Times are nanoseconds of CLOCK_MONOTONIC.
#pragma once
#include <linux/types.h>

/// Of the blocklist and the allowlist (longest prefix first); an IPv4 prefix is 96 bits longer here.
struct shield_prefix_key {
	__u32 bit_length;
	__u8 address[16];
};
_Static_assert(sizeof(struct shield_prefix_key) == 20, "shared with the BPF program");

struct shield_block {
	__u64 expiry; // 0: never
	__u64 packets; // dropped so far
	__u32 bit_length; // as in the key: a look-up does not tell
	__u32 zero;
};
_Static_assert(sizeof(struct shield_block) == 24, "shared with the BPF program");

enum shield_standing {
	SHIELD_UNKNOWN = 0,
	SHIELD_STATION, // has registered: a bucket of its own, apart from the unknown ones
	SHIELD_TRUNK, // configured: its requests have a bucket as wide as a station's, its responses none
	SHIELD_ALLOWED, // by the operator: never limited, and stronger than a block that is not longer
};

struct shield_allowance {
	__u64 expiry; // 0: never
	__u32 bit_length;
	__u32 standing;
};
_Static_assert(sizeof(struct shield_allowance) == 16, "shared with the BPF program");

/// A token bucket, kept as the time at which it would be full again (the virtual scheduling algorithm of ITU-T I.371): one
/// word, so that CPUs share it without a lock.
struct shield_source {
	__u64 full_at;
	__u64 dropped;
};
_Static_assert(sizeof(struct shield_source) == 16, "shared with the BPF program");

struct shield_rate {
	__u64 interval; // between two tokens; 0: no limit
	__u64 tolerance; // (burst - 1) * interval
};

#define SHIELD_ENDPOINT_COUNT_MAX 16
enum shield_endpoint_flags {
	SHIELD_SIP_UDP = 1,
	SHIELD_SIP_TCP = 2,
	SHIELD_EMERGENCY = 8, // phones are there: whoever asks for help is heard, blocked or not
	SHIELD_SILENT = 4, // ports of this address without a socket answer nobody
};

/// One of our SIP addresses.
struct shield_endpoint {
	__u8 address[16];
	__be16 port;
	__u16 flags;
};

/// A global variable of the program. It is replaced while packets arrive, which at worst see a mixture of both.
struct shield_settings {
	__u32 is_on;
	__u32 endpoint_count;
	struct shield_rate source; // each unknown source
	struct shield_rate station; // each registered one
	struct shield_rate unknown; // all unknown sources of an interface together
	struct shield_rate emergency; // requests for help of an interface that have no other token
	struct shield_endpoint endpoints[SHIELD_ENDPOINT_COUNT_MAX];
};
_Static_assert(sizeof(struct shield_settings) == 392, "shared with the BPF program");
