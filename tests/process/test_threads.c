// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_threads.c - no object has two owners
 *
 * Eight threads on all CPUs allocate, free, free_rcu and raw_free at random, hand objects to each other,
 * move between CPUs, end and begin anew.  Whoever gets an object stamps it, and must find it unowned and
 * its bytes as its last owner left them, or zero.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

#define THREADS 8
#define OWN 64
#define SHARED 256

/* The beginning of each object; the rest is filled with its seed. */
struct stamped {
	_Atomic uint64_t owner; /* 0: nobody */
	uint64_t seed, bytes;
};

struct arena {
	struct bpf_mem_alloc ma;
	bool sized, percpu;
	size_t size; /* of an object, or the largest */
	struct stamped *_Atomic shared[SHARED];
	unsigned long times;
};

struct worker {
	struct arena *a;
	uint64_t id, random;
	struct stamped *own[OWN];
	pthread_t thread;
};

static void *rest_of(struct stamped *s)
{
	return s + 1;
}

static bool is_intact(struct stamped *s)
{
	return !s->bytes || is_filled(rest_of(s), s->bytes - sizeof(*s), s->seed);
}

static struct stamped *take(struct worker *w)
{
	struct arena *a = w->a;
	size_t bytes = a->sized ? rnd(&w->random) % (a->size - sizeof(struct stamped)) +
					  sizeof(struct stamped) :
				  a->size;
	struct stamped *s = a->sized ? bpf_mem_alloc(&a->ma, bytes) : bpf_mem_cache_alloc(&a->ma);
	uint64_t nobody = 0;

	must(s);
	/* A recycled one has debug mode's pattern. */
	if (in_debug_mode())
		memset(s, 0, sizeof(*s));
	must(atomic_compare_exchange_strong(&s->owner, &nobody, w->id));
	must(is_intact(s));
	s->bytes = bytes;
	s->seed = rnd(&w->random);
	fill(rest_of(s), bytes - sizeof(*s), s->seed);
	return s;
}

static void give_back(struct worker *w, struct stamped *s)
{
	uint64_t how = rnd(&w->random) % 16;

	must(atomic_load(&s->owner) == w->id);
	must(is_intact(s));
	atomic_store(&s->owner, 0);
	if (how == 0)
		bpf_mem_cache_raw_free(s);
	else if (how < 8)
		bpf_mem_free(&w->a->ma, s);
	else
		bpf_mem_free_rcu(&w->a->ma, s);
}

/* Put @s (or nothing) where others find it, and take what was there. */
static struct stamped *swap_shared(struct worker *w, struct stamped *s)
{
	struct stamped *_Atomic *place = &w->a->shared[rnd(&w->random) % SHARED];

	s = atomic_exchange(place, s);
	if (s) {
		must(is_intact(s));
		atomic_store(&s->owner, w->id);
	}
	return s;
}

static void step(struct worker *w)
{
	struct stamped **place = &w->own[rnd(&w->random) % OWN];

	switch (rnd(&w->random) % 4) {
	case 0:
		*place = swap_shared(w, *place);
		break;
	case 1:
		if (*place)
			give_back(w, *place);
		*place = NULL;
		break;
	default:
		if (*place)
			give_back(w, *place);
		*place = take(w);
	}
	if (rnd(&w->random) % 512 == 0)
		pin((unsigned int)(rnd(&w->random) >> 40));
}

/* A thread's life; what it owns when it ends it leaves to others. */
static void *live(void *arg)
{
	struct worker *w = arg;
	unsigned long i;

	for (i = 0; i < w->a->times; i++)
		step(w);
	for (i = 0; i < OWN; i++) {
		w->own[i] = swap_shared(w, w->own[i]);
		if (w->own[i])
			give_back(w, w->own[i]);
		w->own[i] = NULL;
	}
	return NULL;
}

static void run(struct arena *a, unsigned int generations)
{
	static struct worker w[THREADS];
	unsigned int g, i;

	for (g = 0; g < generations; g++) {
		for (i = 0; i < THREADS; i++) {
			w[i] = (struct worker){ .a = a, .id = i + 1, .random = g * 100 + i + 1 };
			thread_start(&w[i].thread, live, &w[i]);
		}
		for (i = 0; i < THREADS; i++)
			thread_join(w[i].thread);
	}
	for (i = 0; i < SHARED; i++) {
		struct stamped *s = atomic_exchange(&a->shared[i], NULL);

		must(!s || is_intact(s));
		if (s)
			atomic_store(&s->owner, 0);
		bpf_mem_free_rcu(&a->ma, s);
	}
}

static void check(int size, size_t bytes, bool percpu, unsigned long times)
{
	static struct arena a;
	uint64_t lost = process_stats().never_freed;

	memset(&a, 0, sizeof(a));
	a.sized = !size;
	a.percpu = percpu;
	a.size = bytes;
	a.times = turns(times, times * 100);
	assert_int_equal(bpf_mem_alloc_init(&a.ma, size, percpu), 0);
	run(&a, 5);
	assert_int_equal(stats_of(&a.ma).objs_in_use, 0);
	assert_int_equal(stats_of(&a.ma).bad_frees, 0);
	bpf_mem_alloc_destroy(&a.ma);
	await_nothing_left();
	assert_int_equal(process_stats().never_freed, lost);
}

static void test_fixed(void **state)
{
	(void)state;
	check(64, 64, false, 20000);
}

static void test_odd_size(void **state)
{
	(void)state;
	check(200, 200, false, 20000);
}

static void test_large(void **state)
{
	(void)state;
	check(40000, 40000, false, 300);
}

static void test_sized(void **state)
{
	(void)state;
	check(0, 4096, false, 4000);
}

static void test_percpu(void **state)
{
	(void)state;
	check(48, 48, true, 20000);
}

/* Many short threads; what each leaves behind is found again by the others. */
static void *be_short(void *arg)
{
	struct bpf_mem_alloc *ma = arg;
	void *objs[10];
	int i;

	for (i = 0; i < 10; i++) {
		objs[i] = bpf_mem_cache_alloc(ma);
		must(objs[i]);
	}
	for (i = 0; i < 10; i++)
		bpf_mem_cache_free(ma, objs[i]);
	return NULL;
}

static void test_short_threads(void **state)
{
	unsigned long n = turns(1000, 10000), i;
	struct bpf_mem_alloc ma;
	pthread_t threads[4];

	(void)state;
	assert_int_equal(bpf_mem_alloc_init(&ma, 256, false), 0);
	for (i = 0; i < n; i++) {
		thread_start(&threads[i % 4], be_short, &ma);
		if (i % 4 == 3) {
			thread_join(threads[0]);
			thread_join(threads[1]);
			thread_join(threads[2]);
			thread_join(threads[3]);
		}
	}
	for (i = n - n % 4; i < n; i++)
		thread_join(threads[i % 4]);
	assert_int_equal(stats_of(&ma).objs_in_use, 0);
	/* Nothing was taken that need not be: a few magazines, and not one for each thread. */
	assert_true(stats_of(&ma).spans <= 16);
	bpf_mem_alloc_destroy(&ma);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_fixed, check_nothing_left),
		cmocka_unit_test_teardown(test_odd_size, check_nothing_left),
		cmocka_unit_test_teardown(test_large, check_nothing_left),
		cmocka_unit_test_teardown(test_sized, check_nothing_left),
		cmocka_unit_test_teardown(test_percpu, check_nothing_left),
		cmocka_unit_test_teardown(test_short_threads, check_nothing_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
