// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * bench_options.c - the options of `bma bench`, which all benchmarks share
 */
#define _GNU_SOURCE
#include "bench.h"

#include <getopt.h>

static const struct {
	const char *name;
	const char *argument; /* NULL: none */
	const char *help;
} table[] = {
	{ "case", "NAME", "only cases that have this in their name" },
	{ "contestant", "NAME", "only contestants that have this in their name" },
	{ "threads", "N", "threads that allocate and free" },
	{ "readers", "N", "threads that read meanwhile, where there are any" },
	{ "size", "B", "bytes of an object, or of a hash table's value" },
	{ "seconds", "S", "how long each run takes" },
	{ "rounds", "N", "runs of each contestant; the median counts" },
	{ "json", NULL, "print one JSON object instead of tables" },
	{ "plot", "FILE", "draw it, as PNG; where all run, into FILE-NAME.png" },
	{ "list", NULL, "name the cases and the contestants, and run nothing" },
	{ "help", NULL, "show this text" },
};

enum option_index {
	OPTION_CASE,
	OPTION_CONTESTANT,
	OPTION_THREADS,
	OPTION_READERS,
	OPTION_SIZE,
	OPTION_SECONDS,
	OPTION_ROUNDS,
	OPTION_JSON,
	OPTION_PLOT,
	OPTION_LIST,
	OPTION_HELP,
};

/* What Linux's `bench htab-mem` calls them, and flood called them first. */
static const struct {
	const char *name;
	enum option_index is;
} synonyms[] = {
	{ "use-case", OPTION_CASE },
	{ "producers", OPTION_THREADS },
	{ "updaters", OPTION_THREADS },
	{ "value-size", OPTION_SIZE },
};

/* Larger ones malloc may map one by one, which is another benchmark. */
#define MAX_SIZE 65536

static void print_default(const struct bench *bench, size_t i)
{
	const struct bench_params *p = &bench->defaults;

	if (i == OPTION_THREADS && !p->threads)
		printf(" (default: the CPUs)");
	else if (i == OPTION_THREADS)
		printf(" (default: %lu)", p->threads);
	else if (i == OPTION_READERS)
		printf(" (default: %lu)", p->readers);
	else if (i == OPTION_SIZE)
		printf(" (default: %lu)", p->size);
	else if (i == OPTION_SECONDS)
		printf(" (default: %g)", p->seconds);
	else if (i == OPTION_ROUNDS)
		printf(" (default: %lu)", p->rounds);
}

void bench_print_options(const struct bench *bench)
{
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		char option[32];

		snprintf(option, sizeof(option), "--%s %s", table[i].name,
			 table[i].argument ? table[i].argument : "");
		printf("  %-18s %s", option, table[i].help);
		if (bench)
			print_default(bench, i);
		printf("\n");
	}
	if (!bench)
		printf("\n'bma bench NAME --help' says what a benchmark does, and its defaults.\n");
}

static int parse_option(struct bench_options *o, int option)
{
	switch (option) {
	case OPTION_CASE:
		o->only_case = optarg;
		return 0;
	case OPTION_CONTESTANT:
		o->only_contestant = optarg;
		return 0;
	case OPTION_THREADS:
		return parse_count("--threads", optarg, 1, MAX_THREADS, &o->given.threads);
	case OPTION_READERS:
		return parse_count("--readers", optarg, 0, MAX_THREADS, &o->given.readers);
	case OPTION_SIZE:
		return parse_count("--size", optarg, 1, MAX_SIZE, &o->given.size);
	case OPTION_SECONDS:
		return parse_seconds("--seconds", optarg, 0.01, 3600, &o->given.seconds);
	case OPTION_ROUNDS:
		return parse_count("--rounds", optarg, 1, MAX_ROUNDS, &o->given.rounds);
	case OPTION_JSON:
		o->json = true;
		return 0;
	case OPTION_PLOT:
		o->plot = optarg;
		return 0;
	case OPTION_LIST:
		o->list = true;
		return 0;
	case OPTION_HELP:
		o->help = true;
		return 0;
	default:
		return -1;
	}
}

static void make_getopt_table(struct option *options)
{
	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		options[i] = (struct option){
			.name = table[i].name,
			.has_arg = table[i].argument ? required_argument : no_argument,
			.val = (int)i,
		};
	for (size_t i = 0; i < ARRAY_SIZE(synonyms); i++)
		options[ARRAY_SIZE(table) + i] = (struct option){
			.name = synonyms[i].name,
			.has_arg = required_argument,
			.val = synonyms[i].is,
		};
}

enum exit_code bench_parse(struct bench_options *o, int argc, char **argv)
{
	struct option options[ARRAY_SIZE(table) + ARRAY_SIZE(synonyms) + 1] = { 0 };
	int option;

	*o = (struct bench_options){
		.given = { NOT_GIVEN, NOT_GIVEN, NOT_GIVEN, NOT_GIVEN, -1 },
	};
	make_getopt_table(options);
	while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (option == 'h')
			option = OPTION_HELP;
		if (parse_option(o, option)) {
			fprintf(stderr, "Try '%s --help'.\n", tool_name());
			return EXIT_USAGE;
		}
	}
	if (!o->help && optind < argc)
		return usage_error("what is '%s'?", argv[optind]);
	return EXIT_OK;
}

static unsigned long or_default(unsigned long given, unsigned long its_default)
{
	return given == NOT_GIVEN ? its_default : given;
}

struct bench_params bench_params_of(const struct bench *bench, const struct bench_options *options)
{
	const struct bench_params *given = &options->given, *its = &bench->defaults;
	unsigned long threads = or_default(given->threads, its->threads);

	if (!threads)
		threads = usable_cpus() < MAX_THREADS ? usable_cpus() : MAX_THREADS;
	return (struct bench_params){
		.threads = threads,
		.readers = or_default(given->readers, its->readers),
		.size = or_default(given->size, its->size),
		.rounds = or_default(given->rounds, its->rounds),
		.seconds = given->seconds < 0 ? its->seconds : given->seconds,
	};
}
