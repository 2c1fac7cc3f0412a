// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * slab.c - spans: where objects come from, and go in the end
 *
 * Problem: hand out many objects in any context without a lock that an interrupted thread may hold,
 * and give a span back to the system when the last of its objects is in.
 *
 * Idea: a bitmap for each span, out of the span; who wants objects clears bits, who returns one
 * sets its bit.  A span that may have free objects is on the cache's partial list; a refill pops
 * it, which keeps others off it, and puts it back, or takes it off the list if it has nothing left.
 * A context that interrupted the holder finds another span, or maps one.
 *
 * Where much comes back, it is mostly whole spans.  So the reclaimer first sorts a batch into its spans,
 * one bit for an object in a map that is its own (waiting), and looks at none of the objects' memory.  A
 * span that has all its objects then, sorted or free, goes as it is; only what stays is wiped and put
 * back, a word of the map at a time.
 *
 * Objects and owners: a set bit in the free map: the slab.  Clear: whoever cleared it, until the
 * object is put back.  All bits of a span cleared by the reclaimer: the span's memory is the
 * reclaimer's, and it unmaps it.  The descriptor may still be on the list then; it is marked dead,
 * has no bits, and is put aside by who pops it.  Descriptors stay the cache's, so a late look at
 * one is harmless.
 *
 *	list		push			pop			walk
 *	partial_spans	holder, putter		any			nobody
 *	dead_spans	holder, reclaimer	any			nobody
 *	all_spans	any			nobody			reclaimer
 *	sorted_spans	reclaimer		reclaimer		nobody
 *
 * Invariants:
 *   (1) A span with free bits is LISTED, but for the time between a putter's bit and its relist().
 *       unlist() and put are a Dekker pair: one changes state, then reads bits, the other the other
 *       way round, all seq_cst, so that one of them sees that the span must go back on the list.
 *   (2) Free objects are zero.  The system gives zeroed pages, put wipes; what is sorted is not free.
 *   (3) A descriptor has one of LISTED and a place on dead_spans: unlist() and span_free() each
 *       change state by one atomic operation, and who leaves it DEAD without LISTED puts it there.
 *   (4) The waiting map is of one use at a time: while some span is sorted, no deferred objects are
 *       collected in it; while these wait in it, what else comes back is put back one by one.
 *
 * Ordering: bits are set with release and cleared with acquire (or stronger), which carries the
 * wiping.
 *
 * Progress: lock-free; a refill pops at most POPS spans, dead ones included, before it maps one.
 *
 * Contexts: get, fill, put, defer: any; the rest is the reclaimer's.
 *
 * Held by: tests/core/test_slab.c, tests/core/test_sorted.c.
 */
#include "bma.h"

#define POPS 16

static bma_word_t *map_of(struct bma_span *span, enum bma_map map)
{
	return span->map + (size_t)map * span->cache->map_words;
}

static void *obj_at(struct bma_span *span, uint32_t nr)
{
	return span->base + (size_t)nr * span->cache->size;
}

static struct bma_span *span_of(const void *obj)
{
	return bma_pagemap_span(obj);
}

static size_t pages_bytes(const struct bpf_mem_cache *c)
{
	return c->span_bytes * c->nr_copies;
}

static unsigned int desc_class(const struct bpf_mem_cache *c)
{
	return bma_meta_class(sizeof(struct bma_span) +
			      sizeof(bma_word_t) * BMA_NR_MAPS * c->map_words);
}

static void relist(struct bpf_mem_cache *c, struct bma_span *span)
{
	uint32_t none = 0;

	if (port_load(&span->state, seq_cst) == 0 &&
	    port_cas(&span->state, &none, BMA_SPAN_LISTED, seq_cst))
		bma_stack_push(&c->partial_spans, span, span);
}

static bool has_bits(struct bma_span *span)
{
	bma_word_t *map = map_of(span, BMA_MAP_FREE);
	uint32_t w;

	for (w = 0; w < span->cache->map_words; w++)
		if (port_load(&map[w], seq_cst))
			return true;
	return false;
}

