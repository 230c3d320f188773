/* SPDX-License-Identifier: MIT */
/* page.h: page arithmetic.  A page is the unit of protection, so it is the unit in which user memory is
 * walked. */
#ifndef AXP_PAGE_H
#define AXP_PAGE_H

#include <stddef.h>
#include <stdint.h>

/* Set by memory_*.c when the library is loaded, and never again. */
extern size_t axp_page_bytes;

static inline uintptr_t axp_page_start(uintptr_t address)
{
    return address & ~(uintptr_t)(axp_page_bytes - 1);
}

/* Bytes from address to the end of its page, at most size. */
static inline size_t axp_within_page(uintptr_t address, size_t size)
{
    size_t rest = axp_page_bytes - (address & (axp_page_bytes - 1));

    return rest < size ? rest : size;
}

#endif
