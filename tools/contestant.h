/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * contestant.h - objects of one size for readers that hold them, from bma or from malloc
 *
 * The work is written once against a pool; the contestant decides where its objects come from, when a
 * retired one may be reused, and whose the readers are: liburcu's memb flavour's, or its own.
 *
 *   contestant_bma.c     bma, freed at once or after readers
 *   contestant_malloc.c  malloc with liburcu's call_rcu and defer_rcu, with ck_epoch_call
 */
#ifndef BMA_CONTESTANT_H
#define BMA_CONTESTANT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bma/bpf_mem_alloc.h>

#include "sampler.h"

struct pool {
	const struct contestant *how;
	size_t size;
	size_t chunk; /* what malloc has for one: its contestants only */
	struct bpf_mem_alloc ma; /* bma's contestants only */
};

/* Of a thread that reads, and of its sections. */
struct reader_calls {
	bool (*enter)(void);
	void (*leave)(void);
	void (*lock)(void);
	void (*unlock)(void);
};

struct contestant {
	const char *name;
	/* A retired object may be handed out again while a reader still looks at it. */
	bool reuses_at_once;
	/* Grace periods of this contestant can be counted. */
	bool counts_grace_periods;

	/* NULL: liburcu's. */
	const struct reader_calls *readers;

	/* 0 or a negative error number. */
	int (*open)(struct pool *pool);
	/* Each thread that retires, registered with liburcu, before and after; NULL: nothing. */
	int (*enter)(void);
	void (*leave)(void);
	/* Any thread that is registered with liburcu; NULL if there is no memory. */
	void *(*alloc)(struct pool *pool);
	/* Give back an object that readers may still see, or one that none ever saw. */
	void (*retire)(struct pool *pool, void *obj);
	void (*discard)(struct pool *pool, void *obj);
	/* "Held" is the contestant's to define.  May run beside all of the above. */
	void (*measure)(const struct pool *pool, struct memory_usage *usage);
	/* Wait, for a time with an end, until nothing is in limbo; NULL: that was when threads left. */
	void (*drain)(struct pool *pool);
	/* Let the pool go.  0, or -1 if the contestant's own books say that something went wrong. */
	int (*close)(struct pool *pool);
};

extern const struct contestant bma_free_contestant;
extern const struct contestant bma_free_rcu_contestant;
extern const struct contestant bma_built_in_contestant; /* free_rcu, with the built-in readers */
extern const struct contestant malloc_call_rcu_contestant;
extern const struct contestant malloc_defer_rcu_contestant;
extern const struct contestant malloc_ck_epoch_contestant;

/* Open @pool for objects of @size bytes; 0, or -1 after a message. */
int pool_open(struct pool *pool, const struct contestant *how, size_t size);

/* Drain and close @pool; 0, or -1 after a message. */
int pool_close(struct pool *pool);

/*
 * Be one of the threads that retire, and leave them again, outside a read section; false after a
 * message.
 */
bool pool_enter(const struct pool *pool);
void pool_leave(const struct pool *pool);

/* The calls that readers of @pool's objects make. */
const struct reader_calls *pool_readers(const struct pool *pool);

/* What @pool, a struct pool, holds: for a sampler. */
void pool_measure(const void *pool, struct memory_usage *usage);

#endif /* BMA_CONTESTANT_H */
