/* SPDX-License-Identifier: MIT */
/* populate.c: bringing pages in where the system cannot be asked to. */
#include "populate.h"

#include <errno.h>

#include "guard.h"

/* What a fault would have been to madvise. */
static int errno_of(uint32_t reason)
{
    switch (reason) {
    case AXP_NOT_MAPPED:
    case AXP_NOT_CANONICAL:
        return ENOMEM;
    case AXP_NOT_PERMITTED:
        return EINVAL;
    default:
        return EFAULT;
    }
}

static int touch(uintptr_t start, size_t size, uint32_t access)
{
    const uint8_t nothing = 0;
    uint8_t seen;
    size_t accessible = 0;
    axp_fault fault;
    int result;

    for (;;) {
        result = access == AXP_WRITE ? axp_probe_write(start, size, &accessible)
                                     : axp_probe_read(start, size, &accessible);
        if (result != 0 || accessible == size)
            break;
        start += accessible;
        size -= accessible;
        result =
            access == AXP_WRITE ? axp_atomic_fetch_or(start, 1, &nothing, &seen) : axp_load(start, 1, &seen);
        if (result != 0) /* else somebody has mended it */
            break;
    }
    if (result == -EFAULT && axp_take_fault(&fault) == 0)
        return -errno_of(fault.reason);
    return result;
}

int axp_populate_by_touch(uintptr_t start, size_t size, uint32_t access)
{
    /* To bring pages in is no access of the caller's, and the system, where it does that, asks nobody. */
    uint32_t held = axp_injection_held();
    int result;

    axp_hold_injection(1);
    result = touch(start, size, access);
    axp_hold_injection(held);
    return result;
}