/* The holder found nothing in it: off the list with it, unless a putter was quicker. */
static void unlist(struct bpf_mem_cache *c, struct bma_span *span)
{
	if (port_and(&span->state, ~BMA_SPAN_LISTED, seq_cst) & BMA_SPAN_DEAD)
		bma_stack_push(&c->dead_spans, span, span);
	else if (has_bits(span))
		relist(c, span);
}

static struct bma_span *desc_new(struct bpf_mem_cache *c)
{
	struct bma_span *span = bma_stack_pop(&c->dead_spans);
	uint32_t head;

	if (span)
		return span;
	span = bma_meta_alloc(desc_class(c));
	if (!span)
		return NULL;
	span->cache = c;
	span->base = NULL;
	span->nr_sorted = 0;
	span->records = NULL;
	if (bma_debugging() && !bma_debug_records_new(span)) {
		bma_meta_free(span, desc_class(c));
		return NULL;
	}
	port_store(&span->state, BMA_SPAN_DEAD, relaxed);
	head = port_load(&c->all_spans, relaxed);
	do
		port_store(&span->all_next, head, relaxed);
	while (!port_cas(&c->all_spans, &head, bma_handle(span), release));
	return span;
}

static void maps_init(struct bma_span *span)
{
	struct bpf_mem_cache *c = span->cache;
	bma_word_t *map = map_of(span, BMA_MAP_FREE);
	uint32_t w, left;

	for (w = 0; w < c->map_words; w++) {
		left = c->nr_objs - w * 64;
		port_store(&map_of(span, BMA_MAP_DEFERRED)[w], 0, relaxed);
		port_store(&map_of(span, BMA_MAP_WAITING)[w], 0, relaxed);
		port_store(&map[w], left < 64 ? (1ull << left) - 1 : ~0ull, release);
	}
	port_store(&span->nr_free, c->nr_objs, relaxed);
	port_store(&span->hint, 0, relaxed);
}

/*
 * So many bytes of spans are used whole, as far as one can know: not those of objects larger than a
 * page or with a copy for each CPU, of which parts may never be touched.
 */
static size_t used_whole(const struct bpf_mem_cache *c)
{
	if (c->percpu || c->size > PORT_META_PAGE)
		return 0;
	return port_load(&c->nr_spans, relaxed) * c->span_bytes;
}

static bool span_map(struct bpf_mem_cache *c, struct bma_span *span)
{
	span->base = port_pages_alloc(pages_bytes(c), c->span_mask + 1, used_whole(c));
	if (!span->base)
		return false;
	if (bma_pagemap_set(span->base, c->span_bytes, c, span)) {
		if (bma_debugging())
			bma_debug_span_comes(span);
		return true;
	}
	port_pages_free(span->base, pages_bytes(c));
	span->base = NULL;
	return false;
}

/* A new span, listed and held by the caller; NULL if there is no memory or the account is full. */
static struct bma_span *span_new(struct bpf_mem_cache *c)
{
	struct bma_span *span;

	if (!bma_charge(c->group, pages_bytes(c)))
		return NULL;
	span = desc_new(c);
	if (span && span_map(c, span)) {
		port_add(&c->nr_spans, 1, relaxed);
		maps_init(span);
		port_store(&span->state, BMA_SPAN_LISTED, release);
		return span;
	}
	if (span)
		bma_stack_push(&c->dead_spans, span, span);
	bma_uncharge(c->group, pages_bytes(c));
	return NULL;
}

/* Reclaimer: unmap a span of which all objects are the caller's. */
static void span_unmap(struct bpf_mem_cache *c, struct bma_span *span)
{
	if (bma_debugging())
		bma_debug_span_goes(span);
	bma_pagemap_set(span->base, c->span_bytes, NULL, NULL);
	port_pages_free_later(span->base, pages_bytes(c));
	span->base = NULL;
	bma_uncharge(c->group, pages_bytes(c));
	port_sub(&c->nr_spans, 1, relaxed);
}

/* The lowest @n bits set in @bits. */
static uint64_t lowest(uint64_t bits, uint32_t n)
{
	uint64_t rest = bits;

	while (rest && n--)
		rest &= rest - 1;
	return bits & ~rest;
}

