// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_percpu.c - objects with a copy for each CPU
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

/* The number of possible CPUs: bpf_per_cpu_ptr() says NULL from there on. */
static int nr_copies(void *obj)
{
	int cpu = 0;

	while (bpf_per_cpu_ptr(obj, cpu))
		cpu++;
	return cpu;
}

static int highest_possible_cpu(void)
{
	FILE *f = fopen("/sys/devices/system/cpu/possible", "r");
	char line[4096] = "", *last;

	if (!f)
		return -1;
	if (!fgets(line, sizeof(line), f))
		line[0] = 0;
	fclose(f);
	last = line + strlen(line);
	while (last > line && (last[-1] == '\n' || (last[-1] >= '0' && last[-1] <= '9')))
		last--;
	return atoi(last);
}

static void test_copies(void **state)
{
	static const int sizes[] = { 8, 16, 24, 64, 100, 4096, 10000, 70000, 1 << 20 };
	struct bpf_mem_alloc ma;
	int cpu, n, size;
	void *obj;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		size = sizes[i];
		assert_int_equal(bpf_mem_alloc_init(&ma, size, true), 0);
		obj = bpf_mem_cache_alloc(&ma);
		assert_non_null(obj);
		n = nr_copies(obj);
		assert_int_equal(n, highest_possible_cpu() + 1);
		for (cpu = 0; cpu < n; cpu++) {
			assert_true(is_zero(bpf_per_cpu_ptr(obj, cpu), (size_t)size));
			fill(bpf_per_cpu_ptr(obj, cpu), (size_t)size, (uint64_t)cpu + 1);
		}
		for (cpu = 0; cpu < n; cpu++)
			assert_true(is_filled(bpf_per_cpu_ptr(obj, cpu), (size_t)size,
					      (uint64_t)cpu + 1));
		bpf_mem_cache_free(&ma, obj);
		bpf_mem_alloc_destroy(&ma);
	}
}

/* Many objects, all copies of all: none overlaps another. */
static void test_apart(void **state)
{
	enum { N = 3000, SIZE = 40 };
	static void *objs[N];
	struct bpf_mem_alloc ma;
	int i, cpu, n;

	(void)state;
	assert_int_equal(bpf_mem_alloc_init(&ma, SIZE, true), 0);
	for (i = 0; i < N; i++)
		objs[i] = bpf_mem_cache_alloc(&ma);
	n = nr_copies(objs[0]);
	for (i = 0; i < N; i++)
		for (cpu = 0; cpu < n; cpu++)
			fill(bpf_per_cpu_ptr(objs[i], cpu), SIZE, (uint64_t)(i * 1000 + cpu));
	for (i = 0; i < N; i++)
		for (cpu = 0; cpu < n; cpu++)
			assert_true(is_filled(bpf_per_cpu_ptr(objs[i], cpu), SIZE,
					      (uint64_t)(i * 1000 + cpu)));
	assert_int_equal(stats_of(&ma).objs_in_use, N);
	assert_int_equal(stats_of(&ma).bytes_in_use, N * 48);
	for (i = 0; i < N; i++)
		bpf_mem_cache_free(&ma, objs[i]);
	bpf_mem_alloc_destroy(&ma);
}

static void test_bad_cpu(void **state)
{
	struct bpf_mem_alloc percpu, plain;
	void *obj, *other;

	(void)state;
	assert_int_equal(bpf_mem_alloc_init(&percpu, 64, true), 0);
	assert_int_equal(bpf_mem_alloc_init(&plain, 64, false), 0);
	obj = bpf_mem_cache_alloc(&percpu);
	other = bpf_mem_cache_alloc(&plain);
	assert_null(bpf_per_cpu_ptr(obj, -1));
	assert_null(bpf_per_cpu_ptr(obj, nr_copies(obj)));
	assert_null(bpf_per_cpu_ptr(obj, 1 << 30));
	assert_null(bpf_per_cpu_ptr(NULL, 0));
	assert_null(bpf_per_cpu_ptr(ZERO_SIZE_PTR, 0));
	assert_null(bpf_per_cpu_ptr(&obj, 0));
	assert_null(bpf_per_cpu_ptr(other, 0));
	assert_null(bpf_per_cpu_ptr((void *)~(uintptr_t)0, 0));
	assert_null(bpf_this_cpu_ptr(NULL));
	assert_null(bpf_this_cpu_ptr(other));
	bpf_mem_cache_free(&percpu, obj);
	bpf_mem_cache_free(&plain, other);
	bpf_mem_alloc_destroy(&percpu);
	bpf_mem_alloc_destroy(&plain);
}

