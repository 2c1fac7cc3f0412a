// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * bench_flood.c - `bma bench flood`: what waits for readers when frees come as fast as they can
 *
 * Updaters (--threads) allocate an object, write it, and give it back with a deferred free, in a
 * loop that does nothing else.  Readers are in short read sections back to back, so that hardly
 * ever is there a moment without one.  With more threads than CPUs, which is the usual case,
 * readers are preempted inside.  The contestants are
 *   bma       free_rcu, with its built-in readers and with those of liburcu's memb, mb, qsbr and bp
 *   malloc    each, with liburcu's call_rcu and defer_rcu (readers: memb), and with Concurrency
 *             Kit's ck_epoch_call where it was there when bma was built
 *
 * Where the CPUs are so busy that the thread which looks at limbo does not get to run, a peak may
 * be missed; the resident set's peak is the kernel's and misses nothing.
 */
#define _GNU_SOURCE
#include "bench_flood.h"

#include <math.h>

#include "source.h"

/* In the order of the columns. */
enum { MOPS, LIMBO, RSS, GRACE_PERIODS, MREADS };

static const struct bench_figure figures[] = {
	[MOPS] = { "Mops/s", "million_pairs_per_second", 1, 4, true },
	[LIMBO] = { "peak limbo MiB", "peak_limbo_bytes", 1 << 20, 0, true },
	[RSS] = { "peak RSS MiB", "peak_rss_bytes", 1 << 20, 0, false },
	[GRACE_PERIODS] = { "grace periods", "grace_periods", 1, 0, false },
	[MREADS] = { "Mreads/s", "million_sections_per_second", 1, 4, false },
};

static enum exit_code run_contestant(const struct bench_run *run)
{
	const struct flood_contestant *how = run->who->how;
	double *values = run->result->values;
	struct flood_sum sum;
	enum exit_code code = flood_run(run, &sum);

	if (code != EXIT_OK)
		return code;
	values[MOPS] = (double)sum.pairs / sum.seconds / 1e6;
	values[LIMBO] = (double)run->result->log.limbo_peak;
	values[RSS] = (double)run->result->log.rss_peak;
	values[GRACE_PERIODS] = how->counts_grace_periods ? (double)sum.grace_periods : NAN;
	values[MREADS] = run->params.readers ? (double)sum.sections / sum.seconds / 1e6 : NAN;
	return EXIT_OK;
}

static const struct bench_case cases[] = { { .name = "flood" } };

#define BMA_WITH(readers, its_how)                                                                 \
	{                                                                                          \
		.name = "bma, " readers, .program = PROGRAM_SHARED, .how = its_how                 \
	}

static const struct bench_contestant contestants[] = {
	BMA_WITH("built-in readers", &flood_bma),
	BMA_WITH("urcu-memb", &flood_bma_memb),
	BMA_WITH("urcu-mb", &flood_bma_mb),
	BMA_WITH("urcu-qsbr", &flood_bma_qsbr),
	BMA_WITH("urcu-bp", &flood_bma_bp),
	EACH_MALLOC(" + call_rcu", &flood_call_rcu),
	EACH_MALLOC(" + defer_rcu", &flood_defer_rcu),
	EACH_MALLOC_UNLESS(CK_MISSING, " + ck_epoch_call", &flood_ck_epoch),
};

const struct bench flood_bench = {
	.name = "flood",
	.summary = "deferred frees as fast as can be: operations, and what waits for readers",
	.explain =
		"An operation is an allocation and its deferred free; a read is a read section.  "
		"Limbo is looked at\nevery millisecond: of bma what its statistics say, of malloc "
		"the chunks that were queued and not\nyet freed.",
	BENCH_TABLES(figures, cases, contestants),
	.defaults = { .threads = 2,
		      .readers = 1,
		      .size = DEFAULT_SIZE,
		      .rounds = 3,
		      .seconds = 0.5 },
	.size_min = 1,
	.size_max = 65536,
	.run = run_contestant,
	.draw = flood_draw,
};
