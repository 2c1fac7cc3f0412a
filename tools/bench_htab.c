// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * bench_htab.c - `bma bench htab-mem`: what a hash table takes, in time and memory
 *
 * The work is that of Linux's `bench htab-mem`: producers (--threads) change a hash table, in one
 * of three ways, and memory is watched.  The table is one and the same; its elements come from
 *   bma free           reusable at once, with readers that can bear it
 *   bma free_rcu       reusable after a grace period
 *   malloc + call_rcu, defer_rcu, ck_epoch_call   freed after a grace period, with each malloc
 *
 * Readers are whose grace periods are waited for: bma's built-in ones, liburcu's memb flavour's, or
 * Concurrency Kit's.
 */
#define _GNU_SOURCE
#include "bench_htab.h"
#include "source.h"

#include <math.h>

/* In the order of the columns. */
enum { KOPS, MEAN, PEAK, LIMBO, RSS, MREADS, REUSED };

static const struct bench_figure figures[] = {
	[KOPS] = { "k/s per thread", "kops_per_producer", 1, 4, true },
	[MEAN] = { "mean MiB", "mean_bytes", 1 << 20, 0, false },
	[PEAK] = { "peak MiB", "peak_bytes", 1 << 20, 0, true },
	[LIMBO] = { "peak limbo MiB", "peak_limbo_bytes", 1 << 20, 0, false },
	[RSS] = { "peak RSS MiB", "peak_rss_bytes", 1 << 20, 0, false },
	[MREADS] = { "Mreads/s", "million_reads_per_second", 1, 4, false },
	[REUSED] = { "reused, ppm", "reused_reads_ppm", 1, 4, false },
};

static double per_million(uint64_t part, uint64_t all)
{
	return all ? (double)part / (double)all * 1e6 : NAN;
}

static enum exit_code run_contestant(const struct bench_run *run)
{
	const struct memory_log *log = &run->result->log;
	double *values = run->result->values;
	struct htab_sum sum;
	enum exit_code code;

	if (((const struct use_case *)run->at->how)->pairs && run->params.threads % 2)
		return bench_cannot(run, "it needs an even number of threads");
	code = htab_run(run, &sum);
	if (code != EXIT_OK)
		return code;
	values[KOPS] = (double)sum.operations / (double)run->params.threads / sum.seconds / 1e3;
	values[MEAN] = log->held_seconds / log->seconds;
	values[PEAK] = (double)log->held_peak;
	values[LIMBO] = (double)log->limbo_peak;
	values[RSS] = (double)log->rss_peak;
	values[MREADS] = run->params.readers ? (double)sum.reads / sum.seconds / 1e6 : NAN;
	values[REUSED] = per_million(sum.reused_reads, sum.reads);
	return EXIT_OK;
}

static const struct bench_case cases[] = {
	{ .name = "overwrite", .how = &overwrite_use_case },
	{ .name = "batch_add_batch_del", .how = &batch_use_case },
	{ .name = "add_del_on_diff_cpu", .how = &diff_cpu_use_case },
};

static const struct bench_contestant contestants[] = {
	{ .name = "bma free_rcu, built-in readers",
	  .program = PROGRAM_SHARED,
	  .how = &bma_built_in_contestant },
	{ .name = "bma free_rcu, urcu-memb",
	  .program = PROGRAM_SHARED,
	  .how = &bma_free_rcu_contestant },
	{ .name = "bma free, urcu-memb", .program = PROGRAM_SHARED, .how = &bma_free_contestant },
	EACH_MALLOC(" + call_rcu", &malloc_call_rcu_contestant),
	EACH_MALLOC(" + defer_rcu", &malloc_defer_rcu_contestant),
	EACH_MALLOC_UNLESS(CK_MISSING, " + ck_epoch_call", &malloc_ck_epoch_contestant),
};

const struct bench htab_mem_bench = {
	.name = "htab-mem",
	.summary = "a hash table's operations and memory, as in Linux's benchmark of that name",
	.explain =
		"An operation is a batch of 64 updates or deletions, and --size is that of a "
		"value.\nMemory is of the elements, live, waiting and in reserve: of bma, all that "
		"it took from the system;\nof malloc, the chunks live or waiting, which is less than "
		"it took.  Limbo is the part that waits for\nreaders.  \"reused\" is of reads that "
		"found the element reused meanwhile, which only free may do.",
	BENCH_TABLES(figures, cases, contestants),
	.defaults = { .threads = 2, .readers = 1, .size = 8, .rounds = 3, .seconds = 0.5 },
	.size_min = 8,
	.size_max = 4096,
	.run = run_contestant,
};
