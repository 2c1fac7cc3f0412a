// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * bench_report.c - the figures of a benchmark, as tables or as one JSON object
 */
#define _GNU_SOURCE
#include "bench.h"
#include "summary.h"

#include <math.h>
#include <string.h>

static size_t nr_figures(const struct bench_table *table)
{
	return table->bench->nr_figures;
}

/* A copy is sorted, as rounds of different figures belong together. */
static struct summary figure(const struct bench_cell *cell, size_t f)
{
	double values[MAX_ROUNDS];

	memcpy(values, cell->values[f], sizeof(values));
	return summarize(values, cell->nr);
}

static bool is_known(const struct bench_cell *cell, size_t f)
{
	for (unsigned int i = 0; i < cell->nr; i++) {
		if (isnan(cell->values[f][i]))
			return false;
	}
	return cell->nr > 0;
}

double bench_median(const struct bench_cell *cell, size_t f)
{
	return is_known(cell, f) ? figure(cell, f).median : NAN;
}

size_t bench_baseline(const struct bench *bench, size_t at)
{
	size_t who = 0;

	while (bench->fits && !bench->fits(&bench->cases[at], &bench->contestants[who]))
		who++;
	return who;
}

/* A figure beside that of the baseline; NAN without either. */
static double ratio(const struct bench_table *table, size_t at, size_t who, size_t f)
{
	const struct bench_cell *first = bench_cell(table, at, bench_baseline(table->bench, at));
	double r = bench_median(bench_cell(table, at, who), f) / bench_median(first, f);

	return isfinite(r) ? r : NAN;
}

const char *bench_case_title(const struct bench_table *table, size_t at, char *name)
{
	const struct bench_case *c = &table->bench->cases[at];

	if (c->size)
		snprintf(name, 80, "%s, %lu B", c->name, bench_case_size(table, at));
	else
		snprintf(name, 80, "%s", c->name);
	return name;
}

/* Decimals that leave about three digits. */
static int decimals(double value)
{
	if (value >= 100 || value == 0)
		return 0;
	if (value >= 10)
		return 1;
	return value >= 0.1 ? 2 : 3;
}

static void print_figure(const struct bench_table *table, const struct bench_cell *cell, size_t f)
{
	double unit = table->bench->figures[f].unit;
	struct summary s;
	char range[40];

	if (!is_known(cell, f)) {
		printf("  %8s %-15s", "-", "");
		return;
	}
	s = figure(cell, f);
	s.median /= unit;
	s.min /= unit;
	s.max /= unit;
	snprintf(range, sizeof(range), "(%.*f-%.*f)", decimals(s.min), s.min, decimals(s.max),
		 s.max);
	printf("  %8.*f %-15s", decimals(s.median), s.median, range);
}

static void print_ratio(double times)
{
	if (isnan(times))
		printf("  %5s", "-");
	else
		printf("  %5.*f", decimals(times), times);
}

static void print_row(const struct bench_table *table, size_t at, size_t who)
{
	const struct bench_cell *cell = bench_cell(table, at, who);

	printf("\n  %-30s", table->bench->contestants[who].name);
	if (cell->why[0]) {
		printf("  not measured: %s", cell->why);
		return;
	}
	for (size_t f = 0; f < nr_figures(table); f++) {
		print_figure(table, cell, f);
		if (table->bench->figures[f].compared)
			print_ratio(ratio(table, at, who, f));
	}
	if (cell->stopped)
		printf("  stopped early in %u of %u rounds: it took too much memory", cell->stopped,
		       cell->nr);
}

void bench_print_case(const struct bench_table *table, size_t at)
{
	const struct bench_figure *figures = table->bench->figures;
	char title[80];

	printf("\n%-32s", bench_case_title(table, at, title));
	for (size_t f = 0; f < nr_figures(table); f++)
		printf("  %-24s%s", figures[f].title, figures[f].compared ? "  ratio" : "");
	for (size_t who = 0; who < table->bench->nr_contestants; who++) {
		if (!bench_cell(table, at, who)->skipped)
			print_row(table, at, who);
	}
	printf("\n");
	fflush(stdout);
}