/* Up to @max free objects of @span to @out; returns how many. */
static uint32_t span_take(struct bma_span *span, void **out, uint32_t max)
{
	bma_word_t *map = map_of(span, BMA_MAP_FREE);
	uint32_t i, w, n = 0, words = span->cache->map_words;
	uint64_t bits;

	w = port_load(&span->hint, relaxed);
	for (i = 0; i < words && n < max; i++, w++) {
		w = w < words ? w : 0;
		bits = lowest(port_load(&map[w], relaxed), max - n);
		if (bits)
			bits &= port_and(&map[w], ~bits, acquire);
		for (; bits; bits &= bits - 1)
			out[n++] = obj_at(span, w * 64 + __builtin_ctzll(bits));
	}
	if (n) {
		port_store(&span->hint, w - 1, relaxed);
		port_sub(&span->nr_free, n, relaxed);
	}
	return n;
}

/* Up to @max objects of @span, which the caller holds, and give up the hold. */
static uint32_t take_from(struct bpf_mem_cache *c, struct bma_span *span, void **out, uint32_t max)
{
	uint32_t n = span_take(span, out, max);

	if (n == max)
		bma_stack_push(&c->partial_spans, span, span);
	else
		unlist(c, span);
	return n;
}

/* Up to @max objects from listed spans, or from a new one. */
static uint32_t take(struct bpf_mem_cache *c, void **out, uint32_t max)
{
	struct bma_span *span;
	uint32_t n = 0;
	int pops;

	for (pops = 0; pops < POPS && n < max; pops++) {
		span = bma_stack_pop(&c->partial_spans);
		if (!span)
			break;
		n += take_from(c, span, out + n, max - n);
	}
	/* The reclaimer may take a span that is all free before we come to it, so not only once. */
	for (pops = 0; pops < POPS && !n; pops++) {
		span = span_new(c);
		if (!span)
			break;
		n = take_from(c, span, out, max);
	}
	if (n)
		port_add(&c->nr_from_slab, (int64_t)n, relaxed);
	return n;
}

/* Fill @m, which is empty, as far as one refill goes; false if there is no memory. */
bool bma_slab_fill(struct bpf_mem_cache *c, struct bma_magazine *m)
{
	m->count = take(c, bma_magazine_bottom(c, m), c->capacity);
	return m->count;
}

void *bma_slab_get(struct bpf_mem_cache *c)
{
	void *obj;

	return take(c, &obj, 1) ? obj : NULL;
}

/* A CPU that never touched its copy has no memory there, and shall not get any by our wiping. */
static void wipe_copy(char *copy, size_t bytes)
{
	uint64_t *word = (uint64_t *)copy, *end = (uint64_t *)(copy + bytes);

	for (; word < end; word++)
		if (*word)
			*word = 0;
}

static void wipe(const struct bpf_mem_cache *c, char *obj)
{
	uint32_t i;

	if (!c->percpu) {
		__builtin_memset(obj, 0, c->size);
		return;
	}
	for (i = 0; i < c->nr_copies; i++)
		wipe_copy(obj + i * c->span_bytes, c->size);
}

static void clean(struct bpf_mem_cache *c, void *obj)
{
	wipe(c, obj);
	if (bma_debugging())
		bma_debug_in_slab(c, obj);
}

/*
 * Put objects of one word of @span's map back.  The caller owns them and knows that no reader can reach
 * them.  Returns whether the span may be all free now: who sets the last bit sees it, as each counts
 * before it sets its bits, and looks at the count after that.
 */
static bool span_put(struct bpf_mem_cache *c, struct bma_span *span, uint32_t w, uint64_t bits)
{
	uint32_t n = 0;
	uint64_t left;

	for (left = bits; left; left &= left - 1, n++)
		clean(c, obj_at(span, w * 64 + __builtin_ctzll(left)));
	port_sub(&c->nr_from_slab, (int64_t)n, relaxed);
	/* Before the bits: once all are set the span may go. */
	port_add(&span->nr_free, n, seq_cst);
	if (w < port_load(&span->hint, relaxed))
		port_store(&span->hint, w, relaxed);
	port_or(&map_of(span, BMA_MAP_FREE)[w], bits, seq_cst);
	relist(c, span);
	/* The span may be gone, and this another's count: then somebody looks for nothing. */
	return port_load(&span->nr_free, seq_cst) >= c->nr_objs;
}

