/* SPDX-License-Identifier: MIT */
/*
 * raw.h: the functions that touch user memory, for use inside an attempt.
 *
 * They are libc's.  Under AddressSanitizer libc's are intercepted and the shadow of a wild address is looked
 * up first, which faults outside the attempt's span: plain loops take their place there.
 */
#ifndef AXP_RAW_H
#define AXP_RAW_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#define AXP_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define AXP_SANITIZED 1
#endif
#endif

/* Words at any address: one instruction where the processor has it. */
typedef uint16_t __attribute__((aligned(1), may_alias)) axp_any16;
typedef uint32_t __attribute__((aligned(1), may_alias)) axp_any32;
typedef uint64_t __attribute__((aligned(1), may_alias)) axp_any64;

/* For a function that touches user memory itself. */
#if defined(AXP_SANITIZED)
#define AXP_TOUCHES_USER __attribute__((no_sanitize("address", "thread", "undefined"), noinline, unused))
#else
#define AXP_TOUCHES_USER
#endif

#if defined(AXP_SANITIZED)

#define AXP_RAW AXP_TOUCHES_USER static

AXP_RAW void axp_raw_move(void *to, const void *from, size_t size)
{
    volatile unsigned char *target = to;
    const volatile unsigned char *source = from;

    if ((uintptr_t)to <= (uintptr_t)from)
        for (size_t i = 0; i < size; i++)
            target[i] = source[i];
    else
        for (size_t i = size; i > 0; i--)
            target[i - 1] = source[i - 1];
}

AXP_RAW void axp_raw_copy(void *to, const void *from, size_t size)
{
    axp_raw_move(to, from, size);
}

AXP_RAW void axp_raw_fill(void *to, uint8_t byte, size_t size)
{
    volatile unsigned char *target = to;

    for (size_t i = 0; i < size; i++)
        target[i] = byte;
}

AXP_RAW const void *axp_raw_find_byte(const void *from, uint8_t byte, size_t size)
{
    const volatile unsigned char *source = from;

    for (size_t i = 0; i < size; i++)
        if (source[i] == byte)
            return (const unsigned char *)from + i;
    return NULL;
}

AXP_RAW const void *axp_raw_find(const void *from, size_t size, const void *needle, size_t needle_size)
{
    const volatile unsigned char *source = from;
    const volatile unsigned char *wanted = needle;

    for (size_t i = 0; needle_size <= size && i <= size - needle_size; i++) {
        size_t same = 0;

        while (same < needle_size && source[i + same] == wanted[same])
            same++;
        if (same == needle_size)
            return (const unsigned char *)from + i;
    }
    return NULL;
}

#else

#define AXP_RAW static inline

AXP_RAW void axp_raw_move(void *to, const void *from, size_t size)
{
    memmove(to, from, size);
}

AXP_RAW void axp_raw_copy(void *to, const void *from, size_t size)
{
    memcpy(to, from, size);
}

AXP_RAW void axp_raw_fill(void *to, uint8_t byte, size_t size)
{
    memset(to, byte, size);
}

AXP_RAW const void *axp_raw_find_byte(const void *from, uint8_t byte, size_t size)
{
    return memchr(from, byte, size);
}

AXP_RAW const void *axp_raw_find(const void *from, size_t size, const void *needle, size_t needle_size)
{
    return memmem(from, size, needle, needle_size);
}

#endif

/* Tries one byte's page for reading. */
AXP_TOUCHES_USER static inline void axp_touch_read(uintptr_t at)
{
    (void)*(const volatile unsigned char *)at;
}

/* Tries one byte's page for writing and changes nothing: exchanges the byte for itself.  Not fetch_or(0),
 * which compilers turn into a load; and until it succeeds, since a processor may take a failed exchange for a
 * mere read. */
AXP_TOUCHES_USER static inline void axp_touch_write(uintptr_t at)
{
    volatile unsigned char *byte = (volatile unsigned char *)at;
    unsigned char seen = *byte;

    while (!__atomic_compare_exchange_n(byte, &seen, seen, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        ;
}

#endif
