/* SPDX-License-Identifier: MIT */
/*
 * races.c: threads that read, write, fault, inject faults, put handlers on top and change mappings, all at
 * once, for so many seconds.  It is meant to be run under ThreadSanitizer, and ends well by itself only if
 * what each access said was possible.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "axptr.h"

#define CHECK(condition) ((condition) ? (void)0 : broken(#condition, __LINE__))

/* The shared memory: good pages, one that is protected and opened again all the time, and a bad one. */
enum {
    GOOD_PAGES = 2,
    FLICKERING = GOOD_PAGES,
    BAD,
    SHARED_PAGES,
    OWN_PAGES = 4,
    THREADS = 8,
    OWN_SIZE = 12288
};

static size_t page_size;
static uintptr_t shared;
static atomic_int stopping;
static atomic_ulong accesses, faults;

static _Noreturn void broken(const char *condition, int line)
{
    fprintf(stderr, "races.c:%d: does not hold: %s\n", line, condition);
    abort();
}

int __interceptor_sigaction(int signal, const struct sigaction *action, struct sigaction *replaced_out);

/*
 * In the system, setting an action and reading it exclude each other.  gcc's ThreadSanitizer, whose handler
 * is the system's, keeps the program's own in a table, and does not read that at once: the library was given
 * half of one handler's address and half of another's, and called it.  So whoever asks here, the library too,
 * does so alone. Relaxed: the sanitizer must not take this for an order that the system gives.
 */
int sigaction(int signal, const struct sigaction *action, struct sigaction *replaced_out)
{
    static atomic_flag busy = ATOMIC_FLAG_INIT;
    sigset_t all, mask;
    int result;

    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &mask); /* a handler asks too */
    while (atomic_flag_test_and_set_explicit(&busy, memory_order_relaxed))
        sched_yield();
    result = __interceptor_sigaction(signal, action, replaced_out);
    atomic_flag_clear_explicit(&busy, memory_order_relaxed);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    return result;
}

typedef struct worker {
    pthread_t thread;
    unsigned number;
    uint64_t seed;
    uintptr_t own; /* pages of this thread's own, each its own page of the shared mapping's kind */
    unsigned char buffer[OWN_SIZE];
} worker;

static size_t below(worker *worker, size_t count)
{
    worker->seed = worker->seed * 6364136223846793005 + 1442695040888963407;
    return (size_t)(worker->seed >> 33) % count;
}

/* An access succeeds, or leaves a record of a fault inside its span. */
static void check(int result, uintptr_t start, size_t size)
{
    axp_fault fault;

    atomic_fetch_add_explicit(&accesses, 1, memory_order_relaxed);
    if (result == 0) {
        CHECK(axp_take_fault(&fault) == -ENOENT);
        return;
    }
    atomic_fetch_add_explicit(&faults, 1, memory_order_relaxed);
    CHECK(result == -EFAULT && axp_take_fault(&fault) == 0);
    CHECK(fault.address - start < size);
}

static void copy(worker *worker)
{
    uintptr_t at = shared + below(worker, SHARED_PAGES * page_size - OWN_SIZE);
    size_t size = 1 + below(worker, OWN_SIZE);
    size_t found;

    switch (below(worker, 7)) {
    case 0:
        check(axp_copy_from_user(worker->buffer, at, size), at, size);
        break;
    case 1:
        check(axp_copy_to_user(at, worker->buffer, size), at, size);
        break;
    case 2:
        check(axp_fill_user(at, (uint8_t)size, size), at, size);
        break;
    case 3:
        check(axp_strncpy_from_user(worker->buffer, OWN_SIZE, at, size, &found), at, size);
        break;
    case 4:
        check(axp_strnlen_user(at, 1, size, &found), at, size);
        break;
    case 5:
        check(axp_find_nonzero_user(at, size, &found), at, size);
        break;
    default:
        check(axp_probe_write(at, size, &found), at, size);
        break;
    }
}

static void update_word(worker *worker)
{
    uintptr_t at = shared + below(worker, SHARED_PAGES * page_size / 8) * 8;
    uint64_t operand = 1, seen = 0;

    switch (below(worker, 4)) {
    case 0:
        check(axp_load(at, 8, &seen), at, 8);
        break;
    case 1:
        check(axp_store(at, 8, &operand), at, 8);
        break;
    case 2:
        check(axp_atomic_fetch_add(at, 8, &operand, &seen), at, 8);
        break;
    default:
        check(axp_atomic_compare_exchange(at, 8, &seen, &operand, &seen), at, 8);
        break;
    }
}

static void gather(worker *worker)
{
    enum { COUNT = 16 };
    const axp_batch_limits limits = {UINTPTR_MAX, UINT64_MAX, 0, 0};
    uint64_t addresses[COUNT];
    uint8_t ok[COUNT];
    size_t done;
    int result;

    for (size_t i = 0; i < COUNT; i++)
        addresses[i] = shared + below(worker, (SHARED_PAGES - 1) * page_size);
    result = axp_gather_from_user(worker->buffer, addresses, COUNT, 8, &limits, ok, &done);
    CHECK(result == 0 || result == -EFAULT); /* by an injected fault */
    check(result, 0, SIZE_MAX);
    CHECK(result != 0 || axp_is_injecting() || done == COUNT);
}

/* One access of this thread's is made to fail, or none is. */
static void inject(worker *worker)
{
    axp_injection injection = {.probability = AXP_INJECTION_ONE, .times = 1};
    axp_fault fault;
    uint64_t seen;

    CHECK(axp_begin_injection(&injection) == 0);
    CHECK(axp_load(worker->own, 8, &seen) == -EFAULT && axp_take_fault(&fault) == 0);
    CHECK(fault.reason == AXP_INJECTED && axp_is_injecting());
    CHECK(axp_load(worker->own, 8, &seen) == 0);
    CHECK(axp_end_injection(&injection) == 0);
}

