/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * nodes.h - a little of everything, by any number of threads, on objects that tell what is in them
 */
#ifndef BMA_TEST_NODES_H
#define BMA_TEST_NODES_H

#include <stdatomic.h>

#include "util.h"

#define OWN_OBJS 32
#define PUBLISHED 8

/* An object: it tells what is in it. */
struct node {
	uint64_t seed;
	char rest[56];
};

/* What all threads work on, here and in the children. */
static struct bpf_mem_alloc shared;
static struct node *_Atomic published[PUBLISHED];

static inline bool is_intact(const struct node *n)
{
	return is_filled(n->rest, sizeof(n->rest), n->seed);
}

static inline struct node *new_node(uint64_t *random)
{
	struct node *n = bpf_mem_cache_alloc(&shared);

	must(n);
	n->seed = rnd(random);
	fill(n->rest, sizeof(n->rest), n->seed);
	return n;
}

static inline void delete_node(struct node *n, bool rcu)
{
	if (!n)
		return;
	must(is_intact(n));
	if (rcu)
		bpf_mem_cache_free_rcu(&shared, n);
	else
		bpf_mem_cache_free(&shared, n);
}

/* A reader finds what it found as it was, for as long as it is inside. */
static inline void read_one(uint64_t *random)
{
	struct node *n, copy;

	bpf_rcu_read_lock();
	n = atomic_load(&published[rnd(random) % PUBLISHED]);
	if (n) {
		copy = *n;
		must(is_intact(&copy));
		must(is_intact(n));
		must(n->seed == copy.seed);
	}
	bpf_rcu_read_unlock();
}

static inline void replace_one(uint64_t *random)
{
	struct node *n = new_node(random);

	delete_node(atomic_exchange(&published[rnd(random) % PUBLISHED], n), true);
}

static inline void step(struct node **own, uint64_t *random)
{
	struct node **place = &own[rnd(random) % OWN_OBJS];

	read_one(random);
	if (rnd(random) % 4 == 0)
		replace_one(random);
	delete_node(*place, rnd(random) % 2);
	*place = rnd(random) % 4 ? new_node(random) : NULL;
}

static inline void steps(unsigned int n, uint64_t seed)
{
	struct node *own[OWN_OBJS] = { NULL };
	uint64_t random = seed + 1;
	unsigned int i;

	while (n--)
		step(own, &random);
	for (i = 0; i < OWN_OBJS; i++)
		delete_node(own[i], i % 2);
}

/* Free what is published, destroy, and find everything back; how much nobody ever freed. */
static inline uint64_t tear_down(void)
{
	unsigned int i;

	for (i = 0; i < PUBLISHED; i++)
		delete_node(atomic_exchange(&published[i], NULL), true);
	bpf_mem_alloc_destroy(&shared);
	await_nothing_left();
	return process_stats().never_freed;
}

#endif /* BMA_TEST_NODES_H */
