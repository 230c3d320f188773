/* SPDX-License-Identifier: MIT */
/* chain_posix.h: the handlers that were there before us, most recent first. */
#ifndef AXP_CHAIN_POSIX_H
#define AXP_CHAIN_POSIX_H

#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>

#define AXP_CHAIN_SLOTS 8
#define AXP_CHAIN_ENTRIES 8
#define AXP_CHAIN_ACTION_WORDS ((sizeof(struct sigaction) + sizeof(uintptr_t) - 1) / sizeof(uintptr_t))

/*
 * Others put themselves on top of us, and we go back on top of them; keeping only the latest would lose a
 * crash reporter under a faulthandler that was enabled later.  And others put us back, by restoring what they
 * had found: then they are gone, and so is everything that came after the time when they found us.  To know
 * that time we install another entry point of ours, an entry, for each state of the chain: the entry that is
 * called tells which handlers were there when it was installed.
 *
 * Read inside the handler, so without a lock: an order is one word, and a slot that is being written is
 * skipped.
 */
typedef struct axp_chain {
    _Atomic int32_t owner;   /* the process that is pushing, or 0 */
    _Atomic uint32_t latest; /* the entry that was last seen or put on top */
    _Atomic uint32_t
        orders[AXP_CHAIN_ENTRIES]; /* slot numbers from 1, four bits each, topmost lowest; 0 ends */
    struct {
        _Atomic uint32_t version; /* odd while it is being written */
        _Atomic uint32_t spent;   /* an SA_RESETHAND that has been called: the default action now */
        _Atomic uintptr_t action[AXP_CHAIN_ACTION_WORDS]; /* a struct sigaction */
    } slots[AXP_CHAIN_SLOTS];
} axp_chain;

/*
 * Copies the handler at a depth below an entry (0: directly), not counting those in asked, a bit for each
 * slot. Returns its slot, or -1 at the end of the chain.  Safe inside a handler.
 */
int axp_chain_at(axp_chain *chain, unsigned entry, unsigned depth, unsigned asked,
                 struct sigaction *action_out);

/* The handler in this slot is about to be called: one with SA_RESETHAND is the default action from then on.
 */
void axp_chain_called(axp_chain *chain, int slot, const struct sigaction *action);

/*
 * With the lock held every signal is blocked.  They return 0 if another thread has it: try_lock at once, for
 * use inside a handler, and lock after so long that its holder cannot be running.
 */
int axp_chain_lock(axp_chain *chain, sigset_t *mask_out);
int axp_chain_try_lock(axp_chain *chain, sigset_t *mask_out);
void axp_chain_unlock(axp_chain *chain, const sigset_t *mask);

/*
 * Puts an action on top of the latest entry's chain, from wherever in it it was, and returns the entry for
 * the chain that results.  With the lock held.
 */
unsigned axp_chain_push(axp_chain *chain, const struct sigaction *action);

/*
 * Puts an action on top of what is left of an entry's chain after the handler in a slot has taken itself off,
 * and returns the entry for that.  If the action was further down, all above it has gone.  With the lock
 * held.
 */
unsigned axp_chain_cut(axp_chain *chain, unsigned entry, int gone, const struct sigaction *action);

#endif
