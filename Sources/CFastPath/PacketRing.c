#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <net/if_arp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "PacketRing.h"

#define BLOCK_BYTE_COUNT 65536
#define SLOT_BYTE_COUNT_MIN 256
#define RING_BYTE_COUNT_MAX (1u << 30)

// The kernel's layout of a slot: its header and the sender's address, aligned, then a virtio header or the Ethernet
// header's sixteen bytes, the headroom between.
_Static_assert(PACKET_RING_OVERHEAD >= TPACKET2_HDRLEN + TPACKET_ALIGNMENT + sizeof(struct virtio_net_hdr) + 16 + 2,
	       "what a slot holds besides frame and headroom");

// A piece is handed to sendmmsg as it stands.
_Static_assert(sizeof(struct packet_ring_piece) == sizeof(struct iovec) &&
		       offsetof(struct packet_ring_piece, bytes) == offsetof(struct iovec, iov_base) &&
		       offsetof(struct packet_ring_piece, byte_count) == offsetof(struct iovec, iov_len),
	       "a piece is an iovec whose name needs no sys/uio.h");

static bool is_power_of_two(uint32_t value)
{
	return value && !(value & (value - 1));
}

static int set_option(int descriptor, int option, const void *value, socklen_t byte_count)
{
	return setsockopt(descriptor, SOL_PACKET, option, value, byte_count) ? -errno : 0;
}

static int set_flag(int descriptor, int option, int value)
{
	return set_option(descriptor, option, &value, sizeof(value));
}

/// Protocol 0 until the caller is ready: nothing arrives before.
static int bind_to_interface(int descriptor, uint32_t interface_index, uint16_t protocol)
{
	struct sockaddr_ll address = {
		.sll_family = AF_PACKET, .sll_protocol = htons(protocol), .sll_ifindex = (int)interface_index};

	return bind(descriptor, (struct sockaddr *)&address, sizeof(address)) ? -errno : 0;
}

static int require_ethernet(int descriptor)
{
	struct sockaddr_ll address = {};
	socklen_t byte_count = sizeof(address);

	if (getsockname(descriptor, (struct sockaddr *)&address, &byte_count))
		return -errno;
	return address.sll_hatype == ARPHRD_ETHER ? 0 : -EAFNOSUPPORT;
}

static int set_up(const struct packet_ring_options *options, struct packet_ring *ring, const char **call)
{
	struct tpacket_req request = {};
	struct sock_fprog program = {.len = options->filter_count, .filter = (struct sock_filter *)options->filter};
	int descriptor = ring->descriptor, error;
	uint32_t page_byte_count = (uint32_t)sysconf(_SC_PAGESIZE);
	uint64_t byte_count = (uint64_t)options->slot_byte_count * options->slot_count;

	*call = "packet ring: size";
	if (!is_power_of_two(options->slot_byte_count) || !is_power_of_two(options->slot_count) ||
	    options->slot_byte_count < SLOT_BYTE_COUNT_MIN || byte_count > RING_BYTE_COUNT_MAX ||
	    byte_count < page_byte_count ||
	    (uint64_t)options->headroom_byte_count + PACKET_RING_OVERHEAD + ETH_HLEN > options->slot_byte_count)
		return -EINVAL;
	*call = "SO_ATTACH_FILTER";
	if (program.len && setsockopt(descriptor, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)))
		return -errno;
	*call = "PACKET_VERSION";
	if ((error = set_flag(descriptor, PACKET_VERSION, TPACKET_V2)))
		return error;
	*call = "PACKET_RESERVE";
	if (options->headroom_byte_count &&
	    (error = set_flag(descriptor, PACKET_RESERVE, (int)options->headroom_byte_count)))
		return error;
	*call = "PACKET_VNET_HDR";
	if (options->has_virtio_header && (error = set_flag(descriptor, PACKET_VNET_HDR, 1)))
		return error;
	*call = "PACKET_IGNORE_OUTGOING";
	if ((error = set_flag(descriptor, PACKET_IGNORE_OUTGOING, 1)))
		return error;
	// A block is a whole number of slots, so that all slots lie one behind the other.
	request.tp_frame_size = options->slot_byte_count;
	request.tp_frame_nr = options->slot_count;
	request.tp_block_size = byte_count < BLOCK_BYTE_COUNT ? (uint32_t)byte_count : BLOCK_BYTE_COUNT;
	if (request.tp_block_size < options->slot_byte_count)
		request.tp_block_size = options->slot_byte_count;
	request.tp_block_nr = (uint32_t)(byte_count / request.tp_block_size);
	*call = "PACKET_RX_RING";
	if ((error = set_option(descriptor, PACKET_RX_RING, &request, sizeof(request))))
		return error;
	*call = "mmap";
	uint8_t *slots = mmap(NULL, byte_count, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
	if (slots == MAP_FAILED)
		return -errno;
	ring->slots = slots;
	ring->slot_byte_count = options->slot_byte_count;
	ring->slot_mask = options->slot_count - 1;
	ring->has_virtio_header = options->has_virtio_header;
	*call = "bind";
	if ((error = bind_to_interface(descriptor, options->interface_index,
				       options->protocol ? options->protocol : ETH_P_ALL)))
		return error;
	if (!options->allows_any_link && (error = require_ethernet(descriptor)))
		return error;
	*call = "PACKET_FANOUT";
	if (options->fanout_group || options->fanout_mode & PACKET_FANOUT_FLAG_UNIQUEID)
		return set_flag(descriptor, PACKET_FANOUT, options->fanout_group | options->fanout_mode << 16);
	return 0;
}

