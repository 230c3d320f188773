/* SPDX-License-Identifier: MIT */
/* builtins_span.c: the builtins that copy, scan and probe. */
#include <string.h>

#include "builtins_body.h"
#include "guard.h"

/* Beside one busy thread, dropping the GIL costs a small read 160 to 400 us; keeping it for 1 MiB holds it 20
 * us. */
#define DROP_GIL ((size_t)1 << 20)

/* The faults of fresh memory are most of the time of a large copy; below this they are few. */
#define LARGE ((size_t)4 << 20)

/* A string goes to the stack first, for as long as that takes no longer than to measure it, and then to bytes
 * of so many times the room, and again. */
enum { FIRST_ROOM = 4096, GROWTH = 16 };

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

/* The rest of an operation that was decided over: no fault is injected into it. */
static int count_rest(uintptr_t from, size_t limit, size_t *count_out)
{
    uint32_t held = axp_injection_held();
    int failed;

    axp_hold_injection(1);
    failed = axp_strnlen_user(from, 1, limit, count_out);
    axp_hold_injection(held);
    return failed;
}

static int copy_rest(char *own, size_t room, uintptr_t from, size_t *length_out)
{
    uint32_t held = axp_injection_held();
    int failed;

    axp_hold_injection(1);
    failed = axp_strncpy_from_user(own, room, from, room, length_out);
    axp_hold_injection(held);
    return failed;
}

static object *read_bytes(const axp_builtins *state, uintptr_t from, size_t size)
{
    object *result = size > PTRDIFF_MAX ? NULL : axp_interpreter.bytes_from(NULL, (ptrdiff_t)size);
    char *own;
    void *thread;
    int failed;

    if (result == NULL)
        return axp_unusual(state);
    own = axp_interpreter.bytes_start(result);
    thread = drop_gil(size);
    if (size >= LARGE)
        axp_prefer_large_pages((uintptr_t)own, size);
    failed = axp_raw_copy_from_user(own, from, size);
    take_gil(thread);
    if (failed == 0)
        return result;
    axp_interpreter.release(result);
    return axp_faulted(state, size, 0);
}

object *axp_builtin_copy_from_user(const axp_builtins *state, object *const *arguments)
{
    uintptr_t from;
    size_t size;

    if (!axp_as_word(arguments[0], &from) || !axp_as_word(arguments[1], &size))
        return axp_unusual(state);
    return read_bytes(state, from, size);
}

static object *copy_buffer(const axp_builtins *state, object *const *arguments, int flags)
{
    uintptr_t user;
    buffer own;
    size_t size;
    void *thread;
    int failed;

    if (!axp_as_word(arguments[0], &user) || axp_interpreter.get_buffer(arguments[1], &own, flags) != 0)
        return axp_unusual(state);
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

object *axp_builtin_strnlen_user(const axp_builtins *state, object *const *arguments)
{
    uintptr_t from;
    size_t limit, first, count, before = 0;
    void *thread;
    int failed;

