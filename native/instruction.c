/* SPDX-License-Identifier: MIT */
/* instruction.c: loads and stores, told apart by how they are encoded. */
#include "instruction.h"

#include "guard.h"
#include "raw.h"

#if defined(__aarch64__)

enum { LEAST_BYTES = 4 };

static uint32_t access_of(uint32_t code)
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
    if ((code & 0x3b200c00) == 0x19000400) /* of a block: it is set, or copied, which may be either */
        return option == SET_BLOCK ? AXP_WRITE : 0;
    if ((code & 0x3b200c00) == 0x19000000) /* of one register, ordered */
        return option == STORE ? AXP_WRITE : AXP_READ;
    if ((code & 0x3a000000) == 0x38000000) {                                        /* of one register */
        if ((code & 0x3f200c00) == 0x38200000 && (code & 0x3ffffc00) != 0x38bfc000) /* atomic, but LDAPR */
            return AXP_WRITE;
        return option == STORE || (of_vectors && option == STORE_OF_128_BITS) ? AXP_WRITE : AXP_READ;
    }
    if ((code & 0x3fa07c00) == 0x08a07c00) /* compare and swap */
        return AXP_WRITE;
    return code & 1u << 22 ? AXP_READ : AXP_WRITE;
}

#elif defined(__riscv)

enum { LEAST_BYTES = 2 };

static uint32_t access_of(uint32_t code)
{
    enum { STORE = 0x23, STORE_FLOAT = 0x27, ATOMIC = 0x2f, LOAD_RESERVED = 2, FIRST_COMPRESSED_STORE = 5 };

    if ((code & 3) != 3) /* compressed */
        return (code >> 13 & 7) >= FIRST_COMPRESSED_STORE ? AXP_WRITE : AXP_READ;
    switch (code & 0x7f) {
    case STORE:
    case STORE_FLOAT:
        return AXP_WRITE;
    case ATOMIC:
        return code >> 27 == LOAD_RESERVED ? AXP_READ : AXP_WRITE;
    default:
        return AXP_READ;
    }
}

#endif

#if defined(__aarch64__) || defined(__riscv)

typedef struct code_attempt {
    axp_attempt attempt; /* first: run() gets a pointer to it */
    volatile uint32_t code;
} code_attempt;

static void read_code(axp_attempt *attempt)
{
    code_attempt *read = (code_attempt *)attempt;

    for (unsigned i = 0; i < sizeof read->code; i++) { /* little-endian, as both are */
        read->code |= (uint32_t)axp_peek(attempt->span.start + i) << (8 * i);
        attempt->done = i + 1;
    }
}

uint32_t axp_access_of_instruction(uintptr_t at)
{
    code_attempt read = {.code = 0};

    axp_prepare(&read.attempt, at, sizeof read.code, AXP_READ, read_code);
    if (axp_guarded_again(&read.attempt) != 0 && read.attempt.done < LEAST_BYTES)
        return 0;
    return access_of(read.code);
}

#else

uint32_t axp_access_of_instruction(uintptr_t at)
{
    (void)at;
    return 0;
}

#endif
