/* SPDX-License-Identifier: MIT */
/* text.c: copying a long string and looking for its end at once. */
#include "text.h"

#include <string.h>

enum { WIDE = sizeof(axp_any256), LARGE = 8 * WIDE, NARROW = sizeof(axp_any128), SMALL = 4 * NARROW };

/* Copies whole blocks, up to one with a zero byte, and returns the size of those before that. */
AXP_SCANS_USER size_t copy_large_blocks(unsigned char *own, uintptr_t from, size_t size)
{
    size_t done = 0;

    for (; size - done >= LARGE; done += LARGE) {
        axp_any256 zeros = {0};
        uint64_t quarters[4];

        for (size_t i = 0; i < LARGE; i += WIDE) {
            axp_any256 bytes = *(const volatile axp_any256 *)(from + done + i);

            *(axp_any256 *)(own + done + i) = bytes;
            zeros |= (axp_any256)(bytes == 0);
        }
        memcpy(quarters, &zeros, sizeof quarters);
        if ((quarters[0] | quarters[1] | quarters[2] | quarters[3]) != 0)
            break;
    }
    return done;
}

AXP_TOUCHES_USER size_t copy_small_blocks(unsigned char *own, uintptr_t from, size_t size)
{
    size_t done = 0;

    for (; size - done >= SMALL; done += SMALL) {
        axp_any128 zeros = {0};
        uint64_t halves[2];

        for (size_t i = 0; i < SMALL; i += NARROW) {
            axp_any128 bytes = *(const volatile axp_any128 *)(from + done + i);

            *(axp_any128 *)(own + done + i) = bytes;
            zeros |= (axp_any128)(bytes == 0);
        }
        memcpy(halves, &zeros, sizeof halves);
        if ((halves[0] | halves[1]) != 0)
            break;
    }
    return done;
}

size_t axp_copy_long_text(unsigned char *own, uintptr_t from, size_t size)
{
    size_t done = size < LARGE ? 0 : copy_large_blocks(own, from, size);

    if (size - done >= LARGE) /* the block that was copied last */
        return done + (size_t)((const unsigned char *)memchr(own + done, 0, LARGE) - (own + done));
    done += copy_small_blocks(own + done, from + done, size - done);
    if (size - done >= SMALL)
        return done + (size_t)((const unsigned char *)memchr(own + done, 0, SMALL) - (own + done));
    return done + axp_copy_text_by_word(own + done, from + done, size - done);
}
