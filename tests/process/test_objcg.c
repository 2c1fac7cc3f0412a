// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_objcg.c - accounts: what is charged, what the limit refuses, and GFP_KERNEL's wait at the limit
 */
#define _GNU_SOURCE
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

#define SIZE 64
#define SPAN 65536
#define PER_SPAN (SPAN / SIZE)

static void limited(struct bpf_mem_alloc *ma, struct obj_cgroup **objcg, size_t limit,
		    const struct rcu_flavor_struct *flavor)
{
	*objcg = obj_cgroup_create("limited", limit);
	assert_non_null(*objcg);
	assert_int_equal(init_for(ma, SIZE, false, flavor), 0);
	bpf_mem_alloc_set_objcg(ma, *objcg);
}

/* All that the limit allows, to a caller that stays on its CPU; returns how many. */
static size_t exhaust(struct bpf_mem_alloc *ma, void **objs, size_t max)
{
	size_t n = 0;

	while (n < max && (objs[n] = bpf_mem_cache_alloc(ma)))
		n++;
	return n;
}

static int on_one_cpu(void **state)
{
	(void)state;
	pin(0);
	return 0;
}

static int off_it(void **state)
{
	unpin();
	return check_nothing_left(state);
}

static void free_all(struct bpf_mem_alloc *ma, void **objs, size_t n)
{
	while (n--)
		bpf_mem_cache_free(ma, objs[n]);
}

static void test_usage(void **state)
{
	struct obj_cgroup *objcg = obj_cgroup_create("usage", 0);
	struct bpf_mem_alloc a, b;
	void *of_a, *of_b;

	(void)state;
	assert_non_null(objcg);
	assert_int_equal(obj_cgroup_usage(objcg), 0);
	assert_int_equal(bpf_mem_alloc_init(&a, SIZE, false), 0);
	assert_int_equal(bpf_mem_alloc_init(&b, 0, false), 0);
	bpf_mem_alloc_set_objcg(&a, objcg);
	bpf_mem_alloc_set_objcg(&b, objcg);
	of_a = bpf_mem_cache_alloc(&a);
	assert_int_equal(obj_cgroup_usage(objcg), stats_of(&a).bytes_spans);
	of_b = bpf_mem_alloc(&b, 4096);
	assert_int_equal(obj_cgroup_usage(objcg),
			 stats_of(&a).bytes_spans + stats_of(&b).bytes_spans);
	bpf_mem_cache_free(&a, of_a);
	bpf_mem_alloc_destroy(&a);
	await(obj_cgroup_usage(objcg) == stats_of(&b).bytes_spans);
	/* The creator's reference may go first. */
	bpf_mem_free(&b, of_b);
	obj_cgroup_put(objcg);
	bpf_mem_alloc_destroy(&b);
}

static void test_limit(void **state)
{
	static void *objs[4 * PER_SPAN];
	struct obj_cgroup *objcg;
	struct bpf_mem_alloc ma;
	size_t n;

	(void)state;
	limited(&ma, &objcg, 2 * SPAN + 100, flavors[OWN].ops);
	n = exhaust(&ma, objs, 4 * PER_SPAN);
	/* To the last object. */
	assert_int_equal(n, 2 * PER_SPAN);
	assert_int_equal(obj_cgroup_usage(objcg), 2 * SPAN);
	assert_int_equal(stats_of(&ma).refusals, 1);
	assert_null(bpf_mem_cache_alloc_flags(&ma, GFP_ATOMIC));
	assert_int_equal(stats_of(&ma).refusals, 2);
	bpf_mem_cache_free(&ma, objs[--n]);
	objs[n] = bpf_mem_cache_alloc_flags(&ma, GFP_KERNEL);
	assert_non_null(objs[n++]);
	free_all(&ma, objs, n);
	bpf_mem_alloc_destroy(&ma);
	await_nothing_left();
	assert_int_equal(obj_cgroup_usage(objcg), 0);
	obj_cgroup_put(objcg);
}

/* Less than a span: nothing ever, and nothing held. */
static void test_limit_too_small(void **state)
{
	struct obj_cgroup *objcg;
	struct bpf_mem_alloc ma;

	(void)state;
	limited(&ma, &objcg, 1, flavors[OWN].ops);
	assert_null(bpf_mem_cache_alloc(&ma));
	assert_null(bpf_mem_cache_alloc_flags(&ma, GFP_KERNEL));
	assert_int_equal(obj_cgroup_usage(objcg), 0);
	assert_int_equal(stats_of(&ma).spans, 0);
	bpf_mem_alloc_destroy(&ma);
	obj_cgroup_put(objcg);
}

