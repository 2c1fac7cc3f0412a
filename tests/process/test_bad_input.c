// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_bad_input.c - each bad input: refused with its number, or reported, counted and nothing else
 */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "util.h"

extern const struct rcu_flavor_struct urcu_bp_flavor;

static void refused(int size, bool percpu, int err)
{
	struct bpf_mem_alloc ma, zero = { 0 };
	uint64_t meta = process_stats().bytes_meta;

	memset(&ma, 0x5a, sizeof(ma));
	assert_int_equal(bpf_mem_alloc_init(&ma, size, percpu), err);
	assert_memory_equal(&ma, &zero, sizeof(ma));
	memset(&ma, 0x5a, sizeof(ma));
	assert_int_equal(bpf_mem_alloc_init_flavor(&ma, size, percpu, &urcu_bp_flavor), err);
	assert_memory_equal(&ma, &zero, sizeof(ma));
	/* Nothing leaks. */
	assert_int_equal(process_stats().bytes_meta, meta);
	assert_int_equal(process_stats().allocators, 0);
}

static void test_init_sizes(void **state)
{
	(void)state;
	refused(-1, false, -EINVAL);
	refused(-1, true, -EINVAL);
	refused(INT_MIN, false, -EINVAL);
	refused(0, true, -EINVAL);
	refused(BPF_MEM_CACHE_SIZE_MAX + 1, false, -E2BIG);
	refused(BPF_MEM_CACHE_SIZE_MAX + 1, true, -E2BIG);
	refused(INT_MAX, false, -E2BIG);
}

static void test_init_no_flavor(void **state)
{
	struct bpf_mem_alloc ma;

	(void)state;
	assert_int_equal(bpf_mem_alloc_init_flavor(&ma, 64, false, NULL), -EINVAL);
	assert_int_equal(bpf_mem_alloc_init_flavor(&ma, -1, false, NULL), -EINVAL);
	assert_int_equal(process_stats().allocators, 0);
}

static void test_unit_init(void **state)
{
	struct bpf_mem_alloc percpu, sized, fixed, none = { 0 };

	(void)state;
	assert_int_equal(bpf_mem_alloc_percpu_init(&percpu, NULL), 0);
	assert_int_equal(bpf_mem_alloc_init(&sized, 0, false), 0);
	assert_int_equal(bpf_mem_alloc_init(&fixed, 64, true), 0);
	assert_int_equal(bpf_mem_alloc_percpu_unit_init(&percpu, 0), -EINVAL);
	assert_int_equal(bpf_mem_alloc_percpu_unit_init(&percpu, -1), -EINVAL);
	assert_int_equal(bpf_mem_alloc_percpu_unit_init(&percpu, 4097), -EINVAL);
	assert_int_equal(bpf_mem_alloc_percpu_unit_init(&percpu, INT_MAX), -EINVAL);
	assert_int_equal(bpf_mem_alloc_percpu_unit_init(&sized, 64), -EINVAL);
	assert_int_equal(bpf_mem_alloc_percpu_unit_init(&fixed, 64), -EINVAL);
	assert_int_equal(bpf_mem_alloc_percpu_unit_init(&none, 64), -EINVAL);
	bpf_mem_alloc_destroy(&percpu);
	bpf_mem_alloc_destroy(&sized);
	bpf_mem_alloc_destroy(&fixed);
}

/* The frees that take an allocator, by name. */
static const struct {
	const char *name;
	void (*free)(struct bpf_mem_alloc *ma, void *ptr);
} frees[] = {
	{ "bpf_mem_free", bpf_mem_free },
	{ "bpf_mem_free_rcu", bpf_mem_free_rcu },
	{ "bpf_mem_cache_free", bpf_mem_cache_free },
	{ "bpf_mem_cache_free_rcu", bpf_mem_cache_free_rcu },
};
#define NR_FREES (sizeof(frees) / sizeof(frees[0]))

/* Everything but the count of bad frees is as before. */
static void assert_same(struct bpf_mem_stats a, struct bpf_mem_stats b)
{
	assert_int_equal(a.objs_in_use, b.objs_in_use);
	assert_int_equal(a.objs_free + a.objs_waiting_rcu + a.objs_waiting_ttrace,
			 b.objs_free + b.objs_waiting_rcu + b.objs_waiting_ttrace);
	assert_int_equal(a.spans, b.spans);
	assert_int_equal(a.never_freed, b.never_freed);
	assert_int_equal(a.refusals, b.refusals);
}

