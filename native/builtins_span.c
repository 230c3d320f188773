/* SPDX-License-Identifier: MIT */
/* builtins_span.c: the builtins that copy, scan and probe. */
#include "builtins_body.h"
#include "guard.h"

/* Beside one busy thread, dropping the GIL costs a small read 160 to 400 us; keeping it for 1 MiB holds it 20
 * us. */
#define DROP_GIL ((size_t)1 << 20)

/* The faults of fresh memory are most of the time of a large copy; below this they are few. */
#define LARGE ((size_t)4 << 20)

#define WRITABLE 1 /* PyBUF_WRITABLE */

static void *drop_gil(size_t size)
{
    return size < DROP_GIL ? NULL : axp_interpreter.save_thread();
}

static void take_gil(void *thread)
{
    if (thread != NULL)
        axp_interpreter.restore_thread(thread);
}

/* The rest of an operation that has counted these bytes: no fault is injected into it. */
static int copy_counted(char *own, uintptr_t from, size_t size, size_t *length_out)
{
    uint32_t held = axp_injection_held();
    int failed;

    axp_hold_injection(1);
    failed = axp_raw_string_from_user(own, from, size, length_out);
    axp_hold_injection(held);
    return failed;
}

static int count_rest(uintptr_t from, size_t limit, size_t *count_out)
{
    uint32_t held = axp_injection_held();
    int failed;

    axp_hold_injection(1);
    failed = axp_strnlen_user(from, 1, limit, count_out);
    axp_hold_injection(held);
    return failed;
}

/* Reads size bytes, or of a string those before a zero byte that was not there when it was measured. */
static object *read_bytes(const axp_builtins *state, uintptr_t from, size_t size, int is_string)
{
    size_t length = size;
    object *result = size > PTRDIFF_MAX ? NULL : axp_interpreter.bytes_from(NULL, (ptrdiff_t)size);
    object *shorter = NULL;
    char *own;
    void *thread;
    int failed;

    if (result == NULL)
        return axp_unusual();
    own = axp_interpreter.bytes_start(result);
    thread = drop_gil(size);
    if (size >= LARGE)
        axp_prefer_large_pages((uintptr_t)own, size);
    failed = is_string ? copy_counted(own, from, size, &length) : axp_raw_copy_from_user(own, from, size);
    take_gil(thread);
    if (failed == 0 && length == size)
        return result;
    if (failed == 0)
        shorter = axp_interpreter.bytes_from(own, (ptrdiff_t)length);
    axp_interpreter.release(result);
    return failed == 0 ? shorter : axp_faulted(state, size, 0);
}

object *axp_builtin_copy_from_user(const axp_builtins *state, object *const *arguments)
{
    uintptr_t from;
    size_t size;

    if (!axp_as_word(arguments[0], &from) || !axp_as_word(arguments[1], &size))
        return axp_unusual();
    return read_bytes(state, from, size, 0);
}

static object *copy_buffer(const axp_builtins *state, object *const *arguments, int flags)
{
    uintptr_t user;
    buffer own;
    size_t size;
    void *thread;
    int failed;

    if (!axp_as_word(arguments[0], &user) || axp_interpreter.get_buffer(arguments[1], &own, flags) != 0)
        return axp_unusual();
    size = (size_t)own.size;
    thread = drop_gil(size);
    if (flags == WRITABLE)
        failed = axp_copy_from_user(own.start, user, size);
    else
        failed = axp_copy_to_user(user, own.start, size);
    take_gil(thread);
    axp_interpreter.release_buffer(&own);
    return failed ? axp_faulted(state, size, 0) : axp_none(state);
}

object *axp_builtin_copy_from_user_into(const axp_builtins *state, object *const *arguments)
{
    return copy_buffer(state, arguments, WRITABLE);
}

object *axp_builtin_copy_to_user(const axp_builtins *state, object *const *arguments)
{
    return copy_buffer(state, arguments, 0);
}

/* What one attempt finds out: most strings are short, and then it is all. */
typedef struct counted {
    size_t count;
    size_t before; /* what had been counted before the attempt that faulted */
    size_t copied; /* all of a short string, or 0 */
    char copy[AXP_SHORT_STRING];
} counted;

/* The GIL is kept for as long as it is for small copies: limits are large and strings short. */
static int count_bytes(uintptr_t from, size_t limit, size_t room, counted *counted_out)
{
    size_t first = limit < DROP_GIL ? limit : DROP_GIL;
    size_t rest;
    void *thread;
    int failed;

    counted_out->before = 0;
    if (axp_span_overflows(from, limit))
        return axp_refuse(from, AXP_READ, AXP_OUT_OF_RANGE);
    failed = axp_copy_short_string(counted_out->copy, room, from, first, &counted_out->count,
                                   &counted_out->copied);
    if (failed || counted_out->count < first || first == limit)
        return failed;
    counted_out->before = first;
    thread = drop_gil(DROP_GIL);
    failed = count_rest(from + first, limit - first, &rest);
    take_gil(thread);
    counted_out->count = first + rest;
    return failed;
}

