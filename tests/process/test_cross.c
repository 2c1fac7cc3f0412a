// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_cross.c - objects that are allocated on one CPU and freed on another do not pile up there
 *
 * A producer and a consumer, pinned to different CPUs, with a ring between them.  Each case runs in a
 * child of its own.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>

#include "util.h"

#define RING 1024
/* What is in flight, and what the other CPU's magazines and the depot may hold of it. */
#define TOLERANCE ((size_t)4 << 20)

struct cross {
	struct bpf_mem_alloc ma;
	void (*free)(struct bpf_mem_alloc *ma, void *obj);
	unsigned long objects;
	_Atomic unsigned long produced, consumed;
	void *ring[RING];
};

static void *produce(void *arg)
{
	struct cross *c = arg;
	unsigned long i;

	pin(0);
	for (i = 0; i < c->objects; i++) {
		uint64_t *obj = bpf_mem_cache_alloc(&c->ma);

		must(obj);
		*obj = i;
		while (i - atomic_load_explicit(&c->consumed, memory_order_acquire) >= RING)
			sched_yield();
		c->ring[i % RING] = obj;
		atomic_store_explicit(&c->produced, i + 1, memory_order_release);
	}
	return NULL;
}

static void *consume(void *arg)
{
	struct cross *c = arg;
	unsigned long i;

	pin(1);
	for (i = 0; i < c->objects; i++) {
		uint64_t *obj;

		while (atomic_load_explicit(&c->produced, memory_order_acquire) <= i)
			sched_yield();
		obj = c->ring[i % RING];
		must(*obj == i);
		c->free(&c->ma, obj);
		atomic_store_explicit(&c->consumed, i + 1, memory_order_release);
	}
	return NULL;
}

/* The largest RSS until the first moment, and from then on. */
static void watch(struct cross *c, double moment, size_t *first, size_t *later)
{
	double start = now();
	size_t bytes;

	*first = *later = rss();
	while (atomic_load(&c->consumed) < c->objects) {
		sleep_us(10000);
		bytes = rss();
		if (now() < start + moment)
			*first = bytes > *first ? bytes : *first;
		else
			*later = bytes > *later ? bytes : *later;
	}
}

static void cross(void *arg)
{
	struct cross *c = arg;
	double moment = is_long() ? 1 : 0.3, start = now();
	pthread_t producer, consumer;
	size_t first, later;

	must(!bpf_mem_alloc_init(&c->ma, 128, false));
	c->objects = turns(5000000, 100000000);
	thread_start(&producer, produce, c);
	thread_start(&consumer, consume, c);
	watch(c, moment, &first, &later);
	thread_join(producer);
	thread_join(consumer);
	printf("# %lu objects, %.1f ns each; RSS in the first %.1f s %zu KiB, later %zu KiB; %lu spans\n",
	       c->objects, 1e9 * (now() - start) / (double)c->objects, moment, first >> 10,
	       later >> 10, (unsigned long)stats_of(&c->ma).spans);
	fflush(stdout);
	must(!stats_of(&c->ma).objs_in_use);
	bpf_mem_alloc_destroy(&c->ma);
	await_nothing_left();
	if (is_plain())
		must(later <= first + TOLERANCE);
}

static void cross_with(void (*fn)(struct bpf_mem_alloc *ma, void *obj))
{
	static struct cross c;

	if (nr_cpus_here() < 2)
		skip_because("one CPU");
	c.free = fn;
	assert_true(in_child(cross, &c));
}

static void test_cross_free(void **state)
{
	(void)state;
	cross_with(bpf_mem_cache_free);
}

static void test_cross_free_rcu(void **state)
{
	(void)state;
	cross_with(bpf_mem_cache_free_rcu);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cross_free),
		cmocka_unit_test(test_cross_free_rcu),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
