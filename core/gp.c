// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * gp.c - grace periods, numbered
 *
 * Problem: to ask, in any context and without blocking, whether a grace period that began after
 * some moment is over.
 *
 * Idea: number them.  A cookie is the number of one that has not begun; it is done when that many
 * have ended.  All who wait share the next one.  Kin: Linux's
 * get_state/poll_state_synchronize_rcu(), FreeBSD's SMR.  Who drives them is another matter: rcu.c
 * for our own readers, the home for liburcu's.
 *
 * Objects and owners: started is written by who begins one, completed by who ends one, wanted by
 * anyone, all upwards only.
 *
 * Invariants: completed <= started <= completed + 1; a cookie that was given is at most started +
 * 1.
 *   So of all cookies, completed + 1 and completed + 2 are pending, and their low 8 bits tell.
 *
 * Ordering:
 *   SNAPSHOT   a full barrier, then the load of started, in bma_gp_number().
 *   GP_START   the change of started, then a full barrier, then the look for readers.
 *   If the snapshot does not see number s, then SNAPSHOT is before GP_START in the order of all
 *   full barriers: what was unlinked before it is unlinked for every reader that this grace period
 *   does not wait for, and s serves as cookie.  If it sees s, the cookie is s + 1.  Without
 *   SNAPSHOT the load may be done before the unlinking store leaves the store buffer: cookie s, a
 *   scan that finds a new reader not yet there, which then finds the object.
 *   GP_END     completed is changed with release, after the readers, and loaded with acquire.
 *
 * Progress: wait-free but for the climb of wanted.  Contexts: any, but bma_gp_wait().
 *
 * Held by: tests/core/test_gp.c, tests/core/test_limbo.c.
 */
#include "bma.h"

/* A number that no grace period that has begun has, and that the next one will have. */
uint64_t bma_gp_number(struct bma_gp *gp)
{
	port_barrier_full(); /* SNAPSHOT */
	return port_load(gp->started, seq_cst) + 1;
}

bma_cookie_t bma_gp_snapshot(struct bma_gp *gp)
{
	return (bma_cookie_t)bma_gp_number(gp);
}

bool bma_gp_number_done(struct bma_gp *gp, uint64_t number)
{
	return (int64_t)(port_load(&gp->completed, acquire) - number) >= 0;
}

/* How many grace periods must end until @cookie's has: 1, 2, or 0 if it has. */
static unsigned int periods_left(uint64_t completed, bma_cookie_t cookie)
{
	bma_cookie_t left = (bma_cookie_t)(cookie - completed);

	return left <= 2 ? left : 0;
}

/*
 * Never true early.  An old cookie may look pending again for two periods in each 256, so who finds
 * one pending asks for it again.
 */
bool bma_gp_done(struct bma_gp *gp, bma_cookie_t cookie)
{
	return !periods_left(port_load(&gp->completed, acquire), cookie);
}

/* See to it that grace period @number ends. */
void bma_gp_want(struct bma_gp *gp, uint64_t number, bool hurry)
{
	uint64_t wanted = port_load(&gp->wanted, relaxed);

	while ((int64_t)(number - wanted) > 0 && !port_cas(&gp->wanted, &wanted, number, seq_cst))
		;
	if (hurry && !port_load(&gp->hurry, relaxed))
		port_store(&gp->hurry, true, seq_cst);
	if (gp->driven)
		port_gp_kick(gp, hurry);
	port_reclaim_wake();
}

/* See to it that @cookie's grace period ends, begun soon or (@hurry) at once. */
void bma_gp_request(struct bma_gp *gp, bma_cookie_t cookie, bool hurry)
{
	uint64_t completed = port_load(&gp->completed, acquire);

	bma_gp_want(gp, completed + periods_left(completed, cookie), hurry);
}

bool bma_gp_wanted(struct bma_gp *gp)
{
	uint64_t completed = port_load(&gp->completed, relaxed);

	return (int64_t)(port_load(&gp->wanted, seq_cst) - completed) > 0;
}

static void count_hurry(struct bma_gp *gp)
{
	if (port_load(&gp->hurry, relaxed) && port_xchg(&gp->hurry, false, relaxed))
		port_add(&gp->hurried, 1, relaxed);
}

/*
 * Home: the next grace period of @gp begins, or, in the child of a fork, the one that the parent was
 * in, from its beginning.  Contains GP_START.
 */
void bma_gp_begin(struct bma_gp *gp)
{
	uint64_t started = port_load(gp->started, relaxed);

	count_hurry(gp);
	if (started == port_load(&gp->completed, relaxed))
		port_store(gp->started, started + 1, seq_cst);
	port_barrier_full(); /* GP_START */
}

