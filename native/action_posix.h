/* SPDX-License-Identifier: MIT */
/* action_posix.h: setting a signal's action so that the handler knows who has called it. */
#ifndef AXP_ACTION_POSIX_H
#define AXP_ACTION_POSIX_H

#include <signal.h>

/* sigaction() for a handler that takes a siginfo; replaced_out may be NULL. */
int axp_set_action(int signal, const struct sigaction *action, struct sigaction *replaced_out);

/* Whether an action was set here, and not put back by somebody who had kept it. */
int axp_is_action_set_here(const struct sigaction *action);

/*
 * Whether the system has called the handler, by an action that was set here.  If another handler did, it may
 * have been called with signals blocked: then, and where nobody can tell, 0.
 */
int axp_is_called_by_system(const siginfo_t *info, const void *context);

#endif
