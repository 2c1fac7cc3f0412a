/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * bench.h - what every benchmark of `bma bench` says of itself, and what it gets done for it
 *
 * A benchmark is cases times contestants times rounds.  Each run of one contestant in one case has
 * a process of its own, as a user would start it: with malloc by LD_PRELOAD of the library that
 * Debian ships, with bma as the shared library.  Rounds are interleaved (A B C A B C), so that a
 * slow minute of the machine meets all contestants.
 *
 *   bench.c          the command: find the benchmark, or run all; the worker's end of a run
 *   bench_options.c  the one table of options
 *   bench_rounds.c   who runs when
 *   bench_spawn.c    one run, in a program of its own
 *   bench_report.c   tables, JSON and --list
 *   bench_goals.c    what was to be reached, where all run
 *   bench_plot.c     bars of the first figure, for all that draw nothing better
 *
 * The benchmarks, by what they are built on:
 *   work.h           threads that do steps of one source's objects: bench_pair.c (batch too),
 *                    bench_cross.c, bench_scale.c, bench_latency.c, bench_tree.c
 *   source.h         where those objects come from, and how they are given back
 *   bench_htab.h, bench_flood.h: threads of their own; bench_destroy.c, bench_footprint.c: one
 *   contestant.h     a hash table's elements, for htab-mem and tree
 *   bench_linux.c    contestants from the kernel
 */
#ifndef BMA_BENCH_H
#define BMA_BENCH_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "gnuplot.h"
#include "histogram.h"
#include "sampler.h"
#include "tool.h"

#define MAX_ROUNDS 99
#define MAX_FIGURES 8
#define DEFAULT_SIZE 64

struct bench_run;

/* A column; values are kept in the unit of JSON, and shown divided by @unit. */
struct bench_figure {
	const char *title;
	const char *json;
	double unit;
	int decimals; /* in JSON */
	bool compared; /* with bma's, in tables; in JSON all are */
};

/* What is done; benchmarks that have several put what tells them apart into n and how. */
struct bench_case {
	const char *name;
	unsigned long size; /* of an object; 0: as asked for */
	unsigned long n;
	const void *how;
};

enum bench_program {
	PROGRAM_THIS, /* the one that runs, which carries bma inside */
	PROGRAM_SHARED, /* the same, linked with the shared library */
};

/* Who does it. */
struct bench_contestant {
	const char *name;
	const char *preload; /* a shared library that takes malloc's place */
	enum bench_program program;
	const char *environment; /* NAME=value; NULL: as it is */
	/* Why it cannot run in this build; NULL: it can. */
	const char *missing;
	/* Takes the place of the benchmark's run(). */
	enum exit_code (*run)(const struct bench_run *run);
	const void *how;
};

/* malloc as contestants, one for each library; @what is a string literal that names the rest. */
#define EACH_MALLOC(what, its_how)                                                                 \
	{ .name = "glibc" what, .how = (its_how) },                                                \
		{ .name = "jemalloc" what, .preload = "libjemalloc.so.2", .how = (its_how) },      \
		{ .name = "tcmalloc" what,                                                         \
		  .preload = "libtcmalloc_minimal.so.4",                                           \
		  .how = (its_how) },                                                              \
	{                                                                                          \
		.name = "mimalloc" what, .preload = "libmimalloc.so.2", .how = (its_how)           \
	}

/* The same where the build may lack what is behind @its_how. */
#define EACH_MALLOC_UNLESS(why, what, its_how)                                                     \
	{ .name = "glibc" what, .missing = (why), .how = (its_how) },                              \
		{ .name = "jemalloc" what,                                                         \
		  .preload = "libjemalloc.so.2",                                                   \
		  .missing = (why),                                                                \
		  .how = (its_how) },                                                              \
		{ .name = "tcmalloc" what,                                                         \
		  .preload = "libtcmalloc_minimal.so.4",                                           \
		  .missing = (why),                                                                \
		  .how = (its_how) },                                                              \
	{                                                                                          \
		.name = "mimalloc" what, .preload = "libmimalloc.so.2", .missing = (why),          \
		.how = (its_how)                                                                   \
	}

/* What the user chose, or what the benchmark has by default. */
struct bench_params {
	unsigned long threads;
	unsigned long readers;
	unsigned long size;
	unsigned long rounds;
	double seconds; /* of each run */
};

/* What came of one run; lies in memory that parent and worker share. */
struct bench_result {
	/* Why this contestant cannot do this case here; empty: it did. */
	char why[160];
	bool stopped; /* before its time, as it took too much memory */
	double values[MAX_FIGURES]; /* NAN: cannot be known */
	struct memory_log log; /* for those that draw memory over time */
	struct histogram histogram; /* and for those that draw latency */
};

struct bench_run {
	const struct bench *bench;
	const struct bench_case *at;
	const struct bench_contestant *who;
	struct bench_params params; /* the size is that of the case */
	struct bench_result *result;
};

struct bench_table;

