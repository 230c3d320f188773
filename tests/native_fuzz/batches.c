/* SPDX-License-Identifier: MIT */
/* batches.c: fuzzes many addresses in one call. */
#include <stdlib.h>
#include <string.h>

#include "arena.h"

enum { MOST = 32 };

typedef enum operation { GATHER, SCATTER, PROBE, OPERATIONS } operation;

static size_t take_entry_size(input *input)
{
    return take(input, 4) != 0 ? (size_t)1 << take(input, 4) : take(input, 6000);
}

static int is_good(uint64_t address, size_t size, size_t accessible, const axp_batch_limits *limits)
{
    return address <= limits->highest && accessible == size
           && (size == 0 || size - 1 <= UINTPTR_MAX - (uintptr_t)address);
}

static void check_entry(operation operation, uint64_t address, size_t size, const axp_batch_limits *limits,
                        const uint8_t *own, uint8_t ok)
{
    uint32_t access = operation == SCATTER ? AXP_WRITE : AXP_READ;
    uintptr_t at = (uintptr_t)address;
    size_t accessible = arena_accessible(at, size, access);
    int good = is_good(address, size, accessible, limits);

    CHECK(ok == good);
    if (operation == SCATTER && accessible != 0 && address <= limits->highest)
        memcpy(arena_model(at), own, accessible);
    if (operation == GATHER && good && size != 0)
        CHECK(memcmp(own, arena_model(at), size) == 0);
    if (operation == GATHER && !good)
        for (size_t i = 0; i < size; i++)
            CHECK(own[i] == 0);
}

static void run(input *input)
{
    operation operation = (enum operation)take(input, OPERATIONS);
    axp_batch_limits limits = {UINTPTR_MAX, UINT64_MAX, 0, 0};
    size_t count = take(input, MOST + 1);
    size_t size = take_entry_size(input);
    uint8_t *own = own_memory(count * size);
    uint8_t *ok = own_memory(count);
    uint64_t *addresses = (uint64_t *)own_memory(count * sizeof *addresses);
    size_t done = SIZE_MAX;
    int result;

    for (size_t i = 0; i < count; i++)
        addresses[i] = take_address(input);
    for (size_t i = 0; i < count * size; i++)
        own[i] = (uint8_t)(i * 7 + size);
    if (count != 0 && take(input, 8) == 0)
        limits.highest = addresses[take(input, count)];
    if (take(input, 4) == 0)
        limits.faults = 1 + take(input, 4);
    if (count != 0 && take(input, 8) == 0)
        limits.pause_end = (limits.pause_start = addresses[take(input, count)]) + 4096;
    if (operation == GATHER)
        result = axp_gather_from_user(own, addresses, count, size, &limits, ok, &done);
    else if (operation == SCATTER)
        result = axp_scatter_to_user(addresses, own, count, size, &limits, ok, &done);
    else
        result = axp_probe_many(addresses, count, size, &limits, ok, &done);
    CHECK(result == 0 && done <= count);
    CHECK(done == count || limits.faults != UINT64_MAX || limits.pause_end != 0);
    CHECK(done == count || (done != 0 && ok[done - 1] == 0));
    for (size_t i = 0; i < done; i++)
        check_entry(operation, addresses[i], size, &limits, own + i * size, ok[i]);
    for (size_t i = done; i < count; i++)
        CHECK(ok[i] == 0xa5);
    free(addresses);
    free(ok);
    free(own);
}

void arena_step(input *input)
{
    run(input);
}
