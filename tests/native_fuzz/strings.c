/* SPDX-License-Identifier: MIT */
/* strings.c: fuzzes what measures and copies strings. */
#include <stdlib.h>
#include <string.h>

#include "arena.h"

/* Whole elements before the first that is zero, or cannot be read. */
static size_t elements_before_zero(uintptr_t from, size_t width, size_t limit, size_t accessible)
{
    static const uint8_t zero[8];
    size_t count = 0;

    while (count < limit && (count + 1) * width <= accessible
           && memcmp(arena_model(from + count * width), zero, width) != 0)
        count++;
    return count;
}

static void measure(input *input)
{
    uintptr_t from = take_address(input);
    size_t width = (size_t)1 << take(input, 4);
    size_t limit = take_size(input, from) / width;
    size_t accessible = arena_accessible(from, limit * width, AXP_READ);
    size_t expected = elements_before_zero(from, width, limit, accessible);
    size_t count = SIZE_MAX;
    int result = axp_strnlen_user(from, width, limit, &count);

    if (expected == limit || (expected + 1) * width <= accessible) {
        CHECK(result == 0 && count == expected);
    } else {
        arena_check_fault(result, from, limit * width, accessible, expected * width, AXP_READ);
        CHECK(count == SIZE_MAX);
    }
}

static void copy(input *input)
{
    uintptr_t from = take_address(input);
    size_t limit = take_size(input, from);
    size_t room = take(input, 2) ? take_size(input, from) : limit;
    size_t wanted = room < limit ? room : limit;
    size_t accessible = arena_accessible(from, wanted, AXP_READ);
    size_t expected = elements_before_zero(from, 1, wanted, accessible);
    size_t length = SIZE_MAX;
    uint8_t *own = own_memory(room);
    int result = axp_strncpy_from_user(own, room, from, limit, &length);

    if (limit != 0 && limit - 1 > UINTPTR_MAX - from) {
        arena_check_fault(result, from, limit, 0, 0, AXP_READ);
    } else if (expected == wanted || expected < accessible) {
        CHECK(result == 0 && length == expected);
        CHECK(expected == 0 || memcmp(own, arena_model(from), expected) == 0);
        CHECK(expected == wanted || own[expected] == 0);
    } else {
        arena_check_fault(result, from, limit, accessible, accessible, AXP_READ);
        CHECK(length == SIZE_MAX);
    }
    free(own);
}

/* Several strings into one buffer, which may end too early. */
static void copy_many(input *input)
{
    enum { MOST = 16 };
    uint64_t addresses[MOST];
    int64_t lengths[MOST];
    axp_batch_limits limits = {UINTPTR_MAX, UINT64_MAX, 0, 0};
    size_t count = take(input, MOST + 1);
    size_t limit = take(input, 2) ? take(input, 64) : take(input, 16384);
    size_t left = take(input, 2) ? count * limit : take(input, 16384);
    uint8_t *own = own_memory(left);
    size_t done = SIZE_MAX;
    size_t written = 0;

    for (size_t i = 0; i < count; i++)
        addresses[i] = take_address(input);
    CHECK(axp_read_strings(own, left, addresses, count, limit, &limits, lengths, &done) == 0);
    CHECK(done <= count);
    for (size_t i = 0; i < done; i++) {
        uintptr_t from = (uintptr_t)addresses[i];
        size_t accessible = arena_accessible(from, limit, AXP_READ);
        size_t expected = elements_before_zero(from, 1, limit, accessible);

        if ((limit != 0 && limit - 1 > UINTPTR_MAX - from) || (expected == accessible && limit != 0)) {
            CHECK(lengths[i] == -1);
            continue;
        }
        CHECK(lengths[i] == (int64_t)expected && expected <= left);
        CHECK(expected == 0 || memcmp(own + written, arena_model(from), expected) == 0);
        written += expected;
        left -= expected;
    }
    CHECK(done == count || left < limit);
    free(own);
}

void arena_step(input *input)
{
    switch (take(input, 3)) {
    case 0:
        measure(input);
        break;
    case 1:
        copy(input);
        break;
    default:
        copy_many(input);
        break;
    }
}
