/* SPDX-License-Identifier: MIT */
/* riscv.c: what the library makes of riscv's instructions, on any processor. */
#include "../../native/instruction_riscv.h"

uint32_t access_of(uint32_t code);

uint32_t access_of(uint32_t code)
{
    return axp_access_of_code(code);
}
