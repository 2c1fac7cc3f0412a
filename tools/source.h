/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * source.h - where objects come from, and how they are given back: each as its users would call it
 *
 * The loops that are measured are written once, below, and compiled into each source with its own
 * alloc and retire, so that a call of bma or malloc is as direct as in a user's program and nothing
 * of ours is between.  retire frees at once, or after readers.
 *
 *   source_bma.c     bma, fixed-size and kmalloc-like, free and free_rcu
 *   source_bma_called.c  bma, fixed-size, every call into the library
 *   source_malloc.c  malloc, and a thread-local array that has no safety at all
 *   source_urcu.c    malloc with liburcu's call_rcu and defer_rcu
 *   source_ck.c      malloc with Concurrency Kit's ck_epoch_call
 */
#ifndef BMA_SOURCE_H
#define BMA_SOURCE_H

#include "ticks.h"
#include "work.h"

struct source {
	bool waits; /* retire frees after readers */
	bool (*open)(struct work *work); /* false after a message */
	void (*close)(struct work *work);
	bool (*enter)(struct worker *t);
	void (*leave)(struct worker *t); /* all that it retired can then be freed */
	uint64_t (*limbo)(const struct work *work);
	/* WORK_STEP read sections */
	size_t (*read)(struct worker *t);
	/* Wait for a grace period. */
	void (*synchronize)(struct worker *t);

	void *(*alloc)(struct worker *t);
	void (*retire)(struct worker *t, void *object);

	/* The loops, as steps of a role. */
	size_t (*one)(struct worker *t);
	size_t (*many)(struct worker *t);
	size_t (*batch)(struct worker *t);
	size_t (*produce)(struct worker *t);
	size_t (*consume)(struct worker *t);
	size_t (*time)(struct worker *t);
};

/* bma's allocator, at file scope as a user would have it. */
extern struct bpf_mem_alloc source_ma;

bool bma_open(struct work *work);
void bma_close(struct work *work);

extern const struct source source_bma_free;
extern const struct source source_bma_called;
extern const struct source source_bma_free_rcu;
extern const struct source source_kmalloc_free;
extern const struct source source_kmalloc_free_rcu;
extern const struct source source_malloc;
extern const struct source source_array;
extern const struct source source_array_called;
extern const struct source source_ring;
extern const struct source source_call_rcu;
extern const struct source source_defer_rcu;
extern const struct source source_ck_epoch;

#ifdef BMA_HAVE_CK
#define CK_MISSING NULL
#else
#define CK_MISSING "bma was built without Concurrency Kit (Debian: libck-dev)"
#endif

/* The contestants that free at once. */
#define FREE_CONTESTANTS                                                                           \
	{ .name = "bma, fixed-size", .program = PROGRAM_SHARED, .how = &source_bma_free },         \
		{ .name = "bma, kmalloc-like",                                                     \
		  .program = PROGRAM_SHARED,                                                       \
		  .how = &source_kmalloc_free },                                                   \
		EACH_MALLOC("", &source_malloc)

/* And after readers. */
#define RCU_CONTESTANTS                                                                            \
	{ .name = "bma, fixed-size", .program = PROGRAM_SHARED, .how = &source_bma_free_rcu },     \
		{ .name = "bma, kmalloc-like",                                                     \
		  .program = PROGRAM_SHARED,                                                       \
		  .how = &source_kmalloc_free_rcu },                                               \
		EACH_MALLOC(" + call_rcu", &source_call_rcu),                                      \
		EACH_MALLOC(" + defer_rcu", &source_defer_rcu),                                    \
		EACH_MALLOC_UNLESS(CK_MISSING, " + ck_epoch_call", &source_ck_epoch)

#define ALWAYS_INLINE inline __attribute__((always_inline))

typedef void *alloc_fn(struct worker *t);
typedef void retire_fn(struct worker *t, void *object);

/*
 * Write the object, as any user does, for what the compiler must take for anybody's code: it can leave
 * out no pair of calls, and has to load again what its source keeps in memory.
 */
static ALWAYS_INLINE void touch(void *object)
{
	*(volatile unsigned char *)object = 1;
	__asm__ volatile("" : : "r"(object) : "memory");
}

/* As whoever it was handed over to does. */
static ALWAYS_INLINE void read_it(const void *object)
{
	*(const volatile unsigned char *)object;
}

static inline size_t no_memory(struct worker *t)
{
	work_fault(t->work, "an allocation failed");
	return 0;
}

/* Alloc and free, one in flight. */
static ALWAYS_INLINE size_t loop_one(struct worker *t, alloc_fn *alloc, retire_fn *retire)
{
	for (int i = 0; i < WORK_STEP; i++) {
		void *object = alloc(t);

		if (!object)
			return no_memory(t);
		touch(object);
		retire(t, object);
	}
	return WORK_STEP;
}

