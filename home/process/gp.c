// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * gp.c - grace periods of liburcu's flavours
 *
 * Problem: liburcu has a call that blocks until readers have left; core wants to ask, without blocking
 * and from a signal handler, whether a grace period that began after some moment is over.
 *
 * Idea: number the grace periods.  A thread for each flavour that is in use runs them one after the
 * other while somebody wants one, and all that wait share it, as in kernel RCU.  One thread each, so
 * that a reader of one flavour that stays inside holds up nobody else.
 *
 * Objects and owners: `started` and `completed` are written by who runs a grace period (the thread, or
 * under `running` a caller where no thread could be created); `wanted` by anyone, upwards only.
 *
 * Invariants: completed <= started <= completed + 1; a cookie that was given is at most started + 1.
 *   So of all cookies, completed + 1 and completed + 2 are pending, and their low 8 bits tell.
 *
 * Ordering:
 *   SNAPSHOT   a full barrier, then the load of started, in port_gp_snapshot().
 *   GP_START   the store to started, then a full barrier, before the flavour's synchronize.
 *   If the snapshot does not see number s, then SNAPSHOT is before GP_START in the order of all full
 *   barriers: what was unlinked before it is unlinked for every reader that synchronize(s) does not
 *   wait for, and s serves as cookie.  If it sees s, the cookie is s + 1.  Without SNAPSHOT the load
 *   may be done before the unlinking store leaves the store buffer: cookie s, a scan that finds a new
 *   reader not yet there, which then finds the object.
 *   GP_END     completed is stored with release, after synchronize, and loaded with acquire.
 *   WAKE       as in reclaimer.c, over `wanted` and `state`.
 *
 * Progress: snapshot, done and request are wait-free but for the climb of `wanted`.
 *
 * Pacing: a grace period that nobody hurries begins COALESCE_MS after it was asked for, so that what is
 * freed slowly shares them.  Between two the thread sleeps for PAUSE_US: on a busy machine a thread that
 * sleeps is run when it wakes, one that has used up its slice waits for all the others.
 *
 * Held by: tests/process/test_gp.c.
 */
#define _GNU_SOURCE
#define _LGPL_SOURCE
#include <sched.h>
#include <time.h>
#include <urcu/urcu-bp.h>

#include "port.h"
#include "private.h"

#define COALESCE_MS 2
#define PAUSE_US 100
#define NR_DOMAINS 16

enum { RUNNING, COALESCING, ASLEEP };

struct bma_gp {
	const struct rcu_flavor_struct *flavor;
	_Atomic uint64_t started, completed, wanted;
	_Atomic uint32_t ended; /* futex: low bits of completed */
	_Atomic uint32_t state; /* futex of the thread */
	_Atomic bool hurry;
	_Atomic uint64_t hurried;
	_Atomic bool has_thread;
	pthread_mutex_t running;
};

#if HOME_TSAN
void __tsan_acquire(void *addr);
#endif
static struct bma_gp domains[NR_DOMAINS];
static _Atomic unsigned int nr_domains;
static pthread_mutex_t adding = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static _Atomic bool exiting;

static void run(struct bma_gp *gp)
{
	uint64_t nr = port_load(&gp->started, relaxed) + 1;

	port_store(&gp->started, nr, seq_cst);
	atomic_thread_fence(memory_order_seq_cst); /* GP_START */
	gp->flavor->update_synchronize_rcu();
#if HOME_TSAN
	/* The sanitizer does not see into liburcu; readers in tests have the other half. */
	__tsan_acquire((void *)gp->flavor);
#endif
	port_store(&gp->completed, nr, release); /* GP_END */
	port_store(&gp->ended, (uint32_t)nr, release);
	home_futex_wake(&gp->ended);
}

static bool is_wanted(struct bma_gp *gp)
{
	return port_load(&gp->wanted, seq_cst) > port_load(&gp->completed, relaxed);
}

static void sleep_as(struct bma_gp *gp, uint32_t how)
{
	bool go;

	port_store(&gp->state, how, seq_cst); /* WAKE */
	go = how == ASLEEP ? is_wanted(gp) : port_load(&gp->hurry, seq_cst);
	if (!go)
		home_futex_wait(&gp->state, how, how == ASLEEP ? 0 : COALESCE_MS);
	port_store(&gp->state, RUNNING, relaxed);
}

static void *driver(void *arg)
{
	const struct timespec pause = { .tv_nsec = PAUSE_US * 1000L };
	struct bma_gp *gp = arg;

	for (;;) {
		while (!is_wanted(gp))
			sleep_as(gp, ASLEEP);
		sleep_as(gp, COALESCING);
		port_add(&gp->hurried, port_xchg(&gp->hurry, false, relaxed), relaxed);
		pthread_mutex_lock(&gp->running);
		if (!port_load(&exiting, relaxed))
			run(gp);
		pthread_mutex_unlock(&gp->running);
		nanosleep(&pause, NULL);
	}
	return NULL;
}

static void wake(struct bma_gp *gp, bool hurry)
{
	uint32_t state = port_load(&gp->state, seq_cst);

	if (state == ASLEEP || (state == COALESCING && hurry))
		if (port_cas(&gp->state, &state, RUNNING, seq_cst))
			home_futex_wake(&gp->state);
}

