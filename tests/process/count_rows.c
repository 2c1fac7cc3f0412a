// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * count_rows.c - the child of test_counts.c: the paths that it counts
 */
#define _GNU_SOURCE
#include <semaphore.h>
#include <stdatomic.h>
#include <unistd.h>

#include "count.h"
#include "inlined.h"
#include "tracer.h"

#ifdef __x86_64__

/* Of objects; a kmalloc-like allocator has this class of them. */
#define SIZE 256
#define CLASS 6

static struct bpf_mem_alloc ma;
static void *objs[300];
static unsigned int nr_objs;
static int size;
static bool counting;

volatile uint64_t count_over, count_sample;

static struct bpf_mem_cache *cache(void)
{
	return &ma.group->caches[size ? 0 : CLASS];
}

static bma_obj_t *top(enum bma_top which)
{
	struct bma_cpu *block = ma.group->cpus[port_cpu()];

	return port_load(&bma_slot(cache(), block)->top[which], relaxed);
}

/* Is the next call to be traced?  One at an edge is, and of the others now and then one. */
#define SAMPLE 101

static bool is_traced(bool edge)
{
	static unsigned int calls;

	count_sample = !edge;
	return counting && (edge || ++calls % SAMPLE == 0);
}

static void stop_if(bool traced)
{
	if (traced)
		trace_stop();
}

static void take(void)
{
	bool traced = is_traced(!bma_top_count(cache(), top(BMA_LOADED)));
	void *obj;

	stop_if(traced);
	obj = size ? bpf_mem_cache_alloc(&ma) : bpf_mem_alloc(&ma, SIZE);
	stop_if(traced);
	must(obj);
	objs[nr_objs++] = obj;
}

static void give(void)
{
	bool traced = is_traced(bma_top_is_end(top(BMA_LOADED)));
	void *obj = objs[--nr_objs];

	stop_if(traced);
	size ? bpf_mem_cache_free(&ma, obj) : bpf_mem_free(&ma, obj);
	stop_if(traced);
}

static void give_rcu(void)
{
	bool traced = is_traced(bma_top_is_end(top(BMA_BY_RCU)));
	void *obj = objs[--nr_objs];

	stop_if(traced);
	size ? bpf_mem_cache_free_rcu(&ma, obj) : bpf_mem_free_rcu(&ma, obj);
	stop_if(traced);
}

/* --- fast paths --------------------------------------------------------------------------------- */

static void halfway(void)
{
	while (nr_objs < 20)
		take();
	while (nr_objs > 15)
		give();
	while (nr_objs > 10)
		give_rcu();
	must(!bma_top_is_end(top(BMA_LOADED)) && bma_top_count(cache(), top(BMA_LOADED)));
	must(!bma_top_is_end(top(BMA_BY_RCU)) && bma_top_count(cache(), top(BMA_BY_RCU)));
}

#define ALLOC(path, call)                                                                          \
	static void path(void)                                                                     \
	{                                                                                          \
		void *obj;                                                                         \
                                                                                                   \
		trace_stop();                                                                      \
		obj = call;                                                                        \
		trace_stop();                                                                      \
		objs[nr_objs++] = obj;                                                             \
	}
#define FREE(path, fn)                                                                             \
	static void path(void)                                                                     \
	{                                                                                          \
		void *obj = objs[--nr_objs];                                                       \
                                                                                                   \
		trace_stop();                                                                      \
		fn(&ma, obj);                                                                      \
		trace_stop();                                                                      \
	}

ALLOC(cache_alloc, bpf_mem_cache_alloc(&ma))
ALLOC(cache_alloc_flags, bpf_mem_cache_alloc_flags(&ma, GFP_KERNEL))
ALLOC(sized_alloc, bpf_mem_alloc(&ma, SIZE))
FREE(cache_free, bpf_mem_cache_free)
FREE(cache_free_rcu, bpf_mem_cache_free_rcu)
FREE(sized_free, bpf_mem_free)
FREE(sized_free_rcu, bpf_mem_free_rcu)
ALLOC(own_cache_alloc, inlined_cache_alloc(&ma))
ALLOC(own_cache_alloc_flags, inlined_cache_alloc_flags(&ma, GFP_KERNEL))
ALLOC(own_sized_alloc, inlined_alloc(&ma, SIZE))
FREE(own_cache_free, inlined_cache_free)
FREE(own_cache_free_rcu, inlined_cache_free_rcu)
FREE(own_sized_free, inlined_free)
FREE(own_sized_free_rcu, inlined_free_rcu)

/* Which are inline: each as a function that does nothing else. */
static __attribute__((noinline)) void read_lock(void)
{
	bpf_rcu_read_lock();
}

static __attribute__((noinline)) void read_unlock(void)
{
	bpf_rcu_read_unlock();
}

/* Not the thread's first section. */
static void outside(void)
{
	read_lock();
	read_unlock();
}

