// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_pages.c - home/process/pages.c: memory from the system
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "nth.h"
#include "port.h"
#include "util.h"

#define UNIT ((size_t)1 << PORT_UNIT_SHIFT)
#define REGION ((size_t)4 << 20)
/* Who has so much besides gets huge pages. */
#define MUCH ((size_t)1 << 30)

/* What the library in here asks of the system. */
static _Atomic unsigned int mmaps, munmaps, madvises;

/* Where the next region shall be, if this is not NULL. */
static void *aim;

void *__wrap_mmap64(void *addr, size_t len, int prot, int flags, int fd, off_t offset);
void *__real_mmap64(void *addr, size_t len, int prot, int flags, int fd, off_t offset);
int __wrap_munmap(void *addr, size_t len);
int __wrap_madvise(void *addr, size_t len, int advice);
int __real_munmap(void *addr, size_t len);
int __real_madvise(void *addr, size_t len, int advice);

void *__wrap_mmap64(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
	port_add(&mmaps, 1, relaxed);
	if (len == REGION && aim) {
		addr = aim;
		aim = NULL;
	}
	return __real_mmap64(addr, len, prot, flags, fd, offset);
}

int __wrap_munmap(void *addr, size_t len)
{
	port_add(&munmaps, 1, relaxed);
	return __real_munmap(addr, len);
}

int __wrap_madvise(void *addr, size_t len, int advice)
{
	port_add(&madvises, 1, relaxed);
	return __real_madvise(addr, len, advice);
}

static void *get(size_t bytes, size_t align)
{
	void *p;

	errno = 4321;
	p = port_pages_alloc(bytes, align, 0);
	assert_int_equal(errno, 4321);
	return p;
}

static void put(void *p, size_t bytes)
{
	errno = 4321;
	port_pages_free(p, bytes);
	assert_int_equal(errno, 4321);
}

static void check_new(void *p, size_t bytes, size_t align)
{
	assert_non_null(p);
	assert_false((uintptr_t)p & (align - 1));
	assert_true(is_zero(p, bytes));
	memset(p, 0xa5, bytes);
}

static void test_sizes(void **state)
{
	static const size_t units[] = { 1, 2, 3, 7, 16, 31, 32, 33, 64, 65, 100, 300 };
	size_t i, align, bytes;
	int turn;
	void *p;

	(void)state;
	for (turn = 0; turn < 3; turn++) {
		for (i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
			bytes = units[i] * UNIT;
			for (align = UNIT; align <= 32 * UNIT; align *= 2) {
				p = get(bytes, align);
				check_new(p, bytes, align);
				put(p, bytes);
			}
		}
	}
}

/* What was given back is zero when it comes again. */
static void test_reuse(void **state)
{
	void *p = get(UNIT, UNIT), *q;
	int i;

	(void)state;
	check_new(p, UNIT, UNIT);
	for (i = 0; i < 100; i++) {
		put(p, UNIT);
		q = get(UNIT, UNIT);
		check_new(q, UNIT, UNIT);
		p = q;
	}
	put(p, UNIT);
}

static void test_apart(void **state)
{
	enum { N = 400 };
	static void *p[N];
	size_t bytes, i;

	(void)state;
	for (i = 0; i < N; i++) {
		bytes = (i % 5 + 1) * UNIT;
		p[i] = get(bytes, UNIT);
		check_new(p[i], bytes, UNIT);
		fill(p[i], bytes, i);
	}
	for (i = 0; i < N; i++)
		assert_true(is_filled(p[i], (i % 5 + 1) * UNIT, i));
	for (i = 0; i < N; i++)
		put(p[(i * 7) % N], ((i * 7) % N % 5 + 1) * UNIT);
}

/* Memory and address space go back: at most one region is kept. */
static void test_back(void **state)
{
	enum { N = 64 * 8 };
	static void *p[N];
	size_t before, i, mapped = 0;

	(void)state;
	put(get(UNIT, UNIT), UNIT);
	before = rss();
	for (i = 0; i < N; i++) {
		p[i] = get(UNIT, UNIT);
		memset(p[i], 1, UNIT);
	}
	if (is_plain())
		assert_true(rss() >= before + N * UNIT * 9 / 10);
	for (i = 0; i < N; i++)
		put(p[i], UNIT);
	if (is_plain())
		assert_true(rss() < before + (1 << 20));
	for (i = 0; i < N; i++)
		mapped += is_mapped(p[i]);
	if (!TEST_TSAN)
		assert_true(mapped <= 64);
}

