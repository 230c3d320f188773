/* SPDX-License-Identifier: MIT */
/* populate.h: between populate.c and memory_*.c. */
#ifndef AXP_POPULATE_H
#define AXP_POPULATE_H

#include <stddef.h>
#include <stdint.h>

/* Does what axp_populate() does by trying the first byte of each page, and the first bad one for its reason.
 */
int axp_populate_by_touch(uintptr_t start, size_t size, uint32_t access);

#endif
