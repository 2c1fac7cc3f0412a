// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_api.c - alloc and free, as callers see them; and a long walk with all that can happen
 */
#include "every_access.h"
#include "../../core/api.c"
#include "scenes.h"

static const uint32_t sizes[] = { 16, 32, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096 };

/* --- sizes ------------------------------------------------------------------------------------------ */

static void every_size_has_its_class(void)
{
	struct bpf_mem_alloc *ma = unit_ma(0, false);
	unsigned int class = 0, size, i;
	void *obj[3];

	assert_ptr_equal(bpf_mem_alloc(ma, 0), ZERO_SIZE_PTR);
	for (size = 1; size <= 4096; size++) {
		if (size > sizes[class])
			class ++;
		for (i = 0; i < 3; i++) {
			obj[i] = unit_alloc_size(ma, size);
			assert_int_equal(unit_obj(obj[i])->size, sizes[class]);
			assert_ptr_equal(unit_obj(obj[i])->cache, &ma->caches[class]);
		}
		unit_free(ma, obj[0]);
		unit_free_rcu(ma, obj[1]);
		unit_free(ma, obj[2]);
		unit_pass(1);
	}
	assert_int_equal(class, BMA_NR_CLASSES - 1);
	assert_int_equal(unit_stats(ma).refusals, 0);
	assert_null(bpf_mem_alloc(ma, 4097));
	assert_null(bpf_mem_alloc(ma, (size_t)-1));
	assert_null(bpf_mem_alloc(ma, (size_t)1 << 32));
	assert_int_equal(unit_stats(ma).refusals, 3);
	assert_int_equal(unit_stats(ma).objs_in_use, 0);
	assert_int_equal(script_nr_reports(), 0);
}

static void check_size_says_what_alloc_would(void)
{
	unsigned int percpu;

	for (percpu = 0; percpu < 2; percpu++) {
		assert_int_equal(bpf_mem_alloc_check_size(percpu, 0), 0);
		assert_int_equal(bpf_mem_alloc_check_size(percpu, 1), 0);
		assert_int_equal(bpf_mem_alloc_check_size(percpu, 4096), 0);
		assert_int_equal(bpf_mem_alloc_check_size(percpu, 4097), -PORT_E2BIG);
		assert_int_equal(bpf_mem_alloc_check_size(percpu, (size_t)-1), -PORT_E2BIG);
	}
}

static void objects_of_every_fixed_size(void)
{
	static const int some[] = {
		1,    8,    9,	  16,	 17,	24,    48,     64,	100,
		4095, 4096, 5000, 16384, 20000, 65536, 100000, 1 << 19, 1 << 20
	};
	unsigned int i;
	void *obj[7];

	for (i = 0; i < sizeof(some) / sizeof(some[0]); i++) {
		unit_begin();
		struct bpf_mem_alloc *ma = unit_ma(some[i], false);

		unit_alloc_many(ma, obj, 7);
		unit_check_freed();
		unit_free_rcu_many(ma, obj, 3);
		unit_free_many(ma, obj + 3, 3);
		unit_check_stats(ma, 1, unit_stats(ma).objs_free, 3, 0);
		unit_free(ma, obj[6]);
		unit_end();
	}
	unit_begin();
}

/* --- reuse ------------------------------------------------------------------------------------------ */

static void free_is_reused_at_once(void)
{
	struct bpf_mem_alloc *ma = unit_ma(64, false);
	void *obj = unit_alloc(ma);

	unit_free(ma, obj);
	assert_ptr_equal(unit_alloc(ma), obj);
	unit_free(ma, obj);
}

static void free_rcu_is_not_reused_before_its_grace_period(void)
{
	struct bpf_mem_alloc *ma = unit_ma(64, false);
	void *obj = unit_alloc(ma), *more[110];
	unsigned int i;

	script_gp_begin(unit_rcu());
	unit_free_rcu(ma, obj);
	unit_rounds(3);
	script_gp_end(unit_rcu());
	for (i = 0; i < 100; i++) {
		more[i] = unit_alloc(ma);
		assert_ptr_not_equal(more[i], obj);
	}
	unit_check_freed();
	script_gp_pass(unit_rcu(), 1);
	/* Now it is, whoever looks first. */
	while (unit_obj(obj)->state != UNIT_OUT && i < 110)
		more[i++] = unit_alloc(ma);
	assert_int_equal(unit_obj(obj)->state, UNIT_OUT);
	unit_free_many(ma, more, i);
}

