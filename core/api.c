// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * api.c - alloc and free
 *
 * The fast paths: one step on this CPU's magazine, and for free the check that the pointer is an
 * object of this allocator, which costs two loads that depend on the pointer (pagemap.c) and a
 * multiplication. Everything else is out of line.
 *
 * Held by: tests/core/test_api.c, tests/process/.
 */
#include "bma.h"

struct bma_world bma_world;

/* Out of line, so that a fast path has nothing to save and restore. */
#define BMA_SLOW __attribute__((noinline))

#define CLASS_OFFSET(i) BMA_TOP_OFFSET(BMA_FIRST_CLASS_SLOT + (i), BMA_LOADED)

static const struct bma_inline_ known = {
	.leaf = (void *)bma_world.leaf,
	.class_offset = {
		[0] = CLASS_OFFSET(0),
		[1] = CLASS_OFFSET(1),
		[2 ... 3] = CLASS_OFFSET(2),
		[4 ... 5] = CLASS_OFFSET(3),
		[6 ... 7] = CLASS_OFFSET(4),
		[8 ... 11] = CLASS_OFFSET(5),
		[12 ... 15] = CLASS_OFFSET(6),
		[16 ... 31] = CLASS_OFFSET(7),
		[32 ... 63] = CLASS_OFFSET(8),
		[64 ... 127] = CLASS_OFFSET(9),
		[128 ... 255] = CLASS_OFFSET(10),
	},
};

/* For callers' own code.  A program may have a copy; we go by a name that nobody else has. */
extern const struct bma_inline_ bma_inline_1_ __attribute__((alias("known")));

/* If one of these does not hold any more, the number in its name has to change, too. */
#define AS_INLINE(member)                                                                          \
	(offsetof(struct bpf_mem_cache, member) == offsetof(struct bma_cache_, member))

_Static_assert(AS_INLINE(slot) && AS_INLINE(inverse) && AS_INLINE(bound) && AS_INLINE(span_mask),
	       "a cache begins as callers' code takes it");
_Static_assert(BMA_TOP_OFFSET(0, BMA_LOADED) == BMA_FIRST_SLOT_ &&
		       BMA_TOP_OFFSET(0, BMA_BY_RCU) == BMA_FIRST_SLOT_ + BMA_BY_RCU_,
	       "a block has its tops where callers' code finds them");
_Static_assert(sizeof(struct bpf_mem_cache) == BMA_CACHE_BYTES_ &&
		       !offsetof(struct bma_leaf, cache) &&
		       BMA_NR_SIZES_ * 16 == BPF_MEM_ALLOC_SIZE_MAX,
	       "caches, page map and sizes are as callers' code takes them");

static inline bma_cpu_ptr_t *cpus_of(struct bpf_mem_alloc *ma)
{
	return (bma_cpu_ptr_t *)ma->cpus;
}

int bpf_mem_alloc_check_size(bool percpu, size_t size)
{
	(void)percpu;
	return size > BPF_MEM_ALLOC_SIZE_MAX ? -PORT_E2BIG : 0;
}

static bool over_limit(struct bma_group *g)
{
	uint64_t limit = port_load(&g->limbo_limit, relaxed);

	return bma_unlikely(limit) && bma_limbo_bytes(g) >= (int64_t)limit;
}

/* Have as much of limbo come back as readers allow now; false if it is still too much. */
static bool relieve(struct bma_group *g)
{
	uint32_t i;

	bma_gp_poll(g->gp, true);
	for (i = 0; i < g->nr_caches; i++)
		bma_limbo_ripen(&g->caches[i]);
	return !over_limit(g);
}

static bool below_limit(struct bma_group *g)
{
	if (bma_likely(!over_limit(g)) || relieve(g))
		return true;
	port_add(&g->nr_limbo_refusals, 1, relaxed);
	return false;
}

