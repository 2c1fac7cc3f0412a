// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * bench_goals.c - what bma set out to reach, and whether it did: from the rows that were measured
 *
 * A goal is about all cases whose title begins as it says; the worst of them counts.  Where there is
 * CPU time it is by that, in which background threads are, and other programs are not.
 */
#define _GNU_SOURCE
#include "bench.h"

#include <math.h>
#include <string.h>

struct goal;

/* What was measured in one case; NAN: nothing. */
typedef double measure_fn(const struct goal *goal, const struct bench_table *table, size_t at);

struct goal {
	const char *text;
	measure_fn *measure;
	double limit;
	bool at_least; /* not: at most */
	const struct bench *bench;
	const char *at;
	const char *figure; /* its name in JSON */
	const char *who; /* NULL: whom others are compared with */
	const char *beside; /* a contestant, or a figure; NULL: the best malloc */
};

static size_t figure_named(const struct bench *bench, const char *name)
{
	size_t f = 0;

	while (strcmp(bench->figures[f].json, name))
		f++;
	return f;
}

/* The contestant's place; where it has none, that of all behind the last. */
static size_t contestant_named(const struct bench *bench, const char *name)
{
	size_t who = 0;

	while (who < bench->nr_contestants && strcmp(bench->contestants[who].name, name))
		who++;
	return who;
}

static double median_of(const struct goal *g, const struct bench_table *table, size_t at,
			const char *name)
{
	size_t who = name ? contestant_named(g->bench, name) : bench_baseline(g->bench, at);

	return bench_median(bench_cell(table, at, who), figure_named(g->bench, g->figure));
}

/* All mallocs are preloaded but glibc's, which is there. */
static bool is_malloc(const struct bench_contestant *who)
{
	return who->preload || !strncmp(who->name, "glibc", 5);
}

static double best_malloc(const struct goal *g, const struct bench_table *table, size_t at)
{
	double best = NAN;

	for (size_t who = 0; who < g->bench->nr_contestants; who++) {
		const char *name = g->bench->contestants[who].name;
		double value;

		if (!is_malloc(&g->bench->contestants[who]))
			continue;
		value = median_of(g, table, at, name);
		best = g->at_least ? fmax(best, value) : fmin(best, value);
	}
	return best;
}

static double beside_another(const struct goal *g, const struct bench_table *table, size_t at)
{
	double other = g->beside ? median_of(g, table, at, g->beside) : best_malloc(g, table, at);

	return median_of(g, table, at, g->who) / other;
}

static double alone(const struct goal *g, const struct bench_table *table, size_t at)
{
	return median_of(g, table, at, g->who) /
	       g->bench->figures[figure_named(g->bench, g->figure)].unit;
}

static double beside_figure(const struct goal *g, const struct bench_table *table, size_t at)
{
	struct goal other = *g;

	other.figure = g->beside;
	return median_of(g, table, at, g->who) / median_of(&other, table, at, g->who);
}

/* The most of all contestants that have a place in the case, beside the first. */
static double growth(const struct goal *g, const struct bench_table *table, size_t at)
{
	double most = NAN;

	for (size_t who = 0; who < g->bench->nr_contestants; who++)
		most = fmax(most, median_of(g, table, at, g->bench->contestants[who].name));
	return most / median_of(g, table, at, NULL);
}

