/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * unit.h - what the tests of core share
 *
 * unit_alloc() and its kind keep a shadow of every object: who has it, since when it is free, what is in it.
 * So each test checks, without a word, that
 *   - an object has one owner, and is aligned as promised;
 *   - it is reused after free_rcu only when a grace period that began later has ended;
 *   - nobody writes a freed object before it is handed out again, or wiped for the slab;
 *   - no page of an object goes before both its grace periods have ended;
 *   - at the end, all pages and all metadata are back, and what was never freed is reported.
 */
#ifndef BMA_UNIT_H
#define BMA_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "bma.h"
#include "script.h"

enum unit_state {
	UNIT_UNSEEN,
	UNIT_OUT,
	UNIT_FREED,
	UNIT_FREED_RCU,
	UNIT_RAW,
	UNIT_LOST,
	UNIT_GONE
};

struct unit_obj {
	char *obj;
	struct bpf_mem_cache *cache;
	struct bma_gp *gp;
	uint32_t size;
	uint32_t stride; /* from copy to copy */
	uint32_t copies;
	enum unit_state state;
	uint64_t rcu, trace; /* the grace periods that it waits for */
};

#define UNIT_MAX_MAS 4
#define UNIT_MAX_TAKEN 4096
#define UNIT_MAX_OBJS (1u << 12)

static struct {
	struct bpf_mem_alloc ma[UNIT_MAX_MAS];
	unsigned int nr_mas;
	struct unit_obj obj[UNIT_MAX_OBJS];
	void *taken[UNIT_MAX_TAKEN];
	unsigned int taken_class[UNIT_MAX_TAKEN], nr_taken;
	uint64_t out;
	uint64_t lost; /* never freed, and their allocator destroyed */
	unsigned int at; /* point of interruption of the scene that runs */
} unit;

/* --- grace periods ------------------------------------------------------------------------------ */

static inline struct bma_gp *unit_rcu(void)
{
	return script_gp(0);
}

static inline struct bma_gp *unit_trace(void)
{
	return script_gp(SCRIPT_TRACE);
}

static inline bool unit_running(struct bma_gp *gp)
{
	return script_gp_begun(gp) != script_gp_ended(gp);
}

/* Let the one that runs end, and @n more pass, unless a reader is inside that the test put there. */
static inline void unit_pass_in(struct bma_gp *gp, unsigned int n)
{
	if (unit_running(gp) && !script_gp_end(gp))
		return;
	while (n--) {
		script_gp_begin(gp);
		if (!script_gp_end(gp))
			return;
	}
}

/* Let @n grace periods pass in every domain, one that runs included. */
static inline void unit_pass(unsigned int n)
{
	unsigned int i;

	for (i = 0; i < SCRIPT_NR_GPS; i++)
		unit_pass_in(script_gp(i), n);
}

/* --- the shadow --------------------------------------------------------------------------------- */

static inline struct unit_obj *unit_obj(const void *obj)
{
	uint32_t i = (uint32_t)(((uintptr_t)obj >> 3) * 2654435761u) % UNIT_MAX_OBJS, n;

	for (n = 0; n < UNIT_MAX_OBJS; n++, i = (i + 1) % UNIT_MAX_OBJS) {
		if (!unit.obj[i].obj)
			unit.obj[i].obj = (char *)(uintptr_t)obj;
		if (unit.obj[i].obj == obj)
			return &unit.obj[i];
	}
	fail_msg("too many objects for the shadow");
	return NULL;
}

static inline unsigned char unit_pattern(const struct unit_obj *o, uint32_t copy)
{
	return (unsigned char)(((uintptr_t)o->obj >> 3) * 7 + copy * 31) | 1;
}

static inline bool unit_all(const char *at, size_t bytes, unsigned char c)
{
	return (unsigned char)at[0] == c && !memcmp(at, at + 1, bytes - 1);
}

static inline bool unit_intact(const struct unit_obj *o)
{
	uint32_t i;

	for (i = 0; i < o->copies; i++)
		if (!unit_all(o->obj + (size_t)i * o->stride, o->size, unit_pattern(o, i)))
			return false;
	return true;
}

