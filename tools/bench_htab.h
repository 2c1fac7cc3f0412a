/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * bench_htab.h - the parts of htab-mem
 *
 * An operation is a batch of BATCH updates or deletions, as in Linux's `bench htab-mem`, so that
 * the figures can be put side by side.
 */
#ifndef BMA_BENCH_HTAB_H
#define BMA_BENCH_HTAB_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>

#include "bench.h"
#include "contestant.h"
#include "htab.h"
#include "sampler.h"
#include "tool.h"

#define BATCH 64

struct producer;

struct use_case {
	const char *name;
	/* What a producer does again and again; false if the table did not behave. */
	bool (*step)(struct producer *producer);
	/* Producers work in pairs, an adding and a deleting one. */
	bool pairs;
	/* Elements that each producer leaves in the table in the end. */
	size_t left;
};

extern const struct use_case use_cases[];
extern const size_t nr_use_cases;

/* What is the same in every round. */
struct htab_params {
	unsigned long producers;
	unsigned long readers;
	unsigned long value_size;
	unsigned long rounds;
	double seconds; /* of each run */
};

/* What came of one run; lies in memory that parent and child share. */
struct htab_result {
	double seconds;
	uint64_t operations; /* of all producers */
	uint64_t reads;
	uint64_t reused_reads; /* elements that changed hands while a reader looked at them */
	struct memory_log log;
};

struct htab_run {
	const struct use_case *use_case;
	const struct contestant *how;
	const struct htab_params *params;
	struct htab_result *result;
};

/* Run @arg, a struct htab_run; once in a process. */
enum exit_code htab_run(void *arg);

/* What an adding and a deleting producer tell each other. */
struct rendezvous {
	sem_t added;
	sem_t deleted;
	bool over; /* set before the last "added" */
};

/* What the threads of a run share. */
struct htab_race {
	const struct htab_run *run;
	struct pool pool;
	struct htab htab;
	_Atomic bool stop;
	_Atomic bool failed;
};

struct producer {
	_Alignas(CACHE_LINE) struct htab_race *race;
	pthread_t thread;
	unsigned int id;
	uint64_t operations;
	struct rendezvous *pair;
};

#define NR_CONTESTANTS 3

/* What is reported of a run, in the order of the columns. */
enum figure {
	KOPS,
	MEAN_MIB,
	PEAK_MIB,
	LIMBO_MIB,
	RSS_MIB,
	MREADS,
	REUSED_PPM,
	NR_FIGURES,
};

/* The figures of one use case in each round. */
struct htab_table {
	const struct use_case *use_case;
	const struct htab_params *params;
	const struct contestant *const *contestants;
	double values[NR_CONTESTANTS][NR_FIGURES][MAX_ROUNDS];
};

void htab_table_add(struct htab_table *table, size_t contestant, unsigned long round,
		    const struct htab_result *result);

/*
 * What goes to standard output: a heading, and a table for each use case; or one JSON object, which
 * is written at the end, and only if all went well.
 */
struct htab_report {
	const struct htab_params *params;
	FILE *json; /* NULL: tables */
	char *text;
	size_t length;
	unsigned int nr_results;
};

void htab_report_start(struct htab_report *report, const struct htab_params *params, bool json);
void htab_report_table(struct htab_report *report, struct htab_table *table);
void htab_report_end(struct htab_report *report, bool complete);

#endif /* BMA_BENCH_HTAB_H */