static const struct goal goals[] = {
	{ "pair, 1 in flight, fixed-size: beside the fastest malloc", beside_another, 0.6, false,
	  &pair_bench, "1 in flight", "cpu_ns", NULL, NULL },
	{ "pair, 1 in flight, fixed-size: beside the array, no safety", beside_another, 1.25, false,
	  &pair_bench, "1 in flight", "cpu_ns", NULL, "array, no safety" },
	{ "pair, 1 in flight, kmalloc-like: beside the fastest malloc", beside_another, 0.9, false,
	  &pair_bench, "1 in flight", "cpu_ns", "bma, kmalloc-like", NULL },
	{ "pair-rcu, no reader: beside Linux's own", beside_another, 1. / 40, false,
	  &pair_rcu_bench, "no reader", "cpu_ns", NULL, "Linux bpf_obj_new + drop" },
	{ "pair-rcu, no reader: beside mimalloc + call_rcu", beside_another, 1. / 6, false,
	  &pair_rcu_bench, "no reader", "cpu_ns", NULL, "mimalloc + call_rcu" },
	{ "pair-rcu, no reader: beside mimalloc + ck_epoch_call", beside_another, 0.5, false,
	  &pair_rcu_bench, "no reader", "cpu_ns", NULL, "mimalloc + ck_epoch_call" },
	{ "pair-rcu, no reader: beside its own free", beside_another, 2, false, &pair_rcu_bench,
	  "no reader", "cpu_ns", NULL, "bma, fixed-size, freed at once" },
	{ "pair-rcu, busy readers: beside the fastest other", beside_another, 1, false,
	  &pair_rcu_bench, "busy readers", "cpu_ns", NULL, NULL },
	{ "pair-rcu, no reader: peak limbo, KiB", alone, 256, false, &pair_rcu_bench, "no reader",
	  "peak_limbo_bytes", NULL, NULL },
	{ "cross, free: beside the best malloc", beside_another, 2, true, &cross_bench, "free",
	  "million_objects_per_second", NULL, NULL },
	{ "htab-mem, built-in readers: operations beside the best other", beside_another, 1, true,
	  &htab_mem_bench, "", "kops_per_producer", NULL, NULL },
	{ "htab-mem, built-in readers: peak memory beside the best other", beside_another, 1, false,
	  &htab_mem_bench, "", "peak_bytes", NULL, NULL },
	{ "htab-mem, liburcu's readers: operations beside the best other", beside_another, 1, true,
	  &htab_mem_bench, "", "kops_per_producer", "bma free_rcu, urcu-memb", NULL },
	{ "htab-mem, liburcu's readers: peak memory beside the best other", beside_another, 1,
	  false, &htab_mem_bench, "", "peak_bytes", "bma free_rcu, urcu-memb", NULL },
	{ "tree: operations beside the best other", beside_another, 1, true, &tree_bench, "",
	  "million_operations_per_second", NULL, NULL },
	{ "tree: peak memory beside the best other", beside_another, 1, false, &tree_bench, "",
	  "peak_rss_bytes", NULL, NULL },
	{ "scale: most beside fewest caches", growth, 1.3, false, &scale_bench, "caches", "cpu_ns",
	  NULL, NULL },
	{ "scale: most beside fewest CPUs", growth, 1.3, false, &scale_bench, "CPUs", "cpu_ns",
	  NULL, NULL },
	{ "destroy, 10^7 in limbo: caller, ms", alone, 10, false, &destroy_bench, "10^7",
	  "caller_ns", NULL, NULL },
	{ "destroy, 10^7 in limbo: CPU of all, ms", alone, 50, false, &destroy_bench, "10^7",
	  "cpu_ns", NULL, NULL },
	{ "footprint, idle, fixed-size: KiB", alone, 4, false, &footprint_bench,
	  "10000 idle, fixed-size", "rss_bytes", NULL, NULL },
	{ "footprint, idle, kmalloc-like: KiB", alone, 8, false, &footprint_bench,
	  "10000 idle, kmalloc-like", "rss_bytes", NULL, NULL },
	{ "footprint, two seconds after a peak: %", alone, 5, false, &footprint_bench,
	  "after a peak", "left_percent", NULL, NULL },
	{ "latency, alloc: p99.9 beside p50", beside_figure, 10, false, &latency_bench, "alloc",
	  "p999_ns", NULL, "p50_ns" },
	{ "latency, free: p99.9 beside p50", beside_figure, 10, false, &latency_bench, "free",
	  "p999_ns", NULL, "p50_ns" },
};

static double worst_of(const struct goal *g, const struct bench_table *tables)
{
	const struct bench_table *table = &tables[bench_index(g->bench)];
	double worst = NAN;

	for (size_t at = 0; at < g->bench->nr_cases; at++) {
		char title[80];
		double value;

		if (strncmp(bench_case_title(table, at, title), g->at, strlen(g->at)))
			continue;
		value = g->measure(g, table, at);
		worst = g->at_least ? fmin(worst, value) : fmax(worst, value);
	}
	return worst;
}

static const char *verdict(const struct goal *g, double value)
{
	if (isnan(value))
		return "not measured";
	return (g->at_least ? value >= g->limit : value <= g->limit) ? "reached" : "not reached";
}

static void print_goal(const struct goal *g, double value)
{
	printf("  %-62s  %-8s %7.3g", g->text, g->at_least ? "at least" : "at most", g->limit);
	if (isnan(value))
		printf("  %8s", "-");
	else
		printf("  %8.3g", value);
	printf("  %s\n", verdict(g, value));
}

static void print_json_goal(const struct goal *g, double value)
{
	printf(" {\"goal\": \"%s\", \"%s\": %.4g, \"measured\": ", g->text,
	       g->at_least ? "at_least" : "at_most", g->limit);
	if (isnan(value))
		printf("null");
	else
		printf("%.4g", value);
	printf(", \"verdict\": \"%s\"}", verdict(g, value));
}

static void print_json_goals(const struct bench_table *tables)
{
	for (size_t i = 0; i < ARRAY_SIZE(goals); i++) {
		printf("%s\n", i ? "," : "");
		print_json_goal(&goals[i], worst_of(&goals[i], tables));
	}
}

void bench_print_goals(const struct bench_table *tables)
{
	const struct bench_options *o = tables->options;

	if (o->json) {
		print_json_goals(tables);
		return;
	}
	printf("\nGoals, by the medians above; of several cases the worst counts\n");
	for (size_t i = 0; i < ARRAY_SIZE(goals); i++) {
		double value = worst_of(&goals[i], tables);

		/* What was left out on purpose need not be said. */
		if (!isnan(value) || (!o->only_case && !o->only_contestant))
			print_goal(&goals[i], value);
	}
}
