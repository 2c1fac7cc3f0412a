// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * bench_rounds.c - who runs when: the contestants of a case take turns, round by round
 *
 * One that cannot run says so once and is left out from then on; so is one that failed, which the
 * others need not suffer for.
 */
#define _GNU_SOURCE
#include "bench.h"
#include "child.h"
#include "progress.h"

#include <stdlib.h>
#include <string.h>

unsigned long bench_case_size(const struct bench_table *table, size_t at)
{
	const struct bench_case *c = &table->bench->cases[at];

	if (table->options->given.size != NOT_GIVEN || !c->size)
		return table->params.size;
	return c->size;
}

/* Where a size was asked for, the cases that differ in nothing else are one. */
static bool is_chosen(const struct bench_table *table, size_t at, size_t who)
{
	const struct bench_options *o = table->options;
	const struct bench_case *c = &table->bench->cases[at];
	const struct bench_contestant *w = &table->bench->contestants[who];
	char title[80];

	if (o->only_case && !strcasestr(bench_case_title(table, at, title), o->only_case))
		return false;
	if (o->only_contestant && !strcasestr(w->name, o->only_contestant))
		return false;
	if (o->given.size != NOT_GIVEN && c->size && c->size != DEFAULT_SIZE)
		return false;
	return !table->bench->fits || table->bench->fits(c, w);
}

enum exit_code bench_table_init(struct bench_table *table, const struct bench *bench,
				const struct bench_options *options)
{
	*table = (struct bench_table){
		.bench = bench,
		.options = options,
		.params = bench_params_of(bench, options),
		.cells = calloc(bench->nr_cases * bench->nr_contestants, sizeof(*table->cells)),
	};
	if (!table->cells) {
		complain("no memory for the results");
		return EXIT_FAILED;
	}
	for (size_t at = 0; at < bench->nr_cases; at++) {
		for (size_t who = 0; who < bench->nr_contestants; who++) {
			struct bench_cell *cell = bench_cell(table, at, who);

			cell->skipped = !is_chosen(table, at, who);
			if (bench->contestants[who].missing)
				snprintf(cell->why, sizeof(cell->why), "%s",
					 bench->contestants[who].missing);
		}
	}
	return EXIT_OK;
}

void bench_forget_runs(struct bench_table *table)
{
	size_t nr = table->bench->nr_cases * table->bench->nr_contestants;

	for (size_t i = 0; table->cells && i < nr; i++) {
		free(table->cells[i].last);
		table->cells[i].last = NULL;
	}
}

void bench_table_free(struct bench_table *table)
{
	bench_forget_runs(table);
	free(table->cells);
}

static size_t nr_chosen_in(const struct bench_table *table, size_t at)
{
	size_t nr = 0;

	for (size_t who = 0; who < table->bench->nr_contestants; who++)
		nr += !bench_cell(table, at, who)->skipped;
	return nr;
}

size_t bench_nr_chosen(const struct bench_table *table)
{
	size_t nr = 0;

	for (size_t at = 0; at < table->bench->nr_cases; at++)
		nr += nr_chosen_in(table, at);
	return nr;
}

static enum exit_code keep(const struct bench_table *table, struct bench_cell *cell,
			   const struct bench_result *result)
{
	if (result->why[0]) {
		memcpy(cell->why, result->why, sizeof(cell->why));
		return EXIT_OK;
	}
	if (!cell->last)
		cell->last = malloc(sizeof(*cell->last));
	if (!cell->last) {
		complain("no memory for the results");
		return EXIT_FAILED;
	}
	*cell->last = *result;
	for (size_t f = 0; f < table->bench->nr_figures; f++)
		cell->values[f][cell->nr] = result->values[f];
	cell->nr++;
	cell->stopped += result->stopped;
	return EXIT_OK;
}

static enum exit_code run_once(struct bench_table *table, size_t at, size_t who)
{
	struct bench_cell *cell = bench_cell(table, at, who);
	struct bench_run run = {
		.bench = table->bench,
		.at = &table->bench->cases[at],
		.who = &table->bench->contestants[who],
		.params = table->params,
		.result = calloc(1, sizeof(*run.result)),
	};
	enum exit_code code = EXIT_FAILED;

	run.params.size = bench_case_size(table, at);
	if (run.result)
		code = bench_spawn(&run);
	if (code == EXIT_OK)
		code = keep(table, cell, run.result);
	free(run.result);
	if (code != EXIT_OK) {
		complain("%s: the %s run failed", run.at->name, run.who->name);
		cell->failed = true;
		snprintf(cell->why, sizeof(cell->why), "a run failed; see the message");
	}
	return code;
}

struct walk {
	struct progress progress;
	uint64_t start_ns;
	size_t done, all; /* runs */
};

static enum exit_code run_round(struct bench_table *table, size_t at, struct walk *walk)
{
	enum exit_code worst = EXIT_OK;

	for (size_t who = 0; who < table->bench->nr_contestants; who++) {
		struct bench_cell *cell = bench_cell(table, at, who);

		if (cell->skipped)
			continue;
		progress_show(&walk->progress, (double)walk->done++ / (double)walk->all,
			      seconds_since(walk->start_ns));
		if (!cell->why[0] && run_once(table, at, who) != EXIT_OK)
			worst = EXIT_FAILED;
	}
	return worst;
}

enum exit_code bench_measure(struct bench_table *table)
{
	struct walk walk = {
		.start_ns = now_ns(),
		.all = bench_nr_chosen(table) * table->params.rounds,
	};
	enum exit_code worst = EXIT_OK;

	progress_start(&walk.progress, table->bench->name);
	for (size_t at = 0; at < table->bench->nr_cases; at++) {
		if (!nr_chosen_in(table, at))
			continue;
		for (unsigned long i = 0; i < table->params.rounds; i++) {
			if (run_round(table, at, &walk) != EXIT_OK)
				worst = EXIT_FAILED;
		}
		progress_end(&walk.progress);
		if (!table->options->json)
			bench_print_case(table, at);
	}
	return worst;
}
