/* SPDX-License-Identifier: MIT */
/*
 * builtins.c: the hot functions as builtins of CPython.
 *
 * Each does the usual case of the Python function that it stands for, and that one is called for all else:
 * other arguments, wrong ones, no room.  So what is refused, and how, is written once.
 */
#include "builtins.h"

#include <errno.h>
#include <string.h>

#include "guard.h"

/* Beside one busy thread, dropping the GIL costs a small read 160 to 400 us; keeping it for 1 MiB holds it 20
 * us. */
#define DROP_GIL ((size_t)1 << 20)

/* The faults of fresh memory are most of the time of a large copy; below this they are few. */
#define LARGE ((size_t)4 << 20)

#define WRITABLE 1 /* PyBUF_WRITABLE */

static axp_python python;

/* What a builtin returns so that the Python function is called.  No error is set then. */
static char unusual_result;
#define UNUSUAL ((object *)&unusual_result)

static object *unusual(void)
{
    python.clear_error();
    return UNUSUAL;
}

static object *none(const axp_builtins *state)
{
    python.hold(state->none);
    return state->none;
}

/* What PyObject_CallFunction calls an unsigned number of 64 bits. */
typedef unsigned long long wide;

static object *fault_error(const axp_builtins *state, const axp_fault *fault, size_t size)
{
    wide address = fault->address, transferred = fault->transferred;

    if (fault->signal == 0)
        return python.call_function(state->fault_error, "KOOKKO", address, state->accesses[fault->access],
                                    state->reasons[fault->reason], transferred, (wide)size, state->none);
    return python.call_function(state->fault_error, "KOOKKi", address, state->accesses[fault->access],
                                state->reasons[fault->reason], transferred, (wide)size, fault->signal);
}

/* Raises what an access of size bytes failed with, of which calls before have done some.  UNUSUAL if somebody
 * resolved it, so that the access has to go on. */
static object *faulted(const axp_builtins *state, size_t size, size_t before)
{
    axp_fault fault = {.reason = 0};
    object *error, *type;

    axp_take_fault(&fault);
    fault.transferred += before;
    error = fault_error(state, &fault, size);
    if (error != NULL && state->may_resolve) {
        object *refused = python.call_function(state->resolve, "O", error);

        python.release(error);
        error = refused;
    }
    if (error == NULL)
        return NULL;
    if (error == state->none) {
        python.release(error);
        return UNUSUAL;
    }
    type = python.type_of(error);
    python.set_error(type, error);
    python.release(type);
    python.release(error);
    return NULL;
}

/* Returns 0, with an error set or not, for what is no number or no word. */
static int as_word(object *number, uintptr_t *word_out)
{
    uint64_t word = python.as_unsigned(number);

    *word_out = (uintptr_t)word;
    return *word_out == word && (word != UINT64_MAX || python.error_occurred() == NULL);
}

static void *drop_gil(size_t size)
{
    return size < DROP_GIL ? NULL : python.save_thread();
}

static void take_gil(void *thread)
{
    if (thread != NULL)
        python.restore_thread(thread);
}

static object *read_bytes(const axp_builtins *state, uintptr_t from, size_t size)
{
    object *result = size > PTRDIFF_MAX ? NULL : python.bytes_from(NULL, (ptrdiff_t)size);
    char *own;
    void *thread;
    int failed;

    if (result == NULL)
        return unusual();
    own = python.bytes_start(result);
    thread = drop_gil(size);
    if (size >= LARGE)
        axp_prefer_large_pages((uintptr_t)own, size);
    failed = axp_raw_copy_from_user(own, from, size);
    take_gil(thread);
    if (failed == 0)
        return result;
    python.release(result);
    return faulted(state, size, 0);
}

static object *copy_from_user(const axp_builtins *state, object *const *arguments)
{
    uintptr_t from;
    size_t size;

    if (!as_word(arguments[0], &from) || !as_word(arguments[1], &size))
        return unusual();
    return read_bytes(state, from, size);
}

static object *copy_buffer(const axp_builtins *state, object *const *arguments, int flags)
{
    uintptr_t user;
    buffer own;
    size_t size;
    void *thread;
    int failed;

    if (!as_word(arguments[0], &user) || python.get_buffer(arguments[1], &own, flags) != 0)
        return unusual();
    size = (size_t)own.size;
    thread = drop_gil(size);
    if (flags == WRITABLE)
        failed = axp_copy_from_user(own.start, user, size);
    else
        failed = axp_copy_to_user(user, own.start, size);
    take_gil(thread);
    python.release_buffer(&own);
    return failed ? faulted(state, size, 0) : none(state);
}

