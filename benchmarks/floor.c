/* SPDX-License-Identifier: MIT */
/* floor.c: the floor extension: what a call into C costs at least.  It checks its arguments and guards
 * nothing. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

static int count_is(Py_ssize_t wanted, Py_ssize_t count)
{
    if (count != wanted)
        PyErr_Format(PyExc_TypeError, "%zd arguments are needed, not %zd", wanted, count);
    return count == wanted;
}

/* What a 64-bit number is converted by as a rule. */
#ifndef ADDRESS_FROM
#define ADDRESS_FROM PyLong_AsUnsignedLongLong
#endif

static int to_address(PyObject *number, uintptr_t *address_out)
{
    *address_out = (uintptr_t)ADDRESS_FROM(number);
    return *address_out != UINTPTR_MAX || !PyErr_Occurred();
}

static PyObject *read_u64(PyObject *module, PyObject *const *arguments, Py_ssize_t count)
{
    uintptr_t from;
    uint64_t value;

    (void)module;
    if (!count_is(1, count) || !to_address(arguments[0], &from))
        return NULL;
    memcpy(&value, (const void *)from, sizeof value); /* of any alignment, in one load */
    return PyLong_FromUnsignedLongLong(value);
}

static PyObject *copy(PyObject *module, PyObject *const *arguments, Py_ssize_t count)
{
    uintptr_t from;
    Py_ssize_t size;

    (void)module;
    if (!count_is(2, count) || !to_address(arguments[0], &from))
        return NULL;
    size = PyLong_AsSsize_t(arguments[1]);
    if (size == -1 && PyErr_Occurred())
        return NULL;
    return PyBytes_FromStringAndSize((const char *)from, size);
}

static PyObject *copy_into(PyObject *module, PyObject *const *arguments, Py_ssize_t count)
{
    uintptr_t from;
    Py_buffer own;

    (void)module;
    if (!count_is(2, count) || !to_address(arguments[0], &from))
        return NULL;
    if (PyObject_GetBuffer(arguments[1], &own, PyBUF_WRITABLE) != 0)
        return NULL;
    memcpy(own.buf, (const void *)from, (size_t)own.len);
    PyBuffer_Release(&own);
    Py_RETURN_NONE;
}

static PyObject *string(PyObject *module, PyObject *const *arguments, Py_ssize_t count)
{
    uintptr_t from;

    (void)module;
    if (!count_is(1, count) || !to_address(arguments[0], &from))
        return NULL;
    return PyBytes_FromStringAndSize((const char *)from, (Py_ssize_t)strlen((const char *)from));
}

/* From an array of addresses into an array of words. */
static PyObject *gather(PyObject *module, PyObject *const *arguments, Py_ssize_t count)
{
    Py_buffer addresses;
    Py_buffer own;

    (void)module;
    if (!count_is(2, count) || PyObject_GetBuffer(arguments[0], &addresses, PyBUF_SIMPLE) != 0)
        return NULL;
    if (PyObject_GetBuffer(arguments[1], &own, PyBUF_WRITABLE) != 0) {
        PyBuffer_Release(&addresses);
        return NULL;
    }
    if (own.len == addresses.len)
        for (Py_ssize_t i = 0; i < own.len / 8; i++)
            ((uint64_t *)own.buf)[i] = *(const uint64_t *)((const uintptr_t *)addresses.buf)[i];
    else
        PyErr_SetString(PyExc_ValueError, "a word is needed for each address");
    PyBuffer_Release(&own);
    PyBuffer_Release(&addresses);
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

#define FAST(function) {#function, (PyCFunction)(void (*)(void))(function), METH_FASTCALL, NULL}

static PyMethodDef methods[] = {FAST(read_u64), FAST(copy),   FAST(copy_into),
                                FAST(string),   FAST(gather), {NULL, NULL, 0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "floor", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_floor(void)
{
    return PyModule_Create(&definition);
}