static void test_drop(void **state)
{
	size_t bytes = 4 * UNIT;
	char *p = get(bytes, UNIT);

	(void)state;
	memset(p, 7, bytes);
	errno = 99;
	port_pages_drop(p + PORT_META_PAGE, 2 * PORT_META_PAGE);
	assert_int_equal(errno, 99);
	assert_int_equal(p[PORT_META_PAGE - 1], 7);
	assert_true(is_zero(p + PORT_META_PAGE, 2 * PORT_META_PAGE));
	assert_int_equal(p[3 * PORT_META_PAGE], 7);
	memset(p, 8, bytes);
	put(p, bytes);
}

/* --- later, together ----------------------------------------------------------------------------- */

enum { MANY = 64 * 9 };
static char *many[MANY];

static void get_many(void)
{
	int i;

	for (i = 0; i < MANY; i++) {
		many[i] = get(UNIT, UNIT);
		memset(many[i], 1, UNIT);
	}
	munmaps = madvises = 0;
}

static unsigned int regions_of_many(void)
{
	unsigned int n = 0;
	int i, j;

	for (i = 0; i < MANY; i++) {
		for (j = 0; j < i; j++)
			if ((uintptr_t)many[j] / REGION == (uintptr_t)many[i] / REGION)
				break;
		n += j == i;
	}
	return n;
}

/* Returns how many parts it took. */
static unsigned int free_now(void)
{
	unsigned int parts = 1;
	bool more;

	do {
		errno = 4321;
		more = port_pages_free_now();
		assert_int_equal(errno, 4321);
		parts += more;
	} while (more);
	return parts;
}

/*
 * In whatever order they come: a system call for each region, which unmaps it, but for the one that is
 * kept, and for what there is of the last.
 */
static void test_later_by_region(void **state)
{
	unsigned int regions, calls;
	size_t before = rss(), peak;
	int i;

	(void)state;
	get_many();
	regions = regions_of_many();
	peak = rss();
	for (i = 0; i < MANY; i++)
		port_pages_free_later(many[i * 7 % MANY], UNIT);
	assert_int_equal(munmaps + madvises, 0);
	/* A part at a time, as who waits for the reclaimer's lock waits for one. */
	assert_true(free_now() >= MANY / 256);
	calls = munmaps + madvises;
	assert_int_equal(calls, regions);
	assert_true(munmaps >= regions - 2);
	assert_false(port_pages_free_now());
	assert_int_equal(munmaps + madvises, calls);
	if (is_plain()) {
		assert_true(peak > before + MANY * UNIT * 9 / 10);
		assert_true(rss() < before + (1 << 20));
	}
}

/* What others have in the same region stays, and nobody gets what has not gone yet. */
static void test_later_beside_others(void **state)
{
	char *fresh[3];
	int i, j;

	(void)state;
	get_many();
	for (i = 0; i < MANY; i++)
		if (i % 4 < 2)
			port_pages_free_later(many[i], UNIT);
		else
			fill(many[i], UNIT, i);
	for (j = 0; j < 3; j++) {
		fresh[j] = get(UNIT, UNIT);
		check_new(fresh[j], UNIT, UNIT);
		for (i = 0; i < MANY; i++)
			assert_ptr_not_equal(fresh[j], many[i]);
	}
	/* A new region may have been cut out of a larger mapping. */
	munmaps = madvises = 0;
	free_now();
	assert_int_equal(munmaps, 0);
	/* Two neighbours at a time. */
	assert_true(madvises <= MANY / 4);
	for (i = 0; i < MANY; i++)
		if (i % 4 >= 2)
			assert_true(is_filled(many[i], UNIT, i));
		else
			assert_true(is_zero(many[i], UNIT));
	for (i = 0; i < MANY; i++)
		if (i % 4 >= 2)
			put(many[i], UNIT);
	for (j = 0; j < 3; j++)
		put(fresh[j], UNIT);
}

/* Mappings of their own go at once. */
static void test_later_alone(void **state)
{
	void *p = get(100 * UNIT, UNIT);

	(void)state;
	munmaps = 0;
	port_pages_free_later(p, 100 * UNIT);
	assert_int_equal(munmaps, 1);
	assert_false(port_pages_free_now());
}

/* --- threads ----------------------------------------------------------------------------------- */

struct worker {
	uint64_t random;
	unsigned long times;
	pthread_t thread;
};

