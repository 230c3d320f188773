/* SPDX-License-Identifier: MIT */
/* memory_posix.c: mapping and protecting memory. */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "emulator.h"
#include "guard.h"
#include "page.h"
#include "populate.h"

size_t axp_page_bytes = 4096;
int axp_is_emulated;

__attribute__((constructor)) static void ask_system(void)
{
    long size = sysconf(_SC_PAGESIZE);

    if (size > 0)
        axp_page_bytes = (size_t)size;
#if defined(__linux__)
    /* An emulator takes every advice for followed, also one that no system knows. */
    enum { NO_ADVICE = 0x7fff };
    int saved_errno = errno;

    axp_is_emulated =
        madvise((void *)axp_page_start((uintptr_t)&axp_page_bytes), axp_page_bytes, NO_ADVICE) == 0;
    errno = saved_errno;
#endif
}

size_t axp_page_size(void)
{
    return axp_page_bytes;
}

static int native_protection(uint32_t protection)
{
    return (protection & AXP_READ ? PROT_READ : 0) | (protection & AXP_WRITE ? PROT_WRITE : 0)
           | (protection & AXP_EXECUTE ? PROT_EXEC : 0);
}

int axp_map(uintptr_t start, size_t size, uint32_t protection, uint32_t options, int file, uint64_t offset,
            uintptr_t *start_out)
{
    int flags = options & AXP_MAP_SHARED ? MAP_SHARED : MAP_PRIVATE;
    void *mapped;

    if (file < 0)
        flags |= MAP_ANONYMOUS;
    if (options & AXP_MAP_FIXED)
        flags |= MAP_FIXED;
#if defined(MAP_POPULATE)
    if (options & AXP_MAP_POPULATE)
        flags |= MAP_POPULATE;
#endif
#if defined(MAP_NORESERVE)
    if (options & AXP_MAP_RESERVE)
        flags |= MAP_NORESERVE;
#endif
    if ((uint64_t)(off_t)offset != offset || (off_t)offset < 0)
        return -EOVERFLOW;
    mapped = mmap((void *)start, size, native_protection(protection), flags, file, (off_t)offset);
    if (mapped == MAP_FAILED)
        return -errno;
    *start_out = (uintptr_t)mapped;
    return 0;
}

int axp_protect(uintptr_t start, size_t size, uint32_t protection)
{
    return mprotect((void *)start, size, native_protection(protection)) == 0 ? 0 : -errno;
}

int axp_unmap(uintptr_t start, size_t size)
{
    return munmap((void *)start, size) == 0 ? 0 : -errno;
}

int axp_populate(uintptr_t start, size_t size, uint32_t access)
{
    if ((access != AXP_READ && access != AXP_WRITE) || start % axp_page_bytes != 0)
        return -EINVAL;
#if defined(MADV_POPULATE_READ)
    if (!axp_is_emulated) {
        int advice = access == AXP_WRITE ? MADV_POPULATE_WRITE : MADV_POPULATE_READ;

        if (madvise((void *)start, size, advice) == 0)
            return 0;
        if (errno != EINVAL) /* which a kernel that does not know the advice says too */
            return -errno;
    }
#endif
    return axp_populate_by_touch(start, size, access);
}

int axp_prefer_large_pages(uintptr_t start, size_t size)
{
#if defined(MADV_HUGEPAGE)
    uintptr_t first = axp_page_start(start + axp_page_bytes - 1);
    uintptr_t end = axp_page_start(start + size);
    int saved_errno = errno;

    if (first < end)
        madvise((void *)first, end - first, MADV_HUGEPAGE);
    errno = saved_errno;
#else
    (void)start;
    (void)size;
#endif
    return 0;
}
