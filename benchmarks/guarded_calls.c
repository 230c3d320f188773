/* SPDX-License-Identifier: MIT */
/* guarded_calls.c: guarded calls, and what C would do without a guard. */
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <wchar.h>

#include "axptr.h"
#include "timed.h"

/* What a guarded call is compared with is a call too. */
#define UNGUARDED static __attribute__((noinline))

static const char needle[8] = "not here";

UNGUARDED int plain_load(uintptr_t from, size_t width, void *value_out)
{
    (void)width;
    *(uint64_t *)value_out = *(const volatile uint64_t *)from;
    return 0;
}

UNGUARDED int plain_store(uintptr_t to, size_t width, const void *value)
{
    (void)width;
    *(volatile uint64_t *)to = *(const uint64_t *)value;
    return 0;
}

/* libc has no such search for elements of these widths. */
UNGUARDED size_t plain_strnlen16(uintptr_t from, size_t limit)
{
    size_t count = 0;

    while (count < limit && ((const uint16_t *)from)[count] != 0)
        count++;
    return count;
}

UNGUARDED size_t plain_strnlen64(uintptr_t from, size_t limit)
{
    size_t count = 0;

    while (count < limit && ((const uint64_t *)from)[count] != 0)
        count++;
    return count;
}

UNGUARDED size_t plain_touch_read(uintptr_t from, size_t size)
{
    for (size_t done = 0; done < size; done += 4096)
        (void)*(const volatile unsigned char *)(from + done);
    return size;
}

UNGUARDED size_t plain_touch_write(uintptr_t to, size_t size)
{
    for (size_t done = 0; done < size; done += 4096)
        __atomic_fetch_add((volatile unsigned char *)(to + done), 0, __ATOMIC_RELAXED);
    return size;
}

TIMED(plain_load, result = plain_load(user, size, own))
TIMED(axp_load, result = axp_load(user, size, own))
TIMED(axp_atomic_load, result = axp_atomic_load(user, size, own))
TIMED(plain_store, result = plain_store(user, size, own))
TIMED(axp_store, result = axp_store(user, size, own))

TIMED(memcpy_from, memcpy(own, (const void *)user, size))
TIMED(axp_copy_from_user, result = axp_copy_from_user(own, user, size))
TIMED(strnlen_memcpy, out = strnlen((const char *)user, size); memcpy(own, (const void *)user, out))
TIMED(axp_strncpy_from_user, result = axp_strncpy_from_user(own, size, user, size, &out))
TIMED(memcpy_to, memcpy((void *)user, own, size))
TIMED(axp_copy_to_user, result = axp_copy_to_user(user, own, size))
TIMED(memmove, memmove((void *)user, own, size))
TIMED(axp_copy_in_user, result = axp_copy_in_user(user, (uintptr_t)own, size))
TIMED(memmove_up, memmove((void *)(user + 8), (const void *)user, size))
TIMED(axp_copy_in_user_up, result = axp_copy_in_user(user + 8, user, size))
TIMED(memset, memset((void *)user, 'a', size))
TIMED(axp_fill_user, result = axp_fill_user(user, 'a', size))

TIMED(strnlen, out = strnlen((const char *)user, size))
TIMED(axp_strnlen_user, result = axp_strnlen_user(user, 1, size, &out))
TIMED(plain_strnlen16, out = plain_strnlen16(user, size / 2))
TIMED(axp_strnlen_user16, result = axp_strnlen_user(user, 2, size / 2, &out))
TIMED(wcsnlen, out = wcsnlen((const wchar_t *)user, size / sizeof(wchar_t)))
TIMED(axp_strnlen_user32, result = axp_strnlen_user(user, 4, size / 4, &out))
TIMED(plain_strnlen64, out = plain_strnlen64(user, size / 8))
TIMED(axp_strnlen_user64, result = axp_strnlen_user(user, 8, size / 8, &out))
/* libc has no search for a byte that is not zero; comparing memory with itself, one byte on, is the idiom. */
TIMED(memcmp, result = memcmp((const void *)(user + 1), (const void *)user, size - 1))
TIMED(axp_find_nonzero_user, result = axp_find_nonzero_user(user, size, &out))
TIMED(memmem, out = (uintptr_t)memmem((const void *)user, size, needle, sizeof needle))
TIMED(axp_find_in_user, result = axp_find_in_user(user, size, needle, sizeof needle, &out))
TIMED(touch_read, out = plain_touch_read(user, size))
TIMED(axp_probe_read, result = axp_probe_read(user, size, &out))
TIMED(touch_write, out = plain_touch_write(user, size))
TIMED(axp_probe_write, result = axp_probe_write(user, size, &out))

/* From the call to the fault record in the caller's hands. */
static int take_fault(int failed)
{
    axp_fault fault;

    return failed == -EFAULT ? axp_take_fault(&fault) : -EINVAL;
}

TIMED(fault_axp_load, result = take_fault(axp_load(user, 8, own)))
TIMED(fault_axp_copy_from_user, result = take_fault(axp_copy_from_user(own, user, 64)))
TIMED(fault_axp_copy_to_user, result = take_fault(axp_copy_to_user(user, own, 64)))
TIMED(fault_axp_probe_read, result = axp_probe_read(user, 8, &out))

/* A good page before one that faults: where the bad one starts, or 0.  It stays until the process ends. */
uintptr_t map_edge(void);
uintptr_t map_edge(void)
{
    size_t page = axp_page_size();
    uintptr_t start;

    if (axp_map(0, 2 * page, AXP_READ | AXP_WRITE, 0, -1, 0, &start) != 0)
        return 0;
    memset((void *)start, 'a', page);
    return axp_protect(start + page, page, 0) == 0 ? start + page : 0;
}
