/* SPDX-License-Identifier: MIT */
/*
 * axptr.h: access to memory that is not trusted.
 *
 * The caller is the kernel; "user memory" is any address that it does not trust.  A hardware fault
 * (SIGSEGV, SIGBUS) during one of these calls, inside the user span that was named, becomes -EFAULT.
 * A fault anywhere else goes to whoever handled the signal before us.  On Windows these are exceptions.
 *
 * Rules of every function:
 *
 * - It returns 0 or a negative errno value.  Results come last, through pointers that end in _out, and
 *   are written only on success unless the function says otherwise.
 * - User addresses are uintptr_t.  Pointers are the caller's own memory: they must be good, and a fault
 *   there is a bug that crashes.
 * - Sizes are in bytes, counts in elements.  Size 0 succeeds and touches nothing, whatever the address.
 * - A span that does not fit into the address space is refused (AXP_OUT_OF_RANGE) and nothing is touched.
 * - After -EFAULT the calling thread has one more fault record, until axp_take_fault() takes it.
 * - Everything may be called from any thread, before or after fork(), without registration.  Nothing
 *   allocates.
 * - errno (but for memory_*.c), the alternate signal stack, the floating-point environment and the signal
 * mask are left alone, except that SIGSEGV and SIGBUS are unblocked, at a thread's first access and at the
 * first after a tick of the coarse clock: a fault that is blocked cannot be handled.
 * - Handlers that were there before us are called, for what is not ours, on the alternate stack if the thread
 * has one, and with the signal unblocked.
 */
#ifndef AXPTR_H
#define AXPTR_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define AXP_API __declspec(dllexport)
#else
#define AXP_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Raised by one with every incompatible change of this header. */
#define AXP_ABI_VERSION 1

/* What was attempted (axp_fault.access), and what a mapping allows.  The values are axptr's MappingFlags. */
#define AXP_READ 1
#define AXP_WRITE 2
#define AXP_EXECUTE 4

/* Why a span could not be accessed (axp_fault.reason). */
#define AXP_NOT_MAPPED 1    /* nothing is mapped there */
#define AXP_NOT_PERMITTED 2 /* mapped, but not for this access */
#define AXP_BEYOND_END 3    /* a mapping past the end of its file or object */
#define AXP_NOT_CANONICAL 4 /* not an address that the processor can form */
#define AXP_MISALIGNED 5    /* an atomic access off its natural boundary */
#define AXP_REFUSED 6       /* a check or a pager said no */
#define AXP_OUT_OF_RANGE 7  /* start + size leaves the address space */
#define AXP_HARDWARE 8      /* the memory itself failed */
#define AXP_INJECTED 9      /* a simulated fault */

typedef struct axp_fault {
    uint64_t address;     /* the first byte that could not be accessed */
    uint64_t transferred; /* bytes done before it, exact; 0 for a load, a store or an atomic */
    uint32_t access;      /* AXP_READ or AXP_WRITE */
    uint32_t reason;      /* AXP_NOT_MAPPED ... */
    int32_t signal;       /* SIGSEGV or SIGBUS; 0 if refused before anything was touched.  Windows: SIGSEGV */
    int32_t code;         /* the signal's si_code.  Windows: the exception's code */
} axp_fault;

/* The version of this header that the library was compiled with. */
AXP_API uint32_t axp_abi_version(void);

/* The compiler that built the library, for reports. */
AXP_API const char *axp_compiler(void);

/*
 * Takes the calling thread's newest fault record.  The records are a stack of AXP_FAULTS_KEPT: code that
 * interrupts the caller between the failing call and this one (a signal handler, a finalizer) takes its own
 * and leaves the caller's.  -ENOENT if there is none.
 */
#define AXP_FAULTS_KEPT 4
AXP_API int axp_take_fault(axp_fault *fault_out);

/*
 * Puts our handler on top for SIGSEGV and SIGBUS, now.  May be called at any time and any number of times.
 * Without it a handler that somebody else has put on top is noticed at the first access after the next
 * tick of the coarse clock (4 ms on most systems).
 */
AXP_API int axp_install(void);

/* A signal's handlers as they are asked in turn. */
typedef struct axp_handler {
    uintptr_t address; /* 0: the default action; 1: the signal is ignored */
    int32_t ours;      /* 1 if it is this library's */
    int32_t flags;     /* sa_flags */
} axp_handler;

/* The handler at a depth: 0 is the one the system calls.  -ENOENT below the last, -EINVAL for a signal we do
 * not handle. */
AXP_API int axp_handler_at(int signal, uint32_t depth, axp_handler *handler_out);

/* The dynamic symbol and the file that contain an address; both empty if the loader does not know. */
typedef struct axp_symbol {
    uintptr_t symbol_start;
    uintptr_t file_start; /* where the file is loaded */
    char name[128];
    char file[512];
} axp_symbol;

