/* SPDX-License-Identifier: MIT */
/* instruction.h: what an instruction does to memory, where its fault does not tell. */
#ifndef AXP_INSTRUCTION_H
#define AXP_INSTRUCTION_H

#include <stdint.h>

/* AXP_READ or AXP_WRITE, for one that accesses memory; 0 if it cannot be read, or of other processors. */
uint32_t axp_access_of_instruction(uintptr_t at);

#endif
