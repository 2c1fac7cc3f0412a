// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * torture_wait.c - who waits for grace periods of our own readers, in every way there is
 *
 * rcutorture's fake writers: an element is unlinked, a grace period is waited for, and then no reader
 * may find it any more: its pipe says 2.  By synchronize, by a cookie that is polled, or by a
 * callback; and bpf_rcu_barrier(), behind which every callback that was queued before has run.
 */
#define _GNU_SOURCE
#include "torture.h"

#define NR_CALLBACKS 32

/* On a list of the library's from queueing until it has been called. */
struct callback {
	struct bpf_rcu_head head; /* first */
	struct kind_state *kind;
	struct element *e;
	_Atomic unsigned int queued; /* by whom: 1 + number of the thread; 0: nobody */
};

static struct callback callbacks[NR_CALLBACKS];

/* No reader can hold @e any more. */
static void grace_period_over(struct kind_state *kind, struct element *e)
{
	element_age(e, 2);
	element_check(e, &kind->pool, "after a grace period");
	element_free(&kind->pool, e);
}

static void called(struct bpf_rcu_head *head)
{
	struct callback *cb = (struct callback *)head;

	grace_period_over(cb->kind, cb->e);
	atomic_store(&cb->queued, 0);
}

static bool queue(const struct torture_thread *t, struct kind_state *kind, struct element *e)
{
	unsigned int none;

	for (struct callback *cb = callbacks; cb < callbacks + NR_CALLBACKS; cb++) {
		none = 0;
		if (!atomic_compare_exchange_strong(&cb->queued, &none, 1 + t->nr))
			continue;
		cb->kind = kind;
		cb->e = e;
		if (kind->kind == TRACE)
			call_rcu_tasks_trace(&cb->head, called);
		else
			bpf_call_rcu(&cb->head, called);
		return true;
	}
	return false;
}

static void synchronize(const struct kind_state *kind)
{
	if (kind->kind == TRACE)
		synchronize_rcu_tasks_trace();
	else
		bpf_rcu_synchronize();
}

static void poll_to_the_end(const struct kind_state *kind, uint64_t *random)
{
	bpf_rcu_cookie cookie;

	if (kind->kind == TRACE) {
		cookie = rcu_tasks_trace_get_state();
		while (!rcu_tasks_trace_poll_state(cookie))
			nap_us(below(500, random));
	} else {
		cookie = bpf_rcu_get_state();
		while (!bpf_rcu_poll_state(cookie))
			nap_us(below(500, random));
	}
}

static void wait_and_free(struct torture_thread *t, struct kind_state *kind)
{
	uint64_t *random = &t->random;
	struct element *e = element_get(&kind->pool, GFP_KERNEL);

	if (!e)
		return;
	e = element_publish(&kind->slots[below(NR_OWN_SLOTS, random)], e);
	if (!e)
		return;
	elements_retired(kind, &e, 1, false);
	if (one_in(2, random) && queue(t, kind, e))
		return;
	if (one_in(2, random))
		synchronize(kind);
	else
		poll_to_the_end(kind, random);
	grace_period_over(kind, e);
}

/* Behind the barrier all has been called that this thread queued before. */
static void barrier(const struct torture_thread *t)
{
	struct callback *cb;

	bpf_rcu_barrier();
	for (cb = callbacks; cb < callbacks + NR_CALLBACKS; cb++)
		if (atomic_load(&cb->queued) == 1 + t->nr && cb->kind->kind == OWN)
			torture_fail(F_CALLBACK, "of thread %u", t->nr);
}

bool callbacks_done(void)
{
	for (unsigned int i = 0; i < NR_CALLBACKS; i++)
		if (atomic_load(&callbacks[i].queued))
			return false;
	return true;
}

void *run_wait(void *arg)
{
	struct torture_thread *t = arg;
	struct kind_state *kind;

	while (going(t)) {
		kind = any_kind(&t->random);
		if (!kind->flavor)
			wait_and_free(t, kind);
		if (one_in(4, &t->random))
			barrier(t);
		count_disturbance(WAIT);
		nap_us(below(1000, &t->random));
	}
	return NULL;
}
