// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * contestant_bma.c - objects from bma, freed at once or after readers: liburcu's, or the built-in ones
 *
 * "Held" is what bma has from the system: its spans, and what it keeps its books in.
 */
#define _GNU_SOURCE
#include "contestant.h"
#include "tool.h"

#include <time.h>
#include <urcu/flavor.h>

#include <bma/rcu.h>
#include <bma/stats.h>

/* As its own header, which would map it, declares it. */
extern const struct rcu_flavor_struct urcu_memb_flavor;

/* Grace periods take micro- or milliseconds; after this a drain has failed to come to its end. */
#define DRAIN_SECONDS 5.0

static int memb_open(struct pool *pool)
{
	return bpf_mem_alloc_init_flavor(&pool->ma, (int)pool->size, false, &urcu_memb_flavor);
}

static int built_in_open(struct pool *pool)
{
	return bpf_mem_alloc_init(&pool->ma, (int)pool->size, false);
}

static void *bma_alloc(struct pool *pool)
{
	return bpf_mem_cache_alloc(&pool->ma);
}

static void bma_free(struct pool *pool, void *obj)
{
	bpf_mem_cache_free(&pool->ma, obj);
}

static void bma_free_rcu(struct pool *pool, void *obj)
{
	bpf_mem_cache_free_rcu(&pool->ma, obj);
}

static void bma_measure(const struct pool *pool, struct memory_usage *usage)
{
	struct bpf_mem_stats stats;

	bpf_mem_alloc_stats(&pool->ma, &stats);
	usage->limbo = stats.bytes_waiting_rcu + stats.bytes_waiting_ttrace;
	usage->held = stats.bytes_spans + stats.bytes_meta;
	usage->grace_periods = stats.grace_periods;
}

static void bma_drain(struct pool *pool)
{
	const struct timespec pause = { .tv_nsec = 1000000 };
	uint64_t start = now_ns();
	struct memory_usage usage;

	do {
		bma_measure(pool, &usage);
		if (!usage.limbo)
			return;
		nanosleep(&pause, NULL);
	} while (seconds_since(start) < DRAIN_SECONDS);
	complain("%llu bytes are still in limbo %g s after the last free",
		 (unsigned long long)usage.limbo, DRAIN_SECONDS);
}

/* The work gives every object back, so what the books miss at the end is a fault. */
static int bma_close(struct pool *pool)
{
	struct bpf_mem_stats stats;

	bpf_mem_alloc_stats(&pool->ma, &stats);
	bpf_mem_alloc_destroy(&pool->ma);
	if (!stats.objs_in_use && !stats.bad_frees && !stats.refusals)
		return 0;
	complain("bma's books do not close: %llu objects in use, %llu bad frees, %llu refusals",
		 (unsigned long long)stats.objs_in_use, (unsigned long long)stats.bad_frees,
		 (unsigned long long)stats.refusals);
	return -1;
}

#define BMA_CALLS                                                                                  \
	.counts_grace_periods = true, .alloc = bma_alloc, .discard = bma_free,                     \
	.measure = bma_measure, .drain = bma_drain, .close = bma_close

const struct contestant bma_free_contestant = {
	BMA_CALLS,
	.name = "bma free",
	.reuses_at_once = true, /* so that readers may meet another element */
	.open = memb_open,
	.retire = bma_free,
};

const struct contestant bma_free_rcu_contestant = {
	BMA_CALLS,
	.name = "bma free_rcu",
	.open = memb_open,
	.retire = bma_free_rcu,
};

/* Its readers register with nobody. */
static bool built_in_enter(void)
{
	return true;
}

static void built_in_leave(void)
{
}

static void built_in_lock(void)
{
	bpf_rcu_read_lock();
}

static void built_in_unlock(void)
{
	bpf_rcu_read_unlock();
}

static const struct reader_calls built_in_readers = {
	.enter = built_in_enter,
	.leave = built_in_leave,
	.lock = built_in_lock,
	.unlock = built_in_unlock,
};

const struct contestant bma_built_in_contestant = {
	BMA_CALLS,
	.name = "bma free_rcu, built-in readers",
	.readers = &built_in_readers,
	.open = built_in_open,
	.retire = bma_free_rcu,
};
