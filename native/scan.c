/* SPDX-License-Identifier: MIT */
/* scan.c: reading ahead until something is found, or until memory ends. */
#include <errno.h>
#include <string.h>

#include "guard.h"
#include "lanes.h"
#include "page.h"
#include "raw.h"
#include "scan.h"

typedef struct scan_attempt {
    axp_attempt attempt;   /* first: run() gets a pointer to it */
    volatile size_t found; /* offset, or the span's size */
} scan_attempt;

static int zero_byte_step(axp_attempt *attempt, size_t offset, size_t size)
{
    uintptr_t zero = axp_raw_find_byte(attempt->span.start + offset, 0, size);

    if (zero == 0)
        return 0;
    ((scan_attempt *)attempt)->found = zero - attempt->span.start;
    return 1;
}

static void find_zero_byte(axp_attempt *attempt)
{
    axp_by_page(attempt, zero_byte_step);
}

/* libc's speed, since it does not stop at pages.  It goes upwards, so that a fault is the rare case. */
static void find_zero_at_once(axp_attempt *attempt)
{
    const axp_span *span = &attempt->span;
    uintptr_t zero = axp_raw_find_byte(span->start, 0, span->size);

    if (zero != 0)
        ((scan_attempt *)attempt)->found = zero - span->start;
}

/* One element; of a misaligned one a part may lie on the next page. */
AXP_TOUCHES_USER int is_zero(uintptr_t at, size_t width)
{
    axp_touch_first(at, width);
    switch (width) {
    case 2:
        return *(const volatile axp_any16 *)at == 0;
    case 4:
        return *(const volatile axp_any32 *)at == 0;
    default:
        return *(const volatile axp_any64 *)at == 0;
    }
}

/* Whole blocks before the first that has a zero element, in bytes. */
AXP_TOUCHES_USER size_t blocks_without_zero(uintptr_t from, size_t size, axp_lanes lanes, size_t block)
{
    size_t done = 0;

    for (; size - done >= block; done += block) {
        const axp_any64 *words = (const axp_any64 *)(from + done);
        uint64_t seen = 0;

        for (size_t i = 0; i < block / AXP_WORD; i++)
            seen |= axp_zero_lanes(words[i], lanes);
        if ((seen & lanes.highest) != 0)
            break;
    }
    return done;
}

AXP_SCANS_USER size_t large_blocks_without_zero(uintptr_t from, size_t size, axp_lanes lanes)
{
    return blocks_without_zero(from, size, lanes, AXP_LARGE_BLOCK);
}

static inline size_t size_before_zero(uintptr_t from, size_t size, size_t width)
{
    axp_lanes lanes = axp_lanes_of(width);
    size_t done = size < AXP_LARGE_BLOCK ? 0 : large_blocks_without_zero(from, size, lanes);

    done += blocks_without_zero(from + done, size - done, lanes, AXP_SMALL_BLOCK);
    while (done < size && !is_zero(from + done, width))
        done += width;
    return done;
}

/* The first few by themselves, since most strings are short; then a page's whole elements at a time, and one
 * that lies on two pages by itself. */
static inline __attribute__((always_inline)) void find_zero_element(axp_attempt *attempt, size_t width)
{
    enum { FEW = 8 };
    const axp_span *span = &attempt->span;
    size_t size = span->size < FEW * width ? span->size : FEW * width;
    size_t done = 0;

    while (done < size && !is_zero(span->start + done, width))
        attempt->done = done += width;
    while (done == size && done < span->size) {
        size_t whole = axp_within_page(span->start + done, span->size - done) & ~(width - 1);

        size = done + (whole == 0 ? width : whole);
        done += size_before_zero(span->start + done, size - done, width);
        attempt->done = done;
    }
    ((scan_attempt *)attempt)->found = done;
}

static void find_zero16(axp_attempt *attempt)
{
    find_zero_element(attempt, 2);
}

static void find_zero32(axp_attempt *attempt)
{
    find_zero_element(attempt, 4);
}

static void find_zero64(axp_attempt *attempt)
{
    find_zero_element(attempt, 8);
}

static int run_and_report(scan_attempt *scan)
{
    if (axp_guarded(&scan->attempt) == 0)
        return 0;
    if (scan->attempt.run == find_zero_at_once) {
        scan->attempt.run = find_zero_byte;
        if (axp_guarded_again(&scan->attempt) == 0)
            return 0;
    }
    return axp_report(&scan->attempt.fault);
}

