/* SPDX-License-Identifier: MIT */
/* two_way.c: the search where libc has no memmem, and how often it reads the bytes that it searches. */
#include "raw.h"

static size_t bytes_read;

static unsigned char counted_peek(uintptr_t from)
{
    bytes_read++;
    return axp_peek(from);
}

#define axp_peek counted_peek
#include "raw_find.h"

/* Returns the offset of the needle, or SIZE_MAX. */
size_t find_two_way(const void *from, size_t size, const void *needle, size_t needle_size, size_t *reads_out)
{
    uintptr_t match;

    bytes_read = 0;
    match = axp_find_two_way((uintptr_t)from, size, needle, needle_size);
    *reads_out = bytes_read;
    return match == 0 ? SIZE_MAX : match - (uintptr_t)from;
}
