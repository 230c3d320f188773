/* SPDX-License-Identifier: MIT */
/* chain_posix.c: the handlers that were there before us, most recent first. */
#include "chain_posix.h"

#define SLOT_BITS 4u
#define SLOT_MASK 15u

int axp_chain_at(axp_chain *chain, unsigned depth, struct sigaction *action_out)
{
    uint32_t order = atomic_load_explicit(&chain->order, memory_order_acquire);

    for (; order & SLOT_MASK; order >>= SLOT_BITS) {
        unsigned slot = (order & SLOT_MASK) - 1;
        uint32_t version = atomic_load_explicit(&chain->slots[slot].version, memory_order_acquire);

        *action_out = chain->slots[slot].action;
        atomic_thread_fence(memory_order_acquire);
        if (version % 2 != 0
            || version != atomic_load_explicit(&chain->slots[slot].version, memory_order_relaxed))
            continue;
        if (depth-- == 0)
            return 1;
    }
    return 0;
}

int axp_chain_lock(axp_chain *chain)
{
    int32_t self = (int32_t)getpid();
    int32_t owner = 0;

    if (atomic_compare_exchange_strong(&chain->owner, &owner, self))
        return 1;
    /* A fork while another thread held it leaves it held by a process that this one is not. */
    return owner != self && atomic_compare_exchange_strong(&chain->owner, &owner, self);
}

void axp_chain_unlock(axp_chain *chain)
{
    atomic_store(&chain->owner, 0);
}

static int is_same(const struct sigaction *left, const struct sigaction *right)
{
    return left->sa_handler == right->sa_handler && left->sa_flags == right->sa_flags;
}

/* The order without one slot. */
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

void axp_chain_push(axp_chain *chain, const struct sigaction *action)
{
    uint32_t order = atomic_load_explicit(&chain->order, memory_order_relaxed);
    unsigned used[AXP_CHAIN_DEPTH] = {0};
    unsigned slot = 0;
    unsigned last = 0;

    for (uint32_t rest = order; rest & SLOT_MASK; rest >>= SLOT_BITS) {
        last = (rest & SLOT_MASK) - 1;
        used[last] = 1;
        if (is_same(&chain->slots[last].action, action)) {
            atomic_store_explicit(&chain->order, without(order, last) << SLOT_BITS | (last + 1),
                                  memory_order_release);
            return;
        }
    }
    while (slot < AXP_CHAIN_DEPTH && used[slot])
        slot++;
    if (slot == AXP_CHAIN_DEPTH)
        slot = last; /* full: the oldest gives way */
    atomic_fetch_add_explicit(&chain->slots[slot].version, 1, memory_order_acq_rel);
    chain->slots[slot].action = *action;
    atomic_fetch_add_explicit(&chain->slots[slot].version, 1, memory_order_release);
    atomic_store_explicit(&chain->order, without(order, slot) << SLOT_BITS | (slot + 1),
                          memory_order_release);
}
