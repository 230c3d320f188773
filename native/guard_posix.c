/* SPDX-License-Identifier: MIT */
/* guard_posix.c: the guard by SIGSEGV, SIGBUS and sigsetjmp. */

/* glibc's checking siglongjmp aborts when it leaves an alternate stack above the thread's that has
 * SS_AUTODISARM. */
#undef _FORTIFY_SOURCE

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "action_posix.h"
#include "attempt.h"
#include "context.h"
#include "guard.h"
#include "handlers_posix.h"
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

/* The code of what raise() sends. */
#if defined(SI_TKILL)
#define SENT_TO_THREAD SI_TKILL
#elif defined(SI_LWP)
#define SENT_TO_THREAD SI_LWP
#endif

/* macOS keeps a note that a thread runs on its alternate stack, and only a landing that has saved the mask
 * takes it back.  A call has to: its next stack overflow needs that stack. */
#if defined(__APPLE__)
#define SAVES_MASK(attempt) ((attempt)->call != NULL)
#else
#define SAVES_MASK(attempt) 0
#endif

/* A flag of Linux that glibc does not have in its headers: the alternate stack is taken away while it is in
 * use. */
#if defined(__linux__) && !defined(SS_AUTODISARM)
#define SS_AUTODISARM (1U << 31)
#elif !defined(SS_AUTODISARM)
#define SS_AUTODISARM 0
#endif

/* Where an attempt is left from inside the handler.  It lives on the attempt's own stack: thread-local
 * storage is scarce. */
typedef struct guard_frame {
    sigjmp_buf landing;
    axp_attempt *attempt;
    struct guard_frame *previous;
    volatile uintptr_t mark;     /* axp_mark_of() while the attempt is open */
    volatile sig_atomic_t sent;  /* a signal that is no fault and came while the attempt was open */
    volatile int stack_disarmed; /* the alternate stack has to be put up again */
    volatile stack_t stack;
} guard_frame;

static AXP_THREAD_LOCAL struct {
    guard_frame *volatile innermost;
    uint64_t tick;   /* until the clock shows another one an attempt has nothing to ask; 0: it always has */
    uint64_t looked; /* the tick of the latest look at who is on top; 0: this thread never looked */
} thread;

/* ---- Inside the handler: no locks, no allocation, no stdio, and errno as it was. ---- */

static uint32_t reason_of(const siginfo_t *info, const ucontext_t *context)
{
    if (axp_is_not_canonical(info, context))
        return AXP_NOT_CANONICAL;
#if defined(__APPLE__)
    /* The signal says whether something is mapped there, and the code nothing.  What lies past the end of a
     * file is mapped. */
    return info->si_signo == SIGSEGV ? AXP_NOT_MAPPED : AXP_NOT_PERMITTED;
#else
    if (info->si_signo == SIGSEGV)
        return info->si_code == SEGV_MAPERR ? AXP_NOT_MAPPED : AXP_NOT_PERMITTED;
    switch (info->si_code) {
    case BUS_ADRALN:
        return AXP_MISALIGNED;
    case BUS_ADRERR:
#if defined(__FreeBSD__)
    case BUS_OBJERR:
#endif
        return AXP_BEYOND_END;
    default:
        return AXP_HARDWARE;
    }
#endif
}

/* What a fault of an attempt was, or 0 if it is not the attempt's. */
static int describe_fault(axp_attempt *attempt, const siginfo_t *info, const ucontext_t *context)
{
    uint32_t reason = reason_of(info, context);
    uintptr_t address = (uintptr_t)info->si_addr;
    uint32_t access = axp_access_of_fault(context, address);

    if (attempt->call == NULL) {
        const axp_span *span = NULL;

        if (reason != AXP_NOT_CANONICAL)
            span = axp_span_at(attempt, address, access);
        if (span == NULL && axp_hides_address(info, context))
            span = axp_span_off_canonical(attempt);
        if (span == NULL)
            return 0;
        address = axp_first_bad_byte(attempt, span, reason == AXP_NOT_CANONICAL ? 0 : address);
        access = span->access;
    } else {
        if (axp_is_in_interpreter(attempt->call))
            return 0;
        attempt->call->instruction = axp_instruction(context);
    }
    attempt->fault = (axp_fault){
        .address = address,
        .transferred = attempt->done,
        .access = access,
        .reason = reason,
        .signal = info->si_signo,
        .code = info->si_code,
    };
    return 1;
}

/* Returns only if the fault is not the attempt's. */
static void leave_attempt(guard_frame *frame, const siginfo_t *info, const ucontext_t *context)
{
    if (!describe_fault(frame->attempt, info, context))
        return;
    axp_restore_float_control(context);
    if ((unsigned)context->uc_stack.ss_flags & (unsigned)SS_AUTODISARM) {
        frame->stack = context->uc_stack;
        frame->stack_disarmed = 1;
    }
    frame->mark = 0;
    /* Our action blocks nothing, but that of a handler which was called instead of us, and called us, may
     * have.  170 ns. */
    if (!axp_is_called_by_system(info, context))
        sigprocmask(SIG_SETMASK, &context->uc_sigmask, NULL);
    siglongjmp(frame->landing, 1);
}