static void (*find_zero_of(size_t width))(axp_attempt *attempt)
{
    switch (width) {
    case 1:
        return find_zero_at_once;
    case 2:
        return find_zero16;
    case 4:
        return find_zero32;
    case 8:
        return find_zero64;
    default:
        return NULL;
    }
}

int axp_strnlen_user(uintptr_t from, size_t width, size_t limit, size_t *count_out)
{
    scan_attempt scan;
    int result = 0;

    axp_prepare(&scan.attempt, from, limit * width, AXP_READ, find_zero_of(width));
    scan.found = limit * width;
    if (scan.attempt.run == NULL)
        return -EINVAL;
    if (limit > SIZE_MAX / width || axp_span_overflows(from, limit * width))
        return axp_refuse(from, AXP_READ, AXP_OUT_OF_RANGE);
    if (limit != 0)
        result = run_and_report(&scan);
    if (result == 0)
        *count_out = scan.found / width;
    return result;
}

static int touch_read_step(axp_attempt *attempt, size_t offset, size_t size)
{
    (void)size;
    axp_touch_read(attempt->span.start + offset);
    return 0;
}

static int touch_write_step(axp_attempt *attempt, size_t offset, size_t size)
{
    (void)size;
    axp_touch_write(attempt->span.start + offset);
    return 0;
}

void axp_touch_to_read(axp_attempt *attempt)
{
    axp_by_page(attempt, touch_read_step);
}

static void touch_to_write(axp_attempt *attempt)
{
    axp_by_page(attempt, touch_write_step);
}

/* Whole blocks before the first byte that is not zero. */
AXP_TOUCHES_USER size_t blocks_of_zeros(uintptr_t from, size_t size, size_t block)
{
    size_t done = 0;

    for (; size - done >= block; done += block) {
        const axp_any64 *words = (const axp_any64 *)(from + done);
        uint64_t seen = 0;

        for (size_t i = 0; i < block / AXP_WORD; i++)
            seen |= words[i];
        if (seen != 0)
            break;
    }
    return done;
}

AXP_SCANS_USER size_t large_blocks_of_zeros(uintptr_t from, size_t size)
{
    return blocks_of_zeros(from, size, AXP_LARGE_BLOCK);
}

static size_t nonzero_offset(uintptr_t from, size_t size)
{
    size_t offset = size < AXP_LARGE_BLOCK ? 0 : large_blocks_of_zeros(from, size);

    offset += blocks_of_zeros(from + offset, size - offset, AXP_SMALL_BLOCK);
    offset += blocks_of_zeros(from + offset, size - offset, AXP_WORD);
    while (offset < size && axp_peek(from + offset) == 0)
        offset++;
    return offset;
}

static int nonzero_step(axp_attempt *attempt, size_t offset, size_t size)
{
    size_t at = nonzero_offset(attempt->span.start + offset, size);

    if (at == size)
        return 0;
    ((scan_attempt *)attempt)->found = offset + at;
    return 1;
}

static void find_nonzero(axp_attempt *attempt)
{
    axp_by_page(attempt, nonzero_step);
}

int axp_find_nonzero_user(uintptr_t from, size_t size, size_t *offset_out)
{
    scan_attempt scan;
    int result = 0;

    if (axp_span_overflows(from, size))
        return axp_refuse(from, AXP_READ, AXP_OUT_OF_RANGE);
    axp_prepare(&scan.attempt, from, size, AXP_READ, find_nonzero);
    scan.found = size;
    if (size != 0)
        result = run_and_report(&scan);
    if (result == 0)
        *offset_out = scan.found;
    return result;
}

static int probe(uintptr_t start, size_t size, uint32_t access, void (*run)(axp_attempt *attempt),
                 size_t *accessible_out)
{
    axp_attempt attempt;

    if (axp_span_overflows(start, size))
        return axp_refuse(start, access, AXP_OUT_OF_RANGE);
    axp_prepare(&attempt, start, size, access, run);
    if (size != 0 && axp_guarded(&attempt) != 0 && attempt.fault.reason == AXP_INJECTED)
        return axp_report(&attempt.fault);
    *accessible_out = attempt.done;
    return 0;
}

int axp_probe_read(uintptr_t from, size_t size, size_t *accessible_out)
{
    return probe(from, size, AXP_READ, axp_touch_to_read, accessible_out);
}

int axp_probe_write(uintptr_t to, size_t size, size_t *accessible_out)
{
    return probe(to, size, AXP_WRITE, touch_to_write, accessible_out);
}
