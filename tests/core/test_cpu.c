// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_cpu.c - a CPU's magazines, at the edges
 */
#include "every_access.h"
#include "../../core/cpu.c"
#include "scenes.h"

static struct bpf_mem_cache *cache(const struct bpf_mem_alloc *ma)
{
	return ma->caches;
}

static struct bma_cpu *block_of(const struct bpf_mem_alloc *ma, unsigned int cpu)
{
	return port_load(&ma->group->cpus[cpu], acquire);
}

/* How many objects @which of this CPU's magazines shows; -1 for no magazine. */
static int fill(const struct bpf_mem_alloc *ma, enum bma_top which)
{
	bma_obj_t *top = port_load(&block_of(ma, port_cpu())->slot[0].top[which], relaxed);

	return top == BMA_NO_TOP ? -1 : (int)bma_top_count(cache(ma), top);
}

static void check_fill(const struct bpf_mem_alloc *ma, int loaded, int previous, int by_rcu)
{
	assert_int_equal(fill(ma, BMA_LOADED), loaded);
	assert_int_equal(fill(ma, BMA_PREVIOUS), previous);
	assert_int_equal(fill(ma, BMA_BY_RCU), by_rcu);
}

static void a_cpu_gets_a_block_when_it_is_seen(void)
{
	struct bpf_mem_alloc *ma;
	unsigned int wakes;
	void *obj;

	script_nr_cpus(3);
	ma = unit_ma(64, false);
	script_cpu(1);
	assert_ptr_equal(block_of(ma, 1), bma_no_cpu);
	wakes = script_calls(SCRIPT_WAKE);
	obj = unit_alloc(ma);
	assert_ptr_not_equal(block_of(ma, 1), bma_no_cpu);
	assert_ptr_equal(block_of(ma, 0), bma_no_cpu);
	assert_ptr_equal(block_of(ma, 2), bma_no_cpu);
	/* The reclaimer has something to look after now. */
	assert_true(script_calls(SCRIPT_WAKE) > wakes);
	check_fill(ma, 1, -1, -1);
	unit_free(ma, obj);
	check_fill(ma, 2, -1, -1);
}

/* Metadata holds whatever it held; a block begins with nothing all the same. */
static void a_new_block_is_blank(void)
{
	struct bpf_mem_alloc *ma = unit_ma(64, false);
	size_t bytes = bma_cpu_bytes(1);
	struct bma_cpu *block = bma_meta_alloc(bma_meta_class(bytes));
	unsigned int i;

	memset(block, 0xff, bytes);
	bma_meta_free(block, bma_meta_class(bytes));
	assert_ptr_equal(bma_cpu_new(ma->group), block);
	assert_int_equal(port_load(&block->busy, relaxed), 0);
	assert_int_equal(block->nr_slots, 1);
	assert_int_equal(block->idle, 0);
	for (i = 0; i < BMA_NR_TOPS; i++) {
		assert_ptr_equal(port_load(&block->slot[0].top[i], relaxed), BMA_NO_TOP);
		assert_ptr_equal(block->slot[0].seen[i], BMA_NO_TOP);
	}
	bma_cpu_free(block);
}

static unsigned int wakes(void)
{
	static unsigned int before;
	unsigned int now = script_calls(SCRIPT_WAKE), n = now - before;

	before = now;
	return n;
}

/* Whatever may come to lie somewhere without a call, the reclaimer is told of. */
static void the_reclaimer_is_woken(void)
{
	struct bpf_mem_alloc *ma = unit_ma(64, false);
	void *obj[4];

	wakes();
	script_fail(SCRIPT_REPLACE, 1, SCRIPT_EVER);
	obj[0] = unit_alloc(ma);
	assert_int_equal(wakes(), 1); /* not a block, but what the failed step left in the depot */
	script_fail(SCRIPT_REPLACE, 1, 0);
	unit_alloc_many(ma, obj + 1, 2);
	assert_int_equal(wakes(), 2); /* two magazines for alloc */
	unit_free_rcu(ma, obj[0]);
	assert_int_equal(wakes(), 1); /* one for free_rcu */
	unit_free_rcu(ma, obj[1]);
	assert_int_equal(wakes(), 0);
	script_fail(SCRIPT_PUSH, 1, 1);
	script_fail(SCRIPT_REPLACE, 1, 1);
	unit_free_rcu(ma, obj[2]);
	assert_int_equal(wakes(), 1); /* one that is on no CPU and has no cookie */
	bma_reclaim();
	bma_reclaim();
	unit_free(ma, unit_alloc(ma));
	assert_true(wakes() >= 1); /* the first after a harvest */
}

