// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * torture_update.c - updaters
 *
 * An update puts new elements in the place of old ones and gives these back, in one of two ways:
 *   - by free_rcu at once, some together, so that reuse under a reader would be seen;
 *   - later, by the updater itself, which ages them first: each grace period of which it has a
 *     cookie adds one to their pipe, and at some count they are freed for good.
 * Sleepable readers have only the second: free_rcu does not wait for them.
 *
 * Between updates come objects that no reader sees: bursts of them, so that magazines and depots
 * fill and drain, some handed to other threads to free, and some kept for a while.
 */
#define _GNU_SOURCE
#include "torture.h"

#include <sched.h>

#define MAX_TOGETHER 16
#define MAX_BURST 192
#define NR_AGEING 16
#define NR_KEPT 32

struct ageing {
	struct element *e;
	bpf_rcu_cookie cookie;
	unsigned int pipe, until;
};

struct updater {
	struct torture_thread *thread;
	struct kind_state *kind;
	struct ageing ageing[NR_AGEING];
	struct element *kept[NR_KEPT];
};

static gfp_t any_flags(bool process, uint64_t *random)
{
	if (process && one_in(16, random))
		return GFP_KERNEL;
	return one_in(2, random) ? GFP_NOWAIT : 0;
}

/* New elements for random slots; what was there to @old, of which there are as many as returned. */
static unsigned int replace(struct kind_state *kind, uint64_t *random, bool process,
			    struct element **old, unsigned int nr)
{
	struct element *e;
	unsigned int n = 0;

	while (nr--) {
		e = element_get(&kind->pool, any_flags(process, random));
		if (!e)
			break;
		e = element_publish(&kind->slots[below(NR_OWN_SLOTS, random)], e);
		if (e)
			old[n++] = e;
		count(&kind->counts->updates, 1);
	}
	return n;
}

static void replace_and_free(struct kind_state *kind, uint64_t *random, bool process)
{
	struct element *old[MAX_TOGETHER];
	unsigned int n = replace(kind, random, process, old, 1 + below(MAX_TOGETHER, random));

	elements_retired(kind, old, n, process && one_in(2, random));
	while (n--)
		element_free_rcu(&kind->pool, old[n]);
}

/* Allocate some, check that they stay whole, and free them; @parcels: let others free some. */
static void burst(struct kind_state *kind, uint64_t *random, unsigned int nr, bool process)
{
	struct element *own[MAX_BURST], *e;
	unsigned int i, n;

	for (n = 0; n < nr; n++) {
		own[n] = element_get(&kind->pool, any_flags(process && one_in(8, random), random));
		if (!own[n])
			break;
	}
	if (process && one_in(8, random))
		sched_yield();
	for (i = 0; i < n; i++) {
		e = own[i];
		if (one_in(4, random))
			e = element_publish(&kind->parcels[below(NR_PARCELS, random)], e);
		if (!e)
			continue;
		element_check(e, &kind->pool, "its owner");
		/* Both ways to free an object that readers have never seen. */
		if (one_in(4, random))
			element_free_rcu(&kind->pool, e);
		else
			element_free(&kind->pool, e);
	}
	count(&kind->counts->private, n);
}

void use_own(struct kind_state *kind, uint64_t *random, bool process)
{
	/* Mostly a few; now and then more than a CPU's magazines hold. */
	burst(kind, random, 1 + below(one_in(8, random) ? MAX_BURST : 8, random), process);
}

void update(struct kind_state *kind, uint64_t *random, bool process)
{
	if (kind->kind != TRACE)
		replace_and_free(kind, random, process);
	else
		use_own(kind, random, process);
}

static bpf_rcu_cookie get_state(enum kind kind)
{
	return kind == TRACE ? rcu_tasks_trace_get_state() : bpf_rcu_get_state();
}

static bool poll_state(enum kind kind, bpf_rcu_cookie cookie)
{
	return kind == TRACE ? rcu_tasks_trace_poll_state(cookie) : bpf_rcu_poll_state(cookie);
}

static void begin_to_age(struct updater *u, struct ageing *a)
{
	struct element *old;

	if (!replace(u->kind, &u->thread->random, true, &old, 1))
		return;
	elements_retired(u->kind, &old, 1, false);
	a->e = old;
	a->pipe = 1;
	a->until = one_in(4, &u->thread->random) ? PIPE_LEN : 2;
	a->cookie = get_state(u->kind->kind);
}

static void age_one(struct updater *u, struct ageing *a)
{
	if (!poll_state(u->kind->kind, a->cookie))
		return;
	element_age(a->e, ++a->pipe);
	a->cookie = get_state(u->kind->kind);
	if (a->pipe < a->until)
		return;
	element_free(&u->kind->pool, a->e);
	a->e = NULL;
}

static void age(struct updater *u)
{
	struct ageing *a;

	for (a = u->ageing; a < u->ageing + NR_AGEING; a++) {
		if (a->e)
			age_one(u, a);
		else if (u->kind->kind == TRACE || one_in(16, &u->thread->random))
			begin_to_age(u, a);
	}
}

/* Objects that stay allocated for a while. */
static void keep(struct updater *u)
{
	struct element **place = &u->kept[below(NR_KEPT, &u->thread->random)];

	if (*place) {
		element_check(*place, &u->kind->pool, "who kept it");
		element_free(&u->kind->pool, *place);
	}
	*place = element_get(&u->kind->pool, 0);
}

static void pause_at_times(uint64_t *random)
{
	if (one_in(64, random))
		nap_us(below(2000, random));
	else if (one_in(8, random))
		sched_yield();
}

static void leave(struct updater *u)
{
	unsigned int i;

	for (i = 0; i < NR_KEPT; i++)
		if (u->kept[i])
			element_free(&u->kind->pool, u->kept[i]);
	for (i = 0; i < NR_AGEING; i++)
		while (u->ageing[i].e) {
			age_one(u, &u->ageing[i]);
			nap_us(100);
		}
}

void *run_updater(void *arg)
{
	struct updater u = { .thread = arg };
	uint64_t *random = &u.thread->random;

	u.kind = u.thread->kind;
	while (going(u.thread)) {
		update(u.kind, random, true);
		if (!u.kind->flavor)
			age(&u);
		if (one_in(4, random))
			use_own(u.kind, random, true);
		keep(&u);
		pause_at_times(random);
	}
	leave(&u);
	return NULL;
}
