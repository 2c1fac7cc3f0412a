// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * pagemap.c - from any address to the cache and the span that own it
 *
 * Problem: free must know whether a pointer is an object, and of whom, without reading near it: the
 * pointer may be anything.  There is no header in or before objects, and spans carry none either,
 * so that objects of a power of two fill them and nothing that overflows an object lies under bma.
 *
 * Idea: a radix tree of two levels over units of address space; kin: TCMalloc's pagemap.  The root
 * is static, a leaf of 4 GiB of addresses comes from the home when first needed and is never freed.
 *
 * Who writes: an entry, the one context that owns the span's pages (slab.c), before the first and
 * after the last of its objects is out.  Who reads: anyone, at any time; an entry that a foreign
 * pointer leads to may be of a cache that is gone: it is compared, never followed, unless the
 * caller owns an object there, which keeps the entry.
 *
 * Ordering: span is written before cache (release) and read after it (acquire).
 *
 * Held by: tests/core/test_pagemap.c.
 */
#include "bma.h"

static struct bma_leaf *leaf_get(bma_leaf_t *slot)
{
	struct bma_leaf *leaf = port_load(slot, acquire), *fresh;
	const size_t bytes = sizeof(*leaf);

	if (leaf)
		return leaf;
	fresh = port_pages_alloc(bytes, bytes, 0);
	if (!fresh)
		return NULL;
	/* acq_rel: the winner publishes zeroed entries, a loser reads the winner's. */
	if (port_cas(slot, &leaf, fresh, acq_rel))
		return fresh;
	port_pages_free(fresh, bytes);
	return port_load(slot, acquire);
}

/*
 * Say that @bytes from @base are a span of @c (or, with NULL, nobody's).  False if there is no
 * memory; then nothing is set.  Clearing what was set cannot fail.
 */
bool bma_pagemap_set(char *base, size_t bytes, struct bpf_mem_cache *c, struct bma_span *span)
{
	/* A span is no larger than a leaf and aligned to its size, so one leaf has it all. */
	struct bma_leaf *leaf = leaf_get(&bma_world.leaf[(uintptr_t)base >> BMA_LEAF_BITS]);
	size_t unit = bma_pagemap_unit(base), end = unit + (bytes >> PORT_UNIT_SHIFT);

	if (!leaf)
		return false;
	for (; unit < end; unit++) {
		port_store(&leaf->span[unit], span, relaxed);
		port_store(&leaf->cache[unit], c, release);
	}
	return true;
}
