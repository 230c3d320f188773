/* SPDX-License-Identifier: MIT */
/* copy.c: copying and filling. */
#include <errno.h>
#include <string.h>

#include "guard.h"
#include "page.h"
#include "raw.h"
#include "scan.h"
#include "text.h"

typedef struct copy_attempt {
    axp_attempt attempt; /* first: run() gets a pointer to it */
    unsigned char *own;  /* our side */
    uint8_t byte;
    size_t room;   /* for a string */
    size_t length; /* of a string */
} copy_attempt;

/*
 * libc's memcpy touches its bytes in any order: of 3200 good bytes it was seen to have copied none when it
 * faulted, and it may store past the page that then faults.  Page by page nothing of a bad page and nothing
 * after it has been touched, and done is exact.  That costs 16 to 24 % between 4 and 64 KiB, so a read, which
 * may leave anything in our own buffer, tries all at once first.
 */
static void read_at_once(axp_attempt *attempt)
{
    axp_raw_read(((copy_attempt *)attempt)->own, attempt->span.start, attempt->span.size);
}

static int read_step(axp_attempt *attempt, size_t offset, size_t size)
{
    axp_raw_read(((copy_attempt *)attempt)->own + offset, attempt->span.start + offset, size);
    return 0;
}

static int read_string_step(axp_attempt *attempt, size_t offset, size_t size)
{
    copy_attempt *copy = (copy_attempt *)attempt;
    size_t wanted = size < copy->room - offset ? size : copy->room - offset;
    size_t copied = axp_copy_text(copy->own + offset, attempt->span.start + offset, wanted);

    copy->length = offset + copied;
    return copied != size;
}

static int write_step(axp_attempt *attempt, size_t offset, size_t size)
{
    axp_raw_write(attempt->span.start + offset, ((copy_attempt *)attempt)->own + offset, size);
    return 0;
}

static int fill_step(axp_attempt *attempt, size_t offset, size_t size)
{
    axp_raw_fill(attempt->span.start + offset, ((copy_attempt *)attempt)->byte, size);
    return 0;
}

static void read_by_page(axp_attempt *attempt)
{
    axp_by_page(attempt, read_step);
}

static void read_string(axp_attempt *attempt)
{
    axp_by_page(attempt, read_string_step);
}

static void write_by_page(axp_attempt *attempt)
{
    axp_by_page(attempt, write_step);
}

static void fill_by_page(axp_attempt *attempt)
{
    axp_by_page(attempt, fill_step);
}

static int run_and_report(axp_attempt *attempt)
{
    if (attempt->span.size == 0)
        return 0;
    if (axp_span_overflows(attempt->span.start, attempt->span.size))
        return axp_refuse(attempt->span.start, attempt->span.access, AXP_OUT_OF_RANGE);
    if (axp_guarded(attempt) == 0)
        return 0;
    if (attempt->run == read_at_once
        && axp_within_page(attempt->span.start, attempt->span.size) < attempt->span.size) {
        attempt->run = read_by_page;
        if (axp_guarded_again(attempt) == 0)
            return 0;
    }
    return axp_report(&attempt->fault);
}

int axp_raw_copy_from_user(void *to, uintptr_t from, size_t size)
{
    copy_attempt copy;

    axp_prepare(&copy.attempt, from, size, AXP_READ, read_at_once);
    copy.own = to;
    return run_and_report(&copy.attempt);
}

int axp_copy_from_user(void *to, uintptr_t from, size_t size)
{
    copy_attempt copy;
    int result;

    if (axp_span_overflows(from, size))
        return axp_refuse(from, AXP_READ, AXP_OUT_OF_RANGE);
    axp_prepare(&copy.attempt, from, size, AXP_READ, read_at_once);
    copy.own = to;
    result = run_and_report(&copy.attempt);
    if (result != 0)
        memset(copy.own + copy.attempt.done, 0, size - copy.attempt.done);
    return result;
}

int axp_strncpy_from_user(void *to, size_t room, uintptr_t from, size_t limit, size_t *length_out)
{
    copy_attempt copy;
    int result;

    axp_prepare(&copy.attempt, from, limit, AXP_READ, read_string);
    copy.own = to;
    copy.room = room;
    copy.length = 0;
    result = run_and_report(&copy.attempt);
    if (result == 0)
        *length_out = copy.length;
    return result;
}

int axp_copy_to_user(uintptr_t to, const void *from, size_t size)
{
    copy_attempt copy;

    axp_prepare(&copy.attempt, to, size, AXP_WRITE, write_by_page);
    copy.own = (unsigned char *)from;
    return run_and_report(&copy.attempt);
}