static void the_pair_swaps_at_the_edges(void)
{
	struct bpf_mem_alloc *ma = unit_ma(64, false);
	void *obj[6];

	unit_alloc_many(ma, obj, 6);
	check_fill(ma, 0, 0, -1);
	unit_free_many(ma, obj, 2);
	check_fill(ma, 2, 0, -1);
	unit_free(ma, obj[2]);
	check_fill(ma, 1, 2, -1);
	unit_free(ma, obj[3]);
	check_fill(ma, 2, 2, -1);
	/* Both full: one goes to the depot. */
	unit_free(ma, obj[4]);
	check_fill(ma, 1, 2, -1);
	assert_int_equal(port_load(&cache(ma)->nr_depot, relaxed), 2);
	unit_check_stats(ma, 1, 5, 0, 0);
	unit_free(ma, obj[5]);
	unit_alloc_many(ma, obj, 6);
	check_fill(ma, 0, 0, -1);
	assert_int_equal(port_load(&cache(ma)->nr_depot, relaxed), 0);
	unit_free_many(ma, obj, 6);
}

static void to_and_fro(struct bpf_mem_alloc *ma, void **obj, unsigned int n)
{
	while (n--) {
		unit_free(ma, obj[0]);
		obj[0] = unit_alloc(ma);
		unit_free_many(ma, obj, 2);
		unit_alloc_many(ma, obj, 2);
	}
}

/* To and fro by no more than a magazine costs no depot, wherever it is. */
static void the_edge_does_not_thrash(void)
{
	struct bpf_mem_alloc *ma = unit_ma(64, false);
	struct bpf_mem_cache *c = cache(ma);
	void *obj[16];
	unsigned int nr_freed;
	uint64_t depot, partial;

	unit_alloc_many(ma, obj, 16);
	for (nr_freed = 1; nr_freed <= 8; nr_freed++) {
		unit_free(ma, obj[16 - nr_freed]);
		to_and_fro(ma, obj, 1);
		depot = port_load(&c->depot.head, relaxed);
		partial = port_load(&c->partial.head, relaxed);
		to_and_fro(ma, obj, 100);
		assert_int_equal(port_load(&c->depot.head, relaxed), depot);
		assert_int_equal(port_load(&c->partial.head, relaxed), partial);
	}
	unit_free_many(ma, obj, 8);
}

static void free_rcu_fills_a_magazine_of_its_own(void)
{
	struct bpf_mem_alloc *ma = unit_ma(64, false);
	void *obj[5];

	unit_alloc_many(ma, obj, 5);
	check_fill(ma, 1, 0, -1);
	/* The first is the one that the allocs emptied. */
	unit_free_rcu_many(ma, obj, 2);
	check_fill(ma, 1, -1, 2);
	unit_check_stats(ma, 3, 1, 2, 0);
	assert_int_equal(script_calls(SCRIPT_BARRIER), 0);
	/* It leaves the CPU when it is full, and gets its cookie then. */
	unit_free_rcu(ma, obj[2]);
	check_fill(ma, 1, -1, 1);
	assert_int_equal(script_calls(SCRIPT_BARRIER), 1);
	assert_int_equal(script_gp_wanted(unit_rcu()), SCRIPT_GP_FIRST);
	unit_check_stats(ma, 2, 1, 3, 0);
	unit_free_rcu_many(ma, obj + 3, 2);
}

static void who_frees_very_much_gives_way(void)
{
	struct bpf_mem_alloc *ma = unit_ma(1 << 17, false);
	void *obj[66];

	unit_alloc_many(ma, obj, 66);
	unit_free_rcu_many(ma, obj, 64);
	assert_int_equal(script_calls(SCRIPT_YIELD), 0);
	unit_free_rcu_many(ma, obj + 64, 2);
	assert_true(script_calls(SCRIPT_YIELD) > 0);
}

