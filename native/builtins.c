/* SPDX-License-Identifier: MIT */
/* builtins.c: the hot functions as builtins of CPython: how they are called, and what they raise. */
#include "builtins.h"

#include <errno.h>

#include "builtins_body.h"
#include "guard.h"
#include "thread.h"

axp_python axp_interpreter;

/* Set from a body's return to the call of the function that takes its place. */
static AXP_THREAD_LOCAL int begun;

object *axp_begun(void)
{
    begun = 1;
    return AXP_UNUSUAL;
}

static object *held(object *known)
{
    axp_interpreter.hold(known);
    return known;
}

static int set_fields(const axp_builtins *state, object *error, object *const *values)
{
    for (size_t i = 0; i < AXP_FAULT_FIELDS; i++)
        if (values[i] == NULL || axp_interpreter.set_attribute(error, state->fault_fields[i], values[i]) != 0)
            return -1;
    return 0;
}

/* Does what FaultError.__init__ does: called as a function of Python, that takes as long as half a fault. */
static object *fault_error(const axp_builtins *state, const axp_fault *fault, size_t size)
{
    object *error = state->make_os_error(state->fault_error, state->no_arguments, NULL);
    object *address = axp_interpreter.from_unsigned(fault->address);
    object *values[AXP_FAULT_FIELDS] = {
        address == NULL ? NULL : axp_interpreter.call_with(state->virt_addr, address, NULL),
        held(state->accesses[fault->access]),
        held(state->reasons[fault->reason]),
        axp_interpreter.from_unsigned(fault->transferred),
        axp_interpreter.from_unsigned(size),
        fault->signal == 0 ? held(state->none) : axp_interpreter.from_signed(fault->signal),
    };

    if (error != NULL
        && (state->init_os_error(error, state->bad_address, NULL) != 0
            || set_fields(state, error, values) != 0)) {
        axp_interpreter.release(error);
        error = NULL;
    }
    if (address != NULL)
        axp_interpreter.release(address);
    for (size_t i = 0; i < AXP_FAULT_FIELDS; i++)
        if (values[i] != NULL)
            axp_interpreter.release(values[i]);
    return error;
}

object *axp_faulted(const axp_builtins *state, size_t size, size_t before)
{
    axp_fault fault = {.reason = 0};
    object *error;

    axp_take_fault(&fault);
    fault.transferred += before;
    error = fault_error(state, &fault, size);
    if (error != NULL && fault.reason != AXP_INJECTED && axp_may_be_paged(state, fault.address)) {
        object *refused = axp_interpreter.call_with(state->resolve, error, NULL);

        axp_interpreter.release(error);
        error = refused;
    }
    if (error == NULL)
        return NULL;
    if (error == state->none) {
        axp_interpreter.release(error);
        return axp_begun();
    }
    axp_interpreter.set_error(state->fault_error, error);
    axp_interpreter.release(error);
    return NULL;
}

object *axp_probe_failed(const axp_builtins *state, size_t size)
{
    axp_fault fault = {.reason = 0};

    axp_take_fault(&fault);
    if (fault.reason == AXP_INJECTED)
        return axp_interpreter.from_unsigned(0);
    axp_report(&fault);
    return axp_faulted(state, size, 0);
}

/* Module, name and arity, in the order of axp_builtins.functions. */
/* clang-format off */
#define FOR_EACH_BUILTIN(use)            \
    use(uaccess, copy_from_user, 2)      \
    use(uaccess, copy_from_user_into, 2) \
    use(uaccess, copy_to_user, 2)        \
    use(uaccess, get_user, 2)            \
    use(uaccess, put_user, 3)            \
    use(uaccess, strnlen_user, 2)        \
    use(uaccess, strncpy_from_user, 2)   \
    use(uaccess, find_in_user, 3)        \
    use(uaccess, probe_read, 2)          \
    use(uaccess, probe_write, 2)         \
    use(guarded_view, read_item, 3)      \
    use(atomics, load, 2)                \
    use(atomics, store, 3)               \
    use(atomics, exchange, 3)            \
    use(atomics, compare_exchange, 4)    \
    use(atomics, fetch_add, 3)           \
    use(atomics, fetch_and, 3)           \
    use(atomics, fetch_or, 3)            \
    use(atomics, fetch_xor, 3)
/* clang-format on */

#define INDEX(module, name, arity) index_of_##name,
enum { FOR_EACH_BUILTIN(INDEX) BUILTINS };
_Static_assert(BUILTINS == AXP_BUILTINS, "the state has room for each");

/* Calls the function that a builtin stands for.  Of an operation that has begun no fault is injected into the
 * rest. */
static __attribute__((noinline)) object *call_function(object *function, object *const *arguments,
                                                       ptrdiff_t count, object *names)
{
    uint32_t held = axp_injection_held();
    object *result;

    if (begun)
        axp_hold_injection(1);
    begun = 0;
    result = axp_interpreter.vectorcall(function, arguments, (size_t)count, names);
    axp_hold_injection(held);
    return result;
}

/* Inlined, so that the body is called directly. */
static inline __attribute__((always_inline)) object *run(object *self, object *const *arguments,
                                                         ptrdiff_t count, object *names, axp_body *body,
                                                         ptrdiff_t arity, int index)
{
    const axp_builtins *state = axp_interpreter.module_state(self);

    if (count == arity && names == NULL) {
        object *result = body(state, arguments);

        if (result != AXP_UNUSUAL)
            return result;
    }
    return call_function(state->functions[index], arguments, count, names);
}

#define DEFINE(module, name, arity)                                                                     \
    static object *entry_##name(object *self, object *const *arguments, ptrdiff_t count, object *names) \
    {                                                                                                   \
        return run(self, arguments, count, names, axp_builtin_##name, arity, index_of_##name);          \
    }

FOR_EACH_BUILTIN(DEFINE)

typedef object *entry_function(object *self, object *const *arguments, ptrdiff_t count, object *names);

#define ENTRY(module, name, arity) {#module "." #name, entry_##name},

static const struct {
    const char *name;
    entry_function *function;
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
    if (size != sizeof axp_interpreter)
        return -EINVAL;
    axp_interpreter = *functions;
    return 0;
}