/* Alloc, and free the oldest of those in flight. */
static ALWAYS_INLINE size_t loop_many(struct worker *t, alloc_fn *alloc, retire_fn *retire)
{
	for (int i = 0; i < WORK_STEP; i++) {
		void **slot = &t->objects[t->at];
		void *object = alloc(t), *oldest = *slot;

		if (!object)
			return no_memory(t);
		touch(object);
		*slot = object;
		t->at = t->at + 1 < t->nr ? t->at + 1 : 0;
		if (oldest)
			retire(t, oldest);
	}
	return WORK_STEP;
}

/* Alloc as many as may be in flight, then free them in an order that has nothing to do with it. */
static ALWAYS_INLINE size_t loop_batch(struct worker *t, alloc_fn *alloc, retire_fn *retire)
{
	size_t nr = t->nr;

	for (size_t i = 0; i < nr; i++) {
		t->objects[i] = alloc(t);
		if (!t->objects[i])
			return no_memory(t);
		touch(t->objects[i]);
	}
	for (size_t i = 0; i < nr; i++) {
		void **slot = &t->objects[t->order[i]];

		retire(t, *slot);
		*slot = NULL;
	}
	return nr;
}

/* The same, with the time of each call. */
static ALWAYS_INLINE size_t loop_time(struct worker *t, alloc_fn *alloc, retire_fn *retire)
{
	size_t nr = t->nr;

	for (size_t i = 0; i < nr; i++) {
		uint64_t before = ticks_before();
		void *object = alloc(t);

		histogram_add(t->allocs, ticks_since(before, t->overhead));
		if (!object)
			return no_memory(t);
		touch(object);
		t->objects[i] = object;
	}
	for (size_t i = 0; i < nr; i++) {
		void *object = t->objects[t->order[i]];
		uint64_t before = ticks_before();

		retire(t, object);
		histogram_add(t->retires, ticks_since(before, t->overhead));
		t->objects[t->order[i]] = NULL;
	}
	return nr;
}

/* How many slots a producer may fill; waits a little if there is none. */
size_t channel_room(struct channel *channel);
/* How many a consumer may take; the same. */
size_t channel_ready(struct channel *channel);

static ALWAYS_INLINE size_t loop_produce(struct worker *t, alloc_fn *alloc, retire_fn *retire)
{
	size_t at = atomic_load_explicit(&t->channel->added, memory_order_relaxed);
	size_t nr = channel_room(t->channel);

	(void)retire;
	for (size_t i = 0; i < nr; i++) {
		void *object = alloc(t);

		if (!object)
			return no_memory(t);
		touch(object);
		t->channel->slots[(at + i) % CHANNEL_SLOTS] = object;
	}
	atomic_store_explicit(&t->channel->added, at + nr, memory_order_release);
	return nr;
}

static ALWAYS_INLINE size_t loop_consume(struct worker *t, alloc_fn *alloc, retire_fn *retire)
{
	size_t at = atomic_load_explicit(&t->channel->taken, memory_order_relaxed);
	size_t nr = channel_ready(t->channel);

	(void)alloc;
	for (size_t i = 0; i < nr; i++) {
		void *object = t->channel->slots[(at + i) % CHANNEL_SLOTS];

		read_it(object);
		retire(t, object);
	}
	atomic_store_explicit(&t->channel->taken, at + nr, memory_order_release);
	return nr;
}

/* Define the loops of a source whose functions are @alloc and @retire. */
#define DEFINE_LOOP(name, loop, alloc, retire)                                                     \
	static size_t name##_##loop(struct worker *t)                                              \
	{                                                                                          \
		return loop_##loop(t, alloc, retire);                                              \
	}
#define DEFINE_LOOPS(name, alloc, retire)                                                          \
	DEFINE_LOOP(name, one, alloc, retire)                                                      \
	DEFINE_LOOP(name, many, alloc, retire)                                                     \
	DEFINE_LOOP(name, batch, alloc, retire)                                                    \
	DEFINE_LOOP(name, produce, alloc, retire)                                                  \
	DEFINE_LOOP(name, consume, alloc, retire)                                                  \
	DEFINE_LOOP(name, time, alloc, retire)
#define LOOPS(name, its_alloc, its_retire)                                                         \
	.alloc = its_alloc, .retire = its_retire, .one = name##_one, .many = name##_many,          \
	.batch = name##_batch, .produce = name##_produce, .consume = name##_consume,               \
	.time = name##_time

#endif /* BMA_SOURCE_H */
