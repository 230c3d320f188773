/* SPDX-License-Identifier: MIT */
/* context_windows.h: what the guard must know of a processor's state when an exception came. */
#ifndef AXP_CONTEXT_WINDOWS_H
#define AXP_CONTEXT_WINDOWS_H

#include <setjmp.h>
#include <stdint.h>
#include <windows.h>

#if !defined(__x86_64__)
#error "Windows is supported on x86-64 alone."
#endif

/* Where the stack of what was interrupted ends. */
static inline uintptr_t axp_stack_pointer(const CONTEXT *context)
{
    return context->Rsp;
}

/* The instruction that was interrupted. */
static inline uintptr_t axp_instruction(const CONTEXT *context)
{
    return context->Rip;
}

/*
 * Has the thread go on by calling a function that does not return, on the stack of whoever set the jump
 * buffer: all below that is abandoned, and after an overflow there is nothing further down.
 */
static inline void axp_go_on_by_calling(CONTEXT *context, void (*function)(void *argument), void *argument,
                                        jmp_buf landing)
{
    enum { BACKWARDS = 0x400 }; /* as a copy may have been going, and what is called must not */
    /* The callee's room for its arguments, and the return address that it expects to find on top. */
    enum { CALL_FRAME = 32 + 8 };

    context->EFlags &= ~(DWORD)BACKWARDS;
    context->Rsp = (((const _JUMP_BUFFER *)landing)->Rsp & ~(DWORD64)15) - CALL_FRAME;
    context->Rip = (DWORD64)(uintptr_t)function;
    context->Rcx = (DWORD64)(uintptr_t)argument;
}

/* What of the floating-point state a function must leave as it was: control, exceptions, and that the x87's
 * registers are free. */
typedef struct axp_float_state {
    uint32_t x87[7];
    uint32_t mxcsr;
} axp_float_state;

/* The C library's fegetenv() has no notion of the registers. */
static inline void axp_save_floats(axp_float_state *state)
{
    __asm__ volatile("fnstenv %0\n\tfldenv %0" : "+m"(state->x87)); /* fnstenv has masked every exception */
    __asm__ volatile("stmxcsr %0" : "=m"(state->mxcsr));
}

static inline void axp_restore_floats(const axp_float_state *state)
{
    __asm__ volatile("fldenv %0" : : "m"(state->x87));
    __asm__ volatile("ldmxcsr %0" : : "m"(state->mxcsr));
}

#endif
