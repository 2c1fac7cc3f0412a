/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * demo.h - the parts of `bma demo`
 *
 *   demo.c         the command: options, the two runs, what is said
 *   demo_run.c     one contestant's run, in a child process
 *   demo_reader.c  the threads that look words up meanwhile and check what they see
 *   demo_plot.c    memory over time, as a picture
 */
#ifndef BMA_DEMO_H
#define BMA_DEMO_H

#include <stdatomic.h>

#include "contestant.h"
#include "corpus.h"
#include "gnuplot.h"
#include "progress.h"
#include "sampler.h"
#include "tally.h"
#include "tool.h"
#include "words.h"

/* What both runs do. */
struct demo_work {
	struct corpus corpus;
	struct word_tally expected; /* of one round */
	unsigned long threads;
	unsigned long readers;
	unsigned long rounds;
};

/* What came of one; lies in memory that parent and child share. */
struct demo_result {
	uint64_t updates;
	double update_seconds;
	uint64_t reads;
	double read_seconds; /* readers start earlier and end later */
	uint64_t grace_periods;
	struct memory_log log;
};

/* Given to demo_run(); the name is the contestant's in tables and plots. */
struct demo_run {
	const char *name;
	const struct contestant *how;
	const struct demo_work *work;
	struct demo_result *result;
};

/* Count the words of @arg, a struct demo_run, and check them; once in a process. */
enum exit_code demo_run(void *arg);

/* What the threads of a run share. */
struct race {
	const struct demo_run *run;
	struct pool pool;
	struct words words;
	/* A turn is one chunk in one round; threads take them in order. */
	uint64_t nr_turns;
	_Atomic uint64_t next_turn;
	/* Something is wrong, and has been said: everybody go home. */
	_Atomic bool failed;
	_Atomic bool counted; /* all turns are done: readers may end */
	struct progress progress;
};

struct reader {
	struct race *race;
	pthread_t thread;
	uint64_t random;
	uint64_t reads;
	uint64_t *seen; /* for each distinct word, the largest count that this reader saw */
};

/* Look words up until all are counted. */
void *reader_main(void *reader);

/* Draw @nr runs into the PNG @path. */
enum gnuplot_end demo_plot(const char *path, const struct demo_run *runs, size_t nr);

#endif /* BMA_DEMO_H */
