#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "MediaSender.h"
#include "PacketRing.h"
#include "RouteQuery.h"

// Way of a datagram, remembered as long as the relay remembers one.
#define WAY_COUNT 32
#define WAY_NANOSECONDS 250000000
#define MULTICAST_BYTE_COUNT 4 // of an address, in its Ethernet address; IPv4 gives one bit less than three

struct way {
	uint64_t expiry; // nanoseconds of CLOCK_MONOTONIC
	uint8_t source[16], destination[16];
	uint32_t interface_index;
	uint8_t addresses[12];
	uint16_t packet_byte_count_max;
	int error;
};

struct outlet {
	uint32_t interface_index;
	int descriptor; // 0: not opened yet; negative: why it cannot be
};

struct media_sender {
	struct route_query routes;
	struct outlet outlets[MEDIA_SENDER_INTERFACE_COUNT_MAX];
	uint32_t outlet_count;
	struct way ways[WAY_COUNT];
};

int media_sender_create(const uint32_t *interfaces, uint32_t count, struct media_sender **result)
{
	struct media_sender *sender = calloc(1, sizeof(*sender));

	if (!sender)
		return -ENOMEM;
	int error = route_query_open(&sender->routes);
	if (error) {
		free(sender);
		return error;
	}
	if (count > MEDIA_SENDER_INTERFACE_COUNT_MAX)
		count = MEDIA_SENDER_INTERFACE_COUNT_MAX;
	for (uint32_t index = 0; index < count; index++)
		sender->outlets[index].interface_index = interfaces[index];
	sender->outlet_count = count;
	*result = sender;
	return 0;
}

void media_sender_destroy(struct media_sender *sender)
{
	for (uint32_t index = 0; index < sender->outlet_count; index++)
		if (sender->outlets[index].descriptor > 0)
			close(sender->outlets[index].descriptor);
	route_query_close(&sender->routes);
	free(sender);
}

/// The packet socket of an interface, or why there is none.
static int outlet(struct media_sender *sender, uint32_t interface_index)
{
	for (uint32_t index = 0; index < sender->outlet_count; index++) {
		struct outlet *outlet = &sender->outlets[index];
		if (outlet->interface_index != interface_index)
			continue;
		if (!outlet->descriptor)
			outlet->descriptor = packet_transmit_open(interface_index, false, false);
		return outlet->descriptor;
	}
	return -ENETUNREACH;
}

/// The Ethernet addresses of a group on an interface (RFC 1112 §6.4, RFC 2464 §7).
static int find_group(struct media_sender *sender, const struct media_datagram *datagram, struct way *way)
{
	struct ifreq request = {.ifr_ifindex = (int)datagram->interface_index};
	const uint8_t *last = datagram->destination + 16 - MULTICAST_BYTE_COUNT;

	if (ioctl(sender->routes.control, SIOCGIFNAME, &request) || ioctl(sender->routes.control, SIOCGIFMTU, &request))
		return -ENETUNREACH;
	way->packet_byte_count_max = request.ifr_mtu < UINT16_MAX ? (uint16_t)request.ifr_mtu : UINT16_MAX;
	if (ioctl(sender->routes.control, SIOCGIFHWADDR, &request) || request.ifr_hwaddr.sa_family != ARPHRD_ETHER)
		return -ENETUNREACH;
	memcpy(way->addresses + ETH_ALEN, request.ifr_hwaddr.sa_data, ETH_ALEN);
	if (datagram->is_v6) {
		way->addresses[0] = way->addresses[1] = 0x33;
		memcpy(way->addresses + 2, last, MULTICAST_BYTE_COUNT);
	} else {
		memcpy(way->addresses, (const uint8_t[]){0x01, 0x00, 0x5e, last[1] & 0x7f, last[2], last[3]}, ETH_ALEN);
	}
	way->interface_index = datagram->interface_index;
	return 0;
}

static int find_unicast(struct media_sender *sender, const struct media_datagram *datagram, struct way *way)
{
	struct route_answer answer;
	struct route_packet packet = {.is_v6 = datagram->is_v6, .traffic_class = datagram->traffic_class,
				      .source_port = datagram->source_port,
				      .destination_port = datagram->destination_port,
				      .source = datagram->source, .destination = datagram->destination};
	int error = route_query_ask(&sender->routes, &packet, &answer);

	if (error)
		return error;
	if (!answer.has_link_header)
		return -ENETUNREACH;
	way->interface_index = answer.interface_index;
	way->packet_byte_count_max = answer.packet_byte_count_max;
	memcpy(way->addresses, answer.addresses, sizeof(way->addresses));
	return 0;
}

