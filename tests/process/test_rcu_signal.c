// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_rcu_signal.c - our own readers in signal handlers, which land inside lock and unlock themselves
 *
 * Each thread has a timer of its own at a high rate.  What the handler does and what it interrupts are
 * sections that look at boxes; an updater closes each box after its grace period.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "bma.h"
#include "util.h"

/* --- boxes: open while a reader may see them ---------------------------------------------------- */

#define BOXES 32

static struct box {
	_Atomic bool is_open;
} boxes[BOXES];

static struct box *_Atomic current;
static _Atomic bool stop;

static void look(struct box *box)
{
	must(port_load(&box->is_open, relaxed));
}

static struct box *find(void)
{
	struct box *box = port_load(&current, acquire);

	look(box);
	return box;
}

/* Exchanges boxes until told to stop; both kinds of readers look, so both grace periods count. */
static void *exchange_boxes(void *arg)
{
	unsigned long *n = arg;
	bpf_rcu_cookie rcu, trace;
	struct box *old, *fresh;

	for (*n = 1; !port_load(&stop, relaxed); ++*n) {
		old = port_load(&current, relaxed);
		fresh = &boxes[*n % BOXES];
		port_store(&fresh->is_open, true, relaxed);
		port_store(&current, fresh, release);
		rcu = bpf_rcu_get_state();
		trace = rcu_tasks_trace_get_state();
		while (!bpf_rcu_poll_state(rcu) || !rcu_tasks_trace_poll_state(trace))
			sched_yield();
		port_store(&old->is_open, false, relaxed);
	}
	return NULL;
}

static void exchange_begin(pthread_t *thread, unsigned long *n)
{
	port_store(&stop, false, relaxed);
	port_store(&boxes[0].is_open, true, relaxed);
	port_store(&current, &boxes[0], release);
	thread_start(thread, exchange_boxes, n);
}

static void exchange_end(pthread_t thread)
{
	port_store(&stop, true, relaxed);
	thread_join(thread);
}

/* --- the handler -------------------------------------------------------------------------------- */

enum phase { OUTSIDE, LOCKING, INSIDE, UNLOCKING, NR_PHASES };

static __thread volatile enum phase phase;
static __thread volatile unsigned long hits[NR_PHASES];
static __thread volatile enum { NOT_FIRST, FIRST, WHILE_LOCKING } first_in_handler;

static unsigned long sum_of_hits(void)
{
	return hits[OUTSIDE] + hits[LOCKING] + hits[INSIDE] + hits[UNLOCKING];
}

static void nested(bool trace)
{
	struct box *box = find();

	if (trace)
		rcu_read_lock_trace();
	else
		bpf_rcu_read_lock();
	look(box);
	if (trace)
		rcu_read_unlock_trace();
	else
		bpf_rcu_read_unlock();
	look(box);
}

static void on_timer(int sig)
{
	bool rcu = bpf_rcu_read_lock_held(), trace = rcu_read_lock_trace_held();
	bpf_rcu_cookie cookie;
	int saved = errno;

	(void)sig;
	hits[phase]++;
	if (!bpf_rcu_this_reader_)
		first_in_handler = phase == LOCKING ? WHILE_LOCKING : FIRST;
	errno = 77;
	if (sum_of_hits() % 2) {
		rcu_read_lock_trace();
		nested(true);
		nested(false);
		rcu_read_unlock_trace();
	} else {
		bpf_rcu_read_lock();
		nested(false);
		nested(true);
		bpf_rcu_read_unlock();
	}
	if (sum_of_hits() % 64 == 0) {
		bpf_rcu_read_lock();
		cookie = bpf_rcu_get_state();
		must(!bpf_rcu_poll_state(cookie));
		bpf_rcu_read_unlock();
		bpf_rcu_poll_state(cookie);
	}
	must(errno == 77);
	errno = saved;
	must(bpf_rcu_read_lock_held() == rcu && rcu_read_lock_trace_held() == trace);
}

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

/* So often that a signal lands everywhere, and so seldom that there is time left in between. */
#define PERIOD_NS (is_plain() ? 50000 : 1000000)

static timer_t timer_begin(long first_ns)
{
	struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN };
	struct itimerspec when = { .it_value.tv_nsec = first_ns, .it_interval.tv_nsec = PERIOD_NS };
	timer_t timer;

	event.sigev_notify_thread_id = (int)syscall(SYS_gettid);
	must(!timer_create(CLOCK_MONOTONIC, &event, &timer));
	must(!timer_settime(timer, 0, &when, NULL));
	return timer;
}

/* --- lock and unlock without a pause ------------------------------------------------------------ */

struct hammer {
	bool trace;
	unsigned long sections, hits[NR_PHASES];
	pthread_t thread;
};

