/* SPDX-License-Identifier: MIT */
/* arena.h: memory whose pages are good or bad as the fuzzer's input says, and a model of what it holds. */
#ifndef ARENA_H
#define ARENA_H

#include <stddef.h>
#include <stdint.h>

#include "axptr.h"

/* What does not hold ends the run. */
#define CHECK(condition) ((condition) ? (void)0 : arena_broken(#condition, __FILE__, __LINE__))

_Noreturn void arena_broken(const char *condition, const char *file, int line);

/* What is left of the input; when it has ended, zeros. */
typedef struct input {
    const uint8_t *next;
    const uint8_t *end;
} input;

/* A number below count, of which there are at most 65536. */
size_t take(input *input, size_t count);

uint64_t take_word(input *input);

/* Of each target its own: takes an operation from the input, runs it on the library, and holds what happened
 * against the model. */
void arena_step(input *input);

/* A user address: mostly in the arena, now and then one that the processor cannot form or that is nobody's.
 */
uintptr_t take_address(input *input);

/* A size of a span there, which does not leave the arena, but may leave the address space. */
size_t take_size(input *input, uintptr_t start);

/* Bytes of a span before the first that cannot be accessed so. */
size_t arena_accessible(uintptr_t start, size_t size, uint32_t access);

/* What the arena holds at an address that can be accessed. */
uint8_t *arena_model(uintptr_t at);

/*
 * A call for a span failed as it had to: it was refused, or faulted after so many bytes that could be
 * accessed, and says that it did transferred of them.
 */
void arena_check_fault(int result, uintptr_t start, size_t size, size_t accessible, size_t transferred,
                       uint32_t access);

/* Our own memory, in which a sanitizer sees every byte outside of it. */
uint8_t *own_memory(size_t size);

#endif
