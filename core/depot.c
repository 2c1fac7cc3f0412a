// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * depot.c - magazines that are on no CPU
 *
 * Problem: move 62 objects between CPUs at the price of one operation.
 *
 * Idea: Bonwick's depot, UMA's buckets: full magazines on a lock-free stack.  Steps that could not
 * load a magazine on their CPU (they never retry, see port.h) leave it on `partial`, from where the
 * next step in need takes it first, so that there are never more of them than contexts at work.
 * Empty magazines go back to the metadata at once.
 *
 * Objects and owners: a magazine in the depot is the cache's; one that was popped is in the hand of
 * the popper alone.  `count` and the entries are written by the owner only.
 *
 *	list		push			pop			walk
 *	depot		any			any			nobody
 *	partial		any			any			nobody
 *	chain		its owner		its owner		its owner
 *
 * Invariants: nr_depot is the sum of the counts of depot and partial when nothing runs, nor was
 * stopped (test_depot.c, and bpf_mem_alloc_stats() in every test that compares it).
 *
 * Ordering: the stack's release and acquire carry entries and count; nr_depot is relaxed, for
 * watermarks and statistics only.  A magazine is counted before it can be popped, and until after
 * that, so nr_depot is never less than what is there, also where a thread was stopped for good in
 * between (fork.c): the reclaimer trims by it, and what it does not count would strand.
 *
 * Progress: lock-free, and O(1) however many magazines there are.  Contexts: any.
 *
 * Held by: tests/core/test_depot.c.
 */
#include "bma.h"

struct bma_magazine bma_no_magazine __attribute__((aligned(PORT_MAGAZINE_BYTES)));

struct bma_magazine *bma_magazine_new(void)
{
	struct bma_magazine *m = bma_meta_alloc(BMA_META_MAGAZINE);

	if (m)
		m->count = m->filler = 0;
	return m;
}

void bma_magazine_free(struct bma_magazine *m)
{
	bma_meta_free(m, BMA_META_MAGAZINE);
}

/* Make @m what a slot shows: with NULL below the first object. */
bma_obj_t *bma_magazine_load(const struct bpf_mem_cache *c, struct bma_magazine *m)
{
	bma_obj_t *top = bma_magazine_top(c, m);

	/* With full capacity this is the word of count and total. */
	port_store((PORT_ATOMIC(bma_obj_t) *)&bma_magazine_bottom(c, m)[-1], NULL, relaxed);
	return top;
}

static struct bma_magazine *magazine_at(bma_obj_t *top)
{
	return (struct bma_magazine *)(((uintptr_t)top - 1) &
				       ~(uintptr_t)(PORT_MAGAZINE_BYTES - 1));
}

uint64_t bma_top_count(const struct bpf_mem_cache *c, bma_obj_t *top)
{
	if (top == BMA_NO_TOP)
		return 0;
	return top - bma_magazine_bottom(c, magazine_at(top));
}

/* The magazine that a slot showed as @top, now in hand; NULL for no magazine. */
struct bma_magazine *bma_magazine_of(const struct bpf_mem_cache *c, bma_obj_t *top)
{
	struct bma_magazine *m;

	if (top == BMA_NO_TOP)
		return NULL;
	m = magazine_at(top);
	m->count = bma_top_count(c, top);
	return m;
}

void bma_chain_add(struct bma_chain *chain, struct bma_magazine *m)
{
	port_store(&m->next, chain->first, relaxed);
	chain->first = bma_handle(m);
	chain->objs += m->count;
}

/* Free up to @max magazines of @chain, not their objects; returns how many. */
unsigned int bma_chain_free(struct bma_chain *chain, unsigned int max)
{
	struct bma_magazine *m = NULL;
	bma_handle_t h = chain->first;
	unsigned int n;

	for (n = 0; h && n < max; n++) {
		m = bma_piece(h);
		h = port_load(&m->next, relaxed);
		chain->objs -= m->count;
	}
	if (m)
		bma_meta_free_list(bma_piece(chain->first), m, BMA_META_MAGAZINE);
	chain->first = h;
	return n;
}

/* Give up a magazine in hand, whatever is in it. */
void bma_depot_put(struct bpf_mem_cache *c, struct bma_magazine *m)
{
	uint64_t count = m->count;

	if (!count) {
		bma_magazine_free(m);
		return;
	}
	port_add(&c->nr_depot, (int64_t)count, relaxed);
	bma_stack_push(count == c->capacity ? &c->depot : &c->partial, m, m);
}

static struct bma_magazine *got(struct bpf_mem_cache *c, struct bma_magazine *m)
{
	int64_t left;

	if (!m)
		return NULL;
	left = port_sub(&c->nr_depot, (int64_t)m->count, relaxed) - (int64_t)m->count;
	/*
	 * Racy: a lost minimum makes the reclaimer's next trim take more, and the one after less.
	 */
	if (left < port_load(&c->nr_depot_low, relaxed))
		port_store(&c->nr_depot_low, left, relaxed);
	return m;
}

/* A magazine with at least one object in it, or NULL. */
struct bma_magazine *bma_depot_get(struct bpf_mem_cache *c)
{
	struct bma_magazine *m = bma_stack_pop_magazine(&c->partial);

	return got(c, m ? m : bma_stack_pop_magazine(&c->depot));
}

/* A magazine with room for at least one more, or NULL. */
struct bma_magazine *bma_depot_get_partial(struct bpf_mem_cache *c)
{
	return got(c, bma_stack_pop_magazine(&c->partial));
}

/* Put in the magazines from @first to its tail, each with something in it. */
void bma_depot_splice(struct bpf_mem_cache *c, struct bma_magazine *first)
{
	port_add(&c->nr_depot, (int64_t)port_load(&first->total, relaxed), relaxed);
	bma_stack_push(&c->depot, first, bma_piece(port_load(&first->tail, relaxed)));
}