/* One line on stderr, with the function and the pointer. */
static void assert_said(const char *text, const char *func, const void *ptr)
{
	char start[64], pointer[64];

	snprintf(start, sizeof(start), "%s: ", func);
	snprintf(pointer, sizeof(pointer), "0x%lx", (unsigned long)(uintptr_t)ptr);
	assert_ptr_equal(strstr(text, start), text);
	assert_non_null(strstr(text, pointer));
	/* Debug mode has more to say. */
	if (!in_debug_mode())
		assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
}

static void bad_free(struct bpf_mem_alloc *ma, void *ptr)
{
	struct bpf_mem_stats before, after;
	uint64_t all;
	size_t i;

	for (i = 0; i < NR_FREES; i++) {
		before = stats_of(ma);
		all = process_stats().bad_frees;
		stderr_begin();
		frees[i].free(ma, ptr);
		assert_said(stderr_end(), frees[i].name, ptr);
		after = stats_of(ma);
		assert_int_equal(after.bad_frees, before.bad_frees + !!ma->group);
		assert_int_equal(process_stats().bad_frees, all + 1);
		assert_same(before, after);
	}
}

/* Whoever's it might be taken for, @ma's count is not touched: it is no allocator's. */
static void bad_raw_free(struct bpf_mem_alloc *ma, void *ptr)
{
	struct bpf_mem_stats before = stats_of(ma);
	uint64_t all = process_stats().bad_frees;

	stderr_begin();
	bpf_mem_cache_raw_free(ptr);
	assert_said(stderr_end(), "bpf_mem_cache_raw_free", ptr);
	assert_int_equal(process_stats().bad_frees, all + 1);
	assert_int_equal(stats_of(ma).bad_frees, before.bad_frees);
	assert_same(before, stats_of(ma));
}

