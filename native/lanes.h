/* SPDX-License-Identifier: MIT */
/* lanes.h: a word as a row of elements, its lanes, which are looked at all at once. */
#ifndef AXP_LANES_H
#define AXP_LANES_H

#include <stddef.h>
#include <stdint.h>

/* A block has no exit inside.  Of a large one compilers make vectors; of fewer words gcc would not. */
enum { AXP_WORD = sizeof(uint64_t), AXP_SMALL_BLOCK = 2 * AXP_WORD, AXP_LARGE_BLOCK = 32 * AXP_WORD };

/* The lowest and the highest bit of each lane. */
typedef struct axp_lanes {
    uint64_t lowest;
    uint64_t highest;
} axp_lanes;

/* Lanes of 1, 2, 4 or 8 bytes. */
static inline axp_lanes axp_lanes_of(size_t width)
{
    static const uint64_t lowest[] = {
        [1] = 0x0101010101010101, [2] = 0x0001000100010001, [4] = 0x0000000100000001, [8] = 1};

    return (axp_lanes){lowest[width], lowest[width] << (8 * width - 1)};
}

/*
 * Sets the highest bit of some lane if, and only if, a lane is zero.  The other bits mean nothing, and lanes
 * above the first zero one may be set too.
 */
static inline uint64_t axp_zero_lanes(uint64_t word, axp_lanes lanes)
{
    return (word - lanes.lowest) & ~word;
}

#endif
