/* SPDX-License-Identifier: MIT */
/* chain_posix.h: the handlers that were there before us, most recent first. */
#ifndef AXP_CHAIN_POSIX_H
#define AXP_CHAIN_POSIX_H

#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <unistd.h>

#define AXP_CHAIN_DEPTH 8

/*
 * A handler takes us off by restoring what it found, or puts itself on top of us again; each time we go back
 * on top of it. Keeping only the latest would lose a crash reporter under a faulthandler that was enabled
 * later.  Read inside the handler, so without a lock: order is one word, and a slot that is being written is
 * skipped.
 */
typedef struct axp_chain {
    _Atomic uint32_t order; /* slot numbers from 1, four bits each, topmost lowest; 0 ends */
    _Atomic int32_t owner;  /* the process that is pushing, or 0 */
    struct {
        _Atomic uint32_t version; /* odd while it is being written */
        struct sigaction action;
    } slots[AXP_CHAIN_DEPTH];
} axp_chain;

/* Copies the handler at a depth (0: directly below us).  Returns 0 at the end of the chain.  Safe inside a
 * handler. */
int axp_chain_at(axp_chain *chain, unsigned depth, struct sigaction *action_out);

/* Returns 0 if another thread of this process is at it: nobody waits. */
int axp_chain_lock(axp_chain *chain);
void axp_chain_unlock(axp_chain *chain);

/* Puts an action on top of the chain, from wherever in it it was.  With the lock held. */
void axp_chain_push(axp_chain *chain, const struct sigaction *action);

#endif
