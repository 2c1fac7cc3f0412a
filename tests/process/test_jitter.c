// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_jitter.c - delays at shared accesses find what they are for: the seed's races
 *
 * The protocol of tests/model/seed on two real threads, with delays, until each race has shown itself.  The
 * same for a long while with the flags in the right order, where no race is.
 *
 * The delays of the jitter build are for two threads that run at the same time.  On a machine that is busy
 * these two mostly share a CPU, and then what happens between two accesses of the one is what happens
 * while it sleeps: so here it also sleeps, and often.  Who sleeps gets a busy CPU soon.
 */
#include "jitter.h"

#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "port.h"
#include "util.h"

#define PATIENCE_S 10
#define LOST "an object is lost"
#define RUNS_ON_FREED "a callback runs on a cache that was freed"
#define TWO_OWNERS "an object has two owners"

static void nap(unsigned int us)
{
	nanosleep(&(const struct timespec){ .tv_nsec = us * 1000 }, NULL);
}

/* From 1 to 64 us. */
static void jitter_or_nap(void)
{
	unsigned int x = jitter_draw();

	jitter();
	if (!(x & 3))
		nap(1u << (x >> 2) % 7);
}

/* In the accesses of what follows. */
#define jitter() jitter_or_nap()
#include "../model/seed/protocol.h"

#include "../model/seed/consumers.h"
#undef jitter

struct race {
	void (*setup)(void);
	void (*ours)(void), (*theirs)(void); /* at the same time */
	void (*finish)(void);
};

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
		nap(10);
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
		if (n > 100)
			nap(10);
}

static void sleep_precisely(void)
{
	prctl(PR_SET_TIMERSLACK, 1000);
}

static void *they(void *arg)
{
	const struct race *race = arg;
	unsigned long mine = 0;

	sleep_precisely();
	for (;;) {
		await_change(&turn, mine);
		if (atomic_load(&stop))
			return NULL;
		race->theirs();
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
static const char *run_once(const struct race *race)
{
	unsigned long mine = atomic_load(&turn) + 1;

	begin(race->setup);
	atomic_store(&turn, mine);
	race->ours();
	await_change(&turn_done, mine - 1);
	if (race->finish)
		race->finish();
	return failure;
}

/* Again and again, at most @max times or @seconds, until one goes wrong. */
static const char *run(const struct race *race, unsigned long max, double seconds)
{
	double start = now();
	const char *found = NULL;
	unsigned long n = 0;
	pthread_t thread;

	stop = false;
	turn = turn_done = 0;
	sleep_precisely();
	thread_start(&thread, they, (void *)race);
	while (!found && n < max && now() < start + seconds) {
		found = run_once(race);
		n++;
	}
	stop = true;
	thread_join(thread);
	printf("# %lu times, %.2f s: %s\n", n, now() - start, found ? found : "no race");
	return found;
}

static void must_show(const struct race *race, const char *what)
{
	const char *found;

	if (under_valgrind())
		skip_because("valgrind runs one thread at a time");
	found = run(race, ~0ul, PATIENCE_S);
	assert_non_null(found);
	assert_string_equal(found, what);
}

static void test_leak(void **state)
{
	static const struct race race = { setup_leak, destroy, run_callbacks, finish };

	(void)state;
	must_show(&race, LOST);
}

static void test_order(void **state)
{
	static const struct race race = { setup_order, destroy, run_callbacks, finish };

	(void)state;
	must_show(&race, RUNS_ON_FREED);
}

static void test_tgt(void **state)
{
	static const struct race race = { setup_tgt, destroy, run_callbacks, finish };

	(void)state;
	must_show(&race, RUNS_ON_FREED);
}

static void test_consumers(void **state)
{
	static const struct race race = { setup_list, take_one_by_one, take_all_and_add, NULL };

	(void)state;
	must_show(&race, TWO_OWNERS);
}

static void setup_right_order(void)
{
	setup_order();
	rcu_flag_first = true;
}

/* So it is the race that shows, and not the way it is looked for. */
static void test_right_order(void **state)
{
	static const struct race race = { setup_right_order, destroy, run_callbacks, finish };

	(void)state;
	assert_null(run(&race, turns(5000, 200000), 1e9));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_leak),	    cmocka_unit_test(test_order),
		cmocka_unit_test(test_tgt),	    cmocka_unit_test(test_consumers),
		cmocka_unit_test(test_right_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
