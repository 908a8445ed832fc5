#define _GNU_SOURCE
#include "CLinux.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <link.h>
#include <linux/capability.h>
#include <linux/errqueue.h>
#include <linux/ethtool.h>
#include <linux/filter.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS_MAX = 128, BATCH_MAX = 32 };

int clinux_epoll_control(int epoll, int operation, int descriptor, uint32_t events, uint64_t data) {
    struct epoll_event event = {.events = events, .data = {.u64 = data}};
    return epoll_ctl(epoll, operation, descriptor, &event) < 0 ? -errno : 0;
}

int clinux_epoll_wait(int epoll, struct clinux_event *events, int capacity, int64_t timeout_nanoseconds) {
    struct epoll_event ready[EVENTS_MAX];
    if (capacity > EVENTS_MAX) capacity = EVENTS_MAX;
    int count = -1;
    errno = ENOSYS;
#ifdef SYS_epoll_pwait2
    // The call itself, not the C library's wrapper: Debian 12's kernel has it wherever its C library does, and an
    // older kernel says ENOSYS.
    struct timespec timeout = {.tv_sec = timeout_nanoseconds / 1000000000, .tv_nsec = timeout_nanoseconds % 1000000000};
    count = (int)syscall(SYS_epoll_pwait2, epoll, ready, capacity, timeout_nanoseconds < 0 ? NULL : &timeout, NULL,
                         (size_t)8);
#endif
    if (count < 0 && errno == ENOSYS) {
        int64_t milliseconds = timeout_nanoseconds < 0 ? -1 : timeout_nanoseconds / 1000000 + (timeout_nanoseconds % 1000000 != 0);
        count = epoll_wait(epoll, ready, capacity, milliseconds > INT_MAX ? INT_MAX : (int)milliseconds);
    }
    if (count < 0) return -errno;
    for (int index = 0; index < count; index++) {
        events[index] = (struct clinux_event){.events = ready[index].events, .data = ready[index].data.u64};
    }
    return count;
}

int clinux_receive_batch(int socket, uint8_t *buffer, size_t slot_byte_count, struct clinux_datagram *datagrams,
                         unsigned capacity) {
    struct mmsghdr messages[BATCH_MAX];
    struct iovec vectors[BATCH_MAX];
    if (capacity > BATCH_MAX) capacity = BATCH_MAX;
    memset(messages, 0, sizeof messages[0] * capacity);
    for (unsigned index = 0; index < capacity; index++) {
        vectors[index] = (struct iovec){.iov_base = buffer + index * slot_byte_count, .iov_len = slot_byte_count};
        messages[index].msg_hdr.msg_iov = &vectors[index];
        messages[index].msg_hdr.msg_iovlen = 1;
        messages[index].msg_hdr.msg_name = &datagrams[index].source;
        messages[index].msg_hdr.msg_namelen = sizeof datagrams[index].source;
    }
    int count = recvmmsg(socket, messages, capacity, MSG_DONTWAIT, NULL);
    if (count < 0) return -errno;
    for (int index = 0; index < count; index++) {
        datagrams[index].byte_count = messages[index].msg_len;
        datagrams[index].truncated = (messages[index].msg_hdr.msg_flags & MSG_TRUNC) != 0;
        if (messages[index].msg_hdr.msg_namelen == 0) datagrams[index].source.ss_family = AF_UNSPEC;
    }
    return count;
}

int clinux_receive_error(int socket, struct clinux_socket_error *error) {
    union {
        struct cmsghdr header;
        uint8_t bytes[512];
    } control;
    uint8_t payload[1];
    struct iovec vector = {.iov_base = payload, .iov_len = sizeof payload};
    memset(error, 0, sizeof *error);
    struct msghdr message = {
        .msg_name = &error->destination,
        .msg_namelen = sizeof error->destination,
        .msg_iov = &vector,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = sizeof control,
    };
    if (recvmsg(socket, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0) return -errno;
    if (message.msg_namelen == 0) error->destination.ss_family = AF_UNSPEC;
    for (struct cmsghdr *part = CMSG_FIRSTHDR(&message); part; part = CMSG_NXTHDR(&message, part)) {
        bool v4 = part->cmsg_level == IPPROTO_IP && part->cmsg_type == IP_RECVERR;
        bool v6 = part->cmsg_level == IPPROTO_IPV6 && part->cmsg_type == IPV6_RECVERR;
        if (!v4 && !v6) continue;
        struct sock_extended_err extended;
        memcpy(&extended, CMSG_DATA(part), sizeof extended);
        error->code = extended.ee_errno;
        error->origin = extended.ee_origin;
        error->type = extended.ee_type;
        error->icmp_code = extended.ee_code;
        error->info = extended.ee_info;
    }
    return 0;
}

_Static_assert(sizeof(struct clinux_filter_instruction) == sizeof(struct sock_filter), "the same in other names");

int clinux_attach_filter(int socket, const struct clinux_filter_instruction *instructions, uint16_t count) {
    struct sock_fprog program = {.len = count, .filter = (struct sock_filter *)instructions};
    return setsockopt(socket, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) < 0 ? -errno : 0;
}

int clinux_detach_filter(int socket) {
    int unused = 0;
    if (setsockopt(socket, SOL_SOCKET, SO_DETACH_FILTER, &unused, sizeof unused) == 0) return 0;
    return errno == ENOENT ? 0 : -errno;
}

int clinux_peer_credentials(int socket, struct clinux_credentials *credentials) {
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0) return -errno;
    *credentials = (struct clinux_credentials){.process = peer.pid, .user = peer.uid, .group = peer.gid};
    return 0;
}

