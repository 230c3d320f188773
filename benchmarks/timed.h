/* SPDX-License-Identifier: MIT */
/* timed.h: a statement many times over, with a clock at both ends. */
#ifndef TIMED_H
#define TIMED_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

static volatile int result; /* so that a call cannot be dropped */
static volatile size_t found;

static inline uint64_t nanoseconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* The barrier keeps compilers from hoisting a call out of the loop: strnlen and its like are pure. */
#define TIMED(name, statement)                                                             \
    uint64_t time_##name(uint64_t count, uintptr_t user, unsigned char *own, size_t size); \
    uint64_t time_##name(uint64_t count, uintptr_t user, unsigned char *own, size_t size)  \
    {                                                                                      \
        uint64_t start = nanoseconds();                                                    \
        size_t out = 0;                                                                    \
                                                                                           \
        for (uint64_t i = 0; i < count; i++) {                                             \
            statement;                                                                     \
            __asm__ volatile("" ::: "memory");                                             \
        }                                                                                  \
        (void)own;                                                                         \
        (void)size;                                                                        \
        found = out;                                                                       \
        return nanoseconds() - start;                                                      \
    }

#endif
