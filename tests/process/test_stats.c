// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_stats.c - the numbers, exact when nothing runs, in each state that objects can be in
 */
#define _GNU_SOURCE
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

#define SIZE 64

/* Every object is somewhere, and the bytes go with them. */
static void check_sums(const struct bpf_mem_stats *s, uint64_t size)
{
	assert_int_equal(s->bytes_in_use, s->objs_in_use * size);
	assert_int_equal(s->bytes_free, s->objs_free * size);
	assert_int_equal(s->bytes_waiting_rcu, s->objs_waiting_rcu * size);
	assert_int_equal(s->bytes_waiting_ttrace, s->objs_waiting_ttrace * size);
	assert_true(s->bytes_in_use + s->bytes_free + s->bytes_waiting_rcu +
			    s->bytes_waiting_ttrace <=
		    s->bytes_spans);
}

static void test_new(void **state)
{
	struct bpf_mem_stats s, zero = { 0 };
	struct bpf_mem_alloc ma;

	(void)state;
	assert_int_equal(bpf_mem_alloc_init(&ma, SIZE, false), 0);
	s = stats_of(&ma);
	assert_int_equal(s.allocators, 1);
	assert_true(s.bytes_meta > 0 && s.bytes_meta < 65536);
	assert_int_equal(process_stats().allocators, 1);
	s.allocators = s.bytes_meta = s.grace_periods = 0;
	/* An allocator costs what it uses. */
	assert_memory_equal(&s, &zero, sizeof(s));
	bpf_mem_alloc_destroy(&ma);
}

/* From state to state, with a reader that keeps what is in limbo there. */
static void test_states(void **state)
{
	enum { N = 5000 };
	static void *objs[N];
	struct bpf_mem_alloc ma;
	struct bpf_mem_stats s;
	struct sitter r;
	int i;

	(void)state;
	assert_int_equal(bpf_mem_alloc_init(&ma, SIZE, false), 0);
	for (i = 0; i < N; i++) {
		objs[i] = bpf_mem_cache_alloc(&ma);
		assert_int_equal(stats_of(&ma).objs_in_use, i + 1);
	}
	s = stats_of(&ma);
	check_sums(&s, SIZE);
	assert_int_equal(s.spans, (N + 1023) / 1024);
	assert_int_equal(s.bytes_spans, s.spans * 65536);
	sitter_begin(&r, flavors[OWN].ops);
	for (i = 0; i < N / 2; i++) {
		bpf_mem_cache_free_rcu(&ma, objs[i]);
		assert_int_equal(stats_of(&ma).objs_waiting_rcu, i + 1);
	}
	for (; i < N; i++) {
		bpf_mem_cache_free(&ma, objs[i]);
		s = stats_of(&ma);
		assert_int_equal(s.objs_in_use, N - 1 - i);
		assert_int_equal(s.objs_waiting_rcu, N / 2);
		check_sums(&s, SIZE);
	}
	assert_true(s.magazines >= (N + 61) / 62);
	/* Idle, the depot's objects go on their way and stop at the grace period; limbo's stay. */
	await(stats_of(&ma).objs_free == 0);
	s = stats_of(&ma);
	assert_int_equal(s.objs_waiting_rcu, N / 2);
	assert_true(s.objs_waiting_ttrace >= N / 2);
	assert_int_equal(s.objs_in_use, 0);
	assert_int_equal(s.spans, (N + 1023) / 1024);
	sitter_end(&r);
	/* And all goes back, with no call on the allocator. */
	await(stats_of(&ma).spans == 0);
	s = stats_of(&ma);
	assert_int_equal(s.objs_waiting_rcu + s.objs_waiting_ttrace + s.objs_free, 0);
	assert_int_equal(s.bytes_spans, 0);
	assert_int_equal(s.magazines, 0);
	assert_true(s.grace_periods > 0);
	bpf_mem_alloc_destroy(&ma);
}

/* Of a destroyed allocator, while a reader is inside: nothing is counted twice, nor left out. */
static void test_dying(void **state)
{
	enum { N = 1000, KEPT = 10 };
	static void *objs[N];
	uint64_t lost = process_stats().never_freed;
	struct bpf_mem_alloc ma;
	struct bpf_mem_stats s;
	struct sitter r;
	int i;

	(void)state;
	pin(0);
	assert_int_equal(bpf_mem_alloc_init(&ma, SIZE, false), 0);
	for (i = 0; i < N; i++)
		objs[i] = bpf_mem_cache_alloc(&ma);
	sitter_begin(&r, flavors[OWN].ops);
	for (i = KEPT; i < N; i++) {
		if (i % 2)
			bpf_mem_cache_free(&ma, objs[i]);
		else
			bpf_mem_cache_free_rcu(&ma, objs[i]);
	}
	s = stats_of(&ma);
	assert_int_equal(s.objs_in_use, KEPT);
	stderr_begin();
	bpf_mem_alloc_destroy(&ma);
	for (i = 0; i < 30; i++) {
		s = process_stats();
		if (s.objs_in_use != KEPT || s.dying != 1 || s.allocators)
			break;
		/* What fill took out of the slab beyond N may be free too. */
		if (s.objs_free + s.objs_waiting_rcu + s.objs_waiting_ttrace > N - KEPT + 62)
			break;
		sleep_us(5000);
	}
	sitter_end(&r);
	unpin();
	await_nothing_left();
	stderr_end();
	assert_int_equal(process_stats().never_freed, lost + KEPT);
	if (i < 30)
		print_error(
			"%d ms after destroy: %lu in use, %lu free, %lu in limbo, %lu waiting for tasks trace\n",
			5 * i, s.objs_in_use, s.objs_free, s.objs_waiting_rcu,
			s.objs_waiting_ttrace);
	assert_int_equal(i, 30);
}