static object *copy_from_user_into(const axp_builtins *state, object *const *arguments)
{
    return copy_buffer(state, arguments, WRITABLE);
}

static object *copy_to_user(const axp_builtins *state, object *const *arguments)
{
    return copy_buffer(state, arguments, 0);
}

/* The GIL is kept for as long as it is for small copies: limits are large and strings short. */
static int count_bytes(uintptr_t from, size_t limit, size_t *count_out, size_t *before_out)
{
    size_t first = limit < DROP_GIL ? limit : DROP_GIL;
    size_t rest;
    void *thread;
    int failed;

    *before_out = 0;
    if (axp_span_overflows(from, limit))
        return axp_refuse(from, AXP_READ, AXP_OUT_OF_RANGE);
    failed = axp_strnlen_user(from, 1, first, count_out);
    if (failed || *count_out < first || first == limit)
        return failed;
    *before_out = first;
    thread = drop_gil(DROP_GIL);
    failed = axp_strnlen_user(from + first, 1, limit - first, &rest);
    take_gil(thread);
    *count_out = first + rest;
    return failed;
}

static object *strnlen_user(const axp_builtins *state, object *const *arguments)
{
    uintptr_t from;
    size_t limit, count, before;

    if (!as_word(arguments[0], &from) || !as_word(arguments[1], &limit))
        return unusual();
    if (count_bytes(from, limit, &count, &before) != 0)
        return faulted(state, limit, before);
    return python.from_unsigned(count);
}

static object *strncpy_from_user(const axp_builtins *state, object *const *arguments)
{
    uintptr_t from;
    size_t limit, count, before;
    object *result, *shorter;
    const char *start, *zero;

    if (!as_word(arguments[0], &from) || !as_word(arguments[1], &limit))
        return unusual();
    if (count_bytes(from, limit, &count, &before) != 0)
        return faulted(state, limit, before);
    if (count == limit)
        return UNUSUAL;
    result = read_bytes(state, from, count);
    if (result == NULL || result == UNUSUAL)
        return result;
    start = python.bytes_start(result);
    zero = memchr(start, 0, count); /* It may have changed since it was measured. */
    if (zero == NULL)
        return result;
    shorter = python.bytes_from(start, zero - start);
    python.release(result);
    return shorter;
}

static object *probe(const axp_builtins *state, object *const *arguments,
                     int (*accessible)(uintptr_t start, size_t size, size_t *accessible_out))
{
    uintptr_t start;
    size_t size, found;
    void *thread;
    int failed;

    if (!as_word(arguments[0], &start) || !as_word(arguments[1], &size))
        return unusual();
    thread = drop_gil(size);
    failed = accessible(start, size, &found);
    take_gil(thread);
    if (failed)
        return faulted(state, size, 0);
    return found < size && state->may_resolve ? UNUSUAL : python.from_unsigned(found);
}

static object *probe_read(const axp_builtins *state, object *const *arguments)
{
    return probe(state, arguments, axp_probe_read);
}

static object *probe_write(const axp_builtins *state, object *const *arguments)
{
    return probe(state, arguments, axp_probe_write);
}

/* A byte or a slice of the size bytes at an address: (address, size, position). */
static object *read_item(const axp_builtins *state, object *const *arguments)
{
    uintptr_t start;
    size_t size;
    ptrdiff_t first, last, step, count;
    uint8_t byte;

    if (!as_word(arguments[0], &start) || !as_word(arguments[1], &size) || size > PTRDIFF_MAX)
        return unusual();
    if (python.is_instance(arguments[2], state->slice_type)) {
        if (python.slice_unpack(arguments[2], &first, &last, &step) != 0)
            return unusual();
        count = python.slice_adjust((ptrdiff_t)size, &first, &last, step);
        return step == 1 ? read_bytes(state, start + (size_t)first, (size_t)count) : UNUSUAL;
    }
    first = (ptrdiff_t)python.as_signed(arguments[2]);
    if (first == -1 && python.error_occurred() != NULL)
        return unusual();
    if (first < 0)
        first += (ptrdiff_t)size;
    if (first < 0 || first >= (ptrdiff_t)size)
        return UNUSUAL;
    return axp_raw_copy_from_user(&byte, start + (size_t)first, 1) ? faulted(state, 1, 0)
                                                                   : python.from_unsigned(byte);
}

/* A value as memory has it. */
typedef union word {
    uint8_t of8;
    uint16_t of16;
    uint32_t of32;
    uint64_t of64;
    float single;
    double twice;
} word;

static const axp_word_type *word_type_of(const axp_builtins *state, const object *ctype)
{
    const axp_word_type *type = state->word_types;

    while (type->ctype != NULL && type->ctype != ctype)
        type++;
    return type->ctype == NULL ? NULL : type;
}

