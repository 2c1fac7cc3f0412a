// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_fork_readers.c - grace periods on both sides of a fork
 *
 * The forking thread's own sections go on in the child; the sections of threads that the child does not
 * have hold up nothing there, and go on holding in the parent.
 */
#define _GNU_SOURCE
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util.h"

/* After bma's headers, whose default readers they would change. */
#include <urcu/urcu-bp.h>

#define SIZE 64

/* The two kinds of our own readers. */
struct kind {
	const struct rcu_flavor_struct *ops;
	bpf_rcu_cookie (*get)(void);
	bool (*poll)(bpf_rcu_cookie cookie);
	void (*synchronize)(void);
};

static struct kind kinds[2];

static pid_t fork_now(void)
{
	pid_t pid;

	fflush(NULL);
	pid = fork();
	must(pid >= 0);
	return pid;
}

/* A grace period is under way, and wanted, when this returns. */
static bpf_rcu_cookie want(const struct kind *k)
{
	bpf_rcu_cookie cookie = k->get();

	must(!k->poll(cookie));
	return cookie;
}

static bool stays_pending(const struct kind *k, bpf_rcu_cookie cookie)
{
	int i;

	for (i = 0; i < 100; i++) {
		if (k->poll(cookie))
			return false;
		sleep_us(500);
	}
	return true;
}

/* --- own sections ------------------------------------------------------------------------------------ */

/* The reader's section lasts, whoever looks, by whatever number its thread is known there. */
static void keep_inside(const struct kind *k, bpf_rcu_cookie cookie)
{
	struct sitter s;

	must(k->ops->read_ongoing());
	must(!process_stats().never_freed); /* starts the reclaimer, which polls too */
	sitter_begin(&s, k->ops);
	must(stays_pending(k, cookie));
	sitter_end(&s);
	must(stays_pending(k, cookie));
	k->ops->read_unlock();
	must(!k->ops->read_ongoing());
	await(k->poll(cookie));
	k->synchronize();
}

static void fork_inside(const struct kind *k)
{
	bpf_rcu_cookie cookie;
	pid_t pid;

	k->ops->read_lock();
	cookie = want(k);
	pid = fork_now();
	keep_inside(k, cookie);
	if (!pid)
		_exit(0);
	must(child_ended_well(pid));
}

static void *fork_inside_both(void *arg)
{
	(void)arg;
	fork_inside(&kinds[0]);
	fork_inside(&kinds[1]);
	return NULL;
}

static void test_inside(void **state)
{
	pthread_t thread;
	int i;

	(void)state;
	for (i = 0; i < 5; i++) {
		fork_inside_both(NULL);
		thread_start(&thread, fork_inside_both, NULL);
		thread_join(thread);
	}
}

/* What was freed inside, before the fork, stays as it is until the section ends: on both sides. */
static void test_freed_inside(void **state)
{
	struct bpf_mem_alloc ma;
	void *obj, *other;
	pid_t pid;
	int i;

	(void)state;
	assert_int_equal(bpf_mem_alloc_init(&ma, SIZE, false), 0);
	obj = bpf_mem_cache_alloc(&ma);
	fill(obj, SIZE, 3);
	bpf_rcu_read_lock();
	bpf_mem_cache_free_rcu(&ma, obj);
	pid = fork_now();
	for (i = 0; i < 3000; i++) {
		other = bpf_mem_cache_alloc(&ma);
		must(other && other != obj);
		memset(other, 0x11, SIZE);
		bpf_mem_cache_free_rcu(&ma, other);
	}
	must(is_filled(obj, SIZE, 3));
	bpf_rcu_read_unlock();
	bpf_rcu_barrier();
	must(!stats_of(&ma).objs_waiting_rcu);
	bpf_mem_alloc_destroy(&ma);
	await_nothing_left();
	if (!pid)
		_exit(0);
	assert_true(child_ended_well(pid));
}

/* --- sections of others ------------------------------------------------------------------------------ */

static void test_elsewhere(void **state)
{
	const struct kind *k = *state;
	bpf_rcu_cookie cookie;
	struct sitter s;
	pid_t pid;
	int i;

	for (i = 0; i < 20; i++) {
		sitter_begin(&s, k->ops);
		cookie = want(k);
		pid = fork_now();
		if (!pid) {
			k->synchronize();
			await(k->poll(cookie));
			_exit(0);
		}
		assert_true(child_ended_well(pid));
		assert_true(stays_pending(k, cookie));
		sitter_end(&s);
		k->synchronize();
		assert_true(k->poll(cookie));
	}
}