static bool obj_put(struct bpf_mem_cache *c, struct bma_span *span, void *obj)
{
	uint32_t nr = bma_obj_nr(c, obj);

	return span_put(c, span, nr / 64, 1ull << (nr % 64));
}

void bma_slab_put(struct bpf_mem_cache *c, void *obj)
{
	if (obj_put(c, span_of(obj), obj)) {
		port_store(&c->empties, true, release);
		port_reclaim_wake();
	}
}

static uint64_t full_word(const struct bpf_mem_cache *c, uint32_t w)
{
	uint32_t left = c->nr_objs - w * 64;

	return left < 64 ? (1ull << left) - 1 : ~0ull;
}

/* What of a word the reclaimer has sorted, and so has in hand. */
static uint64_t sorted_word(struct bma_span *span, uint32_t w)
{
	return span->nr_sorted ? port_load(&map_of(span, BMA_MAP_WAITING)[w], relaxed) : 0;
}

/*
 * Reclaimer: make every object of @span ours, beside those that are sorted; false, and none is, if one
 * is out.
 */
static bool claim(struct bpf_mem_cache *c, struct bma_span *span)
{
	bma_word_t *map = map_of(span, BMA_MAP_FREE);
	uint64_t rest;
	uint32_t w;

	for (w = 0; w < c->map_words; w++) {
		rest = full_word(c, w) & ~sorted_word(span, w);
		if (!port_cas(&map[w], &rest, 0, acquire))
			break;
	}
	if (w == c->map_words)
		return true;
	while (w--)
		port_or(&map[w], full_word(c, w) & ~sorted_word(span, w), seq_cst);
	relist(c, span);
	return false;
}

/* Reclaimer: give a span, which is not dead, back to the system if all its objects are in. */
static bool free_if_all_in(struct bpf_mem_cache *c, struct bma_span *span)
{
	if (!claim(c, span))
		return false;
	span_unmap(c, span);
	if (!(port_or(&span->state, BMA_SPAN_DEAD, acq_rel) & BMA_SPAN_LISTED))
		bma_stack_push(&c->dead_spans, span, span);
	return true;
}

/* Reclaimer: @obj's memory leaves the allocator. */
static void run_dtor(struct bpf_mem_cache *c, void *obj)
{
	struct bma_group *g = c->group;

	if (bma_debugging())
		bma_debug_leaves(c, obj);
	if (g->dtor)
		g->dtor(obj, g->dtor_ctx);
}

/* Reclaimer: @obj's readers are gone; destruct it and put it back. */
static void reclaim_obj(struct bpf_mem_cache *c, void *obj)
{
	struct bma_span *span = span_of(obj);

	run_dtor(c, obj);
	if (obj_put(c, span, obj))
		free_if_all_in(c, span);
}

/* The same, but have it put back with the others of its span. */
static void sort_obj(struct bpf_mem_cache *c, struct bma_span *span, void *obj)
{
	uint32_t nr = bma_obj_nr(c, obj);
	bma_word_t *word = &map_of(span, BMA_MAP_WAITING)[nr / 64];

	run_dtor(c, obj);
	port_store(word, port_load(word, relaxed) | 1ull << (nr % 64), relaxed);
	if (span->nr_sorted++)
		return;
	span->sorted_next = c->sorted_spans;
	c->sorted_spans = bma_handle(span);
}

/* Objects come back in no order, to spans that are in no cache: have these come all at a time. */
static void sort_magazine(struct bpf_mem_cache *c, struct bma_magazine *m)
{
	bma_obj_t *obj = bma_magazine_bottom(c, m);
	struct bma_span *span[BMA_MAGAZINE_ENTRIES];
	uint32_t i;

	for (i = 0; i < m->count; i++) {
		span[i] = span_of(obj[i]);
		port_prefetch_to_write(&span[i]->nr_sorted);
		port_prefetch_to_write(
			&map_of(span[i], BMA_MAP_WAITING)[bma_obj_nr(c, obj[i]) / 64]);
	}
	for (i = 0; i < m->count; i++)
		sort_obj(c, span[i], obj[i]);
	m->count = 0;
}