/* --- bad frees ---------------------------------------------------------------------------------------- */

static const struct {
	void (*fn)(struct bpf_mem_alloc *ma, void *ptr);
	const char *name;
} frees[] = {
	{ bpf_mem_free, "bpf_mem_free" },
	{ bpf_mem_free_rcu, "bpf_mem_free_rcu" },
	{ bpf_mem_cache_free, "bpf_mem_cache_free" },
	{ bpf_mem_cache_free_rcu, "bpf_mem_cache_free_rcu" },
};

static void null_and_zero_size_are_accepted(void)
{
	struct bpf_mem_alloc *ma = unit_ma(0, false), *fixed = unit_ma(64, false), none = { 0 };
	unsigned int i;

	for (i = 0; i < 4; i++) {
		frees[i].fn(ma, NULL);
		frees[i].fn(ma, ZERO_SIZE_PTR);
		frees[i].fn(fixed, NULL);
		frees[i].fn(fixed, ZERO_SIZE_PTR);
		frees[i].fn(&none, NULL);
		frees[i].fn(&none, ZERO_SIZE_PTR);
	}
	bpf_mem_cache_raw_free(NULL);
	bpf_mem_cache_raw_free(ZERO_SIZE_PTR);
	assert_int_equal(script_nr_reports(), 0);
	assert_int_equal(unit_process_stats().bad_frees, 0);
}

static void check_bad(struct bpf_mem_alloc *ma, void *ptr)
{
	uint64_t before = unit_process_stats().bad_frees;
	unsigned int i, n;

	for (i = 0; i < 4; i++) {
		n = script_nr_reports();
		frees[i].fn(ma, ptr);
		assert_int_equal(script_nr_reports(), n + 1);
		if (n >= SCRIPT_REPORTS)
			continue;
		unit_check_report(frees[i].name, ptr);
	}
	assert_int_equal(unit_process_stats().bad_frees, before + 4);
}

static void bad_frees_are_told_and_do_nothing(void)
{
	struct bpf_mem_alloc *ma = unit_ma(96, false), *other = unit_ma(96, false);
	struct bpf_mem_alloc *sized = unit_ma(0, false), none = { 0 };
	struct bpf_mem_stats before, after;
	char *obj = unit_alloc(ma), *its = unit_alloc(other), *class = unit_alloc_size(sized, 96);
	uintptr_t bit;
	int i;

	before = unit_stats(ma);
	check_bad(ma, &ma);
	check_bad(ma, its);
	check_bad(ma, class);
	check_bad(sized, obj);
	for (i = 1; i < 96; i++)
		check_bad(ma, obj + i);
	for (bit = 1; bit; bit <<= 1)
		if (bit != (uintptr_t)ZERO_SIZE_PTR)
			check_bad(ma, (void *)bit);
	/* Behind the last object of the span. */
	check_bad(ma, (char *)((uintptr_t)obj & ~(uintptr_t)4095) + 42 * 96);
	check_bad(&none, obj);
	after = unit_stats(ma);
	assert_int_equal(after.objs_in_use, before.objs_in_use);
	assert_int_equal(after.objs_free, before.objs_free);
	assert_int_equal(after.objs_waiting_rcu, 0);
	assert_int_equal(unit_stats(sized).bad_frees, 4);
	assert_int_equal(port_load(&bma_world.nr_stray_frees, relaxed), 4);
	unit_check_freed();
	unit_free(ma, obj);
	unit_free(other, its);
	unit_free(sized, class);
}

