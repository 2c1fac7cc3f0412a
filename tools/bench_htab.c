// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * bench_htab.c - `bma bench htab-mem`: what a hash table takes, in time and memory
 *
 * The work is that of Linux's `bench htab-mem`: producers change a hash table, in one of three
 * ways, and memory is watched.  The table is one and the same; its elements come from
 *   bma free           reusable at once, with readers that can bear it
 *   bma free_rcu       reusable after a grace period
 *   malloc + call_rcu  freed after a grace period
 *
 * What is measured
 *   k/s    thousands of operations (batches of 64 updates or deletions) a second for each producer
 *   MiB    memory of the elements, live, waiting and in reserve: of bma, all that it took from the
 *          system, its books included; of malloc, the chunks live or waiting, which is less than it
 *          took (contestant_malloc.c says why).  Mean and peak over the time of the run.
 *   limbo  the part of it that waits for readers, at its peak
 *   RSS    the peak of the whole process, which has the same base for all three
 *   reads  of all readers; and how many in a million found that the element was reused meanwhile,
 *          which ends the benchmark where it must not happen
 * Each figure is the median of the rounds, with the least and the most.  Rounds are interleaved
 * (A B C A B C), so that a slow minute of the machine meets all contestants, and each run has a
 * process of its own.
 */
#define _GNU_SOURCE
#include "bench_htab.h"
#include "child.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

static const struct contestant *const contestants[NR_CONTESTANTS] = {
	&bma_free_contestant,
	&bma_free_rcu_contestant,
	&malloc_call_rcu_contestant,
};

struct htab_options {
	struct htab_params params;
	const struct use_case *only; /* NULL: all */
	bool json;
	bool help;
};

static const struct option long_options[] = {
	{ "use-case", required_argument, NULL, 'u' },
	{ "producers", required_argument, NULL, 'p' },
	{ "readers", required_argument, NULL, 'r' },
	{ "seconds", required_argument, NULL, 's' },
	{ "rounds", required_argument, NULL, 'n' },
	{ "value-size", required_argument, NULL, 'v' },
	{ "json", no_argument, NULL, 'j' },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

static void print_help(void)
{
	printf("Usage: bma bench htab-mem [OPTION...]\n"
	       "\n"
	       "Change a hash table as Linux's 'bench htab-mem' does, with elements from bma\n"
	       "(free, and free_rcu) and from malloc (call_rcu); measure operations and memory.\n"
	       "\n"
	       "  --use-case NAME   one of these (default: all, one by one)\n"
	       "      overwrite            each producer overwrites its %d keys again and again\n"
	       "      batch_add_batch_del  each adds its %d keys, then deletes them\n"
	       "      add_del_on_diff_cpu  one adds, its partner on another CPU deletes\n"
	       "  --producers N     threads that change the table (default: the CPUs, but an even\n"
	       "                    number; add_del_on_diff_cpu needs one)\n"
	       "  --readers N       threads that look keys up meanwhile (default: 0)\n"
	       "  --seconds S       how long each run takes (default: 1)\n"
	       "  --rounds N        runs of each contestant; the median counts (default: 3)\n"
	       "  --value-size N    bytes of a value, 8 to 4096 (default: 8)\n"
	       "  --json            print one JSON object instead of tables\n"
	       "  --help            show this text\n",
	       BATCH, BATCH);
}

static int parse_use_case(const char *name, const struct use_case **only)
{
	*only = NULL;
	for (size_t i = 0; i < nr_use_cases && !*only; i++) {
		if (!strcmp(name, use_cases[i].name))
			*only = &use_cases[i];
	}
	if (*only || !strcmp(name, "all"))
		return 0;
	complain("there is no use case '%s'", name);
	return -1;
}

static int parse_option(struct htab_options *o, int option)
{
	switch (option) {
	case 'u':
		return parse_use_case(optarg, &o->only);
	case 'p':
		return parse_count("--producers", optarg, 1, MAX_THREADS, &o->params.producers);
	case 'r':
		return parse_count("--readers", optarg, 0, MAX_THREADS, &o->params.readers);
	case 's':
		return parse_seconds("--seconds", optarg, 0.01, 3600, &o->params.seconds);
	case 'n':
		return parse_count("--rounds", optarg, 1, MAX_ROUNDS, &o->params.rounds);
	case 'v':
		return parse_count("--value-size", optarg, 8, 4096, &o->params.value_size);
	case 'j':
		o->json = true;
		return 0;
	case 'h':
		o->help = true;
		return 0;
	default:
		return -1;
	}
}

/* An even number, for the use case that works in pairs. */
static unsigned long default_producers(void)
{
	unsigned long nr = (usable_cpus() + 1ul) & ~1ul;

	return nr < MAX_THREADS ? nr : MAX_THREADS;
}

static bool has_pairs(const struct htab_options *o)
{
	return !o->only || o->only->pairs;
}

static enum exit_code parse(struct htab_options *o, int argc, char **argv)
{
	int option;

	*o = (struct htab_options){
		.params = {
			.producers = default_producers(),
			.value_size = 8,
			.seconds = 1,
			.rounds = 3,
		},
	};
	while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		if (parse_option(o, option)) {
			fprintf(stderr, "Try '%s --help'.\n", tool_name());
			return EXIT_USAGE;
		}
	}
	if (o->help)
		return EXIT_OK;
	if (optind < argc)
		return usage_error("what is '%s'?", argv[optind]);
	if (o->params.producers % 2 && has_pairs(o))
		return usage_error("add_del_on_diff_cpu needs an even number of producers, not %lu",
				   o->params.producers);
	return EXIT_OK;
}

