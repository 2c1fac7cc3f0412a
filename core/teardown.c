// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * teardown.c - the end of an allocator
 *
 * Problem: destroy comes while grace periods are pending and readers inside.  In the seed, destroy
 * drained lists that callbacks were still filling, and asked flags in one order that callbacks
 * cleared in another: a leak, and two ways to free the caches under a callback.
 *
 * Idea: destroy does nothing but say so.  The reclaimer, which alone touches an allocator from
 * outside, finds it dying in its next round, takes one cookie of each kind for all that is in it, and
 * frees everything, spans and not objects, once both are done.
 *
 * What it costs does not grow with the objects: long lists of magazines stay as they are and are freed
 * as they are, those of limbo without a look at any but the first.  Spans are marked in their regions,
 * and regions go whole (port_pages_free_later()).  All of it is done in parts, a round each, as a fork
 * waits for a round; until the last part the allocator counts as dying.
 *
 * Why none of the three races has a counterpart:
 *   - The leak (drained, then filled again): nothing fills.  No callback exists, users have stopped
 *     by contract, and the reclaimer is one context.
 *   - The flags read in the wrong order: there is no flag.  Every object in the allocator was freed
 *     before destroy, which is before the cookies, so a grace period after them covers all.
 *   - The cache that another cache's callback still uses (`tgt`): what an object belongs to is
 *     found by its address; no pending thing holds a pointer to any cache.
 *
 * Ordering: users' last calls -> destroy (the caller's duty) -> state (release) -> the reclaimer
 * (acquire) -> SNAPSHOT in the cookies -> the readers' end (bma_gp_done()'s acquire) -> unmapping.
 *
 * Progress: destroy is wait-free.  The rest takes the grace periods, and as many rounds as it has parts.
 *
 * Held by: tests/core/test_teardown.c.
 */
#include "bma.h"

/* So many magazines and spans are given back at a time, as a fork may wait for a round. */
#define PART 4096

static int64_t take_chain(struct bpf_mem_cache *c, bma_handle_t h)
{
	struct bma_magazine *m;
	int64_t objs = 0;

	while (h) {
		m = bma_piece(h);
		h = port_load(&m->next, relaxed);
		objs += m->count;
		bma_chain_add(&c->ttrace_wait, m);
	}
	return objs;
}

static int64_t take_slot(struct bpf_mem_cache *c, struct bma_slot *slot)
{
	struct bma_magazine *m;
	int64_t objs = 0;
	unsigned int i;

	for (i = 0; i < BMA_NR_TOPS; i++) {
		m = bma_magazine_of(c, port_load(&slot->top[i], relaxed));
		port_store(&slot->top[i], BMA_NO_TOP, relaxed);
		if (!m)
			continue;
		objs += m->count;
		bma_chain_add(&c->ttrace_wait, m);
	}
	return objs;
}

static int64_t take_slots(struct bma_group *g, struct bpf_mem_cache *c)
{
	struct bma_cpu *block;
	int64_t objs = 0;
	uint32_t i;

	for (i = 0; i < g->nr_cpus && bma_has_cpus(g); i++) {
		block = port_load(&bma_cpus(g)[i], acquire);
		if (block != bma_no_cpu)
			objs += take_slot(c, bma_slot(c, block));
	}
	return objs;
}

/* What is in a bucket stays there: it is a list already, and its first magazine knows how long. */
static int64_t count_bucket(struct bpf_mem_cache *c, unsigned int i)
{
	bma_handle_t first = (bma_handle_t)port_load(&c->bucket[i], acquire);

	return first ? port_load(&((struct bma_magazine *)bma_piece(first))->total, relaxed) : 0;
}

/*
 * All of @c's magazines now wait for both kinds of readers.  Short lists are taken; long ones stay as
 * they are, with what is known of how many objects they have.  Nothing moves from one to another on the
 * way: whatever did so (a limbo_put, say, that finds its bucket ripe) would fill what is counted.
 */
static void take_all(struct bma_group *g, struct bpf_mem_cache *c)
{
	int64_t objs = take_slots(g, c);
	unsigned int i;

	/* nr_depot has these. */
	take_chain(c, bma_stack_take(&c->partial));
	objs += port_load(&c->nr_depot, relaxed);
	objs += take_chain(c, bma_stack_take(&c->by_rcu));
	objs += take_chain(c, bma_stack_take(&c->young));
	objs += take_chain(c, bma_stack_take(&c->old));
	for (i = 0; i < BMA_NR_BUCKETS; i++)
		objs += count_bucket(c, i);
	port_store(&c->nr_depot, 0, relaxed);
	port_store(&c->nr_limbo, 0, relaxed);
	port_store(&c->nr_quarantined, 0, relaxed);
	port_add(&c->nr_ttrace, objs, relaxed);
}

