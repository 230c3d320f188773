/* SPDX-License-Identifier: MIT */
/* text.h: copying a string of which nobody knows yet how long it is. */
#ifndef AXP_TEXT_H
#define AXP_TEXT_H

#include <stddef.h>
#include <stdint.h>

#include "lanes.h"
#include "raw.h"

/* text.c: axp_copy_text() of what is not short. */
size_t axp_copy_long_text(unsigned char *own, uintptr_t from, size_t size);

/* Of a word as memory has it, in which a byte is zero: the bytes before that. */
static inline size_t axp_bytes_before_zero(uint64_t word)
{
    size_t before = 0;

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    axp_lanes lanes = axp_lanes_of(1);

    before = (size_t)__builtin_ctzll(axp_zero_lanes(word, lanes) & lanes.highest) / 8;
#else
    while (((const unsigned char *)&word)[before] != 0)
        before++;
#endif
    return before;
}

AXP_TOUCHES_USER size_t axp_copy_text_by_word(unsigned char *own, uintptr_t from, size_t size)
{
    axp_lanes lanes = axp_lanes_of(1);
    size_t done = 0;

    for (; size - done >= AXP_WORD; done += AXP_WORD) {
        uint64_t word = *(const volatile axp_any64 *)(from + done);

        *(axp_any64 *)(own + done) = word;
        if ((axp_zero_lanes(word, lanes) & lanes.highest) != 0)
            return done + axp_bytes_before_zero(word);
    }
    while (done < size && (own[done] = axp_peek(from + done)) != 0)
        done++;
    return done;
}

/*
 * Copies bytes that all lie on one page, up to the first that is zero, and returns how many come before that.
 * What is behind it in our buffer is unspecified.  What is looked at is what was copied: a byte that stays
 * was read once.
 */
static inline size_t axp_copy_text(unsigned char *own, uintptr_t from, size_t size)
{
    enum { FEW = 4 * AXP_WORD }; /* most strings are short */
    size_t few = size < FEW ? size : FEW;
    size_t done = axp_copy_text_by_word(own, from, few);

    if (done < few || few == size)
        return done;
    return few + axp_copy_long_text(own + few, from + few, size - few);
}

#endif
