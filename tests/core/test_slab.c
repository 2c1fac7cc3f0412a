// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_slab.c - spans: objects out of the system's pages, and back
 */
#include "every_access.h"
#include "../../core/slab.c"
#include "scenes.h"
#include "spans.h"

static void put(void *obj)
{
	unit_raw_free(obj);
}

/* --- one at a time ---------------------------------------------------------------------------------- */

static void a_refill_is_a_magazine_full(void)
{
	struct bma_magazine *m = bma_magazine_new();
	void *obj[2];

	begin(1024);
	assert_true(bma_slab_fill(c, m));
	assert_int_equal(m->count, 2);
	obj[0] = bma_magazine_pop(c, m);
	obj[1] = bma_magazine_pop(c, m);
	unit_got(c, obj[0]);
	unit_got(c, obj[1]);
	assert_int_equal(port_load(&c->nr_spans, relaxed), 1);
	check_spans();
	put(obj[0]);
	put(obj[1]);
	bma_magazine_free(m);
}

/* Three of four are out: a refill of two takes the one, and goes on in a new span. */
static void a_refill_may_be_short_or_of_two_spans(void)
{
	struct bma_magazine *m = bma_magazine_new();
	void *obj[6];
	unsigned int i;

	begin(1024);
	for (i = 0; i < 3; i++)
		obj[i] = get();
	assert_true(bma_slab_fill(c, m));
	assert_true(m->count >= 1);
	assert_int_equal(port_load(&c->nr_spans, relaxed), 1);
	while (m->count)
		unit_got(c, obj[i++] = bma_magazine_pop(c, m));
	check_spans();
	while (i)
		put(obj[--i]);
	/* Two spans with one object each: a refill takes both. */
	for (i = 0; i < 6; i++)
		obj[i] = get();
	for (; i < 8; i++)
		unit_got(c, scene_held[i] = bma_slab_get(c));
	put(scene_held[6]);
	put(obj[0]);
	check_spans();
	assert_true(bma_slab_fill(c, m));
	assert_int_equal(m->count, 2);
	assert_int_equal(port_load(&c->nr_spans, relaxed), 2);
	while (m->count)
		unit_raw_free((unit_got(c, obj[0] = bma_magazine_pop(c, m)), obj[0]));
	for (i = 1; i < 6; i++)
		put(obj[i]);
	put(scene_held[7]);
	bma_magazine_free(m);
}

static void objects_come_back_as_zero(void)
{
	char *obj;
	unsigned int i, j;

	begin(24);
	assert_int_equal(c->size, 32);
	for (i = 0; i < 300; i++) {
		obj = bma_slab_get(c);
		for (j = 0; j < c->size; j++)
			assert_int_equal(obj[j], 0);
		memset(obj, 0xa5, c->size);
		bma_slab_put(c, obj);
	}
}

static void each_cpus_copy_comes_back_as_zero(void)
{
	unsigned int cpu, i;
	char *obj, *copy;

	script_nr_cpus(3);
	scene_ma = unit_ma(40, true);
	c = scene_ma->caches;
	obj = bma_slab_get(c);
	for (i = 0; i < 3; i++) {
		/* The copies of one CPU only, then of another. */
		memset(bpf_per_cpu_ptr(obj, i), 0x5a, c->size);
		bma_slab_put(c, obj);
		assert_ptr_equal(bma_slab_get(c), obj);
		for (cpu = 0; cpu < 3; cpu++) {
			copy = bpf_per_cpu_ptr(obj, cpu);
			assert_true(unit_all(copy, c->size, 0));
		}
	}
	bma_slab_put(c, obj);
}

static void a_put_touches_no_neighbour(void)
{
	void *obj[8];
	unsigned int i;

	begin(24);
	for (i = 0; i < 8; i++)
		obj[i] = get();
	for (i = 0; i < 8; i += 2)
		put(obj[i]);
	unit_check_freed();
	for (i = 1; i < 8; i += 2)
		put(obj[i]);
}