/* What the allocator holds moves with it, over the limit if need be. */
static void test_move(void **state)
{
	struct obj_cgroup *from = obj_cgroup_create("from", 0);
	struct obj_cgroup *to =
		obj_cgroup_create("a name of more than thirty-one bytes, cut off", 1);
	struct bpf_mem_alloc ma;
	size_t bytes;
	void *obj;

	(void)state;
	assert_int_equal(bpf_mem_alloc_init(&ma, 4096, false), 0);
	obj = bpf_mem_cache_alloc(&ma);
	bytes = stats_of(&ma).bytes_spans;
	bpf_mem_alloc_set_objcg(&ma, from);
	assert_int_equal(obj_cgroup_usage(from), bytes);
	bpf_mem_alloc_set_objcg(&ma, to);
	assert_int_equal(obj_cgroup_usage(from), 0);
	assert_int_equal(obj_cgroup_usage(to), bytes);
	bpf_mem_alloc_set_objcg(&ma, to);
	assert_int_equal(obj_cgroup_usage(to), bytes);
	bpf_mem_alloc_set_objcg(&ma, NULL);
	assert_int_equal(obj_cgroup_usage(to), 0);
	assert_int_equal(stats_of(&ma).bytes_spans, bytes);
	bpf_mem_alloc_set_objcg(&ma, from);
	bpf_mem_cache_free(&ma, obj);
	bpf_mem_alloc_destroy(&ma);
	await_nothing_left();
	assert_int_equal(obj_cgroup_usage(from), 0);
	obj_cgroup_put(from);
	obj_cgroup_put(to);
	obj_cgroup_put(NULL);
	assert_int_equal(obj_cgroup_usage(NULL), 0);
}

/* Threads that fill and empty accounts together never go over, and at rest the sum is right. */
struct sharing {
	struct bpf_mem_alloc ma;
	struct obj_cgroup *objcg;
	_Atomic bool stop;
};

static void *fill_and_empty(void *arg)
{
	struct sharing *s = arg;
	void *objs[3000];
	size_t n;

	while (!atomic_load(&s->stop)) {
		n = exhaust(&s->ma, objs, 3000);
		while (n--)
			bpf_mem_cache_raw_free(objs[n]);
	}
	return NULL;
}

static void test_shared(void **state)
{
	struct sharing s[2] = { 0 };
	double until = now() + 0.3;
	pthread_t threads[4];
	size_t limit = 3 * SPAN;
	int i;

	(void)state;
	limited(&s[0].ma, &s[0].objcg, limit, flavors[OWN].ops);
	assert_int_equal(bpf_mem_alloc_init(&s[1].ma, SIZE, false), 0);
	s[1].objcg = s[0].objcg;
	bpf_mem_alloc_set_objcg(&s[1].ma, s[0].objcg);
	for (i = 0; i < 4; i++)
		thread_start(&threads[i], fill_and_empty, &s[i % 2]);
	while (now() < until)
		must(obj_cgroup_usage(s[0].objcg) <= limit);
	for (i = 0; i < 2; i++)
		atomic_store(&s[i].stop, true);
	for (i = 0; i < 4; i++)
		thread_join(threads[i]);
	for (i = 0; i < 2; i++)
		assert_int_equal(stats_of(&s[i].ma).objs_in_use, 0);
	assert_int_equal(obj_cgroup_usage(s[0].objcg),
			 stats_of(&s[0].ma).bytes_spans + stats_of(&s[1].ma).bytes_spans);
	for (i = 0; i < 2; i++)
		bpf_mem_alloc_destroy(&s[i].ma);
	await_nothing_left();
	assert_int_equal(obj_cgroup_usage(s[0].objcg), 0);
	obj_cgroup_put(s[0].objcg);
}

/* --- GFP_KERNEL at the limit ------------------------------------------------------------------- */

struct waiting {
	struct bpf_mem_alloc *ma;
	const struct rcu_flavor_struct *flavor;
	bool registered;
	void *obj;
	_Atomic bool done;
};

static void *wait_for_one(void *arg)
{
	struct waiting *w = arg;

	if (w->registered) {
		w->flavor->register_thread();
		if (is_qsbr(w->flavor))
			w->flavor->thread_online();
	}
	w->obj = bpf_mem_cache_alloc_flags(w->ma, GFP_KERNEL);
	if (w->registered) {
		/* An online QSBR thread is online again. */
		must(!!w->flavor->read_ongoing() == is_qsbr(w->flavor));
		w->flavor->unregister_thread();
	}
	atomic_store(&w->done, true);
	return NULL;
}

static bool is_one_of(void *obj, void **objs, size_t n)
{
	while (n--)
		if (objs[n] == obj)
			return true;
	return false;
}

