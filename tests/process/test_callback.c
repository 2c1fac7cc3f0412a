// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_callback.c - bpf_call_rcu(), call_rcu_tasks_trace() and bpf_rcu_barrier()
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "port.h"
#include "util.h"

typedef void call_fn(struct bpf_rcu_head *head, void (*func)(struct bpf_rcu_head *head));

struct kind {
	call_fn *call;
	const struct rcu_flavor_struct *readers, *others;
};

static struct kind kinds[2];

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* --- one callback ------------------------------------------------------------------------------- */

struct job {
	uint64_t before;
	struct bpf_rcu_head head;
	uint64_t after;
	_Atomic unsigned int runs;
	unsigned int number;
	const struct kind *kind;
};

static void ran(struct bpf_rcu_head *head)
{
	struct job *j = container_of(head, struct job, head);

	must(j->before == 1 && j->after == 2);
	atomic_fetch_add(&j->runs, 1);
}

static void call(const struct kind *k, struct job *j, void (*func)(struct bpf_rcu_head *head))
{
	j->before = 1;
	j->after = 2;
	j->kind = k;
	k->call(&j->head, func);
}

/* Not before the readers that are inside have left; those of the other kind do not count. */
static void test_waits(void **state)
{
	const struct kind *k = *state;
	struct job j[2] = { 0 };
	struct sitter s, other;

	sitter_begin(&other, k->others);
	sitter_begin(&s, k->readers);
	call(k, &j[0], ran);
	sleep_us(100000);
	call(k, &j[1], ran);
	sleep_us(50000);
	assert_int_equal(atomic_load(&j[0].runs) + atomic_load(&j[1].runs), 0);
	sitter_end(&s);
	await(atomic_load(&j[0].runs) && atomic_load(&j[1].runs));
	sleep_us(60000);
	assert_int_equal(atomic_load(&j[0].runs), 1);
	assert_int_equal(atomic_load(&j[1].runs), 1);
	sitter_end(&other);
}

/* With no reader inside, soon: within a few of the reclaimer's rounds. */
static void test_soon(void **state)
{
	const struct kind *k = *state;
	double start, best = 1e9;
	int i;

	for (i = 0; i < 5; i++) {
		struct job j = { 0 };

		start = now();
		call(k, &j, ran);
		await(atomic_load(&j.runs));
		best = now() - start < best ? now() - start : best;
	}
	printf("# %.1f ms\n", 1e3 * best);
	assert_true(!is_plain() || best < 0.1);
}

/* What one thread queues runs in that order, on the reclaimer's thread, one at a time. */
#define NR_JOBS 3000

static _Atomic unsigned int next_number, running;
static int runs_on;

static void in_order(struct bpf_rcu_head *head)
{
	struct job *j = container_of(head, struct job, head);
	char name[32];

	must(atomic_fetch_add(&running, 1) == 0);
	must(atomic_fetch_add(&next_number, 1) == j->number);
	must(!pthread_getname_np(pthread_self(), name, sizeof(name)) &&
	     !strcmp(name, "bma-reclaim"));
	must(!runs_on || runs_on == (int)syscall(SYS_gettid));
	runs_on = (int)syscall(SYS_gettid);
	must(atomic_fetch_sub(&running, 1) == 1);
	free(j);
}

static void test_order(void **state)
{
	const struct kind *k = *state;
	unsigned int i;
	struct job *j;

	atomic_store(&next_number, 0);
	for (i = 0; i < NR_JOBS; i++) {
		j = calloc(1, sizeof(*j));
		j->number = i;
		call(k, j, in_order);
		if (i % 500 == 0)
			sleep_us(10000);
	}
	await(atomic_load(&next_number) == NR_JOBS);
}

/* Many threads and signal handlers queue at once: each job runs, once. */
struct crowd {
	const struct kind *kind;
	struct job *jobs;
	_Atomic unsigned int next;
	unsigned int nr;
};

static struct crowd crowd;

static bool queue_one(void)
{
	unsigned int i = atomic_fetch_add(&crowd.next, 1);

	if (i < crowd.nr)
		call(crowd.kind, &crowd.jobs[i], ran);
	return i < crowd.nr;
}

