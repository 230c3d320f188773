/* SPDX-License-Identifier: MIT */
/* attempt.h: whose a fault is, asked inside the handler: no locks, no allocation, no stdio. */
#ifndef AXP_ATTEMPT_H
#define AXP_ATTEMPT_H

#include "guard.h"
#include "processor.h"

/* What a frame of an open attempt holds: somebody's longjmp may leave the attempt without our knowing, and
 * its frame is soon overwritten. */
static inline uintptr_t axp_mark_of(const void *frame)
{
    return (uintptr_t)frame ^ (uintptr_t)0x61787074725f6f6e;
}

static inline int axp_is_in_span(const axp_span *span, uintptr_t address, uint32_t access)
{
    uintptr_t first, last;

    /* A write cannot be the fault of what is read; it is one of our own buffer, in the same page. */
    if (span->size == 0 || (span->access == AXP_READ && access == AXP_WRITE))
        return 0;
    first = axp_reported_address(span->start);
    last = axp_reported_address(span->start + (span->size - 1));
    return axp_page_start(address) >= axp_page_start(first)
           && (last < first || axp_page_start(address) <= axp_page_start(last));
}

/* The span that a fault lies in, or NULL.  The flag "an attempt is open" alone would also take the faults of
 * a signal handler that interrupted the attempt. */
static inline const axp_span *axp_span_at(const axp_attempt *attempt, uintptr_t address, uint32_t access)
{
    if (axp_is_in_span(&attempt->span, address, access))
        return &attempt->span;
    return axp_is_in_span(&attempt->other, address, access) ? &attempt->other : NULL;
}

static inline int axp_span_leaves_canonical(const axp_span *span)
{
    return span->size != 0 && axp_leaves_canonical(span->start, span->start + (span->size - 1));
}

/* The same for a fault that does not tell its address. */
static inline const axp_span *axp_span_off_canonical(const axp_attempt *attempt)
{
    if (axp_span_leaves_canonical(&attempt->span))
        return &attempt->span;
    return axp_span_leaves_canonical(&attempt->other) ? &attempt->other : NULL;
}

/* As axp_guarded() promises it, from the address that was told, of which no more counts than the page; 0: it
 * was not. */
static inline uintptr_t axp_first_bad_byte(const axp_attempt *attempt, const axp_span *span,
                                           uintptr_t address)
{
    uintptr_t reached = span->start + (span == &attempt->span ? attempt->done : 0);
    uintptr_t page = axp_page_start(address);

    return page > axp_reported_address(reached) ? reached + (page - axp_reported_address(reached)) : reached;
}

/* Python code that a foreign function calls must not be left midway, whether it runs or has itself called
 * what faulted: what it holds is the interpreter's. */
static inline int axp_is_in_interpreter(const axp_call *call)
{
    if (call->entries != 0 && *(const int *)call->entries != call->entered)
        return 1;
    return call->running != 0 && ((uintptr_t (*)(void))call->running)() == call->interpreter;
}

#endif