static void bad_raw_frees_too(void)
{
	struct bpf_mem_alloc *ma = unit_ma(96, false);
	char *obj = unit_alloc(ma);

	bpf_mem_cache_raw_free(&ma);
	bpf_mem_cache_raw_free(obj + 16);
	bpf_mem_cache_raw_free((char *)((uintptr_t)obj & ~(uintptr_t)4095) + 42 * 96);
	assert_int_equal(script_nr_reports(), 3);
	assert_string_equal(script_report(1)->func, "bpf_mem_cache_raw_free");
	assert_ptr_equal(script_report(1)->ptr, obj + 16);
	assert_int_equal(unit_process_stats().bad_frees, 3);
	assert_int_equal(unit_stats(ma).bad_frees, 0);
	unit_raw_free(obj);
}

static void raw_free_is_for_any_allocator_and_at_once(void)
{
	struct bpf_mem_alloc *ma = unit_ma(4096, false), *sized = unit_ma(0, false);

	unit_raw_free(unit_alloc(ma));
	unit_raw_free(unit_alloc_size(sized, 4096));
	unit_check_stats(ma, 0, 0, 0, 0);
	unit_check_stats(sized, 0, 0, 0, 0);
	assert_int_equal(unit_process_stats().spans, 2);
	bma_reclaim();
	assert_int_equal(unit_process_stats().spans, 0);
}

/* --- the wrong kind -------------------------------------------------------------------------------------- */

static void fixed_and_sized_are_not_mixed_up(void)
{
	struct bpf_mem_alloc *fixed = unit_ma(64, false), *sized = unit_ma(0, false);

	/* Both with magazines loaded, which must not be found by the wrong call. */
	unit_free(fixed, unit_alloc(fixed));
	unit_free(sized, unit_alloc_size(sized, 16));
	assert_null(bpf_mem_alloc(fixed, 64));
	unit_check_report("bpf_mem_alloc", fixed);
	assert_null(bpf_mem_alloc(fixed, 0));
	assert_null(bpf_mem_alloc(fixed, 5000));
	assert_null(bpf_mem_cache_alloc(sized));
	unit_check_report("bpf_mem_cache_alloc", sized);
	assert_null(bpf_mem_cache_alloc_flags(sized, GFP_KERNEL));
	assert_int_equal(script_nr_reports(), 5);
	assert_int_equal(script_calls(SCRIPT_WAIT), 0);
	unit_check_stats(fixed, 0, 2, 0, 0);
}

static void after_destroy_there_is_nothing(void)
{
	struct bpf_mem_alloc *fixed = unit_ma(64, false), *sized = unit_ma(0, false);
	void *obj = unit_alloc(fixed);

	unit_free(fixed, unit_alloc(fixed));
	unit_free(sized, unit_alloc_size(sized, 16));
	unit_destroy(fixed);
	unit_destroy(sized);
	assert_null(bpf_mem_cache_alloc(fixed));
	unit_check_report("bpf_mem_cache_alloc", fixed);
	assert_null(bpf_mem_cache_alloc_flags(fixed, GFP_KERNEL));
	assert_null(bpf_mem_alloc(sized, 16));
	unit_check_report("bpf_mem_alloc", sized);
	check_bad(fixed, obj);
	unit_settle();
	assert_null(bpf_mem_cache_alloc(fixed));
	assert_null(bpf_mem_alloc(sized, 16));
	check_bad(fixed, obj);
	assert_int_equal(unit_stats(fixed).spans, 0);
}

/* --- GFP --------------------------------------------------------------------------------------------------- */

