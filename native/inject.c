/* SPDX-License-Identifier: MIT */
/* inject.c: simulated faults. */
#include <errno.h>
#include <stdatomic.h>

#include "guard.h"
#include "thread.h"

/* axp_injection.state */
enum {
    RESTING,
    DECIDING, /* linked from a thread's innermost one */
    ENDED     /* linked still: only its own thread can change that */
};

static AXP_THREAD_LOCAL struct {
    axp_injection *innermost; /* decides; outer leads to those around it */
    uint32_t held;
} thread;

static axp_injection everywhere;
static _Atomic int everywhere_state;

/* The injection that decides in this thread, or NULL. */
static axp_injection *deciding(void)
{
    axp_injection *found = thread.innermost;

    while (found != NULL && __atomic_load_n(&found->state, __ATOMIC_RELAXED) == ENDED)
        thread.innermost = found = (axp_injection *)found->outer;
    if (found == NULL && atomic_load_explicit(&everywhere_state, memory_order_acquire) == DECIDING)
        found = &everywhere;
    return found;
}

/* Threads may share an injection, and a signal handler may interrupt its thread here, so there is no lock:
 * each counter is right by itself. */

static int takes_from_space(uint64_t *space, uint64_t size)
{
    uint64_t left = __atomic_load_n(space, __ATOMIC_RELAXED);

    while (left > size)
        if (__atomic_compare_exchange_n(space, &left, left - size, 1, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
            return 1;
    return 0;
}

static int takes_one_time(uint64_t *times)
{
    uint64_t left = __atomic_load_n(times, __ATOMIC_RELAXED);

    while (left != 0 && left != AXP_INJECTION_ENDLESS)
        if (__atomic_compare_exchange_n(times, &left, left - 1, 1, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
            return 1;
    return left != 0;
}

static int is_turn(uint64_t *reached, uint64_t interval)
{
    return interval <= 1 || __atomic_add_fetch(reached, 1, __ATOMIC_RELAXED) % interval == 0;
}

/* splitmix64, whose state is a counter in disguise. */
static uint64_t next_random(uint64_t seed, uint64_t *drawn)
{
    uint64_t word = seed + UINT64_C(0x9e3779b97f4a7c15) * __atomic_add_fetch(drawn, 1, __ATOMIC_RELAXED);

    word = (word ^ word >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    word = (word ^ word >> 27) * UINT64_C(0x94d049bb133111eb);
    return word ^ word >> 31;
}

static int is_bad_luck(axp_injection *injection)
{
    uint64_t word = next_random(injection->seed, &injection->drawn);

    return word / (UINT64_MAX / AXP_INJECTION_ONE + 1) < injection->probability;
}

static int decides_to_fail(axp_injection *injection, size_t size)
{
    int fails;

    __atomic_add_fetch(&injection->calls, 1, __ATOMIC_RELAXED);
    fails = __atomic_load_n(&injection->times, __ATOMIC_RELAXED) != 0
            && !takes_from_space(&injection->space, size) && is_turn(&injection->reached, injection->interval)
            && is_bad_luck(injection) && takes_one_time(&injection->times);
    if (fails)
        __atomic_add_fetch(&injection->failures, 1, __ATOMIC_RELAXED);
    return fails;
}

static int should_fail(size_t size)
{
    axp_injection *injection = thread.held || size == 0 ? NULL : deciding();

    return injection != NULL && decides_to_fail(injection, size);
}

int axp_inject(uintptr_t address, size_t size, uint32_t access)
{
    return should_fail(size) ? axp_refuse(address, access, AXP_INJECTED) : 0;
}

int axp_inject_attempt(axp_attempt *attempt)
{
    const axp_span *span = &attempt->span;

    if (attempt->call != NULL || !should_fail(span->size))
        return 0;
    attempt->done = 0;
    attempt->fault = (axp_fault){.address = span->start, .access = span->access, .reason = AXP_INJECTED};
    return 1;
}

int axp_guarded_again(axp_attempt *attempt)
{
    uint32_t held = thread.held;
    int failed;

    if (attempt->fault.reason == AXP_INJECTED)
        return -EFAULT;
    thread.held = 1;
    failed = axp_guarded(attempt);
    thread.held = held;
    return failed;
}

int axp_is_injecting(void)
{
    return deciding() != NULL;
}

uint32_t axp_injection_held(void)
{
    return thread.held;
}

int axp_hold_injection(uint32_t held)
{
    thread.held = held;
    return 0;
}

int axp_begin_injection(axp_injection *injection)
{
    uint64_t resting = RESTING;

    if (!__atomic_compare_exchange_n(&injection->state, &resting, DECIDING, 0, __ATOMIC_ACQ_REL,
                                     __ATOMIC_RELAXED))
        return -EBUSY;
    injection->outer = (uintptr_t)thread.innermost;
    atomic_signal_fence(memory_order_seq_cst); /* a signal handler finds it whole */
    thread.innermost = injection;
    axp_ask_about_attempts();
    return 0;
}

/* Takes an injection out of those of this thread.  Returns 0 if it is none of them. */
static int unlink_here(const axp_injection *injection)
{
    axp_injection *inner = thread.innermost;

    if (inner == injection) {
        thread.innermost = (axp_injection *)injection->outer;
        return 1;
    }
    while (inner != NULL && inner->outer != (uintptr_t)injection)
        inner = (axp_injection *)inner->outer;
    if (inner == NULL)
        return 0;
    inner->outer = injection->outer;
    return 1;
}

int axp_end_injection(axp_injection *injection)
{
    uint64_t deciding = DECIDING;

    if (__atomic_load_n(&injection->state, __ATOMIC_ACQUIRE) != DECIDING)
        return -ENOENT;
    if (unlink_here(injection)) {
        __atomic_store_n(&injection->state, RESTING, __ATOMIC_RELEASE);
        return 0;
    }
    return __atomic_compare_exchange_n(&injection->state, &deciding, ENDED, 0, __ATOMIC_ACQ_REL,
                                       __ATOMIC_RELAXED)
               ? -ESRCH
               : -ENOENT;
}

int axp_inject_everywhere(const axp_injection *injection)
{
    int resting = RESTING;

    if (!atomic_compare_exchange_strong(&everywhere_state, &resting, ENDED))
        return -EBUSY;
    everywhere = *injection;
    atomic_store_explicit(&everywhere_state, DECIDING, memory_order_release);
    axp_ask_about_attempts();
    return 0;
}

int axp_injection_everywhere(axp_injection *injection_out)
{
    if (atomic_load_explicit(&everywhere_state, memory_order_acquire) != DECIDING)
        return -ENOENT;
    *injection_out = (axp_injection){
        .probability = everywhere.probability,
        .interval = everywhere.interval,
        .times = __atomic_load_n(&everywhere.times, __ATOMIC_RELAXED),
        .space = __atomic_load_n(&everywhere.space, __ATOMIC_RELAXED),
        .seed = everywhere.seed,
        .calls = __atomic_load_n(&everywhere.calls, __ATOMIC_RELAXED),
        .failures = __atomic_load_n(&everywhere.failures, __ATOMIC_RELAXED),
        .reached = __atomic_load_n(&everywhere.reached, __ATOMIC_RELAXED),
        .drawn = __atomic_load_n(&everywhere.drawn, __ATOMIC_RELAXED),
    };
    return 0;
}