static void what_comes_first_a_refill_takes(void)
{
	struct bpf_mem_alloc *ma = unit_ma(64, false);
	void *obj[12], *depot, *ripe;
	int64_t slab;

	unit_alloc_many(ma, obj, 12);
	unit_free_rcu_many(ma, obj, 4);
	unit_free_many(ma, obj + 4, 6);
	check_fill(ma, 2, 2, 2);
	slab = port_load(&cache(ma)->nr_from_slab, relaxed);
	unit_pass(1);
	unit_alloc_many(ma, obj + 4, 4); /* loaded, previous */
	assert_int_equal(port_load(&cache(ma)->nr_depot, relaxed), 2);
	depot = unit_alloc(ma);
	assert_int_equal(port_load(&cache(ma)->nr_depot, relaxed), 0);
	assert_int_equal(port_load(&cache(ma)->nr_limbo, relaxed), 2);
	obj[9] = unit_alloc(ma);
	ripe = unit_alloc(ma);
	assert_true(ripe == obj[0] || ripe == obj[1]);
	assert_int_equal(port_load(&cache(ma)->nr_limbo, relaxed), 0);
	obj[8] = unit_alloc(ma);
	assert_int_equal(port_load(&cache(ma)->nr_from_slab, relaxed), slab);
	obj[1] = unit_alloc(ma);
	assert_true(port_load(&cache(ma)->nr_from_slab, relaxed) > slab);
	unit_free(ma, depot);
	unit_free(ma, ripe);
	unit_free(ma, obj[1]);
	unit_free_many(ma, obj + 4, 6);
	unit_free_many(ma, obj + 10, 2);
}

/* --- steps that fail ------------------------------------------------------------------------------ */

static void work(struct bpf_mem_alloc *ma)
{
	void *obj[7];
	unsigned int round;

	for (round = 0; round < 3; round++) {
		unit_alloc_many(ma, obj, 7);
		unit_free_rcu_many(ma, obj, 3);
		unit_free_many(ma, obj + 3, 4);
		assert_int_equal(unit_stats(ma).objs_in_use, 0);
		unit_pass(round);
	}
}

static void any_step_may_fail(enum script_op op)
{
	unsigned int nth, count, i, calls;
	const unsigned int counts[] = { 1, 2, 3, SCRIPT_EVER };

	for (i = 0; i < 4; i++) {
		count = counts[i];
		for (nth = 1, calls = 0; nth == 1 || nth <= calls; nth++) {
			unit_begin();
			struct bpf_mem_alloc *ma = unit_ma(1024, false);

			calls = script_calls(op);
			script_fail(op, nth, count);
			work(ma);
			calls = script_calls(op) - calls;
			/* What failed steps left behind is there for the next. */
			assert_true(unit_stats(ma).objs_free + unit_stats(ma).objs_waiting_rcu <=
				    21);
			unit_check_freed();
			script_fail(op, 1, 0);
			unit_end();
		}
		assert_true(calls > 10);
	}
	unit_begin();
}

static void a_replace_may_fail(void)
{
	any_step_may_fail(SCRIPT_REPLACE);
}

static void a_pop_may_fail(void)
{
	any_step_may_fail(SCRIPT_POP);
}

static void a_push_may_fail(void)
{
	any_step_may_fail(SCRIPT_PUSH);
}

/* As long as no step works, the same few magazines are used again and again. */
static void failed_steps_pile_up_nothing(void)
{
	struct bpf_mem_alloc *ma = unit_ma(64, false);
	void *obj[2];
	unsigned int i;

	script_fail(SCRIPT_POP, 1, SCRIPT_EVER);
	script_fail(SCRIPT_PUSH, 1, SCRIPT_EVER);
	script_fail(SCRIPT_REPLACE, 1, SCRIPT_EVER);
	for (i = 0; i < 1000; i++) {
		unit_alloc_many(ma, obj, 2);
		unit_free_many(ma, obj, 2);
	}
	assert_true(unit_stats(ma).objs_free <= 4);
	for (i = 0; i < 1000; i++) {
		unit_alloc_many(ma, obj, 2);
		unit_free_rcu_many(ma, obj, 2);
		unit_pass(1);
	}
	assert_true(unit_stats(ma).objs_waiting_rcu + unit_stats(ma).objs_free <= 8);
}

static void freed_partly_on_many_cpus(void)
{
	struct bpf_mem_alloc *ma;
	void *obj[16], *again[16];
	unsigned int i;

	script_nr_cpus(8);
	ma = unit_ma(64, false);
	for (i = 0; i < 16; i++) {
		script_cpu(i / 2);
		obj[i] = unit_alloc(ma);
	}
	for (i = 0; i < 16; i++) {
		script_cpu(7 - i % 8);
		unit_free(ma, obj[i]);
	}
	for (i = 0; i < 16; i++) {
		script_cpu(i % 8);
		again[i] = unit_alloc(ma);
	}
	unit_check_stats(ma, 16, unit_stats(ma).objs_free, 0, 0);
	unit_free_many(ma, again, 16);
}

