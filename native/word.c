/* SPDX-License-Identifier: MIT */
/* word.c: one word, plain or atomic. */
#include <errno.h>

#include "guard.h"
#include "raw.h"
#include "word.h"

typedef struct word_attempt {
    axp_attempt attempt; /* first: run() gets a pointer to it */
    uint64_t operand;    /* what is stored, compared with or added, whatever the width */
    uint64_t desired;
    uint64_t seen; /* what was there */
} word_attempt;

/* A run() that does an operation in the type of the span's width. */
#define RUN_BY_WIDTH(name, operation)                 \
    AXP_TOUCHES_USER void name(axp_attempt *attempt)  \
    {                                                 \
        word_attempt *word = (word_attempt *)attempt; \
        uintptr_t at = attempt->span.start;           \
                                                      \
        switch (attempt->span.size) {                 \
        case 1:                                       \
            operation(uint8_t);                       \
            break;                                    \
        case 2:                                       \
            operation(uint16_t);                      \
            break;                                    \
        case 4:                                       \
            operation(uint32_t);                      \
            break;                                    \
        default:                                      \
            operation(uint64_t);                      \
            break;                                    \
        }                                             \
    }

/* Packed is one access where the processor can, and several where it cannot: only for what is misaligned. */
#define PACKED(type) ((volatile struct { type value; } __attribute__((packed, may_alias)) *)at)

#define LOAD(type) word->seen = *(const volatile type *)at
#define LOAD_MISALIGNED(type)              \
    do {                                   \
        axp_touch_first(at, sizeof(type)); \
        word->seen = PACKED(type)->value;  \
    } while (0)
#define STORE(type) *(volatile type *)at = (type)word->operand
/* All or nothing, also where it takes several accesses: both pages are tried first. */
#define STORE_MISALIGNED(type)                                  \
    do {                                                        \
        if (axp_within_page(at, sizeof(type)) < sizeof(type)) { \
            axp_touch_write(at);                                \
            axp_touch_write(at + sizeof(type) - 1);             \
        }                                                       \
        PACKED(type)->value = (type)word->operand;              \
    } while (0)
#define ATOMIC_LOAD(type) word->seen = __atomic_load_n((type *)at, __ATOMIC_SEQ_CST)
#define ATOMIC_STORE(type) __atomic_store_n((type *)at, (type)word->operand, __ATOMIC_SEQ_CST)
#define EXCHANGE(type) word->seen = __atomic_exchange_n((type *)at, (type)word->operand, __ATOMIC_SEQ_CST)
#define FETCH_ADD(type) word->seen = __atomic_fetch_add((type *)at, (type)word->operand, __ATOMIC_SEQ_CST)
#define FETCH_AND(type) word->seen = __atomic_fetch_and((type *)at, (type)word->operand, __ATOMIC_SEQ_CST)
#define FETCH_OR(type) word->seen = __atomic_fetch_or((type *)at, (type)word->operand, __ATOMIC_SEQ_CST)
#define FETCH_XOR(type) word->seen = __atomic_fetch_xor((type *)at, (type)word->operand, __ATOMIC_SEQ_CST)
#define COMPARE_EXCHANGE(type)                                                                       \
    do {                                                                                             \
        type expected = (type)word->operand;                                                         \
        __atomic_compare_exchange_n((type *)at, &expected, (type)word->desired, 0, __ATOMIC_SEQ_CST, \
                                    __ATOMIC_SEQ_CST);                                               \
        word->seen = expected;                                                                       \
    } while (0)

RUN_BY_WIDTH(load, LOAD)
RUN_BY_WIDTH(load_misaligned, LOAD_MISALIGNED)
RUN_BY_WIDTH(store, STORE)
RUN_BY_WIDTH(store_misaligned, STORE_MISALIGNED)
RUN_BY_WIDTH(atomic_load, ATOMIC_LOAD)
RUN_BY_WIDTH(atomic_store, ATOMIC_STORE)
RUN_BY_WIDTH(exchange, EXCHANGE)
RUN_BY_WIDTH(compare_exchange, COMPARE_EXCHANGE)
RUN_BY_WIDTH(fetch_add, FETCH_ADD)
RUN_BY_WIDTH(fetch_and, FETCH_AND)
RUN_BY_WIDTH(fetch_or, FETCH_OR)
RUN_BY_WIDTH(fetch_xor, FETCH_XOR)

/* Own memory of a width as a number and back; a number's low bytes begin elsewhere in memory on a big-endian
 * machine. */
static uint64_t number(const void *from, size_t width)
{
    switch (width) {
    case 1:
        return *(const uint8_t *)from;
    case 2:
        return *(const axp_any16 *)from;
    case 4:
        return *(const axp_any32 *)from;
    default:
        return *(const axp_any64 *)from;
    }
}

