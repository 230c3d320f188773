/* SPDX-License-Identifier: MIT */
/* random_inputs.c: for one of the files beside it, where there is no fuzzer: so many inputs from a seed. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Valgrind cannot extend the stack for a signal's frame. */
static void extend_stack(void)
{
    volatile char stack[64 * 1024];

    for (size_t i = sizeof stack; i > 0; i -= 1024)
        stack[i - 1] = 0;
}

int main(int count, char **arguments)
{
    uint8_t data[256];
    uint64_t seed = count > 2 ? strtoull(arguments[2], NULL, 0) : 0;
    long runs = count > 1 ? strtol(arguments[1], NULL, 0) : 1000;

    extend_stack();
    for (long run = 0; run < runs; run++) {
        for (size_t i = 0; i < sizeof data; i++) {
            seed = seed * 6364136223846793005 + 1442695040888963407;
            data[i] = (uint8_t)(seed >> 56);
        }
        LLVMFuzzerTestOneInput(data, seed >> 32 & 0xff);
    }
    printf("%ld inputs\n", runs);
    return 0;
}
