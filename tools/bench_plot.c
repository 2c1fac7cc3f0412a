// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * bench_plot.c - the first figure of each contestant in each case, as bars
 *
 * The axis is logarithmic, as contestants are orders of magnitude apart.
 */
#define _GNU_SOURCE
#include "bench.h"

#include <math.h>

const char *const bench_colours[NR_BENCH_COLOURS] = {
	"#0b6e4f", "#3a7ca5", "#e09f3e", "#7b4fa3", "#8a8a8a", "#d1495b", "#1d3557",
	"#c77dff", "#588157", "#bc6c25", "#5e548e", "#0077b6", "#ff7f51", "#2ec4b6",
	"#9b2226", "#b5c99a", "#f4a3c0", "#4a4e69", "#c9a227", "#a2d2ff",
};

void bench_plot_style(FILE *script, int width, int height)
{
	/* pngcairo draws smooth lines, but is not in every gnuplot. */
	fprintf(script,
		"if (strstrt(GPVAL_TERMINALS, 'pngcairo')) {\n"
		"	set terminal pngcairo noenhanced size %d,%d font 'Sans,11'\n"
		"} else {\n"
		"	set terminal png noenhanced size %d,%d\n"
		"}\n"
		"set border 3 linecolor '#606060'\n"
		"set tics nomirror out textcolor '#303030'\n"
		"set grid linetype 1 linecolor '#e4e4e4' linewidth 1\n",
		width, height, width, height);
}

static double value_of(const struct bench_table *table, size_t at, size_t who)
{
	const struct bench_cell *cell = bench_cell(table, at, who);

	return cell->skipped ? NAN : bench_median(cell, 0);
}

static bool is_empty(const struct bench_table *table, size_t at)
{
	for (size_t who = 0; who < table->bench->nr_contestants; who++) {
		if (value_of(table, at, who) > 0)
			return false;
	}
	return true;
}

static void write_data(FILE *script, const struct bench_table *table, size_t who)
{
	fprintf(script, "$who%zu << EOD\n", who);
	for (size_t at = 0; at < table->bench->nr_cases; at++) {
		double value = value_of(table, at, who);
		char title[80];

		if (is_empty(table, at))
			continue;
		if (isnan(value) || value <= 0)
			fprintf(script, "\"%s\" NaN\n", bench_case_title(table, at, title));
		else
			fprintf(script, "\"%s\" %g\n", bench_case_title(table, at, title),
				value / table->bench->figures[0].unit);
	}
	fprintf(script, "EOD\n");
}

static bool has_values(const struct bench_table *table, size_t who)
{
	for (size_t at = 0; at < table->bench->nr_cases; at++) {
		if (value_of(table, at, who) > 0)
			return true;
	}
	return false;
}

static void write_bars(FILE *script, const struct bench_table *table)
{
	const char *before = "plot ";

	for (size_t who = 0; who < table->bench->nr_contestants; who++) {
		if (!has_values(table, who))
			continue;
		fprintf(script, "%s$who%zu using 2:xtic(1) title '%s' linecolor '%s'", before, who,
			table->bench->contestants[who].name, bench_colours[who % NR_BENCH_COLOURS]);
		before = ", ";
	}
	fprintf(script, "\n");
}

static void write_script(FILE *script, const void *arg)
{
	const struct bench_table *table = arg;

	if (table->bench->draw) {
		table->bench->draw(script, table);
		return;
	}
	for (size_t who = 0; who < table->bench->nr_contestants; who++)
		write_data(script, table, who);
	bench_plot_style(script, 1400, 700);
	fprintf(script,
		"set title \"bma bench %s: %s\"\n"
		"set style data histogram\n"
		"set style histogram cluster gap 1\n"
		"set style fill solid 0.9 noborder\n"
		"set key outside right top vertical Left reverse\n"
		"set xtics rotate by -25\n"
		"set logscale y 10\n"
		"set format y '%%g'\n"
		"set ylabel '%s'\n",
		table->bench->name, table->bench->summary, table->bench->figures[0].title);
	write_bars(script, table);
}

enum exit_code bench_plot(const struct bench_table *table, const char *path)
{
	/* A plot that was asked for and is not there is a failure. */
	return gnuplot(path, write_script, table) == GNUPLOT_DREW ? EXIT_OK : EXIT_FAILED;
}
