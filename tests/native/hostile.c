/* SPDX-License-Identifier: MIT */
/* hostile.c: company that the guard has to live with; the tests compile it and load it with ctypes. */
#define _GNU_SOURCE
#include <errno.h>
#include <fenv.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

typedef int (*copy_function)(void *to, uintptr_t from, size_t size);

/* ---- Handlers that were there first. ---- */

static sigjmp_buf landing;
static stack_t alternate;
static volatile uint64_t calls;
static volatile uint64_t wanted_calls;
static volatile sig_atomic_t enough;

uint64_t hostile_calls(void)
{
    return calls;
}

static int is_on_alternate_stack(void)
{
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);

    return here - (uintptr_t)alternate.ss_sp < alternate.ss_size;
}

static void say(const char *who, int signal, uintptr_t address, int code)
{
    char line[160];
    int size = snprintf(line, sizeof line, "%s signal=%d address=%#lx code=%d alternate=%d\n", who, signal,
                        (unsigned long)address, code, is_on_alternate_stack());

    if (write(1, line, (size_t)size) != size)
        _exit(99);
}

void hostile_report(int signal, siginfo_t *info, void *context)
{
    if (context == NULL)
        _exit(98);
    say("report", signal, (uintptr_t)info->si_addr, info->si_code);
    _exit(42);
}

void hostile_plain(int signal)
{
    say("plain", signal, 0, 0);
    _exit(43);
}

void hostile_once(int signal, siginfo_t *info, void *context)
{
    (void)context;
    say("once", signal, (uintptr_t)info->si_addr, info->si_code);
}

void hostile_jump(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    (void)info;
    (void)context;
    calls++;
    siglongjmp(landing, 1);
}

void hostile_fix(int signal, siginfo_t *info, void *context)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

    (void)signal;
    (void)context;
    calls++;
    if (mprotect((void *)((uintptr_t)info->si_addr & ~(page - 1)), page, PROT_READ | PROT_WRITE) != 0)
        _exit(97);
    enough = calls == wanted_calls;
}

void hostile_return(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    (void)info;
    (void)context;
    calls++;
}

void hostile_crash(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    (void)info;
    (void)context;
    calls++;
    *(volatile char *)16 = 1;
}

static struct sigaction below; /* the handler that "count" was put on top of */

/* Sees each signal that the handler below gets. */
void hostile_count(int signal, siginfo_t *info, void *context)
{
    calls++;
    below.sa_sigaction(signal, info, context);
}

static const struct {
    const char *name;
    void (*handler)(int signal, siginfo_t *info, void *context);
    int flags;
} kinds[] = {
    {"report", hostile_report, SA_SIGINFO | SA_ONSTACK},
    {"plain", (void (*)(int, siginfo_t *, void *))(void (*)(void))hostile_plain, SA_ONSTACK},
    {"once", hostile_once, SA_SIGINFO | (int)SA_RESETHAND},
    {"fix once", hostile_fix, SA_SIGINFO | (int)SA_RESETHAND},
    {"jump", hostile_jump, SA_SIGINFO | SA_NODEFER},
    {"fix", hostile_fix, SA_SIGINFO},
    {"return", hostile_return, SA_SIGINFO},
    {"crash", hostile_crash, SA_SIGINFO},
    {"count", hostile_count, SA_SIGINFO | SA_NODEFER | SA_ONSTACK},
};

int hostile_install(int signal, const char *kind)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (strcmp(kinds[i].name, kind) == 0) {
            struct sigaction action, replaced;
            int failed;

            memset(&action, 0, sizeof action);
            action.sa_sigaction = kinds[i].handler;
            action.sa_flags = kinds[i].flags;
            failed = sigaction(signal, &action, &replaced);
            if (kinds[i].handler == hostile_count && replaced.sa_sigaction != hostile_count)
                below = replaced;
            return failed;
        }
    return -1;
}

int hostile_alternate_stack(void)
{
    alternate.ss_size = 256 * 1024;
    alternate.ss_sp = malloc(alternate.ss_size);
    return sigaltstack(&alternate, NULL);
}

/* ---- Accesses that nobody guards. ---- */

void hostile_write(uintptr_t address)
{
    *(volatile char *)address = 1;
}

/* Faults and is repaired, a number of times with the very same registers: a runtime with a write barrier. */
void hostile_write_and_protect(uintptr_t page, size_t times)
{
    size_t size = (size_t)sysconf(_SC_PAGESIZE);

    wanted_calls = calls + times;
    while (!enough) {
        mprotect((void *)page, size, PROT_NONE);
        *(volatile char *)page = 1;
    }
    enough = 0;
}

