// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * flavors.c - grace periods of liburcu's flavours
 *
 * Problem: liburcu has a call that blocks until readers have left; core numbers grace periods and
 * asks.
 *
 * Idea: a thread for each flavour that is in use runs grace periods one after the other while
 * somebody wants one.  One thread each, so that a reader of one flavour that stays inside holds up
 * nobody else.
 *
 * Owners: a domain's grace periods are begun and ended under `running`, by its thread or, where no
 * thread could be created, by a caller that waits.
 *
 * Ordering: bma_gp_begin() and bma_gp_end() have the barriers.  WAKE (thread.c): the thread is asleep until
 * `wanted` is written, and dozes until `hurry` is.
 *
 * Pacing: a grace period that nobody hurries begins COALESCE_MS after it was asked for, so that
 * what is freed slowly shares them; after a dear one REST times the CPU time that it took the thread,
 * at most MAX_COALESCE_MS.  They are dear on a busy machine, where the thread runs in the place of a
 * reader that it has preempted inside its section: liburcu then looks for that one's end in a loop of
 * membarriers, each of which interrupts everybody, until the scheduler runs it again.  Between two the
 * thread sleeps for PAUSE_US: on a busy machine a thread that sleeps is run when it wakes, one that has
 * used up its slice waits for all the others.
 *
 * Held by: tests/process/test_gp.c.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <time.h>
#include <urcu/urcu-bp.h> /* for the type of a flavour; none is linked */

#include "port.h"
#include "private.h"

#define COALESCE_MS 2
#define MAX_COALESCE_MS 10
#define REST 10
#define PAUSE_US 100
#define NR_DOMAINS 16
#define FORK_TRIES 2000

struct domain {
	struct bma_gp gp; /* first: a struct bma_gp that is driven is one of these */
	const struct rcu_flavor_struct *flavor;
	home_futex_t ended; /* low bits of completed */
	struct home_sleeper sleeper; /* the thread */
	_Atomic bool has_thread;
	struct home_lock running;
	bool held; /* over a fork, running is */
};

/* There only in a program that uses it. */
#pragma weak urcu_bp_flavor

#if HOME_TSAN
void __tsan_acquire(void *addr);
#endif

static struct domain domains[NR_DOMAINS];
static _Atomic unsigned int nr_domains;
static struct home_lock adding = HOME_LOCK_INIT;
static _Atomic bool exiting;

static struct domain *domain_of(struct bma_gp *gp)
{
	return (struct domain *)gp;
}

static void run(struct domain *d)
{
	home_lock(&d->running);
	if (!port_load(&exiting, relaxed) && bma_gp_wanted(&d->gp)) {
		bma_gp_begin(&d->gp);
		d->flavor->update_synchronize_rcu();
#if HOME_TSAN
		/* The sanitizer does not see into liburcu; readers in tests have the other half. */
		__tsan_acquire((void *)d->flavor);
#endif
		bma_gp_end(&d->gp);
	}
	home_unlock(&d->running);
}

static bool is_wanted(void *domain)
{
	return bma_gp_wanted(&((struct domain *)domain)->gp);
}

static bool is_hurried(void *domain)
{
	return port_load(&((struct domain *)domain)->gp.hurry, seq_cst);
}

/* CPU time of the calling thread so far. */
static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* How long others may join the next grace period, if the last one took @ns. */
static unsigned int coalesce_ms(uint64_t ns)
{
	uint64_t ms = ns * REST / 1000000;

	if (ms < COALESCE_MS)
		return COALESCE_MS;
	return ms < MAX_COALESCE_MS ? (unsigned int)ms : MAX_COALESCE_MS;
}

static void *driver(void *arg)
{
	struct domain *d = arg;
	unsigned int ms = COALESCE_MS;
	uint64_t before;

	for (;;) {
		while (!bma_gp_wanted(&d->gp))
			home_sleep(&d->sleeper, HOME_ASLEEP, 0, is_wanted, d);
		home_sleep(&d->sleeper, HOME_DOZING, ms, is_hurried, d);
		before = cpu_ns();
		run(d);
		ms = coalesce_ms(cpu_ns() - before);
		home_sleep_us(PAUSE_US);
	}
	return NULL;
}

void port_gp_kick(struct bma_gp *gp, bool hurry)
{
	home_wake(&domain_of(gp)->sleeper, hurry);
}

static void start(struct domain *d)
{
	if (!port_load(&d->has_thread, relaxed) && home_thread_start("bma-gp", driver, d))
		port_store(&d->has_thread, true, release);
}