AXP_API int axp_symbol_at(uintptr_t address, axp_symbol *symbol_out);

/*
 * The thread-local mark "accessing user memory": how many accesses, one inside the other, the thread says
 * that it is in.  It changes no fault's fate: only a span named in one of the calls below is guarded.  Set to
 * what it was, rather than counted down, it survives what interrupts its owner.
 */
AXP_API uint32_t axp_accessing_depth(void);
AXP_API int axp_set_accessing_depth(uint32_t depth);

/* 1 if the depth is not 0, or seen from inside a guarded access; else 0. */
AXP_API int axp_is_accessing(void);

/* copy.c */

/*
 * On -EFAULT exactly fault.transferred bytes have arrived; what the rest of our buffer holds is unspecified.
 * Source: Linux raw_copy_from_user.
 */
AXP_API int axp_raw_copy_from_user(void *to, uintptr_t from, size_t size);

/* The same, and after a fault the rest of our buffer is zeroed.  Source: Linux copy_from_user. */
AXP_API int axp_copy_from_user(void *to, uintptr_t from, size_t size);

/*
 * Copies a string of at most limit bytes, its zero byte included, as far as there is room for it.  length_out
 * is how many bytes come before the zero byte, or the room, or the limit, if all of those are not zero.  The
 * bytes that decide are the copied ones.  No page after the one that holds the zero byte is touched; behind
 * it our buffer holds unspecified bytes.
 */
AXP_API int axp_strncpy_from_user(void *to, size_t room, uintptr_t from, size_t limit, size_t *length_out);

/* On -EFAULT exactly fault.transferred bytes were written and nothing beyond them was changed.  Source: Linux
 * copy_to_user. */
AXP_API int axp_copy_to_user(uintptr_t to, const void *from, size_t size);

/*
 * Between two user spans, which may overlap (memmove).  On -EFAULT exactly fault.transferred bytes were
 * written, and fault.access tells which span failed.  Nothing beyond them was changed, unless the spans
 * overlap with to > from and the memory went away during the call.
 */
AXP_API int axp_copy_in_user(uintptr_t to, uintptr_t from, size_t size);

/* On -EFAULT exactly fault.transferred bytes were filled.  Source: Linux clear_user, with any byte. */
AXP_API int axp_fill_user(uintptr_t to, uint8_t byte, size_t size);

/* scan.c */

/*
 * Elements before the first zero element, at most limit; limit itself if none of them is zero.  width is 1,
 * 2, 4 or 8 bytes (-EINVAL otherwise).  No page after the one that holds the terminator is touched.
 * fault.transferred counts the bytes of whole elements before the fault.
 */
AXP_API int axp_strnlen_user(uintptr_t from, size_t width, size_t limit, size_t *count_out);

/* Offset of the first byte that is not zero; size if all are.  -EFAULT only if no such byte comes before the
 * fault. */
AXP_API int axp_find_nonzero_user(uintptr_t from, size_t size, size_t *offset_out);

/*
 * Bytes that can be accessed from the start, at most size.  They fail only where the span is out of range or
 * a fault is injected: what else stopped them is not reported. Writing is tried with an atomic exchange of
 * one byte a page for itself: nothing changes.
 */
AXP_API int axp_probe_read(uintptr_t from, size_t size, size_t *accessible_out);
AXP_API int axp_probe_write(uintptr_t to, size_t size, size_t *accessible_out);

/* find.c */

/*
 * Offset of the first occurrence of needle; size if there is none.  An occurrence that lies before the first
 * bad byte is found; without one, -EFAULT.
 */
AXP_API int axp_find_in_user(uintptr_t from, size_t size, const void *needle, size_t needle_size,
                             size_t *offset_out);

/* word.c: width is 1, 2, 4 or 8 bytes (-EINVAL otherwise), values in the machine's byte order. */

/* One access of that width if the address is aligned to it; otherwise what the processor makes of it. */
AXP_API int axp_load(uintptr_t from, size_t width, void *value_out);
AXP_API int axp_store(uintptr_t to, size_t width, const void *value);

/* Sequentially consistent.  Misaligned: AXP_MISALIGNED.  Arithmetic wraps.  All but load and store return
 * what was there. */
AXP_API int axp_atomic_load(uintptr_t from, size_t width, void *value_out);
AXP_API int axp_atomic_store(uintptr_t to, size_t width, const void *value);
AXP_API int axp_atomic_exchange(uintptr_t at, size_t width, const void *value, void *previous_out);
AXP_API int axp_atomic_compare_exchange(uintptr_t at, size_t width, const void *expected, const void *desired,
                                        void *previous_out);