static enum exit_code run_once(struct htab_table *table, size_t contestant, unsigned long round)
{
	struct htab_run run = {
		.use_case = table->use_case,
		.how = contestants[contestant],
		.params = table->params,
		.result = shared_alloc(sizeof(*run.result)),
	};
	enum exit_code code;

	if (!run.result)
		return EXIT_FAILED;
	code = run_in_child(run.how->name, htab_run, &run);
	if (code == EXIT_OK)
		htab_table_add(table, contestant, round, run.result);
	else
		complain("%s: the %s run failed", run.use_case->name, run.how->name);
	shared_free(run.result, sizeof(*run.result));
	return code;
}

static enum exit_code run_rounds(struct htab_table *table)
{
	for (unsigned long round = 0; round < table->params->rounds; round++) {
		for (size_t i = 0; i < NR_CONTESTANTS; i++) {
			enum exit_code code = run_once(table, i, round);

			if (code != EXIT_OK)
				return code;
		}
	}
	return EXIT_OK;
}

static enum exit_code run_use_cases(const struct htab_options *o, struct htab_report *report)
{
	for (size_t i = 0; i < nr_use_cases; i++) {
		struct htab_table table = {
			.use_case = &use_cases[i],
			.params = &o->params,
			.contestants = contestants,
		};
		enum exit_code code;

		if (o->only && o->only != &use_cases[i])
			continue;
		code = run_rounds(&table);
		if (code != EXIT_OK)
			return code;
		htab_report_table(report, &table);
	}
	return EXIT_OK;
}

static enum exit_code htab_mem(int argc, char **argv)
{
	struct htab_report report;
	struct htab_options o;
	enum exit_code code = parse(&o, argc, argv);

	if (code != EXIT_OK)
		return code;
	if (o.help) {
		print_help();
		return EXIT_OK;
	}
	htab_report_start(&report, &o.params, o.json);
	code = run_use_cases(&o, &report);
	htab_report_end(&report, code == EXIT_OK);
	return code;
}

const struct bench htab_mem_bench = {
	.name = "htab-mem",
	.summary = "a hash table's operations and memory, as in Linux's benchmark of that name",
	.run = htab_mem,
};
