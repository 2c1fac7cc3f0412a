// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * The process home's reclaimer.c and thread.c, byte for byte, on a system that has futexes: is whoever
 * has work, or waits for a round, seen to, whoever else ends on the way?
 *
 * No tick comes while somebody waits for a round, and none wakes who waits for it: who needs one waits for
 * ever.  The thread of a liburcu flavour sleeps and is woken by the same two functions.
 */
#define _GNU_SOURCE
#include <linux/futex.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "model.h"

#define syscall system_call
#define bma_reclaim look_for_work
#define port_init process_init
#define port_reclaim_wake process_wake
#define port_reclaim_round process_round
#define port_reclaim_lock process_lock
#define port_reclaim_unlock process_unlock

static long system_call(long nr, ...);
static unsigned int look_for_work(void);
void process_init(void);
void process_wake(void);
void process_round(void);
void process_lock(void);
void process_unlock(void);
void home_slots_init(void);

#include "process/thread.c"
#include "process/reclaimer.c"

/* Rounds that are followed by a tick, from the first on. */
#define TICKS 1

static struct {
	bool work[MODEL_THREADS], seen[MODEL_THREADS];
	bool told[MODEL_THREADS]; /* it has come to the end of telling of it */
	home_futex_t *waits[MODEL_THREADS];
	unsigned int rounds;
} scene;

/* --- the system ---------------------------------------------------------------------------------- */

static bool somebody_waits(void)
{
	unsigned int i;

	for (i = 0; i < MODEL_THREADS; i++)
		if (scene.waits[i] == &ended)
			return true;
	return false;
}

static bool is_woken(void *arg)
{
	home_futex_t **waits = arg;

	return !*waits || (*waits == &sleeper.how && *waits[0] == HOME_DOZING && !somebody_waits());
}

static void wait(home_futex_t *word, uint32_t value)
{
	home_futex_t **waits = &scene.waits[model_self()];

	if (*word != value)
		return;
	*waits = word;
	model_wait("futex", is_woken, waits);
	*waits = NULL;
}

static void wake(const home_futex_t *word)
{
	unsigned int i;

	for (i = 0; i < MODEL_THREADS; i++)
		if (scene.waits[i] == word)
			scene.waits[i] = NULL;
}

/* Each is a barrier and one step. */
static long system_call(long nr, ...)
{
	home_futex_t *word;
	uint32_t value;
	va_list args;
	int op;

	port_barrier_full();
	if (nr != SYS_futex)
		return 0;
	va_start(args, nr);
	word = va_arg(args, home_futex_t *);
	op = va_arg(args, int);
	value = va_arg(args, uint32_t);
	va_end(args);
	if (op == FUTEX_WAIT_PRIVATE) {
		wait(word, value);
		return 0;
	}
	if (op == FUTEX_WAKE_OP_PRIVATE)
		*word = HOME_AWAKE;
	else
		MODEL_CHECK(op == FUTEX_WAKE_PRIVATE);
	wake(word);
	return 0;
}

/* --- the rest of the home: there is a thread, and nobody else has its locks --------------------------- */

void home_lock(struct home_lock *lock)
{
	MODEL_CHECK(!lock->depth++);
}

void home_unlock(struct home_lock *lock)
{
	lock->depth--;
}

void home_lock_forked(struct home_lock *lock, bool ours)
{
	lock->depth = ours;
}

void home_stay_loaded(void)
{
}

void home_flavors_start(void)
{
}

void home_slots_init(void)
{
}

void home_stall_check(void)
{
}

/* --- scenes ---------------------------------------------------------------------------------------- */

static unsigned int look_for_work(void)
{
	unsigned int i;

	for (i = 0; i < MODEL_THREADS; i++)
		scene.seen[i] |= port_load(&scene.work[i], relaxed);
	return ++scene.rounds <= TICKS;
}

static void setup(void)
{
	started = true;
}

static void reclaim(void)
{
	model_daemon();
	reclaimer(NULL);
}

static void have_work(void)
{
	port_store(&scene.work[model_self()], true, relaxed);
	port_reclaim_wake();
	scene.told[model_self()] = true;
}

static void have_work_twice(void)
{
	have_work();
	/* What was seen and is there again. */
	scene.told[model_self()] = scene.seen[model_self()] = false;
	have_work();
}

static void ask(void)
{
	unsigned int rounds = scene.rounds;

	port_reclaim_round();
	MODEL_CHECK(scene.rounds > rounds && "no round has begun since");
}

static void finish(void)
{
	unsigned int i;

	for (i = 0; i < MODEL_THREADS; i++)
		MODEL_CHECK(!scene.told[i] || scene.seen[i]);
}

static const struct model_scenario scenarios[] = {
	{
		.name = "two who have work",
		.setup = setup,
		.thread = { reclaim, have_work, have_work_twice },
		.finish = finish,
		.nr_cpus = 3,
		.check = { .preemptions = 2, .late = 1 },
		.proof = { .preemptions = MODEL_FREELY, .late = 4 },
	},
	{
		.name = "two who have work, of whom one ends",
		.setup = setup,
		.thread = { reclaim, have_work, have_work },
		.handler = { NULL, model_end },
		.finish = finish,
		.nr_cpus = 3,
		.check = { .preemptions = 2, .late = 1 },
		.proof = { .preemptions = MODEL_FREELY, .late = 4 },
	},
	{
		.name = "one who waits for a round, and one who has work and ends",
		.setup = setup,
		.thread = { reclaim, ask, have_work },
		.handler = { NULL, NULL, model_end },
		.finish = finish,
		.nr_cpus = 3,
		.check = { .preemptions = 2, .late = 1 },
		.proof = { .preemptions = MODEL_FREELY, .late = 4 },
	},
	{
		.name = "two who wait for a round, of whom one ends",
		.setup = setup,
		.thread = { reclaim, ask, ask },
		.handler = { NULL, model_end },
		.finish = finish,
		.nr_cpus = 3,
		.check = { .preemptions = 2 },
		.proof = { .preemptions = MODEL_FREELY, .late = 4 },
	},
	{ 0 },
};

int main(int argc, char **argv)
{
	return model_main(argc, argv, scenarios);
}
