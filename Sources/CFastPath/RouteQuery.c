#include <errno.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "RouteQuery.h"

#define ETHERNET_ADDRESS_BYTE_COUNT 6
#define IPV4_OFFSET 12 // of an IPv4 address in its sixteen bytes
#define NEIGHBOUR_IS_KNOWN (NUD_PERMANENT | NUD_NOARP | NUD_REACHABLE | NUD_PROBE | NUD_STALE | NUD_DELAY)

struct message {
	struct nlmsghdr header;
	union {
		struct rtmsg route;
		struct ndmsg neighbour;
	};
	char attributes[4096];
};

static void listen_for_changes(struct route_query *query)
{
	static const int groups[] = {RTNLGRP_LINK,	  RTNLGRP_NEIGH,     RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV4_ROUTE,
				     RTNLGRP_IPV4_RULE, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV6_ROUTE,  RTNLGRP_IPV6_RULE};
	int descriptor = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);

	struct sockaddr_nl own = {.nl_family = AF_NETLINK};

	if (descriptor < 0)
		return;
	// Without a port of its own the kernel takes it for itself and tells it nothing.
	if (bind(descriptor, (struct sockaddr *)&own, sizeof(own))) {
		close(descriptor);
		return;
	}
	for (size_t index = 0; index < sizeof(groups) / sizeof(*groups); index++) {
		if (setsockopt(descriptor, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &groups[index], sizeof(*groups))) {
			close(descriptor);
			return;
		}
	}
	query->changes = descriptor;
	query->state = 1;
}

void route_query_note_changes(struct route_query *query)
{
	char bytes[64]; // that something changed is enough; so is ENOBUFS

	while (query->changes) {
		ssize_t result = recv(query->changes, bytes, sizeof(bytes), MSG_DONTWAIT);
		if (result < 0 && errno == EAGAIN)
			return;
		if (result >= 0 || errno == ENOBUFS) {
			query->state++;
		} else if (errno != EINTR) {
			close(query->changes);
			query->changes = 0;
			query->state = 0;
		}
	}
}

int route_query_open(struct route_query *query)
{
	memset(query, 0, sizeof(*query));
	query->netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (query->netlink < 0)
		return -errno;
	query->control = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (query->control < 0) {
		int error = -errno;
		close(query->netlink);
		return error;
	}
	listen_for_changes(query);
	return 0;
}

void route_query_close(struct route_query *query)
{
	close(query->netlink);
	close(query->control);
	if (query->changes)
		close(query->changes);
}

static void add(struct message *message, uint16_t type, const void *value, uint16_t byte_count)
{
	struct rtattr *attribute = (void *)((char *)message + NLMSG_ALIGN(message->header.nlmsg_len));

	attribute->rta_type = type;
	attribute->rta_len = RTA_LENGTH(byte_count);
	memcpy(RTA_DATA(attribute), value, byte_count);
	message->header.nlmsg_len = NLMSG_ALIGN(message->header.nlmsg_len) + RTA_ALIGN(attribute->rta_len);
}

/// Sends the request and reads the answer over it. The kernel answers before send returns.
static int ask(struct route_query *query, struct message *message)
{
	uint32_t sequence = ++query->sequence;

	message->header.nlmsg_flags = NLM_F_REQUEST;
	message->header.nlmsg_seq = sequence;
	if (send(query->netlink, message, message->header.nlmsg_len, 0) < 0)
		return -errno;
	for (;;) {
		ssize_t byte_count = recv(query->netlink, message, sizeof(*message), 0);
		if (byte_count < 0 && errno == EINTR)
			continue;
		if (byte_count < 0)
			return -errno;
		if (!NLMSG_OK(&message->header, (size_t)byte_count))
			return -EBADMSG;
		if (message->header.nlmsg_seq != sequence)
			continue; // of a request that was given up
		if (message->header.nlmsg_type != NLMSG_ERROR)
			return 0;
		struct nlmsgerr *error = NLMSG_DATA(&message->header);
		return error->error ? error->error : -EBADMSG;
	}
}

/// The attributes of a message whose fixed part has `byte_count` bytes; the last of a type counts.
static void collect(const struct message *message, size_t byte_count, const struct rtattr **found, uint16_t type_max)
{
	struct rtattr *attribute = (void *)((char *)&message->route + NLMSG_ALIGN(byte_count));
	int left = (int)message->header.nlmsg_len - (int)NLMSG_SPACE(byte_count);

	memset(found, 0, sizeof(*found) * (type_max + 1u));
	for (; RTA_OK(attribute, left); attribute = RTA_NEXT(attribute, left)) {
		if (attribute->rta_type <= type_max)
			found[attribute->rta_type] = attribute;
	}
}

static bool holds(const struct rtattr *attribute, size_t byte_count)
{
	return attribute && RTA_PAYLOAD(attribute) >= byte_count;
}

struct next_hop {
	uint32_t interface_index;
	uint32_t mtu; // 0: the interface's
	uint8_t family;
	uint8_t address[16];
};

