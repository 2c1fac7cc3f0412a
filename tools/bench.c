// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * bench.c - `bma bench`: find the benchmark, or run all of them
 */
#define _GNU_SOURCE
#include "bench.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static const struct bench *const benches[] = {
	&pair_bench,	 &pair_rcu_bench,  &batch_bench,   &cross_bench,
	&htab_mem_bench, &flood_bench,	   &tree_bench,	   &scale_bench,
	&destroy_bench,	 &footprint_bench, &latency_bench,
};

size_t bench_index(const struct bench *bench)
{
	size_t i = 0;

	while (benches[i] != bench)
		i++;
	return i;
}

const struct bench *bench_by_index(size_t index)
{
	return index < ARRAY_SIZE(benches) ? benches[index] : NULL;
}

static const struct bench *find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(benches); i++) {
		if (!strcmp(name, benches[i]->name))
			return benches[i];
	}
	return NULL;
}

static enum exit_code print_help(const struct bench *bench)
{
	printf("Usage: bma bench %s [OPTION...]\n\n", bench ? bench->name : "[NAME]");
	if (bench) {
		printf("%s.\n\n%s\n\n", bench->summary, bench->explain);
	} else {
		printf("Run the benchmark NAME, or all of them.\n\nBenchmarks:\n");
		for (size_t i = 0; i < ARRAY_SIZE(benches); i++)
			printf("  %-10s %s\n", benches[i]->name, benches[i]->summary);
		printf("\nOptions:\n");
	}
	bench_print_options(bench);
	return EXIT_OK;
}

/* FILE.png is FILE-pair.png where pair is one of many. */
static enum exit_code draw(const struct bench_table *table, bool alone)
{
	const char *path = table->options->plot;
	const char *end = strrchr(path, '.');
	enum exit_code code;
	char *own;

	if (!end || strchr(end, '/'))
		end = path + strlen(path);
	if (asprintf(&own, "%.*s%s%s%s", (int)(end - path), path, alone ? "" : "-",
		     alone ? "" : table->bench->name, end) < 0) {
		complain("no memory for a file's name");
		return EXIT_FAILED;
	}
	code = bench_plot(table, own);
	if (code == EXIT_OK && !table->options->json)
		printf("\nDrawn in %s.\n", own);
	free(own);
	return code;
}

static enum exit_code measure(struct bench_table *table, bool alone)
{
	bool json = table->options->json;
	enum exit_code code;

	if (!json)
		bench_print_heading(table);
	code = bench_measure(table);
	if (json)
		bench_print_json(table);
	if (table->options->plot && draw(table, alone) != EXIT_OK)
		code = EXIT_FAILED;
	fflush(stdout);
	return code;
}

/* Can @bench do what was asked for?  A message says why not. */
static bool makes_sense(const struct bench_table *table)
{
	const struct bench *bench = table->bench;
	unsigned long size = table->params.size;

	if (size < bench->size_min || size > bench->size_max) {
		complain("%s takes a --size from %lu to %lu, not %lu", bench->name, bench->size_min,
			 bench->size_max, size);
		return false;
	}
	if (bench_nr_chosen(table))
		return true;
	complain("%s has no such case or contestant; see --list", bench->name);
	return false;
}

static enum exit_code run_one(const struct bench *bench, const struct bench_options *options)
{
	struct bench_table table;
	enum exit_code code = bench_table_init(&table, bench, options);

	if (code == EXIT_OK)
		code = makes_sense(&table) ? measure(&table, true) : EXIT_USAGE;
	bench_table_free(&table);
	return code;
}

static enum exit_code run_in_turn(struct bench_table *table, bool *first)
{
	bool json = table->options->json;
	enum exit_code code;

	if (!bench_nr_chosen(table))
		return EXIT_OK;
	if (!*first)
		printf(json ? ",\n" : "\n");
	*first = false;
	code = measure(table, false);
	bench_forget_runs(table);
	return code;
}

/* Those that have no such case are left out; all others run, also after one that failed. */
static enum exit_code run_all(const struct bench_options *options)
{
	struct bench_table tables[ARRAY_SIZE(benches)];
	enum exit_code worst = EXIT_OK;
	bool first = true;

	if (options->json)
		printf("{\"benches\": [\n");
	for (size_t i = 0; i < ARRAY_SIZE(benches); i++) {
		enum exit_code code = bench_table_init(&tables[i], benches[i], options);

		if (code != EXIT_OK)
			return code;
		code = run_in_turn(&tables[i], &first);
		if (code > worst)
			worst = code;
	}
	if (options->json)
		printf("],\n\"goals\": [");
	bench_print_goals(tables);
	if (options->json)
		printf("\n]}\n");
	for (size_t i = 0; i < ARRAY_SIZE(benches); i++)
		bench_table_free(&tables[i]);
	return worst;
}

static enum exit_code list(const struct bench *bench)
{
	for (size_t i = 0; i < ARRAY_SIZE(benches); i++) {
		if (!bench || bench == benches[i])
			bench_print_list(benches[i]);
	}
	return EXIT_OK;
}

static enum exit_code bench(int argc, char **argv)
{
	static char full_name[64] = "bma bench";
	const struct bench *only = NULL;
	struct bench_options options;
	enum exit_code code;

	if (argc == 3 && !strcmp(argv[1], "--worker"))
		return bench_worker(argv[2]);
	if (argc > 1 && argv[1][0] != '-') {
		only = find(argv[1]);
		if (!only)
			return usage_error("no such benchmark: '%s'", argv[1]);
		snprintf(full_name, sizeof(full_name), "bma bench %s", only->name);
		set_tool_name(full_name);
		argc--;
		argv++;
		argv[0] = full_name;
	}
	code = bench_parse(&options, argc, argv);
	if (code != EXIT_OK)
		return code;
	if (options.help)
		return print_help(only);
	if (options.list)
		return list(only);
	return only ? run_one(only, &options) : run_all(&options);
}

enum exit_code bench_cannot(const struct bench_run *run, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(run->result->why, sizeof(run->result->why), format, args);
	va_end(args);
	return EXIT_OK;
}

enum exit_code bench_fault(const struct bench_run *run, const char *format, ...)
{
	char what[200];
	va_list args;

	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	complain("%s, %s: %s", run->at->name, run->who->name, what);
	return EXIT_FAILED;
}

const struct command bench_command = {
	.name = "bench",
	.summary = "measure, beside malloc with call_rcu and its like",
	.run = bench,
};
