// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * reclaimer.c - the thread that runs core's rounds
 *
 * One thread for the process, started with the first allocator, all signals masked.  While there is
 * something to look after it runs a round each HOME_TICK_MS, else it sleeps until somebody loads a
 * magazine, makes an allocator or destroys one.  Where no thread can be created, a round is run by
 * whatever call may block, and the thread is tried for again then.
 *
 * It dozes between two rounds that are a tick apart, and is asleep when there is nothing to look after (WAKE,
 * thread.c).  Asleep it wakes for `woken`.  Before a tick there is always work, so there it wakes
 * only for `round_wanted`: somebody waits for the round.
 *
 * Held by: tests/process/test_reclaimer.c, tests/model/test_wake.c.
 */
#define _GNU_SOURCE
#include "port.h"
#include "private.h"

/* How long others have to take the lock between two rounds that follow each other. */
#define TURN_US 50

/* Held while a round runs. */
static struct home_lock role = HOME_LOCK_INIT;
static struct home_lock starting = HOME_LOCK_INIT;
static HOME_THREAD_LOCAL bool is_reclaimer;
static PORT_ATOMIC(bool) started;
static struct home_sleeper sleeper;
static PORT_ATOMIC(bool) woken, round_wanted;
static home_futex_t begun, ended; /* rounds; who waits for one sleeps on ended */

static unsigned int round_locked(void)
{
	unsigned int again;

	port_store(&round_wanted, false, seq_cst);
	port_add(&begun, 1, seq_cst);
	again = bma_reclaim();
	home_stall_check();
	port_store(&ended, port_load(&begun, relaxed), seq_cst);
	return again;
}

static unsigned int round_run(void)
{
	unsigned int again;

	home_lock(&role);
	again = round_locked();
	home_unlock(&role);
	home_futex_wake(&ended);
	return again;
}

static bool is_set(void *flag)
{
	return port_load((PORT_ATOMIC(bool) *)flag, seq_cst);
}

static void *reclaimer(void *arg)
{
	unsigned int again;

	(void)arg;
	is_reclaimer = true;
	for (;;) {
		again = round_run();
		if (again & BMA_AT_ONCE)
			home_sleep_us(TURN_US);
		else if (again)
			home_sleep(&sleeper, HOME_DOZING, HOME_TICK_MS, is_set, &round_wanted);
		else
			home_sleep(&sleeper, HOME_ASLEEP, 0, is_set, &woken);
		port_store(&woken, false, seq_cst);
	}
	return NULL;
}

void home_reclaimer_start(void)
{
	home_stay_loaded();
	home_flavors_start();
	if (port_load(&started, acquire))
		return;
	home_lock(&starting);
	if (!port_load(&started, relaxed) && home_thread_start("bma-reclaim", reclaimer, NULL))
		port_store(&started, true, release);
	home_unlock(&starting);
}

void port_reclaim_wake(void)
{
	/* The caller's work, which may be a plain store, before the look: WAKE. */
	port_barrier_full();
	if (!port_load(&woken, relaxed))
		port_store(&woken, true, seq_cst);
	/* Who dozes comes by itself. */
	home_wake(&sleeper, false);
}

void port_reclaim_round(void)
{
	uint32_t after = port_load(&begun, seq_cst), now;

	while ((int32_t)((now = port_load(&ended, seq_cst)) - after) <= 0) {
		home_reclaimer_start();
		if (!port_load(&started, acquire)) {
			round_run();
			continue;
		}
		port_store(&round_wanted, true, seq_cst);
		port_store(&woken, true, seq_cst);
		home_wake(&sleeper, true);
		home_futex_wait(&ended, now, HOME_TICK_MS);
	}
}

static pthread_once_t once = PTHREAD_ONCE_INIT;

void port_init(void)
{
	pthread_once(&once, home_slots_init);
	home_reclaimer_start();
}

void home_reclaimer_hold(void)
{
	home_lock(&role);
	home_lock(&starting);
}

void home_reclaimer_release(void)
{
	home_unlock(&starting);
	home_unlock(&role);
}

/* A callback may have forked: then the one thread that the child has is the reclaimer's. */
void home_reclaimer_forked(void)
{
	home_lock_forked(&role, true);
	home_lock_forked(&starting, true);
	port_store(&started, is_reclaimer, relaxed);
	port_store(&sleeper.how, HOME_AWAKE, relaxed);
}

void port_reclaim_lock(void)
{
	home_reclaimer_start();
	home_lock(&role);
	/* With no thread, whoever comes by; but not who is in a round already. */
	if (!port_load(&started, acquire) && role.depth == 1)
		round_locked();
}

void port_reclaim_unlock(void)
{
	home_unlock(&role);
}