static void a_span_goes_when_all_is_in(void)
{
	void *obj[12];
	size_t before;
	unsigned int i, wakes;

	begin(1024);
	obj[0] = get();
	before = script_pages_out();
	for (i = 1; i < 12; i++)
		obj[i] = get();
	assert_int_equal(script_pages_out(), before + 2 * 4096);
	for (i = 0; i < 11; i++) {
		wakes = script_calls(SCRIPT_WAKE);
		put(obj[i]);
		/* Who puts the last of a span has the reclaimer come. */
		assert_int_equal(script_calls(SCRIPT_WAKE), wakes + (i % 4 == 3));
	}
	assert_int_equal(script_pages_out(), before + 2 * 4096);
	assert_false(step());
	assert_int_equal(script_pages_out(), before);
	check_spans();
	put(obj[11]);
	assert_false(step());
	assert_int_equal(script_pages_out(), before - 4096);
	assert_int_equal(check_spans(), 3);
	assert_null(bma_pagemap_cache(obj[0]));
}

/* The first word of a span's map is full, a later one is not: nothing may be gone. */
static void a_span_with_one_out_stays_whole(void)
{
	void *obj[256];
	unsigned int i, out;

	begin(16);
	assert_int_equal(c->map_words, 4);
	for (out = 0; out < 256; out += 51) {
		for (i = 0; i < 256; i++)
			obj[i] = get();
		for (i = 0; i < 256; i++)
			if (i != out)
				put(obj[i]);
		check_spans();
		port_store(&c->empties, true, relaxed);
		step();
		check_spans();
		assert_int_equal(port_load(&c->nr_spans, relaxed), 1);
		put(obj[out]);
		step();
		assert_int_equal(port_load(&c->nr_spans, relaxed), 0);
	}
	assert_int_equal(check_spans(), 1);
}

/* Wherever it points, what is free in the span is found before another is mapped. */
static void the_hint_is_only_a_hint(void)
{
	unsigned int word, hint, i;
	struct bma_span *span;
	void *obj[256];

	begin(16);
	for (i = 0; i < 256; i++)
		obj[i] = get();
	span = first_span(c);
	for (word = 0; word < 4; word++) {
		for (hint = 0; hint < 4; hint++) {
			put(obj_at(span, word * 64 + 9));
			port_store(&span->hint, hint, relaxed);
			assert_ptr_equal(get(), obj_at(span, word * 64 + 9));
			assert_int_equal(port_load(&c->nr_spans, relaxed), 1);
		}
	}
	for (i = 0; i < 256; i++)
		put(obj[i]);
}

static void descriptors_are_used_again(void)
{
	void *obj[5 * 4];
	unsigned int i, round;

	begin(1024);
	for (round = 0; round < 10; round++) {
		for (i = 0; i < 20; i++)
			obj[i] = get();
		assert_int_equal(check_spans(), 5);
		for (i = 0; i < 20; i++)
			put(obj[i]);
		step();
		assert_int_equal(check_spans(), 5);
	}
}

/* Dead descriptors on the list: each refill clears away some, and none waits for all. */
static void many_dead_spans_cost_little_each(void)
{
	void *obj[60 * 4];
	unsigned int i, pops;

	begin(1024);
	for (i = 0; i < 240; i++)
		obj[i] = get();
	for (i = 0; i < 240; i++)
		put(obj[i]);
	step();
	assert_int_equal(port_load(&c->nr_spans, relaxed), 0);
	assert_int_equal(check_spans(), 60);
	for (i = 0; i < 4; i++) {
		pops = (uint32_t)(port_load(&c->partial_spans.head, relaxed) >> 32);
		obj[i] = get();
		pops = (uint32_t)(port_load(&c->partial_spans.head, relaxed) >> 32) - pops;
		assert_true(pops <= POPS + 2);
		assert_true(check_spans() <= 60);
	}
	while (i)
		put(obj[--i]);
}