static void on_timer(int sig)
{
	int saved = errno;

	(void)sig;
	errno = 78;
	queue_one();
	must(errno == 78);
	errno = saved;
}

static void *queue_many(void *arg)
{
	(void)arg;
	while (queue_one())
		;
	return NULL;
}

static void test_crowd(void **state)
{
	const struct kind *k = *state;
	struct itimerspec often = { { 0, 100000 }, { 0, 100000 } }, never = { 0 };
	struct sigaction action = { .sa_handler = on_timer, .sa_flags = SA_RESTART };
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN };
	pthread_t threads[4];
	timer_t timer;
	unsigned int i;

	crowd = (struct crowd){ .kind = k, .nr = (unsigned int)turns(200000, 5000000) };
	crowd.jobs = calloc(crowd.nr, sizeof(*crowd.jobs));
	assert_non_null(crowd.jobs);
	assert_int_equal(sigaction(SIGRTMIN, &action, NULL), 0);
	assert_int_equal(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
	assert_int_equal(timer_settime(timer, 0, &often, NULL), 0);
	for (i = 0; i < 4; i++)
		thread_start(&threads[i], queue_many, NULL);
	for (i = 0; i < 4; i++)
		thread_join(threads[i]);
	assert_int_equal(timer_settime(timer, 0, &never, NULL), 0);
	assert_int_equal(timer_delete(timer), 0);
	for (i = 0; i < crowd.nr; i++)
		await(atomic_load(&crowd.jobs[i].runs));
	for (i = 0; i < crowd.nr; i++)
		assert_int_equal(atomic_load(&crowd.jobs[i].runs), 1);
	free(crowd.jobs);
}

/* A callback may do all that others may: free, allocate, ask for numbers, queue itself again. */
struct worker {
	struct job job;
	struct bpf_mem_alloc *ma;
	void *obj;
	unsigned int left;
};

static void work(struct bpf_rcu_head *head)
{
	struct worker *w = container_of(head, struct worker, job.head);
	void *fresh = bpf_mem_cache_alloc(w->ma);

	must(fresh && fresh != w->obj && is_filled(w->obj, 64, w->left));
	bpf_mem_cache_free_rcu(w->ma, w->obj);
	bpf_mem_cache_free(w->ma, bpf_mem_cache_alloc(w->ma));
	must(!bpf_rcu_read_lock_held() && !rcu_read_lock_trace_held());
	bpf_rcu_poll_state(bpf_rcu_get_state());
	must(stats_of(w->ma).allocators == 1);
	w->obj = fresh;
	fill(fresh, 64, --w->left);
	if (w->left)
		w->job.kind->call(head, work);
	else
		atomic_fetch_add(&w->job.runs, 1);
}

static void test_work(void **state)
{
	const struct kind *k = *state;
	struct bpf_mem_alloc ma;
	struct worker w[4];
	int i;

	assert_int_equal(bpf_mem_alloc_init(&ma, 64, false), 0);
	for (i = 0; i < 4; i++) {
		w[i] = (struct worker){ .ma = &ma, .left = 10 };
		w[i].obj = bpf_mem_cache_alloc(&ma);
		fill(w[i].obj, 64, w[i].left);
		call(k, &w[i].job, work);
	}
	for (i = 0; i < 4; i++)
		await(atomic_load(&w[i].job.runs));
	assert_int_equal(stats_of(&ma).objs_in_use, 4);
	for (i = 0; i < 4; i++)
		bpf_mem_cache_free(&ma, w[i].obj);
	bpf_mem_alloc_destroy(&ma);
}

/*
 * A program that uses readers and callbacks only, and never makes an allocator: from its first call that
 * may block on, callbacks are run.
 */
static void no_allocator(void *arg)
{
	const struct kind *k = arg;
	struct job j = { 0 };
	double until = now() + 3;

	call(k, &j, ran);
	bpf_rcu_synchronize();
	while (!atomic_load(&j.runs) && now() < until)
		sleep_us(1000);
	must(atomic_load(&j.runs) == 1);
}

static void test_no_allocator(void **state)
{
	assert_true(in_child(no_allocator, *state));
}