    if (!axp_as_word(arguments[0], &from) || !axp_as_word(arguments[1], &limit)
        || axp_span_overflows(from, limit))
        return axp_unusual(state);
    if (limit > DROP_GIL && axp_is_injecting())
        return AXP_UNUSUAL; /* all of it is decided over at once */
    /* The GIL is kept for as long as it is for small copies: limits are large and strings short. */
    first = limit < DROP_GIL ? limit : DROP_GIL;
    failed = axp_strnlen_user(from, 1, first, &count);
    if (failed == 0 && count == first && first < limit) {
        before = first;
        thread = drop_gil(DROP_GIL);
        failed = count_rest(from + first, limit - first, &count);
        take_gil(thread);
    }
    return failed ? axp_faulted(state, limit, before) : axp_interpreter.from_unsigned(before + count);
}

static object *unusual_rest(const axp_builtins *state)
{
    return axp_unusual(state) == NULL ? NULL : axp_begun();
}

/* Goes on with a string that was copied up to there, into bytes that grow: to measure it first would take
 * half as long again. */
static object *read_long_string(const axp_builtins *state, uintptr_t from, size_t limit, const char *start,
                                size_t done)
{
    object *result = NULL;

    for (size_t room = done; room < limit;) {
        char *own;
        void *thread;
        size_t length;
        int failed;

        room = limit / GROWTH < room ? limit : GROWTH * room;
        if (room > PTRDIFF_MAX)
            break;
        if (result == NULL) {
            result = axp_interpreter.bytes_from(NULL, (ptrdiff_t)room);
            if (result != NULL)
                memcpy(axp_interpreter.bytes_start(result), start, done);
        } else {
            axp_interpreter.resize_bytes(&result, (ptrdiff_t)room); /* and sets it to NULL if that fails */
        }
        if (result == NULL)
            return unusual_rest(state);
        own = axp_interpreter.bytes_start(result);
        thread = drop_gil(room - done);
        if (room - done >= LARGE)
            axp_prefer_large_pages((uintptr_t)own + done, room - done);
        failed = copy_rest(own + done, room - done, from + done, &length);
        take_gil(thread);
        if (failed) {
            axp_interpreter.release(result);
            return axp_faulted(state, limit, done);
        }
        done += length;
        if (done < room)
            return axp_interpreter.resize_bytes(&result, (ptrdiff_t)done) == 0 ? result : unusual_rest(state);
    }
    if (result != NULL)
        axp_interpreter.release(result);
    return axp_begun();
}

object *axp_builtin_strncpy_from_user(const axp_builtins *state, object *const *arguments)
{
    uintptr_t from;
    size_t limit, first, length;
    _Alignas(64) char own[FIRST_ROOM]; /* stores over the edge of a cache line take twice as long */

    if (!axp_as_word(arguments[0], &from) || !axp_as_word(arguments[1], &limit)
        || axp_span_overflows(from, limit))
        return axp_unusual(state);
    first = limit < sizeof own ? limit : sizeof own;
    if (axp_strncpy_from_user(own, first, from, limit, &length) != 0)
        return axp_faulted(state, limit, 0);
    if (length < first || limit == 0)
        return axp_interpreter.bytes_from(own, (ptrdiff_t)length);
    return read_long_string(state, from, limit, own, length);
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
        return axp_unusual(state);
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
        return axp_unusual(state);
    thread = drop_gil(size);
    failed = accessible(start, size, &found);
    take_gil(thread);
    if (failed)
        return axp_probe_failed(state, size);
    if (found < size && axp_may_be_paged(state, start + found))
        return axp_begun();
    return axp_interpreter.from_unsigned(found);
}

AXP_BODY_WITH(probe_read, probe, axp_probe_read)
AXP_BODY_WITH(probe_write, probe, axp_probe_write)

/* Not isinstance(), which believes what an object says of itself; a slice has no subclasses. */
static int is_slice(const axp_builtins *state, object *position)
{
    object *type = axp_interpreter.type_of(position);

    axp_interpreter.release(type);
    return type == state->slice_type;
}

/* A byte or a slice of the size bytes at an address: (address, size, position). */
object *axp_builtin_read_item(const axp_builtins *state, object *const *arguments)
{
    uintptr_t start;
    size_t size;
    ptrdiff_t first, last, step, count;
    uint8_t byte;

    if (!axp_as_word(arguments[0], &start) || !axp_as_word(arguments[1], &size) || size > PTRDIFF_MAX)
        return axp_unusual(state);
    if (is_slice(state, arguments[2])) {
        if (axp_interpreter.slice_unpack(arguments[2], &first, &last, &step) != 0)
            return axp_unusual(state);
        count = axp_interpreter.slice_adjust((ptrdiff_t)size, &first, &last, step);
        return step == 1 ? read_bytes(state, start + (size_t)first, (size_t)count) : AXP_UNUSUAL;
    }
    first = (ptrdiff_t)axp_interpreter.as_signed(arguments[2]);
    if (first == -1 && axp_interpreter.error_occurred() != NULL)
        return axp_unusual(state);
    if (first < 0)
        first += (ptrdiff_t)size;
    if (first < 0 || first >= (ptrdiff_t)size)
        return AXP_UNUSUAL;
    return axp_raw_copy_from_user(&byte, start + (size_t)first, 1) ? axp_faulted(state, 1, 0)
                                                                   : axp_interpreter.from_unsigned(byte);
}
