/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * work.h - threads that allocate, free and read, from one source, for a time
 *
 * All threads first warm up, for a part of the time of the run; then what they do is counted until
 * it is over; then they give back what they hold, which is not counted.
 */
#ifndef BMA_WORK_H
#define BMA_WORK_H

#include <pthread.h>
#include <stdatomic.h>

#include <bma/bpf_mem_alloc.h>

#include "bench.h"

/* Operations of a worker between two looks at whether it is over. */
#define WORK_STEP 256

struct source;
struct work;

enum work_phase {
	WORK_WARMS_UP,
	WORK_COUNTS,
	WORK_IS_OVER,
};

/* A queue between two threads, one that adds and one that takes. */
#define CHANNEL_SLOTS 4096

struct channel {
	_Alignas(CACHE_LINE) void *slots[CHANNEL_SLOTS];
	_Alignas(CACHE_LINE) _Atomic size_t added;
	_Alignas(CACHE_LINE) _Atomic size_t taken;
	_Atomic bool closed; /* nothing more will be added */
};

struct worker {
	_Alignas(CACHE_LINE) struct work *work;
	const struct role *role;
	size_t size; /* of an object */
	void *own; /* the source's */
	void **objects; /* in flight */
	uint32_t *order; /* 0 to nr - 1, shuffled */
	size_t nr; /* objects in flight, or in a batch */
	size_t at;
	size_t unpolled; /* objects retired since the last poll */
	struct channel *channel;
	struct histogram *allocs, *retires; /* in ticks */
	uint64_t overhead; /* of the clock, in ticks */
	unsigned int id; /* of its role */
	uint64_t done; /* operations, while it counts */
	uint64_t start_ns, end_ns, start_cpu_ns, cpu_ns;
	pthread_t thread;
	pid_t tid; /* before it has entered */
};

/* What some of the threads do. */
struct role {
	/* About WORK_STEP operations; returns how many.  work_fault() ends it. */
	size_t (*step)(struct worker *worker);
	/* After the last step; NULL: nothing. */
	void (*finish)(struct worker *worker);
	unsigned long nr; /* threads */
	bool reads; /* it does not allocate, and neither its operations nor its CPU time count */
	bool pinned; /* each to a CPU of its own */
};

struct work {
	const struct bench_run *run;
	const struct source *source;
	size_t nr; /* of each worker */
	struct channel *channels; /* one for each pair of workers; may be NULL */
	struct histogram *allocs, *retires; /* of the only worker; may be NULL */
	bool watches_limbo;
	_Alignas(CACHE_LINE) _Atomic unsigned int phase;
	_Atomic unsigned int entered; /* workers that are ready for their first step */
	_Atomic bool failed;
};

/* Of all threads, while it counted. */
struct work_sum {
	double operations;
	double seconds; /* of the clock */
	double cpu_seconds; /* of the process, readers excluded */
	uint64_t reads;
	double limbo_peak; /* bytes, looked at every millisecond; NAN: not known */
	uint64_t rss_before, rss_peak;
};

/*
 * Run the threads of @roles on @work, which has its source and run.  The source is opened before
 * and closed after.
 */
enum exit_code work_run(struct work *work, const struct role *roles, size_t nr_roles,
			struct work_sum *sum);

/* Something is wrong, and is said once: everybody go home. */
void work_fault(struct work *work, const char *what);

/* Put the calling thread onto the @index-th CPU, where that is allowed. */
void pin_to_cpu(unsigned int index);

/* Some names of figures. */
static inline double ns_per_operation(const struct work_sum *sum, unsigned long threads)
{
	return sum->seconds * 1e9 * (double)threads / sum->operations;
}

static inline double cpu_ns_per_operation(const struct work_sum *sum)
{
	return sum->cpu_seconds * 1e9 / sum->operations;
}

#endif /* BMA_WORK_H */
