// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * teardown.c - the end of an allocator
 *
 * Problem: destroy comes while grace periods are pending and readers inside.  In the seed, destroy
 * drained lists that callbacks were still filling, and asked flags in one order that callbacks
 * cleared in another: a leak, and two ways to free the caches under a callback.
 *
 * Idea: destroy does nothing but say so.  The reclaimer, which alone touches an allocator from
 * outside, finds it dying in its next round, takes all that is in it in one go, takes one cookie of
 * each kind, and frees everything, spans and not objects, once both are done.
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
 * Progress: destroy is wait-free.  The rest takes two rounds and the grace periods.
 *
 * Held by: tests/core/test_teardown.c.
 */
#include "bma.h"

static void take_magazine(struct bpf_mem_cache *c, struct bma_magazine *m)
{
	bma_chain_add(&c->ttrace_wait, m);
}

static void take_chain(struct bpf_mem_cache *c, bma_handle_t h)
{
	struct bma_magazine *m;

	while (h) {
		m = bma_piece(h);
		h = port_load(&m->next, relaxed);
		take_magazine(c, m);
	}
}

static void take_slots(struct bma_group *g, struct bpf_mem_cache *c)
{
	struct bma_magazine *m;
	struct bma_cpu *block;
	uint32_t i, j;

	for (i = 0; i < g->nr_cpus; i++) {
		block = port_load(&g->cpus[i], acquire);
		for (j = 0; block != bma_no_cpu && j < BMA_NR_TOPS; j++) {
			m = bma_magazine_of(c, port_load(&bma_slot(c, block)->top[j], relaxed));
			if (m)
				take_magazine(c, m);
			port_store(&bma_slot(c, block)->top[j], BMA_NO_TOP, relaxed);
		}
	}
}

/*
 * All of @c's magazines to ttrace_wait.  Each list is taken as it is: whatever moved one thing on
 * to the next list on the way (a limbo_put, say, that finds its bucket ripe) would fill what is
 * drained.
 */
static void take_all(struct bma_group *g, struct bpf_mem_cache *c)
{
	unsigned int i;

	take_slots(g, c);
	take_chain(c, c->ttrace_next.first);
	take_chain(c, bma_stack_take(&c->depot));
	take_chain(c, bma_stack_take(&c->partial));
	take_chain(c, bma_stack_take(&c->by_rcu));
	take_chain(c, bma_stack_take(&c->young));
	take_chain(c, bma_stack_take(&c->old));
	for (i = 0; i < BMA_NR_BUCKETS; i++)
		take_chain(c, bma_limbo_take(c, i));
	c->ttrace_next = (struct bma_chain){ 0 };
	port_store(&c->nr_depot, 0, relaxed);
	port_store(&c->nr_limbo, 0, relaxed);
	port_store(&c->nr_quarantined, 0, relaxed);
	port_store(&c->nr_ttrace, (int64_t)c->ttrace_wait.objs, relaxed);
}

static void free_cpus(struct bma_group *g)
{
	struct bma_cpu *block;
	uint32_t i;

	for (i = 0; i < g->nr_cpus; i++) {
		block = port_load(&g->cpus[i], relaxed);
		if (block != bma_no_cpu)
			bma_cpu_free(block);
	}
	if (g->spare)
		bma_cpu_free(g->spare);
	bma_cpus_free(g->cpus);
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

static void free_cache(struct bpf_mem_cache *c)
{
	report_lost(c);
	bma_slab_destroy(c);
	bma_world.meta.returned += bma_chain_free(&c->ttrace_wait);
}

static void free_group(struct bma_group *g)
{
	uint32_t i;

	bma_stats_bury(g);
	for (i = 0; i < g->nr_caches; i++)
		free_cache(&g->caches[i]);
	free_cpus(g);
	/* What a thread charged and did not live to take. */
	bma_uncharge(g, port_load(&g->bytes_charged, relaxed));
	if (g->dtor_ctx_free)
		g->dtor_ctx_free(g->dtor_ctx);
	obj_cgroup_put(port_load(&g->objcg, relaxed));
	bma_group_free(g);
}

/* A round's work on a dying group; false when it is gone. */
bool bma_teardown_step(struct bma_group *g)
{
	uint32_t i;

	if (!g->teardown.on) {
		for (i = 0; i < g->nr_caches; i++)
			take_all(g, &g->caches[i]);
		bma_wait_begin(&g->teardown, g->gp);
	}
	if (!bma_wait_done(&g->teardown, g->gp))
		return true;
	free_group(g);
	return false;
}
