/* SPDX-License-Identifier: MIT */
/* arena.c: memory whose pages are good or bad as the fuzzer's input says, and a model of what it holds. */
#define _GNU_SOURCE
#include "arena.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if __has_include(<valgrind/memcheck.h>)
#include <valgrind/memcheck.h>
#else
#define VALGRIND_MAKE_MEM_DEFINED(start, size) ((void)(start), (void)(size))
#endif

/* Between two that nobody may touch, so that what runs over an end is a fault. */
enum { PAGES = 5 };

typedef enum page_kind { GOOD, READ_ONLY, NO_ACCESS, BEYOND_END, PAGE_KINDS } page_kind;

/* Addresses that are nobody's, or that the processor cannot form, and after each as much of the like. */
enum { NOBODYS_SIZE = 65536 };
static const uintptr_t nobodys[] = {0, UINTPTR_MAX / 2 + 1, UINTPTR_MAX - NOBODYS_SIZE + 1};

static size_t page_size;
static uint8_t *memory;
static uint8_t *model;
static page_kind kinds[PAGES];
static int empty_file = -1;

_Noreturn void arena_broken(const char *condition, const char *file, int line)
{
    fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, condition);
    abort();
}

size_t take(input *input, size_t count)
{
    size_t taken = 0;

    for (size_t reach = 1; reach < count && input->next != input->end; reach <<= 8)
        taken = taken << 8 | *input->next++;
    return taken % count;
}

uint64_t take_word(input *input)
{
    uint64_t taken = 0;

    for (int i = 0; i < 4; i++)
        taken = taken << 16 | take(input, 65536);
    return taken;
}

