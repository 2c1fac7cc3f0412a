// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * callback.c - what users ask of grace periods: wait, poll, have called, and the barrier
 *
 * Callbacks are queued on a lock-free list that the reclaimer takes whole; it gives the batch a
 * number and runs it in a later round.  One batch waits at a time in each domain.
 *
 *	list		push		take all	walk
 *	incoming	any		reclaimer	-
 *	batch		-		-		reclaimer
 *
 * Ordering: bpf_call_rcu()'s release and the reclaimer's acquire put everything before the call
 * before SNAPSHOT, which comes after the take.
 *
 * The barrier: have every CPU's magazines fetched, wait for a grace period of every domain but the
 * sleepable one (what is ripe need not have left), and see that the reclaimer has been round and has
 * run the callbacks.
 *
 * Held by: tests/core/test_callback.c, tests/process/test_rcu.c.
 */
#include "bma.h"

static struct bma_gp *gp_of(const struct bma_callbacks *cb)
{
	return bma_gp_nth((unsigned int)(cb - bma_world.callbacks));
}

static void queue(struct bma_callbacks *cb, struct bpf_rcu_head *head,
		  void (*func)(struct bpf_rcu_head *head))
{
	head->func = func;
	head->next = port_load(&cb->incoming, relaxed);
	while (!port_cas(&cb->incoming, &head->next, head, release))
		;
	port_reclaim_wake();
}

void bpf_call_rcu(struct bpf_rcu_head *head, void (*func)(struct bpf_rcu_head *head))
{
	queue(&bma_world.callbacks[BPF_RCU_NORMAL_], head, func);
}

void call_rcu_tasks_trace(struct bpf_rcu_head *head, void (*func)(struct bpf_rcu_head *head))
{
	queue(&bma_world.callbacks[BPF_RCU_TRACE_], head, func);
}

static void run_batch(struct bma_callbacks *cb)
{
	struct bpf_rcu_head *head = cb->batch, *next;

	cb->batch = NULL;
	for (; head; head = next) {
		next = head->next;
		head->func(head);
	}
	cb->nr_run++;
}

static struct bpf_rcu_head *reversed(struct bpf_rcu_head *head)
{
	struct bpf_rcu_head *before = NULL, *next;

	for (; head; head = next) {
		next = head->next;
		head->next = before;
		before = head;
	}
	return before;
}

static bool step(struct bma_callbacks *cb)
{
	if (cb->batch && bma_gp_number_done(gp_of(cb), cb->number))
		run_batch(cb);
	if (!cb->batch && port_load(&cb->incoming, relaxed)) {
		cb->batch = reversed(port_xchg(&cb->incoming, NULL, acquire));
		cb->number = bma_gp_number(gp_of(cb));
		bma_gp_want(gp_of(cb), cb->number, false);
		bma_gp_poll(gp_of(cb), true);
		if (bma_gp_number_done(gp_of(cb), cb->number))
			run_batch(cb);
	}
	return cb->batch || port_load(&cb->incoming, relaxed);
}

/* Reclaimer: run what is due; true: come again. */
bool bma_callbacks_step(void)
{
	bool again = false;
	unsigned int i;

	for (i = 0; i < BPF_RCU_DOMAINS_; i++)
		again |= step(&bma_world.callbacks[i]);
	return again;
}

static void synchronize(struct bma_gp *gp, const char *func)
{
	port_init();
	if (!bma_gp_wait(gp, bma_gp_number(gp)))
		port_report(func, "called inside a read-side section", NULL, 0, 0);
}

void bpf_rcu_synchronize(void)
{
	synchronize(&bma_rcu, __func__);
}

void synchronize_rcu_tasks_trace(void)
{
	synchronize(&bma_trace, __func__);
}

static uint64_t get_state(struct bma_gp *gp)
{
	return bma_gp_number(gp);
}

static bool poll_state(struct bma_gp *gp, uint64_t number)
{
	if (bma_gp_number_done(gp, number))
		return true;
	bma_gp_want(gp, number, true);
	bma_gp_poll(gp, false);
	return bma_gp_number_done(gp, number);
}

bpf_rcu_cookie bpf_rcu_get_state(void)
{
	return get_state(&bma_rcu);
}

bool bpf_rcu_poll_state(bpf_rcu_cookie cookie)
{
	return poll_state(&bma_rcu, cookie);
}

bpf_rcu_cookie rcu_tasks_trace_get_state(void)
{
	return get_state(&bma_trace);
}

bool rcu_tasks_trace_poll_state(bpf_rcu_cookie cookie)
{
	return poll_state(&bma_trace, cookie);
}

/*
 * What is queued now is in the batch that waits or in the next one.  Batches are counted, not calls:
 * who was to count a call may have been left behind by a fork.
 */
static uint64_t batches_until_now(struct bma_callbacks *cb)
{
	uint64_t nr;

	port_reclaim_lock();
	nr = cb->nr_run + (cb->batch ? 2 : 1);
	port_reclaim_unlock();
	return nr;
}

static bool batches_run(struct bma_callbacks *cb, uint64_t nr)
{
	bool done;

	port_reclaim_lock();
	done = cb->nr_run >= nr || (!cb->batch && !port_load(&cb->incoming, acquire));
	port_reclaim_unlock();
	return done;
}

static void wait_for_callbacks(struct bma_callbacks *cb)
{
	uint64_t nr = batches_until_now(cb);

	while (!batches_run(cb, nr)) {
		bma_gp_wait(gp_of(cb), bma_gp_number(gp_of(cb)));
		port_reclaim_round();
	}
}

void bpf_rcu_barrier(void)
{
	struct bma_gp *gp;
	uint64_t flush;
	unsigned int i;

	if (bma_reader_inside(&bma_rcu)) {
		port_report(__func__, "called inside a read-side section", NULL, 0, 0);
		return;
	}
	flush = port_add(&bma_world.flushes_wanted, 1, release) + 1;
	do
		port_reclaim_round();
	while ((int64_t)(port_load(&bma_world.flushes_done, acquire) - flush) < 0);
	for (i = 0; (gp = bma_gp_nth(i)); i++)
		if (gp != &bma_trace)
			synchronize(gp, __func__);
	port_reclaim_round();
	wait_for_callbacks(&bma_world.callbacks[BPF_RCU_NORMAL_]);
}
