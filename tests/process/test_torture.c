// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_torture.c - no reader ever sees an object reused inside its section
 *
 * Readers gather what is published in some places and look at it again and again; updaters replace it and
 * free it with free_rcu.  Each object is stamped, and its next owner poisons it before anything else.
 * For each flavour, for our own readers, and for those with real barriers, where membarrier() is denied.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

#define MAGIC 0x5eed0b7ec7u
#define POISON 0xdeadbeefdeadbeefu
#define PLACES 24
#define LOOKS 4
#define UPDATERS 2
#define READERS 3

/* Words are atomic, as a reader may look while a bug writes; relaxed, so that they order nothing. */
struct stamped {
	_Atomic uint64_t magic, generation, not_generation, rest[5];
};

struct torture {
	const struct rcu_flavor_struct *flavor;
	struct bpf_mem_alloc ma;
	struct stamped *_Atomic place[PLACES];
	_Atomic uint64_t generation;
	_Atomic bool stop;
	_Atomic unsigned long reads, updates, reused;
};

#define get(p) atomic_load_explicit((p), memory_order_relaxed)
#define set(p, v) atomic_store_explicit((p), (v), memory_order_relaxed)

static void poison(struct stamped *obj)
{
	int i;

	set(&obj->magic, POISON);
	set(&obj->generation, POISON);
	set(&obj->not_generation, POISON);
	for (i = 0; i < 5; i++)
		set(&obj->rest[i], POISON);
}

static void stamp(struct stamped *obj, uint64_t generation)
{
	int i;

	set(&obj->generation, generation);
	set(&obj->not_generation, ~generation);
	for (i = 0; i < 5; i++)
		set(&obj->rest[i], generation + (uint64_t)i);
	set(&obj->magic, MAGIC);
}

static bool is_stamped(struct stamped *obj, uint64_t generation)
{
	int i;

	if (get(&obj->magic) != MAGIC || get(&obj->generation) != generation ||
	    get(&obj->not_generation) != ~generation)
		return false;
	for (i = 0; i < 5; i++)
		if (get(&obj->rest[i]) != generation + (uint64_t)i)
			return false;
	return true;
}

/* One section: all places, some looks at each, and now and then a pause in between. */
static void traverse(struct torture *t, uint64_t *random)
{
	struct stamped *obj[PLACES];
	uint64_t generation[PLACES];
	int i, look;

	reader_enter(t->flavor);
	for (i = 0; i < PLACES; i++) {
		obj[i] = atomic_load_explicit(&t->place[i], memory_order_acquire);
		generation[i] = get(&obj[i]->generation);
	}
	for (look = 0; look < LOOKS; look++) {
		for (i = 0; i < PLACES; i++)
			must(is_stamped(obj[i], generation[i]));
		if (rnd(random) % 64 == 0)
			sched_yield();
		if (rnd(random) % 1024 == 0)
			sleep_us(300);
	}
	reader_leave(t->flavor);
}

static void *read_places(void *arg)
{
	struct torture *t = arg;
	uint64_t random = (uintptr_t)&random | 1;

	t->flavor->register_thread();
	while (!atomic_load(&t->stop)) {
		traverse(t, &random);
		atomic_fetch_add_explicit(&t->reads, 1, memory_order_relaxed);
	}
	t->flavor->unregister_thread();
	return NULL;
}

static struct stamped *new_object(struct torture *t)
{
	struct stamped *obj = bpf_mem_cache_alloc(&t->ma);

	must(obj);
	if (get(&obj->magic) == MAGIC)
		atomic_fetch_add_explicit(&t->reused, 1, memory_order_relaxed);
	poison(obj);
	return obj;
}

/* A few of them one after the other, as grace periods share what comes together. */
static void *replace_places(void *arg)
{
	struct torture *t = arg;
	uint64_t random = (uintptr_t)&random | 1;
	struct stamped *obj, *old;
	int i;

	while (!atomic_load(&t->stop)) {
		for (i = 0; i < 32; i++) {
			obj = new_object(t);
			stamp(obj, atomic_fetch_add(&t->generation, 1));
			old = atomic_exchange_explicit(&t->place[rnd(&random) % PLACES], obj,
						       memory_order_acq_rel);
			bpf_mem_cache_free_rcu(&t->ma, old);
		}
		atomic_fetch_add_explicit(&t->updates, 32, memory_order_relaxed);
		/* Others take and leave objects that were never seen. */
		bpf_mem_cache_free(&t->ma, new_object(t));
		if (rnd(&random) % 16 == 0)
			sleep_us(rnd(&random) % 200);
	}
	return NULL;
}

static void torture(const char *name, const struct rcu_flavor_struct *flavor)
{
	struct torture t = { .flavor = flavor };
	pthread_t reader[READERS], updater[UPDATERS];
	double until;
	int i;

	must(!init_for(&t.ma, sizeof(struct stamped), false, flavor));
	for (i = 0; i < PLACES; i++) {
		t.place[i] = new_object(&t);
		stamp(t.place[i], t.generation++);
	}
	for (i = 0; i < READERS; i++)
		thread_start(&reader[i], read_places, &t);
	for (i = 0; i < UPDATERS; i++)
		thread_start(&updater[i], replace_places, &t);
	until = now() + (is_long() ? 20 : 0.8);
	await(now() > until && atomic_load(&t.reads) > 100 && atomic_load(&t.reused) > 100);
	atomic_store(&t.stop, true);
	for (i = 0; i < READERS; i++)
		thread_join(reader[i]);
	for (i = 0; i < UPDATERS; i++)
		thread_join(updater[i]);
	for (i = 0; i < PLACES; i++)
		bpf_mem_cache_free_rcu(&t.ma, t.place[i]);
	printf("# %s: %lu sections, %lu updates, %lu objects reused, %lu grace periods\n", name,
	       t.reads, t.updates, t.reused, (unsigned long)stats_of(&t.ma).grace_periods);
	must(!stats_of(&t.ma).objs_in_use);
	bpf_mem_alloc_destroy(&t.ma);
	await_nothing_left();
}

static void test_torture(void **state)
{
	const struct flavor *f = *state;

	/* It knows reuse by what a recycled object held, which is debug mode's pattern. */
	if (in_debug_mode())
		skip_because("debug mode does not keep what a freed object held");
	torture(f->name, f->ops);
}

/* The library decides before main, so it takes another process. */
static void test_fenced(void **state)
{
	(void)state;
	need_filters();
	if (in_debug_mode())
		skip_because("debug mode does not keep what a freed object held");
	assert_true(run_without_membarrier(EPERM, "fenced", NULL));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fenced),
		ALL_FLAVORS(test_torture, NULL, check_nothing_left),
	};

	if (argc > 1) {
		must(!strcmp(argv[1], "fenced") && bpf_rcu_readers_fence_);
		torture("own, with real barriers", flavors[OWN].ops);
		return 0;
	}
	must(!bpf_rcu_readers_fence_ || TEST_TSAN || under_valgrind());
	return cmocka_run_group_tests(tests, NULL, NULL);
}
