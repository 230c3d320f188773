/* SPDX-License-Identifier: MIT */
/*
 * memory_windows.c: mapping and protecting memory.
 *
 * Addresses are given out in units of 64 KiB, and given back as a whole, as they were taken.  What lies in
 * between is committed, and decommitted, a page at a time.  -ENOTSUP is what cannot be done so.
 */
#include <errno.h>
#include <windows.h>

#include "guard.h"
#include "page.h"
#include "populate.h"

size_t axp_page_bytes = 4096;
static size_t granularity = 65536;

__attribute__((constructor)) static void ask_page_size(void)
{
    SYSTEM_INFO info;

    GetSystemInfo(&info);
    axp_page_bytes = info.dwPageSize;
    granularity = info.dwAllocationGranularity;
}

size_t axp_page_size(void)
{
    return axp_page_bytes;
}

static int errno_of(DWORD error)
{
    switch (error) {
    case ERROR_ACCESS_DENIED:
        return EACCES;
    case ERROR_INVALID_HANDLE:
        return EBADF;
    case ERROR_NOT_ENOUGH_MEMORY:
    case ERROR_OUTOFMEMORY:
    case ERROR_COMMITMENT_LIMIT:
    case ERROR_INVALID_ADDRESS:
    case ERROR_NO_SYSTEM_RESOURCES:
        return ENOMEM;
    default:
        return EINVAL;
    }
}

static int last_error(void)
{
    return -errno_of(GetLastError());
}

static DWORD native_protection(uint32_t protection, int copies)
{
    DWORD write = copies ? PAGE_WRITECOPY : PAGE_READWRITE;
    DWORD execute_write = copies ? PAGE_EXECUTE_WRITECOPY : PAGE_EXECUTE_READWRITE;

    if (protection & AXP_EXECUTE)
        return protection & AXP_WRITE  ? execute_write
               : protection & AXP_READ ? PAGE_EXECUTE_READ
                                       : PAGE_EXECUTE;
    if (protection & AXP_WRITE)
        return write;
    return protection & AXP_READ ? PAGE_READONLY : PAGE_NOACCESS;
}

/* A run of pages that are alike. */
typedef struct run {
    uintptr_t start;
    uintptr_t end;
    uintptr_t allocation; /* where what it is a part of starts */
    DWORD state;
    DWORD kind;
    int copies; /* of a file, and what is written stays here */
} run;

/* The run at an address, as far as it lies below end. */
static int run_at(uintptr_t start, uintptr_t end, run *run_out)
{
    MEMORY_BASIC_INFORMATION found;

    if (VirtualQuery((const void *)start, &found, sizeof found) == 0)
        return -ENOMEM; /* not for processes */
    *run_out = (run){
        .start = start,
        .end = (uintptr_t)found.BaseAddress + found.RegionSize,
        .allocation = (uintptr_t)found.AllocationBase,
        .state = found.State,
        .kind = found.Type,
        .copies =
            found.AllocationProtect == PAGE_WRITECOPY || found.AllocationProtect == PAGE_EXECUTE_WRITECOPY,
    };
    if (run_out->end > end)
        run_out->end = end;
    return 0;
}

/* Calls step() for each run of a range, until it fails. */
static int by_run(uintptr_t start, size_t size, int (*step)(const run *part, uint32_t protection),
                  uint32_t protection)
{
    uintptr_t end = start + size;
    int failed = 0;

    if (start % axp_page_bytes != 0 || axp_span_overflows(start, size))
        return -EINVAL;
    while (!failed && start < end) {
        run part;

        failed = run_at(start, end, &part);
        if (!failed)
            failed = step(&part, protection);
        start = part.end;
    }
    return failed;
}

static size_t whole_pages(size_t size)
{
    return (size + axp_page_bytes - 1) & ~(axp_page_bytes - 1);
}

/* ---- Mapping. ---- */

static int check_reserved(const run *part, uint32_t protection)
{
    (void)protection;
    return part->state != MEM_FREE && part->kind == MEM_PRIVATE ? 0 : -ENOTSUP;
}

