/* SPDX-License-Identifier: MIT */
/*
 * builtins.h: between builtins.c and _builtins.py, which are always of one version.  Nobody else's.
 *
 * The library links to no Python and includes no Python.h: what the builtins need of the interpreter is
 * handed over when the package is imported, so that one library serves every CPython.
 */
#ifndef AXP_BUILTINS_H
#define AXP_BUILTINS_H

#include <stddef.h>
#include <stdint.h>

#include "axptr.h"

typedef struct object object; /* PyObject */

/* Py_buffer, of which only the first three are looked at. */
typedef struct buffer {
    void *start;
    object *owner;
    ptrdiff_t size;
    uintptr_t rest[8];
} buffer;

/* Functions of the interpreter, in the order of _builtins.py: all but resize_bytes of the stable ABI, the
 * last one since 3.12.
 */
typedef struct axp_python {
    object *(*bytes_from)(const char *bytes, ptrdiff_t size);
    char *(*bytes_start)(object *bytes);
    int (*resize_bytes)(object **bytes, ptrdiff_t size);
    size_t (*as_size)(object *number);
    uint64_t (*as_unsigned)(object *number);
    int64_t (*as_signed)(object *number);
    uint64_t (*as_masked)(object *number);
    double (*as_double)(object *number);
    object *(*from_unsigned)(uint64_t number);
    object *(*from_signed)(int64_t number);
    object *(*from_double)(double number);
    object *(*from_truth)(long truth);
    int (*get_buffer)(object *owner, buffer *buffer_out, int flags);
    void (*release_buffer)(buffer *buffer);
    object *(*type_of)(object *instance);
    int (*slice_unpack)(object *slice, ptrdiff_t *start_out, ptrdiff_t *stop_out, ptrdiff_t *step_out);
    ptrdiff_t (*slice_adjust)(ptrdiff_t length, ptrdiff_t *start, ptrdiff_t *stop, ptrdiff_t step);
    object *(*error_occurred)(void);
    int (*error_matches)(object *types);
    void (*clear_error)(void);
    void (*set_error)(object *type, object *error);
    void *(*save_thread)(void);
    void (*restore_thread)(void *thread);
    void (*hold)(object *held);
    void (*release)(object *held);
    object *(*call_with)(object *callable, ...); /* up to NULL */
    object *(*pack)(ptrdiff_t count, ...);       /* a tuple */
    object *(*vectorcall)(object *callable, object *const *arguments, size_t count, object *names);
} axp_python;

/* A ctypes simple type that the builtins know. */
typedef struct axp_word_type {
    object *ctype;
    uint32_t kind;
    uint32_t width;
} axp_word_type;

/* What a word is as a Python object. */
#define AXP_SIGNED 1
#define AXP_UNSIGNED 2
#define AXP_FLOAT 3   /* of 4 or 8 bytes */
#define AXP_TRUTH 4   /* a bool */
#define AXP_BYTE 5    /* bytes, one of them */
#define AXP_ADDRESS 6 /* an int, or None if it is null */

#define AXP_BUILTINS 19
#define AXP_WORD_TYPES 16
#define AXP_FAULT_FIELDS 6

/* Attributes of a FaultError, as _builtins.py has them. */
typedef enum axp_fault_field {
    AXP_ADDRESS_FIELD,
    AXP_ACCESS_FIELD,
    AXP_REASON_FIELD,
    AXP_TRANSFERRED_FIELD,
    AXP_SIZE_FIELD,
    AXP_SIGNAL_FIELD,
} axp_fault_field;

/* What the builtins of one import of the package work with: the state of the module that is their self.  Its
 * objects are kept alive by _builtins.py. */
typedef struct axp_builtins {
    object *functions[AXP_BUILTINS]; /* of Python: what each stands for, called for whatever is unusual */
    object *fault_error;             /* the type FaultError */
    object *(*make_os_error)(object *type, object *arguments, object *names); /* what makes an OSError, */
    int (*init_os_error)(object *self, object *arguments, object *names);     /* and sets it up */
    object *no_arguments;                                                     /* () */
    object *bad_address; /* the arguments of an OSError: (EFAULT, its text) */
    object *virt_addr;   /* the type VirtAddr, */
    object *(*make_int)(object *type, object *arguments, object *names); /* and what makes an int of it */
    size_t fault_fields[AXP_FAULT_FIELDS]; /* where in a FaultError its references to them are */
    object *resolve;     /* called with one: None if it was resolved, or else what is to be raised */
    object *accesses[8]; /* MappingFlags by AXP_READ and AXP_WRITE */
    object *reasons[16]; /* FaultReason by AXP_NOT_MAPPED ... */
    object *slice_type;
    object *refusals; /* types of what the interpreter raises by itself for other arguments */
    object *none;
    uint64_t paged_start; /* where memory may be paged in on demand */
    uint64_t paged_end;
    axp_word_type word_types[AXP_WORD_TYPES + 1]; /* up to one without a ctype */
} axp_builtins;

/* Takes the functions of the interpreter, and where in a module object the address of its state is: the same
 * each time in one process.  -EINVAL if functions or state are of another size. */
AXP_API int axp_bind_python(const axp_python *functions, size_t size, size_t state_size, size_t offset);

/* The name of the builtin at an index, after its module's, and its METH_FASTCALL | METH_KEYWORDS function;
 * NULL after the last. */
AXP_API const char *axp_builtin_at(uint32_t index, uintptr_t *function_out);

#endif
