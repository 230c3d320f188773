/* SPDX-License-Identifier: MIT */
/* word.h: what word.c does for the rest of the library. */
#ifndef AXP_WORD_H
#define AXP_WORD_H

#include <stddef.h>
#include <stdint.h>

/* axp_load() of one of its widths, as a number. */
int axp_load_number(uintptr_t from, size_t width, uint64_t *number_out);

#endif
