// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * bench_latency.c - `bma bench latency`: not only the mean of a call, but its worst
 *
 * The work is that of batch, so that slow paths are met as often as in a program whose use of
 * memory goes up and down; each call is timed by the CPU's clock, less what the clock itself takes.
 * Grace periods are waited for while other threads free after readers as fast as they can, and
 * readers are busy.
 *
 * An interrupt, or another thread on the CPU, is in the times of all contestants: compare, and take
 * the most of few rounds for what it is.
 */
#define _GNU_SOURCE
#include "source.h"

#include <string.h>

enum { MEDIAN, P99, P999, MOST };

static const struct bench_figure figures[] = {
	[MEDIAN] = { "p50 ns", "p50_ns", 1, 3, true },
	[P99] = { "p99 ns", "p99_ns", 1, 3, false },
	[P999] = { "p99.9 ns", "p999_ns", 1, 3, true },
	[MOST] = { "max us", "max_ns", 1000, 0, false },
};

/* Which call. */
enum { ALLOC, FREE, DEFERRED_FREE, GRACE_PERIOD };

#define BATCH 1000

static void report(const struct bench_run *run)
{
	const struct histogram *h = &run->result->histogram;
	double *values = run->result->values;

	values[MEDIAN] = histogram_percentile(h, 0.5);
	values[P99] = histogram_percentile(h, 0.99);
	values[P999] = histogram_percentile(h, 0.999);
	values[MOST] = histogram_max_ns(h);
}

static enum exit_code run_calls(const struct bench_run *run)
{
	static struct histogram other;
	struct histogram *h = &run->result->histogram;
	const struct source *source = run->who->how;
	struct work work = {
		.run = run,
		.source = source,
		.nr = BATCH,
		.allocs = run->at->n == ALLOC ? h : &other,
		.retires = run->at->n == ALLOC ? &other : h,
	};
	const struct role role = { .step = source->time, .nr = 1 };
	uint64_t start_ns = now_ns(), start = ticks_before();
	struct work_sum sum;
	enum exit_code code = work_run(&work, &role, 1, &sum);

	h->ns_per_tick = (double)(now_ns() - start_ns) / (double)(ticks_after() - start);
	if (code == EXIT_OK)
		report(run);
	return code;
}

/* Of one thread; what it takes to read the clock is nothing beside it. */
static size_t synchronize_step(struct worker *t)
{
	uint64_t start_ns = now_ns();

	t->work->source->synchronize(t);
	histogram_add(&t->work->run->result->histogram, now_ns() - start_ns);
	return 1;
}

static enum exit_code run_grace_periods(const struct bench_run *run)
{
	const struct source *source = run->who->how;
	struct work work = { .run = run, .source = source, .nr = 1, .watches_limbo = true };
	const struct role roles[] = {
		{ .step = source->one, .nr = run->params.threads },
		{ .step = source->read, .nr = run->params.readers, .reads = true },
		{ .step = synchronize_step, .nr = 1, .reads = true },
	};
	struct work_sum sum;
	enum exit_code code = work_run(&work, roles, ARRAY_SIZE(roles), &sum);

	run->result->histogram.ns_per_tick = 1;
	if (code == EXIT_OK)
		report(run);
	return code;
}

static enum exit_code run_latency(const struct bench_run *run)
{
	return run->at->n == GRACE_PERIOD ? run_grace_periods(run) : run_calls(run);
}

/* Which malloc makes no difference to a grace period: glibc's stands for all. */
static bool fits(const struct bench_case *at, const struct bench_contestant *who)
{
	const struct source *source = who->how;

	if (at->n == GRACE_PERIOD)
		return source->synchronize && !who->preload;
	return source->waits == (at->n == DEFERRED_FREE);
}

static const struct bench_case cases[] = {
	{ .name = "alloc", .n = ALLOC },
	{ .name = "free", .n = FREE },
	{ .name = "deferred free", .n = DEFERRED_FREE },
	{ .name = "grace period", .n = GRACE_PERIOD },
};

static const struct bench_contestant contestants[] = { FREE_CONTESTANTS, RCU_CONTESTANTS };

/* --- the picture ------------------------------------------------------------------------------ */

/* The part of all calls that took longer than so many ns, one named block of data. */
static void write_data(FILE *script, size_t at, size_t who, const struct histogram *h)
{
	uint64_t left = h->nr;

	fprintf(script, "$h%zu_%zu << EOD\n", at, who);
	for (size_t i = 0; i < HISTOGRAM_BUCKETS && left; i++) {
		if (!h->counts[i])
			continue;
		fprintf(script, "%g %g\n", histogram_bucket_ns(h, i) + h->ns_per_tick / 2,
			(double)left / (double)h->nr);
		left -= h->counts[i];
	}
	fprintf(script, "EOD\n");
}

static const struct histogram *last_histogram(const struct bench_table *table, size_t at,
					      size_t who)
{
	const struct bench_cell *cell = bench_cell(table, at, who);

	return !cell->skipped && cell->last ? &cell->last->histogram : NULL;
}

static void write_panel(FILE *script, const struct bench_table *table, size_t at)
{
	const char *before = "plot ";
	size_t lines = 0; /* bma's is the first */

	fprintf(script, "set title '%s'\n", cases[at].name);
	for (size_t who = 0; who < ARRAY_SIZE(contestants); who++) {
		if (!last_histogram(table, at, who))
			continue;
		fprintf(script, "%s$h%zu_%zu using 1:2 with steps linewidth %d linecolor '%s' ",
			before, at, who, lines ? 2 : 4, bench_colours[lines % NR_BENCH_COLOURS]);
		lines++;
		fprintf(script, "title '%s'", contestants[who].name);
		before = ", ";
	}
	if (before[0] == 'p')
		fprintf(script, "plot NaN notitle");
	fprintf(script, "\n");
}

static void draw(FILE *script, const struct bench_table *table)
{
	for (size_t at = 0; at < ARRAY_SIZE(cases); at++) {
		for (size_t who = 0; who < ARRAY_SIZE(contestants); who++) {
			const struct histogram *h = last_histogram(table, at, who);

			if (h)
				write_data(script, at, who, h);
		}
	}
	bench_plot_style(script, 1600, 1100);
	fprintf(script, "set logscale xy 10\n"
			"set format '%%g'\n"
			"set key outside right top vertical Left reverse samplen 1.5\n"
			"set xlabel 'ns'\n"
			"set ylabel 'part of the calls that took longer'\n"
			"set xrange [1:*]\n"
			"set yrange [1e-6:1]\n"
			"set multiplot layout 2,2 title 'bma bench latency: the last round'\n");
	for (size_t at = 0; at < ARRAY_SIZE(cases); at++)
		write_panel(script, table, at);
	fprintf(script, "unset multiplot\n");
}

const struct bench latency_bench = {
	.name = "latency",
	.summary = "percentiles of each call, and of grace periods under load",
	.explain =
		"Calls of one thread with 1000 in flight, freed in random order; --threads and "
		"--readers are the\nload that grace periods are measured under.  Some CPUs' clocks go "
		"in steps of 10 ns and more.",
	BENCH_TABLES(figures, cases, contestants),
	.defaults = { .threads = 1,
		      .readers = 1,
		      .size = DEFAULT_SIZE,
		      .rounds = 3,
		      .seconds = 0.2 },
	.size_min = 1,
	.size_max = BPF_MEM_ALLOC_SIZE_MAX,
	.fits = fits,
	.run = run_latency,
	.draw = draw,
};
