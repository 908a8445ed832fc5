/* The loop around one parser: reads FILE, parses it COUNT times, prints nanoseconds per message. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

static int measure(int argc, char **argv, int (*parse)(const char *, size_t))
{
    static char bytes[65536];
    FILE *file = argc == 3 ? fopen(argv[1], "rb") : NULL;
    size_t count = file != NULL ? fread(bytes, 1, sizeof bytes - 1, file) : 0;
    long round, rounds = argc == 3 ? atol(argv[2]) : 0;
    double began;
    if (count == 0 || rounds <= 0) return 2;
    for (round = 0; round < rounds / 10; round++)
        if (parse(bytes, count) != 0) { fprintf(stderr, "%s: rejected\n", argv[1]); return 1; }
    began = seconds();
    for (round = 0; round < rounds; round++)
        if (parse(bytes, count) != 0) return 1;
    printf("%.1f\n", (seconds() - began) / rounds * 1e9);
    return 0;
}
