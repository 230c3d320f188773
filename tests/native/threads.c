/* SPDX-License-Identifier: MIT */
/* threads.c: threads without Python, and handlers that pass everything on. */
#define _GNU_SOURCE
#include "hostile.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static const int fault_signals[2] = {SIGSEGV, SIGBUS};
static struct sigaction before[2]; /* whom on_forward() passes them on to */
static int (*hammered)(void);
static volatile sig_atomic_t hammering;

static void on_forward(int signal, siginfo_t *info, void *context)
{
    before[signal == SIGBUS].sa_sigaction(signal, info, context);
}

static void *hammer(void *unused)
{
    (void)unused;
    while (hammering) {
        struct sigaction action;

        memset(&action, 0, sizeof action);
        action.sa_sigaction = on_forward;
        action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
        for (int i = 0; i < 2; i++)
            sigaction(fault_signals[i], &action, NULL);
        hammered();
    }
    return NULL;
}

static void *hammer_only(void *unused)
{
    (void)unused;
    while (hammering)
        hammered();
    return NULL;
}

static int start_hammers(void *(*body)(void *), int threads)
{
    pthread_t thread;

    hammering = 1;
    for (int i = 0; i < threads; i++) {
        if (pthread_create(&thread, NULL, body, NULL) != 0)
            return -1;
        pthread_detach(thread);
    }
    return 0;
}

/* Threads that for ever put a handler on top, which passes everything on to who is there now, and call
 * install(). */
int hostile_hammer(int (*install)(void), int threads)
{
    hammered = install;
    for (int i = 0; i < 2; i++)
        sigaction(fault_signals[i], NULL, &before[i]);
    return start_hammers(hammer, threads);
}

/* Threads that for ever call install() and nothing else. */
int hostile_hammer_install(int (*install)(void), int threads)
{
    hammered = install;
    return start_hammers(hammer_only, threads);
}

/* Goes on top with every signal blocked meanwhile, and has whoever is there now do the work. */
int hostile_forward_blocking(void)
{
    struct sigaction action = {.sa_sigaction = on_forward, .sa_flags = SA_SIGINFO | SA_ONSTACK};

    sigfillset(&action.sa_mask);
    for (int i = 0; i < 2; i++)
        if (sigaction(fault_signals[i], &action, &before[i]) != 0)
            return -1;
    return 0;
}

typedef struct message {
    pthread_t target;
    int signal;
    int microseconds;
    int times;
} message;

static void *deliver(void *argument)
{
    message *sent = argument;

    for (int i = 0; i < sent->times; i++) {
        usleep((useconds_t)sent->microseconds);
        pthread_kill(sent->target, sent->signal);
    }
    return NULL;
}

/* A thread that does not wait for Python sends the caller a signal, later and so many times. */
int hostile_send_later(int signal, int microseconds, int times)
{
    static message sent;
    pthread_t thread;

    sent = (message){pthread_self(), signal, microseconds, times};
    return pthread_create(&thread, NULL, deliver, &sent);
}
