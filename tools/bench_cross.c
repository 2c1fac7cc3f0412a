// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * bench_cross.c - `bma bench cross`: objects allocated on one CPU and freed on another
 *
 * Threads work in pairs, each on a CPU of its own where there are enough: one allocates and hands
 * over, through a queue that is the same for all contestants; the other frees.
 */
#define _GNU_SOURCE
#include "source.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

enum { MOPS, RSS };

static const struct bench_figure figures[] = {
	[MOPS] = { "Mops/s", "million_objects_per_second", 1, 4, true },
	[RSS] = { "RSS grew by MiB", "rss_growth_bytes", 1 << 20, 0, false },
};

/* Both halves are workers of one role, so that a CPU is shared by neither of a pair. */
static size_t cross_step(struct worker *t)
{
	const struct source *source = t->work->source;

	return t->id % 2 ? source->consume(t) : source->produce(t);
}

/*
 * Nothing stays in a queue: the half that frees goes on until the other half has closed it.  That
 * one leaves last, as what it hands over may be memory of its own (the queue alone).
 */
static void cross_finish(struct worker *t)
{
	bool closed;

	if (t->id % 2 == 0) {
		atomic_store(&t->channel->closed, true);
		while (channel_ready(t->channel))
			sched_yield();
		return;
	}
	do {
		closed = atomic_load(&t->channel->closed);
	} while (t->work->source->consume(t) || !closed);
}

static enum exit_code run_cross(const struct bench_run *run)
{
	unsigned long threads = run->params.threads;
	size_t bytes = threads / 2 * sizeof(struct channel);
	struct work work = { .run = run, .source = run->who->how, .nr = 1 };
	const struct role role = {
		.step = cross_step,
		.finish = cross_finish,
		.nr = threads,
		.pinned = true,
	};
	struct work_sum sum;
	enum exit_code code;

	if (threads % 2)
		return bench_cannot(run, "it needs an even number of threads");
	work.channels = aligned_alloc(CACHE_LINE, bytes);
	if (!work.channels)
		return bench_fault(run, "no memory for a queue");
	memset(work.channels, 0, bytes);
	code = work_run(&work, &role, 1, &sum);
	free(work.channels);
	if (code != EXIT_OK)
		return code;
	/* Both halves count each object. */
	run->result->values[MOPS] = sum.operations / 2 / sum.seconds / 1e6;
	run->result->values[RSS] = (double)(sum.rss_peak - sum.rss_before);
	return EXIT_OK;
}

static bool fits(const struct bench_case *at, const struct bench_contestant *who)
{
	return ((const struct source *)who->how)->waits == (at->n == 1);
}

static const struct bench_case cases[] = {
	{ .name = "free", .n = 0 },
	{ .name = "deferred free", .n = 1 },
};

static const struct bench_contestant contestants[] = {
	FREE_CONTESTANTS,
	{ .name = "the queue alone", .how = &source_ring },
	RCU_CONTESTANTS,
};

const struct bench cross_bench = {
	.name = "cross",
	.summary = "allocated on one CPU, freed on another",
	.explain = "An operation is an object that was allocated, handed over and freed.",
	BENCH_TABLES(figures, cases, contestants),
	.defaults = { .threads = 2, .size = DEFAULT_SIZE, .rounds = 3, .seconds = 0.2 },
	.size_min = 1,
	.size_max = BPF_MEM_ALLOC_SIZE_MAX,
	.fits = fits,
	.run = run_cross,
};
