// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_fallback.c - where membarrier() is missing or denied, or restartable sequences are: all works, by
 * other means
 *
 * The library chooses before main, so this program runs itself again in a process made that way; there it
 * goes through a little of everything.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "bma.h"
#include "util.h"

#define SIZE 64

/* --- what the process made that way does ---------------------------------------------------------- */

static void check_held(const struct rcu_flavor_struct *flavor, bpf_rcu_cookie (*get)(void),
		       bool (*poll)(bpf_rcu_cookie cookie))
{
	bpf_rcu_cookie cookie;
	struct sitter s;
	int i;

	must(poll(get()));
	sitter_begin(&s, flavor);
	cookie = get();
	for (i = 0; i < 100; i++) {
		must(!poll(cookie));
		sleep_us(200);
	}
	sitter_end(&s);
	await(poll(cookie));
}

static void check_cookies(void)
{
	check_held(flavors[OWN].ops, bpf_rcu_get_state, bpf_rcu_poll_state);
	check_held(&trace_readers, rcu_tasks_trace_get_state, rcu_tasks_trace_poll_state);
	bpf_rcu_synchronize();
	synchronize_rcu_tasks_trace();
}

static void check_two_tiers(const struct flavor *f)
{
	struct bpf_mem_alloc ma;
	struct sitter s;
	void *obj;
	int i;

	must(!init_for(&ma, SIZE, false, f->ops));
	sitter_begin(&s, f->ops);
	obj = bpf_mem_cache_alloc(&ma);
	fill(obj, SIZE, 5);
	bpf_mem_cache_free_rcu(&ma, obj);
	for (i = 0; i < 5000; i++) {
		void *other = bpf_mem_cache_alloc(&ma);

		must(other && other != obj);
		memset(other, 1, SIZE);
		bpf_mem_cache_free_rcu(&ma, other);
	}
	sleep_us(100000);
	must(is_filled(obj, SIZE, 5));
	must(stats_of(&ma).objs_waiting_rcu == 5001);
	sitter_end(&s);
	sitter_begin(&s, &trace_readers);
	await(!stats_of(&ma).objs_waiting_rcu);
	must(stats_of(&ma).bytes_spans > 0);
	sleep_us(200000);
	must(stats_of(&ma).bytes_spans > 0);
	sitter_end(&s);
	await(!stats_of(&ma).bytes_spans);
	bpf_mem_alloc_destroy(&ma);
	await_nothing_left();
}

static _Atomic int called;

static void count(struct bpf_rcu_head *head)
{
	(void)head;
	atomic_fetch_add(&called, 1);
}

static void check_callbacks(void)
{
	struct bpf_rcu_head rcu, trace;
	struct bpf_mem_alloc ma;

	must(!bpf_mem_alloc_init(&ma, SIZE, false));
	bpf_mem_cache_free_rcu(&ma, bpf_mem_cache_alloc(&ma));
	bpf_call_rcu(&rcu, count);
	bpf_rcu_barrier();
	must(atomic_load(&called) == 1);
	must(!stats_of(&ma).objs_waiting_rcu);
	call_rcu_tasks_trace(&trace, count);
	await(atomic_load(&called) == 2);
	bpf_mem_alloc_destroy(&ma);
}

/* Threads that come and go, some from inside a section. */
static void *read_and_go(void *arg)
{
	bpf_rcu_read_lock();
	rcu_read_lock_trace();
	rcu_read_unlock_trace();
	if (!arg)
		bpf_rcu_read_unlock();
	return NULL;
}

static void check_threads(void)
{
	unsigned int records;
	pthread_t thread;
	uintptr_t i;

	for (i = 0; i < 200; i++) {
		thread_start(&thread, read_and_go, (void *)(i % 2));
		thread_join(thread);
	}
	bpf_rcu_synchronize();
	records = bma_reader_records();
	must(records < 20);
}

/* Alloc and free from a handler that interrupts the same. */
static struct bpf_mem_alloc in_handler;

static void on_timer(int sig)
{
	void *obj = bpf_mem_cache_alloc(&in_handler);

	(void)sig;
	must(obj);
	bpf_rcu_read_lock();
	bpf_mem_cache_free_rcu(&in_handler, obj);
	bpf_rcu_read_unlock();
}