static int read_at(const volatile int *address)
{
    return *address;
}

/* A call of a function, which reads what is good or what is not. */
static void call(worker *worker)
{
    axp_call described = {.function = (uintptr_t)read_at};
    uintptr_t at = below(worker, 2) ? worker->own : shared + BAD * page_size;
    axp_caller caller;

    CHECK(axp_caller_of(AXP_RESULT_WORD, &caller) == 0);
    ((uint64_t (*)(uint64_t, uintptr_t))caller.address)((uintptr_t)&described, at);
    CHECK(described.failed == (at == worker->own ? 0 : -EFAULT));
    CHECK(at == worker->own || described.fault.address == at);
}

/* Pages of this thread's own are there or not there, as it wills. */
static void remap(worker *worker)
{
    uintptr_t at = worker->own + (1 + below(worker, OWN_PAGES - 1)) * page_size;
    uint32_t protection = below(worker, 2) ? AXP_READ | AXP_WRITE : 0;
    uintptr_t mapped;
    size_t found;

    if (below(worker, 2))
        CHECK(axp_protect(at, page_size, protection) == 0);
    else
        CHECK(axp_map(at, page_size, protection, AXP_MAP_FIXED, -1, 0, &mapped) == 0);
    CHECK(axp_probe_read(at, page_size, &found) == 0 && found == (protection != 0 ? page_size : 0));
    CHECK(axp_protect(shared + FLICKERING * page_size, page_size, protection) == 0);
}

/* ---- Handlers. ---- */

static struct sigaction before[2];
static const int signals[2] = {SIGSEGV, SIGBUS};

/* A fault of somebody's own, outside of any access: opens the page, and the instruction runs again. */
static void on_own_fault(int signal, siginfo_t *info, void *context)
{
    uintptr_t page = (uintptr_t)info->si_addr & ~(page_size - 1);

    (void)signal;
    (void)context;
    if (info->si_code <= 0)
        return;
    if (mprotect((void *)page, page_size, PROT_READ | PROT_WRITE) != 0)
        _Exit(3);
}

static void on_forward(int signal, siginfo_t *info, void *context)
{
    before[signal == SIGBUS].sa_sigaction(signal, info, context);
}

static void set_handlers(void (*handler)(int signal, siginfo_t *info, void *context))
{
    struct sigaction action;

    memset(&action, 0, sizeof action);
    action.sa_sigaction = handler;
    action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
    for (int i = 0; i < 2; i++)
        CHECK(sigaction(signals[i], &action, NULL) == 0);
}

static void handle(worker *worker)
{
    axp_handler found;
    axp_symbol symbol;

    switch (below(worker, 3)) {
    case 0:
        set_handlers(on_forward);
        CHECK(axp_install() == 0);
        break;
    case 1:
        CHECK(axp_install() == 0);
        break;
    default:
        CHECK(axp_handler_at(SIGSEGV, (uint32_t)below(worker, 3), &found) <= 0);
        CHECK(axp_symbol_at((uintptr_t)axp_install, &symbol) == 0);
        break;
    }
}

/* The handler below resolves it. */
static void fault_outside(worker *worker)
{
    uintptr_t at = worker->own + (OWN_PAGES - 1) * page_size;

    CHECK(axp_protect(at, page_size, 0) == 0);
    *(volatile int *)at = 1;
    CHECK(raise(SIGSEGV) == 0);
}

static void *work(void *argument)
{
    static void (*const works[])(worker *worker) = {copy,  update_word, gather, inject,       call,
                                                    remap, handle,      copy,   fault_outside};
    worker *worker = argument;

    while (!atomic_load_explicit(&stopping, memory_order_relaxed))
        works[below(worker, sizeof works / sizeof works[0])](worker);
    return NULL;
}

int main(int count, char **arguments)
{
    static worker workers[THREADS];
    time_t seconds = count > 1 ? strtol(arguments[1], NULL, 0) : 5;
    axp_injection everywhere = {.probability = AXP_INJECTION_ONE, .interval = 16, .times = 0}, reached;

    page_size = axp_page_size();
    CHECK(axp_map(0, SHARED_PAGES * page_size + OWN_SIZE, AXP_READ | AXP_WRITE, 0, -1, 0, &shared) == 0);
    CHECK(axp_protect(shared + BAD * page_size, page_size + OWN_SIZE, 0) == 0);
    set_handlers(on_own_fault);
    CHECK(axp_install() == 0);
    for (int i = 0; i < 2; i++)
        CHECK(sigaction(signals[i], NULL, &before[i]) == 0);
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i].number = i;
        workers[i].seed = i + 1;
        CHECK(axp_map(0, OWN_PAGES * page_size, AXP_READ | AXP_WRITE, 0, -1, 0, &workers[i].own) == 0);
        CHECK(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0);
    }
    nanosleep(&(struct timespec){.tv_sec = seconds / 2, .tv_nsec = 500000000}, NULL);
    CHECK(axp_inject_everywhere(&everywhere) == 0); /* which never fails, and counts */
    for (time_t passed = seconds / 2; passed < seconds; passed++) {
        nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
        CHECK(axp_injection_everywhere(&reached) == 0);
    }
    atomic_store(&stopping, 1);
    for (unsigned i = 0; i < THREADS; i++)
        CHECK(pthread_join(workers[i].thread, NULL) == 0);
    printf("%lu accesses, of which %lu faulted\n", atomic_load(&accesses), atomic_load(&faults));
    return 0;
}