static const struct way *find_way(struct media_sender *sender, const struct media_datagram *datagram)
{
	struct timespec time;
	struct way *oldest = &sender->ways[0];

	clock_gettime(CLOCK_MONOTONIC, &time);
	uint64_t now = (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
	for (struct way *way = sender->ways; way < sender->ways + WAY_COUNT; way++) {
		if (way->expiry > now && !memcmp(way->source, datagram->source, sizeof(way->source)) &&
		    !memcmp(way->destination, datagram->destination, sizeof(way->destination)))
			return way;
		if (way->expiry < oldest->expiry)
			oldest = way;
	}
	memcpy(oldest->source, datagram->source, sizeof(oldest->source));
	memcpy(oldest->destination, datagram->destination, sizeof(oldest->destination));
	oldest->error = datagram->interface_index ? find_group(sender, datagram, oldest)
						  : find_unicast(sender, datagram, oldest);
	oldest->expiry = now + WAY_NANOSECONDS;
	return oldest;
}

/// Adds bytes as words of sixteen bits in network order; a sum that is not the last has an even count.
static uint32_t add(uint32_t sum, const uint8_t *bytes, size_t byte_count)
{
	for (size_t index = 0; index + 1 < byte_count; index += 2)
		sum += (uint32_t)bytes[index] << 8 | bytes[index + 1];
	if (byte_count & 1)
		sum += (uint32_t)bytes[byte_count - 1] << 8;
	return sum;
}

static uint16_t fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static void put16(uint8_t *bytes, uint16_t value)
{
	bytes[0] = (uint8_t)(value >> 8);
	bytes[1] = (uint8_t)value;
}

/// The frame from its Ethernet header; how many bytes.
static size_t build(const struct media_datagram *datagram, const struct way *way, uint8_t *frame)
{
	size_t address_count = datagram->is_v6 ? 16 : 4, header_count = datagram->is_v6 ? 40 : 20;
	const uint8_t *source = datagram->source + 16 - address_count;
	const uint8_t *destination = datagram->destination + 16 - address_count;
	uint8_t *ip = frame + ETH_HLEN, *udp = ip + header_count;
	uint16_t udp_count = (uint16_t)(8 + datagram->byte_count);

	memcpy(frame, way->addresses, sizeof(way->addresses));
	put16(frame + 12, datagram->is_v6 ? ETH_P_IPV6 : ETH_P_IP);
	memset(ip, 0, header_count + 8);
	if (datagram->is_v6) {
		ip[0] = 0x60 | datagram->traffic_class >> 4;
		ip[1] = (uint8_t)(datagram->traffic_class << 4);
		put16(ip + 4, udp_count);
		ip[6] = IPPROTO_UDP;
		ip[7] = datagram->time_to_live;
		memcpy(ip + 8, source, address_count);
		memcpy(ip + 24, destination, address_count);
	} else {
		ip[0] = 0x45;
		ip[1] = datagram->traffic_class;
		put16(ip + 2, (uint16_t)(header_count + udp_count));
		ip[6] = 0x40; // not to be fragmented, so that it needs no identification (RFC 6864)
		ip[8] = datagram->time_to_live;
		ip[9] = IPPROTO_UDP;
		memcpy(ip + 12, source, address_count);
		memcpy(ip + 16, destination, address_count);
		put16(ip + 10, fold(add(0, ip, header_count)));
	}
	memcpy(udp, &datagram->source_port, 2);
	memcpy(udp + 2, &datagram->destination_port, 2);
	put16(udp + 4, udp_count);
	memcpy(udp + 8, datagram->payload, datagram->byte_count);
	uint16_t checksum = fold(
		add(add(add(IPPROTO_UDP + udp_count, source, address_count), destination, address_count), udp, udp_count));
	put16(udp + 6, checksum ? checksum : 0xffff);
	return ETH_HLEN + header_count + udp_count;
}

int media_sender_send(struct media_sender *sender, const struct media_datagram *datagram)
{
	uint8_t frame[ETH_HLEN + 40 + 8 + MEDIA_SENDER_BYTE_COUNT_MAX];

	if (datagram->byte_count > MEDIA_SENDER_BYTE_COUNT_MAX)
		return -EMSGSIZE;
	const struct way *way = find_way(sender, datagram);
	if (way->error)
		return way->error;
	int descriptor = outlet(sender, way->interface_index);
	if (descriptor < 0)
		return descriptor;
	struct packet_ring_piece piece = {.bytes = frame, .byte_count = build(datagram, way, frame)};
	if (piece.byte_count - ETH_HLEN > way->packet_byte_count_max)
		return -EMSGSIZE;
	int sent = packet_transmit(descriptor, &piece, 1);
	return sent == 1 ? 0 : sent < 0 ? sent : -EAGAIN;
}
