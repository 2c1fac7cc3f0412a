// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_api.c - every call, used as it should be
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

static const size_t classes[] = { 16, 32, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096 };
#define NR_CLASSES (sizeof(classes) / sizeof(classes[0]))

static size_t class_of(size_t size)
{
	size_t i = 0;

	while (classes[i] < size)
		i++;
	return classes[i];
}

/* The largest power of two that divides @size, at most 64; at least 16 from 16 bytes up. */
static size_t alignment_of(size_t size)
{
	size_t align = size & -size;

	if (size >= 16 && align < 16)
		align = 16;
	return align > 64 ? 64 : align;
}

static bool is_aligned(const void *obj, size_t align)
{
	return !((uintptr_t)obj & (align - 1));
}

static void check_object(void *obj, size_t size)
{
	assert_non_null(obj);
	assert_true(is_aligned(obj, alignment_of(size)));
	assert_true(is_zero(obj, size));
}

/* Objects of @size: aligned, zero, apart from each other, all of each usable. */
static void check_fixed(int size, size_t n)
{
	struct bpf_mem_alloc ma;
	void *objs[200];
	size_t i;

	assert_int_equal(bpf_mem_alloc_init(&ma, size, false), 0);
	for (i = 0; i < n; i++) {
		objs[i] = bpf_mem_cache_alloc(&ma);
		check_object(objs[i], (size_t)size);
		fill(objs[i], (size_t)size, i);
	}
	for (i = 0; i < n; i++)
		assert_true(is_filled(objs[i], (size_t)size, i));
	assert_int_equal(stats_of(&ma).objs_in_use, n);
	for (i = 0; i < n; i++)
		bpf_mem_cache_free(&ma, objs[i]);
	assert_int_equal(stats_of(&ma).objs_in_use, 0);
	bpf_mem_alloc_destroy(&ma);
}

static void test_fixed_sizes(void **state)
{
	int size, step = is_plain() ? 1 : 37;

	(void)state;
	for (size = 1; size <= 4096; size += size < 160 && !under_valgrind() ? 1 : step)
		check_fixed(size, 70);
}

static void test_large_sizes(void **state)
{
	static const int sizes[] = { 4097,   5000,   8192,   12288,   12345,   32768,	65535,
				     65536,  65537,  100000, 131072,  262144,  349525,	349526,
				     524288, 600000, 700001, 1000000, 1048512, 1048575, 1 << 20 };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		check_fixed(sizes[i], 9);
	/* What was destroyed goes in the background; do not let it pile up. */
	await_nothing_left();
}

/* From more than one span and more than one magazine, with no object twice. */
static void test_many(void **state)
{
	static const int sizes[] = { 8, 24, 64, 1000, 20000 };
	struct bpf_mem_alloc ma;
	size_t n = turns(20000, 20000), i, s;
	void **objs = calloc(n, sizeof(*objs));

	(void)state;
	for (s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
		assert_int_equal(bpf_mem_alloc_init(&ma, sizes[s], false), 0);
		for (i = 0; i < n; i++) {
			objs[i] = bpf_mem_cache_alloc(&ma);
			assert_non_null(objs[i]);
		}
		assert_false(has_twins(objs, n));
		for (i = 1; i < n; i++)
			assert_true((char *)objs[i] - (char *)objs[i - 1] >= sizes[s]);
		assert_int_equal(stats_of(&ma).objs_in_use, n);
		for (i = 0; i < n; i++)
			bpf_mem_cache_free(&ma, objs[i]);
		bpf_mem_alloc_destroy(&ma);
	}
	free(objs);
}

static void test_classes(void **state)
{
	struct bpf_mem_alloc ma;
	struct bpf_mem_stats s;
	size_t size, class;
	void *obj;

	(void)state;
	assert_int_equal(bpf_mem_alloc_init(&ma, 0, false), 0);
	for (size = 1; size <= 4096; size++) {
		class = class_of(size);
		obj = bpf_mem_alloc(&ma, size);
		assert_non_null(obj);
		assert_true(is_aligned(obj, alignment_of(class)));
		/* A class has no header: all of it is the caller's. */
		fill(obj, class, size);
		s = stats_of(&ma);
		assert_int_equal(s.objs_in_use, 1);
		assert_int_equal(s.bytes_in_use, class);
		assert_true(is_filled(obj, class, size));
		bpf_mem_free(&ma, obj);
	}
	bpf_mem_alloc_destroy(&ma);
}