static void only_kernel_waits(void)
{
	struct bpf_mem_alloc *ma = unit_ma(1024, false);
	unsigned int rounds;
	void *obj[4];

	unit_alloc_many(ma, obj, 4);
	unit_free_rcu_many(ma, obj, 4);
	script_fail(SCRIPT_PAGES_ALLOC, 1, SCRIPT_EVER);
	assert_null(unit_try(ma, GFP_NOWAIT));
	assert_null(unit_try(ma, GFP_ATOMIC));
	assert_int_equal(script_calls(SCRIPT_WAIT) + script_calls(SCRIPT_ROUND), 0);
	/* Some wait on this CPU, in by_rcu: they are fetched, and get their grace period. */
	rounds = script_calls(SCRIPT_ROUND);
	obj[0] = unit_try(ma, GFP_KERNEL);
	assert_non_null(obj[0]);
	assert_int_equal(script_calls(SCRIPT_ROUND), rounds + 1);
	assert_int_equal(script_calls(SCRIPT_WAIT), 1);
	assert_true(script_calls(SCRIPT_HURRY) >= 1);
	unit_alloc_many(ma, obj + 1, 3);
	assert_int_equal(unit_stats(ma).refusals, 2);
	/* With nothing in limbo it has waited, and says no. */
	assert_null(unit_try(ma, GFP_KERNEL));
	assert_int_equal(script_calls(SCRIPT_WAIT), 2);
	assert_int_equal(unit_stats(ma).refusals, 3);
	/* Who must not wait is told no without. */
	unit_free_rcu_many(ma, obj, 4);
	script_fail(SCRIPT_WAIT, 1, 1);
	assert_null(unit_try(ma, GFP_KERNEL));
	assert_int_equal(unit_stats(ma).refusals, 4);
	script_fail(SCRIPT_PAGES_ALLOC, 1, 0);
}

/* On the CPUs of others, too. */
static void kernel_fetches_from_every_cpu(void)
{
	struct bpf_mem_alloc *ma;
	void *obj[4];
	unsigned int i;

	script_nr_cpus(4);
	ma = unit_ma(1024, false);
	unit_alloc_many(ma, obj, 4);
	for (i = 0; i < 4; i++) {
		script_cpu(i);
		if (i % 2)
			unit_free(ma, obj[i]);
		else
			unit_free_rcu(ma, obj[i]);
	}
	script_fail(SCRIPT_PAGES_ALLOC, 1, SCRIPT_EVER);
	for (i = 0; i < 4; i++)
		assert_non_null(obj[i] = unit_try(ma, GFP_KERNEL));
	assert_null(unit_try(ma, GFP_KERNEL));
	script_fail(SCRIPT_PAGES_ALLOC, 1, 0);
	unit_free_many(ma, obj, 4);
}

/* --- the limit of limbo ------------------------------------------------------------------------------------- */

static struct bma_gp *limit_gp;
static unsigned int limit_sleeps;

static void relieve_at_the_third(struct bma_gp *gp)
{
	assert_ptr_equal(gp, limit_gp);
	if (++limit_sleeps % 3)
		return;
	if (!unit_running(gp))
		script_gp_begin(gp);
	script_gp_end(gp);
}

static bool hurried(void)
{
	return port_load(&limit_gp->hurry, relaxed);
}

static void the_limit_of_limbo(struct bpf_mem_alloc *ma)
{
	void *obj[32], *more[8], *out;
	unsigned int i, n = 0;

	limit_gp = ma->group->gp;
	script_on_sleep(relieve_at_the_third);
	unit_alloc_many(ma, obj, 32);
	bpf_mem_alloc_set_limbo_limit(ma, 8 * 1024);
	/* Two of those that are freed are on the CPU; up to half it is in no hurry. */
	unit_free_rcu_many(ma, obj, 6);
	assert_int_equal(bma_limbo_bytes(ma->group), 4 * 1024);
	assert_false(hurried());
	unit_free_rcu(ma, obj[6]);
	assert_int_equal(bma_limbo_bytes(ma->group), 6 * 1024);
	assert_true(hurried());
	/* Below it alloc is served, at it, not. */
	unit_alloc_many(ma, more, 4);
	unit_free_rcu_many(ma, obj + 7, 2);
	assert_int_equal(bma_limbo_bytes(ma->group), 8 * 1024);
	assert_int_equal(unit_stats(ma).limbo_refusals, 0);
	while ((out = unit_try(ma, 0)))
		more[4 + n++] = out;
	assert_true(n <= 2);
	assert_null(unit_try(ma, GFP_ATOMIC));
	assert_null(unit_try(ma, GFP_NOWAIT));
	assert_int_equal(unit_stats(ma).limbo_refusals, 3);
	assert_int_equal(unit_stats(ma).refusals, 3);
	assert_int_equal(unit_stats(ma).limbo_waits, 0);
	/* free and free_rcu go on, and what was freed at once can be had at once. */
	unit_free_rcu_many(ma, obj + 9, 11);
	assert_int_equal(unit_stats(ma).objs_waiting_rcu, 20);
	unit_free(ma, obj[20]);
	assert_ptr_equal(unit_alloc(ma), obj[20]);
	assert_null(unit_try(ma, 0));
	assert_int_equal(limit_sleeps, 0);
	/* Who may sleep, waits. */
	out = unit_try(ma, GFP_KERNEL);
	assert_non_null(out);
	unit_free(ma, out);
	assert_true(limit_sleeps >= 3);
	assert_int_equal(unit_stats(ma).limbo_waits, 1);
	assert_int_equal(unit_stats(ma).limbo_refusals, 4);
	assert_int_equal(unit_stats(ma).refusals, 4);
	assert_true(bma_limbo_bytes(ma->group) < 8 * 1024);
	for (i = 0; i < n + 4; i++)
		unit_free(ma, more[i]);
	unit_free_many(ma, obj + 20, 12);
}

