/* SPDX-License-Identifier: MIT */
/* call_windows.c: what surrounds the call of a function that may do anything. */
#include <errno.h>
#include <malloc.h>
#include <windows.h>

#include "context_windows.h"
#include "guard.h"

/* Exceptions are handled on the thread's own stack, of which the system keeps a part for them. */
int axp_guarded_call(axp_attempt *attempt)
{
    axp_float_state floats;
    int failed = axp_install();

    if (failed)
        return failed;
    axp_save_floats(&floats);
    failed = axp_guarded(attempt);
    if (failed) {
        axp_restore_floats(&floats);
        if ((DWORD)attempt->fault.code == EXCEPTION_STACK_OVERFLOW)
            _resetstkoflw(); /* or the next overflow would end the process */
    }
    return failed;
}