/* The process's numbers are the allocators' together. */
static void test_sum(void **state)
{
	struct bpf_mem_alloc ma[4];
	struct bpf_mem_stats s, sum = { 0 };
	void *obj[4][100];
	int i, j;

	(void)state;
	for (i = 0; i < 4; i++) {
		assert_int_equal(bpf_mem_alloc_init(&ma[i], i ? 100 * i : 0, i == 2), 0);
		for (j = 0; j < 100; j++) {
			obj[i][j] = i ? bpf_mem_cache_alloc(&ma[i]) : bpf_mem_alloc(&ma[i], 700);
			assert_non_null(obj[i][j]);
		}
		for (j = 0; j < 10 * i; j++)
			bpf_mem_free(&ma[i], obj[i][j]);
	}
	for (i = 0; i < 4; i++) {
		s = stats_of(&ma[i]);
		assert_int_equal(s.objs_in_use, 100 - 10 * i);
		sum.objs_in_use += s.objs_in_use;
		sum.bytes_in_use += s.bytes_in_use;
		sum.spans += s.spans;
		sum.bytes_spans += s.bytes_spans;
	}
	s = process_stats();
	assert_int_equal(s.allocators, 4);
	assert_int_equal(s.objs_in_use, sum.objs_in_use);
	assert_int_equal(s.bytes_in_use, sum.bytes_in_use);
	assert_int_equal(s.spans, sum.spans);
	assert_int_equal(s.bytes_spans, sum.bytes_spans);
	assert_true(s.bytes_meta > 0);
	for (i = 0; i < 4; i++) {
		for (j = 10 * i; j < 100; j++)
			bpf_mem_free(&ma[i], obj[i][j]);
		assert_int_equal(stats_of(&ma[i]).objs_in_use, 0);
		bpf_mem_alloc_destroy(&ma[i]);
	}
}

/* Events of an allocator that is gone count for good. */
static void test_events_stay(void **state)
{
	struct bpf_mem_stats before = process_stats(), after;
	struct bpf_mem_alloc ma;

	(void)state;
	assert_int_equal(bpf_mem_alloc_init(&ma, 0, false), 0);
	stderr_begin();
	bpf_mem_free(&ma, &ma);
	stderr_end();
	assert_null(bpf_mem_alloc(&ma, 5000));
	assert_null(bpf_mem_alloc(&ma, 5000));
	assert_int_equal(stats_of(&ma).bad_frees, 1);
	assert_int_equal(stats_of(&ma).refusals, 2);
	bpf_mem_alloc_destroy(&ma);
	await_nothing_left();
	after = process_stats();
	assert_int_equal(after.bad_frees, before.bad_frees + 1);
	assert_int_equal(after.refusals, before.refusals + 2);
	assert_true(after.grace_periods > before.grace_periods);
}

/* After threads of all sorts have been at work. */
struct mixed {
	struct bpf_mem_alloc *ma;
	void *kept[100];
	uint64_t seed;
};

static void *mix(void *arg)
{
	struct mixed *m = arg;
	unsigned long n = turns(30000, 1000000), i;
	void **place, *obj;

	for (i = 0; i < n; i++) {
		place = &m->kept[rnd(&m->seed) % 100];
		obj = bpf_mem_alloc(m->ma, rnd(&m->seed) % 4096 + 1);
		must(obj);
		if (rnd(&m->seed) % 2)
			bpf_mem_free(m->ma, *place);
		else
			bpf_mem_free_rcu(m->ma, *place);
		*place = obj;
	}
	return NULL;
}

static void test_after_threads(void **state)
{
	static struct mixed m[4];
	struct bpf_mem_alloc ma;
	pthread_t threads[4];
	uint64_t kept = 0;
	int i, j;

	(void)state;
	assert_int_equal(bpf_mem_alloc_init(&ma, 0, false), 0);
	for (i = 0; i < 4; i++) {
		m[i] = (struct mixed){ .ma = &ma, .seed = (uint64_t)i + 1 };
		thread_start(&threads[i], mix, &m[i]);
	}
	for (i = 0; i < 4; i++)
		thread_join(threads[i]);
	for (i = 0; i < 4; i++)
		for (j = 0; j < 100; j++)
			kept += m[i].kept[j] != NULL;
	assert_int_equal(stats_of(&ma).objs_in_use, kept);
	for (i = 0; i < 4; i++)
		for (j = 0; j < 100; j++)
			bpf_mem_free_rcu(&ma, m[i].kept[j]);
	assert_int_equal(stats_of(&ma).objs_in_use, 0);
	await(stats_of(&ma).spans == 0);
	bpf_mem_alloc_destroy(&ma);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_new, check_nothing_left),
		cmocka_unit_test_teardown(test_states, check_nothing_left),
		cmocka_unit_test_teardown(test_dying, check_nothing_left),
		cmocka_unit_test_teardown(test_sum, check_nothing_left),
		cmocka_unit_test_teardown(test_events_stay, check_nothing_left),
		cmocka_unit_test_teardown(test_after_threads, check_nothing_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
