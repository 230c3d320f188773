/* SPDX-License-Identifier: MIT */
/* context_linux.h: where Linux keeps what context.h asks for, of each processor. */
#ifndef AXP_CONTEXT_LINUX_H
#define AXP_CONTEXT_LINUX_H

#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <ucontext.h>

#include "axptr.h"
#include "page.h"

#define AXP_LINUX_REGISTERS

#if defined(__x86_64__) || defined(__i386__)

static inline uintptr_t axp_stack_pointer(const ucontext_t *context)
{
#if defined(__x86_64__)
    return (uintptr_t)context->uc_mcontext.gregs[REG_RSP];
#else
    return (uintptr_t)context->uc_mcontext.gregs[REG_ESP];
#endif
}

static inline uintptr_t axp_instruction(const ucontext_t *context)
{
#if defined(__x86_64__)
    return (uintptr_t)context->uc_mcontext.gregs[REG_RIP];
#else
    return (uintptr_t)context->uc_mcontext.gregs[REG_EIP];
#endif
}

static inline uint32_t axp_access_of_fault(const ucontext_t *context, uintptr_t address)
{
    enum { PAGE_FAULT = 14, WRITING = 2, FETCHING = 16 };

    if (context->uc_mcontext.gregs[REG_TRAPNO] != PAGE_FAULT)
        return 0;
    /* A processor without the no-execute bit, or whose kernel does not use it, does not tell a fetch. */
    if (context->uc_mcontext.gregs[REG_ERR] & FETCHING || axp_instruction(context) == address)
        return AXP_EXECUTE;
    return context->uc_mcontext.gregs[REG_ERR] & WRITING ? AXP_WRITE : AXP_READ;
}

static inline const void *axp_registers(const ucontext_t *context, size_t *size_out)
{
    *size_out = sizeof(context->uc_mcontext.gregs);
    return context->uc_mcontext.gregs;
}