int axp_fill_user(uintptr_t to, uint8_t byte, size_t size)
{
    copy_attempt copy;

    axp_prepare(&copy.attempt, to, size, AXP_WRITE, fill_by_page);
    copy.byte = byte;
    return run_and_report(&copy.attempt);
}

/* Between two user spans: .span is the source, .other the target. */

static size_t step_at(const axp_attempt *attempt, size_t offset)
{
    size_t step = axp_within_page(attempt->span.start + offset, attempt->span.size - offset);

    return axp_within_page(attempt->other.start + offset, step);
}

/* Where the step that ends at an offset starts. */
static size_t step_before(const axp_attempt *attempt, size_t end)
{
    size_t page = axp_page_bytes;
    size_t source = (attempt->span.start + end - 1) % page + 1;
    size_t target = (attempt->other.start + end - 1) % page + 1;
    size_t step = source < target ? source : target;

    return step < end ? end - step : 0;
}

static void move_step(const axp_attempt *attempt, size_t offset, size_t step)
{
    axp_raw_move(attempt->other.start + offset, attempt->span.start + offset, step);
}

static void move_ascending(axp_attempt *attempt)
{
    size_t size = attempt->span.size;
    size_t step;

    for (size_t done = 0; done < size; attempt->done = done += step) {
        step = step_at(attempt, done);
        move_step(attempt, done, step);
    }
}

static void move_descending(axp_attempt *attempt)
{
    for (size_t end = attempt->span.size; end > 0;) {
        size_t start = step_before(attempt, end);

        attempt->done = start; /* what is still to be moved if this step faults */
        move_step(attempt, start, end - start);
        end = start;
    }
}

static void touch_ascending(axp_attempt *attempt)
{
    for (size_t done = 0; done < attempt->span.size; attempt->done = done += step_at(attempt, done)) {
        axp_touch_read(attempt->span.start + done);
        axp_touch_write(attempt->other.start + done);
    }
}

/* Runs the attempt; on a fault finds out which span stopped it, by trying: not every processor says whether
 * it was a read. */
static int run_between(axp_attempt *attempt, int (*guarded)(axp_attempt *attempt))
{
    axp_attempt tried;
    uintptr_t source;
    int readable;

    if (guarded(attempt) == 0)
        return 0;
    source = attempt->span.start + attempt->done;
    axp_prepare(&tried, source, 1, AXP_READ, axp_touch_to_read);
    tried.fault = attempt->fault;
    readable = axp_guarded_again(&tried) == 0;
    attempt->fault.access = readable ? AXP_WRITE : AXP_READ;
    attempt->fault.address = readable ? attempt->other.start + attempt->done : source;
    return -EFAULT;
}

/*
 * Into a target that starts inside the source, the end goes first, so a fault must be known before anything
 * is written.  Memory that goes away in between leaves the end written; the bytes before the fault are then
 * still moved, their source being untouched.
 */
static int move_up(axp_attempt *attempt)
{
    int failed;

    attempt->run = touch_ascending;
    attempt->fault.reason = 0;
    failed = run_between(attempt, axp_guarded);
    if (failed)
        attempt->span.size = attempt->other.size = attempt->done;
    attempt->run = move_descending;
    while (attempt->span.size != 0 && run_between(attempt, axp_guarded_again) != 0) {
        failed = -EFAULT;
        attempt->span.size = attempt->other.size = attempt->done;
    }
    return failed;
}

int axp_copy_in_user(uintptr_t to, uintptr_t from, size_t size)
{
    axp_attempt attempt;
    int failed;

    if (size == 0)
        return 0;
    if (axp_span_overflows(from, size))
        return axp_refuse(from, AXP_READ, AXP_OUT_OF_RANGE);
    if (axp_span_overflows(to, size))
        return axp_refuse(to, AXP_WRITE, AXP_OUT_OF_RANGE);
    axp_prepare(&attempt, from, size, AXP_READ, move_ascending);
    attempt.other = (axp_span){to, size, AXP_WRITE};
    if (to == from)
        attempt.run = touch_ascending; /* for which memmove does nothing at all */
    if (to > from && to - from < size && step_at(&attempt, 0) < size) /* one step is done or not done */
        failed = move_up(&attempt);
    else
        failed = run_between(&attempt, axp_guarded);
    return failed ? axp_report(&attempt.fault) : 0;
}