static uint64_t bits_of(const word *value, size_t width)
{
    switch (width) {
    case 1:
        return value->of8;
    case 2:
        return value->of16;
    case 4:
        return value->of32;
    default:
        return value->of64;
    }
}

static void set_bits(word *value_out, size_t width, uint64_t bits)
{
    switch (width) {
    case 1:
        value_out->of8 = (uint8_t)bits;
        break;
    case 2:
        value_out->of16 = (uint16_t)bits;
        break;
    case 4:
        value_out->of32 = (uint32_t)bits;
        break;
    default:
        value_out->of64 = bits;
    }
}

static object *object_of(const axp_builtins *state, const axp_word_type *type, const word *value)
{
    uint64_t bits = bits_of(value, type->width);
    unsigned unused = 64 - 8 * type->width;

    switch (type->kind) {
    case AXP_SIGNED:
        return python.from_signed((int64_t)(bits << unused) >> unused);
    case AXP_UNSIGNED:
        return python.from_unsigned(bits);
    case AXP_FLOAT:
        return python.from_double(type->width == sizeof(double) ? value->twice : (double)value->single);
    case AXP_TRUTH:
        return python.from_truth(bits != 0);
    case AXP_BYTE:
        return python.bytes_from((const char *)value, 1);
    default:
        return bits == 0 ? none(state) : python.from_unsigned(bits);
    }
}

/* Returns 0, with an error set or not, for what is not a number that fits. */
static int as_value(object *number, const axp_word_type *type, word *value_out)
{
    unsigned unused = 64 - 8 * type->width;
    int64_t integer;
    uint64_t bits;
    double real;

    switch (type->kind) {
    case AXP_SIGNED:
        integer = python.as_signed(number);
        set_bits(value_out, type->width, (uint64_t)integer);
        return (int64_t)((uint64_t)integer << unused) >> unused == integer
               && (integer != -1 || python.error_occurred() == NULL);
    case AXP_UNSIGNED:
        bits = python.as_unsigned(number);
        set_bits(value_out, type->width, bits);
        return bits << unused >> unused == bits && (bits != UINT64_MAX || python.error_occurred() == NULL);
    case AXP_FLOAT:
        real = python.as_double(number);
        if (type->width == sizeof(double))
            value_out->twice = real;
        else
            value_out->single = (float)real;
        return real != -1 || python.error_occurred() == NULL;
    default:
        return 0;
    }
}

/* The second argument's type and the first's address; NULL, with an error set or not, if that is not what
 * they are. */
static const axp_word_type *typed_address(const axp_builtins *state, object *const *arguments,
                                          uintptr_t *address_out)
{
    const axp_word_type *type = word_type_of(state, arguments[1]);

    return type != NULL && as_word(arguments[0], address_out) ? type : NULL;
}

typedef int load_function(uintptr_t from, size_t width, void *value_out);
typedef int store_function(uintptr_t to, size_t width, const void *value);
typedef int update_function(uintptr_t at, size_t width, const void *operand, void *previous_out);

static object *load_with(const axp_builtins *state, object *const *arguments, load_function *load)
{
    uintptr_t from;
    const axp_word_type *type = typed_address(state, arguments, &from);
    word value;

    if (type == NULL)
        return unusual();
    return load(from, type->width, &value) ? faulted(state, type->width, 0) : object_of(state, type, &value);
}

static object *store_with(const axp_builtins *state, object *const *arguments, store_function *store)
{
    uintptr_t to;
    const axp_word_type *type = typed_address(state, arguments, &to);
    word value;

    if (type == NULL || !as_value(arguments[2], type, &value))
        return unusual();
    return store(to, type->width, &value) ? faulted(state, type->width, 0) : none(state);
}

static object *get_user(const axp_builtins *state, object *const *arguments)
{
    return load_with(state, arguments, axp_load);
}

static object *put_user(const axp_builtins *state, object *const *arguments)
{
    return store_with(state, arguments, axp_store);
}

static object *load(const axp_builtins *state, object *const *arguments)
{
    return load_with(state, arguments, axp_atomic_load);
}

static object *store(const axp_builtins *state, object *const *arguments)
{
    return store_with(state, arguments, axp_atomic_store);
}

static object *exchange(const axp_builtins *state, object *const *arguments)
{
    uintptr_t at;
    const axp_word_type *type = typed_address(state, arguments, &at);
    word value, previous;

    if (type == NULL || !as_value(arguments[2], type, &value))
        return unusual();
    if (axp_atomic_exchange(at, type->width, &value, &previous) != 0)
        return faulted(state, type->width, 0);
    return object_of(state, type, &previous);
}