static void reserve(void)
{
    page_size = axp_page_size();
    memory = mmap(NULL, (PAGES + 2) * page_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    memory += page_size;
    model = malloc(PAGES * page_size);
    empty_file = memfd_create("arena", MFD_CLOEXEC);
    CHECK(model != NULL && empty_file >= 0);
    for (size_t page = 0; page < PAGES; page++)
        kinds[page] = NO_ACCESS;
    for (size_t i = 0; i < sizeof nobodys / sizeof nobodys[0]; i++)
        VALGRIND_MAKE_MEM_DEFINED(nobodys[i], NOBODYS_SIZE);
}

static void map(size_t page, page_kind kind)
{
    uint8_t *start = memory + page * page_size;
    int flags = MAP_FIXED | (kind == BEYOND_END ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS);
    int file = kind == BEYOND_END ? empty_file : -1;

    if (kind == kinds[page] || (kind != BEYOND_END && kinds[page] != BEYOND_END))
        CHECK(mprotect(start, page_size, PROT_READ | PROT_WRITE) == 0);
    else
        CHECK(mmap(start, page_size, PROT_READ | PROT_WRITE, flags, file, 0) == start);
    kinds[page] = kind;
}

/* Bytes of an alphabet that is large, small, without zero, or nothing but zeros. */
static void fill(uint8_t *start, size_t size, size_t alphabet, uint64_t seed)
{
    static const uint64_t masks[] = {0, UINT64_MAX, 0x0101010101010101, 0x0300030000030000};
    uint64_t least = alphabet & 4 ? 0x0101010101010101 : 0;

    for (size_t done = 0; done < size; done += sizeof seed) {
        uint64_t word;

        seed = seed * 6364136223846793005 + 1442695040888963407;
        word = ((seed >> 32 | seed << 32) & masks[alphabet & 3]) | least;
        memcpy(start + done, &word, sizeof word);
    }
}

/* Takes the pages' permissions and contents from the input. */
static void make(input *input)
{
    size_t sprinkled;

    if (memory == NULL)
        reserve();
    for (size_t page = 0; page < PAGES; page++) {
        size_t kind = take(input, 2 * PAGE_KINDS);

        map(page, kind < PAGE_KINDS ? (page_kind)kind : GOOD);
        fill(model + page * page_size, page_size, take(input, 8), take(input, 256));
    }
    sprinkled = take(input, 8);
    while (sprinkled-- > 0) {
        size_t offset = take(input, PAGES * page_size);

        model[offset] = (uint8_t)take(input, 256);
    }
    for (size_t page = 0; page < PAGES; page++) {
        uint8_t *start = memory + page * page_size;

        if (kinds[page] == GOOD || kinds[page] == READ_ONLY)
            memcpy(start, model + page * page_size, page_size);
        if (kinds[page] == READ_ONLY)
            CHECK(mprotect(start, page_size, PROT_READ) == 0);
        if (kinds[page] == NO_ACCESS)
            CHECK(mprotect(start, page_size, PROT_NONE) == 0);
    }
    /* memcheck would report each bad access that the library is there to make; our own memory it watches. */
    VALGRIND_MAKE_MEM_DEFINED(memory - page_size, (PAGES + 2) * page_size);
}

uintptr_t take_address(input *input)
{
    size_t choice = take(input, 32);

    if (choice < 3)
        return nobodys[choice] + take(input, 4096);
    if (choice == 3)
        return UINTPTR_MAX - take(input, 256);
    if (choice < 16) /* near an edge */
        return (uintptr_t)memory + take(input, PAGES) * page_size + take(input, 64);
    return (uintptr_t)memory + take(input, PAGES * page_size);
}

static int is_in_arena(uintptr_t at)
{
    return at - (uintptr_t)memory < PAGES * page_size;
}

size_t take_size(input *input, uintptr_t start)
{
    size_t room = is_in_arena(start) ? PAGES * page_size - (start - (uintptr_t)memory) : 2 * page_size;
    size_t size = take(input, 2) != 0 ? take(input, 128) : take(input, room + 1);

    return size < room ? size : room;
}

size_t arena_accessible(uintptr_t start, size_t size, uint32_t access)
{
    size_t accessible = 0;

    while (accessible < size && is_in_arena(start + accessible)) {
        size_t offset = start + accessible - (uintptr_t)memory;
        page_kind kind = kinds[offset / page_size];

        if (kind != GOOD && (kind != READ_ONLY || access != AXP_READ))
            break;
        accessible += page_size - offset % page_size;
    }
    return accessible < size ? accessible : size;
}

uint8_t *arena_model(uintptr_t at)
{
    return model + (at - (uintptr_t)memory);
}

/* The whole arena is as the model says. */
static void check(void)
{
    axp_fault fault;

    for (size_t page = 0; page < PAGES; page++)
        if (kinds[page] == GOOD || kinds[page] == READ_ONLY)
            CHECK(memcmp(memory + page * page_size, model + page * page_size, page_size) == 0);
    CHECK(axp_take_fault(&fault) == -ENOENT);
}

void arena_check_fault(int result, uintptr_t start, size_t size, size_t accessible, size_t transferred,
                       uint32_t access)
{
    axp_fault fault;

    CHECK(result == -EFAULT);
    CHECK(axp_take_fault(&fault) == 0);
    CHECK(fault.access == access);
    if (size - 1 > UINTPTR_MAX - start) {
        CHECK(fault.reason == AXP_OUT_OF_RANGE && fault.signal == 0);
        CHECK(fault.address == start && fault.transferred == 0);
        return;
    }
    CHECK(fault.address == start + accessible);
    CHECK(fault.transferred == transferred);
    CHECK(fault.signal != 0 && fault.reason != 0);
    if (is_in_arena(start + accessible)) {
        page_kind kind = kinds[(start + accessible - (uintptr_t)memory) / page_size];

        CHECK(fault.reason == (kind == BEYOND_END ? AXP_BEYOND_END : AXP_NOT_PERMITTED));
    }
}

uint8_t *own_memory(size_t size)
{
    uint8_t *own = malloc(size == 0 ? 1 : size);

    CHECK(own != NULL);
    memset(own, 0xa5, size);
    return own;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input input = {data, data + size};

    make(&input);
    while (input.next != input.end) {
        arena_step(&input);
        check();
    }
    return 0;
}