static inline bool unit_zero(const struct unit_obj *o)
{
	uint32_t i;

	for (i = 0; i < o->copies; i++)
		if (!unit_all(o->obj + (size_t)i * o->stride, o->size, 0))
			return false;
	return true;
}

static inline void unit_fill(const struct unit_obj *o)
{
	uint32_t i;

	for (i = 0; i < o->copies; i++)
		memset(o->obj + (size_t)i * o->stride, unit_pattern(o, i), o->size);
}

static inline bool unit_rcu_over(const struct unit_obj *o)
{
	return script_gp_ended(o->gp) >= o->rcu;
}

static inline bool unit_both_over(const struct unit_obj *o)
{
	return unit_rcu_over(o) && script_gp_ended(unit_trace()) >= o->trace;
}

/* Readers may still look at these: nobody may write them. */
static inline void unit_check_freed(void)
{
	uint32_t i;

	for (i = 0; i < UNIT_MAX_OBJS; i++) {
		struct unit_obj *o = &unit.obj[i];

		if ((o->state == UNIT_FREED || o->state == UNIT_FREED_RCU) && !unit_both_over(o))
			assert_true(unit_intact(o));
		else if (o->state == UNIT_OUT)
			assert_true(unit_intact(o));
	}
}

static inline void unit_pages_go(void *pages, size_t bytes)
{
	uint32_t i;

	for (i = 0; i < UNIT_MAX_OBJS; i++) {
		struct unit_obj *o = &unit.obj[i];

		if (o->state == UNIT_UNSEEN || o->state == UNIT_GONE || o->obj < (char *)pages ||
		    o->obj >= (char *)pages + bytes)
			continue;
		assert_int_not_equal(o->state, UNIT_OUT);
		if (o->state != UNIT_RAW)
			assert_true(unit_both_over(o));
		o->state = UNIT_GONE;
	}
}

static inline void unit_check_alignment(const struct unit_obj *o)
{
	size_t align = (size_t)1 << __builtin_ctz(o->size);

	/* The largest power of two that divides the size, at most 64; here as far as the span goes. */
	if (align > 64)
		align = 64;
	assert_int_equal((uintptr_t)o->obj % align, 0);
}

/* @obj was handed out by @c, whose user asked for @size bytes. */
static inline void unit_got(struct bpf_mem_cache *c, void *obj)
{
	struct unit_obj *o = unit_obj(obj);

	assert_int_not_equal(o->state, UNIT_OUT);
	assert_int_not_equal(o->state, UNIT_GONE);
	assert_true(!o->cache || o->cache == c);
	o->cache = c;
	o->size = c->size;
	o->stride = (uint32_t)c->span_bytes;
	o->copies = c->nr_copies;
	o->gp = c->group->gp;
	if (o->state == UNIT_FREED_RCU)
		assert_true(unit_rcu_over(o));
	if (!unit_zero(o)) {
		assert_true(o->state == UNIT_FREED || o->state == UNIT_FREED_RCU);
		assert_true(unit_intact(o));
	} else if (o->state == UNIT_FREED || o->state == UNIT_FREED_RCU) {
		assert_true(unit_both_over(o));
	}
	unit_check_alignment(o);
	o->state = UNIT_OUT;
	unit_fill(o);
	unit.out++;
}

static inline void unit_gone(struct unit_obj *o, enum unit_state state)
{
	assert_int_equal(o->state, UNIT_OUT);
	assert_true(unit_intact(o));
	o->state = state;
	o->rcu = script_gp_begun(o->gp) + 1;
	o->trace = script_gp_begun(unit_trace()) + 1;
	unit.out--;
}

static inline void unit_gave(void *obj, enum unit_state state)
{
	unit_gone(unit_obj(obj), state);
}

/* --- calls that keep it ------------------------------------------------------------------------- */

