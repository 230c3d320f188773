/* SPDX-License-Identifier: MIT */
/* call.c: calling foreign functions, of which only ctypes knows what they take. */
#include <errno.h>

#include "call_convention.h"
#include "guard.h"
#include "instruction.h"

/*
 * A caller takes as many arguments of each kind as there may be, and hands them on as it found them: those
 * that nobody passed are registers, and stack of whoever called us, that the function does not look at.  A
 * word has 64 bits also where an address has 32: two arguments, or one of 64 bits, which stays aligned.
 */
#define PARAMETERS                                                                                          \
    uint64_t w0, uint64_t w1, uint64_t w2, uint64_t w3, uint64_t w4, uint64_t w5, uint64_t w6, uint64_t w7, \
        uint64_t w8, uint64_t w9, uint64_t w10, uint64_t w11, uint64_t w12, uint64_t w13, uint64_t w14,     \
        uint64_t w15, double f0, double f1, double f2, double f3, double f4, double f5, double f6, double f7
#define WORDS w0, w1, w2, w3, w4, w5, w6, w7, w8, w9, w10, w11, w12, w13, w14, w15
#define FLOATS f0, f1, f2, f3, f4, f5, f6, f7

enum { WORD_COUNT = 16, FLOAT_COUNT = 8 };

#define FUNCTION_OF(type) type (*)(PARAMETERS AXP_DOTS)

typedef struct call_attempt {
    axp_attempt attempt; /* first: run() gets a pointer to it */
    uint64_t words[WORD_COUNT];
    double floats[FLOAT_COUNT];
    int error; /* errno as the function finds it, and leaves it */
    union {
        uint64_t word;
        float single;
        double floating;
        long double extended;
    } result;
} call_attempt;

/* What a fault attempted, where the processor does not say: what its instruction does, or, of what can be
 * read, a write. */
static uint32_t access_of(const axp_fault *fault, uintptr_t instruction)
{
    size_t accessible = 0;
    uint32_t held = axp_injection_held();
    uint32_t access = fault->access;

    if (access == 0 && instruction != 0)
        access = axp_access_of_instruction(instruction);
    if (access != 0)
        return access;
    axp_hold_injection(1);
    axp_probe_read((uintptr_t)fault->address, 1, &accessible);
    axp_hold_injection(held);
    return accessible != 0 ? AXP_WRITE : AXP_READ;
}

static void perform(call_attempt *call, axp_call *described, void (*run)(axp_attempt *attempt))
{
    axp_prepare(&call->attempt, 0, UINTPTR_MAX, 0, run);
    call->attempt.call = described;
    described->instruction = 0;
    described->entered = described->entries != 0 ? *(const int *)described->entries : 0;
    described->failed = axp_guarded_call(&call->attempt);
    if (described->failed == -EFAULT) {
        described->fault = call->attempt.fault;
        described->fault.access = access_of(&described->fault, (uintptr_t)described->instruction);
    }
    errno = call->error;
}

/* The sanitizers know no function of this type, which takes whatever there is. */
#define CALLER(name, type, member)                                                                           \
    static __attribute__((no_sanitize("undefined"))) void run_##name(axp_attempt *attempt)                   \
    {                                                                                                        \
        call_attempt *call = (call_attempt *)attempt;                                                        \
        uintptr_t address = attempt->call->function;                                                         \
        __typeof__(FUNCTION_OF(type)) function = (FUNCTION_OF(type))AXP_ENTRY_OF(address);                   \
        const uint64_t *w = call->words;                                                                     \
        const double *f = call->floats;                                                                      \
                                                                                                             \
        errno = call->error;                                                                                 \
        call->result.member =                                                                                \
            AXP_INVOKE(function(w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7], w[8], w[9], w[10], w[11],    \
                                w[12], w[13], w[14], w[15], f[0], f[1], f[2], f[3], f[4], f[5], f[6], f[7]), \
                       address);                                                                             \
        call->error = errno;                                                                                 \
    }                                                                                                        \
    static type call_##name(uint64_t described, PARAMETERS)                                                  \
    {                                                                                                        \
        call_attempt call = {.words = {WORDS}, .floats = {FLOATS}, .error = errno};                          \
                                                                                                             \
        perform(&call, (axp_call *)(uintptr_t)described, run_##name);                                        \
        return call.result.member;                                                                           \
    }

CALLER(word, uint64_t, word)
CALLER(float, float, single)
CALLER(double, double, floating)
CALLER(long_double, long double, extended)

int axp_caller_of(uint32_t result, axp_caller *caller_out)
{
    const uintptr_t callers[] = {
        [AXP_RESULT_WORD] = (uintptr_t)call_word,
        [AXP_RESULT_FLOAT] = (uintptr_t)call_float,
        [AXP_RESULT_DOUBLE] = (uintptr_t)call_double,
        [AXP_RESULT_LONG_DOUBLE] = (uintptr_t)call_long_double,
    };

    if (result >= sizeof callers / sizeof callers[0])
        return -EINVAL;
    *caller_out = (axp_caller){
        .address = callers[result],
        .arguments = WORD_COUNT,
        .floats = AXP_FLOATS_PASSED,
        .variadic = AXP_FLOATS_FOUND,
    };
    return 0;
}
