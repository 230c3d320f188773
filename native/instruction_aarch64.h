/* SPDX-License-Identifier: MIT */
/* instruction_aarch64.h: loads and stores, told apart by how they are encoded. */
#ifndef AXP_INSTRUCTION_AARCH64_H
#define AXP_INSTRUCTION_AARCH64_H

#include <stdint.h>

#include "axptr.h"

enum { AXP_INSTRUCTION_BYTES = 4 };

/* AXP_READ or AXP_WRITE, or 0 for what accesses no memory, or may do either. */
static inline uint32_t axp_access_of_code(uint32_t code)
{
    enum { STORE = 0, STORE_OF_128_BITS = 2, SET_BLOCK = 3 };
    uint32_t option = code >> 22 & 3;
    int of_vectors = code >> 26 & 1;

    if ((code & 0xffffffe0) == 0xd50b7420) /* DC ZVA, which clears a block */
        return AXP_WRITE;
    if ((code & 0x0a000000) != 0x08000000) /* neither a load nor a store */
        return 0;
    if ((code & 0x3b000000) == 0x18000000) /* of a literal */
        return AXP_READ;
    if ((code & 0xff200000) == 0xd9200000) /* of tags, and of memory with them: two of them load */
        return (code & 0x00400c00) == 0x00400000 ? AXP_READ : AXP_WRITE;
    if ((code & 0x3b200c00) == 0x19000400) /* of a block: it is set, or copied, which may be either */
        return option == SET_BLOCK ? AXP_WRITE : 0;
    if ((code & 0x3b200c00) == 0x19000000) /* of one register, ordered */
        return option == STORE ? AXP_WRITE : AXP_READ;
    if ((code & 0x3f200c00) == 0x19200000) /* atomic, of two registers */
        return AXP_WRITE;
    if ((code & 0xff200400) == 0xf8200400) /* of a pointer that is authenticated */
        return AXP_READ;
    if ((code & 0x3a000000) == 0x38000000) {                                        /* of one register */
        if ((code & 0x3f200c00) == 0x38200000 && (code & 0x3ffffc00) != 0x38bfc000) /* atomic, but LDAPR */
            return AXP_WRITE;
        return option == STORE || (of_vectors && option == STORE_OF_128_BITS) ? AXP_WRITE : AXP_READ;
    }
    if ((code & 0x3fa07c00) == 0x08a07c00 || (code & 0xbfa07c00) == 0x08207c00) /* compare and swap */
        return AXP_WRITE;
    return code & 1u << 22 ? AXP_READ : AXP_WRITE;
}

#endif
