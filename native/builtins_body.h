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

/* Clears what error is set. */
static inline object *axp_unusual(void)
{
    axp_interpreter.clear_error();
    return AXP_UNUSUAL;
}

static inline object *axp_none(const axp_builtins *state)
{
    axp_interpreter.hold(state->none);
    return state->none;
}

/* Returns 0, with an error set or not, for what is no number or no word. */
static inline int axp_as_word(object *number, uintptr_t *word_out)
{
    uint64_t word = axp_interpreter.as_unsigned(number);

    *word_out = (uintptr_t)word;
    return *word_out == word && (word != UINT64_MAX || axp_interpreter.error_occurred() == NULL);
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

/* builtins_span.c */
axp_body axp_builtin_copy_from_user;
axp_body axp_builtin_copy_from_user_into;
axp_body axp_builtin_copy_to_user;
axp_body axp_builtin_strnlen_user;
axp_body axp_builtin_strncpy_from_user;
axp_body axp_builtin_find_in_user;
axp_body axp_builtin_probe_read;
axp_body axp_builtin_probe_write;
axp_body axp_builtin_read_item;

/* builtins_word.c */
axp_body axp_builtin_get_user;
axp_body axp_builtin_put_user;
axp_body axp_builtin_load;
axp_body axp_builtin_store;
axp_body axp_builtin_exchange;
axp_body axp_builtin_compare_exchange;
axp_body axp_builtin_fetch_add;
axp_body axp_builtin_fetch_and;
axp_body axp_builtin_fetch_or;
axp_body axp_builtin_fetch_xor;

#endif
