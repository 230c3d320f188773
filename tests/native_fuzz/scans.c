/* SPDX-License-Identifier: MIT */
/* scans.c: fuzzes what searches memory, and what tries it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "arena.h"

static void find_nonzero(input *input)
{
    uintptr_t from = take_address(input);
    size_t size = take_size(input, from);
    size_t accessible = arena_accessible(from, size, AXP_READ);
    size_t expected = 0;
    size_t offset = SIZE_MAX;
    int result = axp_find_nonzero_user(from, size, &offset);

    while (expected < accessible && *arena_model(from + expected) == 0)
        expected++;
    if (expected < accessible || accessible == size)
        CHECK(result == 0 && offset == expected);
    else
        arena_check_fault(result, from, size, accessible, accessible, AXP_READ);
}

static size_t first_occurrence(uintptr_t from, size_t accessible, const uint8_t *needle, size_t needle_size)
{
    size_t at = 0;

    while (at + needle_size <= accessible && memcmp(arena_model(from + at), needle, needle_size) != 0)
        at++;
    return at + needle_size <= accessible ? at : SIZE_MAX;
}

/* A needle of any bytes, or of what memory holds somewhere, its last byte changed or not. */
static size_t take_needle(input *input, uintptr_t from, size_t accessible, uint8_t *needle_out, size_t most)
{
    size_t size = take(input, 2) ? take(input, 4) : take(input, most + 1);
    size_t place = accessible == 0 ? 0 : take(input, accessible < 65536 ? accessible : 65536);

    for (size_t i = 0; i < size; i++)
        needle_out[i] = place + i < accessible ? *arena_model(from + place + i) : (uint8_t)take(input, 256);
    if (size != 0 && take(input, 4) == 0)
        needle_out[take(input, size)] ^= (uint8_t)take(input, 256);
    return size;
}

static void find(input *input)
{
    enum { MOST = 600 };
    uintptr_t from = take_address(input);
    size_t size = take_size(input, from);
    size_t accessible = arena_accessible(from, size, AXP_READ);
    uint8_t taken[MOST];
    size_t needle_size = take_needle(input, from, accessible, taken, MOST);
    uint8_t *needle = own_memory(needle_size);
    size_t offset = SIZE_MAX;
    size_t expected;
    int result;

    memcpy(needle, taken, needle_size);
    result = axp_find_in_user(from, size, needle, needle_size, &offset);
    expected = needle_size == 0 ? 0 : first_occurrence(from, accessible, needle, needle_size);
    if (size != 0 && size - 1 > UINTPTR_MAX - from)
        arena_check_fault(result, from, size, 0, 0, AXP_READ);
    else if (expected != SIZE_MAX)
        CHECK(result == 0 && offset == expected);
    else if (accessible == size)
        CHECK(result == 0 && offset == size);
    else
        arena_check_fault(result, from, size, accessible, accessible, AXP_READ);
    free(needle);
}

static void probe(input *input, uint32_t access)
{
    uintptr_t start = take_address(input);
    size_t size = take_size(input, start);
    size_t found = SIZE_MAX;
    int result =
        access == AXP_READ ? axp_probe_read(start, size, &found) : axp_probe_write(start, size, &found);

    if (size != 0 && size - 1 > UINTPTR_MAX - start)
        arena_check_fault(result, start, size, 0, 0, access);
    else
        CHECK(result == 0 && found == arena_accessible(start, size, access));
}

/* With an injection that lets some bytes pass: the call that goes beyond them fails before it begins. */
static void inject(input *input)
{
    axp_injection injection = {.probability = AXP_INJECTION_ONE, .times = 1, .space = take(input, 256)};
    uint64_t space = injection.space;
    uintptr_t from = take_address(input);
    size_t size = take(input, 512);
    size_t accessible = arena_accessible(from, size, AXP_READ);
    size_t found = SIZE_MAX;
    axp_fault fault;
    int result;

    CHECK(axp_begin_injection(&injection) == 0);
    result = axp_probe_read(from, size, &found);
    CHECK(axp_end_injection(&injection) == 0);
    if (size == 0 || (size - 1 <= UINTPTR_MAX - from && size < space)) {
        CHECK(result == 0 && found == accessible);
        return;
    }
    CHECK(result == -EFAULT && axp_take_fault(&fault) == 0 && found == SIZE_MAX);
    CHECK(fault.address == from && fault.transferred == 0);
    CHECK(fault.reason == (size - 1 > UINTPTR_MAX - from ? AXP_OUT_OF_RANGE : AXP_INJECTED));
}

void arena_step(input *input)
{
    switch (take(input, 5)) {
    case 0:
        find_nonzero(input);
        break;
    case 1:
        find(input);
        break;
    case 2:
        probe(input, AXP_READ);
        break;
    case 3:
        probe(input, AXP_WRITE);
        break;
    default:
        inject(input);
        break;
    }
}
