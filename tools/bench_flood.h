/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * bench_flood.h - the parts of flood
 *
 *   bench_flood.c         the tables
 *   bench_flood_plot.c    limbo over time, as a picture
 *   bench_flood_run.c     one run of one contestant
 *   bench_flood_bma.c     contestants: bma, with each kind of readers
 *   bench_flood_urcu.c    malloc with liburcu's call_rcu and defer_rcu; readers of any flavour
 *   bench_flood_ck.c      malloc with Concurrency Kit's ck_epoch_call
 *
 * No flavour of liburcu is mapped here, as all of them meet in one program.
 */
#ifndef BMA_BENCH_FLOOD_H
#define BMA_BENCH_FLOOD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <bma/bpf_mem_alloc.h>

#include "bench.h"
#include "sampler.h"
#include "tool.h"

/* Pairs, or read sections, that a thread does between two looks at whether the run is over. */
#define FLOOD_BATCH 64

/* What a section reads, one after the other: some 30 ns, a multiple of what entering it takes. */
#define FLOOD_LOOKS 16

struct flood;

/* An updater or a reader. */
struct flood_thread {
	_Alignas(CACHE_LINE) struct flood *flood;
	const struct flood_role *role;
	pthread_t thread;
	void *own; /* the contestant's */
	uint64_t done; /* pairs or sections */
	uint64_t end_ns; /* when it had done them, before it left */
	uint8_t look; /* where a reader looks next */
};

/* What threads of a kind do; enter and leave may be NULL. */
struct flood_role {
	/* Before the first step; false after a message, and then the thread does nothing. */
	bool (*enter)(struct flood_thread *thread);
	/* FLOOD_BATCH pairs of alloc and deferred free, or read sections; false after a message. */
	bool (*step)(struct flood_thread *thread);
	/* After the last step; updaters see to it that all that they queued can be freed. */
	void (*leave)(struct flood_thread *thread);
};

struct rcu_flavor_struct;

struct flood_contestant {
	/* liburcu's readers; NULL: others. */
	const struct rcu_flavor_struct *flavor;
	bool counts_grace_periods;
	struct flood_role updater;
	struct flood_role reader;

	/* Before the first thread and after the last; 0, or -1 after a message. */
	int (*open)(struct flood *flood);
	int (*close)(struct flood *flood);
	/* May run beside the threads. */
	void (*measure)(const void *flood, struct memory_usage *usage);
};

extern const struct flood_contestant flood_bma;
extern const struct flood_contestant flood_bma_memb;
extern const struct flood_contestant flood_bma_mb;
extern const struct flood_contestant flood_bma_qsbr;
extern const struct flood_contestant flood_bma_bp;
extern const struct flood_contestant flood_call_rcu;
extern const struct flood_contestant flood_defer_rcu;
extern const struct flood_contestant flood_ck_epoch;

/* What came of one run, beside what its log says. */
struct flood_sum {
	double seconds;
	uint64_t pairs; /* of all updaters */
	uint64_t sections; /* of all readers */
	uint64_t grace_periods;
};

enum exit_code flood_run(const struct bench_run *run, struct flood_sum *sum);

/* What the threads of a run share. */
struct flood {
	const struct bench_run *run;
	const struct flood_contestant *how;
	struct flood_sum *sum;
	struct bpf_mem_alloc ma; /* bma's contestants */
	size_t chunk; /* the others': usable bytes of an object's chunk, header included */
	uint8_t ring[UINT8_MAX + 1]; /* where to look next */
	_Alignas(CACHE_LINE) _Atomic bool stop;
	_Atomic bool failed;
};

/* Something is wrong, and is said once: everybody go home. */
bool flood_fault(struct flood *flood, const char *what);

/* The inside of a read section. */
static inline void flood_look(struct flood_thread *t)
{
	const uint8_t *ring = t->flood->ring;
	uint8_t at = t->look;

	for (int i = 0; i < FLOOD_LOOKS; i++)
		at = ring[at];
	t->look = at;
}

/* Write the object that was allocated, as any user does. */
static inline void flood_touch(void *object)
{
	*(volatile unsigned char *)object = 1;
}

/* Readers, and updaters that are registered, of the contestant's flavour. */
bool flood_flavor_enter(struct flood_thread *thread);
bool flood_flavor_read(struct flood_thread *thread);
void flood_flavor_leave(struct flood_thread *thread);
#define FLOOD_FLAVOR_READER                                                                        \
	{                                                                                          \
		flood_flavor_enter, flood_flavor_read, flood_flavor_leave                          \
	}

/*
 * What contestants with malloc have in common: objects queued and not yet freed, in ledgers.
 * flood_malloc_open() takes the size of the header that goes before each object.
 */
int flood_malloc_open(struct flood *flood, size_t header);
int flood_malloc_close(struct flood *flood);
void flood_malloc_measure(const void *flood, struct memory_usage *usage);

/* Limbo over time, of each contestant's last run. */
void flood_draw(FILE *script, const struct bench_table *table);

#endif /* BMA_BENCH_FLOOD_H */
