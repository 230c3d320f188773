/* SPDX-License-Identifier: MIT */
/* call_windows.c: what surrounds the call of a function that may do anything. */
#include <errno.h>
#include <fenv.h>
#include <malloc.h>
#include <windows.h>

#include "guard.h"

/* Exceptions are handled on the thread's own stack, of which the system keeps a part for them. */
int axp_guarded_call(axp_attempt *attempt)
{
    fenv_t floats;
    int failed = axp_install();

    if (failed)
        return failed;
    fegetenv(&floats);
    failed = axp_guarded(attempt);
    if (failed) {
        fesetenv(&floats);
        if ((DWORD)attempt->fault.code == EXCEPTION_STACK_OVERFLOW)
            _resetstkoflw(); /* or the next overflow would end the process */
    }
    return failed;
}