static void what_fails_leaves_all_as_it_was(void)
{
	size_t before;
	unsigned int i;
	void *obj;

	begin(1024);
	before = script_pages_out();
	/* The span's pages; the pagemap's leaf. */
	for (i = 1; i <= 2; i++) {
		script_fail(SCRIPT_PAGES_ALLOC, i, 1);
		if (i == 1) {
			bma_meta_free(bma_meta_alloc(desc_class(c)), desc_class(c));
			before = script_pages_out();
		}
		assert_null(bma_slab_get(c));
		assert_int_equal(script_pages_out(), before);
		check_spans();
	}
	/* The descriptor. */
	obj = get();
	put(obj);
	step();
	for (i = 0; i < 4; i++)
		scene_held[i] = get();
	unit_no_meta();
	script_fail(SCRIPT_PAGES_ALLOC, 1, 0);
	before = script_pages_out();
	script_fail(SCRIPT_PAGES_ALLOC, 1, 1);
	assert_null(bma_slab_get(c));
	assert_int_equal(script_pages_out(), before);
	check_spans();
	unit_meta_back();
	for (i = 0; i < 4; i++)
		put(scene_held[i]);
	check_spans();
}

/* --- deferral ---------------------------------------------------------------------------------------- */

static void *destructed[64];
static unsigned int nr_destructed;

static void destruct(void *obj, void *ctx)
{
	unsigned int i;

	assert_ptr_equal(ctx, &nr_destructed);
	for (i = 0; i < nr_destructed; i++)
		assert_ptr_not_equal(destructed[i], obj);
	destructed[nr_destructed++] = obj;
	/* It still holds what it held. */
	assert_true(unit_intact(unit_obj(obj)));
}

static void defer(void *obj)
{
	unit_gave(obj, UNIT_FREED_RCU);
	bma_slab_defer(c, obj);
}

static void a_deferred_object_waits_for_both(void)
{
	unsigned int i, wakes;
	void *obj[6];

	script_hold(unit_trace(), true);
	begin(1024);
	nr_destructed = 0;
	bpf_mem_alloc_set_dtor(scene_ma, destruct, NULL, &nr_destructed);
	for (i = 0; i < 6; i++)
		obj[i] = get();
	wakes = script_calls(SCRIPT_WAKE);
	defer(obj[0]);
	assert_int_equal(script_calls(SCRIPT_WAKE), wakes + 1);
	unit_check_stats(scene_ma, 5, 0, 0, 1);
	assert_true(step());
	/* Too late for the wait that runs: its turn comes after. */
	defer(obj[1]);
	script_gp_pass(unit_rcu(), 1);
	assert_true(step());
	unit_check_freed();
	script_gp_pass(unit_trace(), 1);
	assert_true(step());
	unit_check_stats(scene_ma, 4, 0, 0, 1);
	assert_int_equal(nr_destructed, 1);
	unit_check_freed();
	script_gp_pass(unit_trace(), 1);
	assert_true(step());
	assert_int_equal(nr_destructed, 1);
	script_gp_pass(unit_rcu(), 1);
	assert_false(step());
	assert_int_equal(nr_destructed, 2);
	unit_check_stats(scene_ma, 4, 0, 0, 0);
	check_spans();
	/* All of a span at once. */
	for (i = 2; i < 6; i++)
		defer(obj[i]);
	step();
	unit_pass(1);
	step();
	assert_int_equal(port_load(&c->nr_spans, relaxed), 0);
	assert_int_equal(nr_destructed, 6);
	check_spans();
}

static void raw_free_runs_no_destructor_and_waits_for_nobody(void)
{
	void *obj[4];
	unsigned int i;

	begin(1024);
	nr_destructed = 0;
	bpf_mem_alloc_set_dtor(scene_ma, destruct, NULL, &nr_destructed);
	for (i = 0; i < 4; i++)
		obj[i] = unit_alloc(scene_ma);
	for (i = 0; i < 4; i++)
		unit_raw_free(obj[i]);
	bma_reclaim();
	assert_int_equal(nr_destructed, 0);
	assert_int_equal(port_load(&c->nr_spans, relaxed), 0);
	assert_int_equal(script_nr_reports(), 0);
}

