// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * bench_flood_plot.c - limbo over time, as a picture: bma above, malloc below beside bma
 *
 * Of each contestant the last run.  The axis is logarithmic, as contestants are orders of magnitude
 * apart, and the same in both panels; what is less than its lower end, nothing included, is drawn
 * there.  Each point is the most of one part in POINTS of the run.
 */
#define _GNU_SOURCE
#include "bench_flood.h"

#define POINTS 250
#define FLOOR_BYTES 1024

static double limbo_mib(uint64_t bytes)
{
	return (double)(bytes > FLOOR_BYTES ? bytes : FLOOR_BYTES) / (1 << 20);
}

/* NULL: it did not run. */
static const struct memory_log *last_log(const struct bench_table *table, size_t contestant)
{
	const struct bench_cell *cell = bench_cell(table, 0, contestant);

	return cell->last ? &cell->last->log : NULL;
}

/* One named block of data: seconds, and the most limbo of all samples that fall there. */
static void write_data(FILE *script, const struct memory_log *log, size_t contestant)
{
	double step = log->seconds / POINTS;
	unsigned int s = 0;

	fprintf(script, "$run%zu << EOD\n", contestant);
	while (s < log->nr) {
		double from = log->samples[s].seconds;
		uint64_t most = 0;

		for (; s < log->nr && log->samples[s].seconds < from + step; s++) {
			if (log->samples[s].limbo > most)
				most = log->samples[s].limbo;
		}
		fprintf(script, "%.4f %.6f\n", from, limbo_mib(most));
	}
	fprintf(script, "EOD\n");
}

static double largest_mib(const struct bench_table *table)
{
	uint64_t most = FLOOR_BYTES;

	for (size_t i = 0; i < table->bench->nr_contestants; i++) {
		const struct memory_log *log = last_log(table, i);

		if (log && log->limbo_peak > most)
			most = log->limbo_peak;
	}
	return limbo_mib(most);
}

static void write_style(FILE *script, const struct bench_table *table)
{
	bench_plot_style(script, 1200, 1000);
	fprintf(script,
		"set key at graph 1.02, graph 1 left top vertical Left reverse samplen 2.5\n"
		"set lmargin 11\n"
		"set rmargin 34\n"
		"set logscale y 10\n"
		"set format y '%%g'\n"
		"set ylabel 'limbo (MiB)'\n"
		"set yrange [%g:%g]\n"
		"set xrange [0:%g]\n",
		limbo_mib(0), 1.5 * largest_mib(table), table->params.seconds);
}

static void write_line(FILE *script, const struct bench_table *table, size_t contestant,
		       const char *before)
{
	fprintf(script, "%s$run%zu using 1:2 with lines linewidth %d linecolor '%s' title '%s'",
		before, contestant, contestant ? 2 : 3,
		bench_colours[contestant % NR_BENCH_COLOURS],
		table->bench->contestants[contestant].name);
}

/* Those that count grace periods are bma's; the first contestant is in both panels. */
static void write_panel(FILE *script, const struct bench_table *table, const char *title, bool bma)
{
	const char *before = "plot ";

	fprintf(script, "set label 1 '%s' at graph 0, graph 1.06 left\n", title);
	for (size_t i = 0; i < table->bench->nr_contestants; i++) {
		const struct flood_contestant *how = table->bench->contestants[i].how;

		if (!last_log(table, i) || (i && how->counts_grace_periods != bma))
			continue;
		write_line(script, table, i, before);
		before = ", ";
	}
	fprintf(script, before[0] == 'p' ? "plot NaN notitle\n" : "\n");
}

void flood_draw(FILE *script, const struct bench_table *table)
{
	const struct bench_params *p = &table->params;

	for (size_t i = 0; i < table->bench->nr_contestants; i++) {
		if (last_log(table, i))
			write_data(script, last_log(table, i), i);
	}
	write_style(script, table);
	fprintf(script,
		"set multiplot layout 2,1 title \"bma bench flood: freed, and waiting for "
		"readers. Threads %lu, readers %lu, %lu-byte objects\\n\" font ',15'\n",
		p->threads, p->readers, p->size);
	write_panel(script, table, "bma, with each kind of readers", true);
	fprintf(script, "set xlabel 'time (s)'\n");
	write_panel(script, table, "malloc, beside bma", false);
	fprintf(script, "unset multiplot\n");
}