/* --- no memory -------------------------------------------------------------------------------------- */

static void no_memory_for_a_block(void)
{
	struct bpf_mem_alloc *ma;
	void *obj[8];
	unsigned int i;

	script_nr_cpus(2);
	ma = unit_ma(64, false);
	unit_alloc_many(ma, obj, 7);
	unit_no_meta();
	script_cpu(1);
	/* All without a magazine on this CPU: from the depot's, or straight from a span. */
	obj[7] = unit_alloc(ma);
	assert_ptr_equal(block_of(ma, 1), bma_no_cpu);
	for (i = 0; i < 4; i++)
		unit_free(ma, obj[i]);
	for (; i < 8; i++)
		unit_free_rcu(ma, obj[i]);
	assert_ptr_equal(block_of(ma, 1), bma_no_cpu);
	assert_int_equal(unit_stats(ma).objs_in_use, 0);
	unit_check_freed();
	unit_meta_back();
	obj[0] = unit_alloc(ma);
	assert_ptr_not_equal(block_of(ma, 1), bma_no_cpu);
	unit_free(ma, obj[0]);
}

/* A magazine in hand and no block to load it in: what all CPUs without one share is not written. */
static void a_magazine_but_no_block(void)
{
	struct bpf_mem_alloc *ma;
	unsigned int i;
	void *obj[4];

	script_nr_cpus(2);
	ma = unit_ma(64, false);
	unit_alloc_many(ma, obj, 4);
	script_fail(SCRIPT_REPLACE, 1, SCRIPT_EVER);
	script_fail(SCRIPT_PUSH, 1, SCRIPT_EVER);
	unit_free(ma, obj[0]);
	unit_free_rcu(ma, obj[1]);
	script_fail(SCRIPT_REPLACE, 1, 0);
	script_fail(SCRIPT_PUSH, 1, 0);
	unit_no_meta();
	script_cpu(1);
	unit_free(ma, obj[2]);
	unit_free_rcu(ma, obj[3]);
	obj[0] = unit_alloc(ma);
	unit_free(ma, obj[0]);
	assert_ptr_equal(block_of(ma, 1), bma_no_cpu);
	for (i = 0; i < BMA_NR_TOPS; i++)
		assert_ptr_equal(port_load(&bma_no_cpu->slot[0].top[i], relaxed), BMA_NO_TOP);
	unit_check_stats(ma, 0, 2, 2, 0);
}

static void frees_without_memory_come_back(bool rcu)
{
	struct bpf_mem_alloc *ma = unit_ma(1024, false);
	void *obj[8], *again[8];
	unsigned int i;

	script_hold(unit_trace(), true);
	unit_alloc_many(ma, obj, 8);
	unit_no_meta();
	for (i = 0; i < 8; i++) {
		if (rcu)
			unit_free_rcu(ma, obj[i]);
		else
			unit_free(ma, obj[i]);
	}
	assert_int_equal(unit_stats(ma).objs_in_use, 0);
	assert_true(unit_stats(ma).objs_waiting_ttrace >= 4);
	unit_rounds(1);
	unit_check_freed();
	/* Either kind of reader holds them. */
	script_gp_pass(unit_rcu(), 2);
	unit_rounds(2);
	unit_check_freed();
	assert_true(unit_stats(ma).objs_waiting_ttrace >= 4);
	script_gp_pass(unit_trace(), 2);
	unit_rounds(2);
	assert_int_equal(unit_stats(ma).objs_waiting_ttrace, 0);
	unit_meta_back();
	unit_alloc_many(ma, again, 8);
	unit_free_many(ma, again, 8);
}

static void free_without_memory(void)
{
	frees_without_memory_come_back(false);
}

static void free_rcu_without_memory(void)
{
	frees_without_memory_come_back(true);
}

