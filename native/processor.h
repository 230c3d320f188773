/* SPDX-License-Identifier: MIT */
/* processor.h: what a guard must know of a processor's addresses. */
#ifndef AXP_PROCESSOR_H
#define AXP_PROCESSOR_H

#include <stdint.h>

/*
 * Whether [start, last] holds an address that the processor cannot form, whose fault may tell neither where
 * nor why.  x86-64: outside 48 bits, sign-extended.
 */
static inline int axp_leaves_canonical(uintptr_t start, uintptr_t last)
{
#if UINTPTR_MAX > UINT32_MAX
    uintptr_t limit = UINT64_C(1) << 47;

    return last >= limit && start < 0 - limit;
#else
    (void)start;
    (void)last;
    return 0;
#endif
}

/* An address as its fault gives it.  aarch64 ignores the top byte, where programs keep tags, and leaves it
 * out of an address of theirs. */
static inline uintptr_t axp_reported_address(uintptr_t address)
{
#if defined(__aarch64__)
    uintptr_t sign = UINT64_C(1) << 55;

    return address & sign ? address : address & (sign - 1);
#else
    return address;
#endif
}

#endif
