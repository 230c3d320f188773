/* SPDX-License-Identifier: MIT */
/* handlers.c: handlers that were there first, and accesses that nobody guards, for which they are. */
#define _GNU_SOURCE
#include "hostile.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

sigjmp_buf hostile_landing;
static stack_t alternate;
static volatile uint64_t calls;
static volatile uint64_t wanted_calls;
static volatile sig_atomic_t enough;

uint64_t hostile_calls(void)
{
    return calls;
}

static int is_on_alternate_stack(void)
{
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);

    return here - (uintptr_t)alternate.ss_sp < alternate.ss_size;
}

static void say(const char *who, int signal, uintptr_t address, int code)
{
    char line[160];
    int size = snprintf(line, sizeof line, "%s signal=%d address=%#lx code=%d alternate=%d\n", who, signal,
                        (unsigned long)address, code, is_on_alternate_stack());

    if (write(1, line, (size_t)size) != size)
        _exit(99);
}

void hostile_report(int signal, siginfo_t *info, void *context)
{
    if (context == NULL)
        _exit(98);
    say("report", signal, (uintptr_t)info->si_addr, info->si_code);
    _exit(42);
}

void hostile_plain(int signal)
{
    say("plain", signal, 0, 0);
    _exit(43);
}

void hostile_once(int signal, siginfo_t *info, void *context)
{
    (void)context;
    say("once", signal, (uintptr_t)info->si_addr, info->si_code);
}

void hostile_jump(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    (void)info;
    (void)context;
    calls++;
    siglongjmp(hostile_landing, 1);
}

void hostile_fix(int signal, siginfo_t *info, void *context)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

    (void)signal;
    (void)context;
    calls++;
    if (mprotect((void *)((uintptr_t)info->si_addr & ~(page - 1)), page, PROT_READ | PROT_WRITE) != 0)
        _exit(97);
    enough = calls == wanted_calls;
}

void hostile_return(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    (void)info;
    (void)context;
    calls++;
}

void hostile_crash(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    (void)info;
    (void)context;
    calls++;
    *(volatile char *)16 = 1;
}

static struct sigaction below; /* the handler that "count" was put on top of */

/* Sees each signal that the handler below gets. */
void hostile_count(int signal, siginfo_t *info, void *context)
{
    calls++;
    below.sa_sigaction(signal, info, context);
}

static const struct {
    const char *name;
    void (*handler)(int signal, siginfo_t *info, void *context);
    int flags;
} kinds[] = {
    {"report", hostile_report, SA_SIGINFO | SA_ONSTACK},
    {"plain", (void (*)(int, siginfo_t *, void *))(void (*)(void))hostile_plain, SA_ONSTACK},
    {"once", hostile_once, SA_SIGINFO | (int)SA_RESETHAND},
    {"fix once", hostile_fix, SA_SIGINFO | (int)SA_RESETHAND},
    {"jump", hostile_jump, SA_SIGINFO | SA_NODEFER},
    {"fix", hostile_fix, SA_SIGINFO},
    {"return", hostile_return, SA_SIGINFO},
    {"crash", hostile_crash, SA_SIGINFO},
    {"count", hostile_count, SA_SIGINFO | SA_NODEFER | SA_ONSTACK},
};

int hostile_install(int signal, const char *kind)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (strcmp(kinds[i].name, kind) == 0) {
            struct sigaction action, replaced;
            int failed;

            memset(&action, 0, sizeof action);
            action.sa_sigaction = kinds[i].handler;
            action.sa_flags = kinds[i].flags;
            failed = sigaction(signal, &action, &replaced);
            if (kinds[i].handler == hostile_count && replaced.sa_sigaction != hostile_count)
                below = replaced;
            return failed;
        }
    return -1;
}

int hostile_alternate_stack(void)
{
    alternate.ss_size = 256 * 1024;
    alternate.ss_sp = malloc(alternate.ss_size);
    return sigaltstack(&alternate, NULL);
}

/* ---- Accesses that nobody guards. ---- */

void hostile_write(uintptr_t address)
{
    *(volatile char *)address = 1;
}

/* Faults and is repaired, a number of times with the very same registers: a runtime with a write barrier. */
void hostile_write_and_protect(uintptr_t page, size_t times)
{
    size_t size = (size_t)sysconf(_SC_PAGESIZE);

    wanted_calls = calls + times;
    while (!enough) {
        mprotect((void *)page, size, PROT_NONE);
        *(volatile char *)page = 1;
    }
    enough = 0;
}

/* Returns 1 if the handler "jump" took us out of a fault that happened at this depth of the stack. */
__attribute__((noinline)) int hostile_try(uintptr_t address, size_t depth)
{
    volatile char *room = __builtin_alloca(depth + 1);

    room[depth] = room[0] = 1;
    if (sigsetjmp(hostile_landing, 1) == 0) {
        *(volatile char *)address = 1;
        return 0;
    }
    return 1;
}

/* The same around a copy. */
int hostile_try_copy(copy_function copy, void *to, uintptr_t from, size_t size)
{
    if (sigsetjmp(hostile_landing, 1) == 0) {
        copy(to, from, size);
        return 0;
    }
    return 1;
}

/* Calls it deeper in the stack. */
__attribute__((noinline)) int hostile_copy_at_depth(copy_function copy, void *to, uintptr_t from, size_t size,
                                                    size_t depth)
{
    volatile char *room = __builtin_alloca(depth + 1);
    int result;

    room[depth] = room[0] = 1;
    result = copy(to, from, size);
    room[0] = room[depth];
    return result;
}
