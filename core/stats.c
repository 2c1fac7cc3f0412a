// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * stats.c - what is where
 *
 * Every number is one that slow paths keep, or is read off the tops of the magazines on CPUs; so
 * the fast paths count nothing.  Reads are racy and relaxed: what moves while we count may be
 * counted twice or not at all, and a difference that comes out negative for that is shown as 0.
 *
 * Held by: tests/core/test_stats.c.
 */
#include "bma.h"

struct in_slots {
	uint64_t free, rcu, magazines;
};

static void count_slot(const struct bpf_mem_cache *c, struct bma_slot *slot, struct in_slots *n)
{
	unsigned int which;
	bma_obj_t *top;

	for (which = 0; which < BMA_NR_TOPS; which++) {
		top = port_load(&slot->top[which], relaxed);
		n->magazines += top != BMA_NO_TOP;
		if (which == BMA_BY_RCU)
			n->rcu += bma_top_count(c, top);
		else
			n->free += bma_top_count(c, top);
	}
}

static struct in_slots count_slots(const struct bpf_mem_cache *c)
{
	struct bma_group *g = c->group;
	struct in_slots n = { 0 };
	struct bma_cpu *block;
	uint32_t i;

	for (i = 0; i < g->nr_cpus && bma_has_cpus(g); i++) {
		block = port_load(&bma_cpus(g)[i], acquire);
		if (block != bma_no_cpu)
			count_slot(c, bma_slot(c, block), &n);
	}
	return n;
}

static uint64_t at_least_0(int64_t n)
{
	return n > 0 ? (uint64_t)n : 0;
}

static uint64_t magazines_for(const struct bpf_mem_cache *c, uint64_t objs)
{
	return (objs + c->capacity - 1) / c->capacity;
}

static void add_cache(struct bpf_mem_cache *c, struct bpf_mem_stats *s)
{
	struct in_slots n = count_slots(c);
	uint64_t depot = at_least_0(port_load(&c->nr_depot, relaxed));
	uint64_t limbo = at_least_0(port_load(&c->nr_limbo, relaxed) +
				    port_load(&c->nr_quarantined, relaxed));
	uint64_t listed = at_least_0(port_load(&c->nr_ttrace, relaxed));
	uint64_t ttrace = listed + at_least_0(port_load(&c->nr_deferred, relaxed));
	uint64_t in_use = at_least_0(port_load(&c->nr_from_slab, relaxed) -
				     (int64_t)(n.free + n.rcu + depot + limbo + ttrace));

	s->objs_in_use += in_use;
	s->objs_free += n.free + depot;
	s->objs_waiting_rcu += n.rcu + limbo;
	s->objs_waiting_ttrace += ttrace;
	s->bytes_in_use += in_use * c->size;
	s->bytes_free += (n.free + depot) * c->size;
	s->bytes_waiting_rcu += (n.rcu + limbo) * c->size;
	s->bytes_waiting_ttrace += ttrace * c->size;
	s->spans += port_load(&c->nr_spans, relaxed);
	s->magazines += n.magazines + magazines_for(c, depot) + magazines_for(c, limbo) +
			magazines_for(c, listed);
	s->refusals += port_load(&c->nr_refusals, relaxed);
}

static void add_group(struct bma_group *g, struct bpf_mem_stats *s)
{
	uint32_t i;

	for (i = 0; i < g->nr_caches; i++)
		add_cache(&g->caches[i], s);
	s->bad_frees += port_load(&g->nr_bad_frees, relaxed);
	s->limbo_waits += port_load(&g->nr_limbo_waits, relaxed);
	s->limbo_refusals += port_load(&g->nr_limbo_refusals, relaxed);
	s->bytes_spans += port_load(&g->bytes_charged, relaxed);
}

static uint64_t own_meta(struct bma_group *g, const struct bpf_mem_stats *s)
{
	uint64_t blocks = 0;
	uint32_t i;

	for (i = 0; i < g->nr_cpus && bma_has_cpus(g); i++)
		blocks += port_load(&bma_cpus(g)[i], relaxed) != bma_no_cpu;
	return bma_group_bytes(g) + blocks * bma_cpu_bytes(g->nr_slots) +
	       s->magazines * sizeof(struct bma_magazine);
}

void bpf_mem_alloc_stats(const struct bpf_mem_alloc *ma, struct bpf_mem_stats *stats)
{
	struct bma_group *g = ma->group;

	*stats = (struct bpf_mem_stats){ 0 };
	if (!g)
		return;
	/* What the reclaimer moves is for a moment nowhere. */
	port_reclaim_lock();
	add_group(g, stats);
	stats->bytes_meta = own_meta(g, stats);
	port_reclaim_unlock();
	stats->grace_periods = bma_gp_counts(g->gp).ended - g->gp_at_init.ended;
	stats->hurries = bma_gp_counts(g->gp).hurried - g->gp_at_init.hurried;
	stats->allocators = 1;
}

/* Reclaimer: keep the events of a group that goes. */
void bma_stats_bury(struct bma_group *g)
{
	struct bpf_mem_stats s = { 0 };

	add_group(g, &s);
	bma_world.past.refusals += s.refusals;
	bma_world.past.bad_frees += s.bad_frees;
	bma_world.past.limbo_waits += s.limbo_waits;
	bma_world.past.limbo_refusals += s.limbo_refusals;
}

void bpf_mem_process_stats(struct bpf_mem_stats *stats)
{
	struct bma_group *g;
	struct bma_gp *gp;
	unsigned int i;

	port_reclaim_lock();
	bma_adopt();
	*stats = bma_world.past;
	for (g = bma_world.groups; g; g = g->next) {
		add_group(g, stats);
		if (port_load(&g->state, relaxed) == BMA_LIVE)
			stats->allocators++;
		else
			stats->dying++;
	}
	port_reclaim_unlock();
	stats->bad_frees += port_load(&bma_world.nr_stray_frees, relaxed);
	stats->bytes_meta = port_load(&bma_world.meta.nr_pages, relaxed) * PORT_META_PAGE;
	for (i = 0; (gp = bma_gp_nth(i)); i++) {
		stats->grace_periods += bma_gp_counts(gp).ended;
		stats->hurries += bma_gp_counts(gp).hurried;
	}
}
