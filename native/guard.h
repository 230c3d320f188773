/* SPDX-License-Identifier: MIT */
/* guard.h: run one access so that a hardware fault becomes a return value.  A port implements this file. */
#ifndef AXP_GUARD_H
#define AXP_GUARD_H

#include "axptr.h"
#include "page.h"

/* User bytes [start, start + size) and what is done to them.  size 0: no span. */
typedef struct axp_span {
    uintptr_t start;
    size_t size;
    uint32_t access;
} axp_span;

/*
 * run() touches the spans and nothing else that may fault.  It works in ascending order, a page at a time,
 * and keeps done up to date, so that done is exact when a fault ends it; a body that cannot do that leaves
 * done at 0.
 */
typedef struct axp_attempt {
    axp_span span;
    axp_span other; /* of a copy between two user spans: the second one */
    axp_call *call; /* NULL, or: every fault is in the span, but for the interpreter's own, and its access is
                       0 where the processor does not say */
    void (*run)(struct axp_attempt *attempt);
    volatile size_t done; /* bytes of the span that are finished */
    axp_fault fault;      /* filled in by axp_guarded() when it returns -EFAULT */
} axp_attempt;

/*
 * Returns 0, or -EFAULT if run() faulted inside its own spans.  fault.address is the first bad byte: the
 * later of span.start + done and the start of the page that faulted (in the other span: of that page and
 * other.start). Faults anywhere else belong to whoever was there before us.
 */
int axp_guarded(axp_attempt *attempt);

/* The same for a part of what was tried before: no fault is injected into it.  One that was injected before,
 * as attempt->fault tells, ends it at once. */
int axp_guarded_again(axp_attempt *attempt);

/*
 * The same for a call of what may do anything: on an alternate signal stack, and afterwards, if it faulted,
 * with that, the signal mask and the floating-point environment as they were before.  Another negative errno:
 * run() was not called.
 */
int axp_guarded_call(axp_attempt *attempt);

/* 1 while an access of this thread is open, seen from a signal handler that interrupted it. */
int axp_guard_is_open(void);

/*
 * Walks the span for a run(): step() gets one page's part of it, at an offset, and returns nonzero to stop
 * there.  Inlined, so that step() costs no call.
 */
static inline __attribute__((always_inline)) void
axp_by_page(axp_attempt *attempt, int (*step)(axp_attempt *attempt, size_t offset, size_t size))
{
    size_t done = 0;

    while (done < attempt->span.size) {
        size_t size = axp_within_page(attempt->span.start + done, attempt->span.size - done);

        if (step(attempt, done, size) != 0)
            break;
        attempt->done = done += size;
    }
}

/* Sets everything but the fault, whose clearing would cost as much as the rest of a small access. */
static inline void axp_prepare(axp_attempt *attempt, uintptr_t start, size_t size, uint32_t access,
                               void (*run)(axp_attempt *attempt))
{
    attempt->span = (axp_span){start, size, access};
    attempt->other.size = 0;
    attempt->call = NULL;
    attempt->run = run;
    attempt->done = 0;
}

/* inject.c */

/* Asked by axp_guarded() about each attempt for as long as axp_is_injecting().  1: it ends before it begins,
 * with the fault that was filled in. */
int axp_inject_attempt(axp_attempt *attempt);

/* Asked of axp_guarded() when that may have become so for the calling thread. */
void axp_ask_about_attempts(void);

/* fault.c */

/* Adds a record to the calling thread's and returns -EFAULT. */
int axp_report(const axp_fault *fault);

/* Reports a span that was refused before anything was touched. */
int axp_refuse(uintptr_t address, uint32_t access, uint32_t reason);

static inline int axp_span_overflows(uintptr_t start, size_t size)
{
    return size != 0 && size - 1 > UINTPTR_MAX - start;
}

#endif
