// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * reclaim.c - the reclaimer's round
 *
 * Problem: nothing may strand.  An object that was freed on a CPU which then goes idle, a depot
 * that was filled by a peak, a limbo that nobody allocates from, all come back with no call from
 * there.
 *
 * Idea: one context looks at every allocator, a tick apart while there is something to look after,
 * and only it touches from outside what belongs to a CPU.  Kin: Bonwick's working-set estimate for
 * depots.
 *
 *   1. A CPU whose free_rcu'd objects have sat in the same magazine for a tick, or on which nothing
 *      has moved for IDLE_TICKS, gets an empty block in place of its own, and what was in that goes
 *      where it would have gone: to limbo and to the depot.
 *   2. What is ripe goes to the depot.
 *   3. What the depot did not need in TRIM_ROUNDS, its lowest level in that time, leaves: it waits
 *      for both kinds of readers (ttrace_next, ttrace_wait; one batch at a time) and goes to the
 *      slab.
 *   4. Pages of metadata with nothing in them go back.
 *
 * Objects and owners: world.groups and all that bma.h marks "reclaimer" are read and written only
 * inside a round, or by who holds port_reclaim_lock().  New groups come through a lock-free inbox.
 *
 * Progress: a round does not wait for readers, memory or locks.  What cannot be done now (no memory
 * for a block, a CPU in the middle of a fallback step) is done a tick later.
 *
 * Not promised: when.  A home without a thread runs a round when the process calls.
 *
 * Held by: tests/core/test_reclaim.c.
 */
#include "bma.h"

#define IDLE_TICKS 8
#define TRIM_ROUNDS 4
/* A cookie may be of the next but one grace period, and the first poll may find one under way. */
#define POLLS 3
#define META_TRIM_ROUNDS 64
#define META_TRIM_PIECES 1024

/* Let the reclaimer know the groups that came through the inbox. */
void bma_adopt(void)
{
	bma_handle_t h = bma_stack_take(&bma_world.inbox);
	struct bma_group *g;

	while (h) {
		g = bma_piece(h);
		h = port_load(&g->link, relaxed);
		g->next = bma_world.groups;
		bma_world.groups = g;
	}
}

static struct bpf_mem_cache *cache_of_slot(struct bma_group *g, uint32_t slot)
{
	return &g->caches[slot - (g->nr_slots - g->nr_caches)];
}

static bma_obj_t *top_of(struct bma_slot *slot, enum bma_top which)
{
	return port_load(&slot->top[which], relaxed);
}

static void harvest_slot(struct bpf_mem_cache *c, struct bma_slot *slot)
{
	struct bma_magazine *m;
	unsigned int which;

	for (which = 0; which < BMA_NR_TOPS; which++) {
		m = bma_magazine_of(c, top_of(slot, which));
		if (!m)
			continue;
		if (which == BMA_BY_RCU)
			bma_limbo_put(c, m);
		else
			bma_depot_put(c, m);
	}
}

/* Take all magazines off a CPU; false if that cannot be done now. */
bool bma_reclaim_harvest(struct bma_group *g, unsigned int index)
{
	struct bma_cpu *old;
	uint32_t i;

	if (!g->spare)
		g->spare = bma_cpu_new(g);
	/* With no memory for a block the CPU is left without; this one is the spare then. */
	old = port_cpu_detach(bma_cpus(g), index, g->spare ? g->spare : bma_no_cpu);
	if (!old)
		return false;
	for (i = g->nr_slots - g->nr_caches; i < g->nr_slots; i++)
		harvest_slot(cache_of_slot(g, i), &old->slot[i]);
	/*
	 * Never freed: the fallback's try-lock may still be tried by who looked before the detach.
	 */
	bma_cpu_reset(old);
	g->spare = old;
	return true;
}

struct sight {
	bool holds; /* some magazine is on the CPU */
	bool moved; /* since the last visit */
	bool stale; /* freed objects have waited since the last visit in the same magazine */
};

static void look_at_slot(struct bpf_mem_cache *c, struct bma_slot *slot, struct sight *sight)
{
	bma_obj_t *top = top_of(slot, BMA_BY_RCU), *seen = slot->seen[BMA_BY_RCU];
	uintptr_t mask = ~(uintptr_t)(PORT_MAGAZINE_BYTES - 1);
	unsigned int which;

	if (bma_top_count(c, top) &&
	    (((uintptr_t)top - 1) & mask) == (((uintptr_t)seen - 1) & mask))
		sight->stale = true;
	for (which = 0; which < BMA_NR_TOPS; which++) {
		top = top_of(slot, which);
		sight->holds |= top != BMA_NO_TOP;
		sight->moved |= top != slot->seen[which];
		slot->seen[which] = top;
	}
}

/* True if there is something on the CPU to come back for. */
static bool visit_cpu(struct bma_group *g, unsigned int index, bool flush)
{
	struct bma_cpu *block = port_load(&bma_cpus(g)[index], acquire);
	struct sight sight = { 0 };
	uint32_t i;

	if (block == bma_no_cpu)
		return false;
	for (i = g->nr_slots - g->nr_caches; i < g->nr_slots; i++)
		look_at_slot(cache_of_slot(g, i), &block->slot[i], &sight);
	block->idle = sight.moved ? 0 : block->idle + 1;
	if (!sight.holds)
		return false;
	if (flush || sight.stale || block->idle >= IDLE_TICKS)
		bma_world.flush_failed |= !bma_reclaim_harvest(g, index);
	return true;
}

