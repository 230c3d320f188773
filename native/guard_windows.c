/* SPDX-License-Identifier: MIT */
/* guard_windows.c: the guard by a vectored exception handler and setjmp. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <windows.h>

#include "attempt.h"
#include "context_windows.h"
#include "guard.h"
#include "handlers_windows.h"
#include "thread.h"

/* Where an attempt is left after an exception.  It lives on the attempt's own stack. */
typedef struct guard_frame {
    jmp_buf landing;
    axp_attempt *attempt;
    struct guard_frame *previous;
    volatile uintptr_t mark; /* axp_mark_of() while the attempt is open */
} guard_frame;

/* What an exception says. */
typedef struct exception {
    uintptr_t address;
    uint32_t access;
    uint32_t reason; /* 0: it is no fault */
    int not_canonical;
} exception;

/* Of each thread, its innermost frame.  The system's own storage, because the handler is called for every
 * exception of every thread, and the compiler's may allocate at a thread's first access. */
static DWORD innermost = TLS_OUT_OF_INDEXES;

static AXP_THREAD_LOCAL uint64_t asked; /* until the clock shows another tick an attempt has nothing to ask */

__attribute__((constructor)) static void prepare_innermost(void)
{
    innermost = TlsAlloc();
}

static guard_frame *innermost_frame(void)
{
    DWORD saved_error = GetLastError();
    guard_frame *frame = TlsGetValue(innermost); /* which clears the error */

    SetLastError(saved_error);
    return frame;
}

/* ---- Inside the handler: no locks, no allocation, no stdio, and the thread's last error as it was. ---- */

static uint32_t access_of(const EXCEPTION_RECORD *record)
{
    enum { READING = 0, WRITING = 1 };

    switch (record->ExceptionInformation[0]) {
    case READING:
        return AXP_READ;
    case WRITING:
        return AXP_WRITE;
    default:
        return AXP_EXECUTE;
    }
}

static uint32_t reason_at(uintptr_t address)
{
    MEMORY_BASIC_INFORMATION found;

    if (VirtualQuery((const void *)address, &found, sizeof found) == 0 || found.State == MEM_FREE)
        return AXP_NOT_MAPPED;
    return AXP_NOT_PERMITTED; /* a reservation too: the addresses are taken */
}

/* The reason of an access violation is left to be found out, which takes a system call. */
static exception read_record(const EXCEPTION_RECORD *record)
{
    exception seen = {.reason = 0};

    if (record->NumberParameters >= 2) {
        seen.access = access_of(record);
        seen.address = record->ExceptionInformation[1];
    }
    switch (record->ExceptionCode) {
    case EXCEPTION_ACCESS_VIOLATION:
        seen.reason = AXP_NOT_PERMITTED;
        seen.not_canonical = seen.address == UINTPTR_MAX; /* said of all of them; and of that address */
        break;
    case EXCEPTION_GUARD_PAGE:
    case EXCEPTION_STACK_OVERFLOW:
        seen.reason = AXP_NOT_PERMITTED;
        break;
    case EXCEPTION_IN_PAGE_ERROR:
        seen.reason = AXP_BEYOND_END;
        break;
    case EXCEPTION_DATATYPE_MISALIGNMENT:
        seen.reason = AXP_MISALIGNED;
        break;
    case EXCEPTION_PRIV_INSTRUCTION: /* a general protection fault like the others, elsewhere */
        seen.reason = AXP_NOT_CANONICAL;
        seen.not_canonical = 1;
        break;
    default:
        break;
    }
    return seen;
}

/* The system takes a guard off as it reports it.  One in user memory is somebody's, perhaps the end of
 * another thread's stack, which would not grow any more. */
static void put_guard_back(uintptr_t address)
{
    MEMORY_BASIC_INFORMATION found;
    DWORD before;

    if (VirtualQuery((const void *)address, &found, sizeof found) != 0 && found.State == MEM_COMMIT)
        VirtualProtect((void *)axp_page_start(address), 1, found.Protect | PAGE_GUARD, &before);
}

/* What a fault of an attempt was, or 0 if it is not the attempt's. */
static int describe_fault(axp_attempt *attempt, const EXCEPTION_RECORD *record, const CONTEXT *context)
{
    exception seen = read_record(record);
    uintptr_t address = seen.address;
    uint32_t access = seen.access;

    if (attempt->call == NULL) {
        const axp_span *span = NULL;

        if (seen.not_canonical)
            span = axp_span_off_canonical(attempt);
        if (span == NULL) {
            seen.not_canonical = 0;
            span = axp_span_at(attempt, address, access);
        }
        if (span == NULL || record->ExceptionCode == EXCEPTION_STACK_OVERFLOW)
            return 0;
        address = axp_first_bad_byte(attempt, span, seen.not_canonical ? 0 : address);
        access = span->access;
    } else {
        if (axp_is_in_interpreter(attempt->call))
            return 0;
        attempt->call->instruction = axp_instruction(context);
        if (seen.not_canonical)
            address = 0;
    }
    if (seen.not_canonical)
        seen.reason = AXP_NOT_CANONICAL;
    else if (record->ExceptionCode == EXCEPTION_ACCESS_VIOLATION)
        seen.reason = reason_at(seen.address);
    else if (record->ExceptionCode == EXCEPTION_GUARD_PAGE)
        put_guard_back(seen.address);
    attempt->fault = (axp_fault){
        .address = address,
        .transferred = attempt->done,
        .access = access,
        .reason = seen.reason,
        .signal = SIGSEGV, /* as the C library has it */
        .code = (int32_t)record->ExceptionCode,
    };
    return 1;
}

