#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "CNamespaces.h"

#define TCX_INGRESS 46 // enum bpf_attach_type since Linux 6.6

static int control(const char *interface, unsigned long request_code, struct ifreq *request)
{
	int descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (descriptor < 0)
		return -errno;
	strncpy(request->ifr_name, interface, IFNAMSIZ - 1);
	int result = ioctl(descriptor, request_code, request) < 0 ? -errno : 0;
	close(descriptor);
	return result;
}

static int current_namespace(void)
{
	int descriptor = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

	return descriptor < 0 ? -errno : descriptor;
}

int namespace_create(void)
{
	struct ifreq request = {.ifr_flags = IFF_UP | IFF_LOOPBACK | IFF_RUNNING};
	int home = current_namespace();

	if (home < 0)
		return home;
	if (unshare(CLONE_NEWNET) < 0) {
		int error = -errno;
		close(home);
		return error;
	}
	int created = current_namespace();
	int result = control("lo", SIOCSIFFLAGS, &request);
	if (setns(home, CLONE_NEWNET) < 0)
		result = -errno;
	close(home);
	return result < 0 ? result : created;
}

int namespace_enter(int descriptor)
{
	int home = current_namespace();

	if (home < 0)
		return home;
	if (setns(descriptor, CLONE_NEWNET) < 0) {
		int error = -errno;
		close(home);
		return error;
	}
	return home;
}

static int set_feature(const char *interface, uint32_t command, bool on)
{
	struct ethtool_value value = {.cmd = command, .data = on};
	struct ifreq request = {.ifr_data = (void *)&value};

	return control(interface, SIOCETHTOOL, &request);
}

int namespace_set_gro(const char *interface, bool on)
{
	return set_feature(interface, ETHTOOL_SGRO, on);
}

int namespace_set_checksum_offload(const char *interface, bool on)
{
	return set_feature(interface, ETHTOOL_STXCSUM, on);
}

int namespace_packet_socket(const char *interface)
{
	struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htobe16(ETH_P_ALL)};
	int one = 1;

	address.sll_ifindex = if_nametoindex(interface);
	if (!address.sll_ifindex)
		return -errno;
	int descriptor = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (descriptor < 0)
		return -errno;
	if (setsockopt(descriptor, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)) < 0 ||
	    setsockopt(descriptor, SOL_PACKET, PACKET_AUXDATA, &one, sizeof(one)) < 0 ||
	    bind(descriptor, (struct sockaddr *)&address, sizeof(address)) < 0) {
		int error = -errno;
		close(descriptor);
		return error;
	}
	return descriptor;
}

long namespace_receive_frame(int descriptor, uint8_t *frame, uint32_t byte_count, int *tag)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(struct tpacket_auxdata))];
	} control_data;
	struct iovec vector = {frame, byte_count};
	struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control_data,
				 .msg_controllen = sizeof(control_data)};
	ssize_t result = recvmsg(descriptor, &message, 0);

	*tag = -1;
	if (result < 0)
		return -errno;
	for (struct cmsghdr *each = CMSG_FIRSTHDR(&message); each; each = CMSG_NXTHDR(&message, each)) {
		struct tpacket_auxdata data;
		if (each->cmsg_level != SOL_PACKET || each->cmsg_type != PACKET_AUXDATA)
			continue;
		memcpy(&data, CMSG_DATA(each), sizeof(data));
		if (data.tp_status & TP_STATUS_VLAN_VALID)
			*tag = data.tp_vlan_tci;
	}
	return result;
}

uint32_t namespace_xdp_program(const char *interface)
{
	__u32 identifier = 0;

	return bpf_xdp_query_id(if_nametoindex(interface), 0, &identifier) ? 0 : identifier;
}

uint32_t namespace_tcx_program(const char *interface)
{
	__u32 identifiers[8] = {}, count = 8, flags = 0;

	return bpf_prog_query(if_nametoindex(interface), TCX_INGRESS, 0, &flags, identifiers, &count) || !count
		       ? 0
		       : identifiers[0];
}

bool namespace_program_exists(uint32_t identifier)
{
	int descriptor = bpf_prog_get_fd_by_id(identifier);

	if (descriptor >= 0)
		close(descriptor);
	return descriptor >= 0;
}

union descriptor_message {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(sizeof(int))];
};

int namespace_send_descriptor(int socket, int descriptor)
{
	union descriptor_message control = {};
	char byte = 0;
	struct iovec data = {.iov_base = &byte, .iov_len = 1};
	struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = &control,
				 .msg_controllen = sizeof(control)};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &descriptor, sizeof(int));
	return sendmsg(socket, &message, 0) == 1 ? 0 : -errno;
}

int namespace_receive_descriptor(int socket)
{
	union descriptor_message control = {};
	char byte;
	struct iovec data = {.iov_base = &byte, .iov_len = 1};
	struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = &control,
				 .msg_controllen = sizeof(control)};
	int descriptor;

	if (recvmsg(socket, &message, MSG_CMSG_CLOEXEC) != 1)
		return -errno;
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	if (!header || header->cmsg_type != SCM_RIGHTS)
		return -EBADMSG;
	memcpy(&descriptor, CMSG_DATA(header), sizeof(int));
	return descriptor;
}

int namespace_pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	for (int each = 0; each < CPU_SETSIZE; each++) {
		if (cpu < 0 || each == cpu)
			CPU_SET(each, &set);
	}
	return sched_setaffinity(0, sizeof(set), &set) ? -errno : 0;
}
