/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * spans.h - for a test that has slab.c inside: a cache, its slab's steps, and what must hold of its spans
 * whenever nothing runs
 */
#ifndef BMA_SPANS_H
#define BMA_SPANS_H

#include "scenes.h"

static inline unsigned int spans_on(struct bma_stack *stack, struct bma_span *span)
{
	bma_handle_t h = bma_stack_first(stack);
	unsigned int n = 0, steps = 0;

	for (; h; h = port_load((bma_link_t *)bma_piece(h), relaxed)) {
		n += bma_piece(h) == span;
		assert_true(++steps < 10000);
	}
	return n;
}

static inline uint32_t spans_bits(struct bma_span *span)
{
	uint32_t w, n = 0;

	for (w = 0; w < span->cache->map_words; w++)
		n += __builtin_popcountll(port_load(&map_of(span, BMA_MAP_FREE)[w], relaxed));
	return n;
}

/* Invariants (1) and (3); returns how many descriptors there are. */
static inline unsigned int spans_check(struct bpf_mem_cache *c)
{
	uint64_t alive = 0, in = 0;
	unsigned int n = 0;
	struct bma_span *span;

	for (span = first_span(c); span; span = next_span(span), n++) {
		uint32_t state = port_load(&span->state, relaxed);
		bool dead = state & BMA_SPAN_DEAD, listed = state & BMA_SPAN_LISTED;

		assert_int_equal(spans_on(&c->partial_spans, span), listed);
		assert_int_equal(spans_on(&c->dead_spans, span), dead && !listed);
		if (dead)
			continue;
		alive++;
		in += spans_bits(span);
		assert_true(listed || !spans_bits(span));
		assert_int_equal(port_load(&span->nr_free, relaxed), spans_bits(span));
		assert_ptr_equal(bma_pagemap_cache(span->base), c);
		assert_ptr_equal(span_of(span->base), span);
	}
	assert_int_equal(port_load(&c->nr_spans, relaxed), alive);
	assert_int_equal(port_load(&c->nr_from_slab, relaxed), (int64_t)(alive * c->nr_objs - in));
	assert_int_equal(port_load(&c->group->bytes_charged, relaxed), alive * pages_bytes(c));
	return n;
}

/* The cache that the test works on. */
static struct bpf_mem_cache *c;

static inline unsigned int check_spans(void)
{
	return spans_check(c);
}

static inline void begin(int size)
{
	scene_ma = unit_ma(size, false);
	scene_nr_held = 0;
	c = scene_ma->caches;
}

/* Straight from the slab. */
static inline void *get(void)
{
	void *obj = bma_slab_get(c);

	assert_non_null(obj);
	unit_got(c, obj);
	return obj;
}

/* As a round does. */
static inline bool step(void)
{
	bool again = bma_slab_step(c);

	while (port_pages_free_now())
		;
	return again;
}

#endif /* BMA_SPANS_H */
