// Frames of one interface in memory the kernel writes and we read: an AF_PACKET receive ring (TPACKET_V2), and a way to
// send frames out of its slots. Everything acts in the calling thread's network namespace; one thread owns a ring.
// Functions that return int return a negative errno on failure.
//
// Version 2, not 3: version 3 hands over whole blocks, so a lone frame waits until its block is retired, half a
// millisecond and more; version 2 wakes its reader with every frame.
#pragma once
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// What a ring is to be.
struct packet_ring_options {
	uint32_t interface_index;
	/// EtherType in host order of the frames wanted, 0 for all. With one, a ring sees only what the interface's TC ingress
	/// lets up; without, also what that drops or redirects.
	uint16_t protocol;
	/// Also take an interface without an Ethernet header (PPP, tunnels), whose frames begin with the IP header.
	bool allows_any_link;
	/// Which frames come in (classic BPF over the frame from its Ethernet header); in force before the first can arrive.
	/// None: all. Needed until packet_ring_open returns.
	const struct sock_filter *filter;
	uint16_t filter_count;
	/// How a fanout group shares frames (PACKET_FANOUT_HASH, PACKET_FANOUT_CPU …, with its flags), and the group's
	/// number, 0 for no group; with mode PACKET_FANOUT_FLAG_UNIQUEID the kernel chooses it. All rings of a group have the
	/// same filter, interface and process.
	uint16_t fanout_group;
	uint16_t fanout_mode;
	/// Of one slot: powers of two, at least 256. Into it go a header of PACKET_RING_OVERHEAD at most, the headroom and
	/// the frame; what does not fit is cut off.
	uint32_t slot_byte_count;
	/// A power of two.
	uint32_t slot_count;
	/// Left free before each frame for whoever makes its header longer; with a virtio header this lies before that.
	uint32_t headroom_byte_count;
	/// Put a virtio_net_hdr directly before each frame. It tells several datagrams joined by offload from one, and a
	/// frame sent together with it has its checksum finished by the way it leaves.
	bool has_virtio_header;
};

#define PACKET_RING_OVERHEAD 112

enum packet_ring_status {
	/// The sender left the transport checksum to its device: the frame comes from this machine and is whole, but the
	/// checksum field holds only the pseudo-header's sum.
	PACKET_RING_CHECKSUM_UNFINISHED = 1,
	/// The device checked the transport checksum.
	PACKET_RING_CHECKSUM_VALID = 2,
	/// Frames were lost for want of a free slot since packet_ring_statistics was last asked.
	PACKET_RING_LOSING = 4,
	/// Cut off: byte_count is less than original_byte_count.
	PACKET_RING_TRUNCATED = 8,
	/// A VLAN tag was taken out of the frame: vlan_control and vlan_ether_type hold it.
	PACKET_RING_VLAN = 16,
	/// Several segments in one frame (virtio header only): segment_byte_count of payload each, the headers once.
	PACKET_RING_JOINED = 32,
};

/// One frame as it lies in its slot: ours until packet_ring_release.
struct packet_ring_frame {
	/// From the Ethernet header on.
	uint8_t *bytes;
	uint32_t byte_count;
	uint32_t original_byte_count;
	/// Of packet_ring_status.
	uint32_t status;
	uint32_t slot;
	/// Nanoseconds of CLOCK_REALTIME at which the kernel received it.
	uint64_t timestamp;
	uint16_t vlan_control;
	uint16_t vlan_ether_type;
	uint16_t segment_byte_count;
	/// EtherType of what follows link header and tag, in network order.
	uint16_t protocol;
	/// PACKET_HOST, PACKET_BROADCAST … (linux/if_packet.h).
	uint8_t packet_type;
};

struct packet_ring {
	/// Readable while a frame waits; has an error while the interface is down.
	int descriptor;
	uint8_t *slots;
	uint32_t slot_byte_count;
	uint32_t slot_mask;
	/// The slot to read next, and how many are with us; both count on and wrap.
	uint32_t next;
	uint32_t held;
	bool has_virtio_header;
	/// Since the ring was opened: frames that passed the filter, and those among them lost for want of a free slot.
	uint64_t frames;
	uint64_t drops;
};

/// Opens a ring; on failure nothing stays open and `*call` names the step (static storage). Frames this machine sends are
/// not seen. On another interface than Ethernet, unless any is allowed: -EAFNOSUPPORT.
int packet_ring_open(const struct packet_ring_options *options, struct packet_ring *ring, const char **call);
/// Gives back memory and descriptor; harmless on a ring of zeros or one that is closed.
void packet_ring_close(struct packet_ring *ring);

/// The next frame, in place; false if there is none or all slots are with us.
bool packet_ring_next(struct packet_ring *ring, struct packet_ring_frame *frame);
/// Gives a slot back to the kernel. In any order, but the kernel waits for the oldest.
void packet_ring_release(struct packet_ring *ring, uint32_t slot);

/// Brings `frames` and `drops` up to date, and ends PACKET_RING_LOSING.
int packet_ring_statistics(struct packet_ring *ring);
/// The error that makes the descriptor readable without a frame (-ENETDOWN), taken away; 0 for none. A ring outlives
/// its interface going down and up.
int packet_ring_take_error(struct packet_ring *ring);

/// A socket that sends frames out of one interface and receives nothing. `bypass_queue`: past the queueing discipline,
/// cheaper, and lost when the device is busy. `has_virtio_header`: each frame begins with one.
int packet_transmit_open(uint32_t interface_index, bool bypass_queue, bool has_virtio_header);
/// Where a frame lies, its virtio header included: in a slot as a rule.
struct packet_ring_piece {
	const uint8_t *bytes;
	size_t byte_count;
};

/// Sends frames from where they lie, without a copy of ours; they are free when it returns. How many left, from the
/// first on, or an error if none did: -EMSGSIZE for a frame above the MTU, -ENOBUFS for a busy device,
/// -EAGAIN for a full socket.
int packet_transmit(int descriptor, const struct packet_ring_piece *frames, uint32_t count);
#define PACKET_TRANSMIT_COUNT_MAX 64
