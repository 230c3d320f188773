/* SPDX-License-Identifier: MIT */
/* processor.h: what every guard must know of a processor. */
#ifndef AXP_PROCESSOR_H
#define AXP_PROCESSOR_H

#include <stdint.h>

/*
 * Whether [start, last] holds an address that the processor cannot form, whose fault tells neither where nor
 * why. x86-64: outside 48 bits, sign-extended.
 */
static inline int axp_leaves_canonical(uintptr_t start, uintptr_t last)
{
#if defined(__x86_64__)
    uintptr_t limit = UINT64_C(1) << 47;

    return last >= limit && start < 0 - limit;
#else
    (void)start;
    (void)last;
    return 0;
#endif
}

#endif