static void the_limit_with_own_readers(void)
{
	limit_sleeps = 0;
	script_hold(script_gp(SCRIPT_RCU), true);
	the_limit_of_limbo(unit_own_ma(1024, false));
}

static void the_limit_with_those_of_a_flavour(void)
{
	limit_sleeps = 0;
	the_limit_of_limbo(unit_ma(1024, false));
}

/* When readers have left, it is alloc itself that finds out. */
static void over_the_limit_alloc_looks(void)
{
	struct bpf_mem_alloc *ma = unit_own_ma(1024, false);
	void *obj[17];

	script_hold(script_gp(SCRIPT_RCU), true);
	bpf_mem_alloc_set_limbo_limit(ma, 1024);
	unit_alloc_many(ma, obj, 16);
	unit_free_rcu_many(ma, obj, 16);
	assert_null(unit_try(ma, 0));
	script_hold(script_gp(SCRIPT_RCU), false);
	obj[0] = unit_alloc(ma);
	assert_int_equal(bma_limbo_bytes(ma->group), 0);
	assert_int_equal(unit_stats(ma).limbo_refusals, 1);
	unit_free(ma, obj[0]);
	/* No limit any more. */
	script_hold(script_gp(SCRIPT_RCU), true);
	bpf_mem_alloc_set_limbo_limit(ma, 0);
	unit_alloc_many(ma, obj, 17);
	unit_free_rcu_many(ma, obj, 16);
	unit_free(ma, obj[16]);
	unit_alloc_many(ma, obj, 8);
	unit_free_many(ma, obj, 8);
	assert_int_equal(unit_stats(ma).limbo_refusals, 1);
}

/* Inside a section nobody waits for itself. */
static void who_is_inside_is_refused(void)
{
	struct bpf_mem_alloc *ma = unit_own_ma(1024, false), *driven = unit_ma(1024, false);
	void *obj[8];

	bpf_mem_alloc_set_limbo_limit(ma, 1024);
	bpf_mem_alloc_set_limbo_limit(driven, 1024);
	unit_alloc_many(ma, obj, 8);
	bpf_rcu_read_lock();
	unit_free_rcu_many(ma, obj, 8);
	assert_null(unit_try(ma, GFP_KERNEL));
	bpf_rcu_read_unlock();
	unit_alloc_many(driven, obj, 8);
	unit_free_rcu_many(driven, obj, 8);
	script_fail(SCRIPT_WAIT, 1, 1);
	assert_null(unit_try(driven, GFP_KERNEL));
	assert_int_equal(unit_stats(ma).limbo_refusals, 1);
	assert_int_equal(unit_stats(driven).limbo_refusals, 1);
	assert_int_equal(unit_process_stats().limbo_refusals, 2);
	assert_int_equal(unit_process_stats().limbo_waits, 0);
	assert_int_equal(script_calls(SCRIPT_SLEEP), 0);
	/* Counts stay when an allocator goes. */
	unit_destroy(ma);
	unit_settle();
	assert_int_equal(unit_process_stats().limbo_refusals, 2);
}

