/* SPDX-License-Identifier: MIT */
/* fault.c: what the calling thread knows of its accesses: the mark, and its latest faults. */
#include <errno.h>
#include <stdatomic.h>

#include "guard.h"
#include "thread.h"

static AXP_THREAD_LOCAL struct {
    axp_fault kept[AXP_FAULTS_KEPT]; /* a ring: a record that nobody took is overwritten in the end */
    uint32_t newest;
    uint32_t count;
    uint32_t accessing;
} thread;

uint32_t axp_abi_version(void)
{
    return AXP_ABI_VERSION;
}

const char *axp_compiler(void)
{
#if defined(__clang__)
    return "clang " __clang_version__;
#elif defined(__GNUC__)
    return "gcc " __VERSION__;
#else
    return "";
#endif
}

int axp_report(const axp_fault *fault)
{
    thread.newest = (thread.newest + 1) % AXP_FAULTS_KEPT;
    atomic_signal_fence(memory_order_seq_cst); /* a signal handler adds its own above, and takes it */
    thread.kept[thread.newest] = *fault;
    if (thread.count < AXP_FAULTS_KEPT)
        thread.count++;
    return -EFAULT;
}

int axp_refuse(uintptr_t address, uint32_t access, uint32_t reason)
{
    axp_fault fault = {.address = address, .access = access, .reason = reason};

    return axp_report(&fault);
}

int axp_take_fault(axp_fault *fault_out)
{
    if (thread.count == 0)
        return -ENOENT;
    *fault_out = thread.kept[thread.newest];
    atomic_signal_fence(memory_order_seq_cst);
    thread.newest = (thread.newest + AXP_FAULTS_KEPT - 1) % AXP_FAULTS_KEPT;
    thread.count--;
    return 0;
}

uint32_t axp_accessing_depth(void)
{
    return thread.accessing;
}

int axp_set_accessing_depth(uint32_t depth)
{
    thread.accessing = depth;
    return 0;
}

int axp_is_accessing(void)
{
    return thread.accessing != 0 || axp_guard_is_open();
}
