// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * bench_flood_plot.c - limbo over time, as a picture: bma above, malloc below beside bma
 *
 * The axis is logarithmic, as contestants are orders of magnitude apart, and the same in both
 * panels; what is less than its lower end, nothing included, is drawn there.  Each point is the
 * most of one part in POINTS of the run.
 */
#define _GNU_SOURCE
#include "bench_flood.h"

#define POINTS 250
#define FLOOR_BYTES 1024

static const char *const colours[NR_FLOOD_CONTESTANTS] = {
	"#0b6e4f", "#3a7ca5", "#e09f3e", "#7b4fa3", "#8a8a8a", "#d1495b", "#1d3557", "#c77dff",
};

static double limbo_mib(uint64_t bytes)
{
	return (double)(bytes > FLOOR_BYTES ? bytes : FLOOR_BYTES) / (1 << 20);
}

/* One named block of data: seconds, and the most limbo of all samples that fall there. */
static void write_data(FILE *script, const struct flood_table *table, size_t contestant)
{
	const struct memory_log *log = &table->last[contestant].log;
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

static double largest_mib(const struct flood_table *table)
{
	uint64_t most = FLOOR_BYTES;

	for (size_t i = 0; i < NR_FLOOD_CONTESTANTS; i++) {
		if (table->last[i].log.limbo_peak > most)
			most = table->last[i].log.limbo_peak;
	}
	return limbo_mib(most);
}

static void write_style(FILE *script, const struct flood_table *table)
{
	/* pngcairo draws smooth lines, but is not in every gnuplot. */
	fprintf(script,
		"if (strstrt(GPVAL_TERMINALS, 'pngcairo')) {\n"
		"	set terminal pngcairo noenhanced size 1200,1000 font 'Sans,13'\n"
		"} else {\n"
		"	set terminal png noenhanced size 1200,1000\n"
		"}\n"
		"set border 3 linecolor '#606060'\n"
		"set tics nomirror out textcolor '#303030'\n"
		"set grid linetype 1 linecolor '#e4e4e4' linewidth 1\n"
		"set key at graph 1.02, graph 1 left top vertical Left reverse samplen 2.5\n"
		"set lmargin 11\n"
		"set rmargin 28\n"
		"set logscale y 10\n"
		"set format y '%%g'\n"
		"set ylabel 'limbo (MiB)'\n"
		"set yrange [%g:%g]\n"
		"set xrange [0:%g]\n",
		limbo_mib(0), 1.5 * largest_mib(table), table->params->seconds);
	for (size_t i = 0; i < NR_FLOOD_CONTESTANTS; i++)
		fprintf(script, "set style line %zu linecolor '%s' linewidth %d\n", i + 1,
			colours[i], i ? 2 : 3);
}

static void write_line(FILE *script, size_t contestant, const char *before)
{
	fprintf(script, "%s$run%zu using 1:2 with lines linestyle %zu title '%s'", before,
		contestant, contestant + 1, flood_contestants[contestant]->name);
}

/* Those that count grace periods are bma's; the first contestant is in both panels. */
static void write_panel(FILE *script, const char *title, bool bma)
{
	fprintf(script, "set label 1 '%s' at graph 0, graph 1.06 left\n", title);
	write_line(script, 0, "plot ");
	for (size_t i = 1; i < NR_FLOOD_CONTESTANTS; i++) {
		const struct flood_contestant *how = flood_contestants[i];

		if (!how->missing && how->counts_grace_periods == bma)
			write_line(script, i, ", ");
	}
	fprintf(script, "\n");
}

static void write_script(FILE *script, const void *arg)
{
	const struct flood_table *table = arg;
	const struct flood_params *p = table->params;

	for (size_t i = 0; i < NR_FLOOD_CONTESTANTS; i++) {
		if (!flood_contestants[i]->missing)
			write_data(script, table, i);
	}
	write_style(script, table);
	fprintf(script,
		"set multiplot layout 2,1 title \"bma bench flood: freed, and waiting for "
		"readers. Updaters %lu, readers %lu, %lu-byte objects\\n\" font ',15'\n",
		p->updaters, p->readers, p->size);
	write_panel(script, "bma, with each kind of readers", true);
	fprintf(script, "set xlabel 'time (s)'\n");
	write_panel(script, "malloc, beside bma", false);
	fprintf(script, "unset multiplot\n");
}

enum gnuplot_end flood_plot(const char *path, const struct flood_table *table)
{
	return gnuplot(path, write_script, table);
}