static object *compare_exchange(const axp_builtins *state, object *const *arguments)
{
    uintptr_t at;
    const axp_word_type *type = typed_address(state, arguments, &at);
    word expected, desired, previous;

    if (type == NULL || !as_value(arguments[2], type, &expected) || !as_value(arguments[3], type, &desired))
        return unusual();
    if (axp_atomic_compare_exchange(at, type->width, &expected, &desired, &previous) != 0)
        return faulted(state, type->width, 0);
    return object_of(state, type, &previous);
}

/* The operand is taken modulo 2 to the power of the type's bits. */
static object *fetch_with(const axp_builtins *state, object *const *arguments, update_function *fetch)
{
    uintptr_t at;
    const axp_word_type *type = typed_address(state, arguments, &at);
    word operand, previous;
    uint64_t bits;

    if (type == NULL || (type->kind != AXP_SIGNED && type->kind != AXP_UNSIGNED))
        return unusual();
    bits = python.as_masked(arguments[2]);
    if (bits == UINT64_MAX && python.error_occurred() != NULL)
        return unusual();
    set_bits(&operand, type->width, bits);
    if (fetch(at, type->width, &operand, &previous) != 0)
        return faulted(state, type->width, 0);
    return object_of(state, type, &previous);
}

static object *fetch_add(const axp_builtins *state, object *const *arguments)
{
    return fetch_with(state, arguments, axp_atomic_fetch_add);
}

static object *fetch_and(const axp_builtins *state, object *const *arguments)
{
    return fetch_with(state, arguments, axp_atomic_fetch_and);
}

static object *fetch_or(const axp_builtins *state, object *const *arguments)
{
    return fetch_with(state, arguments, axp_atomic_fetch_or);
}

static object *fetch_xor(const axp_builtins *state, object *const *arguments)
{
    return fetch_with(state, arguments, axp_atomic_fetch_xor);
}

typedef object *builtin_body(const axp_builtins *state, object *const *arguments);

/* In the order of axp_builtins.functions. */
#define FOR_EACH_BUILTIN(use)                                                                              \
    use(uaccess, copy_from_user, 2) use(uaccess, copy_from_user_into, 2) use(uaccess, copy_to_user, 2)     \
        use(uaccess, get_user, 2) use(uaccess, put_user, 3) use(uaccess, strnlen_user, 2)                  \
            use(uaccess, strncpy_from_user, 2) use(uaccess, probe_read, 2) use(uaccess, probe_write, 2)    \
                use(guarded_view, read_item, 3) use(atomics, load, 2) use(atomics, store, 3)               \
                    use(atomics, exchange, 3) use(atomics, compare_exchange, 4) use(atomics, fetch_add, 3) \
                        use(atomics, fetch_and, 3) use(atomics, fetch_or, 3) use(atomics, fetch_xor, 3)

#define INDEX(module, name, arity) index_of_##name,
enum { FOR_EACH_BUILTIN(INDEX) BUILTINS };
_Static_assert(BUILTINS == AXP_BUILTINS, "the state has room for each");

/* Inlined, and the body with it. */
static inline __attribute__((always_inline)) object *run(object *self, object *const *arguments,
                                                         ptrdiff_t count, object *names, builtin_body *body,
                                                         ptrdiff_t arity, int index)
{
    const axp_builtins *state = python.module_state(self);

    if (count == arity && names == NULL) {
        object *result = body(state, arguments);

        if (result != UNUSUAL)
            return result;
    }
    return python.vectorcall(state->functions[index], arguments, (size_t)count, names);
}

#define DEFINE(module, name, arity)                                                                       \
    static object *builtin_##name(object *self, object *const *arguments, ptrdiff_t count, object *names) \
    {                                                                                                     \
        return run(self, arguments, count, names, name, arity, index_of_##name);                          \
    }

FOR_EACH_BUILTIN(DEFINE)

typedef object *builtin_function(object *self, object *const *arguments, ptrdiff_t count, object *names);

#define ENTRY(module, name, arity) {#module "." #name, builtin_##name},

static const struct {
    const char *name;
    builtin_function *function;
} builtins[] = {FOR_EACH_BUILTIN(ENTRY)};

const char *axp_builtin_at(uint32_t index, uintptr_t *function_out)
{
    if (index >= BUILTINS)
        return NULL;
    *function_out = (uintptr_t)builtins[index].function;
    return builtins[index].name;
}

int axp_bind_python(const axp_python *functions, size_t size)
{
    if (size != sizeof python)
        return -EINVAL;
    python = *functions;
    return 0;
}