static void *refill(struct bpf_mem_cache *c)
{
	if (bma_likely(port_load(&c->ready, relaxed)) && below_limit(c->group))
		return bma_cpu_refill(c);
	return NULL;
}

/* @fill: what to do where the CPU has no object. */
static void *alloc_by(struct bpf_mem_cache *c, size_t bytes, struct bma_caller by,
		      void *(*fill)(struct bpf_mem_cache *c))
{
	void *obj = bma_cpu_pop(c);

	if (!obj)
		obj = fill(c);
	if (bma_debugging())
		obj = bma_debug_alloc(c, obj, bytes, by, fill);
	if (bma_unlikely(!obj))
		port_add(&c->nr_refusals, 1, relaxed);
	return obj;
}

static void *alloc_slow(struct bpf_mem_cache *c, size_t bytes, struct bma_caller by)
{
	return alloc_by(c, bytes, by, refill);
}

/*
 * What follows up to cache_alloc_wait() may sleep, and nothing but bpf_mem_cache_alloc_flags() may
 * lead here.  False if the caller is a reader and so must not.
 */
static bool wait_below_limit(struct bma_group *g)
{
	bool counted = false;

	while (over_limit(g) && !relieve(g)) {
		if (!bma_gp_wait(g->gp, bma_gp_number(g->gp))) {
			port_add(&g->nr_limbo_refusals, 1, relaxed);
			return false;
		}
		if (!counted)
			port_add(&g->nr_limbo_waits, 1, relaxed);
		counted = true;
	}
	return true;
}

/*
 * Sleep until what is in limbo has come back, and try again.  Objects on CPUs are fetched first, so
 * that their grace period can begin; what is on its way to the slab gets there in the round after
 * it.
 */
static void *wait_and_refill(struct bpf_mem_cache *c)
{
	struct bma_group *g = c->group;
	void *obj;

	port_store(&g->want_flush, true, relaxed);
	port_reclaim_round();
	if (!bma_gp_wait(g->gp, bma_gp_number(g->gp)))
		return NULL;
	obj = bma_cpu_refill(c);
	if (obj)
		return obj;
	port_reclaim_round();
	return bma_cpu_refill(c);
}

static void *refill_wait(struct bpf_mem_cache *c)
{
	void *obj = NULL;

	if (wait_below_limit(c->group)) {
		obj = bma_cpu_refill(c);
		if (bma_unlikely(!obj))
			obj = wait_and_refill(c);
	}
	return obj;
}

/* The cache of a fixed-size allocator, or NULL. */
static struct bpf_mem_cache *only_cache(struct bpf_mem_alloc *ma, struct bma_caller by)
{
	struct bma_group *g = ma->group;

	if (bma_likely(g && g->nr_caches == 1))
		return g->caches;
	bma_complain(by, "not a fixed-size allocator", ma, ma);
	return NULL;
}

static BMA_SLOW void *cache_alloc_slow(struct bpf_mem_alloc *ma, struct bma_caller by)
{
	struct bpf_mem_cache *c = only_cache(ma, by);

	return bma_likely(c) ? alloc_slow(c, c->user_size, by) : NULL;
}

static BMA_SLOW void *cache_alloc_wait(struct bpf_mem_alloc *ma, struct bma_caller by)
{
	struct bpf_mem_cache *c = only_cache(ma, by);

	return bma_likely(c) ? alloc_by(c, c->user_size, by, refill_wait) : NULL;
}

static inline void *cache_alloc_flags_slow(struct bpf_mem_alloc *ma, gfp_t flags,
					   struct bma_caller by)
{
	return flags & GFP_KERNEL ? cache_alloc_wait(ma, by) : cache_alloc_slow(ma, by);
}

