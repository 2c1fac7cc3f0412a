// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * ledger.c - a list of ledgers that only grows, and their sum
 */
#define _GNU_SOURCE
#include "ledger.h"

#include <stdlib.h>
#include <unistd.h>

static _Atomic(struct ledger *) ledgers;
__thread struct ledger *my_ledger;

struct ledger *ledger_add(void)
{
	struct ledger *ledger = aligned_alloc(CACHE_LINE, sizeof(*ledger));

	if (!ledger) {
		complain("no memory to count with");
		_exit(EXIT_FAILED);
	}
	*ledger = (struct ledger){ .next = atomic_load_explicit(&ledgers, memory_order_relaxed) };
	while (!atomic_compare_exchange_weak_explicit(&ledgers, &ledger->next, ledger,
						      memory_order_release, memory_order_relaxed))
		;
	return ledger;
}

/* What is freed is read first, and what is allocated last. */
struct totals ledger_totals(void)
{
	struct ledger *first = atomic_load_explicit(&ledgers, memory_order_acquire);
	struct totals sum = { 0 };

	for (struct ledger *t = first; t; t = t->next) {
		sum.freed_after_rcu +=
			atomic_load_explicit(&t->freed_after_rcu, memory_order_acquire);
		sum.freed_at_once += atomic_load_explicit(&t->freed_at_once, memory_order_acquire);
	}
	first = atomic_load_explicit(&ledgers, memory_order_acquire);
	for (struct ledger *t = first; t; t = t->next)
		sum.queued += atomic_load_explicit(&t->queued, memory_order_acquire);
	for (struct ledger *t = first; t; t = t->next)
		sum.allocated += atomic_load_explicit(&t->allocated, memory_order_acquire);
	return sum;
}
