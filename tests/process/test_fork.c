// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_fork.c - parent and child both go on
 *
 * Threads allocate, free, free_rcu and read all the while that the process forks, from wherever it may.
 * Each child frees what the forking thread held, goes on with what the others shared, waits for readers
 * that it does not have, makes and unmakes allocators; and in a part of them everything is torn down,
 * and all is back.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "nodes.h"

#define WORKERS 3
#define HELD 16

static _Atomic bool stop;
static pthread_t workers[WORKERS];

static void *work(void *arg)
{
	uint64_t seed = (uintptr_t)arg;

	while (!atomic_load(&stop))
		steps(200, seed++);
	return NULL;
}

static int begin(void **state)
{
	uintptr_t i;

	(void)state;
	atomic_store(&stop, false);
	if (bpf_mem_alloc_init(&shared, sizeof(struct node), false))
		return -1;
	for (i = 0; i < WORKERS; i++)
		thread_start(&workers[i], work, (void *)(i * 1000 + 1));
	return 0;
}

static int end(void **state)
{
	unsigned int i;

	(void)state;
	atomic_store(&stop, true);
	for (i = 0; i < WORKERS; i++)
		thread_join(workers[i]);
	return tear_down() ? -1 : 0;
}

/* --- what a child does ---------------------------------------------------------------------------- */

/* Objects that its thread had at the fork. */
static void hold(struct node **held, uint64_t seed)
{
	uint64_t random = seed + 77;
	unsigned int i;

	for (i = 0; i < HELD; i++)
		held[i] = new_node(&random);
}

static void let_go(struct node **held)
{
	unsigned int i;

	for (i = 0; i < HELD; i++)
		delete_node(held[i], i % 2);
}

static void with_allocator_of_our_own(void)
{
	struct bpf_mem_stats s;
	struct bpf_mem_alloc ma;
	void *objs[100];
	int i;

	must(!bpf_mem_alloc_init(&ma, 0, false));
	for (i = 0; i < 100; i++)
		must((objs[i] = bpf_mem_alloc(&ma, (size_t)i * 20 + 1)));
	must(stats_of(&ma).objs_in_use == 100);
	for (i = 0; i < 100; i++)
		bpf_mem_free_rcu(&ma, objs[i]);
	bpf_rcu_barrier();
	s = stats_of(&ma);
	must(!s.objs_in_use && !s.objs_waiting_rcu);
	bpf_mem_alloc_destroy(&ma);
	await(!process_stats().dying);
}

static void *work_for_a_while(void *arg)
{
	steps(300, (uintptr_t)arg);
	return NULL;
}

static void with_threads(void)
{
	pthread_t threads[3];
	uintptr_t i;

	for (i = 0; i < 3; i++)
		thread_start(&threads[i], work_for_a_while, (void *)(i + 5));
	bpf_rcu_synchronize();
	for (i = 0; i < 3; i++)
		thread_join(threads[i]);
	synchronize_rcu_tasks_trace();
}

static void with_a_child(unsigned long nth);

static void with_memory_from_readers(void)
{
	struct node *n = bpf_mem_cache_alloc_flags(&shared, GFP_KERNEL);

	must(n);
	bpf_mem_cache_free_rcu(&shared, n);
	bpf_rcu_barrier();
	must(!stats_of(&shared).objs_waiting_rcu);
}

static void live(unsigned long nth)
{
	steps(50, nth);
	switch (nth % 8) {
	case 0:
		bpf_rcu_synchronize();
		synchronize_rcu_tasks_trace();
		break;
	case 1:
		bpf_rcu_barrier();
		break;
	case 2:
		with_allocator_of_our_own();
		break;
	case 3:
		with_threads();
		break;
	case 4:
		with_a_child(nth / 8);
		break;
	case 5:
		must(!tear_down());
		return;
	case 6:
		with_memory_from_readers();
		break;
	default:
		/* Calls of any context only: no thread of ours is started. */
		break;
	}
	if (nth % 8 != 7)
		must(stats_of(&shared).allocators <= 1);
	steps(50, nth);
}