struct counting {
	void *counter;
	unsigned int nth;
	unsigned long times;
};

static void *count(void *arg)
{
	struct counting *c = arg;
	unsigned long i;

	pin(c->nth);
	must(sched_getcpu() == cpu_here(c->nth));
	for (i = 0; i < c->times; i++) {
		uint64_t *mine = bpf_this_cpu_ptr(c->counter);

		must(mine == bpf_per_cpu_ptr(c->counter, cpu_here(c->nth)));
		(*mine)++;
	}
	return NULL;
}

/* A thread on each CPU counts in its own copy, with no atomic operation. */
static void test_this_cpu(void **state)
{
	struct counting c[64];
	pthread_t threads[64];
	struct bpf_mem_alloc ma;
	unsigned int n = nr_cpus_here() < 64 ? nr_cpus_here() : 64, i;
	uint64_t *counter, sum = 0;
	int cpu;

	(void)state;
	assert_int_equal(bpf_mem_alloc_init(&ma, sizeof(*counter), true), 0);
	counter = bpf_mem_cache_alloc(&ma);
	for (i = 0; i < n; i++) {
		c[i] = (struct counting){ counter, i, turns(1000000, 10000000) };
		thread_start(&threads[i], count, &c[i]);
	}
	for (i = 0; i < n; i++)
		thread_join(threads[i]);
	for (i = 0; i < n; i++)
		assert_int_equal(*(uint64_t *)bpf_per_cpu_ptr(counter, cpu_here(i)), c[i].times);
	for (cpu = 0; cpu < nr_copies(counter); cpu++)
		sum += *(uint64_t *)bpf_per_cpu_ptr(counter, cpu);
	assert_int_equal(sum, n * c[0].times);
	bpf_mem_cache_free(&ma, counter);
	bpf_mem_alloc_destroy(&ma);
}

/* As in the kernel: recycled, an object holds what it held, in every copy; from the slab it is zero. */
static void test_recycled(void **state)
{
	struct bpf_mem_alloc ma;
	int cpu, n;
	void *obj;

	(void)state;
	/* Debug mode fills it with a pattern. */
	if (in_debug_mode())
		skip_because("debug mode does not keep what a freed object held");
	pin(0);
	assert_int_equal(bpf_mem_alloc_init(&ma, 64, true), 0);
	obj = bpf_mem_cache_alloc(&ma);
	n = nr_copies(obj);
	for (cpu = 0; cpu < n; cpu++)
		fill(bpf_per_cpu_ptr(obj, cpu), 64, (uint64_t)cpu);
	bpf_mem_cache_free(&ma, obj);
	assert_ptr_equal(bpf_mem_cache_alloc(&ma), obj);
	for (cpu = 0; cpu < n; cpu++)
		assert_true(is_filled(bpf_per_cpu_ptr(obj, cpu), 64, (uint64_t)cpu));
	bpf_mem_cache_raw_free(obj);
	unpin();
	bpf_mem_alloc_destroy(&ma);
}

static void test_zero_from_slab(void **state)
{
	enum { N = 400 };
	static void *objs[N];
	struct bpf_mem_alloc ma;
	int i, cpu, turn;

	(void)state;
	assert_int_equal(bpf_mem_alloc_init(&ma, 64, true), 0);
	for (turn = 0; turn < 3; turn++) {
		for (i = 0; i < N; i++) {
			objs[i] = bpf_mem_cache_alloc(&ma);
			for (cpu = 0; cpu < nr_copies(objs[i]); cpu++) {
				assert_true(is_zero(bpf_per_cpu_ptr(objs[i], cpu), 64));
				memset(bpf_per_cpu_ptr(objs[i], cpu), 0xaa, 64);
			}
		}
		for (i = 0; i < N; i++)
			bpf_mem_cache_raw_free(objs[i]);
	}
	bpf_mem_alloc_destroy(&ma);
}