static void swap_one(struct worker *w, void **p, size_t *bytes)
{
	if (*p) {
		must(is_filled(*p, 64, (uintptr_t)*p));
		must(is_filled((char *)*p + *bytes - 64, 64, (uintptr_t)p));
		port_pages_free(*p, *bytes);
	}
	*bytes = (rnd(&w->random) % (rnd(&w->random) % 8 ? 4 : 40) + 1) * UNIT;
	*p = port_pages_alloc(*bytes, UNIT, rnd(&w->random) % 2 ? MUCH : 0);
	must(*p && is_zero(*p, 64) && is_zero((char *)*p + *bytes - 64, 64));
	fill(*p, 64, (uintptr_t)*p);
	fill((char *)*p + *bytes - 64, 64, (uintptr_t)p);
}

static void *swap(void *arg)
{
	enum { PIECES = 40 };
	struct worker *w = arg;
	size_t bytes[PIECES] = { 0 };
	void *p[PIECES] = { NULL };
	unsigned long i;

	for (i = 0; i < w->times; i++) {
		unsigned int at = rnd(&w->random) % PIECES;

		swap_one(w, &p[at], &bytes[at]);
	}
	for (i = 0; i < PIECES; i++)
		if (p[i])
			port_pages_free(p[i], bytes[i]);
	return NULL;
}

static void test_threads(void **state)
{
	struct worker w[4];
	int i;

	(void)state;
	for (i = 0; i < 4; i++) {
		w[i] = (struct worker){ (uint64_t)i + 1, turns(10000, 1000000), 0 };
		thread_start(&w[i].thread, swap, &w[i]);
	}
	for (i = 0; i < 4; i++)
		thread_join(w[i].thread);
}

/* --- a region that comes back at its address --------------------------------------------------- */

/*
 * Who frees the last unit of a region, and would unmap it, is stopped at an instruction between the two.
 * Others unmap the region, enter one in the table at its address but at another place, and one at its
 * place; and who frees the former is stopped, too.  Then both go on.
 */
static struct {
	char *first; /* a region; all before it are full */
	char *second; /* a unit of the next */
	char *again, *other; /* units of regions that come in their places */
	enum { NOT_FREE, FREE, UNMAPPED } was; /* the second region, as who freed it was stopped */
	unsigned int nth; /* the instruction at which who frees @again is stopped */
	_Atomic bool stopped, go, more;
	pthread_t thread;
} come;

static char *region_of(char *p)
{
	return (char *)((uintptr_t)p & ~(REGION - 1));
}

/* All but the first unit of a region that was not there before. */
static char *take_rest(void)
{
	char *p = port_pages_alloc(32 * UNIT, UNIT, 0);

	must(p && port_pages_alloc(31 * UNIT, UNIT, 0) == p + 32 * UNIT);
	return p;
}

static void free_second(void)
{
	port_pages_free(come.second, UNIT);
}

static void free_again(void)
{
	port_pages_free(come.again, UNIT);
}

static void stop(void)
{
	atomic_store(&come.stopped, true);
	await(atomic_load(&come.go));
}

static void *free_again_stopped(void *arg)
{
	atomic_store(&come.more, thread_calls_at(free_again, come.nth, stop));
	atomic_store(&come.stopped, true);
	return arg;
}

static void bring_back(void)
{
	char *rest;

	mmaps = munmaps = 0;
	port_pages_free(port_pages_alloc(UNIT, UNIT, 0), UNIT);
	come.was = mmaps ? UNMAPPED : munmaps ? FREE : NOT_FREE;
	if (come.was != FREE)
		return;
	port_pages_free(come.first, REGION);
	aim = region_of(come.second);
	come.again = port_pages_alloc(UNIT, UNIT, 0);
	must(region_of(come.again) == region_of(come.second));
	rest = take_rest();
	come.other = port_pages_alloc(UNIT, UNIT, 0);
	must(come.other);
	port_pages_free(rest, 63 * UNIT);
	thread_start(&come.thread, free_again_stopped, NULL);
	await(atomic_load(&come.stopped));
}

static void come_back(unsigned int nth)
{
	char *p;

	come.first = port_pages_alloc(UNIT, UNIT, 0);
	must(take_rest() == come.first + UNIT);
	come.second = port_pages_alloc(UNIT, UNIT, 0);
	must(region_of(come.second) != region_of(come.first));
	come.stopped = come.go = false;
	must(thread_calls_at(free_second, nth, bring_back));
	if (come.was != FREE) {
		port_pages_free(come.first, REGION);
		return;
	}
	/* There is room, and it is found. */
	mmaps = 0;
	p = port_pages_alloc(UNIT, UNIT, 0);
	must(p && !mmaps);
	atomic_store(&come.go, true);
	thread_join(come.thread);
	port_pages_free(p, UNIT);
	port_pages_free(come.other, UNIT);
}

