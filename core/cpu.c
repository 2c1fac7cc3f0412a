// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * cpu.c - a CPU's magazines, at the edges
 *
 * Problem: when the fast path finds its magazine empty (alloc) or full (free), get another one in
 * O(1), in any context, and so that a caller that goes to and fro over the edge does not pay each
 * time.
 *
 * Idea: Bonwick's pair of magazines, in steps that may fail.  The caller first gets a magazine in
 * hand, does its one operation on that, and only then tries to load it on the CPU it runs on; where
 * that does not work out (it migrated, a signal handler was quicker, the fallback's lock is held by
 * the context it interrupted) the magazine goes to the depot.  So each operation succeeds with no
 * retry at all.
 *
 * Objects and owners: what a slot shows belongs to the CPU; what a successful port_cpu_replace()
 * took out of it belongs to the caller, in the state in which it was shown.  If the same top was
 * taken out and put back in between, it is the same magazine with as many objects, so that is
 * harmless (no ABA).
 *
 *	slot		written by			read by
 *	LOADED		pop, push, replace		stats (a number that may be off)
 *	PREVIOUS	replace				the same
 *	BY_RCU		push, replace			the same
 *	all of a block	the reclaimer, after port_cpu_detach() only
 *
 * Ordering: none of its own.  The home makes a step's effects visible to the next on the same CPU,
 * the depot's stack to other CPUs.
 *
 * Progress: wait-free but for the stacks' compare-and-swaps.  Contexts: any.
 *
 * Held by: tests/core/test_cpu.c.
 */
#include "bma.h"

#define NO_SLOT                                                                                    \
	{                                                                                          \
		.top = { BMA_NO_TOP, BMA_NO_TOP, BMA_NO_TOP }                                      \
	}

/* What a CPU that has no block shows: nothing to pop, no room to push, in any slot. */
static struct bma_cpu no_cpu = {
	.nr_slots = BMA_MAX_SLOTS,
	.slot = { [0 ... BMA_MAX_SLOTS - 1] = NO_SLOT },
};

struct bma_cpu *const bma_no_cpu = &no_cpu;

/* Show nothing in any slot of a block that no CPU has. */
void bma_cpu_reset(struct bma_cpu *block)
{
	uint32_t i, j;

	block->idle = 0;
	for (i = 0; i < block->nr_slots; i++) {
		for (j = 0; j < BMA_NR_TOPS; j++) {
			port_store(&block->slot[i].top[j], BMA_NO_TOP, relaxed);
			block->slot[i].seen[j] = BMA_NO_TOP;
		}
	}
}

struct bma_cpu *bma_cpu_new(const struct bma_group *g)
{
	struct bma_cpu *block = bma_meta_alloc(bma_meta_class(bma_cpu_bytes(g->nr_slots)));

	if (!block)
		return NULL;
	port_store(&block->busy, 0, relaxed);
	block->nr_slots = g->nr_slots;
	bma_cpu_reset(block);
	return block;
}

void bma_cpu_free(struct bma_cpu *block)
{
	bma_meta_free(block, bma_meta_class(bma_cpu_bytes(block->nr_slots)));
}

/* This CPU's block; bma_no_cpu if it has none and there is no memory for one. */
static struct bma_cpu *this_block(struct bma_group *g)
{
	unsigned int index;
	struct bma_cpu *block = port_cpu_block(bma_cpus(g), &index), *fresh;
	bma_cpu_ptr_t *cpus;

	if (bma_likely(block != bma_no_cpu))
		return block;
	cpus = bma_cpus_show(g);
	fresh = cpus ? bma_cpu_new(g) : NULL;
	if (!fresh)
		return block;
	/* Release: who finds the block finds its tops. */
	if (port_cas(&cpus[index], &block, fresh, release))
		return fresh;
	bma_cpu_free(fresh);
	return port_load(&cpus[index], acquire);
}

struct place {
	struct bpf_mem_cache *c;
	struct bma_cpu *block;
	size_t offset;
};

static struct place place_at(struct bpf_mem_cache *c, struct bma_cpu *block, enum bma_top which)
{
	return (struct place){ c, block, bma_top_offset(c, which) };
}

static bma_obj_t *place_top(struct place p)
{
	return port_load(bma_top_at(p.block, p.offset), relaxed);
}

static bool replace(struct place p, bma_obj_t *old, bma_obj_t *new)
{
	return p.block != bma_no_cpu &&
	       port_cpu_replace(bma_cpus(p.c->group), p.block, p.offset, old, new);
}

/* A number that tells most CPUs from each other, as pieces lie. */
static uint16_t filler(const struct bma_cpu *block)
{
	return PORT_PREFETCHES ? (uint16_t)((uintptr_t)block >> BMA_META_MIN_SHIFT) : 0;
}

/* The magazine that @p showed as @top, now in hand; NULL for no magazine. */
static struct bma_magazine *taken(struct place p, bma_obj_t *top)
{
	struct bma_magazine *m = bma_magazine_of(p.c, top);

	if (m)
		m->filler = filler(p.block);
	return m;
}

/*
 * Objects that were freed on another CPU are in the cache of that one, and who gets them here will write
 * them: have them come all at a time.  What was freed here is here, or nowhere near.  That the filler is a
 * hint, which a CPU's next block or two CPUs with the same number make wrong, costs time only.
 */
