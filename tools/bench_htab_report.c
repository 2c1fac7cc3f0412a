// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * bench_htab_report.c - the figures of htab-mem, as tables or as one JSON object
 */
#define _GNU_SOURCE
#include "bench_htab.h"
#include "summary.h"
#include "tool.h"

#include <stdlib.h>

static const struct {
	const char *title;
	const char *json;
} figures[NR_FIGURES] = {
	[KOPS] = { "k/s per producer", "kops_per_producer" },
	[MEAN_MIB] = { "mean MiB", "mean_mib" },
	[PEAK_MIB] = { "peak MiB", "peak_mib" },
	[LIMBO_MIB] = { "peak limbo MiB", "peak_limbo_mib" },
	[RSS_MIB] = { "peak RSS MiB", "peak_rss_mib" },
	[MREADS] = { "million reads/s", "million_reads_per_second" },
	[REUSED_PPM] = { "reused while read, ppm", "reused_reads_ppm" },
};

static double mib(double bytes)
{
	return bytes / (1 << 20);
}

void htab_table_add(struct htab_table *table, size_t contestant, unsigned long round,
		    const struct htab_result *r)
{
	double(*values)[MAX_ROUNDS] = table->values[contestant];

	values[KOPS][round] =
		(double)r->operations / (double)table->params->producers / r->seconds / 1e3;
	values[MEAN_MIB][round] = mib(r->log.held_seconds / r->log.seconds);
	values[PEAK_MIB][round] = mib((double)r->log.held_peak);
	values[LIMBO_MIB][round] = mib((double)r->log.limbo_peak);
	values[RSS_MIB][round] = mib((double)r->log.rss_peak);
	values[MREADS][round] = (double)r->reads / r->seconds / 1e6;
	values[REUSED_PPM][round] = r->reads ? (double)r->reused_reads / (double)r->reads * 1e6 : 0;
}

/* Decimals that leave about four digits. */
static int decimals(double value)
{
	if (value >= 1000)
		return 0;
	return value >= 100 ? 1 : 2;
}

static void print_row(struct htab_table *table, enum figure figure)
{
	printf("\n  %-22s", figures[figure].title);
	for (size_t i = 0; i < NR_CONTESTANTS; i++) {
		struct summary s = summarize(table->values[i][figure], table->params->rounds);
		char range[40];

		snprintf(range, sizeof(range), "(%.*f-%.*f)", decimals(s.min), s.min,
			 decimals(s.max), s.max);
		printf("  %8.*f %-*s", decimals(s.median), s.median,
		       i + 1 < NR_CONTESTANTS ? 16 : 0, range);
	}
}

static void print_text(struct htab_table *table)
{
	printf("\n%-24s", table->use_case->name);
	for (size_t i = 0; i < NR_CONTESTANTS; i++)
		printf("  %-*s", i + 1 < NR_CONTESTANTS ? 25 : 0, table->contestants[i]->name);
	for (enum figure f = 0; f < NR_FIGURES; f++) {
		if (f < MREADS || table->params->readers)
			print_row(table, f);
	}
	printf("\n");
	fflush(stdout);
}

/* Names are our own words: there is nothing in them to escape. */
static void print_json(struct htab_report *report, struct htab_table *table, size_t contestant)
{
	fprintf(report->json, "%s\n    {\"use_case\": \"%s\", \"contestant\": \"%s\"",
		report->nr_results++ ? "," : "", table->use_case->name,
		table->contestants[contestant]->name);
	for (enum figure f = 0; f < NR_FIGURES; f++) {
		struct summary s = summarize(table->values[contestant][f], table->params->rounds);

		fprintf(report->json,
			",\n     \"%s\": {\"median\": %.4f, \"min\": %.4f, \"max\": %.4f}",
			figures[f].json, s.median, s.min, s.max);
	}
	fprintf(report->json, "}");
}

void htab_report_table(struct htab_report *report, struct htab_table *table)
{
	if (!report->json) {
		print_text(table);
		return;
	}
	for (size_t i = 0; i < NR_CONTESTANTS; i++)
		print_json(report, table, i);
}

static void start_json(struct htab_report *report)
{
	const struct htab_params *p = report->params;

	fprintf(report->json,
		"{\"bench\": \"htab-mem\", \"version\": \"%s\", \"cpus\": %u,\n"
		" \"producers\": %lu, \"readers\": %lu, \"value_size\": %lu, \"batch\": %d,\n"
		" \"seconds\": %g, \"rounds\": %lu,\n"
		" \"results\": [",
		BMA_VERSION, usable_cpus(), p->producers, p->readers, p->value_size, BATCH,
		p->seconds, p->rounds);
}

void htab_report_start(struct htab_report *report, const struct htab_params *p, bool json)
{
	*report = (struct htab_report){ .params = p };
	if (json)
		report->json = open_memstream(&report->text, &report->length);
	if (report->json) {
		start_json(report);
		return;
	}
	printf("htab-mem: producers %lu, readers %lu, value size %lu, rounds %lu of %g s each\n"
	       "An operation is a batch of %d; figures are median (least-most) of the rounds.\n",
	       p->producers, p->readers, p->value_size, p->rounds, p->seconds, BATCH);
	fflush(stdout);
}

void htab_report_end(struct htab_report *report, bool complete)
{
	if (!report->json)
		return;
	fprintf(report->json, "\n ]}\n");
	fclose(report->json);
	if (complete)
		fputs(report->text, stdout);
	free(report->text);
}