/* An allocator that is dying, and limbo that waits for that reader. */
static void test_teardown_elsewhere(void **state)
{
	const struct kind *k = *state;
	struct bpf_mem_alloc dying, alive;
	struct sitter s;
	pid_t pid;
	int i;

	assert_int_equal(bpf_mem_alloc_init(&dying, SIZE, false), 0);
	assert_int_equal(bpf_mem_alloc_init(&alive, SIZE, false), 0);
	sitter_begin(&s, k->ops);
	for (i = 0; i < 1000; i++) {
		bpf_mem_cache_free_rcu(&dying, bpf_mem_cache_alloc(&dying));
		bpf_mem_cache_free_rcu(&alive, bpf_mem_cache_alloc(&alive));
	}
	bpf_mem_alloc_destroy(&dying);
	await(process_stats().dying == 1);
	pid = fork_now();
	if (!pid) {
		bpf_rcu_barrier();
		must(!stats_of(&alive).objs_waiting_rcu);
		await(!process_stats().dying);
		bpf_mem_alloc_destroy(&alive);
		await_nothing_left();
		_exit(0);
	}
	assert_true(child_ended_well(pid));
	assert_int_equal(process_stats().dying, 1);
	sitter_end(&s);
	bpf_mem_alloc_destroy(&alive);
}

/* At the limit of limbo because of a reader that the child does not have. */
static void test_limit_elsewhere(void **state)
{
	struct bpf_mem_alloc ma;
	struct sitter s;
	void *obj;
	pid_t pid;

	(void)state;
	assert_int_equal(bpf_mem_alloc_init(&ma, 1024, false), 0);
	bpf_mem_alloc_set_limbo_limit(&ma, 100 << 10);
	sitter_begin(&s, flavors[OWN].ops);
	while ((obj = bpf_mem_cache_alloc(&ma)))
		bpf_mem_cache_free_rcu(&ma, obj);
	pid = fork_now();
	if (!pid) {
		obj = bpf_mem_cache_alloc_flags(&ma, GFP_KERNEL);
		must(obj);
		bpf_mem_cache_free(&ma, obj);
		bpf_rcu_barrier();
		must(!stats_of(&ma).objs_waiting_rcu);
		_exit(0);
	}
	assert_true(child_ended_well(pid));
	assert_null(bpf_mem_cache_alloc(&ma));
	sitter_end(&s);
	obj = bpf_mem_cache_alloc_flags(&ma, GFP_KERNEL);
	assert_non_null(obj);
	bpf_mem_cache_free(&ma, obj);
	bpf_mem_alloc_destroy(&ma);
}

/* A callback that waits is each side's: it runs once here and once there. */
static _Atomic int called;

static void count(struct bpf_rcu_head *head)
{
	(void)head;
	atomic_fetch_add(&called, 1);
}

static void test_callbacks(void **state)
{
	struct bpf_rcu_head rcu, trace;
	struct sitter s, t;
	pid_t pid;

	(void)state;
	atomic_store(&called, 0);
	sitter_begin(&s, flavors[OWN].ops);
	sitter_begin(&t, &trace_readers);
	bpf_call_rcu(&rcu, count);
	call_rcu_tasks_trace(&trace, count);
	/* Taken, but not run. */
	sleep_us(60000);
	must(!atomic_load(&called));
	pid = fork_now();
	if (!pid) {
		bpf_rcu_barrier();
		await(atomic_load(&called) == 2);
		bpf_rcu_barrier();
		must(atomic_load(&called) == 2);
		_exit(0);
	}
	assert_true(child_ended_well(pid));
	assert_int_equal(atomic_load(&called), 0);
	sitter_end(&t);
	sitter_end(&s);
	bpf_rcu_barrier();
	await(atomic_load(&called) == 2);
}

/* --- where others are in the middle of calls that block -------------------------------------------- */

static _Atomic bool stop;

static void block_a_little(void)
{
	struct bpf_mem_alloc ma;

	must(!bpf_mem_alloc_init(&ma, SIZE, false));
	bpf_mem_cache_free_rcu(&ma, bpf_mem_cache_alloc(&ma));
	bpf_rcu_barrier();
	must(!stats_of(&ma).objs_in_use);
	bpf_mem_alloc_destroy(&ma);
	bpf_rcu_synchronize();
	synchronize_rcu_tasks_trace();
	must(!process_stats().never_freed);
}