static void a_chain_goes_back_with_its_destructors(void)
{
	struct bma_chain chain = { 0 };
	struct bma_magazine *m;
	unsigned int i;
	void *obj;

	begin(1024);
	nr_destructed = 0;
	bpf_mem_alloc_set_dtor(scene_ma, destruct, NULL, &nr_destructed);
	for (i = 0; i < 3; i++) {
		m = bma_magazine_new();
		do {
			obj = get();
			unit_gave(obj, UNIT_FREED);
			bma_magazine_push(c, m, obj);
		} while (i && m->count < 2);
		bma_chain_add(&chain, m);
	}
	port_add(&c->nr_ttrace, 5, relaxed);
	unit_pass(1);
	bma_slab_put_chain(c, &chain);
	port_pages_free_now();
	assert_int_equal(chain.first, 0);
	assert_int_equal(nr_destructed, 5);
	assert_int_equal(bma_world.meta.returned, 3);
	unit_check_stats(scene_ma, 0, 0, 0, 0);
	assert_int_equal(port_load(&c->nr_spans, relaxed), 0);
	check_spans();
}

/* --- interrupted everywhere ---------------------------------------------------------------------------- */

static unsigned int nr_out; /* objects out when the run begins, of three spans */
static bool from_the_first;
static int size;

static void get_one(void)
{
	void *obj = get();

	scene_held[scene_nr_held++] = obj;
}

static void put_one(void)
{
	if (scene_nr_held)
		put(scene_held[--scene_nr_held]);
}

static void prepare_spans(void)
{
	unsigned int per_span, i, n;

	begin(size);
	per_span = c->nr_objs;
	for (i = 0; i < 3 * per_span; i++)
		get_one();
	for (i = 0; nr_out < scene_nr_held; i++) {
		n = from_the_first ? 0 : scene_nr_held - 1;
		put(scene_held[n]);
		scene_held[n] = scene_held[--scene_nr_held];
	}
}

static void run_get_two(void)
{
	get_one();
	get_one();
}

static void run_put_two(void)
{
	put_one();
	put_one();
}

static void run_step(void)
{
	port_store(&c->empties, true, relaxed);
	step();
}

static void run_fill(void)
{
	struct bma_magazine *m = bma_magazine_new();

	assert_true(bma_slab_fill(c, m));
	while (m->count) {
		void *obj = bma_magazine_pop(c, m);

		unit_got(c, obj);
		scene_held[scene_nr_held++] = obj;
	}
	bma_magazine_free(m);
}

static void nested_get(void *arg)
{
	(void)arg;
	get_one();
}

static void nested_get_many(void *arg)
{
	unsigned int i;

	(void)arg;
	for (i = 0; i < 9; i++)
		get_one();
}

static void nested_put(void *arg)
{
	(void)arg;
	put_one();
}

static void nested_put_all(void *arg)
{
	(void)arg;
	while (scene_nr_held)
		put_one();
}

static void nested_put_all_and_get(void *arg)
{
	nested_put_all(arg);
	get_one();
}

static void nested_get_and_put(void *arg)
{
	nested_get_many(arg);
	run_put_two();
}

static void nested_step(void *arg)
{
	(void)arg;
	run_step();
}

static void nested_put_all_and_step(void *arg)
{
	nested_put_all(arg);
	run_step();
}

static void nested_all_over(void *arg)
{
	nested_put_all(arg);
	run_step();
	nested_get_many(arg);
	put_one();
}

static void check_slab(void)
{
	check_spans();
	assert_int_equal(port_load(&c->nr_from_slab, relaxed), scene_nr_held);
	while (scene_nr_held)
		put_one();
	check_spans();
	run_step();
	assert_int_equal(port_load(&c->nr_spans, relaxed), 0);
	check_spans();
}

static void explore_slab(int object_size, unsigned int step)
{
	static void (*const run[])(void) = { run_step, run_get_two, run_put_two, run_fill };
	static void (*const nested[])(void *) = {
		nested_get,	nested_get_many,	 nested_put,
		nested_put_all, nested_put_all_and_get,	 nested_get_and_put,
		nested_step,	nested_put_all_and_step, nested_all_over,
	};
	unsigned int r, n, points = 0;

	size = object_size;
	for (nr_out = 0; nr_out <= 12; nr_out += step) {
		for (r = 0; r < 4; r++) {
			/* The reclaimer is one; nothing of its own interrupts it. */
			for (n = 0; n < (r ? 9 : 6); n++) {
				struct unit_scene scene = { .prepare = prepare_spans,
							    .run = run[r],
							    .nested = nested[n],
							    .check = check_slab };

				from_the_first = nr_out % 2;
				points += unit_explore(&scene);
			}
		}
	}
	print_message("    (%u points)\n", points);
	assert_true(points > 1000);
}

