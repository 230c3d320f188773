/* SPDX-License-Identifier: MIT */
/* callee_posix.c: what guarded calls call that has to do with signals and threads. */
#define _GNU_SOURCE
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>

#include "callee.h"

/* ---- What surrounds a call. ---- */

void note_surroundings(surroundings *out)
{
    sigset_t mask;
    stack_t stack;

    note_floats(out);
    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    for (int signal = 1; signal <= 64; signal++)
        out->mask |= (uint64_t)(sigismember(&mask, signal) == 1) << (signal - 1);
    sigaltstack(NULL, &stack);
    out->stack = stack.ss_sp;
    out->stack_size = stack.ss_size;
    out->stack_flags = stack.ss_flags;
}

int put_up_stack(void *start, size_t size, int flags)
{
    stack_t stack = {.ss_sp = start, .ss_size = size, .ss_flags = flags};

    return sigaltstack(&stack, NULL);
}

int block_signal(int signal)
{
    sigset_t mask;

    sigemptyset(&mask);
    sigaddset(&mask, signal);
    return pthread_sigmask(SIG_BLOCK, &mask, NULL);
}

int unblock_signal(int signal)
{
    sigset_t mask;

    sigemptyset(&mask);
    sigaddset(&mask, signal);
    return pthread_sigmask(SIG_UNBLOCK, &mask, NULL);
}

static char own_stack[128 * 1024];

/* Changes everything that a thread has of its own, and then reads. */
int change_all(const volatile int *address)
{
    block_signal(SIGUSR2);
    put_up_stack(own_stack, sizeof own_stack, 0);
    return change_floats(address);
}

int shrink_stack(const volatile int *address)
{
    stack_t stack;

    sigaltstack(NULL, &stack);
    stack.ss_size -= 4096;
    sigaltstack(&stack, NULL);
    return *address;
}

int block_and_read(int signal, const volatile int *address)
{
    block_signal(signal);
    return *address;
}

/* ---- Other threads. ---- */

static void *read_in_thread(void *address)
{
    return (void *)(intptr_t)*(volatile int *)address;
}

int read_in_another_thread(void *address)
{
    pthread_t thread;

    pthread_create(&thread, NULL, read_in_thread, address);
    pthread_join(thread, NULL);
    return 0;
}

/* ---- Recovering by itself. ---- */

static sigjmp_buf fault_landing;

static void recover(int signal)
{
    siglongjmp(fault_landing, signal);
}

int recover_by_itself(const volatile int *address)
{
    struct sigaction action = {.sa_handler = recover}, before;
    volatile int caught = 0;

    sigaction(SIGSEGV, &action, &before);
    caught = sigsetjmp(fault_landing, 1);
    if (caught == 0)
        caught = -*address;
    sigaction(SIGSEGV, &before, NULL);
    return caught;
}

static volatile sig_atomic_t alarms;

static void count_alarm(int signal)
{
    (void)signal;
    alarms++;
}

/* Runs until as many signals have come, and then reads. */
int await_signals(int signal, int count, const volatile int *address)
{
    struct sigaction action = {.sa_handler = count_alarm}, before;

    alarms = 0;
    sigaction(signal, &action, &before);
    while (alarms < count)
        raise(signal);
    sigaction(signal, &before, NULL);
    return address == NULL ? alarms : *address;
}