static BMA_SLOW void *sized_alloc_slow(struct bpf_mem_alloc *ma, size_t size, struct bma_caller by)
{
	struct bma_group *g = ma->group;
	size_t slot;

	if (bma_unlikely(!g || g->nr_caches != BMA_NR_CLASSES)) {
		bma_complain(by, "not a kmalloc-like allocator", ma, ma);
		return NULL;
	}
	if (!size)
		return ZERO_SIZE_PTR;
	if (size > BPF_MEM_ALLOC_SIZE_MAX) {
		port_add(&g->caches[BMA_NR_CLASSES - 1].nr_refusals, 1, relaxed);
		return NULL;
	}
	slot = (known.class_offset[(size - 1) / 16] - CLASS_OFFSET(0)) / sizeof(struct bma_slot);
	return alloc_slow(&g->caches[slot], size, by);
}

void *bpf_mem_cache_alloc(struct bpf_mem_alloc *ma)
{
	void *obj = port_cpu_fast_pop(cpus_of(ma), BMA_TOP_OFFSET(0, BMA_LOADED));

	return bma_likely(obj) ? obj : cache_alloc_slow(ma, BMA_CALLER);
}

void *bpf_mem_cache_alloc_flags(struct bpf_mem_alloc *ma, gfp_t flags)
{
	void *obj = port_cpu_fast_pop(cpus_of(ma), BMA_TOP_OFFSET(0, BMA_LOADED));

	return bma_likely(obj) ? obj : cache_alloc_flags_slow(ma, flags, BMA_CALLER);
}

void *bpf_mem_alloc(struct bpf_mem_alloc *ma, size_t size)
{
	void *obj = NULL;

	if (bma_likely(size - 1 < BPF_MEM_ALLOC_SIZE_MAX &&
		       ma->bytes_caches > sizeof(struct bpf_mem_cache)))
		obj = port_cpu_fast_pop(cpus_of(ma), known.class_offset[(size - 1) / 16]);
	return bma_likely(obj) ? obj : sized_alloc_slow(ma, size, BMA_CALLER);
}

/* The cache of @ma that @ptr is an object of, or NULL. */
static inline struct bpf_mem_cache *cache_of(struct bpf_mem_alloc *ma, const void *ptr)
{
	struct bpf_mem_cache *c = bma_pagemap_cache(ptr);

	if (bma_unlikely((uintptr_t)c - (uintptr_t)ma->caches >= ma->bytes_caches))
		return NULL;
	return bma_likely(bma_is_obj(c, ptr)) ? c : NULL;
}

static void free_odd(struct bpf_mem_alloc *ma, void *ptr, struct bma_caller by)
{
	if (!ptr || ptr == ZERO_SIZE_PTR)
		return;
	bma_complain(by, "no object of this allocator", ptr, ma);
	if (ma && ma->group)
		port_add(&ma->group->nr_bad_frees, 1, relaxed);
	else
		port_add(&bma_world.nr_stray_frees, 1, relaxed);
}

/* What the fast path does not do: a pointer that is no object, debug mode, and the edges. */
static BMA_SLOW void free_slow(struct bpf_mem_alloc *ma, void *ptr, struct bma_caller by)
{
	struct bpf_mem_cache *c = cache_of(ma, ptr);

	if (bma_unlikely(!c))
		free_odd(ma, ptr, by);
	else if (bma_debugging())
		bma_debug_free(c, ptr, by);
	else if (!bma_cpu_push(c, BMA_LOADED, ptr))
		bma_cpu_flush(c, ptr);
}

static BMA_SLOW void free_rcu_slow(struct bpf_mem_alloc *ma, void *ptr, struct bma_caller by)
{
	struct bpf_mem_cache *c = cache_of(ma, ptr);

	if (bma_unlikely(!c))
		free_odd(ma, ptr, by);
	else if (bma_debugging())
		bma_debug_free_rcu(c, ptr, by);
	else if (!bma_cpu_push(c, BMA_BY_RCU, ptr))
		bma_cpu_flush_rcu(c, ptr);
}