/* Have ttrace_wait be one of the lists of magazines that are left; false if there is none. */
static bool next_chain(struct bpf_mem_cache *c)
{
	unsigned int i;

	if (!c->ttrace_wait.first) {
		c->ttrace_wait = c->ttrace_next;
		c->ttrace_next = (struct bma_chain){ 0 };
	}
	if (!c->ttrace_wait.first)
		c->ttrace_wait.first = bma_stack_take(&c->depot);
	for (i = 0; i < BMA_NR_BUCKETS && !c->ttrace_wait.first; i++)
		c->ttrace_wait.first = bma_limbo_take(c, i);
	return c->ttrace_wait.first;
}

/* Free the magazines of a bucket as they are, with no look at any but the first. */
static void free_bucket(struct bpf_mem_cache *c, unsigned int i)
{
	bma_handle_t h = bma_limbo_take(c, i);
	struct bma_magazine *first;

	if (!h)
		return;
	first = bma_piece(h);
	bma_world.meta.returned += port_load(&first->total, relaxed) / c->capacity + 1;
	bma_meta_free_list(first, bma_piece(port_load(&first->tail, relaxed)), BMA_META_MAGAZINE);
}

/* Destruct and free one magazine; each object counts. */
static unsigned int destruct_first(struct bpf_mem_cache *c, unsigned int part)
{
	struct bma_magazine *m = bma_piece(c->ttrace_wait.first);
	unsigned int n = m->count + 1;

	bma_slab_destruct(c, m);
	bma_chain_free(&c->ttrace_wait, 1);
	return n < part ? n : part;
}

static void free_cpus(struct bma_group *g)
{
	struct bma_cpu *block;
	uint32_t i;

	if (!bma_has_cpus(g))
		return;
	for (i = 0; i < g->nr_cpus; i++) {
		block = port_load(&bma_cpus(g)[i], relaxed);
		if (block != bma_no_cpu)
			bma_cpu_free(block);
	}
	if (g->spare)
		bma_cpu_free(g->spare);
	bma_cpus_free(bma_cpus(g));
}

static void report_lost(struct bpf_mem_cache *c)
{
	int64_t lost = port_load(&c->nr_from_slab, relaxed) - port_load(&c->nr_ttrace, relaxed) -
		       port_load(&c->nr_deferred, relaxed);

	if (lost <= 0 || c->group->inherited)
		return;
	bma_world.past.never_freed += (uint64_t)lost;
	port_report("bpf_mem_alloc_destroy", "objects were never freed", NULL, (uint64_t)lost,
		    c->size);
}

/* Give back some of @c's magazines, at most *@part, which are taken off that; true: there are more. */
static bool free_magazines(struct bpf_mem_cache *c, unsigned int *part)
{
	unsigned int i, n;

	for (i = 0; i < BMA_NR_BUCKETS && !c->group->dtor; i++)
		free_bucket(c, i);
	while (next_chain(c)) {
		if (!*part)
			return true;
		n = c->group->dtor ? destruct_first(c, *part) :
				     bma_chain_free(&c->ttrace_wait, *part);
		bma_world.meta.returned += n;
		*part -= n;
	}
	return false;
}

static void free_group(struct bma_group *g)
{
	bma_stats_bury(g);
	free_cpus(g);
	/* What a thread charged and did not live to take. */
	bma_uncharge(g, port_load(&g->bytes_charged, relaxed));
	if (g->dtor_ctx_free)
		g->dtor_ctx_free(g->dtor_ctx);
	obj_cgroup_put(port_load(&g->objcg, relaxed));
	bma_group_free(g);
}

/* Give back some of @c, at most *@part; true: there is more. */
static bool free_some(struct bpf_mem_cache *c, unsigned int *part)
{
	if (free_magazines(c, part))
		return true;
	/* Once; and before debug mode says which. */
	if (!c->destructed)
		report_lost(c);
	return bma_slab_destroy(c, part);
}

/* True once both grace periods after destroy have passed. */
static bool is_over(struct bma_group *g)
{
	uint32_t i;

	if (!g->over && !g->teardown.on) {
		for (i = 0; i < g->nr_caches; i++)
			take_all(g, &g->caches[i]);
		bma_wait_begin(&g->teardown, g->gp);
	}
	g->over = g->over || bma_wait_done(&g->teardown, g->gp);
	return g->over;
}

/* A round's work on a dying group; BMA_DONE when it is gone. */
unsigned int bma_teardown_step(struct bma_group *g)
{
	unsigned int part = PART;
	uint32_t i;

	if (!is_over(g))
		return BMA_AGAIN;
	for (i = 0; i < g->nr_caches; i++)
		if (free_some(&g->caches[i], &part))
			return BMA_AT_ONCE;
	if (port_pages_free_now())
		return BMA_AT_ONCE;
	free_group(g);
	return BMA_DONE;
}