/* What no CPU touches takes no memory, and giving it back does not touch it either. */
static void test_untouched(void **state)
{
	struct bpf_mem_alloc ma;
	size_t before, i;
	void *objs[16];

	(void)state;
	assert_int_equal(bpf_mem_alloc_init(&ma, 1 << 20, true), 0);
	before = rss();
	for (i = 0; i < 16; i++) {
		objs[i] = bpf_mem_cache_alloc(&ma);
		assert_non_null(objs[i]);
		*(char *)bpf_per_cpu_ptr(objs[i], 0) = 1;
	}
	for (i = 0; i < 16; i++)
		bpf_mem_cache_raw_free(objs[i]);
	if (is_plain())
		assert_true(rss() < before + (2 << 20));
	bpf_mem_alloc_destroy(&ma);
}

static void test_units(void **state)
{
	static const int sizes[] = { 1, 16, 17, 64, 192, 193, 4096 };
	struct bpf_mem_alloc ma;
	void *obj;
	size_t i;

	(void)state;
	assert_int_equal(bpf_mem_alloc_percpu_init(&ma, NULL), 0);
	/* No class is there yet. */
	assert_null(bpf_mem_alloc(&ma, 64));
	assert_null(bpf_mem_alloc(&ma, 1));
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		assert_int_equal(bpf_mem_alloc_percpu_unit_init(&ma, sizes[i]), 0);
		assert_int_equal(bpf_mem_alloc_percpu_unit_init(&ma, sizes[i]), 0);
		obj = bpf_mem_alloc(&ma, (size_t)sizes[i]);
		assert_non_null(obj);
		assert_true(is_zero(bpf_this_cpu_ptr(obj), (size_t)sizes[i]));
		fill(bpf_this_cpu_ptr(obj), (size_t)sizes[i], i);
		if (i % 2)
			bpf_mem_free(&ma, obj);
		else
			bpf_mem_free_rcu(&ma, obj);
	}
	/* 96, 128, 512, 1024 and 2048 were not added. */
	assert_null(bpf_mem_alloc(&ma, 65));
	assert_null(bpf_mem_alloc(&ma, 2048));
	assert_int_equal(stats_of(&ma).objs_in_use, 0);
	bpf_mem_alloc_destroy(&ma);
}

/* The account is charged for every copy, and the allocator has a reference of its own. */
static void test_units_objcg(void **state)
{
	struct obj_cgroup *objcg = obj_cgroup_create("units", 0);
	struct bpf_mem_alloc ma;
	void *obj;

	(void)state;
	assert_non_null(objcg);
	assert_int_equal(bpf_mem_alloc_percpu_init(&ma, objcg), 0);
	assert_int_equal(bpf_mem_alloc_percpu_unit_init(&ma, 64), 0);
	assert_int_equal(obj_cgroup_usage(objcg), 0);
	obj = bpf_mem_alloc(&ma, 64);
	assert_int_equal(obj_cgroup_usage(objcg), stats_of(&ma).bytes_spans);
	assert_int_equal(obj_cgroup_usage(objcg) % (size_t)nr_copies(obj), 0);
	assert_true(obj_cgroup_usage(objcg) >= 64 * (size_t)nr_copies(obj));
	bpf_mem_free(&ma, obj);
	bpf_mem_alloc_destroy(&ma);
	await(obj_cgroup_usage(objcg) == 0);
	await_nothing_left();
	obj_cgroup_put(objcg);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_copies, check_nothing_left),
		cmocka_unit_test_teardown(test_apart, check_nothing_left),
		cmocka_unit_test_teardown(test_bad_cpu, check_nothing_left),
		cmocka_unit_test_teardown(test_this_cpu, check_nothing_left),
		cmocka_unit_test_teardown(test_recycled, check_nothing_left),
		cmocka_unit_test_teardown(test_zero_from_slab, check_nothing_left),
		cmocka_unit_test_teardown(test_untouched, check_nothing_left),
		cmocka_unit_test_teardown(test_units, check_nothing_left),
		cmocka_unit_test_teardown(test_units_objcg, check_nothing_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
