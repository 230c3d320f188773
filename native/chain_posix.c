/* SPDX-License-Identifier: MIT */
/* chain_posix.c: the handlers that were there before us, most recent first. */
#include "chain_posix.h"

#include <sched.h>
#include <string.h>
#include <unistd.h>

/* It is held for two system calls, so this many tries mean that its holder does not run. */
#define LOCK_TRIES 100000

#define SLOT_BITS 4u
#define SLOT_MASK 15u

static void read_action(axp_chain *chain, unsigned slot, struct sigaction *action_out)
{
    uintptr_t words[AXP_CHAIN_ACTION_WORDS] = {0};

    for (size_t i = 0; i < AXP_CHAIN_ACTION_WORDS; i++)
        words[i] = atomic_load_explicit(&chain->slots[slot].action[i], memory_order_acquire);
    memcpy(action_out, words, sizeof *action_out);
}

/* Whoever reads any of these words then reads a version that is odd, or a later one. */
static void write_action(axp_chain *chain, unsigned slot, const struct sigaction *action)
{
    uintptr_t words[AXP_CHAIN_ACTION_WORDS] = {0};

    memcpy(words, action, sizeof *action);
    for (size_t i = 0; i < AXP_CHAIN_ACTION_WORDS; i++)
        atomic_store_explicit(&chain->slots[slot].action[i], words[i], memory_order_release);
}

static int copy_slot(axp_chain *chain, unsigned slot, struct sigaction *action_out)
{
    uint32_t version = atomic_load_explicit(&chain->slots[slot].version, memory_order_acquire);

    read_action(chain, slot, action_out);
    if (version % 2 != 0
        || version != atomic_load_explicit(&chain->slots[slot].version, memory_order_relaxed))
        return 0;
    if (atomic_load(&chain->slots[slot].spent))
        action_out->sa_handler = SIG_DFL;
    return 1;
}

int axp_chain_at(axp_chain *chain, unsigned entry, unsigned depth, unsigned asked,
                 struct sigaction *action_out)
{
    uint32_t order = atomic_load_explicit(&chain->orders[entry], memory_order_acquire);

    for (; order & SLOT_MASK; order >>= SLOT_BITS) {
        unsigned slot = (order & SLOT_MASK) - 1;

        if (!(asked & 1u << slot) && copy_slot(chain, slot, action_out) && depth-- == 0)
            return (int)slot;
    }
    return -1;
}

void axp_chain_called(axp_chain *chain, int slot, const struct sigaction *action)
{
    if ((unsigned)action->sa_flags & SA_RESETHAND)
        atomic_store(&chain->slots[slot].spent, 1);
}

int axp_chain_try_lock(axp_chain *chain, sigset_t *mask_out)
{
    int32_t self = (int32_t)getpid();
    int32_t owner = 0;
    sigset_t all;

    /* A signal handler that came in between might want the lock, or leave by longjmp and never give it back.
     */
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, mask_out);
    /* A fork while another thread held it leaves it held by a process that this one is not. */
    if (atomic_compare_exchange_strong(&chain->owner, &owner, self)
        || (owner != self && atomic_compare_exchange_strong(&chain->owner, &owner, self)))
        return 1;
    sigprocmask(SIG_SETMASK, mask_out, NULL);
    return 0;
}

int axp_chain_lock(axp_chain *chain, sigset_t *mask_out)
{
    for (unsigned tries = 0; tries < LOCK_TRIES; tries++) {
        if (axp_chain_try_lock(chain, mask_out))
            return 1;
        sched_yield();
    }
    return 0;
}

void axp_chain_unlock(axp_chain *chain, const sigset_t *mask)
{
    atomic_store(&chain->owner, 0);
    sigprocmask(SIG_SETMASK, mask, NULL);
}

/* With the lock held. */
static int holds(axp_chain *chain, unsigned slot, const struct sigaction *action)
{
    struct sigaction held;

    read_action(chain, slot, &held);
    return held.sa_handler == action->sa_handler && held.sa_flags == action->sa_flags;
}

