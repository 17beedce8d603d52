/* Preloaded into a mailward whose clock is to be wrong by SECONDS. Waits are as long as they were, and files as old: it is the time
   of day alone. (libfaketime allocates before it is ready, and an allocator that asks for the time, as jemalloc does, waits for it.) */
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *time)
{
    int result = syscall(SYS_clock_gettime, clock, time);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        time->tv_sec += SECONDS;
    return result;
}
