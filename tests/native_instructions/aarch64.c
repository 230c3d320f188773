/* SPDX-License-Identifier: MIT */
/* aarch64.c: what the library makes of aarch64's instructions, on any processor. */
#include "../../native/instruction_aarch64.h"

uint32_t access_of(uint32_t code);

uint32_t access_of(uint32_t code)
{
    return axp_access_of_code(code);
}