static void *block_all_the_time(void *arg)
{
	(void)arg;
	while (!atomic_load(&stop))
		block_a_little();
	return NULL;
}

static void test_blocked(void **state)
{
	unsigned long n = turns(100, 5000), i;
	pthread_t threads[3];
	pid_t pid;
	int j;

	(void)state;
	atomic_store(&stop, false);
	for (j = 0; j < 3; j++)
		thread_start(&threads[j], block_all_the_time, NULL);
	for (i = 0; i < n; i++) {
		pid = fork_now();
		if (!pid) {
			block_a_little();
			await(!process_stats().dying);
			_exit(0);
		}
		assert_true(child_ended_well(pid));
	}
	atomic_store(&stop, true);
	for (j = 0; j < 3; j++)
		thread_join(threads[j]);
}

/* --- statistics and accounts --------------------------------------------------------------------------- */

#define OBJS 500

static void free_half(struct bpf_mem_alloc *ma, void **objs, int from)
{
	for (; from < OBJS; from += 2)
		bpf_mem_cache_free(ma, objs[from]);
}

/* In a child that frees all, or half, which is no loss there. */
static void child_counts(struct bpf_mem_alloc *ma, void **objs, struct obj_cgroup *cg, bool all)
{
	const char *said;

	must(stats_of(ma).objs_in_use == OBJS);
	free_half(ma, objs, 0);
	must(stats_of(ma).objs_in_use == OBJS / 2);
	must(obj_cgroup_usage(cg) > 0);
	if (all)
		free_half(ma, objs, 1);
	must(stats_of(ma).objs_in_use == (all ? 0 : OBJS / 2));
	stderr_begin();
	bpf_mem_alloc_destroy(ma);
	await_nothing_left();
	said = stderr_end();
	must(!*said);
	must(!process_stats().never_freed);
	must(!obj_cgroup_usage(cg));
	_exit(0);
}

static void test_counts(void **state)
{
	struct obj_cgroup *cg = obj_cgroup_create("forks", 0);
	static void *objs[OBJS];
	struct bpf_mem_alloc ma;
	size_t used;
	pid_t pid;
	int i;

	(void)state;
	assert_int_equal(bpf_mem_alloc_init(&ma, SIZE, false), 0);
	bpf_mem_alloc_set_objcg(&ma, cg);
	for (i = 0; i < OBJS; i++)
		assert_non_null(objs[i] = bpf_mem_cache_alloc(&ma));
	used = obj_cgroup_usage(cg);
	for (i = 0; i < 2; i++) {
		pid = fork_now();
		if (!pid)
			child_counts(&ma, objs, cg, i);
		assert_true(child_ended_well(pid));
		assert_int_equal(stats_of(&ma).objs_in_use, OBJS);
		assert_int_equal(obj_cgroup_usage(cg), used);
	}
	free_half(&ma, objs, 0);
	free_half(&ma, objs, 1);
	bpf_mem_alloc_destroy(&ma);
	obj_cgroup_put(cg);
}

/* --- liburcu's flavours: the forking thread is the only one that is registered ----------------------- */

static bool is_bp(const struct rcu_flavor_struct *flavor)
{
	return flavor == flavors[BP].ops;
}

static pid_t fork_flavor(const struct rcu_flavor_struct *flavor)
{
	pid_t pid;

	if (is_bp(flavor))
		urcu_bp_before_fork();
	pid = fork_now();
	if (is_bp(flavor) && pid)
		urcu_bp_after_fork_parent();
	else if (is_bp(flavor))
		urcu_bp_after_fork_child();
	return pid;
}

static void free_some(struct bpf_mem_alloc *ma)
{
	int i;

	for (i = 0; i < 500; i++)
		bpf_mem_cache_free_rcu(ma, bpf_mem_cache_alloc(ma));
}

static void flavor_child(const struct rcu_flavor_struct *flavor, struct bpf_mem_alloc *ma,
			 void *obj, unsigned long nth)
{
	struct sitter s;

	must(is_filled(obj, SIZE, nth));
	bpf_mem_cache_free_rcu(ma, obj);
	free_some(ma);
	if (nth % 2) {
		sitter_begin(&s, flavor);
		sitter_end(&s);
	}
	bpf_rcu_barrier();
	must(!stats_of(ma).objs_waiting_rcu);
	bpf_mem_alloc_destroy(ma);
	await_nothing_left();
	_exit(0);
}