static inline bool free_fast(struct bpf_mem_alloc *ma, void *ptr, enum bma_top which)
{
	struct bpf_mem_cache *c = cache_of(ma, ptr);

	return bma_likely(c) && port_cpu_fast_push(cpus_of(ma), bma_top_offset(c, which), ptr);
}

/*
 * With one cache: its slot's offset is known.  A kmalloc-like allocator's first class may come this way too,
 * and finds slot 0 empty.
 */
static inline bool cache_free_fast(struct bpf_mem_alloc *ma, void *ptr, enum bma_top which)
{
	struct bpf_mem_cache *c = bma_pagemap_cache(ptr);

	return bma_likely(c && c == ma->caches && bma_is_obj(c, ptr)) &&
	       port_cpu_fast_push(cpus_of(ma), BMA_TOP_OFFSET(0, which), ptr);
}

void bpf_mem_free(struct bpf_mem_alloc *ma, void *ptr)
{
	if (bma_unlikely(!free_fast(ma, ptr, BMA_LOADED)))
		free_slow(ma, ptr, BMA_CALLER);
}

void bpf_mem_free_rcu(struct bpf_mem_alloc *ma, void *ptr)
{
	if (bma_unlikely(!free_fast(ma, ptr, BMA_BY_RCU)))
		free_rcu_slow(ma, ptr, BMA_CALLER);
}

void bpf_mem_cache_free(struct bpf_mem_alloc *ma, void *ptr)
{
	if (bma_unlikely(!cache_free_fast(ma, ptr, BMA_LOADED)))
		free_slow(ma, ptr, BMA_CALLER);
}

void bpf_mem_cache_free_rcu(struct bpf_mem_alloc *ma, void *ptr)
{
	if (bma_unlikely(!cache_free_fast(ma, ptr, BMA_BY_RCU)))
		free_rcu_slow(ma, ptr, BMA_CALLER);
}

void bpf_mem_cache_raw_free(void *ptr)
{
	struct bpf_mem_cache *c = bma_pagemap_cache(ptr);

	if (!c || !bma_is_obj(c, ptr))
		free_odd(NULL, ptr, BMA_CALLER);
	else if (!bma_debugging() || bma_debug_raw_free(c, ptr, BMA_CALLER))
		bma_slab_put(c, ptr);
}

/* What callers' own code calls where it found that it is no hit. */
#define ON_BEHALF_OF(call) ((struct bma_caller){ #call, __builtin_return_address(0) })

void *bpf_mem_alloc_(struct bpf_mem_alloc *ma, size_t size)
{
	return sized_alloc_slow(ma, size, ON_BEHALF_OF(bpf_mem_alloc));
}

void bpf_mem_free_(struct bpf_mem_alloc *ma, void *ptr)
{
	free_slow(ma, ptr, ON_BEHALF_OF(bpf_mem_free));
}

void bpf_mem_free_rcu_(struct bpf_mem_alloc *ma, void *ptr)
{
	free_rcu_slow(ma, ptr, ON_BEHALF_OF(bpf_mem_free_rcu));
}

void *bpf_mem_cache_alloc_(struct bpf_mem_alloc *ma)
{
	return cache_alloc_slow(ma, ON_BEHALF_OF(bpf_mem_cache_alloc));
}

void *bpf_mem_cache_alloc_flags_(struct bpf_mem_alloc *ma, gfp_t flags)
{
	return cache_alloc_flags_slow(ma, flags, ON_BEHALF_OF(bpf_mem_cache_alloc_flags));
}

void bpf_mem_cache_free_(struct bpf_mem_alloc *ma, void *ptr)
{
	free_slow(ma, ptr, ON_BEHALF_OF(bpf_mem_cache_free));
}

void bpf_mem_cache_free_rcu_(struct bpf_mem_alloc *ma, void *ptr)
{
	free_rcu_slow(ma, ptr, ON_BEHALF_OF(bpf_mem_cache_free_rcu));
}
