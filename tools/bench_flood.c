// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * bench_flood.c - `bma bench flood`: what waits for readers when frees come as fast as they can
 *
 * Updaters allocate an object, write it, and give it back with a deferred free, in a loop that does
 * nothing else.  Readers are in short read sections back to back, so that hardly ever is there a
 * moment without one.  With more threads than CPUs, which is the usual case, readers are preempted
 * inside.  The contestants are
 *   bma       free_rcu, with its built-in readers and with those of liburcu's memb, mb, qsbr and bp
 *   malloc    with liburcu's call_rcu and defer_rcu (readers: memb), and with Concurrency Kit's
 *             ck_epoch_call where it was there when bma was built
 *
 * What is measured
 *   Mops/s         million pairs of allocation and deferred free a second, of all updaters
 *   ratio          of that to bma's with its built-in readers (of the medians)
 *   limbo          what waits for readers, looked at every millisecond, at its peak: of bma what
 *                  its statistics say, of malloc the chunks that were queued and not yet freed
 *   RSS            the peak of the process's resident set
 *   grace periods  of bma; the others cannot say
 *   Mreads/s       million read sections a second, of all readers
 * Each figure is the median of the rounds, with the least and the most for those that vary most.
 * Rounds are interleaved (A B C A B C), so that a slow minute of the machine meets all contestants,
 * and each run has a process of its own.
 *
 * Where the CPUs are so busy that the thread which looks at limbo does not get to run, a peak may
 * be missed; the resident set's peak is the kernel's and misses nothing.
 */
#define _GNU_SOURCE
#include "bench_flood.h"
#include "child.h"
#include "progress.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct flood_contestant *const flood_contestants[NR_FLOOD_CONTESTANTS] = {
	&flood_bma,    &flood_bma_memb, &flood_bma_mb,	  &flood_bma_qsbr,
	&flood_bma_bp, &flood_call_rcu, &flood_defer_rcu, &flood_ck_epoch,
};

/* Larger ones malloc may map one by one, which is another benchmark. */
#define MAX_SIZE 65536

struct flood_options {
	struct flood_params params;
	const char *plot; /* NULL: none */
	bool json;
	bool help;
};

static const struct option long_options[] = {
	{ "updaters", required_argument, NULL, 'u' },
	{ "readers", required_argument, NULL, 'r' },
	{ "size", required_argument, NULL, 'b' },
	{ "seconds", required_argument, NULL, 's' },
	{ "rounds", required_argument, NULL, 'n' },
	{ "json", no_argument, NULL, 'j' },
	{ "plot", required_argument, NULL, 'p' },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

static void print_help(void)
{
	printf("Usage: bma bench flood [OPTION...]\n"
	       "\n"
	       "Allocate, and free after readers, as fast as can be, with readers always there:\n"
	       "bma with each kind of readers, beside malloc with call_rcu, defer_rcu and\n"
	       "ck_epoch_call; measure operations and what waits for readers.\n"
	       "\n"
	       "  --updaters N   threads that allocate and free (default: 2)\n"
	       "  --readers N    threads in read sections back to back (default: 1)\n"
	       "  --size B       bytes of an object, 1 to %d (default: 64)\n"
	       "  --seconds S    how long each run takes (default: 1)\n"
	       "  --rounds N     runs of each contestant; the median counts (default: 3)\n"
	       "  --json         print one JSON object instead of a table\n"
	       "  --plot FILE    draw limbo over time of each contestant's last run, as PNG\n"
	       "  --help         show this text\n",
	       MAX_SIZE);
}

static int parse_option(struct flood_options *o, int option)
{
	switch (option) {
	case 'u':
		return parse_count("--updaters", optarg, 1, MAX_THREADS, &o->params.updaters);
	case 'r':
		return parse_count("--readers", optarg, 0, MAX_THREADS, &o->params.readers);
	case 'b':
		return parse_count("--size", optarg, 1, MAX_SIZE, &o->params.size);
	case 's':
		return parse_seconds("--seconds", optarg, 0.01, 3600, &o->params.seconds);
	case 'n':
		return parse_count("--rounds", optarg, 1, MAX_ROUNDS, &o->params.rounds);
	case 'j':
		o->json = true;
		return 0;
	case 'p':
		o->plot = optarg;
		return 0;
	case 'h':
		o->help = true;
		return 0;
	default:
		return -1;
	}
}

static enum exit_code parse(struct flood_options *o, int argc, char **argv)
{
	int option;

	*o = (struct flood_options){
		.params = { .updaters = 2, .readers = 1, .size = 64, .seconds = 1, .rounds = 3 },
	};
	while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		if (parse_option(o, option)) {
			fprintf(stderr, "Try '%s --help'.\n", tool_name());
			return EXIT_USAGE;
		}
	}
	if (!o->help && optind < argc)
		return usage_error("what is '%s'?", argv[optind]);
	return EXIT_OK;
}

