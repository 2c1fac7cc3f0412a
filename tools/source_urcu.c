// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * source_urcu.c - malloc with liburcu's call_rcu and defer_rcu, memb flavour
 *
 *   call_rcu   an rcu_head before each object; the default worker, one for the process
 *   defer_rcu  no header; a thread whose queue is full waits for a grace period and frees
 */
#define _GNU_SOURCE
#include "source.h"

#include <stdlib.h>
#include <urcu/urcu-memb.h>

static bool reader_enter(struct worker *t)
{
	(void)t;
	urcu_memb_register_thread();
	return true;
}

static void reader_leave(struct worker *t)
{
	(void)t;
	urcu_memb_unregister_thread();
}

static size_t memb_read(struct worker *t)
{
	(void)t;
	for (int i = 0; i < WORK_STEP; i++) {
		urcu_memb_read_lock();
		__asm__ volatile("" ::: "memory");
		urcu_memb_read_unlock();
	}
	return WORK_STEP;
}

static void memb_synchronize(struct worker *t)
{
	(void)t;
	urcu_memb_synchronize_rcu();
}

static void free_head(struct rcu_head *head)
{
	free(head);
}

static ALWAYS_INLINE void *head_alloc(struct worker *t)
{
	struct rcu_head *head = malloc(sizeof(*head) + t->size);

	return head ? head + 1 : NULL;
}

static ALWAYS_INLINE void head_retire(struct worker *t, void *object)
{
	(void)t;
	urcu_memb_call_rcu((struct rcu_head *)object - 1, free_head);
}

static void call_rcu_close(struct work *work)
{
	(void)work;
	urcu_memb_barrier();
}

DEFINE_LOOPS(call_rcu, head_alloc, head_retire)

const struct source source_call_rcu = {
	.waits = true,
	.enter = reader_enter,
	.leave = reader_leave,
	.close = call_rcu_close,
	.read = memb_read,
	.synchronize = memb_synchronize,
	LOOPS(call_rcu, head_alloc, head_retire),
};

static bool defer_enter(struct worker *t)
{
	reader_enter(t);
	return t->role->reads || !urcu_memb_defer_register_thread();
}

/* Frees what is in the thread's queue. */
static void defer_leave(struct worker *t)
{
	if (!t->role->reads)
		urcu_memb_defer_unregister_thread();
	reader_leave(t);
}

static ALWAYS_INLINE void *plain_alloc(struct worker *t)
{
	return malloc(t->size);
}

static ALWAYS_INLINE void defer_retire(struct worker *t, void *object)
{
	(void)t;
	urcu_memb_defer_rcu(free, object);
}

DEFINE_LOOPS(defer_rcu, plain_alloc, defer_retire)

const struct source source_defer_rcu = {
	.waits = true,
	.enter = defer_enter,
	.leave = defer_leave,
	.read = memb_read,
	LOOPS(defer_rcu, plain_alloc, defer_retire),
};
