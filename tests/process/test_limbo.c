// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_limbo.c - what waits for readers is little, bounded, and does not stay longer than it must
 */
#define _GNU_SOURCE
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "port.h"
#include "util.h"

#define SIZE 64
#define PER_MAGAZINE 62

/* --- the limit ----------------------------------------------------------------------------------- */

#define LIMIT (32 << 10)
#define MANY (4 * LIMIT / SIZE)

/* alloc and free_rcu until alloc says no, or @max times; how often it did not. */
static unsigned int pairs(struct bpf_mem_alloc *ma, unsigned int max)
{
	unsigned int n;
	void *obj;

	for (n = 0; n < max && (obj = bpf_mem_cache_alloc(ma)); n++)
		bpf_mem_cache_free_rcu(ma, obj);
	return n;
}

/* With a reader inside: NULL at the limit, and not before; free and free_rcu go on beyond it. */
static void test_refusal(void **state)
{
	const struct flavor *f = *state;
	static void *objs[MANY];
	struct bpf_mem_alloc ma;
	struct bpf_mem_stats s;
	struct sitter reader;
	unsigned int n, i;

	assert_int_equal(init_for(&ma, SIZE, false, f->ops), 0);
	bpf_mem_alloc_set_limbo_limit(&ma, LIMIT);
	for (i = 0; i < MANY; i++)
		objs[i] = bpf_mem_cache_alloc(&ma);
	sitter_begin(&reader, f->ops);
	n = pairs(&ma, MANY);
	/* What is on the CPU does not count, and what is there to be had may still be had. */
	assert_in_range(n, LIMIT / SIZE, LIMIT / SIZE + 5 * PER_MAGAZINE);
	s = stats_of(&ma);
	assert_int_equal(s.limbo_refusals, 1);
	assert_int_equal(s.refusals, 1);
	assert_int_equal(s.limbo_waits, 0);
	assert_null(bpf_mem_cache_alloc_flags(&ma, GFP_NOWAIT));
	assert_null(bpf_mem_cache_alloc_flags(&ma, GFP_ATOMIC));
	assert_int_equal(stats_of(&ma).limbo_refusals, 3);
	for (i = 0; i < MANY - 1; i++)
		bpf_mem_cache_free_rcu(&ma, objs[i]);
	assert_int_equal(stats_of(&ma).objs_waiting_rcu, n + MANY - 1);
	assert_int_equal(stats_of(&ma).limbo_refusals, 3);
	/* What is freed can be had all the same. */
	bpf_mem_cache_free(&ma, objs[i]);
	assert_ptr_equal(bpf_mem_cache_alloc(&ma), objs[i]);
	bpf_mem_cache_free(&ma, objs[i]);
	sitter_end(&reader);
	/* The readers have left: all is well again. */
	await(bpf_mem_cache_alloc(&ma) != NULL);
	await(!stats_of(&ma).objs_waiting_rcu);
	assert_int_equal(stats_of(&ma).objs_in_use, 1);
	pin(0);
	assert_int_equal(pairs(&ma, 10), 10);
	unpin();
	stderr_begin();
	bpf_mem_alloc_destroy(&ma);
	await_nothing_left();
	stderr_end();
	assert_true(process_stats().limbo_refusals >= 3);
}

/* No bound at first, and none with 0. */
static void test_no_limit(void **state)
{
	const struct flavor *f = *state;
	struct bpf_mem_alloc ma;
	struct sitter reader;

	assert_int_equal(init_for(&ma, SIZE, false, f->ops), 0);
	sitter_begin(&reader, f->ops);
	assert_int_equal(pairs(&ma, MANY), MANY);
	bpf_mem_alloc_set_limbo_limit(&ma, LIMIT);
	assert_true(pairs(&ma, MANY) < 3 * PER_MAGAZINE);
	bpf_mem_alloc_set_limbo_limit(&ma, 0);
	assert_int_equal(pairs(&ma, MANY), MANY);
	sitter_end(&reader);
	bpf_mem_alloc_destroy(&ma);
	await_nothing_left();
}

