// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * reclaimer.c - the thread that runs core's rounds
 *
 * One thread for the process, started with the first allocator, all signals masked.  While there is
 * something to look after it runs a round each TICK_MS, else it sleeps until somebody loads a
 * magazine, makes an allocator or destroys one.  Where no thread can be created, a round is run by
 * whatever call may block, and the thread is tried for again then.
 *
 * Who sleeps and who wakes: `state` is ASLEEP or TICKING only while the thread waits on it.  Waker:
 * makes its work visible, then reads state.  Sleeper: writes state, then looks at `woken` again, or,
 * before a tick, at `round_wanted`, as there is always work then, and somebody may wait for the round.
 * Both seq_cst (a Dekker pair, WAKE): one of them sees the other.  A waker may end between any two
 * instructions, so it claims nothing: it changes state and wakes in one system call.
 *
 * Held by: tests/process/test_reclaimer.c, tests/model/wake.pml.
 */
#define _GNU_SOURCE
#include <signal.h>

#include "port.h"
#include "private.h"

#define TICK_MS 25
/* How long others have to take the lock between two rounds that follow each other. */
#define TURN_US 50

enum { RUNNING, TICKING, ASLEEP };

/* Held while a round runs. */
static struct home_lock role = HOME_LOCK_INIT;
static struct home_lock starting = HOME_LOCK_INIT;
static HOME_THREAD_LOCAL bool is_reclaimer;
static _Atomic bool started;
static _Atomic uint32_t state;
static _Atomic bool woken, round_wanted;
static _Atomic uint32_t begun, ended; /* rounds; ended is a futex */

bool home_thread_start(const char *name, void *(*fn)(void *), void *arg)
{
	sigset_t all, before;
	pthread_t thread;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&thread, NULL, fn, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (err)
		return false;
	pthread_setname_np(thread, name);
	pthread_detach(thread);
	return true;
}

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

/* Sleep as @how, unless somebody has woken us since the last time. */
static void sleep_as(uint32_t how)
{
	port_store(&state, how, seq_cst); /* WAKE */
	if (!port_load(how == TICKING ? &round_wanted : &woken, seq_cst))
		home_futex_wait(&state, how, how == TICKING ? TICK_MS : 0);
	port_store(&state, RUNNING, relaxed);
	port_store(&woken, false, seq_cst);
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
		else
			sleep_as(again ? TICKING : ASLEEP);
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

static void wake_from(uint32_t how)
{
	if (port_load(&state, seq_cst) == how)
		home_futex_set_and_wake(&state, RUNNING);
}

void port_reclaim_wake(void)
{
	/* The caller's work, which may be a plain store, before the look: WAKE. */
	atomic_thread_fence(memory_order_seq_cst);
	/* A thread that ticks comes by itself. */
	if (!port_load(&woken, relaxed))
		port_store(&woken, true, seq_cst);
	wake_from(ASLEEP);
}

void port_reclaim_round(void)
{
	uint32_t after = port_load(&begun, seq_cst), now;

	home_reclaimer_start();
	if (!port_load(&started, acquire)) {
		round_run();
		return;
	}
	port_store(&round_wanted, true, seq_cst);
	port_store(&woken, true, seq_cst);
	wake_from(ASLEEP);
	wake_from(TICKING);
	while ((int32_t)((now = port_load(&ended, seq_cst)) - after) <= 0)
		home_futex_wait(&ended, now, TICK_MS);
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
	port_store(&state, RUNNING, relaxed);
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