static int find_route(struct route_query *query, const struct route_packet *packet, struct next_hop *next_hop)
{
	struct message message = {.header = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct rtmsg)),
					     .nlmsg_type = RTM_GETROUTE}};
	const struct rtattr *found[RTA_DPORT + 1];
	uint16_t byte_count = packet->is_v6 ? 16 : 4, offset = packet->is_v6 ? 0 : IPV4_OFFSET;
	uint8_t protocol = 17; // UDP

	message.route.rtm_family = next_hop->family = packet->is_v6 ? AF_INET6 : AF_INET;
	message.route.rtm_dst_len = message.route.rtm_src_len = byte_count * 8;
	message.route.rtm_tos = packet->is_v6 ? 0 : packet->traffic_class & 0x1c;
	add(&message, RTA_DST, packet->destination + offset, byte_count);
	add(&message, RTA_SRC, packet->source + offset, byte_count);
	add(&message, RTA_IP_PROTO, &protocol, sizeof(protocol));
	add(&message, RTA_SPORT, &packet->source_port, sizeof(packet->source_port));
	add(&message, RTA_DPORT, &packet->destination_port, sizeof(packet->destination_port));
	if (ask(query, &message) || message.header.nlmsg_type != RTM_NEWROUTE ||
	    message.route.rtm_type != RTN_UNICAST)
		return -ENETUNREACH;
	collect(&message, sizeof(struct rtmsg), found, RTA_DPORT);
	if (!holds(found[RTA_OIF], sizeof(uint32_t)))
		return -ENETUNREACH;
	memcpy(&next_hop->interface_index, RTA_DATA(found[RTA_OIF]), sizeof(uint32_t));
	memcpy(next_hop->address, packet->destination + offset, byte_count);
	if (holds(found[RTA_GATEWAY], byte_count)) {
		memcpy(next_hop->address, RTA_DATA(found[RTA_GATEWAY]), byte_count);
	} else if (holds(found[RTA_VIA], sizeof(struct rtvia) + 16)) {
		// An IPv4 route by an IPv6 neighbour (RFC 5549).
		const struct rtvia *via = RTA_DATA(found[RTA_VIA]);
		if (via->rtvia_family != AF_INET6)
			return -ENETUNREACH;
		next_hop->family = AF_INET6;
		memcpy(next_hop->address, via->rtvia_addr, 16);
	}
	next_hop->mtu = 0;
	if (found[RTA_METRICS]) {
		struct rtattr *metric = RTA_DATA(found[RTA_METRICS]);
		int left = (int)RTA_PAYLOAD(found[RTA_METRICS]);
		for (; RTA_OK(metric, left); metric = RTA_NEXT(metric, left)) {
			if (metric->rta_type == RTAX_MTU && holds(metric, sizeof(uint32_t)))
				memcpy(&next_hop->mtu, RTA_DATA(metric), sizeof(uint32_t));
		}
	}
	return 0;
}

static int find_neighbour(struct route_query *query, const struct next_hop *next_hop, uint8_t *address)
{
	struct message message = {.header = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct ndmsg)),
					     .nlmsg_type = RTM_GETNEIGH}};
	const struct rtattr *found[NDA_LLADDR + 1];

	message.neighbour.ndm_family = next_hop->family;
	message.neighbour.ndm_ifindex = (int)next_hop->interface_index;
	add(&message, NDA_DST, next_hop->address, next_hop->family == AF_INET6 ? 16 : 4);
	if (ask(query, &message) || message.header.nlmsg_type != RTM_NEWNEIGH ||
	    !(message.neighbour.ndm_state & NEIGHBOUR_IS_KNOWN))
		return -EHOSTUNREACH;
	collect(&message, sizeof(struct ndmsg), found, NDA_LLADDR);
	if (!holds(found[NDA_LLADDR], ETHERNET_ADDRESS_BYTE_COUNT))
		return -EHOSTUNREACH;
	memcpy(address, RTA_DATA(found[NDA_LLADDR]), ETHERNET_ADDRESS_BYTE_COUNT);
	return 0;
}

int route_query_ask(struct route_query *query, const struct route_packet *packet, struct route_answer *answer)
{
	struct next_hop next_hop = {};
	struct ifreq request = {};
	int error = find_route(query, packet, &next_hop);

	if (error)
		return error;
	answer->interface_index = next_hop.interface_index;
	request.ifr_ifindex = (int)next_hop.interface_index;
	if (ioctl(query->control, SIOCGIFNAME, &request) || ioctl(query->control, SIOCGIFMTU, &request))
		return -ENETUNREACH;
	uint32_t mtu = (uint32_t)request.ifr_mtu;
	if (next_hop.mtu && next_hop.mtu < mtu)
		mtu = next_hop.mtu;
	answer->packet_byte_count_max = mtu < UINT16_MAX ? (uint16_t)mtu : UINT16_MAX;
	if (ioctl(query->control, SIOCGIFHWADDR, &request))
		return -ENETUNREACH;
	answer->has_link_header = request.ifr_hwaddr.sa_family == ARPHRD_ETHER;
	memset(answer->addresses, 0, sizeof(answer->addresses));
	if (!answer->has_link_header)
		return 0;
	memcpy(answer->addresses + ETHERNET_ADDRESS_BYTE_COUNT, request.ifr_hwaddr.sa_data,
	       ETHERNET_ADDRESS_BYTE_COUNT);
	return find_neighbour(query, &next_hop, answer->addresses);
}
