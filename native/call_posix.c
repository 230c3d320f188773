/* SPDX-License-Identifier: MIT */
/* call_posix.c: what surrounds the call of a function that may do anything. */
#include <errno.h>
#include <fenv.h>
#include <signal.h>

#include "guard.h"

/* Puts up the stack that is lent, if the thread has none: a foreign one serves as well, and is never
 * replaced.  Says what there was. */
static int lend_stack(const axp_call *call, stack_t *before_out)
{
    stack_t lent = {.ss_sp = (void *)call->stack_start, .ss_size = (size_t)call->stack_size};

    if (sigaltstack(NULL, before_out) != 0)
        return -errno;
    if (!(before_out->ss_flags & SS_DISABLE) || lent.ss_size == 0)
        return 0;
    return sigaltstack(&lent, NULL) == 0 ? 0 : -errno;
}

/* After a call that ended by itself only what was lent is taken back: all else the function meant. */
static void take_stack_back(const axp_call *call, const stack_t *before, int failed)
{
    stack_t now;

    if (failed
        || (sigaltstack(NULL, &now) == 0 && now.ss_sp != before->ss_sp
            && (uintptr_t)now.ss_sp == call->stack_start))
        sigaltstack(before, NULL);
}

int axp_guarded_call(axp_attempt *attempt)
{
    stack_t stack;
    sigset_t mask;
    fenv_t floats;
    int failed = lend_stack(attempt->call, &stack);

    if (failed)
        return failed;
    failed = axp_install(); /* and unblocks the signals, before the mask is noted */
    if (!failed) {
        sigprocmask(SIG_BLOCK, NULL, &mask);
        fegetenv(&floats);
        failed = axp_guarded(attempt);
        if (failed) {
            fesetenv(&floats);
            sigprocmask(SIG_SETMASK, &mask, NULL);
        }
    }
    take_stack_back(attempt->call, &stack, failed);
    return failed;
}