static void lock_and_unlock_rcu(void)
{
	struct box *box;

	phase = LOCKING;
	bpf_rcu_read_lock();
	phase = INSIDE;
	box = find();
	bpf_rcu_read_lock();
	look(box);
	bpf_rcu_read_unlock();
	look(box);
	phase = UNLOCKING;
	bpf_rcu_read_unlock();
	phase = OUTSIDE;
	must(!bpf_rcu_read_lock_held());
}

static void lock_and_unlock_trace(void)
{
	struct box *box;

	phase = LOCKING;
	rcu_read_lock_trace();
	phase = INSIDE;
	box = find();
	rcu_read_lock_trace();
	look(box);
	rcu_read_unlock_trace();
	look(box);
	phase = UNLOCKING;
	rcu_read_unlock_trace();
	phase = OUTSIDE;
	must(!rcu_read_lock_trace_held());
}

static void *hammer(void *arg)
{
	struct hammer *h = arg;
	double until = now() + (is_long() ? 20 : 0.8);
	timer_t timer = timer_begin(1);
	int i;

	while (now() < until || sum_of_hits() < 50)
		for (i = 0; i < 1000; i++, h->sections++)
			if (h->trace)
				lock_and_unlock_trace();
			else
				lock_and_unlock_rcu();
	must(!timer_delete(timer));
	for (i = 0; i < NR_PHASES; i++)
		h->hits[i] = hits[i];
	must(!bpf_rcu_read_lock_held() && !rcu_read_lock_trace_held());
	return NULL;
}

static void test_hammer(void **state)
{
	struct hammer h[4];
	unsigned long exchanges;
	pthread_t updater;
	int i;

	(void)state;
	exchange_begin(&updater, &exchanges);
	for (i = 0; i < 4; i++) {
		h[i] = (struct hammer){ .trace = i % 2 };
		thread_start(&h[i].thread, hammer, &h[i]);
	}
	for (i = 0; i < 4; i++)
		thread_join(h[i].thread);
	exchange_end(updater);
	for (i = 0; i < 4; i++)
		printf("# %s: %lu sections; signals: %lu locking, %lu inside, %lu unlocking, %lu else\n",
		       h[i].trace ? "trace" : "rcu", h[i].sections, h[i].hits[LOCKING],
		       h[i].hits[INSIDE], h[i].hits[UNLOCKING], h[i].hits[OUTSIDE]);
	printf("# %lu boxes exchanged\n", exchanges);
	assert_true(exchanges > 10);
	/* Nothing is left inside. */
	bpf_rcu_synchronize();
	synchronize_rcu_tasks_trace();
}

/* --- a thread's first lock ---------------------------------------------------------------------- */

/* The timer first goes off about when the thread takes its record, so that the two race for it. */
#define FIRST_NS 30000

static void *first_lock(void *arg)
{
	unsigned long n = (unsigned long)(uintptr_t)arg;
	double when = now() + 1e-9 * (FIRST_NS + (double)(n * 37 % 6000) - 2000);
	timer_t timer = timer_begin(FIRST_NS);
	int i;

	while (now() < when)
		;
	for (i = 0; i < 3 || (i < 100 && !sum_of_hits()); i++)
		if (n % 2)
			lock_and_unlock_trace();
		else
			lock_and_unlock_rcu();
	must(!timer_delete(timer));
	return (void *)(uintptr_t)first_in_handler;
}

static void test_first_lock(void **state)
{
	unsigned long n = turns(2000, 200000), i, exchanges, how[3] = { 0 };
	unsigned int records;
	pthread_t updater, thread[4];
	void *first;
	int j;

	(void)state;
	exchange_begin(&updater, &exchanges);
	for (i = 0; i < n; i++) {
		for (j = 0; j < 4; j++)
			thread_start(&thread[j], first_lock,
				     (void *)(uintptr_t)(4 * i + (unsigned int)j));
		for (j = 0; j < 4; j++) {
			must(!pthread_join(thread[j], &first));
			how[(uintptr_t)first]++;
		}
	}
	exchange_end(updater);
	records = bma_reader_records();
	printf("# first section: of %lu threads in thread, of %lu in handler, of %lu in handler inside lock; %u records\n",
	       how[NOT_FIRST], how[FIRST], how[WHILE_LOCKING], records);
	/* A thread and its handler may each have one for a moment; and the dead are dead a little later. */
	assert_true(records <= 64);
	bpf_rcu_synchronize();
	synchronize_rcu_tasks_trace();
}

static int setup(void **state)
{
	struct sigaction action = { .sa_handler = on_timer };

	(void)state;
	port_init();
	return sigaction(SIGRTMIN, &action, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hammer),
		cmocka_unit_test(test_first_lock),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
