/* SPDX-License-Identifier: MIT */
/* context_bsd.h: where macOS and FreeBSD keep what context.h asks for. */
#ifndef AXP_CONTEXT_BSD_H
#define AXP_CONTEXT_BSD_H

#include <signal.h>
#include <stdint.h>

#include "axptr.h"

#if defined(__APPLE__) && defined(__x86_64__)
#define AXP_BSD_REGISTERS(context) ((context)->uc_mcontext->__ss)
#define AXP_BSD_STACK_POINTER(context) ((context)->uc_mcontext->__ss.__rsp)
#define AXP_BSD_INSTRUCTION(context) ((context)->uc_mcontext->__ss.__rip)
#define AXP_BSD_TRAP(context) ((context)->uc_mcontext->__es.__trapno)
#define AXP_BSD_PAGE_FAULT_ERROR(context) ((context)->uc_mcontext->__es.__err)
enum { AXP_BSD_PAGE_FAULT = 14, AXP_BSD_GENERAL_PROTECTION = 13, AXP_BSD_STACK_FAULT = 12 };

#elif defined(__APPLE__) && defined(__aarch64__)
#define AXP_BSD_REGISTERS(context) ((context)->uc_mcontext->__ss)
#define AXP_BSD_STACK_POINTER(context) ((context)->uc_mcontext->__ss.__sp)
#define AXP_BSD_INSTRUCTION(context) ((context)->uc_mcontext->__ss.__pc)
#define AXP_BSD_SYNDROME(context) ((context)->uc_mcontext->__es.__esr)

#elif defined(__FreeBSD__) && defined(__x86_64__)
#define AXP_BSD_REGISTERS(context) ((context)->uc_mcontext)
#define AXP_BSD_STACK_POINTER(context) ((context)->uc_mcontext.mc_rsp)
#define AXP_BSD_INSTRUCTION(context) ((context)->uc_mcontext.mc_rip)
#define AXP_BSD_TRAP(context) ((context)->uc_mcontext.mc_trapno)
#define AXP_BSD_PAGE_FAULT_ERROR(context) ((context)->uc_mcontext.mc_err)
enum { AXP_BSD_PAGE_FAULT = 12, AXP_BSD_GENERAL_PROTECTION = 9, AXP_BSD_STACK_FAULT = 27 };

#elif defined(__FreeBSD__) && defined(__aarch64__)
#define AXP_BSD_REGISTERS(context) ((context)->uc_mcontext.mc_gpregs)
#define AXP_BSD_STACK_POINTER(context) ((context)->uc_mcontext.mc_gpregs.gp_sp)
#define AXP_BSD_INSTRUCTION(context) ((context)->uc_mcontext.mc_gpregs.gp_elr)
#endif

/* What context.h's axp_access_of_fault() says. */
static inline uint32_t axp_bsd_access_of_fault(const ucontext_t *context)
{
#if defined(AXP_BSD_TRAP)
    enum { WRITING = 2, FETCHING = 16 };

    if (AXP_BSD_TRAP(context) != AXP_BSD_PAGE_FAULT)
        return 0;
    if (AXP_BSD_PAGE_FAULT_ERROR(context) & FETCHING)
        return AXP_EXECUTE;
    return AXP_BSD_PAGE_FAULT_ERROR(context) & WRITING ? AXP_WRITE : AXP_READ;
#elif defined(AXP_BSD_SYNDROME)
    enum { CLASS_SHIFT = 26, FETCHING = 0x20, ACCESSING = 0x24, WRITING = 1 << 6 };

    switch (AXP_BSD_SYNDROME(context) >> CLASS_SHIFT) {
    case FETCHING:
        return AXP_EXECUTE;
    case ACCESSING:
        return AXP_BSD_SYNDROME(context) & WRITING ? AXP_WRITE : AXP_READ;
    default:
        return 0;
    }
#else
    (void)context;
    return 0;
#endif
}

/* Whether an address was to blame that the processor cannot form, and so could not tell. */
static inline int axp_bsd_is_not_canonical(const ucontext_t *context)
{
#if defined(AXP_BSD_TRAP)
    return AXP_BSD_TRAP(context) == AXP_BSD_GENERAL_PROTECTION
           || AXP_BSD_TRAP(context) == AXP_BSD_STACK_FAULT;
#else
    (void)context;
    return 0;
#endif
}

/*
 * Whether the processor raised a signal.  Of FreeBSD the code says so.  That of macOS does not: it is the
 * same for whatever is sent to an arm64, and 0 for what x86-64 has no address of; but its context tells how
 * the kernel was entered, and what somebody sends comes with a system call or an interrupt.
 */
static inline int axp_bsd_is_fault(const siginfo_t *info, const ucontext_t *context)
{
#if defined(__APPLE__)
    (void)info;
    return axp_bsd_access_of_fault(context) != 0 || axp_bsd_is_not_canonical(context);
#else
    (void)context;
    return info->si_code > 0 && info->si_code < SI_USER;
#endif
}

#endif
