/* SPDX-License-Identifier: MIT */
/* instruction.c: reading an instruction that faulted, for what it does to memory. */
#include "instruction.h"

#include "guard.h"
#include "raw.h"

#if defined(__aarch64__)
#include "instruction_aarch64.h"
#elif defined(__riscv)
#include "instruction_riscv.h"
#endif

#if defined(AXP_INSTRUCTION_AARCH64_H) || defined(AXP_INSTRUCTION_RISCV_H)

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
    if (axp_guarded_again(&read.attempt) != 0 && read.attempt.done < AXP_INSTRUCTION_BYTES)
        return 0;
    return axp_access_of_code(read.code);
}

#else

uint32_t axp_access_of_instruction(uintptr_t at)
{
    (void)at;
    return 0;
}

#endif