/* --- the barrier -------------------------------------------------------------------------------- */

/* All that was freed before is ripe, in each domain, with no reader anywhere. */
static void test_barrier(void **state)
{
	struct bpf_mem_alloc ma[NR_FLAVORS];
	struct job j = { 0 };
	int turn, i, n;

	(void)state;
	for (i = 0; i < NR_FLAVORS; i++)
		assert_int_equal(init_for(&ma[i], 64, false, flavors[i].ops), 0);
	bpf_rcu_barrier();
	for (turn = 0; turn < 10; turn++) {
		for (i = 0; i < NR_FLAVORS; i++)
			for (n = 0; n < 100 * turn + 1; n++)
				bpf_mem_cache_free_rcu(&ma[i], bpf_mem_cache_alloc(&ma[i]));
		call(&kinds[0], &j, ran);
		bpf_rcu_barrier();
		assert_int_equal(atomic_load(&j.runs), turn + 1);
		for (i = 0; i < NR_FLAVORS; i++)
			assert_int_equal(stats_of(&ma[i]).objs_waiting_rcu, 0);
	}
	for (i = 0; i < NR_FLAVORS; i++)
		bpf_mem_alloc_destroy(&ma[i]);
}

struct barrier {
	_Atomic bool done;
	pthread_t thread;
};

static void *do_barrier(void *arg)
{
	struct barrier *b = arg;

	bpf_rcu_barrier();
	atomic_store(&b->done, true);
	return NULL;
}

/* It waits for who is inside, of whichever flavour; not for sleepable readers. */
static void test_barrier_waits(void **state)
{
	const struct flavor *f = *state;
	struct sitter s, sleeper;
	struct bpf_mem_alloc ma;
	struct barrier b = { 0 };
	struct job j = { 0 };

	assert_int_equal(init_for(&ma, 64, false, f->ops), 0);
	sitter_begin(&sleeper, &trace_readers);
	sitter_begin(&s, f->ops);
	bpf_mem_cache_free_rcu(&ma, bpf_mem_cache_alloc(&ma));
	call(&kinds[0], &j, ran);
	thread_start(&b.thread, do_barrier, &b);
	sleep_us(100000);
	assert_false(atomic_load(&b.done));
	assert_int_equal(stats_of(&ma).objs_waiting_rcu, 1);
	sitter_end(&s);
	thread_join(b.thread);
	assert_int_equal(atomic_load(&j.runs), 1);
	assert_int_equal(stats_of(&ma).objs_waiting_rcu, 0);
	sitter_end(&sleeper);
	bpf_mem_alloc_destroy(&ma);
}

/* Inside a section it says so and returns. */
static void test_barrier_inside(void **state)
{
	const struct flavor *f = *state;
	struct bpf_mem_alloc ma;
	const char *said;
	double start;

	assert_int_equal(init_for(&ma, 64, false, f->ops), 0);
	f->ops->register_thread();
	reader_enter(f->ops);
	bpf_mem_cache_free_rcu(&ma, bpf_mem_cache_alloc(&ma));
	stderr_begin();
	start = now();
	bpf_rcu_barrier();
	said = stderr_end();
	assert_true(now() - start < 5);
	/* A QSBR thread is taken offline for the wait. */
	if (is_qsbr(f->ops))
		assert_string_equal(said, "");
	else
		assert_string_equal(said, "bpf_rcu_barrier: called inside a read-side section\n");
	assert_int_equal(stats_of(&ma).objs_waiting_rcu, !is_qsbr(f->ops));
	assert_true(f->ops->read_ongoing());
	reader_leave(f->ops);
	f->ops->unregister_thread();
	bpf_rcu_barrier();
	assert_int_equal(stats_of(&ma).objs_waiting_rcu, 0);
	/* A sleepable section is none of its business. */
	rcu_read_lock_trace();
	bpf_rcu_barrier();
	rcu_read_unlock_trace();
	bpf_mem_alloc_destroy(&ma);
}

