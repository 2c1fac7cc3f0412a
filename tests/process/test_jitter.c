// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_jitter.c - delays at shared accesses find what they are for: the seed's three teardown races
 *
 * The protocol of tests/model/seed on two real threads, with the delays of the jitter build, until each
 * race has shown itself.  The same for a long while with the flags in the right order, where no race is.
 */
#include "jitter.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "port.h"
#include "util.h"
#include "../model/seed/protocol.h"

/* Mostly well within ten; a machine with much else to do takes longer. */
#define PATIENCE_S 30
#define LOST "an object is lost"
#define RUNS_ON_FREED "a callback runs on a cache that was freed"

static const char *_Atomic failure;
static _Atomic unsigned long turn, turn_done; /* of the callbacks */
static _Atomic bool stop;

static void seed_fail(const char *what)
{
	const char *none = NULL;

	atomic_compare_exchange_strong(&failure, &none, what);
}

static void seed_wait(const char *what, bool (*over)(void *arg))
{
	(void)what;
	while (!over(NULL))
		sched_yield();
}

/* Longer than most delays, as a real one is. */
static void seed_grace_period(void)
{
	jitter_pause(2000);
}

/* So that both go at the same time where there are two CPUs; and yet where there is one. */
static void await_change(_Atomic unsigned long *word, unsigned long from)
{
	unsigned int n;

	for (n = 0; atomic_load(word) == from && !atomic_load(&stop); n++)
		if (n > 1000)
			sched_yield();
}

static void *callbacks(void *arg)
{
	unsigned long mine = 0;

	(void)arg;
	for (;;) {
		await_change(&turn, mine);
		if (atomic_load(&stop))
			return NULL;
		run_callbacks();
		atomic_store(&turn_done, ++mine);
	}
}

static void begin(void (*setup)(void))
{
	memset(cache, 0, sizeof(cache));
	back = all = 0;
	caches_freed = rcu_flag_first = false;
	failure = NULL;
	setup();
}

/* Once; what went wrong, or NULL. */
static const char *teardown(void (*setup)(void))
{
	unsigned long mine = atomic_load(&turn) + 1;

	begin(setup);
	atomic_store(&turn, mine);
	destroy();
	await_change(&turn_done, mine - 1);
	finish();
	return failure;
}

/* Again and again, at most @max times, until one goes wrong. */
static const char *teardowns(void (*setup)(void), unsigned long max)
{
	double until = now() + PATIENCE_S;
	const char *found = NULL;
	unsigned long n = 0;
	pthread_t thread;

	stop = false;
	turn = turn_done = 0;
	thread_start(&thread, callbacks, NULL);
	while (!found && n < max && now() < until) {
		found = teardown(setup);
		n++;
	}
	stop = true;
	thread_join(thread);
	printf("# %lu teardowns: %s\n", n, found ? found : "no race");
	return found;
}

static void must_show(void (*setup)(void), const char *what)
{
	const char *found;

	if (under_valgrind())
		skip_because("valgrind runs one thread at a time");
	found = teardowns(setup, ~0ul);
	assert_non_null(found);
	assert_string_equal(found, what);
}

static void test_leak(void **state)
{
	(void)state;
	must_show(setup_leak, LOST);
}

static void test_order(void **state)
{
	(void)state;
	must_show(setup_order, RUNS_ON_FREED);
}

static void test_tgt(void **state)
{
	(void)state;
	must_show(setup_tgt, RUNS_ON_FREED);
}

static void setup_right_order(void)
{
	setup_order();
	rcu_flag_first = true;
}

/* So it is the race that shows, and not the way it is looked for. */
static void test_right_order(void **state)
{
	(void)state;
	assert_null(teardowns(setup_right_order, turns(20000, 1000000)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_leak),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_tgt),
		cmocka_unit_test(test_right_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