/* Of all classes of a kmalloc-like allocator together. */
static void test_limit_of_classes(void **state)
{
	const struct flavor *f = *state;
	struct bpf_mem_alloc ma;
	struct sitter reader;
	int i;

	assert_int_equal(init_for(&ma, 0, false, f->ops), 0);
	bpf_mem_alloc_set_limbo_limit(&ma, LIMIT);
	sitter_begin(&reader, f->ops);
	for (i = 0; i < 1000; i++)
		bpf_mem_free_rcu(&ma, bpf_mem_alloc(&ma, 1000));
	assert_true(stats_of(&ma).limbo_refusals > 0);
	/* Nothing of this size waits. */
	assert_null(bpf_mem_alloc(&ma, 16));
	sitter_end(&reader);
	await(!stats_of(&ma).objs_waiting_rcu);
	bpf_mem_free(&ma, bpf_mem_alloc(&ma, 16));
	assert_int_equal(stats_of(&ma).objs_in_use, 0);
	bpf_mem_alloc_destroy(&ma);
	await_nothing_left();
}

/* GFP_KERNEL waits until the reader has left, and then has an object. */
struct waiter {
	struct bpf_mem_alloc *ma;
	void *obj;
	_Atomic bool done;
	pthread_t thread;
};

static void *wait_for_one(void *arg)
{
	struct waiter *w = arg;

	w->obj = bpf_mem_cache_alloc_flags(w->ma, GFP_KERNEL);
	atomic_store(&w->done, true);
	return NULL;
}

static void test_wait(void **state)
{
	const struct flavor *f = *state;
	struct waiter w[3] = { 0 };
	struct bpf_mem_alloc ma;
	struct sitter reader;
	int i;

	assert_int_equal(init_for(&ma, SIZE, false, f->ops), 0);
	bpf_mem_alloc_set_limbo_limit(&ma, LIMIT);
	sitter_begin(&reader, f->ops);
	/* On each CPU there may be some left. */
	for (i = 0; i < (int)nr_cpus_here(); i++) {
		pin((unsigned int)i);
		assert_true(pairs(&ma, MANY) < MANY);
	}
	unpin();
	for (i = 0; i < 3; i++) {
		w[i].ma = &ma;
		thread_start(&w[i].thread, wait_for_one, &w[i]);
	}
	sleep_us(100000);
	for (i = 0; i < 3; i++)
		assert_false(atomic_load(&w[i].done));
	sitter_end(&reader);
	for (i = 0; i < 3; i++) {
		thread_join(w[i].thread);
		assert_non_null(w[i].obj);
		bpf_mem_cache_free(&ma, w[i].obj);
	}
	assert_int_equal(stats_of(&ma).limbo_waits, 3);
	/* The refusals are those of pairs(). */
	assert_int_equal(stats_of(&ma).limbo_refusals, nr_cpus_here());
	bpf_mem_alloc_destroy(&ma);
	await_nothing_left();
}

/* Inside a section of the kind that it would wait for, it does not wait; a QSBR thread goes offline. */
static void test_wait_inside(void **state)
{
	const struct flavor *f = *state;
	struct bpf_mem_alloc ma;
	void *obj;

	assert_int_equal(init_for(&ma, SIZE, false, f->ops), 0);
	bpf_mem_alloc_set_limbo_limit(&ma, LIMIT);
	pin(0);
	f->ops->register_thread();
	reader_enter(f->ops);
	assert_true(pairs(&ma, MANY) < MANY);
	obj = bpf_mem_cache_alloc_flags(&ma, GFP_KERNEL);
	assert_int_equal(obj != NULL, is_qsbr(f->ops));
	bpf_mem_cache_free(&ma, obj);
	assert_true(f->ops->read_ongoing());
	reader_leave(f->ops);
	rcu_read_lock_trace();
	obj = bpf_mem_cache_alloc_flags(&ma, GFP_KERNEL);
	assert_non_null(obj);
	bpf_mem_cache_free(&ma, obj);
	rcu_read_unlock_trace();
	f->ops->unregister_thread();
	unpin();
	bpf_mem_alloc_destroy(&ma);
	await_nothing_left();
}