static void come_back_everywhere(void *arg)
{
	unsigned int nth, first = 0;

	(void)arg;
	/* The region that stays. */
	must(take_rest() && port_pages_alloc(UNIT, UNIT, 0));
	come.nth = 1;
	do
		come_back(++first);
	while (come.was != FREE);
	/* Who is stopped before its unit is free might as well not have been called. */
	for (come.nth = first; atomic_load(&come.more); come.nth++) {
		nth = first;
		do
			come_back(nth++);
		while (come.was == FREE);
		must(nth >= first + 4);
	}
	must(come.nth >= first + 4);
}

static void test_come_back(void **state)
{
	(void)state;
	need_single_steps();
	assert_true(in_child(come_back_everywhere, NULL));
}

/* --- no memory --------------------------------------------------------------------------------- */

static const char no_limit[] = "what runs us has mappings of its own, or no RLIMIT_AS";

static void limit_as(size_t more)
{
	struct rlimit limit;
	unsigned long pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	must(f && fscanf(f, "%lu", &pages) == 1);
	fclose(f);
	must(!getrlimit(RLIMIT_AS, &limit));
	limit.rlim_cur = more == SIZE_MAX ? limit.rlim_max : pages * 4096 + more;
	must(!setrlimit(RLIMIT_AS, &limit));
}

/* With so much address space left: as much as fits is had, then NULL, and it all can be given back. */
static void starve(void *arg)
{
	enum { MAX = 4096 };
	static void *p[MAX];
	size_t more = (size_t)(uintptr_t)arg, n = 0, i;

	limit_as(more);
	errno = 17;
	for (; n < MAX && (p[n] = port_pages_alloc(UNIT, UNIT, n % 2 ? MUCH : 0)); n++)
		fill(p[n], UNIT, n);
	must(errno == 17);
	must(n < MAX && n * UNIT <= more);
	must(!port_pages_alloc(UNIT, UNIT, 0));
	must(!port_pages_alloc(300 * UNIT, UNIT, 0));
	/* Without room for a region and its alignment single units are still to be had. */
	must(n * UNIT + REGION >= more / 2 - more / 8);
	for (i = 0; i < n; i++) {
		must(is_filled(p[i], UNIT, i));
		port_pages_free(p[i], UNIT);
	}
	limit_as(SIZE_MAX);
	for (i = 0; i < 100; i++) {
		p[i] = port_pages_alloc(UNIT, UNIT, 0);
		must(p[i] && is_zero(p[i], UNIT));
	}
	for (i = 0; i < 100; i++)
		port_pages_free(p[i], UNIT);
}

static void test_starve(void **state)
{
	size_t more;

	(void)state;
	if (!is_plain())
		skip_because(no_limit);
	for (more = 0; more <= 6 * REGION; more = more ? more * 3 / 2 : UNIT)
		assert_true(in_child(starve, (void *)(uintptr_t)more));
}

/* The allocator above it: NULL when there is nothing, frees that go on, and all is well again later. */
struct starve {
	size_t more;
	const struct rcu_flavor_struct *flavor;
	bool reader; /* the thread has been a reader before */
};

static void become_reader(const struct rcu_flavor_struct *flavor)
{
	flavor->register_thread();
	reader_enter(flavor);
	reader_leave(flavor);
}

static void starve_allocator(void *arg)
{
	enum { MAX = 100000 };
	struct starve *how = arg;
	static void *p[MAX];
	struct bpf_mem_alloc ma, other;
	size_t n = 0, i;

	must(!init_for(&ma, 4096, false, how->flavor));
	bpf_mem_cache_free(&ma, bpf_mem_cache_alloc(&ma));
	if (how->reader)
		become_reader(how->flavor);
	limit_as(how->more);
	for (; n < MAX && (p[n] = bpf_mem_cache_alloc(&ma)); n++)
		fill(p[n], 4096, n);
	must(n < MAX);
	/* Who waits may find memory that the reclaimer gave back meanwhile; but not for ever. */
	for (; n < MAX && (p[n] = bpf_mem_cache_alloc_flags(&ma, GFP_KERNEL)); n++)
		fill(p[n], 4096, n);
	must(n < MAX);
	must(stats_of(&ma).refusals >= 2);
	i = (size_t)init_for(&other, 64, false, how->flavor);
	must(!(int)i || (int)i == -ENOMEM);
	for (i = 0; i < n; i++) {
		must(is_filled(p[i], 4096, i));
		if (i % 2)
			bpf_mem_cache_free_rcu(&ma, p[i]);
		else
			bpf_mem_cache_free(&ma, p[i]);
	}
	must(!stats_of(&ma).objs_in_use);
	/* With nothing but what is in limbo: wait for it. */
	p[0] = bpf_mem_cache_alloc_flags(&ma, GFP_KERNEL);
	must(!n || p[0]);
	bpf_mem_cache_free(&ma, p[0]);
	limit_as(SIZE_MAX);
	for (i = 0; i < 1000; i++)
		must((p[i] = bpf_mem_cache_alloc(&ma)));
	for (i = 0; i < 1000; i++)
		bpf_mem_cache_free(&ma, p[i]);
	bpf_mem_alloc_destroy(&ma);
	bpf_mem_alloc_destroy(&other);
	await_nothing_left();
	must(!process_stats().never_freed);
}

