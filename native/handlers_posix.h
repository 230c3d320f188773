/* SPDX-License-Identifier: MIT */
/* handlers_posix.h: the parts of the POSIX guard: being on top, and passing on what is not ours. */
#ifndef AXP_HANDLERS_POSIX_H
#define AXP_HANDLERS_POSIX_H

#include <signal.h>
#include <stdint.h>

#include "chain_posix.h"

/* handlers_posix.c: the chain of a signal that we handle, or NULL. */
axp_chain *axp_chain_of(int signal);

/*
 * Puts us on top of every signal that we handle, and unblocks them in this thread; not where this process is
 * about to die of one, unless it is asked for.
 */
int axp_take_over(int asked_for);

/*
 * Inside the handler, after the one in a slot has returned, which may have put on top what it had found: goes
 * back on top, above that.  Returns 0 if we are not on top, since the default action is, or another thread is
 * at it.
 */
int axp_go_back_on_top(unsigned entry, int called, int signal);

/* Inside the handler: this process is about to die of the signal, so nobody goes back on top of its default
 * action. */
void axp_stay_off(int signal);

/* guard_posix.c: what every entry calls. */
void axp_on_signal(unsigned entry, int signal, siginfo_t *info, void *context);

/* pass_posix.c */

/* Raised by the processor for the instruction that was interrupted, as against sent by somebody. */
int axp_is_fault(const siginfo_t *info, const void *context);

/*
 * Passes a signal that is not ours on to the handler below, while an attempt may be open.  Returns if that
 * does. A chain ends in death, never in a hang.
 */
void axp_pass_on(unsigned entry, int signal, siginfo_t *info, void *context, const void *attempt);

/* Whether an address is on the alternate stack of what was interrupted. */
int axp_is_on_alternate_stack(const void *interrupted, uintptr_t address);

/* Whether what happens now happens in a handler that was called over this open attempt, and does not concern
 * it. */
int axp_is_passed_over(const void *attempt, const siginfo_t *info, const void *context, uintptr_t here);

#endif
