/* SPDX-License-Identifier: MIT */
/* planted.c: ten bugs as they are really made, each beside the function as it should be; the tests find them.
 */
#include <ctype.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* ---- A byte too far: the terminator needs room too.  Copies the line up to its newline, as much as fits.
 * ---- */

size_t bug_copy_line(char *to, size_t size, const char *line)
{
    size_t length = 0;

    while (length < size && line[length] != '\n') {
        to[length] = line[length];
        length++;
    }
    to[length] = '\0';
    return length;
}

size_t good_copy_line(char *to, size_t size, const char *line)
{
    size_t length = 0;

    if (size == 0)
        return 0;
    while (length < size - 1 && line[length] != '\n') {
        to[length] = line[length];
        length++;
    }
    to[length] = '\0';
    return length;
}

/* ---- An element too far: "<=" instead of "<". ---- */

uint32_t bug_sum_words(const uint32_t *words, size_t count)
{
    uint32_t sum = 0;

    for (size_t i = 0; i <= count; i++)
        sum += words[i];
    return sum;
}

uint32_t good_sum_words(const uint32_t *words, size_t count)
{
    uint32_t sum = 0;

    for (size_t i = 0; i < count; i++)
        sum += words[i];
    return sum;
}

/* ---- Index -1: digits are put right to left, and the field is too narrow.  Returns where the number starts.
 * ---- */

int bug_put_decimal(char *field, int width, unsigned number)
{
    do {
        field[--width] = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    return width;
}

int good_put_decimal(char *field, int width, unsigned number)
{
    do {
        if (width == 0)
            return -1;
        field[--width] = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    return width;
}

/* ---- A backward scan that starts one behind the last.  Returns where the last slash is, or -1. ---- */

ptrdiff_t bug_last_slash(const char *path, size_t length)
{
    for (ptrdiff_t at = (ptrdiff_t)length; at >= 0; at--)
        if (path[at] == '/')
            return at;
    return -1;
}

ptrdiff_t good_last_slash(const char *path, size_t length)
{
    for (ptrdiff_t at = (ptrdiff_t)length - 1; at >= 0; at--)
        if (path[at] == '/')
            return at;
    return -1;
}

/* ---- strncpy() leaves no terminator in a field that the name fills.  Sets it, and returns the name's
 * length. ---- */

size_t bug_set_name(char *field, size_t size, const char *name)
{
    strncpy(field, name, size);
    return strlen(field);
}

size_t good_set_name(char *field, size_t size, const char *name)
{
    strncpy(field, name, size);
    return strnlen(field, size);
}

/* ---- Use of what is gone: the pointer outlives the memory that was handed back. ---- */

typedef struct reader {
    const uint8_t *next;
    const uint8_t *end;
} reader;

void reader_attach(reader *reader, const uint8_t *data, size_t size)
{
    reader->next = data;
    reader->end = data + size;
}

int reader_next(reader *reader)
{
    return reader->next == reader->end ? -1 : *reader->next++;
}

/* The caller may unmap the data now. */
void bug_detach(reader *reader)
{
    (void)reader;
}

void good_detach(reader *reader)
{
    reader->next = reader->end = NULL;
}

/* ---- A wrong stride: the pitch is in bytes, and is added to a pointer to pixels of two.  Sums the first
 * column. ---- */

uint32_t bug_sum_column(const void *picture, size_t rows, size_t pitch)
{
    const uint16_t *pixels = picture;
    uint32_t sum = 0;

    for (size_t y = 0; y < rows; y++)
        sum += *(pixels + y * pitch);
    return sum;
}

uint32_t good_sum_column(const void *picture, size_t rows, size_t pitch)
{
    uint32_t sum = 0;

    for (size_t y = 0; y < rows; y++)
        sum += *(const uint16_t *)((const char *)picture + y * pitch);
    return sum;
}

/* ---- A length that is believed: type, length, value.  Returns the sum of the values' bytes, or -1. ---- */

int bug_sum_options(const uint8_t *options, size_t size)
{
    size_t at = 0;
    int sum = 0;

    while (at < size) {
        size_t length = options[at + 1];

        for (size_t i = 0; i < length; i++)
            sum += options[at + 2 + i];
        at += 2 + length;
    }
    return sum;
}

int good_sum_options(const uint8_t *options, size_t size)
{
    size_t at = 0;
    int sum = 0;

    while (at < size) {
        size_t length;

        if (size - at < 2)
            return -1;
        length = options[at + 1];
        if (length > size - at - 2)
            return -1;
        for (size_t i = 0; i < length; i++)
            sum += options[at + 2 + i];
        at += 2 + length;
    }
    return sum;
}

/* ---- A write to what can only be read: the caller's text, a literal perhaps, instead of the copy. ---- */

void bug_capitalize(char *to, const char *text)
{
    strcpy(to, text);
    *(char *)text = (char)toupper((unsigned char)*text);
}

void good_capitalize(char *to, const char *text)
{
    strcpy(to, text);
    *to = (char)toupper((unsigned char)*text);
}

/* ---- Signed and unsigned: a message shorter than its header has a body of nearly SIZE_MAX bytes. ---- */

#define HEADER ((size_t)4)

int bug_has_body(const uint8_t *message, size_t size)
{
    for (size_t i = 0; i < size - HEADER; i++)
        if (message[HEADER + i] != 0)
            return 1;
    return 0;
}

int good_has_body(const uint8_t *message, size_t size)
{
    for (size_t i = HEADER; i < size; i++)
        if (message[i] != 0)
            return 1;
    return 0;
}
