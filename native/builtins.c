/* SPDX-License-Identifier: MIT */
/* builtins.c: the hot functions as builtins of CPython: how they are called, and what they raise. */
#include "builtins.h"

#include <errno.h>

#include "builtins_body.h"
#include "guard.h"
#include "thread.h"

axp_python axp_interpreter;
static size_t state_offset; /* in a module object; PyModule_GetState would take 2 ns */

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

/* Without VirtAddr.__new__, which looks at what is an address and takes longer than this. */
static object *virt_addr(const axp_builtins *state, uint64_t address)
{
    object *number = axp_interpreter.from_unsigned(address);
    object *arguments = number == NULL ? NULL : axp_interpreter.pack(1, number);
    object *result = arguments == NULL ? NULL : state->make_int(state->virt_addr, arguments, NULL);

    if (number != NULL)
        axp_interpreter.release(number);
    if (arguments != NULL)
        axp_interpreter.release(arguments);
    return result;
}

/* The value is NULL if making it has failed.  A new error's fields are empty, and nobody else has seen it:
 * setting them as attributes would take 4 % of a fault. */
static int set_field(const axp_builtins *state, object *error, axp_fault_field field, object *value)
{
    *(object **)((char *)error + state->fault_fields[field]) = value;
    return value == NULL ? -1 : 0;
}

/* Does what FaultError.__init__ does: called as a function of Python, that takes as long as half a fault. */
static object *fault_error(const axp_builtins *state, const axp_fault *fault, size_t size)
{
    object *error = state->make_os_error(state->fault_error, state->no_arguments, NULL);

    if (error == NULL)
        return NULL;
    if (state->init_os_error(error, state->bad_address, NULL) != 0
        || set_field(state, error, AXP_ADDRESS_FIELD, virt_addr(state, fault->address)) != 0
        || set_field(state, error, AXP_ACCESS_FIELD, held(state->accesses[fault->access])) != 0
        || set_field(state, error, AXP_REASON_FIELD, held(state->reasons[fault->reason])) != 0
        || set_field(state, error, AXP_TRANSFERRED_FIELD, axp_interpreter.from_unsigned(fault->transferred))
               != 0
        || set_field(state, error, AXP_SIZE_FIELD, axp_interpreter.from_unsigned(size)) != 0
        || set_field(state, error, AXP_SIGNAL_FIELD,
                     fault->signal == 0 ? held(state->none) : axp_interpreter.from_signed(fault->signal))
               != 0) {
        axp_interpreter.release(error);
        return NULL;
    }
    return error;
}

object *axp_faulted(const axp_builtins *state, size_t size, size_t before)
{
    axp_fault fault = {.reason = 0};
    object *error;

    axp_take_fault(&fault);
    fault.transferred += before;
    error = fault_error(state, &fault, size);
    if (error != NULL && fault.signal != 0 && axp_may_be_paged(state, fault.address)) {
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

#define INDEX(module, name, arity) index_of_##name,
enum { AXP_FOR_EACH_BUILTIN(INDEX) BUILTINS };
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
    const axp_builtins *state = *(const axp_builtins *const *)((const char *)self + state_offset);

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

AXP_FOR_EACH_BUILTIN(DEFINE)

typedef object *entry_function(object *self, object *const *arguments, ptrdiff_t count, object *names);

#define ENTRY(module, name, arity) {#module "." #name, entry_##name},

static const struct {
    const char *name;
    entry_function *function;
} builtins[] = {AXP_FOR_EACH_BUILTIN(ENTRY)};

const char *axp_builtin_at(uint32_t index, uintptr_t *function_out)
{
    if (index >= BUILTINS)
        return NULL;
    *function_out = (uintptr_t)builtins[index].function;
    return builtins[index].name;
}

int axp_bind_python(const axp_python *functions, size_t size, size_t state_size, size_t offset)
{
    if (size != sizeof axp_interpreter || state_size != sizeof(axp_builtins))
        return -EINVAL;
    axp_interpreter = *functions;
    state_offset = offset;
    return 0;
}