static void spans_of_four_bear_interruption(void)
{
	explore_slab(1024, 1);
}

static void spans_of_one_bear_interruption(void)
{
	explore_slab(4096, 1);
}

/* A word of the map all in, the other all out: the reclaimer takes the one, sees the other, puts it back. */
static void prepare_two_words(void)
{
	unsigned int i;

	begin(32);
	assert_int_equal(c->map_words, 2);
	for (i = 0; i < 128; i++)
		scene_held[i % 64] = get();
	scene_nr_held = 64;
	for (i = 0; i < 64; i++)
		put(obj_at(first_span(c), i));
}

static void a_half_claimed_span_bears_interruption(void)
{
	struct unit_scene scene = { .prepare = prepare_two_words,
				    .run = run_step,
				    .nested = nested_get,
				    .check = check_slab };

	assert_true(unit_explore(&scene) > 5);
}

static void alloc_interrupted_everywhere(void)
{
	assert_true(scene_explore(scene_alloc) > 900);
}

/* The reclaimer comes by while an object is being deferred. */
static void prepare_defer(void)
{
	script_hold(unit_trace(), true);
	begin(1024);
	get_one();
	get_one();
	get_one();
}

static void run_defer(void)
{
	defer(scene_held[--scene_nr_held]);
}

static void nested_defer(void *arg)
{
	(void)arg;
	run_defer();
}

static void run_steps(void)
{
	step();
	unit_pass(1);
	step();
}

static void nested_steps(void *arg)
{
	(void)arg;
	run_defer();
	run_steps();
	run_steps();
}

static void run_defer_and_steps(void)
{
	run_defer();
	run_steps();
}

static void check_deferred(void)
{
	unit_check_freed();
	while (step())
		unit_pass(1);
	assert_int_equal(port_load(&c->nr_deferred, relaxed), 0);
	assert_int_equal(port_load(&c->nr_from_slab, relaxed), scene_nr_held);
	check_spans();
	while (scene_nr_held)
		put_one();
}

static void deferral_bears_interruption(void)
{
	struct unit_scene defer_scene = { .prepare = prepare_defer,
					  .run = run_defer,
					  .nested = nested_steps,
					  .check = check_deferred };
	struct unit_scene steps_scene = { .prepare = prepare_defer,
					  .run = run_defer_and_steps,
					  .nested = nested_defer,
					  .check = check_deferred };

	assert_true(unit_explore(&defer_scene) >= 4);
	assert_true(unit_explore(&steps_scene) > 30);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT_TEST(a_refill_is_a_magazine_full),
		UNIT_TEST(a_refill_may_be_short_or_of_two_spans),
		UNIT_TEST(objects_come_back_as_zero),
		UNIT_TEST(each_cpus_copy_comes_back_as_zero),
		UNIT_TEST(a_put_touches_no_neighbour),
		UNIT_TEST(a_span_goes_when_all_is_in),
		UNIT_TEST(a_span_with_one_out_stays_whole),
		UNIT_TEST(the_hint_is_only_a_hint),
		UNIT_TEST(descriptors_are_used_again),
		UNIT_TEST(many_dead_spans_cost_little_each),
		UNIT_TEST(what_fails_leaves_all_as_it_was),
		UNIT_TEST(a_deferred_object_waits_for_both),
		UNIT_TEST(raw_free_runs_no_destructor_and_waits_for_nobody),
		UNIT_TEST(a_chain_goes_back_with_its_destructors),
		UNIT_TEST(spans_of_four_bear_interruption),
		UNIT_TEST(spans_of_one_bear_interruption),
		UNIT_TEST(a_half_claimed_span_bears_interruption),
		UNIT_TEST(deferral_bears_interruption),
		UNIT_TEST(alloc_interrupted_everywhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