/* Not by exit() where that looks for leaks, of threads that are not there. */
static void leave(unsigned long nth) __attribute__((noreturn));
static void leave(unsigned long nth)
{
	if (nth % 3 == 0 && is_plain())
		exit(0);
	_exit(0);
}

/* A child that does what its number says. */
static pid_t fork_nth(unsigned long nth)
{
	struct node *held[HELD];
	pid_t pid;

	hold(held, nth);
	pid = fork();
	must(pid >= 0);
	let_go(held);
	if (!pid) {
		live(nth);
		leave(nth);
	}
	return pid;
}

static void with_a_child(unsigned long nth)
{
	/* Not for ever. */
	if (nth % 8 == 4)
		nth++;
	must(child_ended_well(fork_nth(nth)));
}

/* --- forks, and forks, and forks -------------------------------------------------------------------- */

static void test_forks(void **state)
{
	unsigned long n = turns(300, 10000), i;
	size_t before = 0;

	(void)state;
	fflush(NULL);
	for (i = 0; i < n; i++) {
		assert_true(child_ended_well(fork_nth(i)));
		if (i == n / 4)
			before = rss();
	}
	/* What the reclaimer is behind with goes back. */
	if (is_plain())
		await(rss() < before + (8 << 20));
}

/* Several threads fork at the same time, none of them the first one. */
static void *fork_in_thread(void *arg)
{
	unsigned long i, n = turns(60, 1000);

	for (i = 0; i < n; i++)
		must(child_ended_well(fork_nth(i + (uintptr_t)arg)));
	return NULL;
}

static void test_threads_fork(void **state)
{
	pthread_t threads[3];
	uintptr_t i;

	(void)state;
	fflush(NULL);
	for (i = 0; i < 3; i++)
		thread_start(&threads[i], fork_in_thread, (void *)i);
	for (i = 0; i < 3; i++)
		thread_join(threads[i]);
}

/* A daemon is not its maker's child; it says that it is well by a pipe. */
static void become_daemon(int well)
{
	pid_t pid;

	must(setsid() >= 0);
	pid = fork();
	must(pid >= 0);
	if (pid)
		_exit(0);
	live(3);
	live(5);
	must(write(well, "!", 1) == 1);
	_exit(0);
}

static void test_daemon(void **state)
{
	int well[2], i;
	pid_t pid;
	char c;

	(void)state;
	fflush(NULL);
	for (i = 0; i < 10; i++) {
		assert_int_equal(pipe(well), 0);
		pid = fork();
		assert_true(pid >= 0);
		if (!pid)
			become_daemon(well[1]);
		close(well[1]);
		assert_true(child_ended_well(pid));
		assert_int_equal(read(well[0], &c, 1), 1);
		close(well[0]);
	}
}

/* --- children that exec ------------------------------------------------------------------------------- */

static pid_t spawn_true(void)
{
	char *const argv[] = { "true", NULL };
	pid_t pid;

	must(!posix_spawnp(&pid, "true", NULL, NULL, argv, environ));
	return pid;
}

static pid_t vfork_true(void)
{
	pid_t pid = vfork();

	must(pid >= 0);
	if (!pid) {
		execlp("true", "true", (char *)NULL);
		_exit(5);
	}
	return pid;
}

static void test_exec(void **state)
{
	unsigned long n = turns(30, 1000), i;

	(void)state;
	for (i = 0; i < n; i++) {
		assert_true(child_ended_well(spawn_true()));
		assert_true(child_ended_well(vfork_true()));
		assert_int_equal(system("true"), 0);
		steps(50, i);
	}
	bpf_rcu_synchronize();
}

/* --- with no word to us: calls of any context go on ------------------------------------------------- */

static void test_unannounced(void **state)
{
	unsigned long n = turns(200, 5000), i;
	struct node *held[HELD];
	pid_t pid;

	(void)state;
	for (i = 0; i < n; i++) {
		hold(held, i);
		if (i % 2)
			bpf_rcu_read_lock();
		pid = _Fork();
		assert_true(pid >= 0);
		if (i % 2)
			bpf_rcu_read_unlock();
		let_go(held);
		if (!pid) {
			steps(500, i);
			_exit(0);
		}
		assert_true(child_ended_well(pid));
	}
}

/* --- from a handler: both go on with what it interrupted --------------------------------------------- */

