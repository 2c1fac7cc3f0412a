// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * bench_pair.c - `bma bench pair`, `pair-rcu` and `batch`: what an alloc with its free costs
 *
 *   pair      freed at once, with one object in flight (always the same memory) and with 1000
 *   pair-rcu  freed after readers, with no reader and with a busy one; also Linux's own allocator
 *   batch     1000 allocs, then 1000 frees in random order
 */
#define _GNU_SOURCE
#include "bench_linux.h"
#include "source.h"

#include <math.h>

enum { NS, CPU_NS, LIMBO, RSS };

static const struct bench_figure figures[] = {
	[NS] = { "ns", "ns", 1, 3, true },
	[CPU_NS] = { "CPU ns", "cpu_ns", 1, 3, true },
	[LIMBO] = { "peak limbo KiB", "peak_limbo_bytes", 1024, 0, false },
	[RSS] = { "RSS grew by MiB", "rss_growth_bytes", 1 << 20, 0, false },
};

static enum exit_code measure(struct work *work, const struct role *roles, size_t nr_roles)
{
	double *values = work->run->result->values;
	struct work_sum sum;
	enum exit_code code = work_run(work, roles, nr_roles, &sum);

	if (code != EXIT_OK)
		return code;
	values[NS] = ns_per_operation(&sum, roles[0].nr);
	values[CPU_NS] = cpu_ns_per_operation(&sum);
	values[LIMBO] = sum.limbo_peak;
	values[RSS] = (double)(sum.rss_peak - sum.rss_before);
	return EXIT_OK;
}

static bool has_class(const struct bench_run *run)
{
	bool kmalloc = run->who->how == &source_kmalloc_free ||
		       run->who->how == &source_kmalloc_free_rcu;

	return !kmalloc || run->params.size <= BPF_MEM_ALLOC_SIZE_MAX;
}

static enum exit_code run_pair(const struct bench_run *run)
{
	const struct source *source = run->who->how;
	struct work work = { .run = run, .source = source, .nr = run->at->n };
	struct role role = {
		.step = run->at->n == 1 ? source->one : source->many,
		.nr = run->params.threads,
	};

	if (!has_class(run))
		return bench_cannot(run, "it has no class so large");
	return measure(&work, &role, 1);
}

static enum exit_code run_pair_rcu(const struct bench_run *run)
{
	const struct source *source = run->who->how;
	struct work work = { .run = run, .source = source, .nr = 1, .watches_limbo = true };
	const struct role roles[] = {
		{ .step = source->one, .nr = run->params.threads },
		{ .step = source->read, .nr = run->at->n ? run->params.readers : 0, .reads = true },
	};

	if (!has_class(run))
		return bench_cannot(run, "it has no class so large");
	return measure(&work, roles, ARRAY_SIZE(roles));
}

static enum exit_code run_batch(const struct bench_run *run)
{
	const struct source *source = run->who->how;
	struct work work = { .run = run, .source = source, .nr = run->at->n };
	struct role role = { .step = source->batch, .nr = run->params.threads };

	if (!has_class(run))
		return bench_cannot(run, "it has no class so large");
	return measure(&work, &role, 1);
}

static const struct bench_case pair_cases[] = {
	{ .name = "1 in flight", .n = 1, .size = 16 },
	{ .name = "1 in flight", .n = 1, .size = 64 },
	{ .name = "1 in flight", .n = 1, .size = 256 },
	{ .name = "1 in flight", .n = 1, .size = 1024 },
	{ .name = "1 in flight", .n = 1, .size = 4096 },
	{ .name = "1000 in flight", .n = 1000, .size = 16 },
	{ .name = "1000 in flight", .n = 1000, .size = 64 },
	{ .name = "1000 in flight", .n = 1000, .size = 256 },
	{ .name = "1000 in flight", .n = 1000, .size = 1024 },
	{ .name = "1000 in flight", .n = 1000, .size = 4096 },
};

static const struct bench_contestant pair_contestants[] = {
	FREE_CONTESTANTS,
	{ .name = "bma, fixed-size, called", .program = PROGRAM_SHARED, .how = &source_bma_called },
	{ .name = "array, no safety", .how = &source_array },
	{ .name = "array, no safety, called", .how = &source_array_called },
};

#define PAIR_MEANING                                                                               \
	"An operation is an alloc and its free; \"ns\" is the time a thread takes for one, \"CPU " \
	"ns\" what\nall threads of the process but readers spend on it."

const struct bench pair_bench = {
	.name = "pair",
	.summary = "alloc and free, the same object again or 1000 in flight",
	.explain = PAIR_MEANING,
	.figures = figures,
	.nr_figures = 2,
	.cases = pair_cases,
	.nr_cases = ARRAY_SIZE(pair_cases),
	.contestants = pair_contestants,
	.nr_contestants = ARRAY_SIZE(pair_contestants),
	.defaults = { .threads = 1, .size = DEFAULT_SIZE, .rounds = 5, .seconds = 0.1 },
	.size_min = 1,
	.size_max = 65536,
	.run = run_pair,
};

static const struct bench_case rcu_cases[] = {
	{ .name = "no reader", .n = 0 },
	{ .name = "busy readers", .n = 1 },
};

static bool rcu_fits(const struct bench_case *at, const struct bench_contestant *who)
{
	return who->how != &source_bma_free || !at->n;
}

static const struct bench_contestant rcu_contestants[] = {
	RCU_CONTESTANTS,
	{ .name = "bma, fixed-size, freed at once",
	  .program = PROGRAM_SHARED,
	  .how = &source_bma_free },
	{ .name = "Linux bpf_obj_new + drop",
	  .missing = LINUX_MISSING,
	  .run = linux_run,
	  .how = &linux_objects },
	{ .name = "Linux hash map, no prealloc",
	  .missing = LINUX_MISSING,
	  .run = linux_run,
	  .how = &linux_map },
};

const struct bench pair_rcu_bench = {
	.name = "pair-rcu",
	.summary = "alloc and deferred free, with and without readers",
	.explain = PAIR_MEANING
	"\nLimbo is what waits for readers, looked at every millisecond; only bma can say.  The "
	"RSS of the\nprocess grew by what its peak has more than its start.  Linux's figures are of "
	"one thread in the\nkernel, less the loop's own; its map's are an update and a deletion of a key.",
	BENCH_TABLES(figures, rcu_cases, rcu_contestants),
	.defaults = { .threads = 1,
		      .readers = 1,
		      .size = DEFAULT_SIZE,
		      .rounds = 3,
		      .seconds = 0.2 },
	.size_min = 1,
	.size_max = 65536,
	.fits = rcu_fits,
	.run = run_pair_rcu,
};

static const struct bench_case batch_cases[] = {
	{ .name = "1000 allocs, 1000 frees", .n = 1000 },
};

static const struct bench_contestant batch_contestants[] = { FREE_CONTESTANTS };

const struct bench batch_bench = {
	.name = "batch",
	.summary = "1000 allocs, then 1000 frees in random order",
	.explain = PAIR_MEANING,
	.figures = figures,
	.nr_figures = 2,
	.cases = batch_cases,
	.nr_cases = ARRAY_SIZE(batch_cases),
	.contestants = batch_contestants,
	.nr_contestants = ARRAY_SIZE(batch_contestants),
	.defaults = { .threads = 1, .size = DEFAULT_SIZE, .rounds = 5, .seconds = 0.1 },
	.size_min = 1,
	.size_max = 65536,
	.run = run_batch,
};
