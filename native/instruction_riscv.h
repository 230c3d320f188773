/* SPDX-License-Identifier: MIT */
/* instruction_riscv.h: loads and stores, told apart by how they are encoded. */
#ifndef AXP_INSTRUCTION_RISCV_H
#define AXP_INSTRUCTION_RISCV_H

#include <stdint.h>

#include "axptr.h"

enum { AXP_INSTRUCTION_BYTES = 2 }; /* at least: there are compressed ones */

/* Of 16 bits.  Where both groups that access memory have an access, it is of the same kind in both; bytes and
 * halves are accessed in the first alone. */
static inline uint32_t axp_access_of_compressed(uint32_t code)
{
    enum { BYTES_AND_HALVES = 4, STORES_THEM = 1 << 11 };
    uint32_t kind = code >> 13 & 7;

    if ((code & 3) == 1 || kind == 0)
        return 0;
    if (kind == BYTES_AND_HALVES) {
        if ((code & 3) != 0)
            return 0;
        return code & STORES_THEM ? AXP_WRITE : AXP_READ;
    }
    return kind < BYTES_AND_HALVES ? AXP_READ : AXP_WRITE;
}

/* AXP_READ or AXP_WRITE, or 0 for what accesses no memory. */
static inline uint32_t axp_access_of_code(uint32_t code)
{
    enum { LOAD = 0x03, LOAD_FLOAT = 0x07, STORE = 0x23, STORE_FLOAT = 0x27, ATOMIC = 0x2f };
    enum { LOAD_RESERVED = 2 };
    uint32_t clears_block = 0x0040200f; /* CBO.ZERO */

    if ((code & 3) != 3)
        return axp_access_of_compressed(code);
    switch (code & 0x7f) {
    case LOAD:
    case LOAD_FLOAT: /* and of vectors, as below */
        return AXP_READ;
    case STORE:
    case STORE_FLOAT:
        return AXP_WRITE;
    case ATOMIC:
        return code >> 27 == LOAD_RESERVED ? AXP_READ : AXP_WRITE;
    default:
        return (code & 0xfff07fff) == clears_block ? AXP_WRITE : 0;
    }
}

#endif