static void put_number(void *to, size_t width, uint64_t value)
{
    switch (width) {
    case 1:
        *(uint8_t *)to = (uint8_t)value;
        break;
    case 2:
        *(axp_any16 *)to = (uint16_t)value;
        break;
    case 4:
        *(axp_any32 *)to = (uint32_t)value;
        break;
    default:
        *(axp_any64 *)to = value;
        break;
    }
}

static int is_width(size_t width)
{
    return width == 1 || width == 2 || width == 4 || width == 8;
}

static int is_misaligned(const axp_span *span)
{
    return (span->start & (span->size - 1)) != 0;
}

/* operand and seen_out may be NULL where the operation has none. */
static int run_and_report(word_attempt *word, const void *operand, void *seen_out)
{
    axp_attempt *attempt = &word->attempt;
    size_t width = attempt->span.size;

    if (!is_width(width))
        return -EINVAL;
    if (axp_span_overflows(attempt->span.start, width))
        return axp_refuse(attempt->span.start, attempt->span.access, AXP_OUT_OF_RANGE);
    if (operand != NULL)
        word->operand = number(operand, width);
    if (axp_guarded(attempt) != 0)
        return axp_report(&attempt->fault);
    if (seen_out != NULL)
        put_number(seen_out, width, word->seen);
    return 0;
}

int axp_load_number(uintptr_t from, size_t width, uint64_t *number_out)
{
    word_attempt word;

    if (axp_span_overflows(from, width))
        return axp_refuse(from, AXP_READ, AXP_OUT_OF_RANGE);
    axp_prepare(&word.attempt, from, width, AXP_READ, load);
    if (is_misaligned(&word.attempt.span))
        word.attempt.run = load_misaligned;
    if (axp_guarded(&word.attempt) != 0)
        return axp_report(&word.attempt.fault);
    *number_out = word.seen;
    return 0;
}

int axp_load(uintptr_t from, size_t width, void *value_out)
{
    uint64_t seen = 0; /* neither an analyser nor every compiler sees that a refusal is never 0 */
    int failed;

    if (!is_width(width))
        return -EINVAL;
    failed = axp_load_number(from, width, &seen);
    if (failed == 0)
        put_number(value_out, width, seen);
    return failed;
}

int axp_store(uintptr_t to, size_t width, const void *value)
{
    word_attempt word;

    axp_prepare(&word.attempt, to, width, AXP_WRITE, store);
    if (is_misaligned(&word.attempt.span))
        word.attempt.run = store_misaligned;
    return run_and_report(&word, value, NULL);
}

static int run_atomic(word_attempt *word, const void *operand, void *seen_out)
{
    const axp_span *span = &word->attempt.span;

    if (is_width(span->size) && is_misaligned(span) && !axp_span_overflows(span->start, span->size))
        return axp_refuse(span->start, span->access, AXP_MISALIGNED);
    return run_and_report(word, operand, seen_out);
}

int axp_atomic_load(uintptr_t from, size_t width, void *value_out)
{
    word_attempt word;

    axp_prepare(&word.attempt, from, width, AXP_READ, atomic_load);
    return run_atomic(&word, NULL, value_out);
}

int axp_atomic_store(uintptr_t to, size_t width, const void *value)
{
    word_attempt word;

    axp_prepare(&word.attempt, to, width, AXP_WRITE, atomic_store);
    return run_atomic(&word, value, NULL);
}

int axp_atomic_compare_exchange(uintptr_t at, size_t width, const void *expected, const void *desired,
                                void *previous_out)
{
    word_attempt word;

    axp_prepare(&word.attempt, at, width, AXP_WRITE, compare_exchange);
    if (is_width(width))
        word.desired = number(desired, width);
    return run_atomic(&word, expected, previous_out);
}

static int update(uintptr_t at, size_t width, void (*run)(axp_attempt *attempt), const void *operand,
                  void *previous_out)
{
    word_attempt word;

    axp_prepare(&word.attempt, at, width, AXP_WRITE, run);
    return run_atomic(&word, operand, previous_out);
}

int axp_atomic_exchange(uintptr_t at, size_t width, const void *value, void *previous_out)
{
    return update(at, width, exchange, value, previous_out);
}

int axp_atomic_fetch_add(uintptr_t at, size_t width, const void *operand, void *previous_out)
{
    return update(at, width, fetch_add, operand, previous_out);
}

int axp_atomic_fetch_and(uintptr_t at, size_t width, const void *operand, void *previous_out)
{
    return update(at, width, fetch_and, operand, previous_out);
}

int axp_atomic_fetch_or(uintptr_t at, size_t width, const void *operand, void *previous_out)
{
    return update(at, width, fetch_or, operand, previous_out);
}

int axp_atomic_fetch_xor(uintptr_t at, size_t width, const void *operand, void *previous_out)
{
    return update(at, width, fetch_xor, operand, previous_out);
}
