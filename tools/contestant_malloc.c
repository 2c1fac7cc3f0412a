// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * contestant_malloc.c - objects from malloc, freed by liburcu's call_rcu or defer_rcu
 *
 * What one does without bma: an rcu_head before each object, the default call_rcu worker, free() in
 * its callback; or no header, and a queue of each thread's.
 *
 * "Held" is the chunks of live and waiting objects with malloc's own word for each.  That is less
 * than malloc has from the system, but to ask malloc (mallinfo2) would take its locks and walk its
 * free chunks in the middle of the race; the resident set beside it shows the rest.  All chunks are
 * of one size, so that only their number is counted.
 */
#define _GNU_SOURCE
#include "contestant.h"
#include "ledger.h"
#include "tool.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <urcu/defer.h>

static int open_with(struct pool *pool, size_t header)
{
	void *chunk = malloc(header + pool->size);

	if (!chunk)
		return -ENOMEM;
	pool->chunk = malloc_usable_size(chunk) + sizeof(size_t);
	free(chunk);
	return 0;
}

static void malloc_measure(const struct pool *pool, struct memory_usage *usage)
{
	struct totals sum = ledger_totals();

	usage->limbo = (sum.queued - sum.freed_after_rcu) * pool->chunk;
	usage->held = (sum.allocated - sum.freed_after_rcu - sum.freed_at_once) * pool->chunk;
	usage->grace_periods = 0;
}

static int malloc_close(struct pool *pool)
{
	struct totals sum = ledger_totals();

	(void)pool;
	if (sum.allocated == sum.freed_after_rcu + sum.freed_at_once)
		return 0;
	complain("%llu objects from malloc were never freed",
		 (unsigned long long)(sum.allocated - sum.freed_after_rcu - sum.freed_at_once));
	return -1;
}

/* --- call_rcu --------------------------------------------------------------------------------- */

static int head_open(struct pool *pool)
{
	return open_with(pool, sizeof(struct rcu_head));
}

static void *head_alloc(struct pool *pool)
{
	struct rcu_head *head = malloc(sizeof(*head) + pool->size);

	if (!head)
		return NULL;
	ledger_count(&ledger_mine()->allocated, 1);
	return head + 1;
}

static void free_after_rcu(struct rcu_head *head)
{
	ledger_count(&ledger_mine()->freed_after_rcu, 1);
	free(head);
}

static void head_retire(struct pool *pool, void *obj)
{
	(void)pool;
	ledger_count(&ledger_mine()->queued, 1);
	call_rcu((struct rcu_head *)obj - 1, free_after_rcu);
}

static void head_discard(struct pool *pool, void *obj)
{
	(void)pool;
	ledger_count(&ledger_mine()->freed_at_once, 1);
	free((struct rcu_head *)obj - 1);
}

static void head_drain(struct pool *pool)
{
	(void)pool;
	rcu_barrier();
}

const struct contestant malloc_call_rcu_contestant = {
	.name = "malloc + call_rcu",
	.open = head_open,
	.alloc = head_alloc,
	.retire = head_retire,
	.discard = head_discard,
	.measure = malloc_measure,
	.drain = head_drain,
	.close = malloc_close,
};

/* --- defer_rcu -------------------------------------------------------------------------------- */

static int plain_open(struct pool *pool)
{
	return open_with(pool, 0);
}

static void *plain_alloc(struct pool *pool)
{
	void *obj = malloc(pool->size);

	if (obj)
		ledger_count(&ledger_mine()->allocated, 1);
	return obj;
}

static void free_deferred(void *obj)
{
	ledger_count(&ledger_mine()->freed_after_rcu, 1);
	free(obj);
}

static void plain_retire(struct pool *pool, void *obj)
{
	(void)pool;
	ledger_count(&ledger_mine()->queued, 1);
	defer_rcu(free_deferred, obj);
}

static void plain_discard(struct pool *pool, void *obj)
{
	(void)pool;
	ledger_count(&ledger_mine()->freed_at_once, 1);
	free(obj);
}

static int defer_enter(void)
{
	return rcu_defer_register_thread();
}

/* Frees what is in the thread's queue. */
static void defer_leave(void)
{
	rcu_defer_unregister_thread();
}

static void defer_drain(struct pool *pool)
{
	(void)pool;
	rcu_defer_barrier();
}

const struct contestant malloc_defer_rcu_contestant = {
	.name = "malloc + defer_rcu",
	.open = plain_open,
	.enter = defer_enter,
	.leave = defer_leave,
	.alloc = plain_alloc,
	.retire = plain_retire,
	.discard = plain_discard,
	.measure = malloc_measure,
	.drain = defer_drain,
	.close = malloc_close,
};
