// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_signal_storm.c - three signals that interrupt each other, as often as the kernel lets them
 *
 * Each thread has a timer for each signal; no handler blocks another's.  Threads and handlers allocate, free
 * and read, all three kinds of allocators and both kinds of readers; the threads also use malloc and a
 * liburcu flavour, and threads are created and exit all the time, with their timers on.
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

#include "util.h"

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

#define THREADS 3
#define PLACES 24
#define SIGNALS 3
/* The thread, and its handlers on top of each other: a signal waits only for its own handler's end. */
#define CONTEXTS (SIGNALS + 1)

/*
 * As often as the kernel gives and leaves the thread a part of the time: where a handler takes longer,
 * the timer's signals run together.
 */
#define PERIOD_NS (is_plain() ? 20000 : 2000000)

enum kind { FIXED, SIZED, PERCPU, DRIVEN, KINDS };

static struct bpf_mem_alloc ma[KINDS];
static _Atomic unsigned long ran[CONTEXTS], born;
static _Atomic bool stop;

/* What a context of a thread owns; each has its own, so that no handler meets another's. */
struct owned {
	struct {
		void *obj;
		enum kind kind;
		uint32_t size;
	} place[PLACES];
	uint64_t random;
	unsigned long ran;
};

static __thread struct owned owned[CONTEXTS];
static __thread volatile sig_atomic_t depth;

static void put(struct owned *o, unsigned int i)
{
	struct bpf_mem_alloc *from = &ma[o->place[i].kind];
	void *obj = o->place[i].obj;
	bool rcu = rnd(&o->random) % 2;

	o->place[i].obj = NULL;
	if (!obj)
		return;
	must(is_filled(obj, o->place[i].size, (uintptr_t)&o->place[i]));
	if (o->place[i].kind == SIZED)
		rcu ? bpf_mem_free_rcu(from, obj) : bpf_mem_free(from, obj);
	else
		rcu ? bpf_mem_cache_free_rcu(from, obj) : bpf_mem_cache_free(from, obj);
}

static void get(struct owned *o, unsigned int i)
{
	static const uint32_t fixed[] = { [FIXED] = 64, [PERCPU] = 16, [DRIVEN] = 48 };
	enum kind kind = rnd(&o->random) % KINDS;
	uint32_t size = fixed[kind % KINDS];
	void *obj;

	if (kind == SIZED)
		size = 1 + rnd(&o->random) % (rnd(&o->random) % 8 ? 256 : 4096);
	obj = kind == SIZED ? bpf_mem_alloc(&ma[SIZED], size) : bpf_mem_cache_alloc(&ma[kind]);
	/* Never NULL because a cache ran dry. */
	must(obj);
	fill(obj, size, (uintptr_t)&o->place[i]);
	o->place[i].kind = kind;
	o->place[i].size = size;
	o->place[i].obj = obj;
}

/* What another puts back, or an exit leaves, must not change while a reader of either kind looks. */
static void read_inside(struct owned *o)
{
	bool rcu = bpf_rcu_read_lock_held(), trace = rcu_read_lock_trace_held();
	bpf_rcu_cookie cookie;

	bpf_rcu_read_lock();
	cookie = bpf_rcu_get_state();
	rcu_read_lock_trace();
	must(bpf_rcu_read_lock_held() && rcu_read_lock_trace_held());
	if (rnd(&o->random) % 16 == 0)
		must(!bpf_rcu_poll_state(cookie));
	rcu_read_unlock_trace();
	bpf_rcu_read_unlock();
	must(bpf_rcu_read_lock_held() == rcu && rcu_read_lock_trace_held() == trace);
}

static void turn(struct owned *o)
{
	unsigned int i = rnd(&o->random) % PLACES;

	put(o, i);
	read_inside(o);
	get(o, i);
}

static void on_signal(int sig)
{
	int saved = errno, context = ++depth;

	(void)sig;
	if (context < CONTEXTS) {
		errno = 4242;
		turn(&owned[context]);
		turn(&owned[context]);
		must(errno == 4242);
		owned[context].ran++;
	}
	depth--;
	errno = saved;
}

static int signal_nr(int i)
{
	return SIGRTMIN + i;
}

static void timers_start(timer_t *timers)
{
	struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID };
	struct itimerspec often = { .it_value.tv_nsec = 1 };
	int i;

	event.sigev_notify_thread_id = (pid_t)syscall(SYS_gettid);
	for (i = 0; i < SIGNALS; i++) {
		event.sigev_signo = signal_nr(i);
		/* Periods that have no common multiple soon, so that each meets the others anywhere. */
		often.it_interval.tv_nsec = PERIOD_NS * (10 + 3 * i) / 10;
		must(!timer_create(CLOCK_MONOTONIC, &event, &timers[i]));
		must(!timer_settime(timers[i], 0, &often, NULL));
	}
}