static void land(void *frame)
{
    longjmp(((guard_frame *)frame)->landing, 1);
}

/* What a function does that is called under guard is its own fault, even if an access that is not concerned
 * is open further in. */
static guard_frame *frame_of_fault(const EXCEPTION_RECORD *record, const CONTEXT *context)
{
    guard_frame *first = innermost_frame();

    for (guard_frame *frame = first;
         frame != NULL && axp_stack_pointer(context) < (uintptr_t)frame && frame->mark == axp_mark_of(frame);
         frame = frame->previous)
        if ((frame == first || frame->attempt->call != NULL)
            && describe_fault(frame->attempt, record, context))
            return frame;
    return NULL;
}

/* An attempt is not left from inside the handler: the system counts who is in it. */
LONG CALLBACK axp_on_exception(EXCEPTION_POINTERS *pointers)
{
    DWORD saved_error = GetLastError();
    guard_frame *frame = NULL;

    if (read_record(pointers->ExceptionRecord).reason != 0)
        frame = frame_of_fault(pointers->ExceptionRecord, pointers->ContextRecord);
    SetLastError(saved_error);
    if (frame == NULL)
        return EXCEPTION_CONTINUE_SEARCH;
    frame->mark = 0;
    axp_go_on_by_calling(pointers->ContextRecord, land, frame, frame->landing);
    return EXCEPTION_CONTINUE_EXECUTION;
}

/* ---- Outside the handler. ---- */

int axp_install(void)
{
    return innermost == TLS_OUT_OF_INDEXES ? -EAGAIN : axp_go_in_front(1);
}

void axp_ask_about_attempts(void)
{
    asked = 0;
}

/* What an attempt asks that is not the first one of its tick, or while faults are injected: nothing of either
 * is in the way of the others.  Returns nonzero if the attempt is not to be. */
static __attribute__((noinline)) int ask_about(axp_attempt *attempt, uint64_t tick)
{
    int injecting = axp_is_injecting();

    axp_go_in_front(0);
    asked = injecting ? 0 : tick;
    return injecting && axp_inject_attempt(attempt);
}

/* Called by the system when somebody's handler further out has taken an exception that is not ours, as that
 * of ctypes does, and axp_guarded() is abandoned, which lies from establisher on. */
static __attribute__((used)) EXCEPTION_DISPOSITION leave_unwound(EXCEPTION_RECORD *record, void *establisher,
                                                                 CONTEXT *context, void *dispatcher)
{
    guard_frame *frame = innermost_frame();

    (void)context;
    (void)dispatcher;
    if (!(record->ExceptionFlags & (EXCEPTION_UNWINDING | EXCEPTION_EXIT_UNWIND)))
        return ExceptionContinueSearch;
    while (frame != NULL && (uintptr_t)frame < (uintptr_t)establisher)
        frame = frame->previous;
    if (frame != NULL && frame->mark == axp_mark_of(frame)) {
        frame->mark = 0;
        TlsSetValue(innermost, frame->previous);
    }
    return ExceptionContinueSearch;
}

int axp_guarded(axp_attempt *attempt)
{
    guard_frame frame;
    uint64_t tick = GetTickCount64(); /* from a page that all processes share: no system call */

    __asm__ volatile(".seh_handler leave_unwound, @unwind");

    if (tick != asked && ask_about(attempt, tick))
        return -EFAULT;
    attempt->done = 0;
    frame.attempt = attempt;
    frame.previous = innermost_frame();
    frame.mark = axp_mark_of(&frame);
    if (_setjmp(frame.landing, NULL) == 0) { /* NULL: longjmp unwinds nothing, runs nobody's handlers */
        atomic_signal_fence(memory_order_seq_cst);
        TlsSetValue(innermost, &frame);
        attempt->run(attempt);
        TlsSetValue(innermost, frame.previous);
        frame.mark = 0;
        return 0;
    }
    TlsSetValue(innermost, frame.previous);
    return -EFAULT;
}

int axp_guard_is_open(void)
{
    const guard_frame *frame = innermost_frame();

    return frame != NULL && (uintptr_t)__builtin_frame_address(0) < (uintptr_t)frame
           && frame->mark == axp_mark_of(frame) && frame->attempt->call == NULL;
}
