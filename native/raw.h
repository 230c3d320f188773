/* SPDX-License-Identifier: MIT */
/*
 * raw.h: the functions that touch user memory, for use inside an attempt.
 *
 * They are libc's.  Under a sanitizer libc's are intercepted and the shadow of a wild address is looked up
 * first, which faults outside the attempt's span: plain loops take their place there, and only their accesses
 * to our own memory are checked.
 */
#ifndef AXP_RAW_H
#define AXP_RAW_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "page.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define AXP_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define AXP_SANITIZED 1
#endif
#endif

/* Words at any address: one instruction where the processor has it. */
typedef uint8_t axp_any8;
typedef uint16_t __attribute__((aligned(1), may_alias)) axp_any16;
typedef uint32_t __attribute__((aligned(1), may_alias)) axp_any32;
typedef uint64_t __attribute__((aligned(1), may_alias)) axp_any64;

/* Vectors of bytes, which == compares one by one. */
typedef uint8_t __attribute__((vector_size(16), aligned(1), may_alias)) axp_any128;
typedef uint8_t __attribute__((vector_size(32), aligned(1), may_alias)) axp_any256;

/* clang goes on to call its ThreadSanitizer for atomic accesses, which a fault would leave locked. */
#if defined(__has_attribute)
#if __has_attribute(disable_sanitizer_instrumentation)
#define AXP_NOT_INSTRUMENTED disable_sanitizer_instrumentation,
#endif
#endif
#if !defined(AXP_NOT_INSTRUMENTED)
#define AXP_NOT_INSTRUMENTED
#endif

/* For a static function that touches user memory itself.  It is compiled for its caller's processor. */
#if defined(AXP_SANITIZED)
#define AXP_TOUCHES_USER                                                                                \
    static __attribute__((AXP_NOT_INSTRUMENTED no_sanitize("address", "thread", "undefined"), noinline, \
                          unused))
#else
#define AXP_TOUCHES_USER static inline __attribute__((always_inline))
#endif

/*
 * For one whose loops compilers vectorise.  x86-64 has vectors of 16 bytes; where the loader can choose,
 * there is a second version for processors with 32, which reads what is cached almost twice as fast.
 */
#if defined(AXP_SANITIZED)
#define AXP_SCANS_USER AXP_TOUCHES_USER
#elif defined(__x86_64__) && defined(__GLIBC__)
#define AXP_SCANS_USER static __attribute__((target_clones("avx2", "default")))
#else
#define AXP_SCANS_USER static
#endif

/* Where a function may be compiled for vectors of 32 bytes, which not every processor of the kind has. */
#if defined(__x86_64__) && !defined(AXP_SANITIZED)
#define AXP_WIDE __attribute__((target("avx2")))
static inline int axp_has_wide_vectors(void)
{
    return __builtin_cpu_supports("avx2") != 0;
}
#else
static inline int axp_has_wide_vectors(void)
{
    return 0;
}
#endif

AXP_TOUCHES_USER unsigned char axp_peek(uintptr_t from)
{
    return *(const volatile unsigned char *)from;
}

AXP_TOUCHES_USER axp_any128 axp_peek128(uintptr_t from)
{
    return *(const volatile axp_any128 *)from;
}

#if defined(AXP_SANITIZED)

AXP_TOUCHES_USER void axp_poke(uintptr_t to, unsigned char byte)
{
    *(volatile unsigned char *)to = byte;
}

static inline void axp_raw_read(void *own, uintptr_t from, size_t size)
{
    volatile unsigned char *target = own;

    for (size_t i = 0; i < size; i++)
        target[i] = axp_peek(from + i);
}

static inline void axp_raw_write(uintptr_t to, const void *own, size_t size)
{
    const volatile unsigned char *source = own;

    for (size_t i = 0; i < size; i++)
        axp_poke(to + i, source[i]);
}

static inline void axp_raw_move(uintptr_t to, uintptr_t from, size_t size)
{
    if (to <= from)
        for (size_t i = 0; i < size; i++)
            axp_poke(to + i, axp_peek(from + i));
    else
        for (size_t i = size; i > 0; i--)
            axp_poke(to + i - 1, axp_peek(from + i - 1));
}

static inline void axp_raw_fill(uintptr_t to, uint8_t byte, size_t size)
{
    for (size_t i = 0; i < size; i++)
        axp_poke(to + i, byte);
}

static inline uintptr_t axp_raw_find_byte(uintptr_t from, uint8_t byte, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (axp_peek(from + i) == byte)
            return from + i;
    return 0;
}

#else

static inline void axp_raw_read(void *own, uintptr_t from, size_t size)
{
    memcpy(own, (const void *)from, size);
}

static inline void axp_raw_write(uintptr_t to, const void *own, size_t size)
{
    memcpy((void *)to, own, size);
}

static inline void axp_raw_move(uintptr_t to, uintptr_t from, size_t size)
{
    memmove((void *)to, (const void *)from, size);
}

static inline void axp_raw_fill(uintptr_t to, uint8_t byte, size_t size)
{
    memset((void *)to, byte, size);
}

static inline uintptr_t axp_raw_find_byte(uintptr_t from, uint8_t byte, size_t size)
{
    return (uintptr_t)memchr((const void *)from, byte, size);
}

#endif

/* Tries one byte's page for reading. */
AXP_TOUCHES_USER void axp_touch_read(uintptr_t at)
{
    (void)*(const volatile unsigned char *)at;
}

/* Tries the first page of a word on two pages, where a misaligned word takes several loads, in any order. */
AXP_TOUCHES_USER void axp_touch_first(uintptr_t at, size_t width)
{
#if defined(__riscv)
    const size_t loaded_at_once = 1;
#else
    const size_t loaded_at_once = sizeof(uintptr_t);
#endif

    if (width > loaded_at_once && axp_within_page(at, width) < width)
        axp_touch_read(at);
}

/* Tries one byte's page for writing and changes nothing: exchanges the byte for itself.  Not fetch_or(0),
 * which compilers turn into a load; and until it succeeds, since a processor may take a failed exchange for a
 * mere read. */
AXP_TOUCHES_USER void axp_touch_write(uintptr_t at)
{
    volatile unsigned char *byte = (volatile unsigned char *)at;
    unsigned char seen = *byte;

    while (!__atomic_compare_exchange_n(byte, &seen, seen, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        ;
}

#endif