#define STORM_MAX 4096

static _Atomic bool is_child;
static _Atomic unsigned int nr_stormed;
static pid_t stormed[STORM_MAX];

static void fork_in_handler(int sig)
{
	unsigned int nr = atomic_load(&nr_stormed);
	pid_t pid;

	(void)sig;
	if (nr == STORM_MAX || atomic_load(&is_child))
		return;
	pid = fork();
	must(pid >= 0);
	if (!pid) {
		atomic_store(&is_child, true);
		return;
	}
	stormed[nr] = pid;
	atomic_store(&nr_stormed, nr + 1);
}

static timer_t storm_begin(unsigned int us)
{
	struct itimerspec often = { { 0, us * 1000L }, { 0, us * 1000L } };
	struct sigaction action = { .sa_handler = fork_in_handler, .sa_flags = SA_RESTART };
	struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN };
	timer_t timer;

	event._sigev_un._tid = gettid();
	must(!sigaction(SIGRTMIN, &action, NULL));
	must(!timer_create(CLOCK_MONOTONIC, &event, &timer));
	must(!timer_settime(timer, 0, &often, NULL));
	return timer;
}

/* From here on there is none, not even one that is on its way. */
static void storm_end(timer_t timer)
{
	signal(SIGRTMIN, SIG_IGN);
	/* The last one may have come just now, and a child has no timer. */
	must(!timer_delete(timer) || atomic_load(&is_child));
}

/* Calls of any context, and now and then those that take locks. */
static void storm_step(struct node **own, uint64_t *random)
{
	struct bpf_mem_alloc ma;

	step(own, random);
	if (rnd(random) % 64 == 0)
		bpf_rcu_synchronize();
	if (rnd(random) % 64 == 0)
		bpf_rcu_barrier();
	if (rnd(random) % 64 == 0)
		must(stats_of(&shared).allocators <= 1);
	if (rnd(random) % 64)
		return;
	must(!bpf_mem_alloc_init(&ma, 64, false));
	bpf_mem_cache_free_rcu(&ma, bpf_mem_cache_alloc(&ma));
	bpf_mem_alloc_destroy(&ma);
}

static void storm_child(struct node **own, uint64_t *random)
{
	unsigned int i;

	for (i = 0; i < 20; i++)
		step(own, random);
	bpf_rcu_synchronize();
	for (i = 0; i < OWN_OBJS; i++)
		delete_node(own[i], i % 2);
	if (rnd(random) % 2)
		must(!tear_down());
	else
		live(rnd(random));
	_exit(0);
}

/* What is not ours to wait for in a child must not be interrupted by its birth. */
static void storm_reap(unsigned int nr)
{
	sigset_t storm_only;

	sigemptyset(&storm_only);
	sigaddset(&storm_only, SIGRTMIN);
	pthread_sigmask(SIG_BLOCK, &storm_only, NULL);
	/* One that was born on the way here has no child to wait for. */
	must(atomic_load(&is_child) || child_ended_well(stormed[nr]));
	pthread_sigmask(SIG_UNBLOCK, &storm_only, NULL);
}

static void *storm(void *arg)
{
	unsigned int n = (unsigned int)turns(200, STORM_MAX), i;
	struct node *own[OWN_OBJS] = { NULL };
	uint64_t random = 99;
	timer_t timer = storm_begin(is_plain() ? 3000 : 30000);
	unsigned int reaped = 0;

	(void)arg;
	while (reaped < n) {
		for (i = 0; i < 20; i++) {
			storm_step(own, &random);
			if (atomic_load(&is_child))
				storm_child(own, &random);
		}
		if (reaped < atomic_load(&nr_stormed))
			storm_reap(reaped++);
		if (atomic_load(&is_child))
			storm_child(own, &random);
	}
	storm_end(timer);
	if (atomic_load(&is_child))
		storm_child(own, &random);
	for (; reaped < atomic_load(&nr_stormed); reaped++)
		storm_reap(reaped);
	for (i = 0; i < OWN_OBJS; i++)
		delete_node(own[i], true);
	return NULL;
}

