/* SPDX-License-Identifier: MIT */
/* batch.c: many scattered addresses in one call, each of which may be bad by itself. */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "bad_pages.h"
#include "guard.h"
#include "page.h"
#include "raw.h"
#include "text.h"

typedef struct batch_attempt batch_attempt;

/* Does to size bytes of user memory, all on one page, what the batch is for; the offset is that of their
 * place in our own buffer. */
typedef void part_access(const batch_attempt *batch, size_t offset, uintptr_t at, size_t size);

/* An entry that faults ends the attempt, and the next one goes on behind it. */
struct batch_attempt {
    axp_attempt attempt; /* first: run() gets a pointer to it; the span is what is being accessed just now */
    const void *addresses; /* read once each, as volatile: somebody may be changing them */
    size_t count;
    size_t size; /* of an entry; the most that a string may take */
    const axp_batch_limits *limits;
    unsigned char *own;  /* NULL: nothing is copied */
    part_access *access; /* for a part of any size */
    uint8_t *ok;         /* NULL: the entries are strings, which have a length instead */
    int64_t *lengths;
    size_t room;           /* for strings: bytes of our own buffer that are left */
    volatile size_t entry; /* the one that is being accessed; the first that is not done */
    size_t faults;
    axp_bad_pages bad; /* looked at once there was a fault */
};

static void spoil(const batch_attempt *batch, size_t entry)
{
    if (batch->ok == NULL) {
        batch->lengths[entry] = -1;
        return;
    }
    batch->ok[entry] = 0;
    if (batch->own != NULL && batch->attempt.span.access == AXP_READ)
        memset(batch->own + entry * batch->size, 0, batch->size);
}

/* The handler must find the span of this access, and everything before it done. */
static inline __attribute__((always_inline)) void access_part(batch_attempt *batch, size_t offset,
                                                              uintptr_t at, size_t size, part_access *access)
{
    batch->attempt.span.start = at;
    atomic_signal_fence(memory_order_seq_cst);
    access(batch, offset, at, size);
    atomic_signal_fence(memory_order_seq_cst);
}

/* Returns 0 if an entry reaches a page that is known to be bad; the pages before it have been accessed. */
static int access_by_page(batch_attempt *batch, size_t entry, uintptr_t at)
{
    size_t size;

    for (size_t done = 0; done < batch->size; done += size) {
        size = axp_within_page(at + done, batch->size - done);
        if (batch->faults != 0 && axp_is_bad_page(&batch->bad, at + done))
            return 0;
        batch->attempt.span.size = size;
        access_part(batch, entry * batch->size + done, at + done, size, batch->access);
    }
    return 1;
}

/* An entry that is bad or does not lie on one page. */
static __attribute__((noinline)) void access_unusual(batch_attempt *batch, size_t entry, uint64_t address)
{
    uintptr_t at = (uintptr_t)address;

    if (address <= batch->limits->highest && !axp_span_overflows(at, batch->size)
        && access_by_page(batch, entry, at))
        batch->ok[entry] = 1;
    else
        spoil(batch, entry);
    batch->attempt.span.size = batch->size;
}

static inline __attribute__((always_inline)) void each_entry(axp_attempt *attempt, size_t size,
                                                             part_access *access)
{
    batch_attempt *batch = (batch_attempt *)attempt;
    const volatile axp_any64 *addresses = batch->addresses;
    const uint64_t highest = batch->limits->highest;
    uint8_t *const ok = batch->ok;
    const size_t count = batch->count;
    const size_t page = axp_page_bytes;
    const size_t fitting =
        size <= page ? page - size + 1 : 0; /* offsets in a page at which an entry may start */
    const int careful = batch->faults != 0;

    attempt->span.size = size;
    for (size_t entry = batch->entry; entry < count; entry++) {
        uint64_t address = addresses[entry];
        uintptr_t at = (uintptr_t)address;

        batch->entry = entry;
        if ((at & (page - 1)) < fitting && address <= highest
            && !(careful && axp_is_bad_page(&batch->bad, at))) {
            access_part(batch, entry * size, at, size, access);
            ok[entry] = 1;
        } else {
            access_unusual(batch, entry, address);
        }
    }
    batch->entry = count;
}

