/* SPDX-License-Identifier: MIT */
/*
 * context.h: what the guard must know of a processor's state when a signal came.
 *
 * What a processor does not say, or a system keeps to itself, is 0, and whoever asks does without.
 */
#ifndef AXP_CONTEXT_H
#define AXP_CONTEXT_H

#include <signal.h>
#include <stddef.h>
#include <stdint.h>

#include "axptr.h"
#include "emulator.h"
#include "processor.h"

#if defined(__linux__)
#include "context_linux.h"
#elif defined(__APPLE__) || defined(__FreeBSD__)
#include "context_bsd.h"
#endif

#if !defined(AXP_LINUX_REGISTERS)

/* Where the stack of what was interrupted ends. */
static inline uintptr_t axp_stack_pointer(const ucontext_t *context)
{
#if defined(AXP_BSD_STACK_POINTER)
    return (uintptr_t)AXP_BSD_STACK_POINTER(context);
#else
    (void)context;
    return 0;
#endif
}

/* The instruction that was interrupted. */
static inline uintptr_t axp_instruction(const ucontext_t *context)
{
#if defined(AXP_BSD_INSTRUCTION)
    return (uintptr_t)AXP_BSD_INSTRUCTION(context);
#else
    (void)context;
    return 0;
#endif
}

/* What the interrupted instruction attempted at the address: AXP_READ, AXP_WRITE or AXP_EXECUTE. */
static inline uint32_t axp_access_of_fault(const ucontext_t *context, uintptr_t address)
{
    (void)address;
#if defined(AXP_BSD_REGISTERS)
    return axp_bsd_access_of_fault(context);
#else
    (void)context;
    return 0;
#endif
}

/* What changes whenever the interrupted code gets on: at least the general registers. */
static inline const void *axp_registers(const ucontext_t *context, size_t *size_out)
{
#if defined(AXP_BSD_REGISTERS)
    *size_out = sizeof(AXP_BSD_REGISTERS(context));
    return &AXP_BSD_REGISTERS(context);
#else
    *size_out = sizeof(context->uc_mcontext);
    return &context->uc_mcontext;
#endif
}

/* Reloads what the kernel has reset of the floating-point control state, and the exceptions beside it, when
 * it called the handler: siglongjmp does not. */
static inline void axp_restore_float_control(const ucontext_t *context)
{
    (void)context;
}

#endif

/* Whether an address was to blame that the processor cannot form: it says neither where nor, for one based on
 * the frame pointer, with the usual signal (#SS is SIGBUS on Linux). */
static inline int axp_is_not_canonical(const siginfo_t *info, const ucontext_t *context)
{
#if defined(AXP_BSD_REGISTERS)
    (void)info;
    return axp_bsd_is_not_canonical(context);
#elif defined(SI_KERNEL)
    (void)context;
    return info->si_code == SI_KERNEL;
#else
    (void)info;
    (void)context;
    return 0;
#endif
}

/* Whether a fault does not tell its address, which lies outside 48 bits then.  Processors other than x86-64
 * tell it: there 0 is NULL.  An emulator that itself runs on x86-64 cannot, and says 0 too. */
static inline int axp_hides_address(const siginfo_t *info, const ucontext_t *context)
{
#if defined(__x86_64__)
    return axp_is_not_canonical(info, context);
#else
    (void)context;
    return axp_is_emulated && info->si_addr == NULL;
#endif
}

/* Whether the processor raised a signal, as against somebody who sent it. */
static inline int axp_is_raised_by_processor(const siginfo_t *info, const ucontext_t *context)
{
#if defined(AXP_BSD_REGISTERS)
    return axp_bsd_is_fault(info, context);
#else
    (void)context;
    return info->si_code > 0;
#endif
}

/* A hash of the general registers: equal twice in a row means that nothing has moved.  Unchecked by
 * sanitizers: is_inside() of pass_posix.c hashes what may be the leftover of a frame that is gone. */
static inline __attribute__((no_sanitize("address"))) uint64_t axp_registers_hash(const ucontext_t *context)
{
    size_t size;
    const unsigned char *bytes = axp_registers(context, &size);
    uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */

    for (size_t i = 0; i < size; i++)
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    return hash;
}

#endif