object *axp_builtin_strnlen_user(const axp_builtins *state, object *const *arguments)
{
    uintptr_t from;
    size_t limit;
    counted bytes;

    if (!axp_as_word(arguments[0], &from) || !axp_as_word(arguments[1], &limit))
        return axp_unusual();
    if (count_bytes(from, limit, 0, &bytes) != 0)
        return axp_faulted(state, limit, bytes.before);
    return axp_interpreter.from_unsigned(bytes.count);
}

object *axp_builtin_strncpy_from_user(const axp_builtins *state, object *const *arguments)
{
    uintptr_t from;
    size_t limit;
    counted bytes;

    if (!axp_as_word(arguments[0], &from) || !axp_as_word(arguments[1], &limit))
        return axp_unusual();
    if (count_bytes(from, limit, AXP_SHORT_STRING, &bytes) != 0)
        return axp_faulted(state, limit, bytes.before);
    if (bytes.count == limit)
        return axp_begun();
    if (bytes.copied != bytes.count)
        return read_bytes(state, from, bytes.count, 1);
    return axp_interpreter.bytes_from(bytes.copy, (ptrdiff_t)bytes.copied);
}

object *axp_builtin_find_in_user(const axp_builtins *state, object *const *arguments)
{
    uintptr_t from;
    size_t size, found;
    buffer needle;
    void *thread;
    int failed;

    if (!axp_as_word(arguments[0], &from) || !axp_as_word(arguments[1], &size)
        || axp_interpreter.get_buffer(arguments[2], &needle, 0) != 0)
        return axp_unusual();
    thread = drop_gil(size);
    failed = axp_find_in_user(from, size, needle.start, (size_t)needle.size, &found);
    take_gil(thread);
    axp_interpreter.release_buffer(&needle);
    if (failed)
        return axp_faulted(state, size, 0);
    return found < size || needle.size == 0 ? axp_interpreter.from_unsigned(found) : axp_none(state);
}

static object *probe(const axp_builtins *state, object *const *arguments,
                     int (*accessible)(uintptr_t start, size_t size, size_t *accessible_out))
{
    uintptr_t start;
    size_t size, found;
    void *thread;
    int failed;

    if (!axp_as_word(arguments[0], &start) || !axp_as_word(arguments[1], &size))
        return axp_unusual();
    thread = drop_gil(size);
    failed = accessible(start, size, &found);
    take_gil(thread);
    if (failed)
        return axp_probe_failed(state, size);
    if (found < size && axp_may_be_paged(state, start + found))
        return axp_begun();
    return axp_interpreter.from_unsigned(found);
}

object *axp_builtin_probe_read(const axp_builtins *state, object *const *arguments)
{
    return probe(state, arguments, axp_probe_read);
}

object *axp_builtin_probe_write(const axp_builtins *state, object *const *arguments)
{
    return probe(state, arguments, axp_probe_write);
}

/* A byte or a slice of the size bytes at an address: (address, size, position). */
object *axp_builtin_read_item(const axp_builtins *state, object *const *arguments)
{
    uintptr_t start;
    size_t size;
    ptrdiff_t first, last, step, count;
    uint8_t byte;

    if (!axp_as_word(arguments[0], &start) || !axp_as_word(arguments[1], &size) || size > PTRDIFF_MAX)
        return axp_unusual();
    if (axp_interpreter.is_instance(arguments[2], state->slice_type)) {
        if (axp_interpreter.slice_unpack(arguments[2], &first, &last, &step) != 0)
            return axp_unusual();
        count = axp_interpreter.slice_adjust((ptrdiff_t)size, &first, &last, step);
        return step == 1 ? read_bytes(state, start + (size_t)first, (size_t)count, 0) : AXP_UNUSUAL;
    }
    first = (ptrdiff_t)axp_interpreter.as_signed(arguments[2]);
    if (first == -1 && axp_interpreter.error_occurred() != NULL)
        return axp_unusual();
    if (first < 0)
        first += (ptrdiff_t)size;
    if (first < 0 || first >= (ptrdiff_t)size)
        return AXP_UNUSUAL;
    return axp_raw_copy_from_user(&byte, start + (size_t)first, 1) ? axp_faulted(state, 1, 0)
                                                                   : axp_interpreter.from_unsigned(byte);
}
