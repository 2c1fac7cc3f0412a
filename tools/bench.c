// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * bench.c - `bma bench`: find the benchmark, or run all of them
 */
#include "bench.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

static const struct bench *const benches[] = {
	&htab_mem_bench,
	&flood_bench,
};

static enum exit_code print_help(void)
{
	printf("Usage: bma bench [NAME] [OPTION...]\n"
	       "\n"
	       "Run the benchmark NAME, or all of them, each with the OPTIONs given; all of them know\n"
	       "--readers, --seconds, --rounds and --json.\n"
	       "\n"
	       "Benchmarks:\n");
	for (size_t i = 0; i < ARRAY_SIZE(benches); i++)
		printf("  %-10s %s\n", benches[i]->name, benches[i]->summary);
	printf("\n'bma bench NAME --help' shows a benchmark's options.\n");
	return EXIT_OK;
}

static enum exit_code run_bench(const struct bench *bench, int argc, char **argv)
{
	static char full_name[64];

	snprintf(full_name, sizeof(full_name), "bma bench %s", bench->name);
	set_tool_name(full_name);
	argv[0] = full_name;
	optind = 0; /* glibc: forget what the last benchmark parsed */
	return bench->run(argc, argv);
}

/* All run, also after one that failed; wrong usage is the same for each of them. */
static enum exit_code run_all(int argc, char **argv)
{
	enum exit_code worst = EXIT_OK;

	for (size_t i = 0; i < ARRAY_SIZE(benches) && worst != EXIT_USAGE; i++) {
		enum exit_code code = run_bench(benches[i], argc, argv);

		if (code > worst)
			worst = code;
	}
	return worst;
}

static enum exit_code bench(int argc, char **argv)
{
	if (argc < 2)
		return run_all(argc, argv);
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
		return print_help();
	if (argv[1][0] == '-')
		return run_all(argc, argv);
	for (size_t i = 0; i < ARRAY_SIZE(benches); i++) {
		if (!strcmp(argv[1], benches[i]->name))
			return run_bench(benches[i], argc - 1, argv + 1);
	}
	return usage_error("no such benchmark: '%s'", argv[1]);
}

const struct command bench_command = {
	.name = "bench",
	.summary = "measure, beside malloc with call_rcu and its like",
	.run = bench,
};