/* What happens during an attempt is further in on the stack than its frame. */
static int is_further_in(const ucontext_t *context, const guard_frame *frame)
{
    uintptr_t stack = axp_stack_pointer(context);

    return stack == 0 || stack < (uintptr_t)frame;
}

/* Returns only if the fault is not ours.  What a function does that is called under guard is its own fault,
 * even if an access that is not concerned is open further in. */
static void leave(guard_frame *innermost, const siginfo_t *info, const ucontext_t *context)
{
    for (guard_frame *frame = innermost;
         frame != NULL && frame->mark == axp_mark_of(frame) && is_further_in(context, frame);
         frame = frame->previous)
        if (frame == innermost || frame->attempt->call != NULL)
            leave_attempt(frame, info, context);
}

static int is_sent_by_this_process(const siginfo_t *info)
{
#if defined(__APPLE__)
    (void)info; /* says nothing of the sender */
    return 1;
#else
    return (info->si_code == SENT_TO_THREAD || info->si_code == SI_USER) && info->si_pid == getpid();
#endif
}

void axp_on_signal(unsigned entry, int signal, siginfo_t *info, void *context)
{
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    guard_frame *frame = thread.innermost;
    int saved_errno = errno;

    if (frame != NULL && frame->mark == axp_mark_of(frame)
        && !axp_is_passed_over(frame, info, context, here)) {
        if (axp_is_fault(info, context)) {
            leave(frame, info, context);
        } else if (is_sent_by_this_process(info)
                   && (is_further_in(context, frame)
                       || axp_is_on_alternate_stack(context, axp_stack_pointer(context)))) {
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
    axp_pass_on(entry, signal, info, context, frame);
    errno = saved_errno;
}

/* ---- Outside the handler. ---- */

static uint64_t coarse_tick(void)
{
    struct timespec now;

    clock_gettime(COARSE_CLOCK, &now); /* 5 ns */
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static __attribute__((noinline)) int look_who_is_on_top(uint64_t tick, int asked_for)
{
    int saved_errno = errno;
    int failed = axp_take_over(asked_for);

    thread.looked = failed ? 0 : tick;
    errno = saved_errno;
    return failed;
}

int axp_install(void)
{
    return look_who_is_on_top(coarse_tick(), 1);
}

void axp_ask_about_attempts(void)
{
    thread.tick = 0;
}

/* What an attempt asks that is not the first one of its tick, or while faults are injected: nothing of either
 * is in the way of the others.  Returns nonzero if the attempt is not to be. */
static __attribute__((noinline)) int ask_about(axp_attempt *attempt, uint64_t tick)
{
    int injecting = axp_is_injecting();

    if (tick != thread.looked)
        look_who_is_on_top(tick, 0);
    thread.tick = injecting ? 0 : thread.looked;
    return injecting && axp_inject_attempt(attempt);
}

int axp_guarded(axp_attempt *attempt)
{
    guard_frame frame;
    uint64_t tick = coarse_tick();

    if (tick != thread.tick && ask_about(attempt, tick))
        return -EFAULT;
    attempt->done = 0;
    frame.attempt = attempt;
    frame.sent = 0;
    frame.stack_disarmed = 0;
    frame.previous = thread.innermost;
    frame.mark = axp_mark_of(&frame);
    /* 0: NODEFER leaves the mask alone, and saving it costs 120 ns. */
    if (sigsetjmp(frame.landing, SAVES_MASK(attempt)) == 0) {
        atomic_signal_fence(memory_order_seq_cst);
        thread.innermost = &frame; /* after sigsetjmp: the handler must not find a landing that is not set */
        atomic_signal_fence(memory_order_seq_cst);
        attempt->run(attempt);
        atomic_signal_fence(memory_order_seq_cst);
        thread.innermost = frame.previous;
        atomic_signal_fence(memory_order_seq_cst);
        frame.mark = 0;
        if (frame.sent != 0)
            raise((int)frame.sent);
        return 0;
    }
    thread.innermost = frame.previous;
    if (frame.stack_disarmed) {
        stack_t stack = frame.stack;
        int saved_errno = errno;

        sigaltstack(&stack, NULL);
        errno = saved_errno;
    }
    return -EFAULT;
}

int axp_guard_is_open(void)
{
    const guard_frame *frame = thread.innermost;

    return frame != NULL && (uintptr_t)__builtin_frame_address(0) < (uintptr_t)frame
           && frame->mark == axp_mark_of(frame) && frame->attempt->call == NULL;
}
