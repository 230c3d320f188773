/* SPDX-License-Identifier: MIT */
/* hostile.h: company that the guard has to live with; the tests compile it all into one library, for ctypes.
 */
#ifndef HOSTILE_H
#define HOSTILE_H

#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>

typedef int (*copy_function)(void *to, uintptr_t from, size_t size);

/* Where the handler "jump" goes. */
extern sigjmp_buf hostile_landing;

#endif
