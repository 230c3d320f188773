/* SPDX-License-Identifier: MIT */
/* guard_posix.c: the guard by SIGSEGV, SIGBUS and sigsetjmp. */
#include <dlfcn.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "chain_posix.h"
#include "context.h"
#include "guard.h"
#include "page.h"
#include "thread.h"

/* Advances with the timer interrupt and is read without a system call. */
#if defined(CLOCK_MONOTONIC_COARSE)
#define COARSE_CLOCK CLOCK_MONOTONIC_COARSE
#elif defined(CLOCK_MONOTONIC_FAST)
#define COARSE_CLOCK CLOCK_MONOTONIC_FAST
#elif defined(CLOCK_MONOTONIC_RAW_APPROX)
#define COARSE_CLOCK CLOCK_MONOTONIC_RAW_APPROX
#else
#define COARSE_CLOCK CLOCK_MONOTONIC
#endif

/* Where an attempt is left from inside the handler.  It lives on the attempt's own stack: thread-local
 * storage is scarce. */
typedef struct guard_frame {
    sigjmp_buf landing;
    axp_attempt *attempt;
    struct guard_frame *previous;
    volatile sig_atomic_t sent; /* a signal that is no fault and came while the attempt was open */
} guard_frame;

static AXP_THREAD_LOCAL struct {
    guard_frame *volatile innermost;
    uint64_t tick; /* of the latest look at who is on top; 0: this thread never looked */

    uint64_t repeated; /* the latest fault that was passed on, hashed, and how often in a row */
    unsigned repeats;

    uintptr_t passing_stack; /* where we stood when we passed a signal on, and how far down the chain */
    unsigned passing_depth;
} thread;

static const int handled[] = {SIGSEGV, SIGBUS};
#define HANDLED (sizeof(handled) / sizeof(handled[0]))

static axp_chain chains[HANDLED];

static void on_signal(int signal, siginfo_t *info, void *context);

static axp_chain *chain_of(int signal)
{
    for (size_t i = 0; i < HANDLED; i++)
        if (handled[i] == signal)
            return &chains[i];
    return NULL;
}

/* ---- Inside the handler: no locks, no allocation, no stdio, and errno as it was. ---- */

/* A runtime that resolves faults makes progress; a handler that returns without having done anything never
 * will. */
#define REPEATS_GIVEN 12

/* How far below our frame a handler that we called may call us again.  Further away, the mark is a leftover
 * of a handler that left by longjmp. */
#define PASSING_STACK (256 * 1024)

static int is_in_span(const axp_span *span, uintptr_t address)
{
    if (span->size == 0)
        return 0;
    return axp_page_start(address) >= axp_page_start(span->start)
           && axp_page_start(address) <= axp_page_start(span->start + (span->size - 1));
}

static int leaves_canonical(const axp_span *span)
{
    return span->size != 0 && axp_leaves_canonical(span->start, span->start + (span->size - 1));
}

/* Raised by the processor for the instruction that was interrupted, as against sent by somebody. */
static int is_fault(const siginfo_t *info)
{
#if defined(BUS_MCEERR_AO)
    /* Memory went bad somewhere and nothing has touched it yet. */
    if (info->si_signo == SIGBUS && info->si_code == BUS_MCEERR_AO)
        return 0;
#endif
    return info->si_code > 0;
}

static uint32_t reason_of(const siginfo_t *info)
{
#if defined(SI_KERNEL)
    if (info->si_code == SI_KERNEL)
        return AXP_NOT_CANONICAL;
#endif
    if (info->si_signo == SIGSEGV)
        return info->si_code == SEGV_MAPERR ? AXP_NOT_MAPPED : AXP_NOT_PERMITTED;
    switch (info->si_code) {
    case BUS_ADRALN:
        return AXP_MISALIGNED;
    case BUS_ADRERR:
        return AXP_BEYOND_END;
    default:
        return AXP_HARDWARE;
    }
}

/* The span that the fault lies in, or NULL.  The flag "an attempt is open" alone would also take the faults
 * of a signal handler that interrupted the attempt. */
