// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_stall.c - home/process/stall.c: a reader that holds up a grace period is reported, once
 */
#define _GNU_SOURCE
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "util.h"

#define STALL_MS 100
#define SIZE 64

/* --- what was reported --------------------------------------------------------------------------- */

#define MAX_REPORTS 16

struct reports {
	struct bpf_rcu_stall stall[MAX_REPORTS];
	char domain[MAX_REPORTS][32];
	_Atomic unsigned int nr;
};

static void on_stall(const struct bpf_rcu_stall *stall, void *ctx)
{
	struct reports *r = ctx;
	unsigned int n = atomic_load(&r->nr);

	must(n < MAX_REPORTS);
	r->stall[n] = *stall;
	snprintf(r->domain[n], sizeof(r->domain[n]), "%s", stall->domain);
	/* It may ask. */
	must(process_stats().allocators > 0);
	atomic_store(&r->nr, n + 1);
}

static unsigned int nr_of(struct reports *r)
{
	return atomic_load(&r->nr);
}

static const struct reader {
	const char *name, *domain;
	bool tid_known;
} readers[] = { { "own", "rcu", true },
		{ "trace", "tasks trace", true },
		{ "memb", "liburcu", false } };

static const struct rcu_flavor_struct *ops_of(const struct reader *r)
{
	if (r == &readers[1])
		return &trace_readers;
	return flavors[r == &readers[0] ? OWN : MEMB].ops;
}

static const struct rcu_flavor_struct *allocator_for(const struct reader *r)
{
	return flavors[r == &readers[2] ? MEMB : OWN].ops;
}

/* So many objects that wait for a reader of that kind. */
static void free_some(const struct reader *r, struct bpf_mem_alloc *ma, int n)
{
	void *objs[200];
	int i;

	for (i = 0; i < n; i++)
		objs[i] = bpf_mem_cache_alloc(ma);
	for (i = 0; i < n; i++)
		bpf_mem_cache_free_rcu(ma, objs[i]);
	/* Memory on its way out would ask for it too, but later. */
	if (r == &readers[1])
		rcu_tasks_trace_poll_state(rcu_tasks_trace_get_state());
}

/*
 * These, and what was left in magazines, of each CPU that they were allocated on, when they had been; it may be
 * on its way out.
 */
static void check_bytes(size_t bytes, size_t objs)
{
	assert_in_range(bytes, objs * SIZE, (objs + 62 * nr_cpus_here()) * SIZE);
}

static void check_report(const struct reader *r, struct reports *reports, unsigned int n,
			 const struct sitter *s)
{
	const struct bpf_rcu_stall *stall = &reports->stall[n];

	assert_string_equal(reports->domain[n], r->domain);
	assert_true(stall->ms >= STALL_MS && stall->ms < 1000 * WAIT_S);
	assert_int_equal(stall->tid, r->tid_known ? atomic_load(&s->tid) : 0);
}

/* --- tests --------------------------------------------------------------------------------------- */

static int quiet_again(void **state)
{
	bpf_rcu_set_stall_report(NULL, NULL);
	bpf_rcu_set_stall_time(1000);
	return check_nothing_left(state);
}

/* Once for each, with what is known about it. */
static void test_once(void **state)
{
	const struct reader *r = *state;
	struct reports reports = { .nr = 0 };
	struct bpf_mem_alloc ma;
	struct sitter s;
	unsigned int i;

	bpf_rcu_set_stall_time(STALL_MS);
	bpf_rcu_set_stall_report(on_stall, &reports);
	assert_int_equal(init_for(&ma, SIZE, false, allocator_for(r)), 0);
	for (i = 0; i < 2; i++) {
		sitter_begin(&s, ops_of(r));
		free_some(r, &ma, 200);
		await(nr_of(&reports) > i);
		check_report(r, &reports, i, &s);
		/* For a sleeper, they are not on their way out yet, but ripe. */
		if (r != &readers[1])
			check_bytes(reports.stall[i].limbo_bytes, 200);
		sleep_us(3 * STALL_MS * 1000);
		assert_int_equal(nr_of(&reports), i + 1);
		sitter_end(&s);
		await(!stats_of(&ma).bytes_spans);
	}
	assert_int_equal(nr_of(&reports), 2);
	bpf_mem_alloc_destroy(&ma);
	await_nothing_left();
}

/* Two domains that stall at a time are two stalls. */
static void test_two_at_once(void **state)
{
	struct reports reports = { .nr = 0 };
	struct bpf_mem_alloc ma;
	struct sitter s[2];
	unsigned int first;

	(void)state;
	bpf_rcu_set_stall_time(STALL_MS);
	bpf_rcu_set_stall_report(on_stall, &reports);
	assert_int_equal(bpf_mem_alloc_init(&ma, SIZE, false), 0);
	sitter_begin(&s[0], ops_of(&readers[0]));
	sitter_begin(&s[1], ops_of(&readers[1]));
	free_some(&readers[1], &ma, 100);
	await(nr_of(&reports) == 2);
	first = strcmp(reports.domain[0], "rcu") != 0;
	check_report(&readers[0], &reports, first, &s[0]);
	check_report(&readers[1], &reports, !first, &s[1]);
	sitter_end(&s[0]);
	sitter_end(&s[1]);
	bpf_mem_alloc_destroy(&ma);
	await_nothing_left();
}

