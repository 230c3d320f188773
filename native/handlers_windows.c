/* SPDX-License-Identifier: MIT */
/* handlers_windows.c: our handler in front of the others, and what can be told of handlers. */
#include "handlers_windows.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "axptr.h"

static atomic_flag registering = ATOMIC_FLAG_INIT;
static PVOID registered;
static _Atomic uint64_t latest; /* tick at which it was put in front */

/* Nobody tells who is in front, so that it is done anew.  The old entry goes last: at no time is there none.
 */
static int put_in_front(void)
{
    PVOID added = AddVectoredExceptionHandler(1, axp_on_exception);

    if (added == NULL)
        return -ENOMEM;
    if (registered != NULL)
        RemoveVectoredExceptionHandler(registered);
    registered = added;
    return 0;
}

/* A handler must not be unloaded. */
static void stay_loaded(void)
{
    HMODULE self;

    GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_PIN,
                       (LPCWSTR)(uintptr_t)stay_loaded, &self);
}

int axp_go_in_front(int asked_for)
{
    uint64_t tick = GetTickCount64();
    DWORD saved_error = GetLastError();
    int failed;

    if (!asked_for && atomic_load(&latest) == tick)
        return 0;
    while (atomic_flag_test_and_set(&registering)) {
        if (!asked_for)
            return 0; /* whoever has it is doing the same */
        SwitchToThread();
    }
    if (registered == NULL)
        stay_loaded();
    failed = put_in_front();
    if (!failed)
        atomic_store(&latest, tick);
    atomic_flag_clear(&registering);
    SetLastError(saved_error);
    return failed;
}

int axp_handler_at(int signal, uint32_t depth, axp_handler *handler_out)
{
    if (signal != SIGSEGV)
        return -EINVAL;
    if (depth != 0 || registered == NULL) /* of others the system does not tell */
        return -ENOENT;
    *handler_out = (axp_handler){.address = (uintptr_t)axp_on_exception, .ours = 1};
    return 0;
}

/* Names the function of a loaded file that starts at an offset, if it is exported. */
static void find_export(const uint8_t *image, uintptr_t offset, axp_symbol *symbol_out)
{
    const IMAGE_DOS_HEADER *start = (const IMAGE_DOS_HEADER *)image;
    const IMAGE_NT_HEADERS *headers = (const IMAGE_NT_HEADERS *)(image + start->e_lfanew);
    const IMAGE_DATA_DIRECTORY *place = &headers->OptionalHeader.DataDirectory[IMAGE_DIRECTORY_ENTRY_EXPORT];
    const IMAGE_EXPORT_DIRECTORY *exports = (const IMAGE_EXPORT_DIRECTORY *)(image + place->VirtualAddress);
    const DWORD *names = (const DWORD *)(image + exports->AddressOfNames);
    const DWORD *functions = (const DWORD *)(image + exports->AddressOfFunctions);
    const WORD *ordinals = (const WORD *)(image + exports->AddressOfNameOrdinals);

    if (place->Size == 0)
        return;
    for (DWORD i = 0; i < exports->NumberOfNames; i++)
        if (functions[ordinals[i]] == offset) {
            symbol_out->symbol_start = (uintptr_t)image + offset;
            snprintf(symbol_out->name, sizeof symbol_out->name, "%s", (const char *)image + names[i]);
            return;
        }
}

/* Exports have no size, but functions that have a frame are known by where they start. */
static uintptr_t start_of_function(uintptr_t address)
{
    DWORD64 image;
    const RUNTIME_FUNCTION *function = RtlLookupFunctionEntry(address, &image, NULL);

    return function == NULL ? address : (uintptr_t)image + function->BeginAddress;
}

int axp_symbol_at(uintptr_t address, axp_symbol *symbol_out)
{
    HMODULE module;
    WCHAR path[sizeof symbol_out->file];

    memset(symbol_out, 0, sizeof *symbol_out);
    if (!GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS
                                | GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT,
                            (LPCWSTR)address, &module))
        return 0;
    symbol_out->file_start = (uintptr_t)module;
    if (GetModuleFileNameW(module, path, sizeof path / sizeof path[0]) != 0)
        WideCharToMultiByte(CP_UTF8, 0, path, -1, symbol_out->file, sizeof symbol_out->file - 1, NULL, NULL);
    find_export((const uint8_t *)module, start_of_function(address) - (uintptr_t)module, symbol_out);
    return 0;
}