/* Objects of all classes side by side, each full of its own pattern. */
static void test_classes_apart(void **state)
{
	enum { N = 2000 };
	static void *objs[N];
	struct bpf_mem_alloc ma;
	size_t i;

	(void)state;
	assert_int_equal(bpf_mem_alloc_init(&ma, 0, false), 0);
	for (i = 0; i < N; i++) {
		objs[i] = bpf_mem_alloc(&ma, classes[i % NR_CLASSES]);
		assert_non_null(objs[i]);
		fill(objs[i], classes[i % NR_CLASSES], i);
	}
	for (i = 0; i < N; i++) {
		assert_true(is_filled(objs[i], classes[i % NR_CLASSES], i));
		bpf_mem_free_rcu(&ma, objs[i]);
	}
	assert_int_equal(stats_of(&ma).objs_in_use, 0);
	bpf_mem_alloc_destroy(&ma);
}

static void test_sizes_of_none(void **state)
{
	struct bpf_mem_alloc ma;
	size_t sizes[] = { 4097, 8192, 1 << 20, SIZE_MAX / 2, SIZE_MAX - 15, SIZE_MAX }, i;

	(void)state;
	assert_int_equal(bpf_mem_alloc_init(&ma, 0, false), 0);
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		assert_null(bpf_mem_alloc(&ma, sizes[i]));
	assert_int_equal(stats_of(&ma).refusals, i);
	assert_ptr_equal(bpf_mem_alloc(&ma, 0), ZERO_SIZE_PTR);
	assert_int_equal(stats_of(&ma).spans, 0);
	bpf_mem_alloc_destroy(&ma);
}

static void test_check_size(void **state)
{
	int percpu;

	(void)state;
	for (percpu = 0; percpu < 2; percpu++) {
		assert_int_equal(bpf_mem_alloc_check_size(percpu, 0), 0);
		assert_int_equal(bpf_mem_alloc_check_size(percpu, 1), 0);
		assert_int_equal(bpf_mem_alloc_check_size(percpu, 4096), 0);
		assert_int_equal(bpf_mem_alloc_check_size(percpu, 4097), -E2BIG);
		assert_int_equal(bpf_mem_alloc_check_size(percpu, SIZE_MAX), -E2BIG);
	}
}

/* Each free takes NULL and ZERO_SIZE_PTR, says nothing and counts nothing. */
static void test_free_nothing(void **state)
{
	void *nothing[] = { NULL, ZERO_SIZE_PTR };
	struct bpf_mem_alloc fixed, sized;
	uint64_t before;
	size_t i;

	(void)state;
	assert_int_equal(bpf_mem_alloc_init(&fixed, 64, false), 0);
	assert_int_equal(bpf_mem_alloc_init(&sized, 0, false), 0);
	before = process_stats().bad_frees;
	stderr_begin();
	for (i = 0; i < 2; i++) {
		bpf_mem_free(&sized, nothing[i]);
		bpf_mem_free_rcu(&sized, nothing[i]);
		bpf_mem_cache_free(&fixed, nothing[i]);
		bpf_mem_cache_free_rcu(&fixed, nothing[i]);
		bpf_mem_cache_raw_free(nothing[i]);
	}
	assert_string_equal(stderr_end(), "");
	assert_int_equal(process_stats().bad_frees, before);
	bpf_mem_alloc_destroy(&fixed);
	bpf_mem_alloc_destroy(&sized);
}

/* A recycled object is the same memory with what it held: type-stable, and not written to. */
static void test_free_keeps_content(void **state)
{
	struct bpf_mem_alloc ma;
	void *obj, *again;

	(void)state;
	/* Debug mode fills it with a pattern, as docs/debugging.md says. */
	if (in_debug_mode())
		skip_because("debug mode does not keep what a freed object held");
	pin(0);
	assert_int_equal(bpf_mem_alloc_init(&ma, 128, false), 0);
	obj = bpf_mem_cache_alloc(&ma);
	fill(obj, 128, 7);
	bpf_mem_cache_free(&ma, obj);
	assert_true(is_filled(obj, 128, 7));
	again = bpf_mem_cache_alloc(&ma);
	assert_ptr_equal(again, obj);
	assert_true(is_filled(obj, 128, 7));
	bpf_mem_cache_free(&ma, obj);
	bpf_mem_alloc_destroy(&ma);
	unpin();
}

