/* SPDX-License-Identifier: MIT */
/* action_posix.c: setting a signal's action so that the handler knows who has called it. */
#include "action_posix.h"

#include <stdint.h>
#include <string.h>

#include "raw.h"

#if defined(__linux__) && defined(__x86_64__) && !defined(__ILP32__) && !defined(AXP_SANITIZED)

#include <sys/syscall.h>
#include <unistd.h>

/*
 * A signal frame begins with the address that the handler returns to, which belongs to the action and is
 * libc's own, except that we set ours by the system call itself and with an address of our own: found in the
 * frame, it says that the system has called this action, and so with an unchanged mask.
 *
 * The bytes are those of libc's, by which unwinders and debuggers know a signal frame; they look up the byte
 * before it too, which must not be a function's.
 */
__asm__(".text\n"
        ".p2align 4\n"
        "nop\n"
        ".globl axp_signal_return\n"
        ".hidden axp_signal_return\n"
        ".type axp_signal_return, @function\n"
        "axp_signal_return:\n"
        ".byte 0x48, 0xc7, 0xc0, 0x0f, 0x00, 0x00, 0x00\n" /* movq $SYS_rt_sigreturn, %rax */
        ".byte 0x0f, 0x05\n"                               /* syscall */
        ".size axp_signal_return, . - axp_signal_return\n");
extern void axp_signal_return(void) __attribute__((visibility("hidden")));

#define HAS_RETURN_ADDRESS 0x04000000UL /* SA_RESTORER, which is in the kernel's headers alone */

/* struct sigaction as the system call has it. */
typedef struct kernel_action {
    void (*handler)(int signal, siginfo_t *info, void *context);
    unsigned long flags;
    void (*return_address)(void);
    uint64_t mask;
} kernel_action;

/* Bytes from a frame's context to its siginfo. */
#define CONTEXT_SIZE 304

int axp_set_action(int signal, const struct sigaction *action, struct sigaction *replaced_out)
{
    kernel_action wanted = {
        .handler = action->sa_sigaction,
        .flags = (unsigned long)(unsigned)action->sa_flags | HAS_RETURN_ADDRESS,
        .return_address = axp_signal_return,
    };
    kernel_action replaced;

    memcpy(&wanted.mask, &action->sa_mask, sizeof wanted.mask);
    if (syscall(SYS_rt_sigaction, signal, &wanted, &replaced, sizeof wanted.mask) != 0)
        return -1;
    if (replaced_out != NULL) {
        memset(replaced_out, 0, sizeof *replaced_out);
        replaced_out->sa_sigaction = replaced.handler;
        replaced_out->sa_flags = (int)replaced.flags;
        replaced_out->sa_restorer = replaced.return_address;
        memcpy(&replaced_out->sa_mask, &replaced.mask, sizeof replaced.mask);
    }
    return 0;
}

int axp_is_action_set_here(const struct sigaction *action)
{
    return action->sa_restorer == axp_signal_return;
}

int axp_is_called_by_system(const siginfo_t *info, const void *context)
{
    return (const char *)info == (const char *)context + CONTEXT_SIZE
           && ((const uintptr_t *)context)[-1] == (uintptr_t)axp_signal_return;
}

#else

int axp_set_action(int signal, const struct sigaction *action, struct sigaction *replaced_out)
{
    return sigaction(signal, action, replaced_out);
}

int axp_is_action_set_here(const struct sigaction *action)
{
    /* signal(), which puts back what it has returned, sets others. */
    const int flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;

    return (action->sa_flags & flags) == flags;
}

int axp_is_called_by_system(const siginfo_t *info, const void *context)
{
    (void)info;
    (void)context;
    return 0;
}

#endif