static void fetch_if_foreign(const struct bpf_mem_cache *c, struct bma_magazine *m,
			     const struct bma_cpu *block)
{
	bma_obj_t *obj = bma_magazine_top(c, m);

	if (m->filler == filler(block))
		return;
	while (obj > bma_magazine_bottom(c, m))
		port_prefetch_to_write(*--obj);
}

/*
 * Load @m at @p.  True: *out is what was there (NULL if nothing), now in hand.  False: @m is still
 * in hand.
 */
static bool load(struct place p, struct bma_magazine *m, struct bma_magazine **out)
{
	bma_obj_t *old = place_top(p), *new = bma_magazine_load(p.c, m);

	if (!replace(p, old, new)) {
		bma_magazine_of(p.c, new);
		return false;
	}
	if (old == BMA_NO_TOP)
		port_reclaim_wake();
	*out = taken(p, old);
	return true;
}

/* Take the previous magazine in hand if it has from @min to @max objects. */
static struct bma_magazine *previous_get(struct bpf_mem_cache *c, struct bma_cpu *block,
					 uint64_t min, uint64_t max)
{
	struct place p = place_at(c, block, BMA_PREVIOUS);
	bma_obj_t *top = place_top(p);
	uint64_t count = bma_top_count(c, top);

	if (top == BMA_NO_TOP || count < min || count > max || !replace(p, top, BMA_NO_TOP))
		return NULL;
	return taken(p, top);
}

/* Have @m loaded here and put away what it replaces; or put away @m. */
static void load_or_put(struct bpf_mem_cache *c, struct bma_cpu *block, struct bma_magazine *m)
{
	struct bma_magazine *out;

	if (!load(place_at(c, block, BMA_LOADED), m, &out)) {
		bma_depot_put(c, m);
		/* That may be all there is, and no CPU shows it to the reclaimer. */
		port_reclaim_wake();
		return;
	}
	if (!out)
		return;
	m = out;
	if (place_top(place_at(c, block, BMA_PREVIOUS)) == BMA_NO_TOP &&
	    load(place_at(c, block, BMA_PREVIOUS), m, &out)) {
		if (!out)
			return;
		m = out;
	}
	bma_depot_put(c, m);
}

/* Where the fast path could not, be it that it never can. */
void *bma_cpu_pop(struct bpf_mem_cache *c)
{
	return port_cpu_pop(bma_cpus(c->group), bma_top_offset(c, BMA_LOADED));
}

bool bma_cpu_push(struct bpf_mem_cache *c, enum bma_top which, void *obj)
{
	return port_cpu_push(bma_cpus(c->group), bma_top_offset(c, which), obj);
}

static struct bma_magazine *filled_from_slab(struct bpf_mem_cache *c)
{
	struct bma_magazine *m;

	/* With a destructor no object may be in a magazine that was never handed out. */
	if (c->group->dtor)
		return NULL;
	m = bma_magazine_new();
	if (m && !bma_slab_fill(c, m)) {
		bma_magazine_free(m);
		m = NULL;
	}
	return m;
}

/* An object where LOADED was found empty, or NULL if there is no memory. */
void *bma_cpu_refill(struct bpf_mem_cache *c)
{
	struct bma_cpu *block = this_block(c->group);
	struct bma_magazine *m = previous_get(c, block, 1, c->capacity);
	void *obj;

	if (!m)
		m = bma_depot_get(c);
	if (!m)
		m = bma_limbo_get(c);
	if (m)
		fetch_if_foreign(c, m, block);
	else
		m = filled_from_slab(c);
	if (!m)
		return bma_slab_get(c);
	obj = bma_magazine_pop(c, m);
	load_or_put(c, block, m);
	return obj;
}

/* Free @obj where LOADED was found full. */
void bma_cpu_flush(struct bpf_mem_cache *c, void *obj)
{
	struct bma_cpu *block = this_block(c->group);
	struct bma_magazine *m = previous_get(c, block, 0, c->capacity - 1);

	if (!m)
		m = bma_depot_get_partial(c);
	if (!m)
		m = bma_magazine_new();
	if (!m) {
		bma_slab_defer(c, obj);
		return;
	}
	bma_magazine_push(c, m, obj);
	load_or_put(c, block, m);
}

/* A magazine with room for free_rcu's objects; best, the one that allocs emptied on this CPU. */
static struct bma_magazine *by_rcu_get(struct bpf_mem_cache *c, struct bma_cpu *block)
{
	struct bma_magazine *m = bma_limbo_get_partial(c);

	if (!m)
		m = previous_get(c, block, 0, 0);
	return m ? m : bma_magazine_new();
}

/* Give up a magazine of objects that were freed with free_rcu. */
static void by_rcu_put(struct bpf_mem_cache *c, struct bma_magazine *m)
{
	if (m->count == c->capacity) {
		bma_limbo_put(c, m);
		bma_limbo_let_readers_run(c);
	} else {
		bma_limbo_put_partial(c, m);
		port_reclaim_wake();
	}
}

/* Free @obj after a grace period where BY_RCU was found full. */
void bma_cpu_flush_rcu(struct bpf_mem_cache *c, void *obj)
{
	struct bma_cpu *block = this_block(c->group);
	struct bma_magazine *m = by_rcu_get(c, block), *out;

	if (!m) {
		bma_slab_defer(c, obj);
		return;
	}
	bma_magazine_push(c, m, obj);
	if (load(place_at(c, block, BMA_BY_RCU), m, &out))
		m = out;
	if (m)
		by_rcu_put(c, m);
}
