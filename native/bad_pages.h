/* SPDX-License-Identifier: MIT */
/* bad_pages.h: where memory has faulted during one call, so that neighbours need not fault again. */
#ifndef AXP_BAD_PAGES_H
#define AXP_BAD_PAGES_H

#include <stddef.h>
#include <stdint.h>

#include "guard.h"
#include "page.h"

/* 4 KiB of stack.  Of more pages than that some fault again. */
#define AXP_BAD_PAGES 512

/* How many places a page may be at: its own, and those that follow. */
#define AXP_BAD_PAGE_PLACES 8

/* Empty when all of it is zero. */
typedef struct axp_bad_pages {
    uintptr_t not_canonical;        /* the lowest address that is known to be so; 0: none is */
    uintptr_t lowest, extent;       /* no page lies below it, or starts further above it than that */
    uintptr_t pages[AXP_BAD_PAGES]; /* with their lowest bit set; 0: free */
} axp_bad_pages;

static inline size_t axp_bad_page_place(uintptr_t page, size_t nth)
{
    return (size_t)(((uint64_t)page * UINT64_C(0x9e3779b97f4a7c15) >> 32) + nth) % AXP_BAD_PAGES;
}

static inline int axp_is_bad_page(const axp_bad_pages *bad, uintptr_t at)
{
    uintptr_t page = axp_page_start(at) | 1;

    if (at >= bad->not_canonical && at < 0 - bad->not_canonical)
        return 1;
    if (page - bad->lowest > bad->extent)
        return 0;
    for (size_t nth = 0; nth < AXP_BAD_PAGE_PLACES; nth++) {
        uintptr_t known = bad->pages[axp_bad_page_place(page, nth)];

        if (known == page)
            return 1;
        if (known == 0)
            return 0;
    }
    return 0;
}

/*
 * Notes that an access which lay on one page has faulted.  What is not canonical is the middle of the address
 * space and ends as far from its one end as from the other, so that one page of it tells of all that lie
 * further in.
 */
static inline void axp_add_bad_page(axp_bad_pages *bad, uintptr_t at, uint32_t reason)
{
    uintptr_t start = axp_page_start(at);
    uintptr_t page = start | 1;
    size_t nth = 0;

    if (reason == AXP_NOT_CANONICAL) {
        uintptr_t distance = at <= UINTPTR_MAX / 2 ? start : 0 - (start + axp_page_bytes);

        if (bad->not_canonical == 0 || distance < bad->not_canonical)
            bad->not_canonical = distance;
        return;
    }
    if (bad->lowest == 0) {
        bad->lowest = page;
    } else if (page < bad->lowest) {
        bad->extent += bad->lowest - page;
        bad->lowest = page;
    } else if (page - bad->lowest > bad->extent) {
        bad->extent = page - bad->lowest;
    }
    while (nth < AXP_BAD_PAGE_PLACES && bad->pages[axp_bad_page_place(page, nth)] != 0)
        nth++;
    bad->pages[axp_bad_page_place(page, nth % AXP_BAD_PAGE_PLACES)] = page;
}

#endif