#define RUN(name, bytes, access)            \
    static void name(axp_attempt *attempt)  \
    {                                       \
        each_entry(attempt, bytes, access); \
    }
#define ANY_SIZE (((const batch_attempt *)attempt)->size)

/* One access of that width if the address is aligned to it; otherwise what the processor makes of it. */
#define WORD(bits)                                                                                       \
    AXP_TOUCHES_USER uint##bits##_t load##bits(uintptr_t from)                                           \
    {                                                                                                    \
        if (from % sizeof(uint##bits##_t) == 0)                                                          \
            return *(const volatile uint##bits##_t *)from;                                               \
        return *(const volatile axp_any##bits *)from;                                                    \
    }                                                                                                    \
    AXP_TOUCHES_USER void store##bits(uintptr_t to, uint##bits##_t value)                                \
    {                                                                                                    \
        if (to % sizeof(uint##bits##_t) == 0)                                                            \
            *(volatile uint##bits##_t *)to = value;                                                      \
        else                                                                                             \
            *(volatile axp_any##bits *)to = value;                                                       \
    }                                                                                                    \
    static inline void read##bits(const batch_attempt *batch, size_t offset, uintptr_t at, size_t size)  \
    {                                                                                                    \
        (void)size;                                                                                      \
        *(axp_any##bits *)(batch->own + offset) = load##bits(at);                                        \
    }                                                                                                    \
    static inline void write##bits(const batch_attempt *batch, size_t offset, uintptr_t at, size_t size) \
    {                                                                                                    \
        (void)size;                                                                                      \
        store##bits(at, *(const axp_any##bits *)(batch->own + offset));                                  \
    }                                                                                                    \
    RUN(gather##bits, bits / 8, read##bits)                                                              \
    RUN(scatter##bits, bits / 8, write##bits)

WORD(8)
WORD(16)
WORD(32)
WORD(64)

static void read_any(const batch_attempt *batch, size_t offset, uintptr_t at, size_t size)
{
    axp_raw_read(batch->own + offset, at, size);
}

static void write_any(const batch_attempt *batch, size_t offset, uintptr_t at, size_t size)
{
    axp_raw_write(at, batch->own + offset, size);
}

static void touch(const batch_attempt *batch, size_t offset, uintptr_t at, size_t size)
{
    (void)batch;
    (void)offset;
    (void)size;
    axp_touch_read(at);
}

static void leave_alone(const batch_attempt *batch, size_t offset, uintptr_t at, size_t size)
{
    (void)batch;
    (void)offset;
    (void)at;
    (void)size;
}

RUN(gather_any, ANY_SIZE, read_any)
RUN(scatter_any, ANY_SIZE, write_any)
RUN(probe_any, ANY_SIZE, touch)
RUN(nothing, 0, leave_alone)

/* A string that is longer than what is left of our own buffer. */
#define NO_ROOM (-2)

/* Returns the string's length, or -1 if it is bad. */
static int64_t copy_string(batch_attempt *batch, uint64_t address)
{
    axp_span *span = &batch->attempt.span;
    size_t done = 0;

    if (address > batch->limits->highest || axp_span_overflows((uintptr_t)address, batch->size))
        return -1;
    if (batch->size == 0)
        return 0;
    for (; done < batch->size; done += span->size) {
        size_t size, copied;

        span->start = (uintptr_t)address + done;
        span->size = axp_within_page(span->start, batch->size - done);
        size = span->size < batch->room - done ? span->size : batch->room - done;
        if (batch->faults != 0 && axp_is_bad_page(&batch->bad, span->start))
            return -1;
        atomic_signal_fence(memory_order_seq_cst);
        copied = axp_copy_text(batch->own + done, span->start, size);
        atomic_signal_fence(memory_order_seq_cst);
        if (copied < size)
            return (int64_t)(done + copied);
        if (size < span->size)
            return NO_ROOM;
    }
    return -1;
}

static void read_strings(axp_attempt *attempt)
{
    batch_attempt *batch = (batch_attempt *)attempt;
    const volatile axp_any64 *addresses = batch->addresses;

    for (size_t entry = batch->entry; entry < batch->count; entry++) {
        int64_t length;

        batch->entry = entry;
        length = copy_string(batch, addresses[entry]);
        if (length == NO_ROOM)
            return;
        batch->lengths[entry] = length;
        if (length > 0) {
            batch->own += length;
            batch->room -= (size_t)length;
        }
    }
    batch->entry = batch->count;
}

/* Has a fault injected into the only entry of a call, or not. */
static int inject(const batch_attempt *batch)
{
    uint64_t address = *(const volatile axp_any64 *)batch->addresses;

    if (batch->size == 0 || address > batch->limits->highest
        || axp_span_overflows((uintptr_t)address, batch->size))
        return 0;
    return axp_inject((uintptr_t)address, batch->size, batch->attempt.span.access);
}

static int run_batch(batch_attempt *batch, uint32_t access, void (*run)(axp_attempt *attempt),
                     size_t *done_out)
{
    const axp_batch_limits *limits = batch->limits;

    axp_prepare(&batch->attempt, 0, 0, access, run);
    if (batch->count != 0 && axp_is_injecting()) {
        batch->count = 1;
        if (inject(batch) != 0) {
            spoil(batch, 0);
            *done_out = 1;
            return -EFAULT;
        }
    }
    while (axp_guarded(&batch->attempt) != 0) {
        uintptr_t at = batch->attempt.span.start;

        batch->attempt.span.size = 0; /* of none, so far: nothing is injected into it */
        axp_add_bad_page(&batch->bad, at, batch->attempt.fault.reason);
        spoil(batch, batch->entry);
        batch->entry++;
        if (++batch->faults >= limits->faults || (at >= limits->pause_start && at < limits->pause_end))
            break;
    }
    *done_out = batch->entry;
    return 0;
}

/* Which of the runs is for a size: for nothing, for each width, or for any size. */
static size_t run_for(size_t size)
{
    switch (size) {
    case 0:
    case 1:
    case 2:
        return size;
    case 4:
        return 3;
    case 8:
        return 4;
    default:
        return 5;
    }
}

static int copy_entries(uint32_t access, unsigned char *own, const uint64_t *addresses, size_t count,
                        size_t size, const axp_batch_limits *limits, uint8_t *ok_out, size_t *done_out)
{
    static void (*const runs[2][6])(axp_attempt *attempt) = {
        {nothing, gather8, gather16, gather32, gather64, gather_any},
        {nothing, scatter8, scatter16, scatter32, scatter64, scatter_any},
    };
    const int writes = access == AXP_WRITE;
    batch_attempt batch = {
        .addresses = addresses,
        .count = count,
        .size = size,
        .limits = limits,
        .own = own,
        .access = writes ? write_any : read_any,
        .ok = ok_out,
    };

    return run_batch(&batch, access, runs[writes][run_for(size)], done_out);
}

int axp_gather_from_user(void *to, const uint64_t *addresses, size_t count, size_t size,
                         const axp_batch_limits *limits, uint8_t *ok_out, size_t *done_out)
{
    return copy_entries(AXP_READ, to, addresses, count, size, limits, ok_out, done_out);
}

int axp_scatter_to_user(const uint64_t *addresses, const void *from, size_t count, size_t size,
                        const axp_batch_limits *limits, uint8_t *ok_out, size_t *done_out)
{
    return copy_entries(AXP_WRITE, (unsigned char *)from, addresses, count, size, limits, ok_out, done_out);
}

int axp_probe_many(const uint64_t *addresses, size_t count, size_t size, const axp_batch_limits *limits,
                   uint8_t *ok_out, size_t *done_out)
{
    batch_attempt batch = {
        .addresses = addresses,
        .count = count,
        .size = size,
        .limits = limits,
        .access = touch,
        .ok = ok_out,
    };

    return run_batch(&batch, AXP_READ, size == 0 ? nothing : probe_any, done_out);
}

int axp_read_strings(void *to, size_t room, const uint64_t *addresses, size_t count, size_t limit,
                     const axp_batch_limits *limits, int64_t *lengths_out, size_t *done_out)
{
    batch_attempt batch = {
        .addresses = addresses,
        .count = count,
        .size = limit,
        .limits = limits,
        .own = to,
        .room = room,
        .lengths = lengths_out,
    };

    return run_batch(&batch, AXP_READ, read_strings, done_out);
}