static int check_free(const run *part, uint32_t protection)
{
    (void)protection;
    return part->state == MEM_FREE ? 0 : -ENOTSUP;
}

static int decommit(const run *part, uint32_t protection)
{
    (void)protection;
    if (part->state != MEM_COMMIT)
        return 0;
    return VirtualFree((void *)part->start, part->end - part->start, MEM_DECOMMIT) ? 0 : last_error();
}

static int commit(const run *part, uint32_t protection)
{
    return VirtualAlloc((void *)part->start, part->end - part->start, MEM_COMMIT,
                        native_protection(protection, 0))
               ? 0
               : last_error();
}

/* Whether a place can be taken as it is told.  Null would be any. */
static int check_place(uintptr_t start, size_t size)
{
    return start == 0 || start % granularity != 0 || by_run(start, size, check_free, 0) != 0 ? -ENOTSUP : 0;
}

static uintptr_t take(uintptr_t start, size_t size, uint32_t protection, uint32_t options)
{
    DWORD kind = options & AXP_MAP_RESERVE ? MEM_RESERVE : MEM_RESERVE | MEM_COMMIT;

    return (uintptr_t)VirtualAlloc((void *)start, size, kind, native_protection(protection, 0));
}

/* In place of what is there, if that is address space that we or others have reserved. */
static int map_over(uintptr_t start, size_t size, uint32_t protection, uint32_t options)
{
    int failed = by_run(start, size, check_reserved, 0);

    if (!failed)
        failed = by_run(start, size, decommit, 0);
    if (!failed && !(options & AXP_MAP_RESERVE))
        failed = by_run(start, size, commit, protection);
    return failed;
}

static int map_anonymous(uintptr_t start, size_t size, uint32_t protection, uint32_t options,
                         uintptr_t *start_out)
{
    uintptr_t mapped;

    if (options & AXP_MAP_FIXED) {
        int failed = map_over(start, size, protection, options);

        if (failed != -ENOTSUP) {
            *start_out = start;
            return failed;
        }
        if (check_place(start, size) != 0)
            return -ENOTSUP;
    }
    mapped = take(start & ~(uintptr_t)(granularity - 1), size, protection, options);
    if (mapped == 0 && !(options & AXP_MAP_FIXED))
        mapped = take(0, size, protection, options);
    if (mapped == 0)
        return GetLastError() == ERROR_INVALID_PARAMETER ? -ENOMEM : last_error(); /* which is too large */
    *start_out = mapped;
    return 0;
}

/* A section is as large as its file: a larger one would make the file grow. */
static int check_file(HANDLE file, size_t size, uint64_t offset)
{
    LARGE_INTEGER length;

    if (!GetFileSizeEx(file, &length))
        return last_error();
    if (offset % granularity != 0 || (uint64_t)length.QuadPart <= offset
        || whole_pages((size_t)((uint64_t)length.QuadPart - offset)) < whole_pages(size))
        return -ENOTSUP;
    return 0;
}

static int map_file(uintptr_t start, size_t size, uint32_t protection, uint32_t options, HANDLE file,
                    uint64_t offset, uintptr_t *start_out)
{
    int shared = (options & AXP_MAP_SHARED) != 0;
    DWORD access = shared ? (protection & AXP_WRITE ? FILE_MAP_WRITE : FILE_MAP_READ) : FILE_MAP_COPY;
    DWORD before;
    HANDLE section;
    void *mapped;
    LARGE_INTEGER length;
    int failed = check_file(file, size, offset);

    if (failed)
        return failed;
    if (options & AXP_MAP_FIXED && check_place(start, size) != 0)
        return -ENOTSUP;
    if (protection & AXP_EXECUTE)
        access |= FILE_MAP_EXECUTE;
    section = CreateFileMappingW(
        file, NULL, native_protection(shared ? protection | AXP_READ : protection | AXP_WRITE, !shared), 0, 0,
        NULL);
    if (section == NULL)
        return last_error();
    GetFileSizeEx(file, &length);
    if (size > (uint64_t)length.QuadPart - offset)
        size = (size_t)((uint64_t)length.QuadPart - offset); /* up to where its last page ends all the same */
    mapped = MapViewOfFileEx(section, access, (DWORD)(offset >> 32), (DWORD)offset, size,
                             (void *)(start & ~(uintptr_t)(granularity - 1)));
    if (mapped == NULL && !(options & AXP_MAP_FIXED))
        mapped = MapViewOfFileEx(section, access, (DWORD)(offset >> 32), (DWORD)offset, size, NULL);
    failed = mapped == NULL ? last_error() : 0;
    CloseHandle(section); /* the view keeps it */
    if (!failed && !VirtualProtect(mapped, size, native_protection(protection, !shared), &before)) {
        failed = last_error();
        UnmapViewOfFile(mapped);
    }
    if (!failed)
        *start_out = (uintptr_t)mapped;
    return failed;
}

