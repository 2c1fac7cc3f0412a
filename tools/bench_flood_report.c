// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * bench_flood_report.c - the figures of flood, as a table or as one JSON object
 */
#define _GNU_SOURCE
#include "bench_flood.h"
#include "summary.h"

#include <stdio.h>

static const struct {
	const char *title;
	const char *json;
	double unit; /* of the table in that of JSON */
	int decimals; /* in JSON */
} figures[NR_FLOOD_FIGURES] = {
	[FLOOD_MOPS] = { "Mops/s", "million_pairs_per_second", 1, 4 },
	[FLOOD_LIMBO] = { "peak limbo MiB", "peak_limbo_bytes", 1 << 20, 0 },
	[FLOOD_RSS] = { "peak RSS MiB", "peak_rss_bytes", 1 << 20, 0 },
	[FLOOD_GRACE_PERIODS] = { "grace periods", "grace_periods", 1, 0 },
	[FLOOD_MREADS] = { "Mreads/s", "million_sections_per_second", 1, 4 },
};

void flood_table_add(struct flood_table *table, size_t contestant, unsigned long round)
{
	const struct flood_result *r = &table->last[contestant];
	double(*values)[MAX_ROUNDS] = table->values[contestant];

	values[FLOOD_MOPS][round] = (double)r->pairs / r->seconds / 1e6;
	values[FLOOD_LIMBO][round] = (double)r->log.limbo_peak;
	values[FLOOD_RSS][round] = (double)r->log.rss_peak;
	values[FLOOD_GRACE_PERIODS][round] = (double)r->grace_periods;
	values[FLOOD_MREADS][round] = (double)r->sections / r->seconds / 1e6;
	if (r->stopped)
		table->stopped[contestant]++;
}

static struct summary figure(struct flood_table *table, size_t contestant, enum flood_figure f)
{
	return summarize(table->values[contestant][f], table->params->rounds);
}

/* Throughput beside that of bma with its own readers. */
static double ratio(struct flood_table *table, size_t contestant)
{
	return figure(table, contestant, FLOOD_MOPS).median / figure(table, 0, FLOOD_MOPS).median;
}

static bool is_known(size_t contestant, enum flood_figure f)
{
	return f != FLOOD_GRACE_PERIODS || flood_contestants[contestant]->counts_grace_periods;
}

/* Decimals that leave about three digits. */
static int decimals(double value)
{
	if (value >= 100)
		return 0;
	if (value >= 10)
		return 1;
	return value >= 0.1 ? 2 : 3;
}

static void print_figure(struct flood_table *table, size_t contestant, enum flood_figure f)
{
	struct summary s = figure(table, contestant, f);
	double unit = figures[f].unit;
	char range[40];

	s.median /= unit;
	s.min /= unit;
	s.max /= unit;
	snprintf(range, sizeof(range), "(%.*f-%.*f)", decimals(s.min), s.min, decimals(s.max),
		 s.max);
	printf("  %6.*f %-14s", decimals(s.median), s.median, range);
}

/* A count has no fraction, and needs no range. */
static void print_count(struct flood_table *table, size_t contestant, enum flood_figure f)
{
	if (is_known(contestant, f))
		printf("  %13.0f", figure(table, contestant, f).median);
	else
		printf("  %13s", "-");
}

static void print_row(struct flood_table *table, size_t contestant)
{
	printf("\n  %-22s", flood_contestants[contestant]->name);
	if (flood_contestants[contestant]->missing) {
		printf("  not measured: %s", flood_contestants[contestant]->missing);
		return;
	}
	print_figure(table, contestant, FLOOD_MOPS);
	printf("  %5.2f", ratio(table, contestant));
	print_figure(table, contestant, FLOOD_LIMBO);
	print_figure(table, contestant, FLOOD_RSS);
	print_count(table, contestant, FLOOD_GRACE_PERIODS);
	if (table->params->readers)
		printf("  %8.1f", figure(table, contestant, FLOOD_MREADS).median);
}

static void print_stopped(const struct flood_table *table)
{
	for (size_t i = 0; i < NR_FLOOD_CONTESTANTS; i++) {
		if (table->stopped[i])
			printf("\n%s was stopped early in %u of %lu rounds: it took a large part "
			       "of the memory.\n",
			       flood_contestants[i]->name, table->stopped[i],
			       table->params->rounds);
	}
}

void flood_print_heading(const struct flood_params *p)
{
	printf("flood: updaters %lu, readers %lu, size %lu, rounds %lu of %g s each\n"
	       "An operation is an allocation and its deferred free; figures are median "
	       "(least-most) of the\nrounds, \"ratio\" compares Mops/s with those of %s.\n",
	       p->updaters, p->readers, p->size, p->rounds, p->seconds, flood_contestants[0]->name);
	fflush(stdout);
}

void flood_print_table(struct flood_table *table)
{
	printf("\n%-24s  %-21s  %5s  %-21s  %-21s  %13s", "", figures[FLOOD_MOPS].title, "ratio",
	       figures[FLOOD_LIMBO].title, figures[FLOOD_RSS].title,
	       figures[FLOOD_GRACE_PERIODS].title);
	if (table->params->readers)
		printf("  %8s", figures[FLOOD_MREADS].title);
	for (size_t i = 0; i < NR_FLOOD_CONTESTANTS; i++)
		print_row(table, i);
	printf("\n");
	print_stopped(table);
	fflush(stdout);
}

static void print_json_figure(struct flood_table *table, size_t contestant, enum flood_figure f)
{
	struct summary s = figure(table, contestant, f);
	int digits = figures[f].decimals;

	if (is_known(contestant, f))
		printf(",\n     \"%s\": {\"median\": %.*f, \"min\": %.*f, \"max\": %.*f}",
		       figures[f].json, digits, s.median, digits, s.min, digits, s.max);
	else
		printf(",\n     \"%s\": null", figures[f].json);
}

/* Names are our own words: there is nothing in them to escape. */
static void print_json_result(struct flood_table *table, size_t contestant)
{
	const struct flood_contestant *how = flood_contestants[contestant];

	printf("%s\n    {\"contestant\": \"%s\"", contestant ? "," : "", how->name);
	if (how->missing) {
		printf(", \"missing\": \"%s\"}", how->missing);
		return;
	}
	printf(", \"ratio\": %.4f, \"stopped_rounds\": %u", ratio(table, contestant),
	       table->stopped[contestant]);
	for (enum flood_figure f = 0; f < NR_FLOOD_FIGURES; f++)
		print_json_figure(table, contestant, f);
	printf("}");
}

void flood_print_json(struct flood_table *table)
{
	const struct flood_params *p = table->params;

	printf("{\"bench\": \"flood\", \"version\": \"%s\", \"cpus\": %u,\n"
	       " \"updaters\": %lu, \"readers\": %lu, \"size\": %lu,\n"
	       " \"seconds\": %g, \"rounds\": %lu,\n"
	       " \"results\": [",
	       BMA_VERSION, usable_cpus(), p->updaters, p->readers, p->size, p->seconds, p->rounds);
	for (size_t i = 0; i < NR_FLOOD_CONTESTANTS; i++)
		print_json_result(table, i);
	printf("\n ]}\n");
}