/* Put back what is sorted of a span that does not go; returns how many bytes that was. */
static size_t put_sorted(struct bpf_mem_cache *c, struct bma_span *span)
{
	size_t bytes = (size_t)span->nr_sorted * c->size * c->nr_copies;
	bool all_in = false;
	uint64_t bits;
	uint32_t w;

	span->nr_sorted = 0;
	for (w = 0; w < c->map_words; w++) {
		bits = port_load(&map_of(span, BMA_MAP_WAITING)[w], relaxed);
		if (!bits)
			continue;
		port_store(&map_of(span, BMA_MAP_WAITING)[w], 0, relaxed);
		all_in |= span_put(c, span, w, bits);
	}
	if (all_in)
		free_if_all_in(c, span);
	return bytes;
}

/*
 * All that was to be sorted is.  A span that has all its objects now goes as it is, with none of them
 * wiped; the others get theirs back.  Returns how many bytes were wiped.
 */
static size_t settle_span(struct bpf_mem_cache *c, struct bma_span *span)
{
	uint32_t n = span->nr_sorted;

	port_sub(&c->nr_ttrace, (int64_t)n, relaxed);
	if (port_load(&span->nr_free, relaxed) + n < c->nr_objs || !free_if_all_in(c, span))
		return put_sorted(c, span);
	span->nr_sorted = 0;
	port_sub(&c->nr_from_slab, (int64_t)n, relaxed);
	return 0;
}

/*
 * So much is done at a time, as who waits for the reclaimer's lock waits for that: wiping counts by the
 * byte, all else as so many.
 */
#define PUT_BYTES ((size_t)PORT_MAGAZINE_BYTES << 11)
#define SORT_COST 32
#define SETTLE_COST 4096

/* Put back all of @m's objects, and free it; returns what it cost. */
static size_t put_magazine(struct bpf_mem_cache *c, struct bma_magazine *m, bool sort)
{
	size_t count = m->count;

	if (sort)
		sort_magazine(c, m);
	else
		port_sub(&c->nr_ttrace, (int64_t)count, relaxed);
	while (m->count)
		reclaim_obj(c, bma_magazine_pop(c, m));
	bma_magazine_free(m);
	bma_world.meta.returned++;
	return count * (sort ? SORT_COST : (size_t)c->size * c->nr_copies);
}

/*
 * Reclaimer: put back objects in @chain's magazines; true: there are more.  First all are sorted into
 * their spans, by the waiting map, and nobody has them then; where that is in use, they are put back one
 * by one.
 */
bool bma_slab_put_chain(struct bpf_mem_cache *c, struct bma_chain *chain)
{
	bool sort = !c->deferred_wait.on;
	struct bma_magazine *m;
	struct bma_span *span;
	size_t cost = 0;

	while (chain->first && cost < PUT_BYTES) {
		m = bma_piece(chain->first);
		chain->first = port_load(&m->next, relaxed);
		chain->objs -= m->count;
		cost += put_magazine(c, m, sort);
	}
	while (!chain->first && c->sorted_spans && cost < PUT_BYTES) {
		span = bma_piece(c->sorted_spans);
		c->sorted_spans = span->sorted_next;
		cost += SETTLE_COST + settle_span(c, span);
	}
	return chain->first || c->sorted_spans;
}

/* Take back @obj with no magazine to put it in, until both grace periods have passed. */
void bma_slab_defer(struct bpf_mem_cache *c, void *obj)
{
	uint32_t nr = bma_obj_nr(c, obj);

	port_add(&c->nr_deferred, 1, relaxed);
	port_or(&map_of(span_of(obj), BMA_MAP_DEFERRED)[nr / 64], 1ull << (nr % 64), release);
	port_store(&c->deferred, true, release);
	port_reclaim_wake();
}

static struct bma_span *first_span(struct bpf_mem_cache *c)
{
	bma_handle_t h = port_load(&c->all_spans, acquire);

	return h ? bma_piece(h) : NULL;
}

static struct bma_span *next_span(struct bma_span *span)
{
	bma_handle_t h = port_load(&span->all_next, relaxed);

	return h ? bma_piece(h) : NULL;
}

