/* SPDX-License-Identifier: MIT */
/* find.c: searching for bytes. */
#include "guard.h"
#include "lanes.h"
#include "page.h"
#include "raw.h"
#include "raw_find.h"
#include "scan.h"

typedef struct find_attempt {
    axp_attempt attempt; /* first: run() gets a pointer to it */
    const unsigned char *needle;
    size_t needle_size;
    volatile size_t found; /* offset, or the span's size */
} find_attempt;

/* A byte of the needle by which places are tried. */
typedef struct probe {
    size_t offset;
    uint64_t word; /* the byte in each lane */
} probe;

typedef struct probes {
    probe first, second;
} probes;

static probe probe_at(const unsigned char *needle, size_t offset)
{
    return (probe){offset, needle[offset] * axp_lanes_of(1).lowest};
}

/* Whole blocks of places before the first where the needle may be. */
AXP_TOUCHES_USER size_t blocks_without_place(uintptr_t from, size_t places, const probes *tried, size_t block)
{
    size_t done = 0;

    for (; places - done >= block; done += block) {
        const axp_any64 *first = (const axp_any64 *)(from + done + tried->first.offset);
        const axp_any64 *second = (const axp_any64 *)(from + done + tried->second.offset);
        uint64_t seen = 0;

        for (size_t i = 0; i < block / AXP_WORD; i++)
            seen |= axp_zero_lanes((first[i] ^ tried->first.word) | (second[i] ^ tried->second.word),
                                   axp_lanes_of(1));
        if ((seen & axp_lanes_of(1).highest) != 0)
            break;
    }
    return done;
}

AXP_SCANS_USER size_t large_blocks_without_place(uintptr_t from, size_t places, const probes *tried)
{
    return blocks_without_place(from, places, tried, AXP_LARGE_BLOCK);
}

/* The places before the first where the needle may be. */
static size_t skip_places(uintptr_t from, size_t places, const probes *tried)
{
    enum { HEAD = 4 * AXP_SMALL_BLOCK }; /* wrong places may be near each other */
    size_t done = blocks_without_place(from, places < HEAD ? places : HEAD, tried, AXP_SMALL_BLOCK);

    if (done == HEAD && places - done >= AXP_LARGE_BLOCK)
        done += large_blocks_without_place(from + done, places - done, tried);
    done += blocks_without_place(from + done, places - done, tried, AXP_SMALL_BLOCK);
    while (done < places
           && (axp_peek(from + done + tried->first.offset) != (unsigned char)tried->first.word
               || axp_peek(from + done + tried->second.offset) != (unsigned char)tried->second.word))
        done++;
    return done;
}

/* How many of the bytes are the needle's. */
static size_t common_size(uintptr_t from, const unsigned char *needle, size_t size)
{
    size_t same = 0;

    while (same < size && axp_peek(from + same) == needle[same])
        same++;
    return same;
}

/* Two bytes that are not alike: one value may be everywhere, as zeros often are. */
static probes first_probes(const unsigned char *needle, size_t size)
{
    size_t other = size - 1;

    while (other > 0 && needle[other] == needle[0])
        other--;
    return (probes){probe_at(needle, 0), probe_at(needle, other > 0 ? other : size - 1)};
}

/*
 * memmem with words for vectors: glibc's goes byte by byte, at 2 GB/s for a short needle and at a tenth of
 * that where memory is like the needle, as zeros are.  The byte that gave a wrong place away is tried at the
 * next ones.  Too many wrong places could take quadratic time, which axp_raw_find() cannot.
 */
static size_t find(uintptr_t from, size_t size, const unsigned char *needle, size_t needle_size)
{
    enum {
        COST = 64,
        PATIENCE = 4096
    }; /* bytes that a wrong place is worth, and that may be lost at first */
    size_t places = needle_size > size ? 0 : size - needle_size + 1;
    size_t place = 0;
    size_t spent = 0;
    probes tried = first_probes(needle, needle_size);
    uintptr_t match;

    while (needle_size > 1 && spent <= place + PATIENCE) {
        size_t same;

        place += skip_places(from + place, places - place, &tried);
        if (place == places)
            return size;
        same = common_size(from + place, needle, needle_size);
        if (same == needle_size)
            return place;
        tried = (probes){tried.second, probe_at(needle, same)};
        spent += same + COST;
        place++;
    }
    if (needle_size == 1)
        match = axp_raw_find_byte(from, needle[0], size);
    else
        match = axp_raw_find(from + place, size - place, needle, needle_size);
    return match == 0 ? size : match - from;
}

/* A place may be skipped by its later bytes, while the page of the first is one that nobody has looked at,
 * and what is behind it does not count if it is bad. */
static void find_needle(axp_attempt *attempt)
{
    find_attempt *search = (find_attempt *)attempt;
    uintptr_t start = attempt->span.start;
    size_t found = find(start, attempt->span.size, search->needle, search->needle_size);

    for (size_t offset = 0; offset < found; offset += axp_within_page(start + offset, found - offset))
        axp_touch_read(start + offset);
    search->found = found;
}

/*
 * The search looks ahead.  When it faults the pages are walked for the first bad one, and what lies before it
 * is searched.  If the walk finds nothing, since the memory is there by now, the fault stands as it was seen.
 */
int axp_find_in_user(uintptr_t from, size_t size, const void *needle, size_t needle_size, size_t *offset_out)
{
    find_attempt search;
    axp_attempt *attempt = &search.attempt;
    int (*guarded)(axp_attempt *attempt) = axp_guarded;

    if (axp_span_overflows(from, size))
        return axp_refuse(from, AXP_READ, AXP_OUT_OF_RANGE);
    axp_prepare(attempt, from, size, AXP_READ, find_needle);
    search.needle = needle;
    search.needle_size = needle_size;
    search.found = needle_size == 0 ? 0 : size;
    while (needle_size != 0 && attempt->span.size != 0) {
        attempt->run = find_needle;
        if (guarded(attempt) == 0)
            break;
        guarded = axp_guarded_again;
        attempt->run = axp_touch_to_read;
        guarded(attempt);
        attempt->span.size = (size_t)(attempt->fault.address - from);
    }
    if (guarded == axp_guarded_again && search.found >= attempt->span.size) {
        attempt->fault.transferred = attempt->span.size;
        return axp_report(&attempt->fault);
    }
    *offset_out = search.found;
    return 0;
}