/* Of the grace periods that the barrier waits for, one is driven by a thread, which no child has. */
static void test_fork_in_handler(void **state)
{
	struct bpf_mem_alloc driven;
	pthread_t thread;

	(void)state;
	must(!bpf_mem_alloc_init_flavor(&driven, 64, false, flavors[MEMB].ops));
	bpf_mem_alloc_destroy(&driven);
	fflush(NULL);
	thread_start(&thread, storm, NULL);
	thread_join(thread);
}

/* --- from a callback, and from a destructor: the child's only thread is the reclaimer's --------------- */

static _Atomic pid_t forked;
static struct bpf_rcu_head next_callback;

/* The child goes on as the reclaimer, comes by here, and has done its work. */
static void in_the_child(void)
{
	struct bpf_mem_alloc ma;

	steps(300, 4);
	must(!bpf_mem_alloc_init(&ma, 64, false));
	bpf_mem_cache_free_rcu(&ma, bpf_mem_cache_alloc(&ma));
	must(!stats_of(&ma).objs_in_use);
	bpf_mem_alloc_destroy(&ma);
	bpf_rcu_synchronize();
	_exit(0);
}

static void run_in_the_child(struct bpf_rcu_head *head)
{
	must(head == &next_callback);
	in_the_child();
}

static void fork_in_callback(struct bpf_rcu_head *head)
{
	pid_t pid = fork();

	(void)head;
	must(pid >= 0);
	if (pid) {
		atomic_store(&forked, pid);
		return;
	}
	steps(100, 3);
	must(stats_of(&shared).allocators == 1);
	bpf_call_rcu(&next_callback, run_in_the_child);
}

static void test_fork_in_callback(void **state)
{
	unsigned long n = turns(20, 500), i;
	struct bpf_rcu_head head;

	(void)state;
	fflush(NULL);
	for (i = 0; i < n; i++) {
		atomic_store(&forked, 0);
		bpf_call_rcu(&head, fork_in_callback);
		bpf_rcu_barrier();
		assert_true(atomic_load(&forked) > 0);
		assert_true(child_ended_well(atomic_load(&forked)));
	}
}

static void fork_in_dtor(void *obj, void *ctx)
{
	pid_t pid;

	must(is_intact(obj));
	if (atomic_load(&is_child))
		in_the_child();
	if (atomic_load(&forked))
		return;
	pid = fork();
	must(pid >= 0);
	if (!pid)
		atomic_store(&is_child, true);
	else
		atomic_store((_Atomic pid_t *)ctx, pid);
}

static void test_fork_in_dtor(void **state)
{
	unsigned long n = turns(20, 500), i;
	struct bpf_mem_alloc ma;
	struct node *obj;
	unsigned int j;

	(void)state;
	fflush(NULL);
	for (i = 0; i < n; i++) {
		atomic_store(&forked, 0);
		assert_int_equal(bpf_mem_alloc_init(&ma, sizeof(struct node), false), 0);
		bpf_mem_alloc_set_dtor(&ma, fork_in_dtor, NULL, &forked);
		for (j = 0; j < 100; j++) {
			obj = bpf_mem_cache_alloc(&ma);
			obj->seed = j;
			fill(obj->rest, sizeof(obj->rest), j);
			bpf_mem_cache_free_rcu(&ma, obj);
		}
		bpf_mem_alloc_destroy(&ma);
		await(atomic_load(&forked));
		assert_true(child_ended_well(atomic_load(&forked)));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_forks, begin, end),
		cmocka_unit_test_setup_teardown(test_threads_fork, begin, end),
		cmocka_unit_test_setup_teardown(test_daemon, begin, end),
		cmocka_unit_test_setup_teardown(test_exec, begin, end),
		cmocka_unit_test_setup_teardown(test_unannounced, begin, end),
		cmocka_unit_test_setup_teardown(test_fork_in_handler, begin, end),
		cmocka_unit_test_setup_teardown(test_fork_in_callback, begin, end),
		cmocka_unit_test_setup_teardown(test_fork_in_dtor, begin, end),
	};

	/* TSan and qemu let such a child make no thread; ASan leaves it the locks of its malloc as they were. */
	if (TEST_TSAN || TEST_ASAN || under_qemu()) {
		puts("# skipped: what runs us is not made for children of several threads");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
