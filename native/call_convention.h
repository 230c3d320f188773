/* SPDX-License-Identifier: MIT */
/* call_convention.h: what call.c must know of how a processor, and a system, pass arguments. */
#ifndef AXP_CALL_CONVENTION_H
#define AXP_CALL_CONVENTION_H

#include <stdint.h>

/*
 * How many floats can be passed: as many as have registers of their own, whose use does not depend on the
 * words beside them; on i386 all, which lie among the words; in Windows, where a float takes a word's place,
 * also all, since both registers of the place can be set.
 */
#if (defined(__x86_64__) && !defined(__ILP32__)) || (defined(__aarch64__) && !defined(_WIN32)) \
    || defined(__i386__) || defined(__ARM_PCS_VFP) || defined(__riscv_float_abi_double)        \
    || (defined(__powerpc64__) && _CALL_ELF == 2)
enum { AXP_FLOATS_PASSED = 8 };
#elif defined(__s390x__)
enum { AXP_FLOATS_PASSED = 4 };
#else
enum { AXP_FLOATS_PASSED = 0 };
#endif

/* How many a variadic function finds: elsewhere it looks for them among the words. */
#if defined(__x86_64__) || (defined(__aarch64__) && !defined(__APPLE__)) || defined(__i386__) \
    || defined(__s390x__)
enum { AXP_FLOATS_FOUND = AXP_FLOATS_PASSED };
#else
enum { AXP_FLOATS_FOUND = 0 };
#endif

/* Dots behind the parameters tell a variadic function of x86-64 that floats may have come.  On arm they would
 * move floats, the result as well, to where others look for words. */
#if defined(__ARM_PCS_VFP)
#define AXP_DOTS
#else
#define AXP_DOTS , ...
#endif

/* What is called for the function at an address, and the call of it. */
#if defined(__x86_64__) && defined(_WIN32)
/* Copies the four places that are in registers from words to floats, and goes on to the function that the
 * static chain points to. */
void axp_set_both(void);
__asm__(".text\n"
        ".globl axp_set_both\n"
        "axp_set_both:\n"
        "  movq %rcx, %xmm0\n"
        "  movq %rdx, %xmm1\n"
        "  movq %r8, %xmm2\n"
        "  movq %r9, %xmm3\n"
        "  jmp *%r10\n");
static void (*volatile axp_entry)(void) = axp_set_both; /* known to it, gcc would leave out the chain */
#define AXP_ENTRY_OF(address) ((uintptr_t)axp_entry)
#define AXP_INVOKE(invoked, address) __builtin_call_with_static_chain(invoked, (void *)(address))
#else
#define AXP_ENTRY_OF(address) (address)
#define AXP_INVOKE(invoked, address) (invoked)
#endif

#endif