struct bench {
	const char *name;
	const char *summary;
	/* What a figure means; sentences for the heading. */
	const char *explain;
	const struct bench_figure *figures; /* the first is drawn */
	size_t nr_figures;
	const struct bench_case *cases;
	size_t nr_cases;
	/* Others are compared with the first that fits, which is bma. */
	const struct bench_contestant *contestants;
	size_t nr_contestants;
	/* Default parameters; 0 threads: one for each CPU. */
	struct bench_params defaults;
	unsigned long size_min, size_max;
	/* Has the contestant a place in the case?  NULL: all have. */
	bool (*fits)(const struct bench_case *at, const struct bench_contestant *who);
	/* In the worker; a message was printed if it is not EXIT_OK. */
	enum exit_code (*run)(const struct bench_run *run);
	/* A gnuplot script; NULL: bars of the first figure. */
	void (*draw)(FILE *script, const struct bench_table *table);
};

/* What a benchmark says of its tables. */
#define BENCH_TABLES(its_figures, its_cases, its_contestants)                                      \
	.figures = its_figures, .nr_figures = ARRAY_SIZE(its_figures), .cases = its_cases,         \
	.nr_cases = ARRAY_SIZE(its_cases), .contestants = its_contestants,                         \
	.nr_contestants = ARRAY_SIZE(its_contestants)

extern const struct bench pair_bench;
extern const struct bench pair_rcu_bench;
extern const struct bench batch_bench;
extern const struct bench cross_bench;
extern const struct bench htab_mem_bench;
extern const struct bench flood_bench;
extern const struct bench tree_bench;
extern const struct bench scale_bench;
extern const struct bench destroy_bench;
extern const struct bench footprint_bench;
extern const struct bench latency_bench;

/* The contestant cannot do the case here: say why in the row, which is no failure. */
enum exit_code bench_cannot(const struct bench_run *run, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Something is wrong, and is said. */
enum exit_code bench_fault(const struct bench_run *run, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* --- options ---------------------------------------------------------------------------------- */

#define NOT_GIVEN (~0ul)

struct bench_options {
	/* NOT_GIVEN, or negative seconds: the benchmark's default. */
	struct bench_params given;
	const char *only_case; /* part of a name; NULL: all */
	const char *only_contestant;
	const char *plot; /* NULL: none */
	bool json, list, help;
};

enum exit_code bench_parse(struct bench_options *options, int argc, char **argv);
/* @bench is NULL where all of them are meant. */
void bench_print_options(const struct bench *bench);
/* What @bench makes of them; it does not look whether it can do that size. */
struct bench_params bench_params_of(const struct bench *bench, const struct bench_options *options);

/* --- rounds ----------------------------------------------------------------------------------- */

struct bench_cell {
	char why[160]; /* not measured, as; empty: it was */
	bool skipped; /* neither measured nor shown */
	bool failed;
	unsigned int nr; /* rounds that were measured */
	unsigned int stopped;
	double values[MAX_FIGURES][MAX_ROUNDS];
	struct bench_result *last; /* of the last round; NULL: none */
};

struct bench_table {
	const struct bench *bench;
	const struct bench_options *options;
	struct bench_params params;
	struct bench_cell *cells; /* of each contestant of each case */
};

static inline struct bench_cell *bench_cell(const struct bench_table *table, size_t at, size_t who)
{
	return &table->cells[at * table->bench->nr_contestants + who];
}

/* The size of objects in a case. */
unsigned long bench_case_size(const struct bench_table *table, size_t at);

/* Fill the table; EXIT_FAILED if a run failed, others going on.  bench_table_free() in any case. */
enum exit_code bench_measure(struct bench_table *table);
/* How many cases are left of those that the options allow. */
size_t bench_nr_chosen(const struct bench_table *table);
enum exit_code bench_table_init(struct bench_table *table, const struct bench *bench,
				const struct bench_options *options);
void bench_table_free(struct bench_table *table);
/* All but the figures, which are large. */
void bench_forget_runs(struct bench_table *table);

/* One run in a process of its own; messages were printed if it is not EXIT_OK. */
enum exit_code bench_spawn(const struct bench_run *run);
/* The other end of it: `bma bench --worker FD`. */
enum exit_code bench_worker(const char *fd);
/* Which benchmark is that, by its place in the list of all? */
size_t bench_index(const struct bench *bench);
const struct bench *bench_by_index(size_t index);

/* --- report ----------------------------------------------------------------------------------- */

void bench_print_list(const struct bench *bench);
void bench_print_heading(const struct bench_table *table);
void bench_print_case(const struct bench_table *table, size_t at);
void bench_print_json(const struct bench_table *table);
/* Whom the others of a case are compared with: bma, which is the first that fits. */
size_t bench_baseline(const struct bench *bench, size_t at);
/* NAN: not measured. */
double bench_median(const struct bench_cell *cell, size_t figure);
/* The name of a case with the size of its objects; @name has room for 80. */
const char *bench_case_title(const struct bench_table *table, size_t at, char *name);

/* What was to be reached, and was it?  @tables are those of all benchmarks, in their order. */
void bench_print_goals(const struct bench_table *tables);

/* Draw into the PNG @path; EXIT_FAILED after a message. */
enum exit_code bench_plot(const struct bench_table *table, const char *path);
/* What pictures of `bma bench` have in common. */
void bench_plot_style(FILE *script, int width, int height);
extern const char *const bench_colours[];
#define NR_BENCH_COLOURS 20

#endif /* BMA_BENCH_H */