/* Metadata ends after @n pages: whatever was the last to get some, all goes on. */
static void memory_ends_anywhere(void)
{
	unsigned int n, i, got;
	void *obj[40];

	for (n = 0; n <= 8; n++) {
		unit_begin();
		script_nr_cpus(2);
		struct bpf_mem_alloc *ma = unit_ma(1024, false);

		obj[0] = unit_alloc(ma);
		unit_meta_left(n);
		/* Pages of spans there are, so that only metadata ends. */
		script_fail(SCRIPT_PAGES_ALLOC, 1, 0);
		for (got = 1; got < 40; got++) {
			script_cpu(got % 2);
			script_fail(SCRIPT_PAGES_ALLOC, got % 3 + 1, 1);
			obj[got] = unit_try(ma, 0);
			if (!obj[got])
				break;
		}
		script_fail(SCRIPT_PAGES_ALLOC, 1, SCRIPT_EVER);
		for (i = 0; i < got; i++) {
			script_cpu(i % 2);
			if (i % 3)
				unit_free(ma, obj[i]);
			else
				unit_free_rcu(ma, obj[i]);
		}
		assert_int_equal(unit_stats(ma).objs_in_use, 0);
		unit_settle();
		unit_end();
	}
	unit_begin();
}

/* --- everything nested in everything ---------------------------------------------------------------- */

static void alloc_interrupted_everywhere(void)
{
	assert_true(scene_explore(scene_alloc) > 900);
}

static void free_interrupted_everywhere(void)
{
	assert_true(scene_explore(scene_free) > 1000);
}

static void free_rcu_interrupted_everywhere(void)
{
	assert_true(scene_explore(scene_free_rcu) > 1000);
}

/* The first allocation on a CPU, and a nested one that makes the block first. */
static void prepare_new(void)
{
	scene_ma = unit_ma(scene_size, false);
	scene_nr_held = 0;
}

static void the_first_on_a_cpu_is_interrupted(void)
{
	struct unit_scene scene = { .prepare = prepare_new,
				    .run = scene_alloc,
				    .nested = scene_nested_alloc,
				    .check = scene_check };

	assert_true(unit_explore(&scene) > 10);
}

/* --- no fast paths ------------------------------------------------------------------------------------ */

static void *alloc_64(struct bpf_mem_alloc *ma, bool sized)
{
	return sized ? unit_alloc_size(ma, 64) : unit_alloc(ma);
}

/* What the CPU has is handed out, also where nothing else would be (at the limit of limbo, say). */
static void without_fast_paths_magazines_serve(void)
{
	struct bpf_mem_alloc *ma;
	unsigned int sized, replaced;
	void *obj, *other;

	script_slow(true);
	for (sized = 0; sized < 2; sized++) {
		ma = unit_ma(sized ? 0 : 64, false);
		assert_ptr_equal(ma->cpus, port_load(&bma_world.no_cpus, relaxed));
		obj = alloc_64(ma, sized);
		other = alloc_64(ma, sized);
		unit_free_rcu(ma, other);
		replaced = script_calls(SCRIPT_REPLACE);
		bpf_mem_alloc_set_limbo_limit(ma, 1);
		unit_free(ma, obj);
		assert_ptr_equal(alloc_64(ma, sized), obj);
		unit_free_rcu(ma, obj);
		assert_int_equal(script_calls(SCRIPT_REPLACE), replaced);
		bpf_mem_alloc_set_limbo_limit(ma, 0);
		unit_pass(1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT_TEST(a_cpu_gets_a_block_when_it_is_seen),
		UNIT_TEST(a_new_block_is_blank),
		UNIT_TEST(the_reclaimer_is_woken),
		UNIT_TEST(the_pair_swaps_at_the_edges),
		UNIT_TEST(the_edge_does_not_thrash),
		UNIT_TEST(free_rcu_fills_a_magazine_of_its_own),
		UNIT_TEST(who_frees_very_much_gives_way),
		UNIT_TEST(what_comes_first_a_refill_takes),
		UNIT_TEST(a_replace_may_fail),
		UNIT_TEST(a_pop_may_fail),
		UNIT_TEST(a_push_may_fail),
		UNIT_TEST(failed_steps_pile_up_nothing),
		UNIT_TEST(freed_partly_on_many_cpus),
		UNIT_TEST(no_memory_for_a_block),
		UNIT_TEST(a_magazine_but_no_block),
		UNIT_TEST(free_without_memory),
		UNIT_TEST(free_rcu_without_memory),
		UNIT_TEST(memory_ends_anywhere),
		UNIT_TEST(the_first_on_a_cpu_is_interrupted),
		UNIT_TEST(alloc_interrupted_everywhere),
		UNIT_TEST(free_interrupted_everywhere),
		UNIT_TEST(free_rcu_interrupted_everywhere),
		UNIT_TEST(without_fast_paths_magazines_serve),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
