/* SPDX-License-Identifier: MIT */
/*
 * builtins_body.h: what the bodies of the builtins share.
 *
 * A body gets as many positional arguments as it takes, and does the usual case of the Python function that
 * it stands for.  For all else (other arguments, wrong ones, no room) it returns AXP_UNUSUAL, and that
 * function is called: so what is refused, and how, is written once.
 */
#ifndef AXP_BUILTINS_BODY_H
#define AXP_BUILTINS_BODY_H

#include "builtins.h"

extern axp_python axp_interpreter;

#define AXP_UNUSUAL ((object *)&axp_interpreter)

/* A builtin's work, on as many positional arguments as it takes. */
typedef object *axp_body(const axp_builtins *state, object *const *arguments);

/* AXP_UNUSUAL for an operation that has touched memory, or has been decided over, and goes on there. */
object *axp_begun(void);

/*
 * With an error set or not: what the interpreter refused is for the Python function to refuse in its own
 * words.  All else comes from code of the caller's, an __index__ say, and comes out.
 */
static inline object *axp_unusual(const axp_builtins *state)
{
    if (axp_interpreter.error_occurred() != NULL) {
        if (!axp_interpreter.error_matches(state->refusals))
            return NULL;
        axp_interpreter.clear_error();
    }
    return AXP_UNUSUAL;
}

static inline object *axp_none(const axp_builtins *state)
{
    axp_interpreter.hold(state->none);
    return state->none;
}

/* Returns 0, with an error set or not, for what is no number or no word.  As a size_t, whose conversion goes
 * digit by digit: that to a long long goes byte by byte, which takes an address 10 to 30 ns longer. */
static inline int axp_as_word(object *number, uintptr_t *word_out)
{
    *word_out = axp_interpreter.as_size(number);
    return *word_out != SIZE_MAX || axp_interpreter.error_occurred() == NULL;
}

static inline int axp_may_be_paged(const axp_builtins *state, uint64_t address)
{
    return address >= state->paged_start && address < state->paged_end;
}

/* Raises what an access of size bytes failed with, of which calls before have done some.  AXP_UNUSUAL if
 * somebody resolved it, so that the access has to go on. */
object *axp_faulted(const axp_builtins *state, size_t size, size_t before);

/* The same of a probe, which of an injected fault says that nothing can be accessed. */
object *axp_probe_failed(const axp_builtins *state, size_t size);

/* Module, name and arity, in the order of axp_builtins.functions. */
/* clang-format off */
#define AXP_FOR_EACH_BUILTIN(use)        \
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

#define AXP_DECLARE(module, name, arity) axp_body axp_builtin_##name;
AXP_FOR_EACH_BUILTIN(AXP_DECLARE)

/* A body that is another one's with a certain operation. */
#define AXP_BODY_WITH(name, body, operation)                                        \
    object *axp_builtin_##name(const axp_builtins *state, object *const *arguments) \
    {                                                                               \
        return body(state, arguments, operation);                                   \
    }

#endif
