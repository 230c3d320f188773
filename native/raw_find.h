/* SPDX-License-Identifier: MIT */
/*
 * raw_find.h: memmem for use inside an attempt, in linear time everywhere.
 *
 * It is libc's where there is one and no sanitizer intercepts it.  Elsewhere it is the two-way search of
 * Crochemore and Perrin (Two-way string-matching, 1991), which needs no memory but its variables.
 */
#ifndef AXP_RAW_FIND_H
#define AXP_RAW_FIND_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "raw.h"

/* A suffix of a needle: where it starts, and after how many bytes it repeats itself. */
typedef struct axp_suffix {
    size_t start;
    size_t period;
} axp_suffix;

/* The greatest of a needle's suffixes, by the order of bytes or by the reverse of that. */
static inline axp_suffix axp_greatest_suffix(const unsigned char *needle, size_t size, int reversed)
{
    axp_suffix greatest = {.start = 0, .period = 1};
    size_t rival = 1;
    size_t same = 0; /* bytes in which the two suffixes begin alike */

    while (rival + same < size) {
        unsigned char here = needle[greatest.start + same];
        unsigned char there = needle[rival + same];

        if (here == there) {
            same++;
            if (same == greatest.period) {
                rival += same;
                same = 0;
            }
        } else if ((there < here) != reversed) {
            rival += same + 1;
            same = 0;
            greatest.period = rival - greatest.start;
        } else {
            greatest = (axp_suffix){.start = rival, .period = 1};
            rival++;
            same = 0;
        }
    }
    return greatest;
}

/*
 * A needle is cut where the shorter of its greatest suffixes starts, which is compared from left to right: a
 * wrong byte moves the needle to behind what of the suffix was there.  The rest is compared afterwards, from
 * right to left.  A needle that repeats itself throughout then moves by its period: it is there, or wrong
 * behind what has been read, so nothing has to be remembered of that.  There are at most two reads for each
 * byte.
 */
static inline uintptr_t axp_find_two_way(uintptr_t from, size_t size, const void *needle, size_t needle_size)
{
    const unsigned char *wanted = needle;
    axp_suffix by_order = axp_greatest_suffix(wanted, needle_size, 0);
    axp_suffix by_reverse = axp_greatest_suffix(wanted, needle_size, 1);
    axp_suffix cut = by_order.start > by_reverse.start ? by_order : by_reverse;
    size_t rest = needle_size - cut.start;
    int repeats = memcmp(wanted, wanted + cut.period, cut.start) == 0;
    size_t step = repeats ? cut.period : (cut.start > rest ? cut.start : rest) + 1;
    size_t place = 0;

    while (needle_size <= size && place <= size - needle_size) {
        size_t right = cut.start;
        size_t left;

        while (right < needle_size && axp_peek(from + place + right) == wanted[right])
            right++;
        if (right < needle_size) {
            place += right - cut.start + 1;
            continue;
        }
        for (left = cut.start; left > 0 && axp_peek(from + place + left - 1) == wanted[left - 1];)
            left--;
        if (left == 0)
            return from + place;
        place += step;
    }
    return 0;
}

/* Returns the address of the needle's first occurrence, or 0. */
static inline uintptr_t axp_raw_find(uintptr_t from, size_t size, const void *needle, size_t needle_size)
{
#if defined(AXP_HAVE_MEMMEM) && !defined(AXP_SANITIZED)
    return (uintptr_t)memmem((const void *)from, size, needle, needle_size);
#else
    return axp_find_two_way(from, size, needle, needle_size);
#endif
}

#endif
