/* SPDX-License-Identifier: MIT */
/* context.h: what the guard must know of a processor's state when a signal came. */
#ifndef AXP_CONTEXT_H
#define AXP_CONTEXT_H

#include <signal.h>
#include <stddef.h>
#include <stdint.h>

#include "axptr.h"
#include "processor.h"

#if defined(__APPLE__) || defined(__FreeBSD__)
#include "context_bsd.h"
#endif

/*
 * Reloads the floating-point control state, and the x87 exceptions, that the kernel reset when it called the
 * handler: siglongjmp does not.
 */
static inline void axp_restore_float_control(const ucontext_t *context)
{
#if defined(__x86_64__) && defined(__linux__)
    enum { X87_EXCEPTIONS = 0xff, MXCSR_RESET = 0x1f80, X87_CONTROL_RESET = 0x37f };

    if (context->uc_mcontext.fpregs != NULL) {
        uint32_t mxcsr = context->uc_mcontext.fpregs->mxcsr;
        uint16_t control = context->uc_mcontext.fpregs->cwd;
        uint16_t status = context->uc_mcontext.fpregs->swd & X87_EXCEPTIONS;
        struct {
            uint16_t control, unused1, status, unused2;
            uint32_t others[5];
        } environment;

        if (mxcsr != MXCSR_RESET)
            __asm__ volatile("ldmxcsr %0" : : "m"(mxcsr));
        if (control != X87_CONTROL_RESET)
            __asm__ volatile("fldcw %0" : : "m"(control));
        if (status != 0) {
            __asm__ volatile("fnstenv %0" : "=m"(environment));
            environment.control = control; /* fnstenv has masked every exception */
            environment.status |= status;
            __asm__ volatile("fldenv %0" : : "m"(environment));
        }
    }
#else
    (void)context;
#endif
}

/* Where the stack of what was interrupted ends, or 0 if nobody knows. */
static inline uintptr_t axp_stack_pointer(const ucontext_t *context)
{
#if defined(__x86_64__) && defined(__linux__)
    return (uintptr_t)context->uc_mcontext.gregs[REG_RSP];
#elif defined(AXP_BSD_STACK_POINTER)
    return (uintptr_t)AXP_BSD_STACK_POINTER(context);
#else
    (void)context;
    return 0;
#endif
}

/* The instruction that was interrupted, or 0 if nobody knows. */
static inline uintptr_t axp_instruction(const ucontext_t *context)
{
#if defined(__x86_64__) && defined(__linux__)
    return (uintptr_t)context->uc_mcontext.gregs[REG_RIP];
#elif defined(AXP_BSD_INSTRUCTION)
    return (uintptr_t)AXP_BSD_INSTRUCTION(context);
#else
    (void)context;
    return 0;
#endif
}

/* What the interrupted instruction attempted: AXP_READ, AXP_WRITE or AXP_EXECUTE; 0 if the processor does not
 * say. */
static inline uint32_t axp_access_of_fault(const ucontext_t *context)
{
#if defined(__x86_64__) && defined(__linux__)
    enum { PAGE_FAULT = 14, WRITING = 2, FETCHING = 16 };

    if (context->uc_mcontext.gregs[REG_TRAPNO] != PAGE_FAULT)
        return 0;
    if (context->uc_mcontext.gregs[REG_ERR] & FETCHING)
        return AXP_EXECUTE;
    return context->uc_mcontext.gregs[REG_ERR] & WRITING ? AXP_WRITE : AXP_READ;
#elif defined(AXP_BSD_REGISTERS)
    return axp_bsd_access_of_fault(context);
#else
    (void)context;
    return 0;
#endif
}

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
#if defined(__x86_64__) && defined(__linux__)
    const unsigned char *bytes = (const unsigned char *)context->uc_mcontext.gregs;
    size_t size = sizeof(context->uc_mcontext.gregs);
#elif defined(AXP_BSD_REGISTERS)
    const unsigned char *bytes = (const unsigned char *)&AXP_BSD_REGISTERS(context);
    size_t size = sizeof(AXP_BSD_REGISTERS(context));
#else
    const unsigned char *bytes = (const unsigned char *)&context->uc_mcontext;
    size_t size = sizeof(context->uc_mcontext);
#endif
    uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */

    for (size_t i = 0; i < size; i++)
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    return hash;
}

#endif
