/* SPDX-License-Identifier: MIT */
/* text.c: copying a long string and looking for its end at once. */
#include "text.h"

#include <string.h>

enum { LARGE = 256, SMALL = 64 };

/*
 * Copies whole blocks, up to one with a zero byte, and returns the size of those before that.  In vectors as
 * wide as the processor has them: of wider ones compilers make single bytes, which takes thirty times as
 * long.
 */
#define COPY_BLOCKS(function, name, vector, block)                          \
    function size_t name(unsigned char *own, uintptr_t from, size_t size)   \
    {                                                                       \
        size_t done = 0;                                                    \
                                                                            \
        for (; size - done >= (block); done += (block)) {                   \
            vector zeros = {0};                                             \
            uint64_t words[sizeof(vector) / sizeof(uint64_t)];              \
            uint64_t found = 0;                                             \
                                                                            \
            for (size_t i = 0; i < (block); i += sizeof(vector)) {          \
                vector bytes = *(const volatile vector *)(from + done + i); \
                                                                            \
                *(vector *)(own + done + i) = bytes;                        \
                zeros |= (vector)(bytes == 0);                              \
            }                                                               \
            memcpy(words, &zeros, sizeof words);                            \
            for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)     \
                found |= words[i];                                          \
            if (found != 0)                                                 \
                break;                                                      \
        }                                                                   \
        return done;                                                        \
    }

COPY_BLOCKS(AXP_TOUCHES_USER, copy_large_blocks, axp_any128, LARGE)
COPY_BLOCKS(AXP_TOUCHES_USER, copy_small_blocks, axp_any128, SMALL)
#if defined(AXP_WIDE)
COPY_BLOCKS(static AXP_WIDE, copy_large_blocks_wide, axp_any256, LARGE)
#else
#define copy_large_blocks_wide copy_large_blocks
#endif

size_t axp_copy_long_text(unsigned char *own, uintptr_t from, size_t size)
{
    size_t done = 0;

    if (size >= LARGE)
        done = axp_has_wide_vectors() ? copy_large_blocks_wide(own, from, size)
                                      : copy_large_blocks(own, from, size);
    if (size - done >= LARGE) /* the block that was copied last */
        return done + (size_t)((const unsigned char *)memchr(own + done, 0, LARGE) - (own + done));
    done += copy_small_blocks(own + done, from + done, size - done);
    if (size - done >= SMALL)
        return done + (size_t)((const unsigned char *)memchr(own + done, 0, SMALL) - (own + done));
    return done + axp_copy_text_by_word(own + done, from + done, size - done);
}