/* Pointers that never were bma's. */
static void each_foreign(void (*bad)(struct bpf_mem_alloc *ma, void *ptr), struct bpf_mem_alloc *ma)
{
	static char data[64];
	char stack[64], *heap = malloc(64);
	void *hole = mmap(NULL, 1 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	void *gone = mmap(NULL, 1 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uintptr_t odd[] = { 1,
			    8,
			    15,
			    17,
			    4096,
			    0x7fffffffffff,
			    0x800000000000,
			    0xffff800000000000,
			    0xdead000000000100,
			    0x5a5a5a5a5a5a5a5a,
			    UINTPTR_MAX - 7,
			    UINTPTR_MAX };
	size_t i;

	munmap(gone, 1 << 20);
	bad(ma, stack);
	bad(ma, data);
	bad(ma, heap);
	bad(ma, hole);
	bad(ma, gone);
	bad(ma, (void *)(uintptr_t)each_foreign);
	bad(ma, ma);
	for (i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
		bad(ma, (void *)odd[i]);
	munmap(hole, 1 << 20);
	free(heap);
}

static void test_foreign(void **state)
{
	struct bpf_mem_alloc fixed, sized, percpu, unused;
	void *a, *b, *c;

	(void)state;
	assert_int_equal(bpf_mem_alloc_init(&fixed, 64, false), 0);
	assert_int_equal(bpf_mem_alloc_init(&sized, 0, false), 0);
	assert_int_equal(bpf_mem_alloc_init(&percpu, 64, true), 0);
	assert_int_equal(bpf_mem_alloc_init(&unused, 64, false), 0);
	a = bpf_mem_cache_alloc(&fixed);
	b = bpf_mem_alloc(&sized, 64);
	c = bpf_mem_cache_alloc(&percpu);
	each_foreign(bad_free, &fixed);
	each_foreign(bad_free, &sized);
	each_foreign(bad_free, &percpu);
	each_foreign(bad_free, &unused);
	each_foreign(bad_raw_free, &fixed);
	bpf_mem_cache_free(&fixed, a);
	bpf_mem_free(&sized, b);
	bpf_mem_cache_free(&percpu, c);
	bpf_mem_alloc_destroy(&fixed);
	bpf_mem_alloc_destroy(&sized);
	bpf_mem_alloc_destroy(&percpu);
	bpf_mem_alloc_destroy(&unused);
}

static void interior(int size)
{
	struct bpf_mem_alloc ma;
	char *obj;
	int at;

	assert_int_equal(bpf_mem_alloc_init(&ma, size, false), 0);
	obj = bpf_mem_cache_alloc(&ma);
	for (at = 1; at < size; at += at < 70 || at > size - 3 ? 1 : size / 37 + 1) {
		bad_free(&ma, obj + at);
		bad_raw_free(&ma, obj + at);
	}
	fill(obj, (size_t)size, 1);
	assert_int_equal(stats_of(&ma).objs_in_use, 1);
	bpf_mem_cache_free(&ma, obj);
	bpf_mem_alloc_destroy(&ma);
}

static void test_interior(void **state)
{
	static const int sizes[] = { 8, 16, 24, 48, 96, 192, 1000, 4096, 65536, 600000, 1 << 20 };
	size_t i, n = sizeof(sizes) / sizeof(sizes[0]);

	(void)state;
	for (i = 0; i < n; i += under_valgrind() ? 4 : 1)
		interior(sizes[i]);
}

/* Behind the last object of a span, where what is left over is no object. */
static void test_past_last(void **state)
{
	static const int sizes[] = { 48, 96, 1000, 3000, 60000 };
	struct bpf_mem_alloc ma;
	char *obj, *span;
	size_t i, at, nr;

	(void)state;
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		assert_int_equal(bpf_mem_alloc_init(&ma, sizes[i], false), 0);
		obj = bpf_mem_cache_alloc(&ma);
		span = (char *)((uintptr_t)obj & ~(uintptr_t)0xffff);
		nr = 65536 / (((size_t)sizes[i] + 15) / 16 * 16);
		at = nr * (((size_t)sizes[i] + 15) / 16 * 16);
		if (at < 65536) {
			bad_free(&ma, span + at);
			bad_raw_free(&ma, span + at);
		}
		bad_free(&ma, span + 65536 - 8);
		bpf_mem_cache_free(&ma, obj);
		bpf_mem_alloc_destroy(&ma);
	}
}

static void test_other_allocator(void **state)
{
	struct bpf_mem_alloc a, b, sized, percpu;
	void *of_a, *of_sized, *of_percpu;

	(void)state;
	assert_int_equal(bpf_mem_alloc_init(&a, 64, false), 0);
	assert_int_equal(bpf_mem_alloc_init(&b, 64, false), 0);
	assert_int_equal(bpf_mem_alloc_init(&sized, 0, false), 0);
	assert_int_equal(bpf_mem_alloc_init(&percpu, 64, true), 0);
	of_a = bpf_mem_cache_alloc(&a);
	of_sized = bpf_mem_alloc(&sized, 64);
	of_percpu = bpf_mem_cache_alloc(&percpu);
	bad_free(&b, of_a);
	bad_free(&sized, of_a);
	bad_free(&percpu, of_a);
	bad_free(&a, of_sized);
	bad_free(&a, of_percpu);
	/* A copy that is not the first is no object. */
	if (bpf_per_cpu_ptr(of_percpu, 1)) {
		bad_free(&percpu, bpf_per_cpu_ptr(of_percpu, 1));
		bad_raw_free(&percpu, bpf_per_cpu_ptr(of_percpu, 1));
	}
	bpf_mem_cache_free(&a, of_a);
	bpf_mem_free(&sized, of_sized);
	bpf_mem_cache_free(&percpu, of_percpu);
	assert_int_equal(stats_of(&a).objs_in_use, 0);
	assert_int_equal(stats_of(&sized).objs_in_use, 0);
	assert_int_equal(stats_of(&percpu).objs_in_use, 0);
	bpf_mem_alloc_destroy(&a);
	bpf_mem_alloc_destroy(&b);
	bpf_mem_alloc_destroy(&sized);
	bpf_mem_alloc_destroy(&percpu);
}

/* The fixed-size calls on a kmalloc-like allocator and the other way round. */
static void test_wrong_kind(void **state)
{
	struct bpf_mem_alloc fixed, sized;
	void *obj;

	(void)state;
	assert_int_equal(bpf_mem_alloc_init(&fixed, 64, false), 0);
	assert_int_equal(bpf_mem_alloc_init(&sized, 0, false), 0);
	stderr_begin();
	assert_null(bpf_mem_alloc(&fixed, 64));
	assert_said(stderr_end(), "bpf_mem_alloc", &fixed);
	/* Also when there is something to take. */
	bpf_mem_cache_free(&fixed, bpf_mem_cache_alloc(&fixed));
	obj = bpf_mem_alloc(&sized, 16);
	bpf_mem_free(&sized, obj);
	stderr_begin();
	assert_null(bpf_mem_alloc(&fixed, 64));
	assert_said(stderr_end(), "bpf_mem_alloc", &fixed);
	stderr_begin();
	assert_null(bpf_mem_cache_alloc(&sized));
	assert_said(stderr_end(), "bpf_mem_cache_alloc", &sized);
	stderr_begin();
	assert_null(bpf_mem_cache_alloc_flags(&sized, GFP_KERNEL));
	assert_said(stderr_end(), "bpf_mem_cache_alloc_flags", &sized);
	bpf_mem_alloc_destroy(&fixed);
	bpf_mem_alloc_destroy(&sized);
}

static void say_nothing_more(struct bpf_mem_alloc *ma, void *obj)
{
	struct bpf_mem_stats s;

	stderr_begin();
	assert_null(bpf_mem_cache_alloc(ma));
	assert_said(stderr_end(), "bpf_mem_cache_alloc", ma);
	stderr_begin();
	assert_null(bpf_mem_alloc(ma, 64));
	assert_said(stderr_end(), "bpf_mem_alloc", ma);
	stderr_begin();
	assert_null(bpf_mem_cache_alloc_flags(ma, GFP_KERNEL));
	assert_said(stderr_end(), "bpf_mem_cache_alloc_flags", ma);
	bad_free(ma, obj);
	stderr_begin();
	bpf_mem_alloc_set_dtor(ma, NULL, NULL, NULL);
	assert_said(stderr_end(), "bpf_mem_alloc_set_dtor", ma);
	stderr_begin();
	bpf_mem_alloc_set_objcg(ma, NULL);
	assert_said(stderr_end(), "bpf_mem_alloc_set_objcg", ma);
	assert_int_equal(bpf_mem_alloc_percpu_unit_init(ma, 64), -EINVAL);
	s = stats_of(ma);
	assert_true(is_zero(&s, sizeof(s)));
}

/* Before its memory is gone and after. */
static void test_after_destroy(void **state)
{
	int sizes[] = { 64, 0 }, i;
	struct bpf_mem_alloc ma;
	void *obj;

	(void)state;
	for (i = 0; i < 2; i++) {
		assert_int_equal(bpf_mem_alloc_init(&ma, sizes[i], false), 0);
		obj = sizes[i] ? bpf_mem_cache_alloc(&ma) : bpf_mem_alloc(&ma, 64);
		bpf_mem_free_rcu(&ma, obj);
		bpf_mem_alloc_destroy(&ma);
		say_nothing_more(&ma, obj);
		await_nothing_left();
		say_nothing_more(&ma, obj);
		bad_raw_free(&ma, obj);
	}
}

static void *free_foreign(void *arg)
{
	int i;

	for (i = 0; i < 200; i++)
		bpf_mem_free(arg, &i);
	return NULL;
}

static void test_reports_do_not_mix(void **state)
{
	struct bpf_mem_alloc ma;
	const char *line, *end;
	pthread_t threads[4];
	int i, n = 0;

	(void)state;
	assert_int_equal(bpf_mem_alloc_init(&ma, 64, false), 0);
	stderr_begin();
	for (i = 0; i < 4; i++)
		thread_start(&threads[i], free_foreign, &ma);
	for (i = 0; i < 4; i++)
		thread_join(threads[i]);
	for (line = stderr_end(); (end = strchr(line, '\n')); line = end + 1, n++)
		assert_true(strstr(line, "bpf_mem_free: ") == line ||
			    (in_debug_mode() && *line == ' '));
	/* As many as the pipe held; counted are all. */
	assert_true(n >= 100);
	assert_int_equal(stats_of(&ma).bad_frees, 800);
	bpf_mem_alloc_destroy(&ma);
}

static void test_stderr_closed(void **state)
{
	struct bpf_mem_alloc ma;
	int saved = dup(STDERR_FILENO), i;

	(void)state;
	assert_int_equal(bpf_mem_alloc_init(&ma, 64, false), 0);
	close(STDERR_FILENO);
	errno = 77;
	bpf_mem_free(&ma, &i);
	i = errno;
	must(dup2(saved, STDERR_FILENO) >= 0);
	close(saved);
	assert_int_equal(i, 77);
	assert_int_equal(stats_of(&ma).bad_frees, 1);
	bpf_mem_alloc_destroy(&ma);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_init_sizes, check_nothing_left),
		cmocka_unit_test_teardown(test_init_no_flavor, check_nothing_left),
		cmocka_unit_test_teardown(test_unit_init, check_nothing_left),
		cmocka_unit_test_teardown(test_foreign, check_nothing_left),
		cmocka_unit_test_teardown(test_interior, check_nothing_left),
		cmocka_unit_test_teardown(test_past_last, check_nothing_left),
		cmocka_unit_test_teardown(test_other_allocator, check_nothing_left),
		cmocka_unit_test_teardown(test_wrong_kind, check_nothing_left),
		cmocka_unit_test_teardown(test_after_destroy, check_nothing_left),
		cmocka_unit_test_teardown(test_reports_do_not_mix, check_nothing_left),
		cmocka_unit_test_teardown(test_stderr_closed, check_nothing_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