static void starve_allocators(const struct rcu_flavor_struct *flavor, bool reader)
{
	struct starve how = { 0, flavor, reader };

	if (!is_plain())
		skip_because(no_limit);
	for (; how.more <= 6 * REGION; how.more = how.more ? how.more * 2 : UNIT)
		assert_true(in_child(starve_allocator, &how));
}

static void test_starve_allocator(void **state)
{
	const struct flavor *f = *state;

	starve_allocators(f->ops, true);
}

/*
 * A wait for readers must not need memory either, nor make who waits a reader.  Not with urcu-bp, which
 * registers whoever asks it whether it reads, and aborts where there is no memory for that.
 */
static void test_starve_no_reader(void **state)
{
	const struct flavor *f = *state;

	/* liburcu's own: its bp aborts, whoever asks. */
	if (!strcmp(f->name, "bp"))
		skip_because("liburcu-bp aborts");
	starve_allocators(f->ops, false);
}

/*
 * Readers that come when there is no memory.  Some get their record all the same; the others wait in
 * lock until there is some.
 */
#define NEW_READERS 200

struct newcomer {
	_Atomic bool inside;
	pthread_t thread;
};

static _Atomic bool no_memory, leave;

static void *come_without_memory(void *arg)
{
	struct newcomer *n = arg;

	while (!port_load(&no_memory, acquire))
		sleep_us(200);
	bpf_rcu_read_lock();
	port_store(&n->inside, true, release);
	while (!port_load(&leave, acquire))
		sleep_us(200);
	bpf_rcu_read_unlock();
	return NULL;
}

static unsigned int nr_inside(struct newcomer *n)
{
	unsigned int inside = 0, i;

	for (i = 0; i < NEW_READERS; i++)
		inside += port_load(&n[i].inside, acquire);
	return inside;
}

static void read_without_memory(void *arg)
{
	static struct newcomer n[NEW_READERS];
	bpf_rcu_cookie cookie;
	int i;

	(void)arg;
	for (i = 0; i < NEW_READERS; i++)
		thread_start(&n[i].thread, come_without_memory, &n[i]);
	limit_as(0);
	port_store(&no_memory, true, release);
	await(nr_inside(n) >= 64);
	sleep_us(20000);
	cookie = bpf_rcu_get_state();
	must(!bpf_rcu_poll_state(cookie));
	limit_as(SIZE_MAX);
	await(nr_inside(n) == NEW_READERS);
	must(!bpf_rcu_poll_state(cookie));
	port_store(&leave, true, release);
	for (i = 0; i < NEW_READERS; i++)
		thread_join(n[i].thread);
	await(bpf_rcu_poll_state(cookie));
}

static void test_starve_new_readers(void **state)
{
	(void)state;
	if (!is_plain())
		skip_because(no_limit);
	assert_true(in_child(read_without_memory, NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		/* They fork, so they come first. */
		cmocka_unit_test(test_starve),
		CASE(test_starve_allocator, "test_starve_allocator(bp)", NULL, NULL, BP),
		CASE(test_starve_allocator, "test_starve_allocator(own)", NULL, NULL, OWN),
		CASE(test_starve_no_reader, "test_starve_no_reader(bp)", NULL, NULL, BP),
		CASE(test_starve_no_reader, "test_starve_no_reader(own)", NULL, NULL, OWN),
		cmocka_unit_test(test_starve_new_readers),
		cmocka_unit_test(test_come_back),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_reuse),
		cmocka_unit_test(test_apart),
		cmocka_unit_test(test_back),
		cmocka_unit_test(test_drop),
		cmocka_unit_test(test_later_by_region),
		cmocka_unit_test(test_later_beside_others),
		cmocka_unit_test(test_later_alone),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