static inline void *unit_try(struct bpf_mem_alloc *ma, gfp_t flags)
{
	void *obj = flags ? bpf_mem_cache_alloc_flags(ma, flags) : bpf_mem_cache_alloc(ma);

	if (obj)
		unit_got(ma->caches, obj);
	return obj;
}

static inline void *unit_alloc(struct bpf_mem_alloc *ma)
{
	void *obj = unit_try(ma, 0);

	assert_non_null(obj);
	return obj;
}

static inline void *unit_alloc_size(struct bpf_mem_alloc *ma, size_t size)
{
	void *obj = bpf_mem_alloc(ma, size);

	assert_non_null(obj);
	unit_got(bma_pagemap_cache(obj), obj);
	return obj;
}

static inline void unit_free(struct bpf_mem_alloc *ma, void *obj)
{
	unit_gave(obj, UNIT_FREED);
	bpf_mem_cache_free(ma, obj);
}

static inline void unit_free_rcu(struct bpf_mem_alloc *ma, void *obj)
{
	unit_gave(obj, UNIT_FREED_RCU);
	bpf_mem_cache_free_rcu(ma, obj);
}

static inline void unit_raw_free(void *obj)
{
	unit_gave(obj, UNIT_RAW);
	bpf_mem_cache_raw_free(obj);
}

static inline void unit_alloc_many(struct bpf_mem_alloc *ma, void **objs, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		objs[i] = unit_alloc(ma);
}

static inline void unit_free_many(struct bpf_mem_alloc *ma, void **objs, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		unit_free(ma, objs[i]);
}

static inline void unit_free_rcu_many(struct bpf_mem_alloc *ma, void **objs, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		unit_free_rcu(ma, objs[i]);
}

/* --- allocators --------------------------------------------------------------------------------- */

static inline struct bpf_mem_alloc *unit_new_ma(void)
{
	assert_true(unit.nr_mas < UNIT_MAX_MAS);
	return &unit.ma[unit.nr_mas++];
}

/* One whose readers are a flavour's, so that its grace periods are those that the test has pass. */
static inline struct bpf_mem_alloc *unit_ma(int size, bool percpu)
{
	struct bpf_mem_alloc *ma = unit_new_ma();

	assert_int_equal(bpf_mem_alloc_init_flavor(ma, size, percpu, script_flavor()), 0);
	return ma;
}

/* One whose readers are core's own: its grace periods pass when it polls, unless a reader is inside. */
static inline struct bpf_mem_alloc *unit_own_ma(int size, bool percpu)
{
	struct bpf_mem_alloc *ma = unit_new_ma();

	assert_int_equal(bpf_mem_alloc_init(ma, size, percpu), 0);
	return ma;
}

/* Destroy @ma; what is out of it then is lost. */
static inline void unit_destroy(struct bpf_mem_alloc *ma)
{
	uint32_t i;

	for (i = 0; ma->group && i < UNIT_MAX_OBJS; i++) {
		struct unit_obj *o = &unit.obj[i];

		if (o->state != UNIT_OUT || o->cache->group != ma->group)
			continue;
		unit_gone(o, UNIT_LOST);
		unit.lost++;
	}
	bpf_mem_alloc_destroy(ma);
}

static inline struct bpf_mem_stats unit_stats(const struct bpf_mem_alloc *ma)
{
	struct bpf_mem_stats s;

	bpf_mem_alloc_stats(ma, &s);
	return s;
}

static inline struct bpf_mem_stats unit_process_stats(void)
{
	struct bpf_mem_stats s;

	bpf_mem_process_stats(&s);
	return s;
}

/* All objects of @ma are where the counts say, when one says how many are where. */
static inline void unit_check_stats(const struct bpf_mem_alloc *ma, uint64_t in_use, uint64_t ready,
				    uint64_t rcu, uint64_t ttrace)
{
	struct bpf_mem_stats s = unit_stats(ma);

	assert_int_equal(s.objs_in_use, in_use);
	assert_int_equal(s.objs_free, ready);
	assert_int_equal(s.objs_waiting_rcu, rcu);
	assert_int_equal(s.objs_waiting_ttrace, ttrace);
}