/* It is one limit for all sizes. */
static void the_limit_is_the_allocators(void)
{
	struct bpf_mem_alloc *ma = unit_own_ma(0, false), none = { 0 };
	void *obj[8];
	unsigned int i;

	script_hold(script_gp(SCRIPT_RCU), true);
	bpf_mem_alloc_set_limbo_limit(ma, 4 * 1024 + 4 * 512);
	for (i = 0; i < 8; i++)
		obj[i] = unit_alloc_size(ma, i % 2 ? 512 : 1024);
	for (i = 0; i < 8; i++)
		unit_free_rcu(ma, obj[i]);
	assert_non_null(obj[0] = unit_alloc_size(ma, 64));
	for (i = 1; i < 5; i++)
		unit_free_rcu(ma, unit_alloc_size(ma, i % 2 ? 512 : 1024));
	assert_int_equal(bma_limbo_bytes(ma->group), 4 * 1024 + 4 * 512);
	assert_null(bpf_mem_alloc(ma, 4096));
	assert_int_equal(unit_stats(ma).limbo_refusals, 1);
	unit_free(ma, obj[0]);
	bpf_mem_alloc_set_limbo_limit(&none, 1);
	unit_check_report("bpf_mem_alloc_set_limbo_limit", &none);
}

/* --- a long walk -------------------------------------------------------------------------------------------- */

#define WALK_OBJS 96

static uint64_t walk_state;

static unsigned int dice(unsigned int n)
{
	walk_state = walk_state * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned int)(walk_state >> 33) % n;
}

struct walk {
	struct bpf_mem_alloc *ma;
	void *obj[WALK_OBJS];
	unsigned int nr;
	bool sized;
};

static void walk_alloc(struct walk *w)
{
	void *obj;

	if (w->nr == WALK_OBJS)
		return;
	obj = w->sized ? bpf_mem_alloc(w->ma, 1 + dice(4096)) : bpf_mem_cache_alloc(w->ma);
	if (!obj)
		return;
	unit_got(bma_pagemap_cache(obj), obj);
	w->obj[w->nr++] = obj;
}

static void walk_free(struct walk *w)
{
	unsigned int i, how = dice(8);
	void *obj;

	if (!w->nr)
		return;
	i = dice(w->nr);
	obj = w->obj[i];
	w->obj[i] = w->obj[--w->nr];
	if (how == 0)
		unit_raw_free(obj);
	else if (how < 4)
		unit_free(w->ma, obj);
	else
		unit_free_rcu(w->ma, obj);
}

/* A thread that reads, of either kind. */
static void walk_reader(void)
{
	unsigned int self = port_thread_id();

	script_thread(2);
	if (dice(2))
		bpf_rcu_read_lock_held() ? bpf_rcu_read_unlock() : bpf_rcu_read_lock();
	else
		rcu_read_lock_trace_held() ? rcu_read_unlock_trace() : rcu_read_lock_trace();
	script_thread(self);
}

static void walk_readers_leave(void)
{
	script_thread(2);
	if (bpf_rcu_read_lock_held())
		bpf_rcu_read_unlock();
	if (rcu_read_lock_trace_held())
		rcu_read_unlock_trace();
	script_thread(1);
}

static void walk_grace_period(void)
{
	static const unsigned int which[] = { 0, SCRIPT_RCU, SCRIPT_TRACE };
	struct bma_gp *gp = script_gp(which[dice(3)]);

	if (script_gp_begun(gp) == script_gp_ended(gp))
		script_gp_begin(gp);
	else
		script_gp_end(gp);
}

static void walk_failure(void)
{
	static const enum script_op ops[] = { SCRIPT_POP,    SCRIPT_PUSH,	 SCRIPT_REPLACE,
					      SCRIPT_DETACH, SCRIPT_PAGES_ALLOC, SCRIPT_FENCE };

	script_fail(ops[dice(6)], 1 + dice(5), dice(4));
}

static struct walk walks[3];
static bool walk_nested;

static void walk_step(void);