static void test_free_rcu_keeps_content(void **state)
{
	struct bpf_mem_alloc ma;
	unsigned long n = turns(300, 300), i;
	void **objs = calloc(n, sizeof(*objs));

	(void)state;
	/* Debug mode fills it with a pattern, as docs/debugging.md says. */
	if (in_debug_mode())
		skip_because("debug mode does not keep what a freed object held");
	assert_int_equal(bpf_mem_alloc_init(&ma, 128, false), 0);
	for (i = 0; i < n; i++) {
		objs[i] = bpf_mem_cache_alloc(&ma);
		fill(objs[i], 128, i);
	}
	/* One that stays keeps the span mapped. */
	for (i = 1; i < n; i++)
		bpf_mem_cache_free_rcu(&ma, objs[i]);
	/* Into limbo and, ripe, back to the depot: nobody writes to them. */
	await(!stats_of(&ma).objs_waiting_rcu);
	for (i = 1; i < n && stats_of(&ma).objs_free == n - 1; i++)
		assert_true(is_filled(objs[i], 128, i));
	bpf_mem_cache_free(&ma, objs[0]);
	bpf_mem_alloc_destroy(&ma);
	free(objs);
}

/* Memory that went back to the slab is zero when it comes again; so is what was raw_free-d. */
static void test_raw_free(void **state)
{
	enum { N = 500 };
	static void *objs[N];
	struct bpf_mem_alloc ma;
	size_t i, j;

	(void)state;
	assert_int_equal(bpf_mem_alloc_init(&ma, 200, false), 0);
	for (j = 0; j < 3; j++) {
		for (i = 0; i < N; i++) {
			objs[i] = bpf_mem_cache_alloc(&ma);
			check_object(objs[i], 200);
			memset(objs[i], 0xee, 200);
		}
		for (i = 0; i < N; i++)
			bpf_mem_cache_raw_free(objs[i]);
		assert_int_equal(stats_of(&ma).objs_in_use, 0);
		assert_int_equal(stats_of(&ma).objs_waiting_ttrace, 0);
	}
	/* At once: with nothing out and nothing in limbo the spans go without a grace period. */
	await(stats_of(&ma).spans == 0);
	bpf_mem_alloc_destroy(&ma);
}

static void test_raw_free_of_class(void **state)
{
	struct bpf_mem_alloc ma;
	void *obj;
	size_t i;

	(void)state;
	assert_int_equal(bpf_mem_alloc_init(&ma, 0, false), 0);
	for (i = 0; i < NR_CLASSES; i++) {
		obj = bpf_mem_alloc(&ma, classes[i]);
		assert_non_null(obj);
		bpf_mem_cache_raw_free(obj);
	}
	assert_int_equal(stats_of(&ma).objs_in_use, 0);
	bpf_mem_alloc_destroy(&ma);
}

static void test_alloc_flags(void **state)
{
	static const gfp_t flags[] = { GFP_KERNEL, GFP_NOWAIT, GFP_ATOMIC };
	struct bpf_mem_alloc ma;
	void *objs[300];
	size_t i;

	(void)state;
	assert_int_equal(bpf_mem_alloc_init(&ma, 48, false), 0);
	for (i = 0; i < 300; i++) {
		objs[i] = bpf_mem_cache_alloc_flags(&ma, flags[i % 3]);
		check_object(objs[i], 48);
		memset(objs[i], 0xff, 48);
	}
	assert_int_equal(stats_of(&ma).objs_in_use, 300);
	for (i = 0; i < 300; i++)
		bpf_mem_cache_free(&ma, objs[i]);
	assert_false(has_twins(objs, 300));
	bpf_mem_alloc_destroy(&ma);
}

static void test_init_flavor(void **state)
{
	struct bpf_mem_alloc ma;
	void *obj;
	int i;

	(void)state;
	for (i = 0; i < NR_FLAVORS; i++) {
		assert_int_equal(init_for(&ma, 64, false, flavors[i].ops), 0);
		obj = bpf_mem_cache_alloc(&ma);
		check_object(obj, 64);
		bpf_mem_cache_free_rcu(&ma, obj);
		await(!stats_of(&ma).objs_waiting_rcu);
		bpf_mem_alloc_destroy(&ma);
	}
}

static void test_destroy_twice(void **state)
{
	struct bpf_mem_alloc ma = { 0 };

	(void)state;
	stderr_begin();
	bpf_mem_alloc_destroy(&ma);
	assert_int_equal(bpf_mem_alloc_init(&ma, 64, false), 0);
	bpf_mem_alloc_destroy(&ma);
	bpf_mem_alloc_destroy(&ma);
	/* And a failed init leaves what destroy takes. */
	assert_int_equal(bpf_mem_alloc_init(&ma, -1, false), -EINVAL);
	bpf_mem_alloc_destroy(&ma);
	assert_string_equal(stderr_end(), "");
}

