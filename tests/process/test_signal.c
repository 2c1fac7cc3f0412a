// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_signal.c - a handler that allocates and frees, whatever it interrupted
 *
 * Threads allocate and free at random; timers of theirs interrupt them as often as the kernel can, and
 * the handler does the same, and so does the handler that interrupts the handler.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "util.h"

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

#define THREADS 3
#define PLACES 32
#define PERIOD_NS 50000

static struct bpf_mem_alloc fixed, sized, percpu;
static _Atomic unsigned long handled, nested;

/* What a context of a thread owns; each context has its own, so that no handler meets another's. */
struct owned {
	void *obj[PLACES];
	uint8_t from[PLACES];
	uint64_t random;
};

enum { MAIN, HANDLER, NESTED, NR_CONTEXTS };

static __thread struct owned owned[NR_CONTEXTS];
static __thread volatile sig_atomic_t depth;

static void drop(struct owned *o, unsigned int i)
{
	struct bpf_mem_alloc *ma[] = { &fixed, &sized, &percpu };

	if (!o->obj[i])
		return;
	must(*(uint64_t *)o->obj[i] == (uintptr_t)o + i);
	if (rnd(&o->random) % 2)
		bpf_mem_free(ma[o->from[i]], o->obj[i]);
	else
		bpf_mem_free_rcu(ma[o->from[i]], o->obj[i]);
	o->obj[i] = NULL;
}

static void replace(struct owned *o)
{
	unsigned int i = rnd(&o->random) % PLACES, from = rnd(&o->random) % 3;
	void *obj;

	drop(o, i);
	if (from == 1)
		obj = bpf_mem_alloc(&sized, rnd(&o->random) % 4096 + 1);
	else
		obj = bpf_mem_cache_alloc(from ? &percpu : &fixed);
	/* Never NULL because a cache ran dry. */
	must(obj);
	*(uint64_t *)obj = (uintptr_t)o + i;
	o->obj[i] = obj;
	o->from[i] = (uint8_t)from;
}

static void on_signal(int sig)
{
	int saved = errno, context = ++depth, i;

	(void)sig;
	if (context < NR_CONTEXTS) {
		errno = 4242;
		for (i = 0; i < 3; i++)
			replace(&owned[context]);
		must(errno == 4242);
		atomic_fetch_add_explicit(context == HANDLER ? &handled : &nested, 1,
					  memory_order_relaxed);
	}
	depth--;
	errno = saved;
}

static timer_t timer_start(int sig, long period)
{
	struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = sig };
	struct itimerspec often = { .it_interval.tv_nsec = period, .it_value.tv_nsec = period };
	timer_t timer;

	event.sigev_notify_thread_id = (pid_t)syscall(SYS_gettid);
	must(!timer_create(CLOCK_MONOTONIC, &event, &timer));
	must(!timer_settime(timer, 0, &often, NULL));
	return timer;
}

static void seed(uint64_t id)
{
	int context;

	for (context = 0; context < NR_CONTEXTS; context++)
		owned[context].random = id * 10 + (uint64_t)context + 1;
}

static void drop_all(void)
{
	unsigned int i;
	int context;

	for (context = 0; context < NR_CONTEXTS; context++)
		for (i = 0; i < PLACES; i++)
			drop(&owned[context], i);
}

static void *work(void *arg)
{
	double until = now() + (is_long() ? 60 : 2);
	timer_t timers[2];
	int i;

	seed((uintptr_t)arg);
	timers[0] = timer_start(SIGUSR1, PERIOD_NS);
	timers[1] = timer_start(SIGUSR2, PERIOD_NS * 7 / 5);
	while (now() < until)
		for (i = 0; i < 100; i++)
			replace(&owned[MAIN]);
	for (i = 0; i < 2; i++)
		must(!timer_delete(timers[i]));
	/* What is still pending must not find its objects gone. */
	depth = NR_CONTEXTS;
	drop_all();
	return NULL;
}

static void handle(void)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };

	sigemptyset(&action.sa_mask);
	must(!sigaction(SIGUSR1, &action, NULL));
	must(!sigaction(SIGUSR2, &action, NULL));
}

static void test_handlers(void **state)
{
	struct bpf_mem_alloc *ma[] = { &fixed, &sized, &percpu };
	uint64_t lost = process_stats().never_freed;
	pthread_t threads[THREADS];
	uintptr_t i;

	(void)state;
	assert_int_equal(bpf_mem_alloc_init(&fixed, 64, false), 0);
	assert_int_equal(bpf_mem_alloc_init(&sized, 0, false), 0);
	assert_int_equal(bpf_mem_alloc_init(&percpu, 16, true), 0);
	handle();
	for (i = 0; i < THREADS; i++)
		thread_start(&threads[i], work, (void *)(i + 1));
	for (i = 0; i < THREADS; i++)
		thread_join(threads[i]);
	printf("# %lu handlers ran, %lu inside another\n", atomic_load(&handled),
	       atomic_load(&nested));
	assert_true(atomic_load(&handled) > 100);
	for (i = 0; i < 3; i++) {
		assert_int_equal(stats_of(ma[i]).objs_in_use, 0);
		assert_int_equal(stats_of(ma[i]).refusals, 0);
		assert_int_equal(stats_of(ma[i]).bad_frees, 0);
		bpf_mem_alloc_destroy(ma[i]);
	}
	await_nothing_left();
	assert_int_equal(process_stats().never_freed, lost);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_handlers, check_nothing_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