/* Returns 1 if the handler "jump" took us out of a fault that happened at this depth of the stack. */
__attribute__((noinline)) int hostile_try(uintptr_t address, size_t depth)
{
    volatile char *room = __builtin_alloca(depth + 1);

    room[depth] = room[0] = 1;
    if (sigsetjmp(landing, 1) == 0) {
        *(volatile char *)address = 1;
        return 0;
    }
    return 1;
}

/* The same around a copy. */
int hostile_try_copy(copy_function copy, void *to, uintptr_t from, size_t size)
{
    if (sigsetjmp(landing, 1) == 0) {
        copy(to, from, size);
        return 0;
    }
    return 1;
}

/* Calls it deeper in the stack. */
__attribute__((noinline)) int hostile_copy_at_depth(copy_function copy, void *to, uintptr_t from, size_t size,
                                                    size_t depth)
{
    volatile char *room = __builtin_alloca(depth + 1);
    int result;

    room[depth] = room[0] = 1;
    result = copy(to, from, size);
    room[0] = room[depth];
    return result;
}

/* ---- Signal handlers that interrupt a guarded access. ---- */

static int (*is_accessing)(void);
static copy_function nested_copy;
static uintptr_t nested_address;
static volatile sig_atomic_t nested_wrong;
static volatile sig_atomic_t nested_count;

static void on_alarm_fault(int signal)
{
    (void)signal;
    if (is_accessing())
        *(volatile char *)nested_address = 1;
}

static void on_alarm_copy(int signal)
{
    char buffer[32];
    int saved_errno = errno;

    (void)signal;
    if (!is_accessing())
        return;
    if (nested_copy(buffer, nested_address, sizeof buffer) != -EFAULT)
        nested_wrong++;
    nested_count++;
    errno = saved_errno;
}

static void on_alarm_recover(int signal)
{
    int saved_errno = errno;

    (void)signal;
    if (!is_accessing())
        return;
    if (sigsetjmp(landing, 1) == 0)
        *(volatile char *)nested_address = 1;
    nested_count++;
    errno = saved_errno;
}

static int start_alarms(void (*handler)(int), int microseconds)
{
    struct sigaction action;
    struct itimerval interval = {{0, microseconds}, {0, microseconds}};

    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    action.sa_flags = SA_RESTART;
    if (sigaction(SIGALRM, &action, NULL) != 0)
        return -1;
    return setitimer(ITIMER_REAL, &interval, NULL);
}

/* From now on an alarm that interrupts a guarded access touches an address by itself ... */
int hostile_alarm_faults(int (*accessing)(void), uintptr_t address, int microseconds)
{
    is_accessing = accessing;
    nested_address = address;
    return start_alarms(on_alarm_fault, microseconds);
}

/* ... or copies from it, guarded. */
int hostile_alarm_copies(int (*accessing)(void), copy_function copy, uintptr_t address, int microseconds)
{
    is_accessing = accessing;
    nested_copy = copy;
    nested_address = address;
    return start_alarms(on_alarm_copy, microseconds);
}

/* ... or touches it and recovers with the handler "jump", as a profiler that walks the stack does. */
int hostile_alarm_recovers(int (*accessing)(void), uintptr_t address, int microseconds)
{
    is_accessing = accessing;
    nested_address = address;
    return start_alarms(on_alarm_recover, microseconds);
}

int hostile_stop_alarms(void)
{
    struct itimerval never = {{0, 0}, {0, 0}};

    return setitimer(ITIMER_REAL, &never, NULL);
}

int hostile_nested_count(void)
{
    return nested_count;
}

int hostile_nested_wrong(void)
{
    return nested_wrong;
}

/* ---- Threads without Python. ---- */

static int (*hammered)(void);
static struct sigaction before[2];
static volatile sig_atomic_t hammering;
static const int hammered_signals[2] = {SIGSEGV, SIGBUS};

static void on_forward(int signal, siginfo_t *info, void *context)
{
    before[signal == SIGBUS].sa_sigaction(signal, info, context);
}

static void *hammer(void *unused)
{
    (void)unused;
    while (hammering) {
        struct sigaction action;

        memset(&action, 0, sizeof action);
        action.sa_sigaction = on_forward;
        action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
        for (int i = 0; i < 2; i++)
            sigaction(hammered_signals[i], &action, NULL);
        hammered();
    }
    return NULL;
}

static void *hammer_only(void *unused)
{
    (void)unused;
    while (hammering)
        hammered();
    return NULL;
}

