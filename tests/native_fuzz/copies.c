/* SPDX-License-Identifier: MIT */
/* copies.c: fuzzes copying and filling. */
#include <stdlib.h>
#include <string.h>

#include "arena.h"

static void copy_from(input *input, int zeroes_rest)
{
    uintptr_t from = take_address(input);
    size_t size = take_size(input, from);
    size_t accessible = arena_accessible(from, size, AXP_READ);
    uint8_t *own = own_memory(size);
    int result = zeroes_rest ? axp_copy_from_user(own, from, size) : axp_raw_copy_from_user(own, from, size);

    if (accessible != 0)
        CHECK(memcmp(own, arena_model(from), accessible) == 0);
    if (accessible == size)
        CHECK(result == 0);
    else
        arena_check_fault(result, from, size, accessible, accessible, AXP_READ);
    /* What is refused as out of range leaves our buffer alone. */
    for (size_t i = accessible; zeroes_rest && i < size && size - 1 <= UINTPTR_MAX - from; i++)
        CHECK(own[i] == 0);
    free(own);
}

static void copy_to(input *input)
{
    uintptr_t to = take_address(input);
    size_t size = take_size(input, to);
    size_t accessible = arena_accessible(to, size, AXP_WRITE);
    uint8_t *own = own_memory(size);
    uint8_t first = (uint8_t)take(input, 256);
    int result;

    for (size_t i = 0; i < size; i++)
        own[i] = (uint8_t)(first + i);
    result = axp_copy_to_user(to, own, size);
    if (accessible != 0)
        memcpy(arena_model(to), own, accessible);
    if (accessible == size)
        CHECK(result == 0);
    else
        arena_check_fault(result, to, size, accessible, accessible, AXP_WRITE);
    free(own);
}

static void fill(input *input)
{
    uintptr_t to = take_address(input);
    size_t size = take_size(input, to);
    size_t accessible = arena_accessible(to, size, AXP_WRITE);
    uint8_t byte = (uint8_t)take(input, 256);
    int result = axp_fill_user(to, byte, size);

    if (accessible != 0)
        memset(arena_model(to), byte, accessible);
    if (accessible == size)
        CHECK(result == 0);
    else
        arena_check_fault(result, to, size, accessible, accessible, AXP_WRITE);
}

static int is_out_of_range(uintptr_t start, size_t size)
{
    return size != 0 && size - 1 > UINTPTR_MAX - start;
}

static void copy_in(input *input)
{
    uintptr_t from = take_address(input);
    size_t size = take_size(input, from);
    uintptr_t to = take(input, 2) ? take_address(input) : from + take(input, 512) - 256;
    size_t readable = arena_accessible(from, size, AXP_READ);
    size_t writable = arena_accessible(to, size, AXP_WRITE);
    size_t moved = readable < writable ? readable : writable;
    int result = axp_copy_in_user(to, from, size);

    if (moved == size) {
        CHECK(result == 0);
    } else if (is_out_of_range(from, size) || is_out_of_range(to, size)) {
        moved = 0; /* both are looked at first */
        if (is_out_of_range(from, size))
            arena_check_fault(result, from, size, 0, 0, AXP_READ);
        else
            arena_check_fault(result, to, size, 0, 0, AXP_WRITE);
    } else if (readable <= writable) {
        arena_check_fault(result, from, size, readable, readable, AXP_READ);
    } else {
        arena_check_fault(result, to, size, writable, writable, AXP_WRITE);
    }
    if (moved != 0)
        memmove(arena_model(to), arena_model(from), moved);
}

void arena_step(input *input)
{
    switch (take(input, 5)) {
    case 0:
        copy_from(input, 0);
        break;
    case 1:
        copy_from(input, 1);
        break;
    case 2:
        copy_to(input);
        break;
    case 3:
        fill(input);
        break;
    default:
        copy_in(input);
        break;
    }
}
