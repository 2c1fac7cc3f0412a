// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * fork.c - in the child of a fork: the one thread that is left takes stock
 *
 * Problem: the child has what all threads of the parent had written so far, and of the threads one.
 *
 * Idea: nothing is mended that need not be.  A context that stops for good in the middle of a call
 * takes with it what it had in hand: a magazine or two, and a span's place on a list; that is how
 * core is built, for handlers that never return.  Objects that were lost so come back when their
 * allocator is destroyed.  Counts that it left are off for good, to the harmless side each (depot.c,
 * limbo.c); to count again would be wrong, as this thread may be between its step and its count, and
 * go on.  To be mended are:
 *
 *   - records of readers that are not there, which would hold up grace periods (rcu.c);
 *   - that destroy would call lost what nobody here could have freed.
 *
 * A grace period that was under way goes on: who polls next ends it.
 *
 * Contexts: as the reclaimer, alone in the process, with no handler on top; but this thread may be in
 * a handler that interrupted any call.
 *
 * Held by: tests/core/test_fork.c, tests/model/test_fork.c, tests/process/test_fork.c.
 */
#include "bma.h"

void bma_forked(uint32_t before)
{
	struct bma_group *g;

	bma_readers_forked(before);
	bma_adopt();
	for (g = bma_world.groups; g; g = g->next)
		g->inherited = true;
}
