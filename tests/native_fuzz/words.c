/* SPDX-License-Identifier: MIT */
/* words.c: fuzzes words, plain and atomic. */
#include <errno.h>
#include <string.h>

#include "arena.h"

typedef enum operation {
    LOAD,
    STORE,
    ATOMIC_LOAD,
    ATOMIC_STORE,
    EXCHANGE,
    COMPARE_EXCHANGE,
    ADD,
    AND,
    OR,
    XOR,
    OPERATIONS
} operation;

/* A word of a width as a number, whatever the byte order. */
static uint64_t number(const void *word, size_t width)
{
    uint8_t narrow;
    uint16_t half;
    uint32_t single;
    uint64_t value;

    switch (width) {
    case 1:
        memcpy(&narrow, word, sizeof narrow);
        return narrow;
    case 2:
        memcpy(&half, word, sizeof half);
        return half;
    case 4:
        memcpy(&single, word, sizeof single);
        return single;
    default:
        memcpy(&value, word, sizeof value);
        return value;
    }
}

static void put_number(void *word, size_t width, uint64_t value)
{
    uint8_t narrow = (uint8_t)value;
    uint16_t half = (uint16_t)value;
    uint32_t single = (uint32_t)value;

    memcpy(word,
           width == 1   ? (void *)&narrow
           : width == 2 ? (void *)&half
           : width == 4 ? (void *)&single
                        : &value,
           width);
}

static int run(operation operation, uintptr_t at, size_t width, const void *operand, const void *desired,
               void *seen_out)
{
    switch (operation) {
    case LOAD:
        return axp_load(at, width, seen_out);
    case STORE:
        return axp_store(at, width, operand);
    case ATOMIC_LOAD:
        return axp_atomic_load(at, width, seen_out);
    case ATOMIC_STORE:
        return axp_atomic_store(at, width, operand);
    case EXCHANGE:
        return axp_atomic_exchange(at, width, operand, seen_out);
    case COMPARE_EXCHANGE:
        return axp_atomic_compare_exchange(at, width, operand, desired, seen_out);
    case ADD:
        return axp_atomic_fetch_add(at, width, operand, seen_out);
    case AND:
        return axp_atomic_fetch_and(at, width, operand, seen_out);
    case OR:
        return axp_atomic_fetch_or(at, width, operand, seen_out);
    default:
        return axp_atomic_fetch_xor(at, width, operand, seen_out);
    }
}

static uint64_t value_after(operation operation, uint64_t before, uint64_t operand, uint64_t desired)
{
    switch (operation) {
    case LOAD:
    case ATOMIC_LOAD:
        return before;
    case STORE:
    case ATOMIC_STORE:
    case EXCHANGE:
        return operand;
    case COMPARE_EXCHANGE:
        return before == operand ? desired : before;
    case ADD:
        return before + operand;
    case AND:
        return before & operand;
    case OR:
        return before | operand;
    default:
        return before ^ operand;
    }
}

/* Each value takes exactly its width of our own memory. */
static void access_word(input *input)
{
    operation operation = (enum operation)take(input, OPERATIONS);
    size_t width = (size_t)1 << take(input, 4);
    uintptr_t at = take_address(input) & (take(input, 4) == 0 ? UINTPTR_MAX : ~(uintptr_t)7);
    uint32_t access = operation == LOAD || operation == ATOMIC_LOAD ? AXP_READ : AXP_WRITE;
    size_t accessible = arena_accessible(at, width, access);
    uint8_t own[3][8];
    uint8_t *seen = own[0] + 8 - width, *operand = own[1] + 8 - width, *desired = own[2] + 8 - width;
    uint64_t before = accessible == width ? number(arena_model(at), width) : 0;
    int result;

    memset(own, 0, sizeof own);
    put_number(operand, width, take(input, 2) ? take_word(input) : before);
    put_number(desired, width, take_word(input));
    result = run(operation, at, width, operand, desired, seen);
    if (width - 1 <= UINTPTR_MAX - at && at % width != 0 && operation != LOAD && operation != STORE) {
        axp_fault fault;

        CHECK(result == -EFAULT && axp_take_fault(&fault) == 0);
        CHECK(fault.reason == AXP_MISALIGNED && fault.address == at && fault.access == access);
    } else if (accessible != width) {
        arena_check_fault(result, at, width, accessible, 0, access);
    } else {
        CHECK(result == 0);
        if (operation != STORE && operation != ATOMIC_STORE)
            CHECK(number(seen, width) == before);
        put_number(arena_model(at), width,
                   value_after(operation, before, number(operand, width), number(desired, width)));
    }
    for (size_t i = 0; i < 8 - width; i++)
        CHECK(own[0][i] == 0);
}

static void refuse_width(input *input)
{
    static const size_t wrong[] = {0, 3, 5, 6, 7, 9, 16, SIZE_MAX};
    uint8_t own[24] = {0};
    operation operation = (enum operation)take(input, OPERATIONS);
    size_t width = wrong[take(input, sizeof wrong / sizeof wrong[0])];

    CHECK(run(operation, take_address(input), width, own, own + 8, own + 16) == -EINVAL);
}

void arena_step(input *input)
{
    if (take(input, 16) == 0)
        refuse_width(input);
    else
        access_word(input);
}