int packet_ring_open(const struct packet_ring_options *options, struct packet_ring *ring, const char **call)
{
	memset(ring, 0, sizeof(*ring));
	*call = "socket(AF_PACKET)";
	ring->descriptor = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (ring->descriptor < 0) {
		ring->descriptor = 0;
		return -errno;
	}
	int error = set_up(options, ring, call);
	if (error) {
		// A ring is told from a closed one by its slots.
		if (ring->slots)
			packet_ring_close(ring);
		else
			close(ring->descriptor);
		memset(ring, 0, sizeof(*ring));
	}
	return error;
}

void packet_ring_close(struct packet_ring *ring)
{
	if (!ring->slots)
		return;
	munmap(ring->slots, (size_t)ring->slot_byte_count * (ring->slot_mask + 1));
	close(ring->descriptor);
	memset(ring, 0, sizeof(*ring));
}

bool packet_ring_next(struct packet_ring *ring, struct packet_ring_frame *frame)
{
	uint32_t slot = ring->next & ring->slot_mask;
	uint8_t *start = ring->slots + (size_t)slot * ring->slot_byte_count;
	const struct tpacket2_hdr *header = (const void *)start;

	if (ring->held > ring->slot_mask)
		return false;
	// The kernel writes the status last; nothing else of the slot may be read before it.
	uint32_t status = __atomic_load_n(&header->tp_status, __ATOMIC_ACQUIRE);
	if (!(status & TP_STATUS_USER))
		return false;
	ring->next++;
	ring->held++;
	const struct sockaddr_ll *address = (const void *)(start + TPACKET_ALIGN(sizeof(*header)));
	frame->bytes = start + header->tp_mac;
	frame->byte_count = header->tp_snaplen;
	frame->original_byte_count = header->tp_len;
	frame->slot = slot;
	frame->timestamp = header->tp_sec * 1000000000ull + header->tp_nsec;
	frame->vlan_control = header->tp_vlan_tci;
	frame->vlan_ether_type = status & TP_STATUS_VLAN_TPID_VALID ? header->tp_vlan_tpid : ETH_P_8021Q;
	frame->segment_byte_count = 0;
	frame->packet_type = address->sll_pkttype;
	frame->protocol = address->sll_protocol;
	frame->status = (status & TP_STATUS_CSUMNOTREADY ? PACKET_RING_CHECKSUM_UNFINISHED : 0) |
			(status & TP_STATUS_CSUM_VALID ? PACKET_RING_CHECKSUM_VALID : 0) |
			(status & TP_STATUS_LOSING ? PACKET_RING_LOSING : 0) |
			(header->tp_snaplen < header->tp_len ? PACKET_RING_TRUNCATED : 0) |
			(status & TP_STATUS_VLAN_VALID ? PACKET_RING_VLAN : 0);
	if (ring->has_virtio_header) {
		struct virtio_net_hdr virtio;
		memcpy(&virtio, frame->bytes - sizeof(virtio), sizeof(virtio));
		if (virtio.gso_type != VIRTIO_NET_HDR_GSO_NONE) {
			frame->status |= PACKET_RING_JOINED;
			frame->segment_byte_count = virtio.gso_size;
		}
	}
	return true;
}

void packet_ring_release(struct packet_ring *ring, uint32_t slot)
{
	struct tpacket2_hdr *header = (void *)(ring->slots + (size_t)(slot & ring->slot_mask) * ring->slot_byte_count);

	// Whatever we wrote or read of the slot is done before the kernel may write to it.
	__atomic_store_n(&header->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
	ring->held--;
}

int packet_ring_statistics(struct packet_ring *ring)
{
	struct tpacket_stats statistics = {};
	socklen_t byte_count = sizeof(statistics);

	if (getsockopt(ring->descriptor, SOL_PACKET, PACKET_STATISTICS, &statistics, &byte_count))
		return -errno;
	ring->frames += statistics.tp_packets;
	ring->drops += statistics.tp_drops;
	return 0;
}

int packet_ring_take_error(struct packet_ring *ring)
{
	int error = 0;
	socklen_t byte_count = sizeof(error);

	if (getsockopt(ring->descriptor, SOL_SOCKET, SO_ERROR, &error, &byte_count))
		return -errno;
	return -error;
}

int packet_transmit_open(uint32_t interface_index, bool bypass_queue, bool has_virtio_header)
{
	int descriptor = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), error = 0;

	if (descriptor < 0)
		return -errno;
	if (bypass_queue)
		error = set_flag(descriptor, PACKET_QDISC_BYPASS, 1);
	if (!error && has_virtio_header)
		error = set_flag(descriptor, PACKET_VNET_HDR, 1);
	if (!error)
		error = bind_to_interface(descriptor, interface_index, 0);
	if (!error)
		error = require_ethernet(descriptor);
	if (!error)
		return descriptor;
	close(descriptor);
	return error;
}

int packet_transmit(int descriptor, const struct packet_ring_piece *frames, uint32_t count)
{
	struct mmsghdr messages[PACKET_TRANSMIT_COUNT_MAX];
	uint32_t sent = 0;

	while (sent < count) {
		uint32_t batch = count - sent < PACKET_TRANSMIT_COUNT_MAX ? count - sent : PACKET_TRANSMIT_COUNT_MAX;
		for (uint32_t index = 0; index < batch; index++)
			messages[index] = (struct mmsghdr){
				.msg_hdr = {.msg_iov = (struct iovec *)&frames[sent + index], .msg_iovlen = 1}};
		int result = sendmmsg(descriptor, messages, batch, 0);
		if (result < 0 && errno == EINTR)
			continue;
		if (result < 0)
			return sent ? (int)sent : -errno;
		sent += (uint32_t)result;
		if ((uint32_t)result < batch)
			break;
	}
	return (int)sent;
}