/* Home: the readers of the grace period that began have left. */
void bma_gp_end(struct bma_gp *gp)
{
	port_store(&gp->completed, port_load(gp->started, relaxed), release); /* GP_END */
	port_gp_ended(gp);
}

/*
 * Begin a grace period if none runs; its number, or that of the one that runs; 0 if none is wanted.
 */
static uint64_t begin_if_none(struct bma_gp *gp)
{
	uint64_t started = port_load(gp->started, seq_cst);

	if (started != port_load(&gp->completed, acquire))
		return started;
	if (!bma_gp_wanted(gp))
		return 0;
	if (port_cas(gp->started, &started, started + 1, seq_cst)) {
		count_hurry(gp);
		return started + 1;
	}
	return started;
}

static void end_at(struct bma_gp *gp, uint64_t number)
{
	uint64_t completed = number - 1;

	if (port_cas(&gp->completed, &completed, number, acq_rel)) /* GP_END */
		port_gp_ended(gp);
}

/*
 * Once is enough for a grace period (rcu.c).  @again: do it all the same, as for a caller that waits: the
 * reader that a look has found inside leaves meanwhile.
 */
static bool fence(struct bma_gp *gp, uint64_t number, bool again)
{
	if (!again && port_load(&gp->fenced, acquire) == number)
		return true;
	if (!port_readers_fence()) /* SCAN */
		return false;
	port_store(&gp->fenced, number, release);
	return true;
}

/* Advance as far as readers allow now: true if nobody waits for @gp any more. */
static bool advance(struct bma_gp *gp, bool thorough)
{
	uint64_t number = begin_if_none(gp);

	if (number && fence(gp, number, thorough) && !bma_reader_before(gp, number, thorough))
		end_at(gp, number);
	return !bma_gp_wanted(gp);
}

/* End the grace period of our own readers that runs, if only a look at them is missing; true if it has. */
bool bma_gp_look(struct bma_gp *gp)
{
	uint64_t number = port_load(gp->started, relaxed);

	if (gp->driven || number == port_load(&gp->completed, relaxed) ||
	    number != port_load(&gp->fenced, acquire) || bma_reader_before(gp, number, false))
		return false;
	end_at(gp, number);
	return true;
}

/*
 * Advance the grace periods of our own readers without blocking.  Two steps, as the cookie may be
 * of the one after the one that runs.  @thorough: look also for readers that died inside.
 *
 * Polls that overlap do the same work twice, which is harmless but dear.  So one that finds another
 * under way leaves it to that one, but not for ever, as that one may have been preempted or killed.
 */
void bma_gp_poll(struct bma_gp *gp, bool thorough)
{
	if (gp->driven || !bma_gp_wanted(gp))
		return;
	if (!thorough && port_add(&gp->polling, 1, relaxed) % BMA_POLL_PATIENCE)
		return;
	if (!advance(gp, thorough))
		advance(gp, thorough);
	port_store(&gp->polling, 0, relaxed);
}

/*
 * Sleep until @number has ended; false, at once, if this thread may be a reader that it waits for.
 */
bool bma_gp_wait(struct bma_gp *gp, uint64_t number)
{
	uint64_t completed;
	bool online = false;

	if (gp->driven ? !port_gp_wait_begin(gp, &online) : bma_reader_inside(gp))
		return false;
	while (!bma_gp_number_done(gp, number)) {
		completed = port_load(&gp->completed, acquire);
		bma_gp_want(gp, number, true);
		bma_gp_poll(gp, true);
		if (!bma_gp_number_done(gp, number))
			port_gp_sleep(gp, completed);
	}
	if (gp->driven)
		port_gp_wait_end(gp, online);
	return true;
}

/* All domains, our own first; NULL behind the last. */
struct bma_gp *bma_gp_nth(unsigned int n)
{
	static struct bma_gp *const own[BPF_RCU_DOMAINS_] = {
		[BPF_RCU_NORMAL_] = &bma_rcu,
		[BPF_RCU_TRACE_] = &bma_trace,
	};

	return n < BPF_RCU_DOMAINS_ ? own[n] : port_gp_driven(n - BPF_RCU_DOMAINS_);
}

uint32_t bma_gp_holder(struct bma_gp *gp)
{
	return gp->driven ? 0 : bma_reader_before(gp, port_load(gp->started, relaxed), false);
}

struct bma_gp_counts bma_gp_counts(struct bma_gp *gp)
{
	return (struct bma_gp_counts){
		.ended = port_load(&gp->completed, relaxed),
		.hurried = port_load(&gp->hurried, relaxed),
	};
}