static int start_hammers(void *(*body)(void *), int threads)
{
    pthread_t thread;

    hammering = 1;
    for (int i = 0; i < threads; i++) {
        if (pthread_create(&thread, NULL, body, NULL) != 0)
            return -1;
        pthread_detach(thread);
    }
    return 0;
}

/* Threads that for ever put a handler on top, which passes everything on to who is there now, and call
 * install(). */
int hostile_hammer(int (*install)(void), int threads)
{
    hammered = install;
    for (int i = 0; i < 2; i++)
        sigaction(hammered_signals[i], NULL, &before[i]);
    return start_hammers(hammer, threads);
}

/* Threads that for ever call install() and nothing else. */
int hostile_hammer_install(int (*install)(void), int threads)
{
    hammered = install;
    return start_hammers(hammer_only, threads);
}

static struct sigaction forwarded[2];

/* Compiled with optimization this is a jump: the one below finds the stack as the system left it. */
static void forward(int signal, siginfo_t *info, void *context)
{
    forwarded[signal == SIGBUS].sa_sigaction(signal, info, context);
}

/* Goes on top with every signal blocked meanwhile, and has whoever is there now do the work. */
int hostile_forward_blocking(void)
{
    struct sigaction action = {.sa_sigaction = forward, .sa_flags = SA_SIGINFO | SA_ONSTACK};

    sigfillset(&action.sa_mask);
    for (int i = 0; i < 2; i++)
        if (sigaction(i ? SIGBUS : SIGSEGV, &action, &forwarded[i]) != 0)
            return -1;
    return 0;
}

typedef struct message {
    pthread_t target;
    int signal;
    int microseconds;
    int times;
} message;

static void *deliver(void *argument)
{
    message *sent = argument;

    for (int i = 0; i < sent->times; i++) {
        usleep((useconds_t)sent->microseconds);
        pthread_kill(sent->target, sent->signal);
    }
    return NULL;
}

/* A thread that does not wait for Python sends the caller a signal, later and so many times. */
int hostile_send_later(int signal, int microseconds, int times)
{
    static message sent;
    pthread_t thread;

    sent = (message){pthread_self(), signal, microseconds, times};
    return pthread_create(&thread, NULL, deliver, &sent);
}

/* ---- What a caught fault must leave alone. ---- */

typedef struct hostile_state {
    uint32_t mxcsr;
    uint32_t x87;
    int32_t rounding;
    int32_t error;
    uint64_t mask;
    uint64_t stack;
    uint64_t stack_size;
    int32_t stack_flags;
    int32_t result;
} hostile_state;

static void take_state(hostile_state *state)
{
    sigset_t mask;
    stack_t stack;

    state->error = errno;
    state->rounding = fegetround();
#if defined(__x86_64__)
    __asm__ volatile("stmxcsr %0" : "=m"(state->mxcsr));
    __asm__ volatile("fnstcw %0" : "=m"(*(uint16_t *)&state->x87));
#endif
    sigprocmask(SIG_BLOCK, NULL, &mask);
    for (int signal = 1; signal < 64; signal++)
        state->mask |= (uint64_t)(sigismember(&mask, signal) == 1) << signal;
    sigaltstack(NULL, &stack);
    state->stack = (uintptr_t)stack.ss_sp;
    state->stack_size = stack.ss_size;
    state->stack_flags = stack.ss_flags;
}

/* Changes all of it away from the defaults, copies, and tells what it was before and after. */
void hostile_copy_in_odd_state(copy_function copy, void *to, uintptr_t from, size_t size,
                               hostile_state *before_out, hostile_state *after_out)
{
    sigset_t odd, usual;
    fenv_t environment;

    memset(before_out, 0, sizeof *before_out);
    memset(after_out, 0, sizeof *after_out);
    sigemptyset(&odd);
    sigaddset(&odd, SIGUSR2);
    sigaddset(&odd, SIGWINCH);
    sigprocmask(SIG_BLOCK, &odd, &usual);
    fegetenv(&environment);
    fesetround(FE_UPWARD);
#if defined(__x86_64__)
    {
        uint32_t mxcsr;
        uint16_t x87;

        __asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
        mxcsr |= 0x8040; /* flush to zero, denormals are zero */
        __asm__ volatile("ldmxcsr %0" : : "m"(mxcsr));
        __asm__ volatile("fnstcw %0" : "=m"(x87));
        x87 = (uint16_t)(x87 & ~0x300); /* single precision */
        __asm__ volatile("fldcw %0" : : "m"(x87));
    }
#endif
    errno = 4321;
    take_state(before_out);
    errno = 4321;
    after_out->result = copy(to, from, size);
    take_state(after_out);
    fesetenv(&environment);
    sigprocmask(SIG_SETMASK, &usual, NULL);
}