/* The kernel resets both control words for a handler. */
static inline void axp_restore_float_control(const ucontext_t *context)
{
    enum { X87_EXCEPTIONS = 0xff, MXCSR_RESET = 0x1f80, X87_CONTROL_RESET = 0x37f };
    uint32_t mxcsr = MXCSR_RESET;
    uint16_t control, status;
    struct {
        uint16_t control, unused1, status, unused2;
        uint32_t others[5];
    } environment;

    if (context->uc_mcontext.fpregs == NULL)
        return;
#if defined(__x86_64__)
    mxcsr = context->uc_mcontext.fpregs->mxcsr;
    control = context->uc_mcontext.fpregs->cwd;
    status = context->uc_mcontext.fpregs->swd & X87_EXCEPTIONS;
#else
    control = (uint16_t)context->uc_mcontext.fpregs->cw;
    status = (uint16_t)context->uc_mcontext.fpregs->sw & X87_EXCEPTIONS;
    /* Behind what the C library declares: six words, then it, if the upper half of the status says so. */
    if (context->uc_mcontext.fpregs->status >> 16 == 0)
        mxcsr = ((const uint32_t *)(context->uc_mcontext.fpregs + 1))[6];
#endif
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

#elif defined(__aarch64__)

static inline uintptr_t axp_stack_pointer(const ucontext_t *context)
{
    return (uintptr_t)context->uc_mcontext.sp;
}

static inline uintptr_t axp_instruction(const ucontext_t *context)
{
    return (uintptr_t)context->uc_mcontext.pc;
}

static inline uint32_t axp_access_of_fault(const ucontext_t *context, uintptr_t address)
{
    enum { SYNDROME = 0x45535201, FETCH = 0x20, DATA = 0x24, CACHE = 1 << 8, WRITING = 1 << 6 };
    struct {
        uint32_t magic, size;
        uint64_t syndrome;
    } record;
    const unsigned char *next = (const unsigned char *)context->uc_mcontext.__reserved;
    const unsigned char *end = next + sizeof(context->uc_mcontext.__reserved);

    if (axp_instruction(context) == address)
        return AXP_EXECUTE;
    for (; (size_t)(end - next) >= sizeof record; next += record.size) {
        __builtin_memcpy(&record, next, sizeof record);
        if (record.magic == SYNDROME) {
            uint64_t class = record.syndrome >> 26 & 0x3e; /* the lowest bit: of whom */

            if (class == FETCH)
                return AXP_EXECUTE;
            if (class != DATA)
                return 0;
            return (record.syndrome & (CACHE | WRITING)) == WRITING ? AXP_WRITE : AXP_READ;
        }
        if (record.magic == 0 || record.size == 0 || record.size > (size_t)(end - next))
            break;
    }
    return 0;
}

static inline const void *axp_registers(const ucontext_t *context, size_t *size_out)
{
    *size_out = offsetof(mcontext_t, __reserved);
    return &context->uc_mcontext;
}

static inline void axp_restore_float_control(const ucontext_t *context)
{
    (void)context;
}

#elif defined(__arm__)

static inline uintptr_t axp_stack_pointer(const ucontext_t *context)
{
    return (uintptr_t)context->uc_mcontext.arm_sp;
}

static inline uintptr_t axp_instruction(const ucontext_t *context)
{
    return (uintptr_t)context->uc_mcontext.arm_pc;
}

static inline uint32_t axp_access_of_fault(const ucontext_t *context, uintptr_t address)
{
    unsigned long status = context->uc_mcontext.error_code; /* never 0, but under an emulator */
    const unsigned long fetching = 1ul << 31, writing = 1ul << 11;

    if (status & fetching || axp_instruction(context) == address)
        return AXP_EXECUTE;
    if (status == 0)
        return 0;
    return status & writing ? AXP_WRITE : AXP_READ;
}

static inline const void *axp_registers(const ucontext_t *context, size_t *size_out)
{
    *size_out = sizeof(context->uc_mcontext);
    return &context->uc_mcontext;
}

static inline void axp_restore_float_control(const ucontext_t *context)
{
    (void)context;
}

#elif defined(__riscv)

static inline uintptr_t axp_stack_pointer(const ucontext_t *context)
{
    return (uintptr_t)context->uc_mcontext.__gregs[REG_SP];
}

static inline uintptr_t axp_instruction(const ucontext_t *context)
{
    return (uintptr_t)context->uc_mcontext.__gregs[REG_PC];
}

static inline uint32_t axp_access_of_fault(const ucontext_t *context, uintptr_t address)
{
    return axp_instruction(context) == address ? AXP_EXECUTE : 0;
}

static inline const void *axp_registers(const ucontext_t *context, size_t *size_out)
{
    *size_out = sizeof(context->uc_mcontext.__gregs);
    return context->uc_mcontext.__gregs;
}

static inline void axp_restore_float_control(const ucontext_t *context)
{
    (void)context;
}

#elif defined(__powerpc64__)

enum { AXP_POWER_STACK = 1, AXP_POWER_INSTRUCTION = 32, AXP_POWER_TRAP = 40, AXP_POWER_STATUS = 42 };

static inline uintptr_t axp_stack_pointer(const ucontext_t *context)
{
    return (uintptr_t)context->uc_mcontext.gp_regs[AXP_POWER_STACK];
}

static inline uintptr_t axp_instruction(const ucontext_t *context)
{
    return (uintptr_t)context->uc_mcontext.gp_regs[AXP_POWER_INSTRUCTION];
}

static inline uint32_t axp_access_of_fault(const ucontext_t *context, uintptr_t address)
{
    enum { DATA = 0x300, FETCH = 0x400, FETCH_SEGMENT = 0x480, WRITING = 0x2000000 };
    unsigned long trap = context->uc_mcontext.gp_regs[AXP_POWER_TRAP] & ~0xful;

    if (trap == FETCH || trap == FETCH_SEGMENT || axp_instruction(context) == address)
        return AXP_EXECUTE;
    if (trap != DATA)
        return 0;
    return context->uc_mcontext.gp_regs[AXP_POWER_STATUS] & WRITING ? AXP_WRITE : AXP_READ;
}

static inline const void *axp_registers(const ucontext_t *context, size_t *size_out)
{
    *size_out = sizeof(context->uc_mcontext.gp_regs);
    return context->uc_mcontext.gp_regs;
}

/* The kernel clears the status and control register for a handler. */
static inline void axp_restore_float_control(const ucontext_t *context)
{
    double control = context->uc_mcontext.fp_regs[32];

    __asm__ volatile("mtfsf 255, %0, 1, 0" : : "d"(control));
}

#elif defined(__s390x__)

static inline uintptr_t axp_stack_pointer(const ucontext_t *context)
{
    return (uintptr_t)context->uc_mcontext.gregs[15];
}

static inline uintptr_t axp_instruction(const ucontext_t *context)
{
    return (uintptr_t)context->uc_mcontext.psw.addr;
}

/* Of the address only the page is told. */
static inline uint32_t axp_access_of_fault(const ucontext_t *context, uintptr_t address)
{
    return axp_page_start(axp_instruction(context)) == axp_page_start(address) ? AXP_EXECUTE : 0;
}

static inline const void *axp_registers(const ucontext_t *context, size_t *size_out)
{
    *size_out = offsetof(mcontext_t, aregs);
    return &context->uc_mcontext;
}

static inline void axp_restore_float_control(const ucontext_t *context)
{
    (void)context;
}

#else
#undef AXP_LINUX_REGISTERS
#endif

#endif