static uint32_t without(uint32_t order, unsigned slot)
{
    uint32_t kept = 0;

    for (unsigned shift = 0; order & SLOT_MASK; order >>= SLOT_BITS)
        if ((order & SLOT_MASK) != slot + 1) {
            kept |= (order & SLOT_MASK) << shift;
            shift += SLOT_BITS;
        }
    return kept;
}

/* The slots that some entry's chain needs, one bit each. */
static unsigned used_slots(axp_chain *chain)
{
    unsigned used = 0;

    for (unsigned entry = 0; entry < AXP_CHAIN_ENTRIES; entry++)
        for (uint32_t rest = atomic_load(&chain->orders[entry]); rest & SLOT_MASK; rest >>= SLOT_BITS)
            used |= 1u << ((rest & SLOT_MASK) - 1);
    return used;
}

/* Makes room where all slots are used: gives up the other entries' chains for the latest, or of that the
 * second. */
static void make_room(axp_chain *chain)
{
    uint32_t order = atomic_load(&chain->orders[atomic_load(&chain->latest)]);

    if (order >> SLOT_BITS * (AXP_CHAIN_SLOTS - 1) != 0)
        order =
            without(order, (order >> SLOT_BITS & SLOT_MASK) - 1); /* the last one was there first: keep it */
    for (unsigned entry = 0; entry < AXP_CHAIN_ENTRIES; entry++)
        atomic_store(&chain->orders[entry], order);
}

/* The slot that holds an action, which it is put into if none does. */
static unsigned slot_for(axp_chain *chain, const struct sigaction *action)
{
    unsigned used = used_slots(chain);
    unsigned slot = 0;
    uint32_t version;

    for (unsigned held = 0; held < AXP_CHAIN_SLOTS; held++)
        if (used & 1u << held && holds(chain, held, action)) {
            atomic_store(&chain->slots[held].spent, 0);
            return held;
        }
    if (used == (1u << AXP_CHAIN_SLOTS) - 1) {
        make_room(chain);
        used = used_slots(chain);
    }
    while (slot < AXP_CHAIN_SLOTS - 1 && used & 1u << slot)
        slot++;
    version = atomic_load(&chain->slots[slot].version) | 1; /* odd already if a fork has cut this short */
    atomic_store(&chain->slots[slot].version, version);
    write_action(chain, slot, action);
    atomic_store(&chain->slots[slot].spent, 0);
    atomic_store_explicit(&chain->slots[slot].version, version + 1, memory_order_release);
    return slot;
}

/* The entry for an order, with the lock held. */
static unsigned entry_for(axp_chain *chain, uint32_t order)
{
    uint32_t latest = atomic_load(&chain->latest);
    unsigned entry = 0;

    while (entry < AXP_CHAIN_ENTRIES && atomic_load(&chain->orders[entry]) != order)
        entry++;
    if (entry == AXP_CHAIN_ENTRIES) {
        /* Round and round.  Somebody who has kept an entry that long finds a longer chain below it than there
         * was. */
        entry = (latest + 1) % AXP_CHAIN_ENTRIES;
        atomic_store_explicit(&chain->orders[entry], order, memory_order_release);
    }
    atomic_store(&chain->latest, entry);
    return entry;
}

unsigned axp_chain_push(axp_chain *chain, const struct sigaction *action)
{
    unsigned slot = slot_for(chain, action);
    uint32_t order = atomic_load(&chain->orders[atomic_load(&chain->latest)]);

    return entry_for(chain, without(order, slot) << SLOT_BITS | (slot + 1));
}

unsigned axp_chain_cut(axp_chain *chain, unsigned entry, int gone, const struct sigaction *action)
{
    uint32_t order = atomic_load(&chain->orders[entry]);
    unsigned slot = slot_for(chain, action);
    uint32_t below = order;

    while (below & SLOT_MASK && (below & SLOT_MASK) != (uint32_t)gone + 1)
        below >>= SLOT_BITS;
    below >>= SLOT_BITS;
    for (uint32_t rest = below; rest & SLOT_MASK; rest >>= SLOT_BITS)
        if ((rest & SLOT_MASK) == slot + 1)
            return entry_for(chain, rest);
    return entry_for(chain, below << SLOT_BITS | (slot + 1));
}
