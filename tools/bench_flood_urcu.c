// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * bench_flood_urcu.c - flood's readers of liburcu, and its contestants from malloc with liburcu
 *
 *   call_rcu   an rcu_head before each object; the default worker, one for the process
 *   defer_rcu  no header; an updater whose queue is full waits for a grace period and frees
 *
 * Limbo is counted in objects, as all chunks are of one size: malloc is asked for it once.
 */
#define _GNU_SOURCE
#include "bench_flood.h"
#include "ledger.h"

#include <malloc.h>
#include <stdlib.h>
#include <urcu/urcu-memb.h>

/* Sections of a QSBR reader between two of its quiescent states; nothing to other flavours. */
#define SECTIONS_PER_QUIESCENT_STATE 8

bool flood_flavor_enter(struct flood_thread *t)
{
	t->flood->how->flavor->register_thread();
	return true;
}

bool flood_flavor_read(struct flood_thread *t)
{
	const struct rcu_flavor_struct *flavor = t->flood->how->flavor;

	for (int i = 0; i < FLOOD_BATCH; i++) {
		flavor->read_lock();
		flood_look(t);
		flavor->read_unlock();
		if (i % SECTIONS_PER_QUIESCENT_STATE == 0)
			flavor->read_quiescent_state();
	}
	return true;
}

void flood_flavor_leave(struct flood_thread *t)
{
	t->flood->how->flavor->unregister_thread();
}

int flood_malloc_open(struct flood *flood, size_t header)
{
	void *chunk = malloc(header + flood->run->params.size);

	if (!chunk) {
		complain("%s: no memory for an object", flood->run->who->name);
		return -1;
	}
	flood->chunk = malloc_usable_size(chunk);
	free(chunk);
	return 0;
}

void flood_malloc_measure(const void *arg, struct memory_usage *usage)
{
	const struct flood *flood = arg;
	struct totals sum = ledger_totals();

	*usage = (struct memory_usage){
		.limbo = (sum.queued - sum.freed_after_rcu) * flood->chunk,
	};
}

int flood_malloc_close(struct flood *flood)
{
	struct totals sum = ledger_totals();

	if (sum.queued == sum.freed_after_rcu)
		return 0;
	complain("%s: %llu objects were queued and not freed", flood->run->who->name,
		 (unsigned long long)(sum.queued - sum.freed_after_rcu));
	return -1;
}

static void free_object(void *object)
{
	ledger_count(&ledger_mine()->freed_after_rcu, 1);
	free(object);
}

static void free_head(struct rcu_head *head)
{
	free_object(head);
}

static bool call_rcu_update(struct flood_thread *t)
{
	size_t size = sizeof(struct rcu_head) + t->flood->run->params.size;
	struct ledger *ledger = ledger_mine();

	for (int i = 0; i < FLOOD_BATCH; i++) {
		struct rcu_head *head = malloc(size);

		if (!head)
			return flood_fault(t->flood, "an allocation failed");
		flood_touch(head + 1);
		ledger_count(&ledger->queued, 1);
		urcu_memb_call_rcu(head, free_head);
	}
	return true;
}

static int call_rcu_open(struct flood *flood)
{
	return flood_malloc_open(flood, sizeof(struct rcu_head));
}

static int call_rcu_close(struct flood *flood)
{
	urcu_memb_barrier();
	return flood_malloc_close(flood);
}

static bool defer_rcu_enter(struct flood_thread *t)
{
	flood_flavor_enter(t);
	if (!urcu_memb_defer_register_thread())
		return true;
	flood_flavor_leave(t);
	return flood_fault(t->flood, "cannot register a thread");
}

static bool defer_rcu_update(struct flood_thread *t)
{
	size_t size = t->flood->run->params.size;
	struct ledger *ledger = ledger_mine();

	for (int i = 0; i < FLOOD_BATCH; i++) {
		void *object = malloc(size);

		if (!object)
			return flood_fault(t->flood, "an allocation failed");
		flood_touch(object);
		ledger_count(&ledger->queued, 1);
		urcu_memb_defer_rcu(free_object, object);
	}
	return true;
}

/* Frees what is in the thread's queue. */
static void defer_rcu_leave(struct flood_thread *t)
{
	urcu_memb_defer_unregister_thread();
	flood_flavor_leave(t);
}

static int defer_rcu_open(struct flood *flood)
{
	return flood_malloc_open(flood, 0);
}

const struct flood_contestant flood_call_rcu = {
	.flavor = &urcu_memb_flavor,
	.updater = { flood_flavor_enter, call_rcu_update, flood_flavor_leave },
	.reader = FLOOD_FLAVOR_READER,
	.open = call_rcu_open,
	.close = call_rcu_close,
	.measure = flood_malloc_measure,
};

const struct flood_contestant flood_defer_rcu = {
	.flavor = &urcu_memb_flavor,
	.updater = { defer_rcu_enter, defer_rcu_update, defer_rcu_leave },
	.reader = FLOOD_FLAVOR_READER,
	.open = defer_rcu_open,
	.close = flood_malloc_close,
	.measure = flood_malloc_measure,
};