AXP_API int axp_atomic_fetch_add(uintptr_t at, size_t width, const void *operand, void *previous_out);
AXP_API int axp_atomic_fetch_and(uintptr_t at, size_t width, const void *operand, void *previous_out);
AXP_API int axp_atomic_fetch_or(uintptr_t at, size_t width, const void *operand, void *previous_out);
AXP_API int axp_atomic_fetch_xor(uintptr_t at, size_t width, const void *operand, void *previous_out);

/*
 * batch.c: many scattered addresses in one call.  Entry i is the size bytes, or the string, at addresses[i];
 * these need not be aligned.
 *
 * An entry is bad if any of it cannot be accessed, or, without being touched, if it leaves the address space
 * or its address is above the highest.  ok_out[i] is 1, or 0 if the entry is bad.  A bad one spoils nothing
 * but itself: these functions do not fail, and leave no fault record.  A page that has faulted is not tried
 * again within the call, even if somebody mends it meanwhile.
 *
 * While faults are injected into the thread's accesses, one call handles one entry, and is -EFAULT if that is
 * bad for an injected fault: done_out counts it all the same.
 *
 * Entries are handled in order; done_out is how many were, and nothing is said of those behind.
 */

/* Where a batch ends. */
typedef struct axp_batch_limits {
    uint64_t highest;     /* the highest value that is taken for an address, and is one */
    uint64_t faults;      /* it returns after so many faults ... */
    uint64_t pause_start; /* ... and after one in [pause_start, pause_end), which somebody may resolve */
    uint64_t pause_end;
} axp_batch_limits;

/* A bad entry is all zeros in our buffer.  Of 1, 2, 4 or 8 bytes that are aligned to their size each entry is
 * one access of that width. */
AXP_API int axp_gather_from_user(void *to, const uint64_t *addresses, size_t count, size_t size,
                                 const axp_batch_limits *limits, uint8_t *ok_out, size_t *done_out);

/* Of a bad entry the bytes before its first bad page were written, and nothing else.  Aligned words as above.
 */
AXP_API int axp_scatter_to_user(const uint64_t *addresses, const void *from, size_t count, size_t size,
                                const axp_batch_limits *limits, uint8_t *ok_out, size_t *done_out);

/* Tries one byte of each page for reading. */
AXP_API int axp_probe_many(const uint64_t *addresses, size_t count, size_t size,
                           const axp_batch_limits *limits, uint8_t *ok_out, size_t *done_out);

/*
 * Copies strings without their zero bytes, one after the other; lengths_out[i] is -1 for a bad one, or one
 * that has no zero byte within limit bytes.  No page after the one that holds the zero byte is touched.  Also
 * returns before an entry for which the room that is left may not do, though not if limit bytes are left.
 */
AXP_API int axp_read_strings(void *to, size_t room, const uint64_t *addresses, size_t count, size_t limit,
                             const axp_batch_limits *limits, int64_t *lengths_out, size_t *done_out);

/*
 * call.c: foreign functions.
 *
 * The whole process is the span of a call: a fault in the function, or in what it calls, ends it there and
 * then.  What it held (locks, memory, a structure half written) stays as it was.
 */

/* What a result comes in: a word for integers, pointers and nothing. */
#define AXP_RESULT_WORD 0
#define AXP_RESULT_FLOAT 1
#define AXP_RESULT_DOUBLE 2
#define AXP_RESULT_LONG_DOUBLE 3

/* What calls functions: called by ctypes with the address of an axp_call, as an unsigned integer of 64 bits,
 * and behind that the function's own arguments.  It returns what the function does, or zeros. */
typedef struct axp_caller {
    uintptr_t address;
    uint32_t arguments; /* the most it passes on, of at most 8 bytes each ... */
    uint32_t floats;    /* ... and of these the most that are float or double */
    uint32_t
        variadic; /* the same behind the dots of a variadic function, which may look for them elsewhere */
} axp_caller;

AXP_API int axp_caller_of(uint32_t result, axp_caller *caller_out);

typedef struct axp_call {
    uintptr_t function;
    uintptr_t stack_start; /* lent to a thread that has no alternate signal stack: its own may overflow */
    uint64_t stack_size;
    uintptr_t running;     /* NULL, or a function that returns the interpreter's thread that runs: ... */
    uintptr_t interpreter; /* ... a fault while it is this one is the interpreter's, and not ours */
    uintptr_t entries; /* NULL, or an int that counts how often this thread has entered the interpreter: */
    int32_t entered;   /* out: what it was before; a fault while it is another is the interpreter's too */
    int32_t failed;    /* out: 0, or -EFAULT; else the function was not called */
    uintptr_t instruction; /* out: of the fault; 0 where the processor does not say */
    axp_fault fault;       /* out: its address is 0 where the processor does not say */
} axp_call;

