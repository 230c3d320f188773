/* SPDX-License-Identifier: MIT */
/* interruptions.c: signal handlers that interrupt a guarded access. */
#define _GNU_SOURCE
#include "hostile.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>

static int (*is_accessing)(void);
static copy_function nested_copy;
static uintptr_t nested_address;
static volatile sig_atomic_t nested_wrong;
static volatile sig_atomic_t nested_count;

static void on_alarm_fault(int signal)
{
    (void)signal;
    if (is_accessing())
        *(volatile char *)nested_address = 1;
}

static void on_alarm_copy(int signal)
{
    char buffer[32];
    int saved_errno = errno;

    (void)signal;
    if (!is_accessing())
        return;
    if (nested_copy(buffer, nested_address, sizeof buffer) != -EFAULT)
        nested_wrong++;
    nested_count++;
    errno = saved_errno;
}

static void on_alarm_recover(int signal)
{
    int saved_errno = errno;

    (void)signal;
    if (!is_accessing())
        return;
    if (sigsetjmp(hostile_landing, 1) == 0)
        *(volatile char *)nested_address = 1;
    nested_count++;
    errno = saved_errno;
}

static int start_alarms(void (*handler)(int), int microseconds)
{
    struct sigaction action;
    struct itimerval interval = {{0, microseconds}, {0, microseconds}};

    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    action.sa_flags = SA_RESTART;
    if (sigaction(SIGALRM, &action, NULL) != 0)
        return -1;
    return setitimer(ITIMER_REAL, &interval, NULL);
}

/* From now on an alarm that interrupts a guarded access touches an address by itself ... */
int hostile_alarm_faults(int (*accessing)(void), uintptr_t address, int microseconds)
{
    is_accessing = accessing;
    nested_address = address;
    return start_alarms(on_alarm_fault, microseconds);
}

/* ... or copies from it, guarded. */
int hostile_alarm_copies(int (*accessing)(void), copy_function copy, uintptr_t address, int microseconds)
{
    is_accessing = accessing;
    nested_copy = copy;
    nested_address = address;
    return start_alarms(on_alarm_copy, microseconds);
}

/* ... or touches it and recovers with the handler "jump", as a profiler that walks the stack does. */
int hostile_alarm_recovers(int (*accessing)(void), uintptr_t address, int microseconds)
{
    is_accessing = accessing;
    nested_address = address;
    return start_alarms(on_alarm_recover, microseconds);
}

int hostile_stop_alarms(void)
{
    struct itimerval never = {{0, 0}, {0, 0}};

    return setitimer(ITIMER_REAL, &never, NULL);
}

int hostile_nested_count(void)
{
    return nested_count;
}

int hostile_nested_wrong(void)
{
    return nested_wrong;
}
