// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * channel.c - a queue between two threads; the end that finds nothing to do lets others run
 *
 * Both sides go in parts of at most a sixteenth of the queue, so that neither waits for the other
 * to get through all of it.
 */
#define _GNU_SOURCE
#include "source.h"

#include <sched.h>

#define PART (CHANNEL_SLOTS / 16)
#define LOOKS_BEFORE_YIELD 100

static size_t ready(const struct channel *c)
{
	return atomic_load_explicit(&c->added, memory_order_acquire) -
	       atomic_load_explicit(&c->taken, memory_order_acquire);
}

static size_t at_most_a_part(size_t nr)
{
	return nr < PART ? nr : PART;
}

size_t channel_room(struct channel *c)
{
	for (int i = 0; i < LOOKS_BEFORE_YIELD; i++) {
		size_t nr = CHANNEL_SLOTS - ready(c);

		if (nr)
			return at_most_a_part(nr);
	}
	sched_yield();
	return 0;
}

size_t channel_ready(struct channel *c)
{
	for (int i = 0; i < LOOKS_BEFORE_YIELD; i++) {
		size_t nr = ready(c);

		if (nr)
			return at_most_a_part(nr);
	}
	sched_yield();
	return 0;
}
