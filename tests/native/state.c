/* SPDX-License-Identifier: MIT */
/* state.c: what a caught fault must leave alone. */
#define _GNU_SOURCE
#include "hostile.h"

#include <errno.h>
#include <fenv.h>
#include <signal.h>
#include <string.h>

typedef struct hostile_state {
    uint32_t mxcsr;
    uint32_t x87;
    int32_t rounding;
    int32_t error;
    uint64_t mask;
    uint64_t stack;
    uint64_t stack_size;
    int32_t stack_flags;
    int32_t result;
} hostile_state;

static void take_state(hostile_state *state)
{
    sigset_t mask;
    stack_t stack;

    state->error = errno;
    state->rounding = fegetround();
#if defined(__x86_64__)
    __asm__ volatile("stmxcsr %0" : "=m"(state->mxcsr));
    __asm__ volatile("fnstcw %0" : "=m"(*(uint16_t *)&state->x87));
#endif
    sigprocmask(SIG_BLOCK, NULL, &mask);
    for (int signal = 1; signal < 64; signal++)
        state->mask |= (uint64_t)(sigismember(&mask, signal) == 1) << signal;
    sigaltstack(NULL, &stack);
    state->stack = (uintptr_t)stack.ss_sp;
    state->stack_size = stack.ss_size;
    state->stack_flags = stack.ss_flags;
}

/* Changes all of it away from the defaults, copies, and tells what it was before and after. */
void hostile_copy_in_odd_state(copy_function copy, void *to, uintptr_t from, size_t size,
                               hostile_state *before_out, hostile_state *after_out)
{
    sigset_t odd, usual;
    fenv_t environment;

    memset(before_out, 0, sizeof *before_out);
    memset(after_out, 0, sizeof *after_out);
    sigemptyset(&odd);
    sigaddset(&odd, SIGUSR2);
    sigaddset(&odd, SIGWINCH);
    sigprocmask(SIG_BLOCK, &odd, &usual);
    fegetenv(&environment);
    fesetround(FE_UPWARD);
#if defined(__x86_64__)
    {
        uint32_t mxcsr;
        uint16_t x87;

        __asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
        mxcsr |= 0x8040; /* flush to zero, denormals are zero */
        __asm__ volatile("ldmxcsr %0" : : "m"(mxcsr));
        __asm__ volatile("fnstcw %0" : "=m"(x87));
        x87 = (uint16_t)(x87 & ~0x300); /* single precision */
        __asm__ volatile("fldcw %0" : : "m"(x87));
    }
#endif
    errno = 4321;
    take_state(before_out);
    errno = 4321;
    after_out->result = copy(to, from, size);
    take_state(after_out);
    fesetenv(&environment);
    sigprocmask(SIG_SETMASK, &usual, NULL);
}