/* The struct may be used again at once. */
static void test_init_after_destroy(void **state)
{
	struct bpf_mem_alloc ma;
	void *obj;
	int i;

	(void)state;
	for (i = 0; i < 50; i++) {
		assert_int_equal(bpf_mem_alloc_init(&ma, i % 2 ? 64 : 0, false), 0);
		obj = i % 2 ? bpf_mem_cache_alloc(&ma) : bpf_mem_alloc(&ma, 64);
		check_object(obj, 64);
		memset(obj, 1, 64);
		bpf_mem_free_rcu(&ma, obj);
		bpf_mem_alloc_destroy(&ma);
	}
}

#define STRANGE_ERRNO 12345
#define keeps_errno(call)                                                                          \
	do {                                                                                       \
		errno = STRANGE_ERRNO;                                                             \
		call;                                                                              \
		assert_int_equal(errno, STRANGE_ERRNO);                                            \
	} while (0)

static void churn_errno(struct bpf_mem_alloc *fixed, struct bpf_mem_alloc *sized)
{
	void *obj = NULL, *other = NULL;
	unsigned long n = turns(20000, 20000), i;

	for (i = 0; i < n; i++) {
		keeps_errno(obj = bpf_mem_cache_alloc(fixed));
		keeps_errno(other = bpf_mem_alloc(sized, i % 4096 + 1));
		if (i % 3 == 0) {
			keeps_errno(bpf_mem_cache_free(fixed, obj));
			keeps_errno(bpf_mem_free(sized, other));
		} else if (i % 3 == 1) {
			keeps_errno(bpf_mem_cache_free_rcu(fixed, obj));
			keeps_errno(bpf_mem_free_rcu(sized, other));
		} else {
			keeps_errno(bpf_mem_cache_raw_free(obj));
			keeps_errno(bpf_mem_cache_raw_free(other));
		}
	}
}

static void test_errno(void **state)
{
	struct bpf_mem_alloc fixed, sized, percpu;
	struct bpf_mem_stats s;
	void *obj = NULL;

	(void)state;
	assert_int_equal(bpf_mem_alloc_init(&fixed, 3000, false), 0);
	assert_int_equal(bpf_mem_alloc_init(&sized, 0, false), 0);
	assert_int_equal(bpf_mem_alloc_init(&percpu, 64, true), 0);
	churn_errno(&fixed, &sized);
	keeps_errno(obj = bpf_mem_cache_alloc(&percpu));
	keeps_errno(bpf_this_cpu_ptr(obj));
	keeps_errno(bpf_per_cpu_ptr(obj, 0));
	keeps_errno(bpf_mem_cache_free_rcu(&percpu, obj));
	keeps_errno(obj = bpf_mem_cache_alloc_flags(&fixed, GFP_KERNEL));
	keeps_errno(bpf_mem_cache_free(&fixed, obj));
	stderr_begin();
	keeps_errno(bpf_mem_free(&sized, &obj));
	keeps_errno(bpf_mem_cache_free_rcu(&fixed, (char *)obj + 1));
	assert_string_not_equal(stderr_end(), "");
	keeps_errno(bpf_mem_alloc_stats(&fixed, &s));
	keeps_errno(bpf_mem_alloc_check_size(false, 1));
	keeps_errno(bpf_mem_alloc(&sized, 5000));
	bpf_mem_alloc_destroy(&fixed);
	bpf_mem_alloc_destroy(&sized);
	bpf_mem_alloc_destroy(&percpu);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_fixed_sizes, check_nothing_left),
		cmocka_unit_test_teardown(test_large_sizes, check_nothing_left),
		cmocka_unit_test_teardown(test_many, check_nothing_left),
		cmocka_unit_test_teardown(test_classes, check_nothing_left),
		cmocka_unit_test_teardown(test_classes_apart, check_nothing_left),
		cmocka_unit_test_teardown(test_sizes_of_none, check_nothing_left),
		cmocka_unit_test(test_check_size),
		cmocka_unit_test_teardown(test_free_nothing, check_nothing_left),
		cmocka_unit_test_teardown(test_free_keeps_content, check_nothing_left),
		cmocka_unit_test_teardown(test_free_rcu_keeps_content, check_nothing_left),
		cmocka_unit_test_teardown(test_raw_free, check_nothing_left),
		cmocka_unit_test_teardown(test_raw_free_of_class, check_nothing_left),
		cmocka_unit_test_teardown(test_alloc_flags, check_nothing_left),
		cmocka_unit_test_teardown(test_init_flavor, check_nothing_left),
		cmocka_unit_test_teardown(test_destroy_twice, check_nothing_left),
		cmocka_unit_test_teardown(test_init_after_destroy, check_nothing_left),
		cmocka_unit_test_teardown(test_errno, check_nothing_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
