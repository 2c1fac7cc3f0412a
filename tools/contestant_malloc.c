// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * contestant_malloc.c - objects from malloc, freed by liburcu's call_rcu or defer_rcu, or by ck_epoch_call
 *
 * What one does without bma: an rcu_head before each object, the default call_rcu worker, free() in
 * its callback; or no header, and a queue of each thread's; or, for readers of Concurrency Kit's epochs,
 * an entry before each object and a poll after every 64.
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
#include <urcu.h>
#include <urcu/defer.h>

#ifdef BMA_HAVE_CK
#include <ck_epoch.h>
#endif

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

/* --- ck_epoch_call ---------------------------------------------------------------------------- */

#ifdef BMA_HAVE_CK

#define POLL_EVERY 64

static ck_epoch_t epoch;
static __thread ck_epoch_record_t *record;
static __thread unsigned int unpolled;

static int epoch_open(struct pool *pool)
{
	ck_epoch_init(&epoch);
	return open_with(pool, sizeof(ck_epoch_entry_t));
}

/* Records stay in the epoch's list for good. */
static int epoch_enter(void)
{
	record = aligned_alloc(CACHE_LINE, sizeof(*record));
	if (!record)
		return -ENOMEM;
	ck_epoch_register(&epoch, record, NULL);
	return 0;
}

static void epoch_leave(void)
{
	ck_epoch_barrier(record);
	ck_epoch_unregister(record);
}

static bool epoch_reader_enter(void)
{
	return !epoch_enter();
}

static void epoch_reader_leave(void)
{
	ck_epoch_unregister(record);
}

static void epoch_lock(void)
{
	ck_epoch_begin(record, NULL);
}

static void epoch_unlock(void)
{
	ck_epoch_end(record, NULL);
}

static void *entry_alloc(struct pool *pool)
{
	ck_epoch_entry_t *entry = malloc(sizeof(*entry) + pool->size);

	if (!entry)
		return NULL;
	ledger_count(&ledger_mine()->allocated, 1);
	return entry + 1;
}

static void free_entry(ck_epoch_entry_t *entry)
{
	ledger_count(&ledger_mine()->freed_after_rcu, 1);
	free(entry);
}

static void entry_retire(struct pool *pool, void *obj)
{
	(void)pool;
	ledger_count(&ledger_mine()->queued, 1);
	ck_epoch_call(record, (ck_epoch_entry_t *)obj - 1, free_entry);
	if (++unpolled < POLL_EVERY)
		return;
	unpolled = 0;
	ck_epoch_poll(record);
}

static void entry_discard(struct pool *pool, void *obj)
{
	(void)pool;
	ledger_count(&ledger_mine()->freed_at_once, 1);
	free((ck_epoch_entry_t *)obj - 1);
}

static const struct reader_calls epoch_readers = {
	.enter = epoch_reader_enter,
	.leave = epoch_reader_leave,
	.lock = epoch_lock,
	.unlock = epoch_unlock,
};

const struct contestant malloc_ck_epoch_contestant = {
	.name = "malloc + ck_epoch_call",
	.readers = &epoch_readers,
	.open = epoch_open,
	.enter = epoch_enter,
	.leave = epoch_leave,
	.alloc = entry_alloc,
	.retire = entry_retire,
	.discard = entry_discard,
	.measure = malloc_measure,
	.close = malloc_close,
};

#else

/* Missing; tables name it all the same. */
const struct contestant malloc_ck_epoch_contestant = { .name = "malloc + ck_epoch_call" };

#endif
