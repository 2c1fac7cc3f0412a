// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_sorted.c - what goes back to the slab much at a time, sorted into its spans (slab.c)
 */
#include "every_access.h"
#include "../../core/slab.c"
#include "scenes.h"
#include "spans.h"

/* @n objects that readers have left, in magazines of @chain. */
static void chain_of(struct bma_chain *chain, void **obj, unsigned int n)
{
	struct bma_magazine *m = NULL;
	unsigned int i;

	*chain = (struct bma_chain){ 0 };
	for (i = 0; i < n; i++) {
		unit_gave(obj[i], UNIT_FREED);
		if (!m)
			m = bma_magazine_new();
		bma_magazine_push(c, m, obj[i]);
		if (m->count < c->capacity && i < n - 1)
			continue;
		bma_chain_add(chain, m);
		m = NULL;
	}
	port_add(&c->nr_ttrace, n, relaxed);
	unit_pass(1);
}

static void pages_go_unwiped(void *pages, size_t bytes)
{
	unsigned int i;

	for (i = 0; i < UNIT_MAX_OBJS; i++)
		if (unit.obj[i].obj >= (char *)pages && unit.obj[i].obj < (char *)pages + bytes)
			assert_true(unit_intact(&unit.obj[i]));
	unit_pages_go(pages, bytes);
}

/* In whatever order: what goes as a whole is not wiped, object by object; what stays is. */
static void whole_spans_go_as_they_are(void)
{
	struct bma_chain chain;
	void *obj[13], *free[13];
	unsigned int i;

	begin(1024);
	for (i = 0; i < 13; i++)
		obj[i] = get();
	for (i = 0; i < 13; i++)
		free[i] = obj[i * 5 % 13];
	assert_int_equal(port_load(&c->nr_spans, relaxed), 4);
	/* obj[0] stays; of the last span only one is out, and goes with the others. */
	chain_of(&chain, free + 1, 12);
	script_on_pages_free(pages_go_unwiped);
	assert_false(bma_slab_put_chain(c, &chain));
	port_pages_free_now();
	script_on_pages_free(unit_pages_go);
	assert_int_equal(port_load(&c->nr_spans, relaxed), 1);
	check_spans();
	unit_check_stats(scene_ma, 1, 0, 0, 0);
	for (i = 1; i < 4; i++)
		assert_true(unit_zero(unit_obj(obj[i])));
	unit_raw_free(obj[0]);
}

/* A part at a time; until all are sorted, none is put back. */
static void sorting_goes_in_parts(void)
{
	enum { N = 4000 };
	unsigned int i, sorts = 0, settles = 0, drawn = 0;
	struct bma_chain chain = { 0 };
	struct bma_magazine *m;

	begin(16);
	/* Some stay, so that no span goes. */
	for (i = 0; i < N / 2; i++) {
		m = bma_magazine_new();
		assert_true(bma_slab_fill(c, m));
		bma_chain_add(&chain, m);
		drawn += m->count;
		if (i % 100 == 0)
			scene_held[scene_nr_held++] = bma_slab_get(c);
	}
	port_add(&c->nr_ttrace, drawn, relaxed);
	while (chain.first) {
		assert_int_equal(port_load(&c->nr_from_slab, relaxed), drawn + scene_nr_held);
		assert_int_equal(port_load(&c->nr_ttrace, relaxed), drawn);
		assert_true(bma_slab_put_chain(c, &chain));
		sorts++;
	}
	while (bma_slab_put_chain(c, &chain))
		settles++;
	assert_int_equal(sorts, (N + 2047) / 2048);
	assert_true(settles > 0);
	assert_int_equal(port_load(&c->nr_ttrace, relaxed), 0);
	assert_int_equal(port_load(&c->nr_from_slab, relaxed), scene_nr_held);
	check_spans();
	while (scene_nr_held)
		bma_slab_put(c, scene_held[--scene_nr_held]);
}

/* @n magazines of objects that nobody had yet, as if readers had left them. */
static void draw(struct bma_chain *chain, unsigned int n)
{
	struct bma_magazine *m;

	while (n--) {
		m = bma_magazine_new();
		assert_true(bma_slab_fill(c, m));
		bma_chain_add(chain, m);
		port_add(&c->nr_ttrace, m->count, relaxed);
	}
}