/*
 * At exit.  liburcu's libraries tear down in their destructors, which come later: no grace period
 * may begin then, and one that runs gets a moment to end.  It cannot if main left from inside a
 * section.
 */
static void stop(void)
{
	unsigned int i, tries;

	port_store(&exiting, true, seq_cst);
	for (i = 0; i < port_load(&nr_domains, acquire); i++)
		for (tries = 0; tries < 50; tries++) {
			if (!pthread_mutex_trylock(&domains[i].running.mutex))
				break;
			home_sleep_us(1000);
		}
}

static struct domain *find(const struct rcu_flavor_struct *flavor)
{
	unsigned int n = port_load(&nr_domains, acquire), i;
	struct domain *d;

	for (i = 0; i < n; i++)
		if (domains[i].flavor == flavor)
			return &domains[i];
	if (n == NR_DOMAINS)
		return NULL;
	if (!n)
		atexit(stop);
	d = &domains[n];
	d->flavor = flavor;
	d->gp.started = &d->gp.started_if_driven;
	d->gp.driven = true;
	home_lock_forked(&d->running, false);
	port_store(&nr_domains, n + 1, release);
	return d;
}

/* Try again for the threads that could not be created. */
void home_flavors_start(void)
{
	unsigned int n = port_load(&nr_domains, acquire), i;

	for (i = 0; i < n; i++) {
		if (port_load(&domains[i].has_thread, acquire))
			continue;
		home_lock(&adding);
		start(&domains[i]);
		home_unlock(&adding);
	}
}

/*
 * A grace period that runs holds locks of liburcu's, which nobody could release in a child.  So a fork
 * lets it end first; but not if that may wait for the thread that forks.  urcu-bp has handlers for
 * forks, which programs call, and which may hold these locks by now.
 */
static void hold(struct domain *d)
{
	bool waits = d->flavor != &urcu_bp_flavor && !d->flavor->read_ongoing();
	unsigned int tries = waits ? FORK_TRIES : 1;

	while (!(d->held = home_trylock(&d->running)) && --tries)
		home_sleep_us(PAUSE_US);
}

/* Around a fork, no domain is half made. */
void home_flavors_hold(void)
{
	unsigned int i;

	home_lock(&adding);
	for (i = 0; i < port_load(&nr_domains, relaxed); i++)
		hold(&domains[i]);
}

void home_flavors_release(void)
{
	unsigned int i = port_load(&nr_domains, relaxed);

	while (i--)
		if (domains[i].held)
			home_unlock(&domains[i].running);
	home_unlock(&adding);
}

void home_flavors_forked(void)
{
	unsigned int n = port_load(&nr_domains, relaxed), i;

	home_lock_forked(&adding, true);
	for (i = 0; i < n; i++) {
		home_lock_forked(&domains[i].running, domains[i].held);
		port_store(&domains[i].has_thread, false, relaxed);
		port_store(&domains[i].sleeper.how, HOME_AWAKE, relaxed);
	}
}

struct bma_gp *port_gp_of_flavor(const struct rcu_flavor_struct *flavor)
{
	struct domain *d;

	home_lock(&adding);
	d = find(flavor);
	if (d)
		start(d);
	home_unlock(&adding);
	return d ? &d->gp : NULL;
}

struct bma_gp *port_gp_driven(unsigned int n)
{
	return n < port_load(&nr_domains, acquire) ? &domains[n].gp : NULL;
}

void port_gp_ended(struct bma_gp *gp)
{
	struct domain *d = domain_of(gp);

	if (!gp->driven)
		return;
	port_store(&d->ended, (uint32_t)port_load(&gp->completed, relaxed), release);
	home_futex_wake(&d->ended);
}

bool port_gp_wait_begin(struct bma_gp *gp, bool *online)
{
	const struct rcu_flavor_struct *flavor = domain_of(gp)->flavor;

	/* QSBR threads can be taken offline; for the other flavours that changes nothing. */
	*online = flavor->read_ongoing();
	if (*online)
		flavor->thread_offline();
	return !flavor->read_ongoing();
}

void port_gp_wait_end(struct bma_gp *gp, bool online)
{
	if (online)
		domain_of(gp)->flavor->thread_online();
}

/* Our own readers wake nobody: who waits for them polls. */
#define POLL_US 200

void port_gp_sleep(struct bma_gp *gp, uint64_t completed)
{
	struct domain *d = domain_of(gp);

	if (!gp->driven)
		home_sleep_us(POLL_US);
	else if (port_load(&d->has_thread, acquire))
		home_futex_wait(&d->ended, (uint32_t)completed, HOME_TICK_MS);
	else
		run(d);
}
