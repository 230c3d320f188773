/* SPDX-License-Identifier: MIT */
/* callee.c: what guarded calls call: functions that take, return, change and break things. */
#include "callee.h"

#include <errno.h>
#include <fenv.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <wchar.h>

/* ---- Arguments and results. ---- */

#define IDENTITY(name, type)     \
    type same_##name(type value) \
    {                            \
        return value;            \
    }
IDENTITY(bool, bool)
IDENTITY(char, char)
IDENTITY(wchar, wchar_t)
IDENTITY(int8, int8_t)
IDENTITY(uint8, uint8_t)
IDENTITY(int16, int16_t)
IDENTITY(uint16, uint16_t)
IDENTITY(int32, int32_t)
IDENTITY(uint32, uint32_t)
IDENTITY(int64, int64_t)
IDENTITY(uint64, uint64_t)
IDENTITY(pointer, void *)
IDENTITY(float, float)
IDENTITY(double, double)

long double half_of(double value)
{
    return (long double)value / 2;
}

void record_words(uint64_t *out, uint64_t w0, uint64_t w1, uint64_t w2, uint64_t w3, uint64_t w4, uint64_t w5,
                  uint64_t w6, uint64_t w7, uint64_t w8, uint64_t w9, uint64_t w10, uint64_t w11,
                  uint64_t w12, uint64_t w13, uint64_t w14)
{
    uint64_t words[] = {w0, w1, w2, w3, w4, w5, w6, w7, w8, w9, w10, w11, w12, w13, w14};

    memcpy(out, words, sizeof words);
}

void record_mixed(double *out, double f0, int8_t w0, float f1, int64_t w1, double f2, uint16_t w2, double f3,
                  int32_t w3, double f4, uint64_t w4, double f5, int64_t w5, float f6, int8_t w6, double f7)
{
    double values[] = {f0, (double)w0, (double)f1, (double)w1, f2,         (double)w2, f3, (double)w3,
                       f4, (double)w4, f5,         (double)w5, (double)f6, (double)w6, f7};

    memcpy(out, values, sizeof values);
}

double sum_of_doubles(int count, ...)
{
    va_list values;
    double sum = 0;

    va_start(values, count);
    for (int i = 0; i < count; i++)
        sum += va_arg(values, double);
    va_end(values);
    return sum;
}

/* ---- Faults. ---- */

int read_at(const volatile int *address)
{
    return *address;
}

void write_at(volatile int *address)
{
    *address = 1;
}

/* Loads at read_first_load, and nowhere else. */
#if defined(__x86_64__) && defined(_WIN32)
__asm__(".text\n\t"
        ".globl read_first, read_first_load\n"
        "read_first:\n\t"
        "nop\n"
        "read_first_load:\n\t"
        "movl (%rcx), %eax\n\t"
        "ret");
#elif defined(__x86_64__)
__asm__(".pushsection .text\n\t"
        ".globl read_first, read_first_load\n\t"
        ".type read_first, @function\n"
        "read_first:\n\t"
        "nop\n"
        "read_first_load:\n\t"
        "movl (%rdi), %eax\n\t"
        "ret\n\t"
        ".size read_first, . - read_first\n\t"
        ".popsection");
#endif

static __attribute__((noinline, noclone)) int read_deeper(const volatile int *address, int depth)
{
    return depth == 0 ? *address : read_deeper(address, depth - 1) + depth;
}

int read_at_depth(const volatile int *address, int depth)
{
    return read_deeper(address, depth);
}

void copy(void *to, const void *from, size_t size)
{
    memcpy(to, from, size);
}

void jump_to(void (*function)(void))
{
    function();
}

static volatile int bottom;

int recurse(int depth)
{
    volatile char frame[512];

    frame[0] = (char)depth;
    if (depth != bottom)
        frame[1] = (char)recurse(depth + 1);
    return frame[0] + frame[1];
}

int overflow_stack(void)
{
    bottom = -1;
    return recurse(0);
}

int load_vector(const void *address)
{
#if defined(__x86_64__)
    __asm__ volatile("movaps (%0), %%xmm0" : : "r"(address) : "xmm0");
#endif
    return 1;
}

/* ---- What surrounds a call. ---- */

void note_floats(surroundings *out)
{
    memset(out, 0, sizeof *out);
    out->rounding = fegetround();
    out->exceptions = fetestexcept(FE_ALL_EXCEPT);
#if defined(__x86_64__)
    struct {
        uint16_t control, unused1, status, unused2, tag, unused3;
        uint32_t others[4];
    } environment;

    __asm__ volatile("fnstenv %0\n\tfldenv %0" : "+m"(environment));
    __asm__ volatile("stmxcsr %0" : "=m"(out->mxcsr));
    out->x87_control = environment.control;
    out->x87_tag = environment.tag;
#endif
}

int round_upward(void)
{
    return fesetround(FE_UPWARD);
}

int round_to_nearest(void)
{
    return fesetround(FE_TONEAREST);
}

/* Changes all about floats that a thread has of its own, and then reads. */
int change_floats(const volatile int *address)
{
    fesetround(FE_UPWARD);
    feraiseexcept(FE_ALL_EXCEPT);
    errno = ENOTTY;
#if defined(__x86_64__)
    __asm__ volatile("fld1\n\tfld1\n\tfld1\n\tfld1\n\tfld1\n\tfld1\n\tfld1\n\tfld1\n\tstd\n\t"
                     "movl (%0), %%eax\n\tcld\n\tfninit"
                     :
                     : "r"(address)
                     : "rax", "cc", "memory");
#endif
    return *address;
}

int set_errno(int value)
{
    int before = errno;

    errno = value;
    return before;
}

int set_errno_and_read(int value, const volatile int *address)
{
    errno = value;
    return *address;
}

/* ---- Calling others. ---- */

int call_with_three(int (*function)(uintptr_t, uintptr_t, uintptr_t), uintptr_t a, uintptr_t b, uintptr_t c)
{
    return function(a, b, c) + 1000;
}

static int (*remembered)(int);

void remember(int (*function)(int))
{
    remembered = function;
}

int call_remembered(int value)
{
    return remembered(value) + 1;
}

int call_remembered_and_read(int value, const volatile int *address)
{
    return remembered(value) + *address;
}

/* ---- Jumping by itself. ---- */

static jmp_buf landing;

int jump_back(int value)
{
    int result = setjmp(landing);

    if (result == 0)
        longjmp(landing, value);
    return result;
}
