/* send_sip FILE ADDRESS: for each line "MESSAGES_PER_SECOND SECONDS BURST" sends FILE's bytes to port 5060 of ADDRESS in
   bursts, then prints how many left. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>

#define BURST_MAX 64

static int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static long send_for(int descriptor, struct mmsghdr *messages, long rate, double seconds, int burst)
{
    int64_t start = now(), end = start + (int64_t)(seconds * 1e9), due = start;
    long sent = 0, turns = 0;
    while (due < end) {
        struct timespec until = {.tv_sec = due / 1000000000LL, .tv_nsec = due % 1000000000LL};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
        int result = sendmmsg(descriptor, messages, burst, 0);
        sent += result > 0 ? result : 0;
        turns++;
        due = start + turns * burst * 1000000000LL / rate;
    }
    return sent;
}

int main(int argc, char **argv)
{
    static char bytes[65536];
    struct sockaddr_in remote = {.sin_family = AF_INET, .sin_port = htons(5060)};
    struct mmsghdr messages[BURST_MAX] = {0};
    FILE *file = argc == 3 ? fopen(argv[1], "rb") : NULL;
    size_t count = file != NULL ? fread(bytes, 1, sizeof bytes, file) : 0;
    struct iovec vector = {.iov_base = bytes, .iov_len = count};
    int descriptor = socket(AF_INET, SOCK_DGRAM, 0), burst;
    long rate;
    double seconds;
    if (count == 0 || inet_aton(argv[2], &remote.sin_addr) == 0) { puts("usage: send_sip FILE ADDRESS"); return 2; }
    if (connect(descriptor, (struct sockaddr *)&remote, sizeof remote) != 0) { perror(argv[2]); return 1; }
    for (int index = 0; index < BURST_MAX; index++)
        messages[index].msg_hdr = (struct msghdr){.msg_iov = &vector, .msg_iovlen = 1};
    setvbuf(stdout, NULL, _IOLBF, 0);
    puts("ready");
    while (scanf("%ld %lf %d", &rate, &seconds, &burst) == 3 && rate > 0 && burst > 0 && burst <= BURST_MAX)
        printf("%ld\n", send_for(descriptor, messages, rate, seconds, burst));
    return 0;
}