/* From half of the limit on grace periods are hurried; without one, so little does not hurry them. */
static uint64_t hurries_with(const struct rcu_flavor_struct *flavor, size_t limit)
{
	struct bpf_mem_alloc ma;
	uint64_t hurries;
	int i;

	must(!init_for(&ma, SIZE, false, flavor));
	bpf_mem_alloc_set_limbo_limit(&ma, limit);
	for (i = 0; i < 3; i++) {
		must(pairs(&ma, 5 * PER_MAGAZINE) == 5 * PER_MAGAZINE);
		await(!stats_of(&ma).objs_waiting_rcu);
	}
	hurries = stats_of(&ma).hurries;
	must(stats_of(&ma).grace_periods > 0);
	bpf_mem_alloc_destroy(&ma);
	await_nothing_left();
	return hurries;
}

static void test_hurry(void **state)
{
	const struct flavor *f = *state;

	assert_int_equal(hurries_with(f->ops, 0), 0);
	assert_int_equal(hurries_with(f->ops, 20 * PER_MAGAZINE * SIZE), 0);
	assert_true(hurries_with(f->ops, 6 * PER_MAGAZINE * SIZE) > 0);
}

static void test_not_an_allocator(void **state)
{
	struct bpf_mem_alloc ma = { 0 };

	(void)state;
	stderr_begin();
	bpf_mem_alloc_set_limbo_limit(&ma, 1000);
	assert_non_null(
		strstr(stderr_end(), "bpf_mem_alloc_set_limbo_limit: not an allocator: 0x"));
}

/* --- nothing stays behind ------------------------------------------------------------------------ */

/*
 * Objects that a thread freed on a CPU before it went to sleep, or exited.  Best of several tries, as the
 * machine may be busy; the one call that looks comes after the time is up.
 */
#define IN_TIME_US 100000

struct idler {
	struct bpf_mem_alloc *ma;
	unsigned int cpu;
	bool stays;
	_Atomic bool freed, leave;
	pthread_t thread;
};

static void *free_and_idle(void *arg)
{
	struct idler *i = arg;
	void *objs[100];
	int n;

	pin(i->cpu);
	for (n = 0; n < 100; n++)
		objs[n] = bpf_mem_cache_alloc(i->ma);
	for (n = 0; n < 100; n++)
		bpf_mem_cache_free_rcu(i->ma, objs[n]);
	atomic_store(&i->freed, true);
	while (i->stays && !atomic_load(&i->leave))
		sleep_us(1000);
	return NULL;
}

static bool back_in_time(const struct rcu_flavor_struct *flavor, bool stays, unsigned int cpu)
{
	struct bpf_mem_alloc ma;
	struct idler i = { .ma = &ma, .cpu = cpu, .stays = stays };
	uint64_t left;

	must(!init_for(&ma, SIZE, false, flavor));
	thread_start(&i.thread, free_and_idle, &i);
	await(atomic_load(&i.freed));
	if (!stays)
		thread_join(i.thread);
	sleep_us(IN_TIME_US);
	left = stats_of(&ma).objs_waiting_rcu;
	if (stays) {
		atomic_store(&i.leave, true);
		thread_join(i.thread);
	}
	bpf_mem_alloc_destroy(&ma);
	await_nothing_left();
	return !left;
}

static void test_idle(void **state)
{
	const struct flavor *f = *state;
	unsigned int tries, stays;

	for (stays = 0; stays < 2; stays++) {
		for (tries = 0; tries < 10 && !back_in_time(f->ops, stays, tries); tries++)
			;
		if (is_plain())
			assert_true(tries < 10);
	}
}