static enum exit_code run_once(struct flood_table *table, size_t contestant, unsigned long round)
{
	struct flood_run run = {
		.how = flood_contestants[contestant],
		.params = table->params,
		.result = &table->last[contestant],
	};
	enum exit_code code;

	memset(run.result, 0, sizeof(*run.result));
	code = run_in_child(run.how->name, flood_run, &run);
	if (code == EXIT_OK)
		flood_table_add(table, contestant, round);
	else
		complain("the %s run failed", run.how->name);
	return code;
}

static enum exit_code run_round(struct flood_table *table, unsigned long round,
				struct progress *progress, uint64_t start_ns)
{
	enum exit_code code = EXIT_OK;

	for (size_t i = 0; i < NR_FLOOD_CONTESTANTS && code == EXIT_OK; i++) {
		size_t done = round * NR_FLOOD_CONTESTANTS + i;
		size_t all = table->params->rounds * NR_FLOOD_CONTESTANTS;

		progress_show(progress, (double)done / (double)all, seconds_since(start_ns));
		if (!flood_contestants[i]->missing)
			code = run_once(table, i, round);
	}
	return code;
}

static enum exit_code run_rounds(struct flood_table *table)
{
	uint64_t start_ns = now_ns();
	struct progress progress;
	enum exit_code code = EXIT_OK;

	progress_start(&progress, "running");
	for (unsigned long i = 0; i < table->params->rounds && code == EXIT_OK; i++)
		code = run_round(table, i, &progress, start_ns);
	progress_end(&progress);
	return code;
}

static enum exit_code draw(const struct flood_options *o, const struct flood_table *table)
{
	/* A plot that was asked for and is not there is a failure. */
	if (flood_plot(o->plot, table) != GNUPLOT_DREW)
		return EXIT_FAILED;
	if (!o->json)
		printf("\nLimbo over time is drawn in %s.\n", o->plot);
	return EXIT_OK;
}

static enum exit_code measure(const struct flood_options *o, struct flood_table *table)
{
	enum exit_code code;

	if (!o->json)
		flood_print_heading(&o->params);
	code = run_rounds(table);
	if (code != EXIT_OK)
		return code;
	if (o->json)
		flood_print_json(table);
	else
		flood_print_table(table);
	return o->plot ? draw(o, table) : EXIT_OK;
}

static enum exit_code flood(int argc, char **argv)
{
	size_t bytes = NR_FLOOD_CONTESTANTS * sizeof(struct flood_result);
	static struct flood_table table;
	struct flood_options o;
	enum exit_code code = parse(&o, argc, argv);

	if (code != EXIT_OK)
		return code;
	if (o.help) {
		print_help();
		return EXIT_OK;
	}
	table = (struct flood_table){ .params = &o.params, .last = shared_alloc(bytes) };
	if (!table.last)
		return EXIT_FAILED;
	code = measure(&o, &table);
	shared_free(table.last, bytes);
	return code;
}

const struct bench flood_bench = {
	.name = "flood",
	.summary = "deferred frees as fast as can be: operations, and what waits for readers",
	.run = flood,
};
