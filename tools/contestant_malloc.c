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
 */
#define _GNU_SOURCE
#include "contestant.h"
#include "ledger.h"
#include "tool.h"

#include <malloc.h>
#include <stdlib.h>

static uint64_t chunk_bytes(struct rcu_head *head)
{
	return malloc_usable_size(head) + sizeof(size_t);
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
	ledger_count(&ledger_mine()->allocated, chunk_bytes(head));
	return head + 1;
}

static void free_after_rcu(struct rcu_head *head)
{
	ledger_count(&ledger_mine()->freed_after_rcu, chunk_bytes(head));
	free(head);
}

static void malloc_retire(struct pool *pool, void *obj)
{
	struct rcu_head *head = (struct rcu_head *)obj - 1;

	(void)pool;
	ledger_count(&ledger_mine()->queued, chunk_bytes(head));
	call_rcu(head, free_after_rcu);
}

static void malloc_discard(struct pool *pool, void *obj)
{
	struct rcu_head *head = (struct rcu_head *)obj - 1;

	(void)pool;
	ledger_count(&ledger_mine()->freed_at_once, chunk_bytes(head));
	free(head);
}

static void malloc_measure(const struct pool *pool, struct memory_usage *usage)
{
	struct totals sum = ledger_totals();

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
	struct totals sum = ledger_totals();

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