/* So many magazines leave a depot at a time, as who waits for the reclaimer's lock waits for that. */
#define TRIM_PART 8192

/* Move what the depot did not need lately on its way to the slab; BMA_AT_ONCE: there is more. */
static unsigned int trim(struct bpf_mem_cache *c)
{
	int64_t surplus = port_load(&c->nr_depot_low, relaxed);
	unsigned int n = TRIM_PART;
	struct bma_magazine *m;

	while (surplus > 0 && n-- && (m = bma_depot_get(c))) {
		surplus -= m->count;
		port_add(&c->nr_ttrace, (int64_t)m->count, relaxed);
		bma_chain_add(&c->ttrace_next, m);
	}
	c->trimming = surplus > 0 && bma_stack_first(&c->depot);
	port_store(&c->nr_depot_low, c->trimming ? surplus : port_load(&c->nr_depot, relaxed),
		   relaxed);
	return c->trimming ? BMA_AT_ONCE : BMA_DONE;
}

/*
 * One batch at a time waits for both kinds of readers, then goes to the slab, a part in each round.  All
 * of a trim is one batch, as spans go without being wiped where all their objects come together.
 */
static unsigned int ttrace_step(struct bpf_mem_cache *c)
{
	if (c->ttrace.on && !bma_wait_done(&c->ttrace, c->group->gp))
		return BMA_AGAIN;
	if (bma_slab_put_chain(c, &c->ttrace_wait))
		return BMA_AT_ONCE;
	if (!c->ttrace_next.first || c->trimming)
		return BMA_DONE;
	c->ttrace_wait = c->ttrace_next;
	c->ttrace_next = (struct bma_chain){ 0 };
	bma_wait_begin(&c->ttrace, c->group->gp);
	return BMA_AGAIN;
}

/* Have limbo ripen, polling for as long as that may help; true if something is left in it. */
static bool ripen(struct bpf_mem_cache *c)
{
	bool pending = bma_limbo_ripen(c);
	unsigned int polls;

	for (polls = 0; pending && polls < POLLS && !c->group->gp->driven; polls++) {
		bma_gp_poll(c->group->gp, true);
		pending = bma_limbo_ripen(c);
	}
	return pending;
}

static unsigned int visit_cache(struct bpf_mem_cache *c)
{
	unsigned int again;

	bma_limbo_close(c);
	again = ripen(c);
	if (c->trimming || (!bma_world.at_once && bma_world.round % TRIM_ROUNDS == 0))
		again |= trim(c);
	again |= ttrace_step(c);
	again |= bma_slab_step(c);
	if (bma_stack_first(&c->depot) || bma_stack_first(&c->partial))
		again |= BMA_AGAIN;
	return again;
}

static unsigned int visit_group(struct bma_group *g)
{
	bool flush = port_load(&g->want_flush, relaxed) &&
		     port_xchg(&g->want_flush, false, relaxed);
	unsigned int again = BMA_DONE;
	uint32_t i;

	for (i = 0; i < g->nr_cpus && bma_has_cpus(g); i++)
		again |= visit_cpu(g, i, flush || bma_world.flush_all);
	for (i = 0; i < g->nr_caches; i++)
		again |= visit_cache(&g->caches[i]);
	return again;
}

/* Visit all groups; the dead ones come off the list. */
static unsigned int visit_groups(void)
{
	struct bma_group **link = &bma_world.groups, *g;
	unsigned int again = BMA_DONE;

	while ((g = *link)) {
		/* Acquire: pairs with bpf_mem_alloc_destroy()'s release; no call comes after it. */
		if (port_load(&g->state, acquire) == BMA_DYING) {
			struct bma_group *next = g->next;
			unsigned int more = bma_teardown_step(g);

			if (!more) {
				*link = next;
				continue;
			}
			again |= more;
		} else {
			again |= visit_group(g);
		}
		link = &g->next;
	}
	return again;
}

/* While somebody waits for a grace period it may stall, and then the home has something to say. */
static bool some_wanted(void)
{
	struct bma_gp *gp;
	unsigned int i;

	for (i = 0; (gp = bma_gp_nth(i)); i++)
		if (bma_gp_wanted(gp))
			return true;
	return false;
}

unsigned int bma_reclaim(void)
{
	uint64_t flush = port_load(&bma_world.flushes_wanted, acquire);
	struct bma_meta *meta = &bma_world.meta;
	unsigned int again;

	bma_world.flush_all = flush != port_load(&bma_world.flushes_done, relaxed);
	bma_world.flush_failed = false;
	bma_adopt();
	bma_world.round += !bma_world.at_once;
	bma_gp_poll(&bma_rcu, true);
	bma_gp_poll(&bma_trace, true);
	again = visit_groups();
	again |= bma_callbacks_step();
	again |= some_wanted();
	/* Who has asked since this round began asked for another one. */
	if (!bma_world.flush_failed)
		port_store(&bma_world.flushes_done, flush, release);
	if (!again || meta->trimming || meta->returned >= META_TRIM_PIECES ||
	    bma_world.round % META_TRIM_ROUNDS == 0)
		again |= bma_meta_trim(meta) ? BMA_AT_ONCE : 0;
	again |= port_pages_free_now() ? BMA_AT_ONCE : 0;
	bma_world.at_once = again & BMA_AT_ONCE;
	return again;
}