/* @n rounds of the reclaimer, a tick apart; returns what the last one did. */
static inline bool unit_rounds(unsigned int n)
{
	bool again = false;

	while (n--)
		again = bma_reclaim();
	return again;
}

/* Rounds and grace periods until there is nothing to come back for. */
static inline void unit_settle(void)
{
	unsigned int n;

	for (n = 0; unit_rounds(1); n++) {
		assert_true(n < 200);
		unit_pass(1);
	}
}

/* --- no metadata -------------------------------------------------------------------------------- */

/* Take all metadata that there is, and let there be no more pages. */
static inline void unit_no_meta(void)
{
	unsigned int class = BMA_META_CLASSES;
	void *piece;

	script_fail(SCRIPT_PAGES_ALLOC, 1, SCRIPT_EVER);
	while (class --) {
		while ((piece = bma_meta_alloc(class))) {
			assert_true(unit.nr_taken < UNIT_MAX_TAKEN);
			unit.taken[unit.nr_taken] = piece;
			unit.taken_class[unit.nr_taken++] = class;
		}
	}
}

static inline void unit_meta_back(void)
{
	while (unit.nr_taken) {
		unit.nr_taken--;
		bma_meta_free(unit.taken[unit.nr_taken], unit.taken_class[unit.nr_taken]);
	}
	script_fail(SCRIPT_PAGES_ALLOC, 1, 0);
}

/* No metadata but @n pages; pages for anything else neither. */
static inline void unit_meta_left(unsigned int n)
{
	void *page[16];
	unsigned int i;

	assert_true(n <= 15);
	for (i = 0; i < n; i++)
		assert_non_null(page[i] = bma_meta_alloc(BMA_META_MAX_SHIFT - BMA_META_MIN_SHIFT));
	unit_no_meta();
	while (i)
		bma_meta_free(page[--i], BMA_META_MAX_SHIFT - BMA_META_MIN_SHIFT);
	while (bma_meta_trim(&bma_world.meta))
		;
}

/* --- the end: is everything back? --------------------------------------------------------------- */

static inline size_t unit_leaf_bytes(void)
{
	size_t n = 0, i;

	for (i = 0; i < BMA_ROOT_ENTRIES; i++)
		n += port_load(&bma_world.leaf[i], relaxed) != NULL;
	return n * sizeof(struct bma_leaf);
}

/* What stays for good, beside spans: metadata's chunks, the pagemap's leaves, a large table of CPUs. */
static inline size_t unit_fixed_bytes(void)
{
	size_t table = port_nr_cpus() * sizeof(bma_cpu_ptr_t);
	size_t unit_size = (size_t)1 << PORT_UNIT_SHIFT;
	bool own = port_load(&bma_world.no_cpus, relaxed) && table > 1u << BMA_META_MAX_SHIFT;

	return (size_t)port_load(&bma_world.meta.nr_chunks, relaxed) * PORT_META_CHUNK +
	       unit_leaf_bytes() + (own ? (table + unit_size - 1) & ~(unit_size - 1) : 0);
}

/* The size of pieces of @class. */
static inline size_t unit_piece_bytes(unsigned int class)
{
	size_t bytes = (size_t)1 << (class + BMA_META_MIN_SHIFT);

	if (class == BMA_META_MAGAZINE)
		bytes = sizeof(struct bma_magazine) > 64 ? sizeof(struct bma_magazine) : 64;
	return bytes;
}

static inline size_t unit_free_pieces(unsigned int class)
{
	bma_handle_t h = bma_stack_first(&bma_world.meta.free[class]);
	size_t n = 0;

	for (; h; h = port_load((bma_link_t *)bma_piece(h), relaxed))
		n++;
	return n;
}

static inline bool unit_is_free(const void *piece, unsigned int class)
{
	bma_handle_t h = bma_stack_first(&bma_world.meta.free[class]);

	while (h && bma_piece(h) != piece)
		h = port_load((bma_link_t *)bma_piece(h), relaxed);
	return h;
}