static void kernel_waits(const struct rcu_flavor_struct *flavor, bool registered)
{
	static void *objs[PER_SPAN + 1];
	struct waiting w = { .flavor = flavor, .registered = registered };
	struct sitter reader;
	struct obj_cgroup *objcg;
	struct bpf_mem_alloc ma;
	pthread_t waiter;
	size_t i;

	limited(&ma, &objcg, SPAN, flavor);
	w.ma = &ma;
	assert_int_equal(exhaust(&ma, objs, PER_SPAN + 1), PER_SPAN);
	sitter_begin(&reader, flavor);
	for (i = 0; i < PER_SPAN; i++)
		bpf_mem_cache_free_rcu(&ma, objs[i]);
	assert_null(bpf_mem_cache_alloc_flags(&ma, GFP_NOWAIT));
	assert_null(bpf_mem_cache_alloc_flags(&ma, GFP_ATOMIC));
	assert_null(bpf_mem_cache_alloc(&ma));
	thread_start(&waiter, wait_for_one, &w);
	sleep_us(40000);
	/* It must not have got anything, nor given up. */
	assert_false(atomic_load(&w.done));
	sitter_end(&reader);
	thread_join(waiter);
	assert_true(is_one_of(w.obj, objs, PER_SPAN));
	bpf_mem_cache_free(&ma, w.obj);
	bpf_mem_alloc_destroy(&ma);
	await_nothing_left();
	obj_cgroup_put(objcg);
}

static void test_kernel_waits(void **state)
{
	const struct flavor *f = *state;

	kernel_waits(f->ops, false);
	kernel_waits(f->ops, true);
}

/* Inside a section there is nothing to wait for: NULL, at once. */
static void test_kernel_inside(void **state)
{
	const struct flavor *f = *state;
	static void *objs[PER_SPAN + 1];
	struct obj_cgroup *objcg;
	struct bpf_mem_alloc ma;
	size_t i;

	limited(&ma, &objcg, SPAN, f->ops);
	f->ops->register_thread();
	reader_enter(f->ops);
	assert_int_equal(exhaust(&ma, objs, PER_SPAN + 1), PER_SPAN);
	for (i = 0; i < PER_SPAN; i++)
		bpf_mem_cache_free_rcu(&ma, objs[i]);
	if (is_qsbr(f->ops)) {
		objs[0] = bpf_mem_cache_alloc_flags(&ma, GFP_KERNEL);
		assert_non_null(objs[0]);
		bpf_mem_cache_free(&ma, objs[0]);
	} else {
		assert_null(bpf_mem_cache_alloc_flags(&ma, GFP_KERNEL));
		assert_true(f->ops->read_ongoing());
	}
	reader_leave(f->ops);
	f->ops->unregister_thread();
	bpf_mem_alloc_destroy(&ma);
	await_nothing_left();
	obj_cgroup_put(objcg);
}

/*
 * Also where all memory is on its way back to the slab: it is there after the same grace period.  (That one
 * object of an account is free, and GFP_KERNEL says NULL, would be strange.)
 */
static void test_kernel_ttrace(void **state)
{
	const struct flavor *f = *state;
	static void *objs[PER_SPAN + 1];
	struct waiting w = { .flavor = f->ops };
	struct sitter reader;
	struct obj_cgroup *objcg;
	struct bpf_mem_alloc ma;
	pthread_t waiter;

	limited(&ma, &objcg, SPAN, f->ops);
	w.ma = &ma;
	assert_int_equal(exhaust(&ma, objs, PER_SPAN + 1), PER_SPAN);
	sitter_begin(&reader, f->ops);
	free_all(&ma, objs, PER_SPAN);
	await(stats_of(&ma).objs_waiting_ttrace == PER_SPAN);
	thread_start(&waiter, wait_for_one, &w);
	sleep_us(20000);
	assert_false(atomic_load(&w.done));
	sitter_end(&reader);
	thread_join(waiter);
	bpf_mem_cache_free(&ma, w.obj);
	bpf_mem_alloc_destroy(&ma);
	await_nothing_left();
	obj_cgroup_put(objcg);
	assert_non_null(w.obj);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_usage, check_nothing_left),
		cmocka_unit_test_setup_teardown(test_limit, on_one_cpu, off_it),
		cmocka_unit_test_teardown(test_limit_too_small, check_nothing_left),
		cmocka_unit_test_teardown(test_move, check_nothing_left),
		cmocka_unit_test_teardown(test_shared, check_nothing_left),
		ALL_FLAVORS(test_kernel_waits, on_one_cpu, off_it),
		ALL_FLAVORS(test_kernel_inside, on_one_cpu, off_it),
		ALL_FLAVORS(test_kernel_ttrace, on_one_cpu, off_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