static const axp_span *span_of_fault(const axp_attempt *attempt, const siginfo_t *info, uint32_t reason)
{
    uintptr_t address = (uintptr_t)info->si_addr;

    /* x86 says neither where nor, for an address based on the frame pointer, with the usual signal: #SS
     * arrives as SIGBUS. */
    if (reason == AXP_NOT_CANONICAL) {
        if (leaves_canonical(&attempt->span))
            return &attempt->span;
        return leaves_canonical(&attempt->other) ? &attempt->other : NULL;
    }
    if (is_in_span(&attempt->span, address))
        return &attempt->span;
    return is_in_span(&attempt->other, address) ? &attempt->other : NULL;
}

/* Returns only if the fault is not the attempt's. */
static void leave_attempt(guard_frame *frame, const siginfo_t *info, const ucontext_t *context)
{
    axp_attempt *attempt = frame->attempt;
    uint32_t reason = reason_of(info);
    const axp_span *span = span_of_fault(attempt, info, reason);
    uintptr_t first_bad;

    if (span == NULL)
        return;
    first_bad = span->start + (span == &attempt->span ? attempt->done : 0);
    if (reason != AXP_NOT_CANONICAL && axp_page_start((uintptr_t)info->si_addr) > first_bad)
        first_bad = axp_page_start((uintptr_t)info->si_addr);
    attempt->fault = (axp_fault){
        .address = first_bad,
        .transferred = attempt->done,
        .access = span->access,
        .reason = reason,
        .signal = info->si_signo,
        .code = info->si_code,
    };
    thread.repeats = 0;
    axp_restore_float_control(context);
    siglongjmp(frame->landing, 1);
}

/* The same fault with the same registers, counted: 0 for the first one. */
static unsigned count_repeats(const siginfo_t *info, const ucontext_t *context)
{
    uint64_t fault = axp_registers_hash(context) ^ (uintptr_t)info->si_addr;

    if (fault != thread.repeated || thread.repeats == 0) {
        thread.repeated = fault;
        thread.repeats = 1;
    } else {
        thread.repeats++;
    }
    return thread.repeats - 1;
}

/* By the default action: for a fault the instruction runs again, so that the core dump shows it and not us.
 */
static void die(int signal, int fault)
{
    struct sigaction action;

    memset(&action, 0, sizeof action);
    action.sa_handler = SIG_DFL;
    sigaction(signal, &action, NULL);
    if (!fault)
        raise(signal);
}

/* A chain ends in death, never in a hang: it may lead back to us, or into a handler that returns and has done
 * nothing. */
static void pass_on(int signal, siginfo_t *info, void *context)
{
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    uintptr_t outer_stack = thread.passing_stack;
    unsigned outer_depth = thread.passing_depth;
    guard_frame *suspended = thread.innermost;
    int fault = is_fault(info);
    unsigned depth = 0;
    struct sigaction below;

    if (outer_depth != 0 && here < outer_stack && outer_stack - here < PASSING_STACK)
        depth = outer_depth;
    else if (fault)
        depth = count_repeats(info, context) / REPEATS_GIVEN;

    if (!axp_chain_at(chain_of(signal), depth, &below) || below.sa_handler == SIG_DFL) {
        die(signal, fault);
        return;
    }
    if (below.sa_handler == SIG_IGN) {
        if (fault) /* as the kernel does: a fault cannot be ignored */
            die(signal, fault);
        return;
    }
    if ((unsigned)below.sa_flags & SA_RESETHAND) {
        struct sigaction reset = below;

        reset.sa_handler = SIG_DFL;
        reset.sa_flags = 0;
        sigaction(signal, &reset, NULL);
    }
    thread.passing_stack = here;
    thread.passing_depth = depth + 1;
    thread.innermost = NULL; /* what happens in there is not the attempt's */
    if (below.sa_flags & SA_SIGINFO)
        below.sa_sigaction(signal, info, context);
    else
        below.sa_handler(signal);
    thread.innermost = suspended;
    thread.passing_stack = outer_stack;
    thread.passing_depth = outer_depth;
}

static void on_signal(int signal, siginfo_t *info, void *context)
{
    guard_frame *frame = thread.innermost;
    int saved_errno = errno;

    if (frame != NULL) {
        if (is_fault(info)) {
            leave_attempt(frame, info, context);
        } else if ((info->si_code == SI_TKILL || info->si_code == SI_USER) && info->si_pid == getpid()) {
            /*
             * faulthandler, when it is on top, puts us back and raises the signal again.  Returning runs the
             * instruction again, and the real fault arrives with its true address.  If none arrives somebody
             * did send this signal: axp_guarded() raises it again.
             */
            frame->sent = signal;
            errno = saved_errno;
            return;
        }
    }
    pass_on(signal, info, context);
    errno = saved_errno;
}