static void start(struct bma_gp *gp)
{
	if (!port_load(&gp->has_thread, relaxed) && home_thread_start("bma-gp", driver, gp))
		port_store(&gp->has_thread, true, release);
}

static struct bma_gp *find(const struct rcu_flavor_struct *flavor)
{
	unsigned int n = port_load(&nr_domains, acquire), i;

	for (i = 0; i < n; i++)
		if (domains[i].flavor == flavor)
			return &domains[i];
	if (n == NR_DOMAINS)
		return NULL;
	domains[n].flavor = flavor;
	pthread_mutex_init(&domains[n].running, NULL);
	port_store(&nr_domains, n + 1, release);
	return &domains[n];
}

/* Try again for the threads that could not be created. */
void home_gp_start(void)
{
	unsigned int n = port_load(&nr_domains, acquire), i;

	for (i = 0; i < n; i++) {
		if (port_load(&domains[i].has_thread, acquire))
			continue;
		pthread_mutex_lock(&adding);
		start(&domains[i]);
		pthread_mutex_unlock(&adding);
	}
}

struct bma_gp *port_gp_of_flavor(const struct rcu_flavor_struct *flavor)
{
	struct bma_gp *gp;

	pthread_once(&once, home_slots_init);
	pthread_mutex_lock(&adding);
	gp = find(flavor ? flavor : &urcu_bp_flavor);
	if (gp)
		start(gp);
	pthread_mutex_unlock(&adding);
	home_reclaimer_start();
	return gp;
}

/* Sleepable readers: none yet, so none to wait for. */
struct bma_gp *port_gp_trace(void)
{
	return NULL;
}

bma_cookie_t port_gp_snapshot(struct bma_gp *gp)
{
	atomic_thread_fence(memory_order_seq_cst); /* SNAPSHOT */
	return (bma_cookie_t)(port_load(&gp->started, seq_cst) + 1);
}

/* How many grace periods must end until @cookie's has: 1, 2, or 0 if it has. */
static unsigned int periods_left(uint64_t completed, bma_cookie_t cookie)
{
	bma_cookie_t left = (bma_cookie_t)(cookie - completed);

	return left <= 2 ? left : 0;
}

bool port_gp_done(struct bma_gp *gp, bma_cookie_t cookie)
{
	return !periods_left(port_load(&gp->completed, acquire), cookie);
}

void port_gp_request(struct bma_gp *gp, bma_cookie_t cookie, bool hurry)
{
	uint64_t completed = port_load(&gp->completed, acquire);
	uint64_t number = completed + periods_left(completed, cookie);
	uint64_t wanted = port_load(&gp->wanted, relaxed);

	while (wanted < number && !port_cas(&gp->wanted, &wanted, number, seq_cst))
		;
	if (hurry && !port_load(&gp->hurry, relaxed))
		port_store(&gp->hurry, true, seq_cst);
	wake(gp, hurry);
}

static void wait_done(struct bma_gp *gp, bma_cookie_t cookie)
{
	uint32_t ended;

	while (ended = port_load(&gp->ended, acquire), !port_gp_done(gp, cookie)) {
		if (port_load(&gp->has_thread, acquire)) {
			home_futex_wait(&gp->ended, ended, 0);
			continue;
		}
		pthread_mutex_lock(&gp->running);
		if (!port_gp_done(gp, cookie))
			run(gp);
		pthread_mutex_unlock(&gp->running);
	}
}

bool port_gp_wait(struct bma_gp *gp, bma_cookie_t cookie)
{
	bool was_online;

	/* Asking bp registers the thread, which aborts where there is no memory. */
	if (gp->flavor == &urcu_bp_flavor && !URCU_TLS(urcu_bp_reader)) {
		wait_done(gp, cookie);
		return true;
	}
	was_online = gp->flavor->read_ongoing();

	/* QSBR threads can be taken offline; for the other flavours that changes nothing. */
	if (was_online)
		gp->flavor->thread_offline();
	if (gp->flavor->read_ongoing())
		return false;
	wait_done(gp, cookie);
	if (was_online)
		gp->flavor->thread_online();
	return true;
}

static struct bma_gp_counts counts(struct bma_gp *gp)
{
	return (struct bma_gp_counts){
		.ended = port_load(&gp->completed, relaxed),
		.hurried = port_load(&gp->hurried, relaxed),
	};
}

struct bma_gp_counts port_gp_counts(struct bma_gp *gp)
{
	unsigned int n = port_load(&nr_domains, acquire), i;
	struct bma_gp_counts sum = { 0 };

	if (gp)
		return counts(gp);
	for (i = 0; i < n; i++) {
		sum.ended += counts(&domains[i]).ended;
		sum.hurried += counts(&domains[i]).hurried;
	}
	return sum;
}

void port_yield(void)
{
	sched_yield();
}

/*
 * liburcu's libraries tear down in their own destructors, which run after this one: no grace period may
 * begin then, and one that runs gets a moment to end.  It cannot if main left from inside a section.
 */
__attribute__((destructor)) static void stop(void)
{
	struct timespec moment = { .tv_nsec = 1000000 };
	unsigned int i, tries;

	port_store(&exiting, true, seq_cst);
	for (i = 0; i < port_load(&nr_domains, acquire); i++)
		for (tries = 0; tries < 50 && pthread_mutex_trylock(&domains[i].running); tries++)
			nanosleep(&moment, NULL);
}
