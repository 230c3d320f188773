/* SPDX-License-Identifier: MIT */
/* pass_posix.c: passing on what is not ours.  All of it runs inside the handler: no locks, no allocation, no
 * stdio. */
#include <errno.h>
#include <string.h>

#include "context.h"
#include "guard.h"
#include "handlers_posix.h"
#include "instruction.h"
#include "thread.h"

/* How often a handler below may return from the same fault, or fault itself, before the one below it is
 * asked. */
#define REPEATS_GIVEN 12

/* How often in a row a fault is taken for resolved because its instruction looks like a load: it may be one
 * that nobody knew when this was written, and store. */
#define LOADS_BELIEVED 10000

/* What two libraries that call each other in turn leave of an alternate stack for the handler below them
 * both: faulthandler, with the signal that it raises, needs 6 KiB.  What lies below such a stack is often the
 * heap. */
#define STACK_LEFT (8 * 1024)

/* No handler that we call uses more stack than this. */
#define PASSING_STACK (256 * 1024)

/* A call of a handler below us. */
typedef struct passing {
    int signal;      /* 0: there is none */
    unsigned asked;  /* the slots of the handlers that were asked so far, a bit each: nobody is asked twice */
    uintptr_t stack; /* where we stood */
    const siginfo_t *info; /* what it was called with */
    const ucontext_t *context;
    uint64_t registers; /* those in the context, hashed */
    const void *attempt;
} passing;

static AXP_THREAD_LOCAL struct {
    passing passed; /* the latest call of a handler below us: under way, or left by longjmp */

    uint64_t unresolved; /* the latest fault, hashed, whose handler below returned and had resolved nothing */
    unsigned repeats;    /* how often in a row */
    uint64_t believed;   /* the latest fault, hashed, whose instruction was believed to be a load */
    unsigned beliefs;    /* how often in a row */
    unsigned refaults;   /* faults inside a handler below, in a row */
} thread;

int axp_is_fault(const siginfo_t *info, const void *context)
{
#if defined(BUS_MCEERR_AO)
    /* Memory went bad somewhere and nothing has touched it yet. */
    if (info->si_signo == SIGBUS && info->si_code == BUS_MCEERR_AO)
        return 0;
#endif
    return axp_is_raised_by_processor(info, context);
}

/* Whether the handler that we called calls us directly, as the one that it keeps below it, with the signal
 * that we gave it. */
static int is_called_directly(const siginfo_t *info, uintptr_t here)
{
    return thread.passed.signal != 0 && here < thread.passed.stack && info == thread.passed.info;
}

int axp_is_on_alternate_stack(const void *interrupted, uintptr_t address)
{
    const ucontext_t *context = interrupted;
    stack_t stack = context->uc_stack;
    uintptr_t start;

#if defined(__APPLE__) /* which puts the signal's frame there */
    if (sigaltstack(NULL, &stack) != 0)
        return 0;
#endif
    start = (uintptr_t)stack.ss_sp;
    return !((unsigned)stack.ss_flags & SS_DISABLE) && address >= start && address - start < stack.ss_size;
}

/*
 * Whether the handler that we called was interrupted: it raised the signal again, or faulted.  A handler may
 * have left by longjmp: its frames are live only if they lie between the mark and us, and what it was called
 * with is still where it was.  That may even so be the leftover of a stack that was not written to since, so
 * nothing that costs a life may hang on it once.  On an alternate stack there are handlers only; one that is
 * full is begun anew, at the top.
 */
static int is_inside(const ucontext_t *context, uintptr_t here)
{
    const passing *passed = &thread.passed;

    if (passed->signal == 0)
        return 0;
    if (axp_is_on_alternate_stack(context, axp_stack_pointer(context))
        && axp_is_on_alternate_stack(context, passed->stack))
        return 1;
    return here < passed->stack && passed->stack - here <= PASSING_STACK
           && axp_registers_hash(passed->context) == passed->registers;
}

int axp_is_passed_over(const void *attempt, const siginfo_t *info, const void *context, uintptr_t here)
{
    return attempt == thread.passed.attempt && (is_called_directly(info, here) || is_inside(context, here));
}

/* By the default action: for a fault the instruction runs again, so that the core dump shows it and not us.
 */
static void die(int signal, int fault)
{
    struct sigaction action;

    memset(&action, 0, sizeof action);
    action.sa_handler = SIG_DFL;
    axp_stay_off(signal);
    sigaction(signal, &action, NULL);
    if (!fault)
        raise(signal);
}

