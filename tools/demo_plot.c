// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * demo_plot.c - memory over time, as a picture: limbo above, the resident set below
 */
#include "demo.h"

struct plot {
	const struct demo_run *runs;
	size_t nr;
};

static const char *const colours[] = { "#0b6e4f", "#d1495b" };

static double mib(uint64_t bytes)
{
	return (double)bytes / (1 << 20);
}

/* One named block of data for each run: seconds, limbo, resident set. */
static void write_data(FILE *script, const struct plot *plot)
{
	for (size_t i = 0; i < plot->nr; i++) {
		const struct memory_log *log = &plot->runs[i].result->log;

		fprintf(script, "$run%zu << EOD\n", i);
		for (unsigned int s = 0; s < log->nr; s++)
			fprintf(script, "%.4f %.4f %.4f\n", log->samples[s].seconds,
				mib(log->samples[s].limbo), mib(log->samples[s].rss));
		fprintf(script, "EOD\n");
	}
}

static void write_style(FILE *script)
{
	/* pngcairo draws smooth lines, but is not in every gnuplot. */
	fprintf(script, "if (strstrt(GPVAL_TERMINALS, 'pngcairo')) {\n"
			"	set terminal pngcairo noenhanced size 1200,900 font 'Sans,13'\n"
			"} else {\n"
			"	set terminal png noenhanced size 1200,900\n"
			"}\n"
			"set border 3 linecolor '#606060'\n"
			"set tics nomirror out textcolor '#303030'\n"
			"set grid linetype 1 linecolor '#e4e4e4' linewidth 1\n"
			"set key above right horizontal reverse Left samplen 2.5 width 1\n"
			"set lmargin 11\n"
			"set rmargin 4\n"
			"set format y '%%g'\n"
			"set ylabel 'MiB'\n"
			"set yrange [0:0.1<*]\n"
			"set xrange [0:*]\n");
	for (size_t i = 0; i < ARRAY_SIZE(colours); i++)
		fprintf(script, "set style line %zu linecolor '%s' linewidth 2.5\n", i + 1,
			colours[i]);
}

/* One panel: column @column of every run, from 0 up. */
static void write_panel(FILE *script, const struct plot *plot, const char *title, int column)
{
	fprintf(script, "set label 1 '%s' at graph 0, graph 1.07 left\nplot ", title);
	for (size_t i = 0; i < plot->nr; i++)
		fprintf(script, "%s$run%zu using 1:%d with lines linestyle %zu title '%s'",
			i ? ", " : "", i, column, i % ARRAY_SIZE(colours) + 1, plot->runs[i].name);
	fprintf(script, "\n");
}

static void write_script(FILE *script, const void *arg)
{
	const struct plot *plot = arg;
	const struct demo_work *work = plot->runs[0].work;

	write_data(script, plot);
	write_style(script);
	fprintf(script,
		"set multiplot layout 2,1 title \"bma demo: %.1f million words counted by "
		"read-copy-update, %lu updating and %lu reading %s\\n\" font ',15'\n",
		(double)plot->runs[0].result->updates / 1e6, work->threads, work->readers,
		work->readers == 1 ? "thread" : "threads");
	write_panel(script, plot, "Memory in limbo: freed, and waiting for readers", 2);
	fprintf(script, "set xlabel 'time (s)'\n");
	write_panel(script, plot, "Resident memory of the process", 3);
	fprintf(script, "unset multiplot\n");
}

enum gnuplot_end demo_plot(const char *path, const struct demo_run *runs, size_t nr)
{
	const struct plot plot = { .runs = runs, .nr = nr };

	return gnuplot(path, write_script, &plot);
}