/* From several threads at once, each with what it freed itself. */
static void *free_and_barrier(void *arg)
{
	const struct flavor *f = arg;
	double until = now() + (is_long() ? 20 : 0.5);
	struct bpf_mem_alloc ma;
	struct job j = { 0 };
	unsigned long i;

	must(!init_for(&ma, 64, false, f->ops));
	for (i = 0; now() < until || i < 20; i++) {
		bpf_mem_cache_free_rcu(&ma, bpf_mem_cache_alloc(&ma));
		call(&kinds[0], &j, ran);
		bpf_rcu_barrier();
		must(atomic_load(&j.runs) == i + 1);
		must(stats_of(&ma).objs_waiting_rcu == 0);
	}
	bpf_mem_alloc_destroy(&ma);
	return (void *)(uintptr_t)i;
}

static void test_barriers_at_once(void **state)
{
	pthread_t threads[4];
	unsigned long total = 0;
	void *n;
	int i;

	for (i = 0; i < 4; i++)
		thread_start(&threads[i], free_and_barrier, *state);
	for (i = 0; i < 4; i++) {
		must(!pthread_join(threads[i], &n));
		total += (unsigned long)(uintptr_t)n;
	}
	printf("# %lu barriers\n", total);
}

/*
 * One that begins in the middle of a round that does another's work, when that round has been past the
 * CPU already: it needs the next one to do the same again.  A callback that takes its time makes the
 * round long.
 */
static _Atomic bool in_callback;

static void take_time(struct bpf_rcu_head *head)
{
	(void)head;
	atomic_store(&in_callback, true);
	sleep_us(100000);
}

static void test_barrier_in_round(void **state)
{
	const struct flavor *f = *state;
	struct bpf_mem_alloc ma;
	struct barrier b = { 0 };
	struct job j = { 0 };
	uint64_t left;

	assert_int_equal(init_for(&ma, 64, false, f->ops), 0);
	atomic_store(&in_callback, false);
	/* The next round begins with the barrier's wish and the callback there. */
	port_reclaim_lock();
	call(&kinds[0], &j, take_time);
	thread_start(&b.thread, do_barrier, &b);
	sleep_us(30000);
	port_reclaim_unlock();
	await(atomic_load(&in_callback));
	bpf_mem_cache_free_rcu(&ma, bpf_mem_cache_alloc(&ma));
	bpf_rcu_barrier();
	left = stats_of(&ma).objs_waiting_rcu;
	thread_join(b.thread);
	bpf_mem_alloc_destroy(&ma);
	assert_int_equal(left, 0);
}

#define FOR_BOTH(test)                                                                             \
	{ #test "(rcu)", test, NULL, check_nothing_left, &kinds[0] },                              \
	{                                                                                          \
#test "(trace)", test, NULL, check_nothing_left, &kinds[1]                         \
	}

int main(void)
{
	const struct CMUnitTest children[] = {
		/* No teardown: it would ask for statistics, and so make the thread here. */
		cmocka_unit_test_prestate(test_no_allocator, &kinds[0]),
		cmocka_unit_test_prestate(test_no_allocator, &kinds[1]),
	};
	const struct CMUnitTest tests[] = {
		FOR_BOTH(test_waits),
		FOR_BOTH(test_soon),
		FOR_BOTH(test_order),
		FOR_BOTH(test_crowd),
		FOR_BOTH(test_work),
		cmocka_unit_test_teardown(test_barrier, check_nothing_left),
		ALL_FLAVORS(test_barrier_waits, NULL, check_nothing_left),
		ALL_FLAVORS(test_barrier_inside, NULL, check_nothing_left),
		ALL_FLAVORS(test_barrier_in_round, NULL, check_nothing_left),
		CASE(test_barriers_at_once, "test_barriers_at_once(own)", NULL, check_nothing_left,
		     OWN),
		CASE(test_barriers_at_once, "test_barriers_at_once(memb)", NULL, check_nothing_left,
		     MEMB),
	};
	int failed;

	kinds[0] = (struct kind){ bpf_call_rcu, flavors[OWN].ops, &trace_readers };
	kinds[1] = (struct kind){ call_rcu_tasks_trace, &trace_readers, flavors[OWN].ops };
	failed = cmocka_run_group_tests(children, NULL, NULL);
	port_init();
	return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