static void check_signals(void)
{
	struct itimerspec often = { { 0, 200000 }, { 0, 200000 } };
	struct sigaction action = { .sa_handler = on_timer, .sa_flags = SA_RESTART };
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN };
	double until = now() + 0.2;
	timer_t timer;
	void *obj;

	must(!bpf_mem_alloc_init(&in_handler, SIZE, false));
	must(!sigaction(SIGRTMIN, &action, NULL));
	must(!timer_create(CLOCK_MONOTONIC, &event, &timer));
	must(!timer_settime(timer, 0, &often, NULL));
	while (now() < until) {
		bpf_rcu_read_lock();
		obj = bpf_mem_cache_alloc(&in_handler);
		must(obj);
		fill(obj, SIZE, 9);
		bpf_rcu_read_unlock();
		must(is_filled(obj, SIZE, 9));
		bpf_mem_cache_free(&in_handler, obj);
	}
	must(!timer_delete(timer));
	must(!stats_of(&in_handler).objs_in_use);
	bpf_mem_alloc_destroy(&in_handler);
}

static void check_everything(void)
{
	check_cookies();
	check_two_tiers(&flavors[OWN]);
	check_two_tiers(&flavors[MEMB]);
	check_callbacks();
	check_threads();
	check_signals();
	await_nothing_left();
}

/* No membarrier: readers have real barriers, and sequences, which need it too, are not used. */
static int denied(void)
{
	must(syscall(__NR_membarrier, MEMBARRIER_CMD_QUERY, 0, 0) < 0);
	must(bpf_rcu_readers_fence_);
	port_init();
	must(!port_cpu_fast());
	check_everything();
	must(bpf_rcu_readers_fence_);
	return 0;
}

/* No sequences: readers are as always. */
static int no_rseq(void)
{
	bool can = syscall(__NR_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0;

	must(bpf_rcu_readers_fence_ == !can);
	port_init();
	must(!port_cpu_fast());
	check_everything();
	return 0;
}

/* Denied when it was in use already: what waits for our readers stays and that is said, once; others go on. */
static int denied_later(void)
{
	struct bpf_mem_alloc own, mb;
	bpf_rcu_cookie cookie;
	const char *said;
	void *obj, *other;
	int i;

	if (bpf_rcu_readers_fence_)
		return 0;
	must(!bpf_mem_alloc_init(&own, SIZE, false));
	must(!init_for(&mb, SIZE, false, flavors[MB].ops));
	obj = bpf_mem_cache_alloc(&own);
	fill(obj, SIZE, 6);
	must(bpf_rcu_poll_state(bpf_rcu_get_state()));
	stderr_begin();
	deny_membarrier(EPERM);
	cookie = bpf_rcu_get_state();
	bpf_mem_cache_free_rcu(&own, obj);
	for (i = 0; i < 5000; i++) {
		other = bpf_mem_cache_alloc(&own);
		must(other && other != obj);
		memset(other, 1, SIZE);
		bpf_mem_cache_free_rcu(&own, other);
		must(!bpf_rcu_poll_state(cookie));
	}
	for (i = 0; i < 500; i++)
		bpf_mem_cache_free_rcu(&mb, bpf_mem_cache_alloc(&mb));
	/* But for what is on the CPU, which cannot be fetched. */
	await(stats_of(&mb).objs_waiting_rcu <= 62);
	sleep_us(100000);
	said = stderr_end();
	must(is_filled(obj, SIZE, 6));
	must(!strcmp(said,
		     "bma: membarrier() fails now: grace periods of bpf_rcu readers cannot end\n"));
	must(stats_of(&own).objs_waiting_rcu == 5001);
	return 0;
}

/* --- and who makes it ----------------------------------------------------------------------------- */

static void test_denied(void **state)
{
	const int *err = *state;

	need_filters();
	assert_true(run_without_membarrier(*err, "denied", NULL));
}

static void test_denied_later(void **state)
{
	(void)state;
	need_filters();
	assert_true(run_without_membarrier(0, "denied_later", NULL));
}

static void test_no_rseq(void **state)
{
	char env[] = "GLIBC_TUNABLES=glibc.pthread.rseq=0";

	(void)state;
	need_filters();
	assert_true(run_without_membarrier(0, "no_rseq", env));
}

static void test_neither(void **state)
{
	char env[] = "GLIBC_TUNABLES=glibc.pthread.rseq=0";

	(void)state;
	need_filters();
	assert_true(run_without_membarrier(ENOSYS, "denied", env));
}

int main(int argc, char **argv)
{
	static int eperm = EPERM, enosys = ENOSYS;
	const struct CMUnitTest tests[] = {
		{ "test_denied(EPERM)", test_denied, NULL, NULL, &eperm },
		{ "test_denied(ENOSYS)", test_denied, NULL, NULL, &enosys },
		cmocka_unit_test(test_denied_later),
		cmocka_unit_test(test_no_rseq),
		cmocka_unit_test(test_neither),
	};

	if (argc < 2)
		return cmocka_run_group_tests(tests, NULL, NULL);
	if (!strcmp(argv[1], "denied"))
		return denied();
	if (!strcmp(argv[1], "denied_later"))
		return denied_later();
	must(!strcmp(argv[1], "no_rseq"));
	return no_rseq();
}