/* Nobody waits, or it is switched off: nothing is said. */
static void test_silent(void **state)
{
	struct reports reports = { .nr = 0 };
	struct bpf_mem_alloc ma;
	struct sitter s[3];
	int i;

	(void)state;
	bpf_rcu_set_stall_time(STALL_MS);
	bpf_rcu_set_stall_report(on_stall, &reports);
	assert_int_equal(bpf_mem_alloc_init(&ma, SIZE, false), 0);
	await(!process_stats().dying);
	for (i = 0; i < 3; i++)
		sitter_begin(&s[i], ops_of(&readers[i]));
	sleep_us(4 * STALL_MS * 1000);
	assert_int_equal(nr_of(&reports), 0);
	bpf_rcu_set_stall_time(0);
	free_some(&readers[1], &ma, 1);
	sleep_us(4 * STALL_MS * 1000);
	assert_int_equal(nr_of(&reports), 0);
	/* Switched on, the stalls that last are reported. */
	bpf_rcu_set_stall_time(STALL_MS);
	await(nr_of(&reports) == 2);
	for (i = 0; i < 3; i++)
		sitter_end(&s[i]);
	bpf_mem_alloc_destroy(&ma);
	await_nothing_left();
}

/* Readers that come and go, one always inside, hold up nothing. */
static void *come_and_go(void *arg)
{
	_Atomic bool *stop = arg;

	while (!atomic_load(stop)) {
		bpf_rcu_read_lock();
		sleep_us(10000);
		bpf_rcu_read_unlock();
	}
	return NULL;
}

static unsigned int reports_of_guests(void)
{
	static _Atomic bool stop;
	struct reports reports = { .nr = 0 };
	double until = now() + 0.5;
	struct bpf_mem_alloc ma;
	pthread_t thread[2];
	unsigned int nr;

	bpf_rcu_set_stall_time(2 * STALL_MS);
	bpf_rcu_set_stall_report(on_stall, &reports);
	must(!bpf_mem_alloc_init(&ma, SIZE, false));
	atomic_store(&stop, false);
	thread_start(&thread[0], come_and_go, &stop);
	sleep_us(5000);
	thread_start(&thread[1], come_and_go, &stop);
	while (now() < until) {
		free_some(&readers[0], &ma, 10);
		sleep_us(1000);
	}
	atomic_store(&stop, true);
	thread_join(thread[0]);
	thread_join(thread[1]);
	bpf_rcu_set_stall_report(NULL, NULL);
	nr = nr_of(&reports);
	bpf_mem_alloc_destroy(&ma);
	return nr;
}

static void test_guests(void **state)
{
	unsigned int tries = 0;

	(void)state;
	/* On a busy machine one may oversleep. */
	while (reports_of_guests() && ++tries < 3)
		;
	assert_true(tries < 3);
}

/* On stderr, and at first after a second; for the sake of time the others are told to be quicker. */
static void test_stderr(void **state)
{
	const struct reader *r = *state;
	unsigned int stall_ms = r == &readers[0] ? 1000 : 2 * STALL_MS;
	struct bpf_mem_alloc ma;
	char expect[128];
	const char *said;
	unsigned long ms;
	size_t bytes;
	struct sitter s;
	int end = 0;

	assert_int_equal(init_for(&ma, SIZE, false, allocator_for(r)), 0);
	if (r != &readers[0])
		bpf_rcu_set_stall_time(stall_ms);
	sitter_begin(&s, ops_of(r));
	stderr_begin();
	free_some(r, &ma, 100);
	sleep_us(stall_ms * 500);
	said = stderr_end();
	assert_string_equal(said, "");
	stderr_begin();
	sleep_us(stall_ms * 1000);
	said = stderr_end();
	sitter_end(&s);
	bpf_mem_alloc_destroy(&ma);
	await_nothing_left();
	if (r->tid_known)
		snprintf(expect, sizeof(expect),
			 "bma: a reader of thread %d holds up a grace period of %s for ",
			 atomic_load(&s.tid), r->domain);
	else
		snprintf(expect, sizeof(expect), "bma: a reader holds up a grace period of %s for ",
			 r->domain);
	assert_memory_equal(said, expect, strlen(expect));
	assert_int_equal(
		sscanf(said + strlen(expect), "%lu ms; %zu bytes wait\n%n", &ms, &bytes, &end), 2);
	assert_true(ms >= stall_ms && ms < 2 * stall_ms);
	if (r != &readers[1])
		check_bytes(bytes, 100);
	/* One line, and no more. */
	assert_int_equal(said[strlen(expect) + (size_t)end], 0);
}

#define FOR_EACH(test)                                                                             \
	{ #test "(own)", test, NULL, quiet_again, (void *)(uintptr_t)&readers[0] },                \
		{ #test "(trace)", test, NULL, quiet_again, (void *)(uintptr_t)&readers[1] },      \
	{                                                                                          \
#test "(memb)", test, NULL, quiet_again, (void *)(uintptr_t)&readers[2]            \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FOR_EACH(test_stderr),
		FOR_EACH(test_once),
		cmocka_unit_test_teardown(test_two_at_once, quiet_again),
		cmocka_unit_test_teardown(test_silent, quiet_again),
		cmocka_unit_test_teardown(test_guests, quiet_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
