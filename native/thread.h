/* SPDX-License-Identifier: MIT */
/* thread.h: thread-local storage that is safe to touch inside a signal handler. */
#ifndef AXP_THREAD_H
#define AXP_THREAD_H

#include <stddef.h>

/*
 * glibc's default model for a loaded library may call malloc at a thread's first access, in the handler;
 * initial-exec does not, but draws on a small reserve (2 KiB of it no longer loads): keep what is declared so
 * to a few hundred bytes. musl refuses initial-exec in a loaded library; its default model does not allocate.
 * mingw's allocates at a thread's first access: guard_windows.c keeps what its handler reads elsewhere.
 */
#if defined(__GLIBC__)
#define AXP_THREAD_LOCAL _Thread_local __attribute__((tls_model("initial-exec")))
#else
#define AXP_THREAD_LOCAL _Thread_local
#endif

#endif
