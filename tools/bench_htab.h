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

#include "bench.h"
#include "contestant.h"
#include "htab.h"
#include "sampler.h"
#include "tool.h"

#define BATCH 64

struct producer;

struct use_case {
	/* What a producer does again and again; false if the table did not behave. */
	bool (*step)(struct producer *producer);
	/* Producers work in pairs, an adding and a deleting one. */
	bool pairs;
	/* Elements that each producer leaves in the table in the end. */
	size_t left;
};

extern const struct use_case overwrite_use_case;
extern const struct use_case batch_use_case;
extern const struct use_case diff_cpu_use_case;

/* What came of one run, beside what its log says. */
struct htab_sum {
	double seconds;
	uint64_t operations; /* of all producers */
	uint64_t reads;
	uint64_t reused_reads; /* elements that changed hands while a reader looked at them */
};

enum exit_code htab_run(const struct bench_run *run, struct htab_sum *sum);

/* What an adding and a deleting producer tell each other. */
struct rendezvous {
	sem_t added;
	sem_t deleted;
	bool over; /* set before the last "added" */
};

/* What the threads of a run share. */
struct htab_race {
	const struct bench_run *run;
	const struct use_case *use_case;
	struct htab_sum *sum;
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

#endif /* BMA_BENCH_HTAB_H */