static void collect_deferred(struct bpf_mem_cache *c, struct bma_span *span)
{
	uint64_t bits;
	uint32_t w;

	for (w = 0; w < c->map_words; w++) {
		bits = port_xchg(&map_of(span, BMA_MAP_DEFERRED)[w], 0, acquire);
		if (bits)
			port_or(&map_of(span, BMA_MAP_WAITING)[w], bits, relaxed);
	}
}

static void release_waiting(struct bpf_mem_cache *c, struct bma_span *span)
{
	uint64_t bits;
	uint32_t w;

	for (w = 0; w < c->map_words; w++) {
		bits = port_xchg(&map_of(span, BMA_MAP_WAITING)[w], 0, relaxed);
		for (; bits; bits &= bits - 1) {
			port_sub(&c->nr_deferred, 1, relaxed);
			reclaim_obj(c, obj_at(span, w * 64 + __builtin_ctzll(bits)));
		}
	}
}

static void for_each_span(struct bpf_mem_cache *c,
			  void (*fn)(struct bpf_mem_cache *c, struct bma_span *span))
{
	struct bma_span *span;

	for (span = first_span(c); span; span = next_span(span))
		if (!(port_load(&span->state, acquire) & BMA_SPAN_DEAD))
			fn(c, span);
}

/* A span with sorted objects is seen to when these are put back. */
static void free_if_emptied(struct bpf_mem_cache *c, struct bma_span *span)
{
	if (!span->nr_sorted)
		free_if_all_in(c, span);
}

/* Reclaimer: see to deferred objects and to spans that others emptied; true: come again. */
bool bma_slab_step(struct bpf_mem_cache *c)
{
	if (port_load(&c->empties, relaxed) && port_xchg(&c->empties, false, acquire))
		for_each_span(c, free_if_emptied);
	if (c->deferred_wait.on && bma_wait_done(&c->deferred_wait, c->group->gp))
		for_each_span(c, release_waiting);
	/*
	 * Acquire: who set it has set a bit before; what comes too late for this pass sets it
	 * again.
	 */
	if (!c->deferred_wait.on && !c->sorted_spans && port_load(&c->deferred, relaxed) &&
	    port_xchg(&c->deferred, false, acquire)) {
		for_each_span(c, collect_deferred);
		bma_wait_begin(&c->deferred_wait, c->group->gp);
	}
	return c->deferred_wait.on || port_load(&c->deferred, relaxed);
}

static void destruct_deferred(struct bpf_mem_cache *c, struct bma_span *span)
{
	uint64_t bits;
	uint32_t w;

	/* What is sorted has been destructed. */
	for (w = 0; w < c->map_words && span->nr_sorted; w++)
		port_store(&map_of(span, BMA_MAP_WAITING)[w], 0, relaxed);
	collect_deferred(c, span);
	for (w = 0; w < c->map_words; w++)
		for (bits = port_load(&map_of(span, BMA_MAP_WAITING)[w], relaxed); bits;
		     bits &= bits - 1)
			run_dtor(c, obj_at(span, w * 64 + __builtin_ctzll(bits)));
}

/* Reclaimer: run the destructor for what is in @m. */
void bma_slab_destruct(struct bpf_mem_cache *c, struct bma_magazine *m)
{
	while (m->count)
		run_dtor(c, bma_magazine_pop(c, m));
}

static void destroy_span(struct bpf_mem_cache *c, struct bma_span *span)
{
	/* Also one that was being made by a thread that is no more. */
	if (span->base)
		span_unmap(c, span);
	bma_debug_records_free(span);
	bma_meta_free(span, desc_class(c));
}

/*
 * Reclaimer: both grace periods have passed and nobody calls any more: give back all there is, up to
 * *@part spans at a time, which are taken off that; true: there are more.
 */
bool bma_slab_destroy(struct bpf_mem_cache *c, unsigned int *part)
{
	struct bma_span *span;

	if (c->group->dtor && !c->destructed)
		for_each_span(c, destruct_deferred);
	c->destructed = true;
	while ((span = first_span(c)) && *part) {
		port_store(&c->all_spans, port_load(&span->all_next, relaxed), relaxed);
		destroy_span(c, span);
		--*part;
	}
	return span;
}