/* How many handlers to pass over, and, in the mark, which ones have been asked: those that call us now, or
 * are of no use. */
static unsigned handlers_to_skip(int signal, const siginfo_t *info, const ucontext_t *context, uint64_t fault,
                                 uintptr_t here)
{
    int direct = is_called_directly(info, here);
    int inside = is_inside(context, here);
    unsigned skip = 0;

    if ((!direct && !inside) || thread.passed.signal != signal)
        thread.passed.signal = 0;
    if (!direct && inside && fault != 0) {
        /* Its own fault, which it may know what to do about: it is asked again, though not for ever. */
        thread.passed.asked = 0;
        skip = ++thread.refaults / REPEATS_GIVEN;
    } else if (!direct) {
        thread.refaults = 0;
    }
    if (thread.passed.signal == 0)
        thread.passed.asked = 0;
    if (fault != 0 && fault == thread.unresolved)
        skip += thread.repeats / REPEATS_GIVEN;
    return skip;
}

static int is_short_of_stack(const ucontext_t *context, uintptr_t here)
{
    return axp_is_on_alternate_stack(context, here) && !axp_is_on_alternate_stack(context, here - STACK_LEFT);
}

static uint32_t access_believed(const ucontext_t *context, uint64_t fault)
{
    uint32_t access = axp_access_of_instruction(axp_instruction(context));

    if (access != AXP_READ)
        return access;
    thread.beliefs = fault == thread.believed ? thread.beliefs + 1 : 1;
    thread.believed = fault;
    return thread.beliefs <= LOADS_BELIEVED ? AXP_READ : AXP_WRITE;
}

/* Whether a handler that returned has done something about a fault: moved the registers, or mended the
 * memory. */
static int is_resolved(const siginfo_t *info, const ucontext_t *context, uint64_t registers, uint64_t fault)
{
    uintptr_t address = (uintptr_t)info->si_addr;
    size_t accessible = 0;
    uint32_t held = axp_injection_held();
    uint32_t access = axp_access_of_fault(context, address);

    if (axp_registers_hash(context) != registers)
        return 1;
#if !defined(__APPLE__) /* whose code says nothing */
    if (info->si_signo == SIGBUS && info->si_code == BUS_ADRALN)
        return 0; /* no memory was to blame */
#endif
    axp_hold_injection(1);
    if (access == 0)
        access = access_believed(context, fault);
    if (access == AXP_READ)
        axp_probe_read(address, 1, &accessible);
    else if (access != AXP_EXECUTE) /* also where nobody knows: what can be written to can be read */
        axp_probe_write(address, 1, &accessible);
    axp_hold_injection(held);
    return accessible != 0;
}

void axp_pass_on(unsigned entry, int signal, siginfo_t *info, void *context, const void *attempt)
{
    int is_fault = axp_is_fault(info, context);
    uint64_t registers = axp_registers_hash(context);
    uint64_t fault = is_fault ? registers ^ (uintptr_t)info->si_addr : 0;
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    unsigned skip = handlers_to_skip(signal, info, context, fault, here);
    axp_chain *chain = axp_chain_of(signal);
    passing outer = thread.passed;
    struct sigaction below;
    int slot = axp_chain_at(chain, entry, skip, outer.asked, &below);

    if (slot < 0 || below.sa_handler == SIG_DFL || (outer.signal != 0 && is_short_of_stack(context, here))) {
        die(signal, is_fault);
        return;
    }
    if (below.sa_handler == SIG_IGN) {
        if (is_fault) /* as the kernel does: a fault cannot be ignored */
            die(signal, is_fault);
        return;
    }
    thread.passed = (passing){
        .signal = signal,
        .asked = outer.asked | 1u << slot,
        .stack = here,
        .info = info,
        .context = context,
        .registers = registers,
        .attempt = attempt,
    };
    axp_chain_called(chain, slot, &below);
    if (below.sa_flags & SA_SIGINFO)
        below.sa_sigaction(signal, info, context);
    else
        below.sa_handler(signal);
    thread.passed = outer;
    /* Without us on top nobody counts.  If the default action is, somebody has decided that this ends. */
    if (!is_fault || !axp_go_back_on_top(entry, slot, signal))
        return;
    if (is_resolved(info, context, registers, fault)) {
        thread.repeats = 0;
    } else if (fault != thread.unresolved) {
        thread.unresolved = fault;
        thread.repeats = 1;
    } else {
        thread.repeats++;
    }
}
