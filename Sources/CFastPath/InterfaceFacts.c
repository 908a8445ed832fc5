#include <errno.h>
#include <linux/ethtool.h>
#include <linux/genetlink.h>
#include <linux/if_vlan.h>
#include <linux/netlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "CFastPath.h"

// Newer than the headers of Debian 12 (linux/netdev.h since 6.3).
#define NETDEV_FAMILY "netdev"
#define NETDEV_FAMILY_VERSION 1
#define NETDEV_COMMAND_DEVICE_GET 1
#define NETDEV_ATTRIBUTE_INDEX 1
#define NETDEV_ATTRIBUTE_XDP_FEATURES 3

int relay_interface_facts(const char *name, struct relay_interface_facts *facts)
{
	struct ethtool_drvinfo driver = {.cmd = ETHTOOL_GDRVINFO};
	struct vlan_ioctl_args vlan = {.cmd = GET_VLAN_REALDEV_NAME_CMD};
	struct ifreq request = {};

	memset(facts, 0, sizeof(*facts));
	facts->index = if_nametoindex(name);
	if (!facts->index)
		return -errno;
	int descriptor = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (descriptor < 0)
		return -errno;
	strncpy(request.ifr_name, name, IFNAMSIZ - 1);
	if (ioctl(descriptor, SIOCGIFHWADDR, &request) == 0)
		facts->is_ethernet = request.ifr_hwaddr.sa_family == ARPHRD_ETHER;
	request.ifr_data = (void *)&driver;
	if (ioctl(descriptor, SIOCETHTOOL, &request) == 0)
		memcpy(facts->driver, driver.driver, sizeof(facts->driver) - 1);
	strncpy(vlan.device1, name, sizeof(vlan.device1) - 1);
	if (ioctl(descriptor, SIOCGIFVLAN, &vlan) == 0) {
		strncpy(facts->parent_name, vlan.u.device2, sizeof(facts->parent_name) - 1);
		facts->parent_index = if_nametoindex(facts->parent_name);
		vlan.cmd = GET_VLAN_VID_CMD;
		strncpy(vlan.device1, name, sizeof(vlan.device1) - 1);
		if (ioctl(descriptor, SIOCGIFVLAN, &vlan) == 0)
			facts->vlan = vlan.u.VID;
	}
	close(descriptor);
	return 0;
}

struct message {
	struct nlmsghdr header;
	struct genlmsghdr generic;
	char attributes[4096];
};

static void add_attribute(struct message *message, uint16_t type, const void *value, uint16_t byte_count)
{
	struct nlattr *attribute = (void *)((char *)message + NLMSG_ALIGN(message->header.nlmsg_len));

	attribute->nla_type = type;
	attribute->nla_len = NLA_HDRLEN + byte_count;
	memcpy((char *)attribute + NLA_HDRLEN, value, byte_count);
	message->header.nlmsg_len = NLMSG_ALIGN(message->header.nlmsg_len) + NLA_ALIGN(attribute->nla_len);
}

/// Sends a request of at most a few attributes and reads the answer over it.
static int ask(int descriptor, struct message *message)
{
	if (send(descriptor, message, message->header.nlmsg_len, 0) < 0)
		return -errno;
	ssize_t byte_count = recv(descriptor, message, sizeof(*message), 0);
	if (byte_count < 0)
		return -errno;
	if (!NLMSG_OK(&message->header, (size_t)byte_count))
		return -EBADMSG;
	if (message->header.nlmsg_type == NLMSG_ERROR) {
		struct nlmsgerr *error = NLMSG_DATA(&message->header);
		return error->error ? error->error : -EBADMSG;
	}
	return 0;
}

static int find_attribute(const struct message *message, uint16_t type, void *value, uint16_t byte_count)
{
	const char *at = message->attributes, *end = (const char *)message + message->header.nlmsg_len;

	while (at + NLA_HDRLEN <= end) {
		const struct nlattr *attribute = (const void *)at;
		if (attribute->nla_len < NLA_HDRLEN || at + attribute->nla_len > end)
			break;
		if ((attribute->nla_type & NLA_TYPE_MASK) == type && attribute->nla_len >= NLA_HDRLEN + byte_count) {
			memcpy(value, at + NLA_HDRLEN, byte_count);
			return 0;
		}
		at += NLA_ALIGN(attribute->nla_len);
	}
	return -ENOENT;
}

static void start_message(struct message *message, uint16_t family, uint8_t command, uint8_t version)
{
	memset(message, 0, sizeof(*message));
	message->header.nlmsg_len = NLMSG_LENGTH(GENL_HDRLEN);
	message->header.nlmsg_type = family;
	message->header.nlmsg_flags = NLM_F_REQUEST;
	message->generic.cmd = command;
	message->generic.version = version;
}

int relay_xdp_features(uint32_t interface_index, uint64_t *features)
{
	struct message message;
	uint16_t family;
	int error;

	int descriptor = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
	if (descriptor < 0)
		return -errno;
	start_message(&message, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 1);
	add_attribute(&message, CTRL_ATTR_FAMILY_NAME, NETDEV_FAMILY, sizeof(NETDEV_FAMILY));
	error = ask(descriptor, &message);
	if (!error)
		error = find_attribute(&message, CTRL_ATTR_FAMILY_ID, &family, sizeof(family));
	if (!error) {
		start_message(&message, family, NETDEV_COMMAND_DEVICE_GET, NETDEV_FAMILY_VERSION);
		add_attribute(&message, NETDEV_ATTRIBUTE_INDEX, &interface_index, sizeof(interface_index));
		error = ask(descriptor, &message);
	}
	if (!error)
		error = find_attribute(&message, NETDEV_ATTRIBUTE_XDP_FEATURES, features, sizeof(*features));
	close(descriptor);
	return error;
}
