/* SPDX-License-Identifier: MIT */
/*
 * faults.c: catches real faults through axptr.h without any Python, for systems on which none is at hand.
 *
 * Prints each check that failed and how many passed; the exit status is 1 if any failed.  That macOS does not
 * say whether a mapped page is protected or past the end of its file is taken for what it is.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "axptr.h"

enum { THREADS = 8, FAULTS_A_THREAD = 1000, BEFORE = 13, ASKED = 64 };

static int passed, failed;

static void check(const char *what, int holds)
{
    if (holds) {
        passed++;
    } else {
        failed++;
        printf("FAILED: %s\n", what);
    }
}

/* Whether the newest fault is this one; takes it. */
static int is_fault(int result, uintptr_t address, uint64_t transferred, uint32_t access, uint32_t reason)
{
    axp_fault fault;

#if defined(__APPLE__)
    if (reason == AXP_BEYOND_END)
        reason = AXP_NOT_PERMITTED;
#endif
    if (result != -EFAULT || axp_take_fault(&fault) != 0)
        return 0;
    if (fault.address == address && fault.transferred == transferred && fault.access == access
        && fault.reason == reason)
        return 1;
    printf("address %#llx, transferred %llu, access %u, reason %u, signal %d, code %d\n",
           (unsigned long long)fault.address, (unsigned long long)fault.transferred, fault.access,
           fault.reason, fault.signal, fault.code);
    return 0;
}

/* Two pages of which the second cannot be accessed, for a reason.  Returns where it begins. */
static uintptr_t edge_for(uint32_t reason, uint32_t protection)
{
    size_t page = axp_page_size();
    FILE *file = reason == AXP_BEYOND_END ? tmpfile() : NULL;
    uintptr_t start = 0;
    int result;

    if (file != NULL && ftruncate(fileno(file), (off_t)page) != 0)
        abort();
    result = axp_map(0, 2 * page, protection, file != NULL ? AXP_MAP_SHARED : 0,
                     file != NULL ? fileno(file) : -1, 0, &start);
    if (result == 0 && reason == AXP_NOT_MAPPED)
        result = axp_unmap(start + page, page);
    if (result == 0 && reason == AXP_NOT_PERMITTED)
        result = axp_protect(start + page, page, 0);
    if (result != 0)
        abort();
    if (file != NULL)
        fclose(file);
    return start + page;
}

static void check_edge(const char *name, uint32_t reason)
{
    uintptr_t edge = edge_for(reason, AXP_READ | AXP_WRITE);
    uintptr_t good = edge_for(AXP_NOT_PERMITTED, AXP_READ | AXP_WRITE) - axp_page_size();
    unsigned char buffer[ASKED];
    size_t accessible = 0;
    uint32_t word = 1;

    printf("at the edge: %s\n", name);
    memset(buffer, 'x', sizeof buffer);
    memset((void *)(edge - axp_page_size()), 'y', axp_page_size());
    check("a read is caught",
          is_fault(axp_copy_from_user(buffer, edge - BEFORE, ASKED), edge, BEFORE, AXP_READ, reason));
    check("what was read is there and the rest is zero",
          buffer[BEFORE - 1] == 'y' && buffer[BEFORE] == 0 && buffer[ASKED - 1] == 0);
    check("a write is caught",
          is_fault(axp_copy_to_user(edge - BEFORE, buffer, ASKED), edge, BEFORE, AXP_WRITE, reason));
    check("a copy between is caught at its source",
          is_fault(axp_copy_in_user(good, edge - BEFORE, ASKED), edge, BEFORE, AXP_READ, reason));
    check("a copy between is caught at its target",
          is_fault(axp_copy_in_user(edge - BEFORE, good, ASKED), edge, BEFORE, AXP_WRITE, reason));
    check("a load is caught", is_fault(axp_load(edge, sizeof word, &word), edge, 0, AXP_READ, reason));
    check("an atomic is caught",
          is_fault(axp_atomic_fetch_add(edge, sizeof word, &word, &word), edge, 0, AXP_WRITE, reason));
    check("a probe for reading ends there",
          axp_probe_read(edge - BEFORE, ASKED, &accessible) == 0 && accessible == BEFORE);
    check("a probe for writing ends there",
          axp_probe_write(edge - BEFORE, ASKED, &accessible) == 0 && accessible == BEFORE);
}

