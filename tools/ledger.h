/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * ledger.h - count what threads allocate and free, without a cache line that they share
 *
 * Each thread has a ledger that it alone writes.  Ledgers live as long as the process, as totals
 * outlive threads.  The unit, bytes or objects, is up to who counts.
 */
#ifndef BMA_LEDGER_H
#define BMA_LEDGER_H

#include <stdatomic.h>
#include <stdint.h>

#include "tool.h"

struct ledger {
	_Alignas(CACHE_LINE) struct ledger *next;
	_Atomic uint64_t allocated;
	_Atomic uint64_t queued; /* freed, but to wait for readers */
	_Atomic uint64_t freed_after_rcu;
	_Atomic uint64_t freed_at_once;
};

struct totals {
	uint64_t allocated, queued, freed_after_rcu, freed_at_once;
};

extern __thread struct ledger *my_ledger;
struct ledger *ledger_add(void);

/* The calling thread's; without memory for it the process ends. */
static inline struct ledger *ledger_mine(void)
{
	if (!my_ledger)
		my_ledger = ledger_add();
	return my_ledger;
}

/* Only the ledger's thread writes it: no atomic add is needed. */
static inline void ledger_count(_Atomic uint64_t *counter, uint64_t n)
{
	uint64_t before = atomic_load_explicit(counter, memory_order_relaxed);

	/* Release: who sees it freed also sees it queued, see ledger_totals(). */
	atomic_store_explicit(counter, before + n, memory_order_release);
}

/*
 * Of all threads.  What moves on meanwhile makes "queued" less "freed", and "allocated" less both,
 * look larger, never negative.
 */
struct totals ledger_totals(void);

#endif /* BMA_LEDGER_H */