/* --- the flood, with the reclaimer starved ------------------------------------------------------- */

#define PEAK ((size_t)4 << 20)
#define UPDATERS 2

struct flood {
	struct bpf_mem_alloc ma;
	unsigned long pairs;
	_Atomic unsigned int running;
	_Atomic bool stop;
	void *_Atomic shared;
};

static void *update(void *arg)
{
	struct flood *f = arg;
	unsigned long i;
	uint64_t *obj;

	for (i = 0; i < f->pairs; i++) {
		obj = bpf_mem_cache_alloc(&f->ma);
		must(obj);
		obj[0] = obj[7] = i;
		if (i % 1024 == 0)
			obj = atomic_exchange_explicit(&f->shared, obj, memory_order_acq_rel);
		if (obj)
			bpf_mem_cache_free_rcu(&f->ma, obj);
	}
	atomic_fetch_sub(&f->running, 1);
	return NULL;
}

static void *read_on(void *arg)
{
	struct flood *f = arg;
	volatile uint64_t *obj;

	while (!atomic_load(&f->stop)) {
		bpf_rcu_read_lock();
		obj = atomic_load_explicit(&f->shared, memory_order_acquire);
		must(!obj || obj[0] == obj[7]);
		bpf_rcu_read_unlock();
	}
	return NULL;
}

/* Returns the peak of limbo; no round of the reclaimer runs meanwhile. */
static size_t flood_once(unsigned long pairs)
{
	struct flood f = { .pairs = pairs, .running = UPDATERS };
	pthread_t updater[UPDATERS], reader;
	size_t peak = 0, bytes;
	double start = now();
	int i;

	must(!bpf_mem_alloc_init(&f.ma, SIZE, false));
	port_reclaim_lock();
	thread_start(&reader, read_on, &f);
	for (i = 0; i < UPDATERS; i++)
		thread_start(&updater[i], update, &f);
	while (atomic_load(&f.running)) {
		bytes = stats_of(&f.ma).bytes_waiting_rcu;
		peak = bytes > peak ? bytes : peak;
		sleep_us(300);
	}
	for (i = 0; i < UPDATERS; i++)
		thread_join(updater[i]);
	printf("# %.1f ns a pair, peak limbo %zu KiB, %lu grace periods\n",
	       1e9 * (now() - start) / (double)(UPDATERS * pairs), peak >> 10,
	       (unsigned long)stats_of(&f.ma).grace_periods);
	atomic_store(&f.stop, true);
	thread_join(reader);
	port_reclaim_unlock();
	bpf_mem_cache_free_rcu(&f.ma, f.shared);
	must(!stats_of(&f.ma).objs_in_use && !stats_of(&f.ma).refusals);
	bpf_mem_alloc_destroy(&f.ma);
	await_nothing_left();
	return peak;
}

/* The machine may be busy with something else: the best of some, and twice what is promised. */
static void test_flood(void **state)
{
	size_t peak, best = SIZE_MAX;
	int i;

	(void)state;
	for (i = 0; i < 10 && best > 2 * PEAK; i++) {
		peak = flood_once(turns(4000000, 50000000));
		best = peak < best ? peak : best;
	}
	if (is_plain())
		assert_true(best <= 2 * PEAK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ALL_FLAVORS(test_refusal, NULL, check_nothing_left),
		ALL_FLAVORS(test_no_limit, NULL, check_nothing_left),
		ALL_FLAVORS(test_limit_of_classes, NULL, check_nothing_left),
		ALL_FLAVORS(test_wait, NULL, check_nothing_left),
		ALL_FLAVORS(test_wait_inside, NULL, check_nothing_left),
		ALL_FLAVORS(test_hurry, NULL, check_nothing_left),
		cmocka_unit_test(test_not_an_allocator),
		ALL_FLAVORS(test_idle, NULL, check_nothing_left),
		cmocka_unit_test_teardown(test_flood, check_nothing_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