static void timers_stop(timer_t *timers)
{
	unsigned int place;
	int i;

	for (i = 0; i < SIGNALS; i++)
		must(!timer_delete(timers[i]));
	/* What is still pending must not find its objects gone. */
	depth = CONTEXTS;
	for (i = 0; i < CONTEXTS; i++) {
		for (place = 0; place < PLACES; place++)
			put(&owned[i], place);
		atomic_fetch_add_explicit(&ran[i], owned[i].ran, memory_order_relaxed);
	}
}

static void seed(uint64_t id)
{
	int i;

	for (i = 0; i < CONTEXTS; i++)
		owned[i].random = id * 0x9e3779b97f4a7c15u + (uint64_t)i + 1;
}

/* malloc is only for the thread itself; a handler of ours may come in the middle of it. */
static void turn_of_thread(void **chunk)
{
	struct owned *o = &owned[0];
	size_t bytes = rnd(&o->random) % 2000;

	turn(o);
	free(*chunk);
	*chunk = malloc(bytes + 1);
	must(*chunk);
	memset(*chunk, 0x5a, bytes);
	flavors[MEMB].ops->read_lock();
	turn(o);
	flavors[MEMB].ops->read_unlock();
}

static void *short_life(void *arg)
{
	timer_t timers[SIGNALS];
	void *chunk = NULL;
	int i;

	seed((uintptr_t)arg);
	timers_start(timers);
	flavors[MEMB].ops->register_thread();
	for (i = 0; i < 20; i++)
		turn_of_thread(&chunk);
	flavors[MEMB].ops->unregister_thread();
	timers_stop(timers);
	free(chunk);
	return NULL;
}

static void *long_life(void *arg)
{
	timer_t timers[SIGNALS];
	void *chunk = NULL;

	seed((uintptr_t)arg);
	timers_start(timers);
	flavors[MEMB].ops->register_thread();
	while (!atomic_load_explicit(&stop, memory_order_relaxed))
		turn_of_thread(&chunk);
	flavors[MEMB].ops->unregister_thread();
	timers_stop(timers);
	free(chunk);
	return NULL;
}

/* Its own timers hit it in pthread_create() and pthread_join(). */
static void *maker(void *arg)
{
	timer_t timers[SIGNALS];
	pthread_t thread[2];
	uintptr_t n;
	int i;

	seed((uintptr_t)arg);
	timers_start(timers);
	for (n = 1000; !atomic_load_explicit(&stop, memory_order_relaxed); n += 2) {
		for (i = 0; i < 2; i++)
			thread_start(&thread[i], short_life, (void *)(n + (uintptr_t)i));
		turn(&owned[0]);
		for (i = 0; i < 2; i++)
			thread_join(thread[i]);
		atomic_fetch_add_explicit(&born, 2, memory_order_relaxed);
	}
	timers_stop(timers);
	return NULL;
}

static void handle(void)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	int i;

	sigemptyset(&action.sa_mask);
	for (i = 0; i < SIGNALS; i++)
		must(!sigaction(signal_nr(i), &action, NULL));
}

static void check_all_back(void)
{
	int i;

	for (i = 0; i < KINDS; i++) {
		struct bpf_mem_stats s = stats_of(&ma[i]);

		assert_int_equal(s.objs_in_use, 0);
		assert_int_equal(s.refusals, 0);
		assert_int_equal(s.bad_frees, 0);
		bpf_mem_alloc_destroy(&ma[i]);
	}
	await_nothing_left();
}

static void test_storm(void **state)
{
	uint64_t lost = process_stats().never_freed;
	pthread_t threads[THREADS];
	uintptr_t i;

	(void)state;
	assert_int_equal(bpf_mem_alloc_init(&ma[FIXED], 64, false), 0);
	assert_int_equal(bpf_mem_alloc_init(&ma[SIZED], 0, false), 0);
	assert_int_equal(bpf_mem_alloc_init(&ma[PERCPU], 16, true), 0);
	assert_int_equal(init_for(&ma[DRIVEN], 48, false, flavors[MEMB].ops), 0);
	handle();
	thread_start(&threads[0], maker, (void *)1);
	for (i = 1; i < THREADS; i++)
		thread_start(&threads[i], long_life, (void *)(i + 1));
	sleep_us(is_long() ? 60000000 : 2000000);
	atomic_store(&stop, true);
	for (i = 0; i < THREADS; i++)
		thread_join(threads[i]);
	printf("# handlers: %lu, in handlers: %lu, in those: %lu; %lu threads\n",
	       atomic_load(&ran[1]), atomic_load(&ran[2]), atomic_load(&ran[3]),
	       atomic_load(&born));
	assert_true(atomic_load(&ran[1]) > 100 && atomic_load(&born) > 0);
	if (is_plain())
		assert_true(atomic_load(&ran[2]) > 0 && atomic_load(&ran[3]) > 0);
	check_all_back();
	assert_int_equal(process_stats().never_freed, lost);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_storm, check_nothing_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