/* Every piece of metadata is free, but for the table of no CPUs; and so are the pages. */
static inline void unit_check_meta(void)
{
	uint64_t pages = port_load(&bma_world.meta.nr_pages, relaxed) -
			 port_load(&bma_world.meta.nr_chunks, relaxed);
	size_t table = port_nr_cpus() * sizeof(bma_cpu_ptr_t), out = 0, bytes = 0;
	unsigned int class;

	if (port_load(&bma_world.no_cpus, relaxed) && table <= 1u << BMA_META_MAX_SHIFT)
		out = unit_piece_bytes(bma_meta_class(table));
	for (class = 0; class < BMA_META_CLASSES; class ++)
		bytes += unit_free_pieces(class) * unit_piece_bytes(class);
	assert_int_equal(pages, out ? 1 : 0);
	assert_int_equal(bytes + out, pages * PORT_META_PAGE);
}

static inline void unit_begin(void)
{
	struct bma_readers kept;

	script_reset();
	kept = bma_world.readers;
	memset(&bma_world, 0, sizeof(bma_world));
	bma_world.readers = kept;
	memset(&unit, 0, offsetof(typeof(unit), at));
	script_on_pages_free(unit_pages_go);
}

static inline void unit_end(void)
{
	unsigned int i;

	unit_check_freed();
	unit_meta_back();
	script_fail(SCRIPT_DETACH, 1, 0);
	for (i = 0; i < unit.nr_mas; i++)
		unit_destroy(&unit.ma[i]);
	unit_settle();
	assert_int_equal(unit.out, 0);
	assert_int_equal(bma_world.past.never_freed, unit.lost);
	assert_null(bma_world.groups);
	assert_int_equal(script_pages_out(), unit_fixed_bytes());
	while (bma_meta_trim(&bma_world.meta))
		;
	unit_check_meta();
}

/* --- test programs ------------------------------------------------------------------------------ */

struct unit_case {
	void (*fn)(void);
};

static inline int unit_setup(void **state)
{
	(void)state;
	unit.at = 0;
	unit_begin();
	return 0;
}

static inline int unit_teardown(void **state)
{
	(void)state;
	if (unit.at)
		print_message("    (interrupted at point %u)\n", unit.at);
	return 0;
}

static inline void unit_run(void **state)
{
	struct unit_case *test = *state;

	test->fn();
	unit_end();
}

#define UNIT_TEST(fn)                                                                              \
	{                                                                                          \
#fn, unit_run, unit_setup, unit_teardown, &(struct unit_case)                      \
		{                                                                                  \
			fn                                                                         \
		}                                                                                  \
	}

/*
 * A scene: @run, interrupted at one point after the other by @nested, each time in a new world.  After @run
 * and @nested, @check, then everything must be back.  Returns how many points there were.
 */
struct unit_scene {
	enum script_op at; /* or, left out, every point */
	void (*prepare)(void);
	void (*run)(void);
	void (*nested)(void *arg);
	void (*check)(void);
};

static inline bool unit_explore_point(const struct unit_scene *scene)
{
	bool interrupted;

	unit_begin();
	if (scene->prepare)
		scene->prepare();
	script_interrupt(scene->at, unit.at, scene->nested, NULL);
	scene->run();
	interrupted = script_interrupted();
	script_interrupt(SCRIPT_ANY, 0, NULL, NULL);
	if (!interrupted)
		scene->nested(NULL);
	if (scene->check)
		scene->check();
	unit_end();
	return interrupted;
}

static inline unsigned int unit_explore(const struct unit_scene *scene)
{
	unsigned int points;

	for (unit.at = 1; unit_explore_point(scene); unit.at++)
		;
	points = unit.at - 1;
	unit.at = 0;
	unit_begin();
	return points;
}

/* The latest report is of @func and @ptr. */
static inline void unit_check_report(const char *func, const void *ptr)
{
	const struct script_report *r = script_report(script_nr_reports() - 1);

	assert_string_equal(r->func, func);
	assert_ptr_equal(r->ptr, ptr);
}

#endif /* BMA_UNIT_H */
