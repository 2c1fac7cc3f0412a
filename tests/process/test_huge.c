// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_huge.c - home/process/pages.c: who gets huge pages, and that all of them goes back
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "port.h"
#include "util.h"

#define UNIT ((size_t)1 << PORT_UNIT_SHIFT)
#define REGION ((size_t)4 << 20)
#define BLOCK ((size_t)2 << 20)
/* Who has so much besides gets huge pages. */
#define MUCH ((size_t)1 << 30)

/* Has the mapping of @p this flag: " hg", huge pages are asked for; " nh", they are not wanted? */
static bool has_flag(const void *p, const char *flag)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	unsigned long begin, end;
	bool here = false, has = false;
	char line[512];

	must(f);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &begin, &end) == 2)
			here = begin <= (uintptr_t)p && (uintptr_t)p < end;
		else if (here && !strncmp(line, "VmFlags:", 8))
			has = strstr(line, flag);
	}
	fclose(f);
	return has;
}

static bool asked_for_huge(const void *p)
{
	return has_flag(p, " hg");
}

static void need_huge(void)
{
	void *p;
	bool huge;

	if (!is_plain())
		skip_because("what runs us has pages of its own");
	p = mmap(NULL, REGION, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	huge = !madvise(p, REGION, MADV_HUGEPAGE) && asked_for_huge(p);
	munmap(p, REGION);
	if (!huge)
		skip_because("no huge pages here");
}

static char *get(size_t bytes, size_t beside)
{
	char *p;

	errno = 4321;
	p = port_pages_alloc(bytes, UNIT, beside);
	assert_int_equal(errno, 4321);
	assert_non_null(p);
	assert_true(is_zero(p, bytes));
	return p;
}

/* @n of them, each with a filling of its own. */
static void get_units(char **p, int n)
{
	int i;

	for (i = 0; i < n; i++) {
		p[i] = get(UNIT, MUCH);
		fill(p[i], UNIT, i);
	}
}

static void free_now(void)
{
	errno = 4321;
	while (port_pages_free_now())
		;
	assert_int_equal(errno, 4321);
}

/* Who has much, and nobody else, in regions of its own. */
static void test_apart(void **state)
{
	enum { N = 200 };
	static char *p[N];
	int i;

	(void)state;
	need_huge();
	for (i = 0; i < N; i++) {
		p[i] = get((i % 3 + 1) * UNIT, i % 2 ? MUCH : MUCH / 1024);
		fill(p[i], (i % 3 + 1) * UNIT, i);
	}
	for (i = 0; i < N; i++) {
		assert_int_equal(asked_for_huge(p[i]), i % 2);
		assert_int_equal(has_flag(p[i], " nh"), !(i % 2));
		assert_true(is_filled(p[i], (i % 3 + 1) * UNIT, i));
	}
	for (i = 0; i < N; i++)
		port_pages_free(p[i], (i % 3 + 1) * UNIT);
}

/*
 * Of a block that is used in part a part goes.  That part's memory and what the block has beside those who
 * are left goes, and their region has small pages from then on.
 */
static void test_in_part(void **state)
{
	enum { N = 48 };
	static char *p[N];
	size_t before;
	int i;

	(void)state;
	need_huge();
	before = rss();
	get_units(p, N);
	assert_true(asked_for_huge(p[0]));
	for (i = 0; i < N; i++)
		if (i % 16)
			port_pages_free_later(p[i], UNIT);
	free_now();
	assert_false(asked_for_huge(p[0]));
	assert_true(rss() < before + (1 << 20));
	for (i = 0; i < N; i++)
		assert_true(i % 16 ? is_zero(p[i], UNIT) : is_filled(p[i], UNIT, i));
	for (i = 0; i < N; i++)
		if (!(i % 16))
			port_pages_free_later(p[i], UNIT);
	free_now();
	assert_false(is_mapped(p[0]));
}

/* A block that goes whole leaves its region as it is; so does what was never used of one. */
static void test_whole(void **state)
{
	enum { N = 40 };
	static char *p[N];
	size_t before;
	int i;

	(void)state;
	need_huge();
	before = rss();
	get_units(p, N);
	assert_int_equal((uintptr_t)p[0] % REGION, 0);
	for (i = (int)(BLOCK / UNIT); i < N; i++)
		port_pages_free_later(p[i], UNIT);
	free_now();
	assert_true(asked_for_huge(p[0]));
	assert_true(rss() < before + BLOCK + (1 << 20));
	for (i = 0; i < (int)(BLOCK / UNIT); i++)
		port_pages_free_later(p[i], UNIT);
	free_now();
	assert_false(is_mapped(p[0]));
	assert_true(rss() < before + (1 << 20));
}

static void **words_of(void *obj, bool percpu)
{
	return percpu ? bpf_per_cpu_ptr(obj, 0) : obj;
}

/* Is the last of so many objects in huge pages? */
static bool ends_in_huge(int size, bool percpu, size_t bytes)
{
	void *list = NULL, *obj;
	struct bpf_mem_alloc ma;
	size_t sum;
	bool huge;

	must(!bpf_mem_alloc_init(&ma, size, percpu));
	for (sum = 0; sum < bytes; sum += (size_t)size, list = obj) {
		obj = bpf_mem_cache_alloc(&ma);
		must(obj);
		*words_of(obj, percpu) = list;
	}
	huge = asked_for_huge(words_of(list, percpu));
	for (; list; list = obj) {
		obj = *words_of(list, percpu);
		bpf_mem_cache_free(&ma, list);
	}
	bpf_mem_alloc_destroy(&ma);
	await_nothing_left();
	return huge;
}

/* Only who has many objects gets them; and not for large ones or those with a copy for each CPU. */
static void test_allocator(void **state)
{
	(void)state;
	need_huge();
	assert_false(ends_in_huge(1024, false, 16 << 20));
	assert_true(ends_in_huge(1024, false, 40 << 20));
	assert_false(ends_in_huge(8192, false, 40 << 20));
	assert_false(ends_in_huge(1024, true, 40 << 20));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_apart),
		cmocka_unit_test(test_in_part),
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_allocator),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
