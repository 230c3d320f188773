/* SPDX-License-Identifier: MIT */
/* handlers_windows.h: between guard_windows.c and handlers_windows.c. */
#ifndef AXP_HANDLERS_WINDOWS_H
#define AXP_HANDLERS_WINDOWS_H

#include <windows.h>

/* guard_windows.c: takes what is ours; all else is searched for on. */
LONG CALLBACK axp_on_exception(EXCEPTION_POINTERS *pointers);

/* Puts our handler before all others: at once if asked for, and else once a tick of the clock.  Returns 0, or
 * a negative errno. */
int axp_go_in_front(int asked_for);

#endif