void bench_print_heading(const struct bench_table *table)
{
	const struct bench_params *p = &table->params;

	printf("%s: %s\n"
	       "threads %lu, readers %lu, size %lu where none is named, rounds %lu of %g s each\n"
	       "%s\n"
	       "Figures are median (least-most) of the rounds; \"ratio\" compares with the first "
	       "contestant, bma.\n",
	       table->bench->name, table->bench->summary, p->threads, p->readers, p->size,
	       p->rounds, p->seconds, table->bench->explain);
	fflush(stdout);
}

void bench_print_list(const struct bench *bench)
{
	printf("%s: %s\n  cases\n", bench->name, bench->summary);
	for (size_t i = 0; i < bench->nr_cases; i++) {
		printf("    %s", bench->cases[i].name);
		if (bench->cases[i].size)
			printf(", %lu B", bench->cases[i].size);
		printf("\n");
	}
	printf("  contestants\n");
	for (size_t i = 0; i < bench->nr_contestants; i++)
		printf("    %s%s%s\n", bench->contestants[i].name,
		       bench->contestants[i].missing ? " - not here: " : "",
		       bench->contestants[i].missing ? bench->contestants[i].missing : "");
}

/* --- JSON ------------------------------------------------------------------------------------- */

/* Messages may hold what a system says; our own words need no escape. */
static void print_string(const char *s)
{
	putchar('"');
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			putchar('\\');
		if ((unsigned char)*s >= ' ')
			putchar(*s);
	}
	putchar('"');
}

static void print_json_figure(const struct bench_table *table, size_t at, size_t who, size_t f)
{
	const struct bench_figure *what = &table->bench->figures[f];
	const struct bench_cell *cell = bench_cell(table, at, who);
	double times = ratio(table, at, who, f);
	int digits = what->decimals;
	struct summary s;

	if (!is_known(cell, f)) {
		printf(",\n     \"%s\": null", what->json);
		return;
	}
	s = figure(cell, f);
	printf(",\n     \"%s\": {\"median\": %.*f, \"min\": %.*f, \"max\": %.*f, \"ratio\": ",
	       what->json, digits, s.median, digits, s.min, digits, s.max);
	if (isnan(times))
		printf("null}");
	else
		printf("%.4f}", times);
}

static void print_json_result(const struct bench_table *table, size_t at, size_t who)
{
	const struct bench_cell *cell = bench_cell(table, at, who);

	printf("    {\"case\": ");
	print_string(table->bench->cases[at].name);
	printf(", \"size\": %lu, \"contestant\": ", bench_case_size(table, at));
	print_string(table->bench->contestants[who].name);
	if (cell->why[0]) {
		printf(", \"%s\": ", cell->failed ? "failed" : "missing");
		print_string(cell->why);
		printf("}");
		return;
	}
	printf(", \"stopped_rounds\": %u", cell->stopped);
	for (size_t f = 0; f < nr_figures(table); f++)
		print_json_figure(table, at, who, f);
	printf("}");
}

void bench_print_json(const struct bench_table *table)
{
	const struct bench_params *p = &table->params;
	bool first = true;

	printf("{\"bench\": \"%s\", \"version\": \"%s\", \"cpus\": %u,\n"
	       " \"threads\": %lu, \"readers\": %lu, \"seconds\": %g, \"rounds\": %lu,\n"
	       " \"results\": [\n",
	       table->bench->name, BMA_VERSION, usable_cpus(), p->threads, p->readers, p->seconds,
	       p->rounds);
	for (size_t at = 0; at < table->bench->nr_cases; at++) {
		for (size_t who = 0; who < table->bench->nr_contestants; who++) {
			if (bench_cell(table, at, who)->skipped)
				continue;
			printf("%s", first ? "" : ",\n");
			first = false;
			print_json_result(table, at, who);
		}
	}
	printf("\n ]}\n");
}