static void lock(void)
{
	trace_stop();
	read_lock();
	trace_stop();
	read_unlock();
}

static void unlock(void)
{
	read_lock();
	trace_stop();
	read_unlock();
	trace_stop();
}

/* --- over the edges ----------------------------------------------------------------------------- */

#define MANY 200
#define TURNS 4
#define PAIRS 900

static void in_turn(unsigned int turns, unsigned int many, void (*give_one)(void))
{
	while (turns--) {
		while (nr_objs < many)
			take();
		while (nr_objs)
			give_one();
	}
}

static void many_and_frees(void)
{
	in_turn(TURNS, MANY, give);
}

static void pairs_rcu(void)
{
	in_turn(PAIRS, 1, give_rcu);
}

/* --- */

#define FAST(fn, size, path)                                                                       \
	{                                                                                          \
#fn, size, halfway, path, { fn }, 1                                                \
	}
#define INLINED(fn, size, path, in)                                                                \
	{                                                                                          \
#fn ", inlined", size, halfway, path, { in }, 1                                    \
	}
/* First as often uncounted, so that as many magazines go round as it takes. */
#define EDGES(what, size, path, ops, alloc, free)                                                  \
	{                                                                                          \
#alloc what #free, size, path, path, { alloc, free }, ops                          \
	}

const struct row rows[] = {
	FAST(bpf_mem_cache_alloc, SIZE, cache_alloc),
	FAST(bpf_mem_cache_alloc_flags, SIZE, cache_alloc_flags),
	FAST(bpf_mem_cache_free, SIZE, cache_free),
	FAST(bpf_mem_cache_free_rcu, SIZE, cache_free_rcu),
	FAST(bpf_mem_alloc, 0, sized_alloc),
	FAST(bpf_mem_free, 0, sized_free),
	FAST(bpf_mem_free_rcu, 0, sized_free_rcu),
	INLINED(bpf_mem_cache_alloc, SIZE, own_cache_alloc, inlined_cache_alloc),
	INLINED(bpf_mem_cache_alloc_flags, SIZE, own_cache_alloc_flags, inlined_cache_alloc_flags),
	INLINED(bpf_mem_cache_free, SIZE, own_cache_free, inlined_cache_free),
	INLINED(bpf_mem_cache_free_rcu, SIZE, own_cache_free_rcu, inlined_cache_free_rcu),
	INLINED(bpf_mem_alloc, 0, own_sized_alloc, inlined_alloc),
	INLINED(bpf_mem_free, 0, own_sized_free, inlined_free),
	INLINED(bpf_mem_free_rcu, 0, own_sized_free_rcu, inlined_free_rcu),
	{ "bpf_rcu_read_lock", SIZE, outside, lock, { read_lock }, 1 },
	{ "bpf_rcu_read_unlock", SIZE, outside, unlock, { read_unlock }, 1 },
	EDGES(" x200, ", SIZE, many_and_frees, 2 * MANY * TURNS, bpf_mem_cache_alloc,
	      bpf_mem_cache_free),
	EDGES(", ", SIZE, pairs_rcu, 2 * PAIRS, bpf_mem_cache_alloc, bpf_mem_cache_free_rcu),
	EDGES(" x200, ", 0, many_and_frees, 2 * MANY * TURNS, bpf_mem_alloc, bpf_mem_free),
	EDGES(", ", 0, pairs_rcu, 2 * PAIRS, bpf_mem_alloc, bpf_mem_free_rcu),
};

const unsigned int nr_rows = sizeof(rows) / sizeof(*rows);

/* --- the child ---------------------------------------------------------------------------------- */

/*
 * A callback that stays in the reclaimer's thread: what that does meanwhile, and when, would make counts
 * differ.  It need not be woken then.
 */
static _Atomic bool held;
static sem_t release;

static void hold(struct bpf_rcu_head *head)
{
	(void)head;
	atomic_store(&held, true);
	while (sem_wait(&release))
		;
	atomic_store(&held, false);
}

static void play(const struct row *row)
{
	static struct bpf_rcu_head head;

	size = row->size;
	must(!bpf_mem_alloc_init(&ma, size, false));
	bpf_call_rcu(&head, hold);
	await(atomic_load(&held));
	row->before();
	counting = true;
	row->path();
	counting = false;
	count_over = true;
	trace_stop();
	count_over = false;
	while (nr_objs)
		give();
	must(!sem_post(&release));
	await(!atomic_load(&held));
	bpf_mem_alloc_destroy(&ma);
}

void count_child(void)
{
	unsigned int i;

	pin(0);
	must(!sem_init(&release, 0, 0));
	trace_me();
	for (i = 0; i < nr_rows; i++)
		play(&rows[i]);
	await_nothing_left();
	_exit(0);
}

#endif /* __x86_64__ */