/* The waiting map is of one use at a time. */
static void sorting_and_deferred_frees(void)
{
	struct bma_chain chain = { 0 };
	struct bma_magazine *m;
	void *obj[2];
	unsigned int i;

	begin(16);
	draw(&chain, 1500);
	for (i = 0; i < 2; i++)
		obj[i] = bma_slab_get(c);
	/* What is deferred waits until the sorted are back. */
	assert_true(bma_slab_put_chain(c, &chain));
	bma_slab_defer(c, obj[0]);
	assert_true(step());
	assert_false(c->deferred_wait.on);
	while (bma_slab_put_chain(c, &chain))
		assert_int_equal(port_load(&c->nr_deferred, relaxed), 1);
	assert_true(step());
	assert_true(c->deferred_wait.on);
	/* And what comes while that waits is not sorted, but goes back all the same. */
	m = bma_magazine_new();
	bma_magazine_push(c, m, obj[1]);
	bma_chain_add(&chain, m);
	port_add(&c->nr_ttrace, 1, relaxed);
	assert_false(bma_slab_put_chain(c, &chain));
	assert_int_equal(port_load(&c->nr_from_slab, relaxed), 1);
	assert_int_equal(port_load(&c->nr_ttrace, relaxed), 0);
	unit_pass(1);
	assert_false(step());
	assert_int_equal(port_load(&c->nr_from_slab, relaxed), 0);
	assert_int_equal(port_load(&c->nr_spans, relaxed), 0);
	check_spans();
}

/* A span that others emptied meanwhile, with sorted objects in it, is left to who sorts. */
static void a_span_that_is_emptied_while_it_sorts(void)
{
	struct bma_chain chain = { 0 };
	void *obj;

	begin(16);
	draw(&chain, 1500);
	obj = bma_slab_get(c);
	assert_true(bma_slab_put_chain(c, &chain));
	bma_slab_put(c, obj);
	port_store(&c->empties, true, relaxed);
	step();
	while (bma_slab_put_chain(c, &chain))
		;
	step();
	assert_int_equal(port_load(&c->nr_from_slab, relaxed), 0);
	assert_int_equal(port_load(&c->nr_spans, relaxed), 0);
	check_spans();
}

/* --- interrupted ------------------------------------------------------------------------------------- */

static struct bma_chain leaving;
static void *fourth;

/* Three of a span's four leave. */
static void prepare_three(void)
{
	void *obj[3];
	unsigned int i;

	begin(1024);
	for (i = 0; i < 3; i++)
		obj[i] = get();
	fourth = get();
	chain_of(&leaving, obj, 3);
}

static void prepare_three_and_one_in(void)
{
	prepare_three();
	unit_raw_free(fourth);
	fourth = NULL;
}

static void run_put_chain(void)
{
	assert_false(bma_slab_put_chain(c, &leaving));
}

static void nested_put(void *arg)
{
	(void)arg;
	unit_raw_free(fourth);
	fourth = NULL;
}

static void nested_get(void *arg)
{
	(void)arg;
	fourth = get();
}

static void check_nothing_is_lost(void)
{
	if (fourth)
		unit_raw_free(fourth);
	fourth = NULL;
	step();
	assert_int_equal(port_load(&c->nr_from_slab, relaxed), 0);
	assert_int_equal(port_load(&c->nr_spans, relaxed), 0);
	check_spans();
}

/* Others put the last object of a span back meanwhile, or take one of it. */
static void sorting_bears_interruption(void)
{
	static const struct unit_scene scenes[] = {
		{ .prepare = prepare_three,
		  .run = run_put_chain,
		  .nested = nested_put,
		  .check = check_nothing_is_lost },
		{ .prepare = prepare_three_and_one_in,
		  .run = run_put_chain,
		  .nested = nested_get,
		  .check = check_nothing_is_lost },
	};
	unsigned int i;

	for (i = 0; i < 2; i++)
		assert_true(unit_explore(&scenes[i]) > 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT_TEST(whole_spans_go_as_they_are),
		UNIT_TEST(sorting_goes_in_parts),
		UNIT_TEST(sorting_and_deferred_frees),
		UNIT_TEST(a_span_that_is_emptied_while_it_sorts),
		UNIT_TEST(sorting_bears_interruption),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
