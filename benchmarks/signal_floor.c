/* SPDX-License-Identifier: MIT */
/* signal_floor.c: what catching a fault costs at least: a handler that does nothing but jump out. */
#include <setjmp.h>
#include <signal.h>

#include "axptr.h"
#include "timed.h"

static sigjmp_buf landing;

static void jump_out(int signal)
{
    (void)signal;
    siglongjmp(landing, 1);
}

static int load(uintptr_t from)
{
    if (sigsetjmp(landing, 0) == 0)
        return *(const volatile unsigned char *)from;
    return -1;
}

TIMED(round_trips, result = load(user))

/* Between two handlers that are put in place outside of the time that is taken. */
uint64_t time_signal_round_trip(uint64_t count, uintptr_t user, unsigned char *own, size_t size);
uint64_t time_signal_round_trip(uint64_t count, uintptr_t user, unsigned char *own, size_t size)
{
    struct sigaction ours = {.sa_handler = jump_out, .sa_flags = SA_NODEFER};
    struct sigaction theirs;
    uint64_t took;

    sigaction(SIGSEGV, &ours, &theirs);
    took = time_round_trips(count, user, own, size);
    sigaction(SIGSEGV, &theirs, NULL);
    axp_install(); /* what libc puts back is not all of what was there */
    return took;
}
