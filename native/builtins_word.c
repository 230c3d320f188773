/* SPDX-License-Identifier: MIT */
/* builtins_word.c: the builtins that access one word. */
#include "builtins_body.h"
#include "word.h"

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

static object *object_of(const axp_builtins *state, const axp_word_type *type, uint64_t bits)
{
    unsigned unused = 64 - 8 * type->width;
    word value;

    switch (type->kind) {
    case AXP_SIGNED:
        return axp_interpreter.from_signed((int64_t)(bits << unused) >> unused);
    case AXP_UNSIGNED:
        return axp_interpreter.from_unsigned(bits);
    case AXP_FLOAT:
        set_bits(&value, type->width, bits);
        return axp_interpreter.from_double(type->width == sizeof(double) ? value.twice
                                                                         : (double)value.single);
    case AXP_TRUTH:
        return axp_interpreter.from_truth(bits != 0);
    case AXP_BYTE:
        set_bits(&value, type->width, bits);
        /* cppcheck-suppress returnDanglingLifetime ; it is copied */
        return axp_interpreter.bytes_from((const char *)&value, 1);
    default:
        return bits == 0 ? axp_none(state) : axp_interpreter.from_unsigned(bits);
    }
}

static object *object_in(const axp_builtins *state, const axp_word_type *type, const word *value)
{
    return object_of(state, type, bits_of(value, type->width));
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
        integer = axp_interpreter.as_signed(number);
        set_bits(value_out, type->width, (uint64_t)integer);
        return (int64_t)((uint64_t)integer << unused) >> unused == integer
               && (integer != -1 || axp_interpreter.error_occurred() == NULL);
    case AXP_UNSIGNED:
        bits = axp_interpreter.as_unsigned(number);
        set_bits(value_out, type->width, bits);
        return bits << unused >> unused == bits
               && (bits != UINT64_MAX || axp_interpreter.error_occurred() == NULL);
    case AXP_FLOAT:
        real = axp_interpreter.as_double(number);
        if (type->width == sizeof(double))
            value_out->twice = real;
        else
            value_out->single = (float)real;
        return real != -1 || axp_interpreter.error_occurred() == NULL;
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

    return type != NULL && axp_as_word(arguments[0], address_out) ? type : NULL;
}

typedef int load_function(uintptr_t from, size_t width, void *value_out);
typedef int store_function(uintptr_t to, size_t width, const void *value);
typedef int update_function(uintptr_t at, size_t width, const void *operand, void *previous_out);

object *axp_builtin_get_user(const axp_builtins *state, object *const *arguments)
{
    uintptr_t from;
    const axp_word_type *type = typed_address(state, arguments, &from);
    uint64_t bits;

    if (type == NULL)
        return axp_unusual(state);
    return axp_load_number(from, type->width, &bits) ? axp_faulted(state, type->width, 0)
                                                     : object_of(state, type, bits);
}

static object *load_with(const axp_builtins *state, object *const *arguments, load_function *load)
{
    uintptr_t from;
    const axp_word_type *type = typed_address(state, arguments, &from);
    word value;

    if (type == NULL)
        return axp_unusual(state);
    return load(from, type->width, &value) ? axp_faulted(state, type->width, 0)
                                           : object_in(state, type, &value);
}

static object *store_with(const axp_builtins *state, object *const *arguments, store_function *store)
{
    uintptr_t to;
    const axp_word_type *type = typed_address(state, arguments, &to);
    word value;

    if (type == NULL || !as_value(arguments[2], type, &value))
        return axp_unusual(state);
    return store(to, type->width, &value) ? axp_faulted(state, type->width, 0) : axp_none(state);
}

static object *updated(const axp_builtins *state, const axp_word_type *type, uintptr_t at,
                       const word *operand, update_function *update)
{
    word previous;

    return update(at, type->width, operand, &previous) ? axp_faulted(state, type->width, 0)
                                                       : object_in(state, type, &previous);
}

static object *exchange_with(const axp_builtins *state, object *const *arguments, update_function *exchange)
{
    uintptr_t at;
    const axp_word_type *type = typed_address(state, arguments, &at);
    word value;

    if (type == NULL || !as_value(arguments[2], type, &value))
        return axp_unusual(state);
    return updated(state, type, at, &value, exchange);
}

object *axp_builtin_compare_exchange(const axp_builtins *state, object *const *arguments)
{
    uintptr_t at;
    const axp_word_type *type = typed_address(state, arguments, &at);
    word expected, desired, previous;

    if (type == NULL || !as_value(arguments[2], type, &expected) || !as_value(arguments[3], type, &desired))
        return axp_unusual(state);
    if (axp_atomic_compare_exchange(at, type->width, &expected, &desired, &previous) != 0)
        return axp_faulted(state, type->width, 0);
    return object_in(state, type, &previous);
}

/* The operand is taken modulo 2 to the power of the type's bits. */
static object *fetch_with(const axp_builtins *state, object *const *arguments, update_function *fetch)
{
    uintptr_t at;
    const axp_word_type *type = typed_address(state, arguments, &at);
    word operand;
    uint64_t bits;

    if (type == NULL || (type->kind != AXP_SIGNED && type->kind != AXP_UNSIGNED))
        return axp_unusual(state);
    bits = axp_interpreter.as_masked(arguments[2]);
    if (bits == UINT64_MAX && axp_interpreter.error_occurred() != NULL)
        return axp_unusual(state);
    set_bits(&operand, type->width, bits);
    return updated(state, type, at, &operand, fetch);
}

AXP_BODY_WITH(put_user, store_with, axp_store)
AXP_BODY_WITH(load, load_with, axp_atomic_load)
AXP_BODY_WITH(store, store_with, axp_atomic_store)
AXP_BODY_WITH(exchange, exchange_with, axp_atomic_exchange)
AXP_BODY_WITH(fetch_add, fetch_with, axp_atomic_fetch_add)
AXP_BODY_WITH(fetch_and, fetch_with, axp_atomic_fetch_and)
AXP_BODY_WITH(fetch_or, fetch_with, axp_atomic_fetch_or)
AXP_BODY_WITH(fetch_xor, fetch_with, axp_atomic_fetch_xor)
