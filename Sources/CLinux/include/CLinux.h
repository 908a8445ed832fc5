// Linux facilities that Swift cannot import: packed structures, ancillary data macros, variadic calls.
// Nothing here decides anything. Every function returns a negated errno when it fails.
#pragma once

#include <malloc.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>

#include <linux/errqueue.h>

// epoll_event without its packing.
struct clinux_event {
    uint32_t events;
    uint32_t reserved;
    uint64_t data;
};

int clinux_epoll_control(int epoll, int operation, int descriptor, uint32_t events, uint64_t data);

// A negative timeout waits for ever. Nanosecond precision where the kernel has epoll_pwait2, else milliseconds
// rounded up.
int clinux_epoll_wait(int epoll, struct clinux_event *events, int capacity, int64_t timeout_nanoseconds);

// One datagram of a batch; its bytes lie at slot_byte_count times its index.
struct clinux_datagram {
    size_t byte_count;
    bool truncated;
    struct sockaddr_storage source;
};

// Receives up to `capacity` (at most 32) datagrams without waiting; returns how many.
int clinux_receive_batch(int socket, uint8_t *buffer, size_t slot_byte_count, struct clinux_datagram *datagrams,
                         unsigned capacity);

// One entry of a socket's error queue (IP_RECVERR).
struct clinux_socket_error {
    uint32_t code;   // errno
    uint8_t origin;  // SO_EE_ORIGIN_…
    uint8_t type;    // ICMP type
    uint8_t icmp_code;
    uint32_t info;  // path MTU, where the ICMP message carries one
    struct sockaddr_storage destination;
};

// -EAGAIN when the queue is empty.
int clinux_receive_error(int socket, struct clinux_socket_error *error);

// One instruction of classic BPF: struct sock_filter, whose header says it in other names.
struct clinux_filter_instruction {
    uint16_t code;
    uint8_t jump_true;
    uint8_t jump_false;
    uint32_t operand;
};
int clinux_attach_filter(int socket, const struct clinux_filter_instruction *instructions, uint16_t count);
// 0 also when there was none.
int clinux_detach_filter(int socket);

// The process at the other end of a Unix socket (SO_PEERCRED).
struct clinux_credentials {
    int32_t process;
    uint32_t user;
    uint32_t group;
};
int clinux_peer_credentials(int socket, struct clinux_credentials *credentials);

struct clinux_interface {
    uint32_t index;
    uint32_t mtu;
    uint32_t flags;  // IFF_…
    bool has_hardware_address;
    uint8_t hardware_address[6];
    char driver[33];  // empty when the kernel names none
};
int clinux_query_interface(const char *name, struct clinux_interface *result);

// The next signal waiting at a signalfd; 0 when there is none.
int clinux_read_signal(int descriptor);

// Accepts one connection, non-blocking and not inherited; its descriptor.
int clinux_accept(int socket, struct sockaddr_storage *remote);

// Starts a program with these arguments (the last pointer is NULL), an environment of LC_ALL=C.UTF-8 alone, none
// of our ambient capabilities, its standard error closed off and all signals as a program expects them. Returns the process identifier or a negative errno.
int clinux_spawn(const char *path, char *const *arguments, int input, int output);
// A pipe's reading and writing end, not inherited.
int clinux_pipe(int ends[2]);
// A descriptor that becomes readable when the process has ended, or a negative errno.
int clinux_pidfd_open(int process);
// What `waitpid` says of an ended process without waiting: 1 with its status, 0 while it runs, or a negative errno.
int clinux_collect(int process, int *exit_status, int *signal);
// Gives up all capabilities, for root also user and groups (65534), and the way back (PR_SET_NO_NEW_PRIVS).
int clinux_drop_privileges(void);

// Unmaps the code and constants of the program and its libraries; what is used again comes back from the page cache.
void clinux_forget_code(void);