/* Its threads are in the middle of grace periods, or between them. */
static void test_flavor(void **state)
{
	const struct rcu_flavor_struct *flavor = ((const struct flavor *)*state)->ops;
	unsigned long n = turns(40, 2000), i;
	struct bpf_mem_alloc ma;
	void *obj;
	pid_t pid;

	assert_int_equal(init_for(&ma, SIZE, false, flavor), 0);
	flavor->register_thread();
	flavor->thread_offline();
	for (i = 0; i < n; i++) {
		obj = bpf_mem_cache_alloc(&ma);
		assert_non_null(obj);
		fill(obj, SIZE, i);
		free_some(&ma);
		sleep_us(i % 8 * 400);
		pid = fork_flavor(flavor);
		if (!pid)
			flavor_child(flavor, &ma, obj, i);
		assert_true(child_ended_well(pid));
		assert_true(is_filled(obj, SIZE, i));
		bpf_mem_cache_free(&ma, obj);
	}
	flavor->unregister_thread();
	bpf_rcu_barrier();
	bpf_mem_alloc_destroy(&ma);
}

/*
 * A reader in another thread leaves while the process forks: the grace period that waits ends first.  By
 * liburcu's rule it must not be registered when the fork goes on, so that is how it leaves.
 */
static _Atomic bool sits, gone;

static void *sit_a_little(void *arg)
{
	const struct rcu_flavor_struct *flavor = arg;

	flavor->register_thread();
	reader_enter(flavor);
	atomic_store(&sits, true);
	sleep_us(5000);
	flavor->unregister_thread();
	flavor->read_unlock();
	atomic_store(&gone, true);
	return NULL;
}

static void test_flavor_under_way(void **state)
{
	const struct rcu_flavor_struct *flavor = ((const struct flavor *)*state)->ops;
	unsigned long n = turns(20, 1000), i;
	struct bpf_mem_alloc ma;
	pthread_t thread;
	void *obj;
	pid_t pid;

	assert_int_equal(init_for(&ma, SIZE, false, flavor), 0);
	for (i = 0; i < n; i++) {
		obj = bpf_mem_cache_alloc(&ma);
		assert_non_null(obj);
		fill(obj, SIZE, i);
		atomic_store(&sits, false);
		atomic_store(&gone, false);
		thread_start(&thread, sit_a_little, (void *)(uintptr_t)flavor);
		await(atomic_load(&sits));
		free_some(&ma);
		sleep_us(4000);
		pid = fork_flavor(flavor);
		/* On a busy machine it may not have left in time: then the rule does not hold. */
		if (!pid && !atomic_load(&gone))
			_exit(0);
		if (!pid)
			flavor_child(flavor, &ma, obj, i);
		thread_join(thread);
		assert_true(child_ended_well(pid));
		bpf_mem_cache_free(&ma, obj);
	}
	bpf_mem_alloc_destroy(&ma);
}

static struct kind kinds[2] = {
	{ NULL, bpf_rcu_get_state, bpf_rcu_poll_state, bpf_rcu_synchronize },
	{ &trace_readers, rcu_tasks_trace_get_state, rcu_tasks_trace_poll_state,
	  synchronize_rcu_tasks_trace },
};

#define KIND(test, name, nth)                                                                      \
	{                                                                                          \
#test "(" name ")", test, NULL, check_nothing_left, &kinds[nth]                    \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_inside),
		cmocka_unit_test_teardown(test_freed_inside, check_nothing_left),
		KIND(test_elsewhere, "rcu", 0),
		KIND(test_elsewhere, "tasks trace", 1),
		KIND(test_teardown_elsewhere, "rcu", 0),
		KIND(test_teardown_elsewhere, "tasks trace", 1),
		cmocka_unit_test_teardown(test_limit_elsewhere, check_nothing_left),
		cmocka_unit_test(test_callbacks),
		cmocka_unit_test_teardown(test_blocked, check_nothing_left),
		cmocka_unit_test_teardown(test_counts, check_nothing_left),
		ALL_FLAVORS(test_flavor, NULL, check_nothing_left),
		CASE(test_flavor_under_way, "test_flavor_under_way(memb)", NULL, check_nothing_left,
		     MEMB),
		CASE(test_flavor_under_way, "test_flavor_under_way(mb)", NULL, check_nothing_left,
		     MB),
	};

	kinds[0].ops = flavors[OWN].ops;
	if (TEST_TSAN || under_qemu()) {
		puts("# skipped: what runs us is not made for children of several threads");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