static void check_wild(void)
{
    uintptr_t readable = edge_for(AXP_NOT_PERMITTED, AXP_READ) - axp_page_size();
    uint64_t word = 1;

    check("a write to what is read-only is caught",
          is_fault(axp_store(readable, sizeof word, &word), readable, 0, AXP_WRITE, AXP_NOT_PERMITTED));
    check("NULL is caught", is_fault(axp_load(0, sizeof word, &word), 0, 0, AXP_READ, AXP_NOT_MAPPED));
    check("what leaves the address space is refused",
          is_fault(axp_load(UINTPTR_MAX, sizeof word, &word), UINTPTR_MAX, 0, AXP_READ, AXP_OUT_OF_RANGE));
#if defined(__x86_64__)
    {
        uintptr_t wild = (uintptr_t)0xdeadbeefdeadbee8;

        check("what is not canonical is caught",
              is_fault(axp_load(wild, sizeof word, &word), wild, 0, AXP_READ, AXP_NOT_CANONICAL));
    }
#endif
}

static void *fault_often(void *edge)
{
    intptr_t caught = 0;
    sigset_t all;

    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL); /* a fault that is blocked kills: it has to be unblocked */
    for (int i = 0; i < FAULTS_A_THREAD; i++) {
        unsigned char buffer[ASKED];

        caught += is_fault(axp_copy_from_user(buffer, (uintptr_t)edge - BEFORE, ASKED), (uintptr_t)edge,
                           BEFORE, AXP_READ, AXP_NOT_PERMITTED);
    }
    return (void *)caught;
}

static void check_threads(void)
{
    uintptr_t edge = edge_for(AXP_NOT_PERMITTED, AXP_READ | AXP_WRITE);
    pthread_t threads[THREADS];

    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, fault_often, (void *)edge) != 0)
            abort();
    for (int i = 0; i < THREADS; i++) {
        void *caught = NULL;

        pthread_join(threads[i], &caught);
        check("a thread that blocks every signal catches all of its faults",
              (intptr_t)caught == FAULTS_A_THREAD);
    }
}

static sigjmp_buf way_out;

static void leave(int signal)
{
    (void)signal;
    siglongjmp(way_out, 1);
}

/* Whether a fault that is nobody's access reaches the handler that was there before us. */
static void check_passed_on(int signal)
{
    uintptr_t edge = edge_for(AXP_NOT_PERMITTED, AXP_READ | AXP_WRITE);
    struct sigaction action, before;
    volatile int reached = 1;

    memset(&action, 0, sizeof action);
    action.sa_handler = leave;
    if (sigaction(signal, &action, &before) != 0 || axp_install() != 0)
        abort();
    if (sigsetjmp(way_out, 1) == 0) {
        (void)*(volatile unsigned char *)edge;
        reached = 0;
    }
    check("a fault of somebody else reaches the handler that was there before", reached);
    sigaction(signal, &before, NULL);
    if (axp_install() != 0)
        abort();
}

/* Whether a child dies of the signal that this does. */
static int dies_of(void (*end)(uintptr_t edge), uintptr_t edge, int signal)
{
    int status = 0;
    pid_t child;

    fflush(stdout);
    child = fork();
    if (child == 0) {
        end(edge);
        _exit(0);
    }
    if (waitpid(child, &status, 0) != child)
        abort();
    return WIFSIGNALED(status) && WTERMSIG(status) == signal;
}

static void touch(uintptr_t edge)
{
    (void)*(volatile unsigned char *)edge;
}

static void read_into_what_is_bad(uintptr_t edge)
{
    axp_copy_from_user((void *)edge, edge - ASKED, ASKED);
}

static void be_killed(uintptr_t edge)
{
    (void)edge;
    kill(getpid(), SIGSEGV);
}

static void catch_and_leave(uintptr_t edge)
{
    uint32_t word;

    if (!is_fault(axp_load(edge, sizeof word, &word), edge, 0, AXP_READ, AXP_NOT_PERMITTED))
        abort();
    raise(SIGTERM);
}

int main(void)
{
    uintptr_t edge;
#if defined(__APPLE__)
    int signal_of_protection = SIGBUS;
#else
    int signal_of_protection = SIGSEGV;
#endif

    if (axp_abi_version() != AXP_ABI_VERSION || axp_install() != 0)
        abort();
    printf("compiled by %s, pages of %zu bytes\n", axp_compiler(), axp_page_size());
    check_edge("a protected page", AXP_NOT_PERMITTED);
    check_edge("a hole", AXP_NOT_MAPPED);
    check_edge("the end of a file", AXP_BEYOND_END);
    check_wild();
    check_threads();
    check_passed_on(signal_of_protection);
    edge = edge_for(AXP_NOT_PERMITTED, AXP_READ | AXP_WRITE);
    check("a child catches its faults", dies_of(catch_and_leave, edge, SIGTERM));
    check("a fault of nobody's access is deadly", dies_of(touch, edge, signal_of_protection));
    check("a fault in the caller's own buffer is deadly",
          dies_of(read_into_what_is_bad, edge, signal_of_protection));
    check("a signal that is sent is deadly", dies_of(be_killed, edge, SIGSEGV));
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
