/* SPDX-License-Identifier: MIT */
/* callee.h: between callee.c and callee_posix.c. */
#ifndef CALLEE_H
#define CALLEE_H

#include <stddef.h>
#include <stdint.h>

typedef struct surroundings {
    uint64_t mask; /* of the signals 1 to 64 */
    void *stack;
    size_t stack_size;
    int stack_flags;
    int rounding;
    int exceptions;
    uint32_t mxcsr;
    uint16_t x87_control;
    uint16_t x87_tag;
} surroundings;

/* Sets everything that has to do with floats, and the rest to 0. */
void note_floats(surroundings *out);

int change_floats(const volatile int *address);

#endif