static void walk_interruption(void *arg)
{
	unsigned int i;

	(void)arg;
	walk_nested = true;
	for (i = dice(6); i; i--)
		walk_step();
	walk_nested = false;
}

static void walk_step(void)
{
	struct walk *w = &walks[dice(3)];
	unsigned int what = dice(100);

	if (what < 42)
		walk_alloc(w);
	else if (what < 84)
		walk_free(w);
	else if (what < 88)
		script_cpu(dice(3));
	else if (what < 93)
		walk_grace_period();
	else if (what < 94)
		walk_reader();
	else if (what < 96)
		walk_failure();
	else if (what < 98 && !walk_nested)
		script_interrupt(SCRIPT_ANY, 1 + dice(40), walk_interruption, NULL);
	else if (!walk_nested)
		bma_reclaim();
}

static void walk_check(void)
{
	uint64_t out = 0;
	unsigned int i;

	for (i = 0; i < 3; i++) {
		assert_int_equal(unit_stats(walks[i].ma).objs_in_use, walks[i].nr);
		out += walks[i].nr;
	}
	assert_int_equal(unit.out, out);
	unit_check_freed();
}

static void walk(uint64_t seed)
{
	unsigned int i;

	walk_state = seed;
	script_nr_cpus(3);
	script_slow(seed % 5 == 0);
	if (seed % 2)
		script_hold(unit_trace(), true);
	for (i = 0; i < 3; i++) {
		walks[i] = (struct walk){ .sized = i == 2 };
	}
	walks[0].ma = unit_own_ma(1024, false);
	walks[1].ma = unit_ma(24000, false);
	walks[2].ma = seed % 3 ? unit_own_ma(0, false) : unit_ma(0, false);
	for (i = 0; i < 2000; i++) {
		walk_step();
		if (i % 100 == 0)
			walk_check();
	}
	script_interrupt(SCRIPT_ANY, 0, NULL, NULL);
	for (i = 0; i < SCRIPT_NR_OPS; i++)
		script_fail(i, 1, 0);
	walk_check();
	walk_readers_leave();
	/* Some are destroyed as they are, some are emptied first. */
	for (i = 0; i < 3; i++)
		while (dice(2) && walks[i].nr)
			unit_free_rcu(walks[i].ma, walks[i].obj[--walks[i].nr]);
}

static void a_long_walk(void)
{
	uint64_t seed;

	for (seed = 1; seed <= 60; seed++) {
		unit.at = (unsigned int)seed;
		unit_begin();
		walk(seed);
		unit_end();
	}
	unit.at = 0;
	unit_begin();
}

static void alloc_and_free_interrupted_everywhere(void)
{
	unsigned int i;
	static void (*const run[])(void) = { scene_alloc, scene_free, scene_free_rcu };

	for (i = 0; i < 3; i++)
		assert_true(scene_explore(run[i]) > 900);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT_TEST(every_size_has_its_class),
		UNIT_TEST(check_size_says_what_alloc_would),
		UNIT_TEST(objects_of_every_fixed_size),
		UNIT_TEST(free_is_reused_at_once),
		UNIT_TEST(free_rcu_is_not_reused_before_its_grace_period),
		UNIT_TEST(null_and_zero_size_are_accepted),
		UNIT_TEST(bad_frees_are_told_and_do_nothing),
		UNIT_TEST(bad_raw_frees_too),
		UNIT_TEST(raw_free_is_for_any_allocator_and_at_once),
		UNIT_TEST(fixed_and_sized_are_not_mixed_up),
		UNIT_TEST(after_destroy_there_is_nothing),
		UNIT_TEST(only_kernel_waits),
		UNIT_TEST(kernel_fetches_from_every_cpu),
		UNIT_TEST(the_limit_with_own_readers),
		UNIT_TEST(the_limit_with_those_of_a_flavour),
		UNIT_TEST(over_the_limit_alloc_looks),
		UNIT_TEST(who_is_inside_is_refused),
		UNIT_TEST(the_limit_is_the_allocators),
		UNIT_TEST(alloc_and_free_interrupted_everywhere),
		UNIT_TEST(a_long_walk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