int axp_map(uintptr_t start, size_t size, uint32_t protection, uint32_t options, int file, uint64_t offset,
            uintptr_t *start_out)
{
    int failed;

    if (size == 0 || start % axp_page_bytes != 0 || offset % axp_page_bytes != 0)
        return -EINVAL;
    if (offset > INT64_MAX)
        return -EOVERFLOW;
    if (file >= 0)
        failed = map_file(start, size, protection, options, (HANDLE)(intptr_t)file, offset, start_out);
    else
        failed = map_anonymous(start, size, protection, options, start_out);
    if (!failed && options & AXP_MAP_POPULATE && protection != 0)
        axp_populate(*start_out, size, protection & AXP_WRITE ? AXP_WRITE : AXP_READ);
    return failed;
}

/* ---- Protecting. ---- */

static int check_taken(const run *part, uint32_t protection)
{
    (void)protection;
    return part->state == MEM_FREE ? -ENOMEM : 0;
}

static int protect(const run *part, uint32_t protection)
{
    DWORD before;

    if (part->state == MEM_RESERVE)
        return protection == 0 ? 0 : commit(part, protection);
    return VirtualProtect((void *)part->start, part->end - part->start,
                          native_protection(protection, part->copies), &before)
               ? 0
               : last_error();
}

int axp_protect(uintptr_t start, size_t size, uint32_t protection)
{
    int failed = by_run(start, size, check_taken, 0);

    return failed ? failed : by_run(start, size, protect, protection);
}

/* ---- Giving back. ---- */

/* Where the allocation that starts here ends. */
static uintptr_t end_of_allocation(uintptr_t allocation)
{
    run part = {.end = allocation, .allocation = allocation};

    while (part.allocation == allocation && run_at(part.end, UINTPTR_MAX, &part) == 0)
        if (part.allocation != allocation)
            return part.start;
    return part.end;
}

/* Frees the allocations of a range, or only looks whether all of each lies in it. */
static int free_allocations(uintptr_t start, uintptr_t end, int only_look)
{
    int failed = 0;

    while (!failed && start < end) {
        run part;

        failed = run_at(start, end, &part);
        if (failed)
            break;
        if (part.state != MEM_FREE) {
            part.end = end_of_allocation(part.allocation);
            if (part.allocation != start || part.end > end)
                return -ENOTSUP;
            if (!only_look
                && !(part.kind == MEM_PRIVATE ? VirtualFree((void *)start, 0, MEM_RELEASE)
                                              : UnmapViewOfFile((void *)start)))
                failed = last_error();
        }
        start = part.end;
    }
    return failed;
}

int axp_unmap(uintptr_t start, size_t size)
{
    int failed;

    if (size == 0 || start % axp_page_bytes != 0 || axp_span_overflows(start, size))
        return -EINVAL;
    size = whole_pages(size);
    failed = free_allocations(start, start + size, 1);
    return failed ? failed : free_allocations(start, start + size, 0);
}

int axp_populate(uintptr_t start, size_t size, uint32_t access)
{
    if ((access != AXP_READ && access != AXP_WRITE) || start % axp_page_bytes != 0)
        return -EINVAL;
    return axp_populate_by_touch(start, size, access);
}

int axp_prefer_large_pages(uintptr_t start, size_t size)
{
    (void)start;
    (void)size; /* a privilege, which few have */
    return 0;
}
