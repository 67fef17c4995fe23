/*
 * A machine whose clock is wrong, for one program: loaded with LD_PRELOAD. What has passed (CLOCK_MONOTONIC) stays right.
 *
 * WRONG_CLOCK_SECS  by how many seconds it is ahead; behind if negative
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long ahead(void) {
    const char *secs = getenv("WRONG_CLOCK_SECS");
    return secs ? atol(secs) : 0;
}

int clock_gettime(clockid_t which, struct timespec *at) {
    long refused = syscall(SYS_clock_gettime, which, at);
    if (refused == 0 && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)) at->tv_sec += ahead();
    return (int)refused;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    (void)zone;
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at) {
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0) return (time_t)-1;
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