/*
 * inject.c: simulated faults.
 *
 * While an injection decides over a thread's accesses, any of them may fail with AXP_INJECTED although the
 * memory is good: at the start of its span, before anything is touched.  Each call above is one access, and
 * each entry of a batch; a foreign function is none.  What is refused without touching memory is not asked
 * about.  Real faults stay what they are.
 *
 * An access fails if times is not 0; if its size is not less than space (else that is taken off space); if it
 * is the interval-th that came so far; and if the next random number says so.  Then times goes down by one.
 * Source: Linux should_fail() and its struct fault_attr.
 */
#define AXP_INJECTION_ONE 9007199254740992 /* as a probability: always */
#define AXP_INJECTION_ENDLESS 9223372036854775807

typedef struct axp_injection {
    uint64_t probability; /* of AXP_INJECTION_ONE */
    uint64_t interval;    /* 0 is 1 */
    uint64_t times;       /* how many failures are left; AXP_INJECTION_ENDLESS: any number */
    uint64_t space;       /* how many bytes are left that do not fail */
    uint64_t seed;        /* of the random numbers, which splitmix64 makes */
    uint64_t calls;       /* out: accesses that were decided over ... */
    uint64_t failures;    /* ... and how many of them failed */
    uint64_t reached;     /* ours: accesses that got as far as the interval ... */
    uint64_t drawn;       /* ... and as far as the random numbers */
    uint64_t state;       /* ours: 0 while it decides over nothing */
    uintptr_t outer;      /* ours: the one that it is in */
} axp_injection;

/*
 * The injection decides over the calling thread's accesses, alone, until it ends or another one begins inside
 * it.  It must stay where it is until axp_end_injection() has returned 0.  -EBUSY if it has begun already.
 */
AXP_API int axp_begin_injection(axp_injection *injection);

/*
 * In any order: one that others have begun inside goes from around them.  In another thread than it began in
 * it decides over nothing any more, but is not let go of: -ESRCH.  -ENOENT if it has not begun, or ended so.
 */
AXP_API int axp_end_injection(axp_injection *injection);

/* From the next tick of the coarse clock on, a copy of the injection decides over the accesses of all threads
 * that have none of their own, and shares its counters among them; for good.  -EBUSY if there is one. */
AXP_API int axp_inject_everywhere(const axp_injection *injection);

/* How far that has got.  -ENOENT if there is none. */
AXP_API int axp_injection_everywhere(axp_injection *injection_out);

/* 1 if an injection decides over the calling thread's accesses; else 0. */
AXP_API int axp_is_injecting(void);

/* Decides over an access that is made of several: -EFAULT if it is to fail. */
AXP_API int axp_inject(uintptr_t address, size_t size, uint32_t access);

/* While the thread-local mark is not 0, the calling thread's accesses are parts of one that was decided over
 * before, and do not fail by injection. */
AXP_API uint32_t axp_injection_held(void);
AXP_API int axp_hold_injection(uint32_t held);

/* memory_*.c: protection is AXP_READ | AXP_WRITE | AXP_EXECUTE, or 0 for no access.  To map or unmap nothing
 * is -EINVAL; to protect or populate nothing succeeds. */

#define AXP_MAP_SHARED 1   /* writes reach the file and other processes */
#define AXP_MAP_FIXED 2    /* exactly at start, in place of what is there; otherwise start is a hint */
#define AXP_MAP_POPULATE 4 /* bring the pages in now, as far as there are any */
#define AXP_MAP_RESERVE 8  /* address space only: no memory is set aside for it */

AXP_API size_t axp_page_size(void);

/*
 * Maps size bytes of a file (of zeros if file is -1) from offset on.
 *
 * On Windows file is a handle, whose upper half is always empty, and -ENOTSUP is what cannot be done there:
 * to give back a part of what was mapped as a whole, to map a file in place of something else, past its end,
 * or from an offset that is not a multiple of 64 KiB, and to map anything fixed at another start than such a
 * multiple, unless address space that was reserved is there.
 */
AXP_API int axp_map(uintptr_t start, size_t size, uint32_t protection, uint32_t options, int file,
                    uint64_t offset, uintptr_t *start_out);
AXP_API int axp_protect(uintptr_t start, size_t size, uint32_t protection);
AXP_API int axp_unmap(uintptr_t start, size_t size);

/*
 * Brings the pages in for this access (AXP_READ or AXP_WRITE).  -ENOMEM for a hole, -EINVAL where the access
 * is not allowed, -EFAULT past the end of a file (without a fault record).  Source: Linux MADV_POPULATE_READ,
 * MADV_POPULATE_WRITE.
 */
AXP_API int axp_populate(uintptr_t start, size_t size, uint32_t access);

/* Asks for large pages for memory of our own that is about to be filled.  A wish: nothing fails. */
AXP_API int axp_prefer_large_pages(uintptr_t start, size_t size);

#ifdef __cplusplus
}
#endif

#endif