int clinux_query_interface(const char *name, struct clinux_interface *result) {
    memset(result, 0, sizeof *result);
    struct ifreq request;
    memset(&request, 0, sizeof request);
    if (strlen(name) >= sizeof request.ifr_name) return -ENODEV;
    strcpy(request.ifr_name, name);
    int descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0) return -errno;
    int status = -1;
    if (ioctl(descriptor, SIOCGIFINDEX, &request) < 0) goto done;
    result->index = (uint32_t)request.ifr_ifindex;
    if (ioctl(descriptor, SIOCGIFMTU, &request) < 0) goto done;
    result->mtu = (uint32_t)request.ifr_mtu;
    if (ioctl(descriptor, SIOCGIFFLAGS, &request) < 0) goto done;
    result->flags = (uint16_t)request.ifr_flags;
    if (ioctl(descriptor, SIOCGIFHWADDR, &request) < 0) goto done;
    if (request.ifr_hwaddr.sa_family == ARPHRD_ETHER) {
        result->has_hardware_address = true;
        memcpy(result->hardware_address, request.ifr_hwaddr.sa_data, sizeof result->hardware_address);
    }
    struct ethtool_drvinfo driver = {.cmd = ETHTOOL_GDRVINFO};
    request.ifr_data = (void *)&driver;
    if (ioctl(descriptor, SIOCETHTOOL, &request) == 0) {
        memcpy(result->driver, driver.driver, sizeof driver.driver);
        result->driver[sizeof result->driver - 1] = 0;
    }
    status = 0;
done:
    if (status < 0) status = -errno;
    close(descriptor);
    return status;
}

int clinux_read_signal(int descriptor) {
    struct signalfd_siginfo information;
    ssize_t count = read(descriptor, &information, sizeof information);
    if (count < 0) return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    return count == sizeof information ? (int)information.ssi_signo : 0;
}

int clinux_accept(int socket, struct sockaddr_storage *remote) {
    socklen_t size = sizeof *remote;
    int descriptor = accept4(socket, (struct sockaddr *)remote, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (descriptor >= 0 && size == 0) remote->ss_family = AF_UNSPEC;
    return descriptor < 0 ? -errno : descriptor;
}

int clinux_spawn(const char *path, char *const *arguments, int input, int output) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    pid_t process = 0;
    char *const environment[] = {"LC_ALL=C.UTF-8", NULL};
    int error = posix_spawn_file_actions_init(&actions);
    if (error) return -error;
    if ((error = posix_spawnattr_init(&attributes))) {
        posix_spawn_file_actions_destroy(&actions);
        return -error;
    }
    sigemptyset(&none);
    sigfillset(&all);
    error = posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
    if (!error) error = posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    if (!error) error = posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    if (!error) error = posix_spawnattr_setsigmask(&attributes, &none);
    if (!error) error = posix_spawnattr_setsigdefault(&attributes, &all);
    if (!error) error = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    uint64_t ambient = 0;
    for (int capability = 0; capability <= CAP_LAST_CAP; capability++) {
        if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, capability, 0, 0) == 1) ambient |= 1ull << capability;
    }
    if (ambient) prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    if (!error) error = posix_spawn(&process, path, &actions, &attributes, arguments, environment);
    if (!error) setpriority(PRIO_PROCESS, (id_t)process, 0); // not before calls, as we are
    for (int capability = 0; capability <= CAP_LAST_CAP; capability++) {
        if (ambient >> capability & 1) prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0);
    }
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return error ? -error : process;
}

int clinux_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC) < 0 ? -errno : 0; }

int clinux_pidfd_open(int process) {
    // The call itself: Debian 12's C library has a wrapper, older ones have not. It sets close-on-exec.
    int descriptor = (int)syscall(SYS_pidfd_open, process, 0);
    return descriptor < 0 ? -errno : descriptor;
}

int clinux_collect(int process, int *exit_status, int *signal) {
    int status = 0;
    pid_t collected;
    do collected = waitpid(process, &status, WNOHANG);
    while (collected < 0 && errno == EINTR);
    if (collected <= 0) return collected < 0 ? -errno : 0;
    *exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
    *signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    return 1;
}

int clinux_drop_privileges(void) {
    enum { NOBODY = 65534 };
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return -errno;
    if (geteuid() == 0) {
        if (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 || setresuid(NOBODY, NOBODY, NOBODY) < 0) {
            return -errno;
        }
    }
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0) return -errno;
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct none[2];
    memset(none, 0, sizeof none);
    return syscall(SYS_capset, &header, none) < 0 ? -errno : 0;
}

static int forget_code(struct dl_phdr_info *object, size_t size, void *unused) {
    (void)size, (void)unused;
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    for (int index = 0; index < object->dlpi_phnum; index++) {
        const ElfW(Phdr) *segment = &object->dlpi_phdr[index];
        if (segment->p_type != PT_LOAD || segment->p_flags & PF_W) continue;
        // Whole pages only: what shares one with a writable segment stays.
        uintptr_t start = (object->dlpi_addr + segment->p_vaddr + page - 1) & ~(page - 1);
        uintptr_t end = (object->dlpi_addr + segment->p_vaddr + segment->p_filesz) & ~(page - 1);
        if (end > start) madvise((void *)start, end - start, MADV_DONTNEED);
    }
    return 0;
}

void clinux_forget_code(void) { dl_iterate_phdr(forget_code, NULL); }
