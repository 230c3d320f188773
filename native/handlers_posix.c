/* SPDX-License-Identifier: MIT */
/* handlers_posix.c: putting us on top of the signals' handlers, and telling who is there. */
#include "handlers_posix.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "action_posix.h"
#include "axptr.h"

static const int handled[] = {SIGSEGV, SIGBUS};
#define HANDLED (sizeof(handled) / sizeof(handled[0]))

static axp_chain chains[HANDLED];

/* Set while a fault that nobody resolved is to run again and kill; how often a look has seen it so. */
static _Atomic unsigned staying_off[HANDLED];

/* Looks, one for each thread and tick: if the process still lives after that many, it was not to die. */
#define LOOKS_OFF 1000

axp_chain *axp_chain_of(int signal)
{
    for (size_t i = 0; i < HANDLED; i++)
        if (handled[i] == signal)
            return &chains[i];
    return NULL;
}

/* The entries (chain_posix.h says what they are for). */
#define ENTRY(number)                                                          \
    static void on_signal_##number(int signal, siginfo_t *info, void *context) \
    {                                                                          \
        axp_on_signal(number, signal, info, context);                          \
    }
ENTRY(0)
ENTRY(1)
ENTRY(2)
ENTRY(3)
ENTRY(4)
ENTRY(5)
ENTRY(6)
ENTRY(7)

static void (*const entries[AXP_CHAIN_ENTRIES])(int signal, siginfo_t *info, void *context) = {
    on_signal_0, on_signal_1, on_signal_2, on_signal_3, on_signal_4, on_signal_5, on_signal_6, on_signal_7,
};

/* Which entry of ours an action is, or -1.  signal(), which puts back what it has returned, leaves SA_SIGINFO
 * out. */
static int entry_of(const struct sigaction *action)
{
    for (int entry = 0; entry < AXP_CHAIN_ENTRIES; entry++)
        if (action->sa_sigaction == entries[entry])
            return entry;
    return -1;
}

/* With the chain's lock held. */
static int put_on_top(int signal, unsigned entry, struct sigaction *replaced_out)
{
    struct sigaction ours;

    memset(&ours, 0, sizeof ours);
    ours.sa_sigaction = entries[entry];
    /* NODEFER: a second fault, after leaving by siglongjmp, must find the signal unblocked.  ONSTACK: as the
     * handlers below us. */
    ours.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
    return axp_set_action(signal, &ours, replaced_out);
}

/*
 * Puts us on top of whoever is.  Looked up before it is set: the look costs 75 ns, and a fault elsewhere must
 * never find us on top and the handler below not yet noted.
 */
static int take_over(int signal)
{
    axp_chain *chain = axp_chain_of(signal);
    struct sigaction top, replaced;
    sigset_t mask;
    int failed;

    if (sigaction(signal, NULL, &top) != 0)
        return -errno;
    if (entry_of(&top) == (int)atomic_load(&chain->latest) && axp_is_action_set_here(&top))
        return 0;
    if (!axp_chain_lock(chain, &mask))
        return -EAGAIN;
    failed = sigaction(signal, NULL, &top);
    if (failed == 0 && entry_of(&top) >= 0 && !axp_is_action_set_here(&top)) {
        failed =
            put_on_top(signal, (unsigned)entry_of(&top), &replaced); /* flags and mask are not ours either */
        if (failed == 0 && replaced.sa_handler != top.sa_handler)
            top = replaced;
    }
    while (failed == 0 && entry_of(&top) < 0) {
        failed = put_on_top(signal, axp_chain_push(chain, &top), &replaced);
        if (failed == 0 && replaced.sa_handler == top.sa_handler)
            break;
        top = replaced; /* somebody came between the look and this */
    }
    if (failed == 0 && entry_of(&top) >= 0)
        atomic_store(&chain->latest, (uint32_t)entry_of(&top));
    failed = failed == 0 ? 0 : -errno;
    axp_chain_unlock(chain, &mask);
    return failed;
}

int axp_go_back_on_top(unsigned entry, int called, int signal)
{
    axp_chain *chain = axp_chain_of(signal);
    struct sigaction top;
    sigset_t mask;

    if (sigaction(signal, NULL, &top) != 0 || top.sa_handler == SIG_DFL)
        return 0;
    if (entry_of(&top) >= 0)
        return 1;
    if (!axp_chain_try_lock(chain, &mask))
        return 0; /* whoever has it is doing the same */
    put_on_top(signal, axp_chain_cut(chain, entry, called, &top), NULL);
    axp_chain_unlock(chain, &mask);
    return 1;
}

static unsigned number_of(int signal)
{
    return (unsigned)(axp_chain_of(signal) - chains);
}

void axp_stay_off(int signal)
{
    atomic_store(&staying_off[number_of(signal)], 1);
}

/* Whether the signal is to be left to its default action, at a look by the way. */
static int is_staying_off(int signal)
{
    _Atomic unsigned *looks = &staying_off[number_of(signal)];

    if (atomic_load(looks) == 0)
        return 0;
    if (atomic_fetch_add(looks, 1) < LOOKS_OFF)
        return 1;
    atomic_store(looks, 0);
    return 0;
}

int axp_take_over(int asked_for)
{
    int failed = 0;
    sigset_t unblock;

    sigemptyset(&unblock);
    for (size_t i = 0; i < HANDLED; i++) {
        int result = 0;

        if (asked_for)
            atomic_store(&staying_off[i], 0);
        if (!is_staying_off(handled[i]))
            result = take_over(handled[i]);

        failed = failed ? failed : result;
        sigaddset(&unblock, handled[i]);
    }
    /* The kernel kills a thread that faults with the signal blocked, whatever the handler.  sigprocmask,
     * because pthread_sigmask would tie the binary to glibc 2.32; on every system we know it changes the
     * calling thread alone. */
    sigprocmask(SIG_UNBLOCK, &unblock, NULL);
    return failed;
}

int axp_handler_at(int signal, uint32_t depth, axp_handler *handler_out)
{
    axp_chain *chain = axp_chain_of(signal);
    struct sigaction top;
    struct sigaction at;

    if (chain == NULL)
        return -EINVAL;
    if (sigaction(signal, NULL, &top) != 0)
        return -errno;
    at = top;
    if (depth != 0
        && (entry_of(&top) < 0 || axp_chain_at(chain, (unsigned)entry_of(&top), depth - 1, 0, &at) < 0))
        return -ENOENT;
    *handler_out = (axp_handler){
        .address = at.sa_handler == SIG_IGN   ? 1
                   : at.sa_handler == SIG_DFL ? 0
                                              : (uintptr_t)at.sa_sigaction,
        .ours = entry_of(&at) >= 0 && at.sa_flags & SA_SIGINFO, /* else it is told nothing of the fault */
        .flags = at.sa_flags,
    };
    return 0;
}

int axp_symbol_at(uintptr_t address, axp_symbol *symbol_out)
{
    Dl_info info;

    memset(symbol_out, 0, sizeof *symbol_out);
#if defined(__arm__)
    address |= 1; /* as symbols of Thumb have it */
#endif
    if (dladdr((void *)address, &info) == 0)
        return 0;
    symbol_out->file_start = (uintptr_t)info.dli_fbase;
    snprintf(symbol_out->file, sizeof symbol_out->file, "%s", info.dli_fname ? info.dli_fname : "");
    if (info.dli_sname != NULL) {
        symbol_out->symbol_start = (uintptr_t)info.dli_saddr;
        snprintf(symbol_out->name, sizeof symbol_out->name, "%s", info.dli_sname);
    }
    return 0;
}
