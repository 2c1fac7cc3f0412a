// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * contestant_malloc.c - objects from malloc, freed by liburcu's call_rcu
 *
 * What one does without bma: an rcu_head before each object, the default call_rcu worker, free() in
 * its callback.
 *
 * "Held" is the chunks of live and waiting objects with malloc's own word for each.  That is less
 * than malloc has from the system, but to ask malloc (mallinfo2) would take its locks and walk its
 * free chunks in the middle of the race; the resident set beside it shows the rest.
 *
 * Each thread counts in a ledger of its own, which it alone writes, so that counting costs the race
 * no shared cache line.  Ledgers live as long as the process, as totals outlive threads.
 */
#define _GNU_SOURCE
#include "contestant.h"
#include "tool.h"

#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

struct ledger {
	_Alignas(CACHE_LINE) struct ledger *next;
	_Atomic uint64_t allocated; /* bytes of chunks, ever */
	_Atomic uint64_t queued;
	_Atomic uint64_t freed_after_rcu;
	_Atomic uint64_t freed_at_once;
};

struct totals {
	uint64_t allocated, queued, freed_after_rcu, freed_at_once;
};

static _Atomic(struct ledger *) ledgers;
static __thread struct ledger *my_ledger;

static struct ledger *ledger_add(void)
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

static struct ledger *ledger_mine(void)
{
	if (!my_ledger)
		my_ledger = ledger_add();
	return my_ledger;
}

/* Only the ledger's thread writes it: no atomic add is needed. */
static void count(_Atomic uint64_t *counter, uint64_t bytes)
{
	uint64_t before = atomic_load_explicit(counter, memory_order_relaxed);

	/* Release: who sees these bytes freed also sees them queued, see add_up(). */
	atomic_store_explicit(counter, before + bytes, memory_order_release);
}

static uint64_t chunk_bytes(struct rcu_head *head)
{
	return malloc_usable_size(head) + sizeof(size_t);
}

/*
 * What is freed is read first, and what is allocated last: an object that moves on meanwhile makes
 * limbo and live memory look larger, never negative.
 */
static struct totals add_up(void)
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

static int malloc_open(struct pool *pool)
{
	(void)pool;
	return 0;
}

static void *malloc_alloc(struct pool *pool)
{
	struct rcu_head *head = malloc(sizeof(*head) + pool->size);

	if (!head)
		return NULL;
	count(&ledger_mine()->allocated, chunk_bytes(head));
	return head + 1;
}

static void free_after_rcu(struct rcu_head *head)
{
	count(&ledger_mine()->freed_after_rcu, chunk_bytes(head));
	free(head);
}

static void malloc_retire(struct pool *pool, void *obj)
{
	struct rcu_head *head = (struct rcu_head *)obj - 1;

	(void)pool;
	count(&ledger_mine()->queued, chunk_bytes(head));
	call_rcu(head, free_after_rcu);
}

static void malloc_discard(struct pool *pool, void *obj)
{
	struct rcu_head *head = (struct rcu_head *)obj - 1;

	(void)pool;
	count(&ledger_mine()->freed_at_once, chunk_bytes(head));
	free(head);
}

static void malloc_measure(const struct pool *pool, struct pool_usage *usage)
{
	struct totals sum = add_up();

	(void)pool;
	usage->limbo = sum.queued - sum.freed_after_rcu;
	usage->held = sum.allocated - sum.freed_after_rcu - sum.freed_at_once;
	usage->grace_periods = 0;
}

static void malloc_drain(struct pool *pool)
{
	(void)pool;
	rcu_barrier();
}

static int malloc_close(struct pool *pool)
{
	struct totals sum = add_up();

	(void)pool;
	if (sum.allocated == sum.freed_after_rcu + sum.freed_at_once)
		return 0;
	complain("%llu bytes from malloc were never freed",
		 (unsigned long long)(sum.allocated - sum.freed_after_rcu - sum.freed_at_once));
	return -1;
}

const struct contestant malloc_call_rcu_contestant = {
	.name = "malloc + call_rcu",
	.open = malloc_open,
	.alloc = malloc_alloc,
	.retire = malloc_retire,
	.discard = malloc_discard,
	.measure = malloc_measure,
	.drain = malloc_drain,
	.close = malloc_close,
};
