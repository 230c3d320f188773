/* SPDX-License-Identifier: MIT */
/* chain_posix.c: the handlers that were there before us, most recent first. */
#include "chain_posix.h"

#include <sched.h>
#include <unistd.h>

#include "thread.h"

/* It is held for two system calls, so this many tries mean that its holder does not run. */
#define LOCK_TRIES 100000

#define SLOT_BITS 4u
#define SLOT_MASK 15u

static int copy_at(axp_chain *chain, unsigned entry, unsigned depth, struct sigaction *action_out,
                   unsigned *slot_out)
{
    uint32_t order = atomic_load_explicit(&chain->orders[entry], memory_order_acquire);

    for (; order & SLOT_MASK; order >>= SLOT_BITS) {
        unsigned slot = (order & SLOT_MASK) - 1;
        uint32_t version = atomic_load_explicit(&chain->slots[slot].version, memory_order_acquire);

        *action_out = chain->slots[slot].action;
        atomic_thread_fence(memory_order_acquire);
        if (version % 2 != 0
            || version != atomic_load_explicit(&chain->slots[slot].version, memory_order_relaxed))
            continue;
        if (depth-- != 0)
            continue;
        if (atomic_load(&chain->slots[slot].spent))
            action_out->sa_handler = SIG_DFL;
        *slot_out = slot;
        return 1;
    }
    return 0;
}

int axp_chain_at(axp_chain *chain, unsigned entry, unsigned depth, struct sigaction *action_out)
{
    unsigned slot;

    return copy_at(chain, entry, depth, action_out, &slot);
}

int axp_chain_take(axp_chain *chain, unsigned entry, unsigned depth, struct sigaction *action_out)
{
    unsigned slot;

    if (!copy_at(chain, entry, depth, action_out, &slot))
        return 0;
    if (action_out->sa_handler != SIG_DFL && (unsigned)action_out->sa_flags & SA_RESETHAND)
        atomic_store(&chain->slots[slot].spent, 1);
    return 1;
}

static AXP_THREAD_LOCAL int holding; /* a signal handler may interrupt the holder and come here */

int axp_chain_try_lock(axp_chain *chain)
{
    int32_t self = (int32_t)getpid();
    int32_t owner = 0;

    if (holding)
        return 0;
    /* A fork while another thread held it leaves it held by a process that this one is not. */
    holding = atomic_compare_exchange_strong(&chain->owner, &owner, self)
              || (owner != self && atomic_compare_exchange_strong(&chain->owner, &owner, self));
    return holding;
}

int axp_chain_lock(axp_chain *chain)
{
    for (unsigned tries = 0; tries < LOCK_TRIES && !holding; tries++) {
        if (axp_chain_try_lock(chain))
            return 1;
        sched_yield();
    }
    return 0;
}

void axp_chain_unlock(axp_chain *chain)
{
    atomic_store(&chain->owner, 0);
    holding = 0;
}

static int is_same(const struct sigaction *left, const struct sigaction *right)
{
    return left->sa_handler == right->sa_handler && left->sa_flags == right->sa_flags;
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

/* The slot that holds an action; if none does, one that is free, or else the oldest of the latest chain. */
static unsigned slot_for(axp_chain *chain, const struct sigaction *action)
{
    uint32_t latest = atomic_load(&chain->latest);
    uint32_t version;
    unsigned used = 0;
    unsigned slot = 0;

    for (unsigned entry = 0; entry < AXP_CHAIN_ENTRIES; entry++)
        for (uint32_t rest = atomic_load(&chain->orders[entry]); rest & SLOT_MASK; rest >>= SLOT_BITS)
            used |= 1u << ((rest & SLOT_MASK) - 1);
    for (; slot < AXP_CHAIN_SLOTS; slot++)
        if (used & 1u << slot && is_same(&chain->slots[slot].action, action)) {
            atomic_store(&chain->slots[slot].spent, 0);
            return slot;
        }
    for (slot = 0; slot < AXP_CHAIN_SLOTS; slot++)
        if (!(used & 1u << slot))
            break;
    if (slot == AXP_CHAIN_SLOTS) {
        slot = 0;
        for (uint32_t rest = atomic_load(&chain->orders[latest]); rest & SLOT_MASK; rest >>= SLOT_BITS)
            slot = (rest & SLOT_MASK) - 1;
        for (unsigned entry = 0; entry < AXP_CHAIN_ENTRIES; entry++)
            atomic_store(&chain->orders[entry], without(atomic_load(&chain->orders[entry]), slot));
    }
    version = atomic_load(&chain->slots[slot].version) | 1; /* odd already if a fork has cut this short */
    atomic_store(&chain->slots[slot].version, version);
    atomic_thread_fence(memory_order_release);
    chain->slots[slot].action = *action;
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

unsigned axp_chain_cut(axp_chain *chain, unsigned entry, unsigned depth, const struct sigaction *action)
{
    unsigned slot = slot_for(chain, action);
    uint32_t order = atomic_load(&chain->orders[entry]);

    for (unsigned gone = 0; gone <= depth; gone++)
        order >>= SLOT_BITS;
    for (uint32_t rest = order; rest & SLOT_MASK; rest >>= SLOT_BITS)
        if ((rest & SLOT_MASK) == slot + 1)
            return entry_for(chain, rest);
    return entry_for(chain, order << SLOT_BITS | (slot + 1));
}