/* ---- Outside the handler. ---- */

static int is_ours(const struct sigaction *action)
{
    return (action->sa_flags & SA_SIGINFO) != 0 && action->sa_sigaction == on_signal;
}

/* Puts us on top of whoever is.  Looked up before it is set: the look costs 75 ns, and a fault elsewhere must
 * never find us on top and the handler below not yet noted. */
static int take_over(int signal)
{
    axp_chain *chain = chain_of(signal);
    struct sigaction top, ours, replaced;
    int failed = 0;

    if (sigaction(signal, NULL, &top) != 0)
        return -errno;
    if (is_ours(&top) || !axp_chain_lock(chain))
        return 0;
    if (sigaction(signal, NULL, &top) == 0 && !is_ours(&top)) {
        axp_chain_push(chain, &top);
        memset(&ours, 0, sizeof ours);
        ours.sa_sigaction = on_signal;
        /* NODEFER: a second fault, after leaving by siglongjmp, must find the signal unblocked.  ONSTACK: as
         * the handlers below us. */
        ours.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
        if (sigaction(signal, &ours, &replaced) != 0)
            failed = -errno;
        else if (!is_ours(&replaced))
            axp_chain_push(chain, &replaced);
    }
    axp_chain_unlock(chain);
    return failed;
}

static uint64_t coarse_tick(void)
{
    struct timespec now;

    clock_gettime(COARSE_CLOCK, &now); /* 5 ns */
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static __attribute__((noinline)) int look_who_is_on_top(uint64_t tick)
{
    int saved_errno = errno;
    int failed = 0;
    sigset_t unblock;

    sigemptyset(&unblock);
    for (size_t i = 0; i < HANDLED; i++) {
        int result = take_over(handled[i]);

        failed = failed ? failed : result;
        sigaddset(&unblock, handled[i]);
    }
    /* The kernel kills a thread that faults with the signal blocked, whatever the handler.  sigprocmask,
     * because pthread_sigmask would tie the binary to glibc 2.32; on every system we know it changes the
     * calling thread alone. */
    sigprocmask(SIG_UNBLOCK, &unblock, NULL);
    thread.tick = tick;
    errno = saved_errno;
    return failed;
}

int axp_install(void)
{
    return look_who_is_on_top(coarse_tick());
}

int axp_guarded(axp_attempt *attempt)
{
    guard_frame frame;
    uint64_t tick = coarse_tick();

    if (tick != thread.tick)
        look_who_is_on_top(tick);
    attempt->done = 0;
    frame.attempt = attempt;
    frame.sent = 0;
    frame.previous = thread.innermost;
    if (sigsetjmp(frame.landing, 0) == 0) { /* 0: NODEFER leaves the mask alone, and saving it costs 120 ns */
        atomic_signal_fence(memory_order_seq_cst);
        thread.innermost = &frame; /* after sigsetjmp: the handler must not find a landing that is not set */
        atomic_signal_fence(memory_order_seq_cst);
        attempt->run(attempt);
        atomic_signal_fence(memory_order_seq_cst);
        thread.innermost = frame.previous;
        atomic_signal_fence(memory_order_seq_cst);
        if (frame.sent != 0)
            raise(frame.sent);
        return 0;
    }
    thread.innermost = frame.previous;
    return -EFAULT;
}

int axp_guard_is_open(void)
{
    return thread.innermost != NULL;
}

int axp_handler_at(int signal, uint32_t depth, axp_handler *handler_out)
{
    axp_chain *chain = chain_of(signal);
    struct sigaction top;
    struct sigaction at;

    if (chain == NULL)
        return -EINVAL;
    if (sigaction(signal, NULL, &top) != 0)
        return -errno;
    at = top;
    if (depth != 0 && (!is_ours(&top) || !axp_chain_at(chain, depth - 1, &at)))
        return -ENOENT;
    *handler_out = (axp_handler){
        .address = at.sa_handler == SIG_IGN   ? 1
                   : at.sa_handler == SIG_DFL ? 0
                                              : (uintptr_t)at.sa_sigaction,
        .ours = is_ours(&at),
        .flags = at.sa_flags,
    };
    return 0;
}

int axp_symbol_at(uintptr_t address, axp_symbol *symbol_out)
{
    Dl_info info;

    memset(symbol_out, 0, sizeof *symbol_out);
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
