// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_reclaim.c - the reclaimer's round
 */
#include "every_access.h"
#include "../../core/reclaim.c"
#include "scenes.h"

static struct bma_cpu *block_of(const struct bpf_mem_alloc *ma, unsigned int cpu)
{
	return port_load(&ma->group->cpus[cpu], acquire);
}

static void nothing_to_do(void)
{
	struct bpf_mem_alloc *ma;

	assert_false(bma_reclaim());
	ma = unit_ma(64, false);
	assert_false(bma_reclaim());
	assert_ptr_equal(bma_world.groups, ma->group);
	assert_false(bma_reclaim());
	assert_int_equal(script_calls(SCRIPT_DETACH), 0);
}

/* For what somebody waits for, it comes by again, with no allocator at all. */
static void somebody_waits(void)
{
	unsigned int which;

	for (which = 0; which < SCRIPT_NR_GPS; which++) {
		struct bma_gp *gp = script_gp(which);

		if (!gp->driven)
			script_hold(gp, true);
		bma_gp_want(gp, bma_gp_number(gp), false);
		assert_true(bma_reclaim());
		assert_true(bma_reclaim());
		if (gp->driven)
			script_gp_pass(gp, 1);
		else
			script_hold(gp, false);
		assert_false(bma_reclaim());
	}
}

static void every_allocator_is_adopted(void)
{
	struct bpf_mem_alloc *ma[4];
	struct bma_group *g;
	unsigned int i, n;

	for (i = 0; i < 4; i++) {
		ma[i] = unit_ma(64, false);
		if (i == 1)
			bma_reclaim();
	}
	bma_adopt();
	for (g = bma_world.groups, n = 0; g; g = g->next)
		n++;
	assert_int_equal(n, 4);
	/* From the middle, the end and the beginning, one after the other. */
	for (i = 0; i < 4; i++) {
		unit_destroy(ma[(i + 1) % 4]);
		assert_true(bma_reclaim());
		unit_pass(1);
		bma_reclaim();
		for (g = bma_world.groups, n = 0; g; g = g->next, n++)
			assert_ptr_not_equal(g, ma[(i + 1) % 4]->group);
		assert_int_equal(n, 3 - i);
	}
}

static void an_idle_cpu_is_harvested(void)
{
	struct bpf_mem_alloc *ma;
	struct bma_cpu *block;
	void *obj[4];
	unsigned int i;

	script_nr_cpus(2);
	ma = unit_ma(64, false);
	script_cpu(1);
	unit_alloc_many(ma, obj, 4);
	unit_free_many(ma, obj, 3);
	block = block_of(ma, 1);
	/* The first visit sees it for the first time. */
	assert_true(bma_reclaim());
	for (i = 1; i < IDLE_TICKS; i++) {
		assert_true(bma_reclaim());
		assert_ptr_equal(block_of(ma, 1), block);
	}
	assert_int_equal(script_calls(SCRIPT_DETACH), 0);
	assert_true(bma_reclaim());
	assert_int_equal(script_calls(SCRIPT_DETACH), 1);
	assert_ptr_not_equal(block_of(ma, 1), block);
	assert_int_equal(port_load(&ma->caches->nr_depot, relaxed), 3);
	unit_check_stats(ma, 1, 3, 0, 0);
	/* And whoever runs elsewhere can have them. */
	script_cpu(0);
	unit_alloc_many(ma, obj, 3);
	assert_int_equal(port_load(&ma->caches->nr_from_slab, relaxed), 4);
	unit_free_many(ma, obj, 4);
}

static void a_cpu_that_moves_is_left_alone(void)
{
	struct bpf_mem_alloc *ma = unit_ma(64, false);
	void *obj = unit_alloc(ma);
	unsigned int i;

	for (i = 0; i < 10 * IDLE_TICKS; i++) {
		bma_reclaim();
		if (i % (IDLE_TICKS - 1) == 0) {
			unit_free(ma, obj);
			bma_reclaim();
			obj = unit_alloc(ma);
		}
	}
	assert_int_equal(script_calls(SCRIPT_DETACH), 0);
	unit_free(ma, obj);
}

static void freed_rcu_and_left(void)
{
	struct bpf_mem_alloc *ma = unit_ma(64, false);
	void *obj[3];

	unit_alloc_many(ma, obj, 3);
	bma_reclaim();
	unit_free_rcu(ma, obj[0]);
	/* One tick later it is there, two later it is still there. */
	assert_true(bma_reclaim());
	assert_int_equal(script_calls(SCRIPT_DETACH), 0);
	/* Another joins it: the first is no younger for that. */
	unit_free_rcu(ma, obj[1]);
	assert_true(bma_reclaim());
	assert_int_equal(script_calls(SCRIPT_DETACH), 1);
	assert_int_equal(script_calls(SCRIPT_BARRIER), 1);
	unit_check_stats(ma, 1, unit_stats(ma).objs_free, 2, 0);
	unit_pass(1);
	bma_reclaim();
	assert_int_equal(unit_stats(ma).objs_waiting_rcu, 0);
	unit_free(ma, obj[2]);
}

/* A magazine that came in between the visits is not stale. */
static void freed_rcu_all_the_time(void)
{
	struct bpf_mem_alloc *ma = unit_ma(64, false);
	unsigned int i;

	for (i = 0; i < 40; i++) {
		unit_free_rcu(ma, unit_alloc(ma));
		unit_free_rcu(ma, unit_alloc(ma));
		bma_reclaim();
		unit_pass(1);
	}
	assert_true(script_calls(SCRIPT_DETACH) <= 1);
}

static void a_flush_is_for_every_cpu(void)
{
	struct bpf_mem_alloc *ma;
	unsigned int cpu;

	script_nr_cpus(4);
	ma = unit_ma(64, false);
	for (cpu = 0; cpu < 4; cpu++) {
		script_cpu(cpu);
		if (cpu != 2)
			unit_free_rcu(ma, unit_alloc(ma));
	}
	assert_ptr_equal(block_of(ma, 2), bma_no_cpu);
	port_store(&ma->group->want_flush, true, relaxed);
	bma_reclaim();
	assert_int_equal(script_calls(SCRIPT_DETACH), 3);
	assert_int_equal(port_load(&ma->caches->nr_limbo, relaxed), 3);
	assert_false(port_load(&ma->group->want_flush, relaxed));
	bma_reclaim();
	assert_int_equal(script_calls(SCRIPT_DETACH), 3);
	assert_ptr_equal(block_of(ma, 2), bma_no_cpu);
}

static void what_cannot_be_detached_is_asked_for_again(void)
{
	struct bpf_mem_alloc *ma = unit_ma(64, false);
	unsigned int i;

	unit_free_rcu(ma, unit_alloc(ma));
	script_fail(SCRIPT_DETACH, 1, 3);
	bma_reclaim();
	for (i = 0; i < 3; i++) {
		assert_true(bma_reclaim());
		unit_check_stats(ma, 0, unit_stats(ma).objs_free, 1, 0);
		assert_int_equal(port_load(&ma->caches->nr_limbo, relaxed), 0);
	}
	assert_true(bma_reclaim());
	assert_int_equal(port_load(&ma->caches->nr_limbo, relaxed), 1);
}

/* The CPU is left without a block, and gets another when there is memory; the one it had is the spare. */
static void no_memory_for_a_spare_block(void)
{
	struct bpf_mem_alloc *ma = unit_ma(64, false);
	struct bma_cpu *block;
	void *obj[2];

	obj[0] = unit_alloc(ma);
	obj[1] = unit_alloc(ma);
	unit_free_rcu(ma, obj[0]);
	block = block_of(ma, 0);
	unit_no_meta();
	bma_reclaim();
	bma_reclaim();
	assert_int_equal(script_calls(SCRIPT_DETACH), 1);
	assert_int_equal(port_load(&ma->caches->nr_limbo, relaxed), 1);
	assert_ptr_equal(block_of(ma, 0), bma_no_cpu);
	assert_ptr_equal(ma->group->spare, block);
	/* All works without. */
	unit_free(ma, obj[1]);
	unit_free(ma, unit_alloc(ma));
	assert_ptr_equal(block_of(ma, 0), bma_no_cpu);
	unit_meta_back();
	unit_free_rcu(ma, unit_alloc(ma));
	assert_ptr_not_equal(block_of(ma, 0), bma_no_cpu);
	/* And from then on there is one to leave in its place. */
	unit_no_meta();
	bma_reclaim();
	bma_reclaim();
	assert_int_equal(script_calls(SCRIPT_DETACH), 2);
	assert_ptr_equal(block_of(ma, 0), block);
}

/* Every class of a kmalloc-like allocator, on each CPU. */
static void all_slots_are_harvested(void)
{
	struct bpf_mem_alloc *ma;
	unsigned int cpu, i;
	size_t size;
	void *obj[2][11];

	script_nr_cpus(2);
	ma = unit_ma(0, false);
	for (cpu = 0; cpu < 2; cpu++) {
		script_cpu(cpu);
		for (i = 0; i < 11; i++) {
			size = ma->caches[i].size;
			obj[cpu][i] = unit_alloc_size(ma, size);
			unit_free_rcu(ma, unit_alloc_size(ma, size));
		}
	}
	unit_check_stats(ma, 22, unit_stats(ma).objs_free, 22, 0);
	unit_settle();
	unit_check_stats(ma, 22, 0, 0, 0);
	for (i = 0; i < 11; i++) {
		unit_free(ma, obj[0][i]);
		unit_free_rcu(ma, obj[1][i]);
	}
	unit_settle();
	unit_check_stats(ma, 0, 0, 0, 0);
	assert_int_equal(unit_stats(ma).spans, 0);
}

/* --- trim ------------------------------------------------------------------------------------------ */

/* Fill the depot with @n objects; the CPU's own magazines are empty then. */
static void fill_depot(struct bpf_mem_alloc *ma, void **obj, unsigned int n)
{
	unit_alloc_many(ma, obj, n);
	unit_free_many(ma, obj, n);
	bma_reclaim_harvest(ma->group, port_cpu());
}

static void what_the_depot_did_not_need_leaves_it(void)
{
	struct bpf_mem_alloc *ma = unit_ma(1024, false);
	struct bpf_mem_cache *c = ma->caches;
	void *obj[20], *need[8];
	unsigned int i;

	bma_reclaim();
	fill_depot(ma, obj, 20);
	assert_int_equal(port_load(&c->nr_depot, relaxed), 20);
	while (bma_world.round % TRIM_ROUNDS)
		bma_reclaim();
	/* It has not seen this depot before; what is taken between two looks is what it needs. */
	assert_int_equal(port_load(&c->nr_depot, relaxed), 20);
	unit_alloc_many(ma, need, 8);
	assert_int_equal(port_load(&c->nr_depot, relaxed), 12);
	unit_free_many(ma, need, 8);
	bma_reclaim_harvest(ma->group, port_cpu());
	for (i = 0; i < TRIM_ROUNDS - 1; i++) {
		bma_reclaim();
		assert_int_equal(port_load(&c->nr_depot, relaxed), 20);
	}
	bma_reclaim();
	assert_int_equal(port_load(&c->nr_depot, relaxed), 8);
	unit_check_stats(ma, 0, 8, 0, 12);
	/* Nothing needs the rest any more. */
	for (i = 0; i < TRIM_ROUNDS; i++)
		assert_true(bma_reclaim());
	assert_int_equal(port_load(&c->nr_depot, relaxed), 0);
	unit_check_stats(ma, 0, 0, 0, 20);
}

static void a_trim_waits_for_both(unsigned int first, unsigned int second)
{
	struct bpf_mem_alloc *ma;
	unsigned int i, spans;
	void *obj[20];

	script_hold(unit_trace(), true);
	ma = unit_ma(1024, false);
	fill_depot(ma, obj, 20);
	for (i = 0; i < 2 * TRIM_ROUNDS; i++)
		bma_reclaim();
	unit_check_stats(ma, 0, 0, 0, 20);
	spans = unit_stats(ma).spans;
	assert_int_equal(spans, 5);
	/* A reader of one kind stays inside, however often the others leave. */
	script_gp_begin(script_gp(second));
	for (i = 0; i < 5; i++) {
		script_gp_pass(script_gp(first), 1);
		assert_true(bma_reclaim());
		unit_check_freed();
	}
	assert_int_equal(unit_stats(ma).spans, 5);
	/* Its grace period may have begun before: it is the next that counts, or this one. */
	script_gp_end(script_gp(second));
	script_gp_pass(script_gp(second), 1);
	bma_reclaim();
	bma_reclaim();
	unit_check_stats(ma, 0, 0, 0, 0);
	assert_int_equal(unit_stats(ma).spans, 0);
}

static void a_trim_waits_for_rcu(void)
{
	a_trim_waits_for_both(SCRIPT_TRACE, 0);
}

static void a_trim_waits_for_trace(void)
{
	a_trim_waits_for_both(0, SCRIPT_TRACE);
}

/* --- two tiers, of core's own readers ------------------------------------------------------------------- */

static unsigned int seen_objs(void)
{
	unsigned int i, n = 0;

	for (i = 0; i < UNIT_MAX_OBJS; i++)
		n += unit.obj[i].state != UNIT_UNSEEN;
	return n;
}

/* An rcu reader is inside: what was freed with free_rcu is not reused, what was freed is, nothing leaves. */
static void an_rcu_reader_keeps_what_it_may_see(void)
{
	struct bpf_mem_alloc *ma = unit_own_ma(1024, false);
	unsigned int i, frees;
	void *obj[16];

	script_hold(script_gp(SCRIPT_RCU), true);
	unit_alloc_many(ma, obj, 16);
	frees = script_calls(SCRIPT_PAGES_FREE);
	unit_free_rcu_many(ma, obj, 8);
	for (i = 0; i < 50; i++) {
		assert_true(bma_reclaim());
		unit_check_freed();
		unit_free(ma, obj[15]);
		assert_ptr_equal(unit_alloc(ma), obj[15]);
	}
	assert_int_equal(unit_stats(ma).objs_waiting_rcu, 8);
	unit_free_many(ma, obj + 8, 8);
	for (i = 0; i < 50; i++)
		assert_true(bma_reclaim());
	assert_int_equal(unit_stats(ma).objs_waiting_ttrace, 8);
	assert_int_equal(script_calls(SCRIPT_PAGES_FREE), frees);
	/* It leaves, and nobody else has to. */
	script_hold(script_gp(SCRIPT_RCU), false);
	assert_true(bma_reclaim());
	assert_int_equal(unit_stats(ma).objs_waiting_rcu, 0);
	while (bma_reclaim())
		;
	unit_check_stats(ma, 0, 0, 0, 0);
	assert_int_equal(unit_stats(ma).spans, 0);
}

/* A sleepable one is: memory is reused as ever, and does not leave. */
static void a_sleepable_reader_keeps_memory_from_leaving(void)
{
	struct bpf_mem_alloc *ma = unit_own_ma(1024, false);
	unsigned int i, frees, objs = 0;
	void *obj[16];

	script_hold(script_gp(SCRIPT_TRACE), true);
	frees = script_calls(SCRIPT_PAGES_FREE);
	for (i = 0; i < 300; i++) {
		unit_alloc_many(ma, obj, 16);
		unit_free_rcu_many(ma, obj, 16);
		bma_reclaim();
		if (i == 20)
			objs = seen_objs();
	}
	/* However long it sleeps, alloc needs no more. */
	assert_int_equal(seen_objs(), objs);
	for (i = 0; i < 50; i++)
		assert_true(bma_reclaim());
	unit_check_freed();
	unit_check_stats(ma, 0, 0, 0, unit_stats(ma).objs_waiting_ttrace);
	assert_true(unit_stats(ma).objs_waiting_ttrace >= 16);
	assert_int_equal(script_calls(SCRIPT_PAGES_FREE), frees);
	script_hold(script_gp(SCRIPT_TRACE), false);
	while (bma_reclaim())
		;
	unit_check_stats(ma, 0, 0, 0, 0);
	assert_int_equal(unit_stats(ma).spans, 0);
}

/* The seldom used second tier costs nothing: with nobody inside nothing waits for a test to pass periods. */
static void without_readers_all_comes_back_by_itself(void)
{
	struct bpf_mem_alloc *ma = unit_own_ma(1024, false);
	unsigned int rounds = 0;
	void *obj[16];

	unit_alloc_many(ma, obj, 16);
	unit_free_many(ma, obj, 8);
	unit_free_rcu_many(ma, obj + 8, 8);
	while (bma_reclaim())
		assert_true(++rounds < 30);
	unit_check_stats(ma, 0, 0, 0, 0);
	assert_int_equal(unit_stats(ma).spans, 0);
}

/*
 * All CPUs' magazines are asked for while a round fetches them for somebody else.  Once a round that began
 * after has been, and nobody asks any more, they have been fetched.
 */
static void prepare_flush(void)
{
	scene_freed = 1;
	scene_freed_rcu = 1;
	scene_prepare();
	port_add(&bma_world.flushes_wanted, 1, seq_cst);
}

static void run_flush(void)
{
	bma_reclaim();
}

static void nested_flush(void *arg)
{
	(void)arg;
	scene_free_rcu();
	port_add(&bma_world.flushes_wanted, 1, seq_cst);
}

static void check_flush(void)
{
	bma_reclaim();
	assert_int_equal(port_load(&bma_world.flushes_done, relaxed),
			 port_load(&bma_world.flushes_wanted, relaxed));
	assert_int_equal(unit_stats(scene_ma).objs_waiting_rcu,
			 port_load(&scene_ma->caches->nr_limbo, relaxed));
	scene_check();
}

static void no_flush_is_forgotten(void)
{
	struct unit_scene scene = { .prepare = prepare_flush,
				    .run = run_flush,
				    .nested = nested_flush,
				    .check = check_flush };

	assert_true(unit_explore(&scene) > 20);
}

/* The round that began after somebody asked could not fetch them; the next has begun, and is not done. */
static void prepare_failed_flush(void)
{
	prepare_flush();
	script_fail(SCRIPT_DETACH, 1, 1);
	bma_reclaim();
}

static void nested_asker(void *arg)
{
	struct bma_cpu *block = block_of(scene_ma, 0);

	(void)arg;
	if (port_load(&bma_world.flushes_done, seq_cst) ==
	    port_load(&bma_world.flushes_wanted, seq_cst))
		assert_int_equal(bma_top_count(scene_ma->caches,
					       port_load(&block->slot[0].top[BMA_BY_RCU], relaxed)),
				 0);
}

static void a_flush_is_not_done_before_it_is(void)
{
	struct unit_scene scene = { .prepare = prepare_failed_flush,
				    .run = run_flush,
				    .nested = nested_asker,
				    .check = scene_check };

	assert_true(unit_explore(&scene) > 20);
}

/* What was surplus when the trim looked is taken before it comes to it. */
static void take_all_of_it(void *arg)
{
	unsigned int i;

	(void)arg;
	for (i = 0; i < 8; i++)
		scene_alloc();
}

static void prepare_trim(void)
{
	void *obj[8];

	scene_ma = unit_ma(1024, false);
	scene_nr_held = 0;
	fill_depot(scene_ma, obj, 8);
	unit_rounds(TRIM_ROUNDS);
	bma_world.round = TRIM_ROUNDS - 1;
}

static void run_trim(void)
{
	bma_reclaim();
}

static void a_trim_bears_interruption(void)
{
	struct unit_scene scene = { .prepare = prepare_trim,
				    .run = run_trim,
				    .nested = take_all_of_it,
				    .check = scene_check };

	assert_true(unit_explore(&scene) > 10);
}

/* A second batch does not ride on the wait of the first. */
static void batches_wait_one_after_the_other(void)
{
	struct bpf_mem_alloc *ma = unit_ma(1024, false);
	void *obj[8];
	unsigned int i;

	fill_depot(ma, obj, 8);
	for (i = 0; i < 2 * TRIM_ROUNDS; i++)
		bma_reclaim();
	unit_check_stats(ma, 0, 0, 0, 8);
	fill_depot(ma, obj, 8);
	for (i = 0; i < 2 * TRIM_ROUNDS; i++)
		bma_reclaim();
	unit_check_stats(ma, 0, 0, 0, 16);
	unit_pass(1);
	bma_reclaim();
	unit_check_stats(ma, 0, 0, 0, 8);
	unit_check_freed();
	bma_reclaim();
	unit_check_stats(ma, 0, 0, 0, 8);
	unit_pass(1);
	bma_reclaim();
	unit_check_stats(ma, 0, 0, 0, 0);
}

/* A large surplus leaves a part at a time, and what waits for readers then is one batch. */
static void a_large_surplus_leaves_in_parts(void)
{
	enum { N = 2 * (2 * TRIM_PART + 100) };
	struct bpf_mem_alloc *ma = unit_ma(16, false);
	struct bpf_mem_cache *c = ma->caches;
	static void *obj[N];
	unsigned int i, parts = 0;

	/* More than the shadow has room for. */
	for (i = 0; i < N; i++)
		assert_non_null(obj[i] = bpf_mem_cache_alloc(ma));
	for (i = 0; i < N; i++)
		bpf_mem_cache_free(ma, obj[i]);
	bma_reclaim_harvest(ma->group, 0);
	unit_rounds(TRIM_ROUNDS);
	bma_world.round = TRIM_ROUNDS - 1;
	do {
		assert_int_equal(c->ttrace_wait.first, 0);
		i = bma_reclaim();
		parts++;
		assert_int_equal(bma_world.round, TRIM_ROUNDS);
		assert_true(port_load(&c->nr_ttrace, relaxed) <= 2 * TRIM_PART * parts);
	} while (i & BMA_AT_ONCE);
	assert_int_equal(parts, 3);
	assert_int_equal(port_load(&c->nr_depot, relaxed), 0);
	assert_int_equal(c->ttrace_wait.objs, N);
	unit_settle();
	unit_check_stats(ma, 0, 0, 0, 0);
	assert_int_equal(unit_stats(ma).spans, 0);
}

static void nothing_strands(void)
{
	struct bpf_mem_alloc *ma;
	void *obj[48];
	unsigned int i;

	script_nr_cpus(4);
	script_hold(unit_trace(), true);
	ma = unit_ma(1024, false);
	unit_alloc_many(ma, obj, 48);
	for (i = 0; i < 48; i++) {
		script_cpu(i % 4);
		script_fail(SCRIPT_REPLACE, 1, i % 5 == 0);
		if (i % 3)
			unit_free(ma, obj[i]);
		else
			unit_free_rcu(ma, obj[i]);
	}
	/* No call comes any more, on no CPU. */
	unit_settle();
	unit_check_stats(ma, 0, 0, 0, 0);
	assert_int_equal(unit_stats(ma).spans, 0);
	assert_int_equal(script_pages_out(), unit_fixed_bytes());
}

static void metadata_goes_back(void)
{
	struct bpf_mem_alloc *ma = unit_ma(16, false);
	void *obj[512];
	uint64_t before = port_load(&bma_world.meta.nr_pages, relaxed), i;

	unit_alloc_many(ma, obj, 512);
	unit_free_many(ma, obj, 512);
	bma_reclaim_harvest(ma->group, 0);
	assert_true(port_load(&bma_world.meta.nr_pages, relaxed) >= before + 4);
	unit_settle();
	assert_true(port_load(&bma_world.meta.nr_pages, relaxed) <= before + 3);
	/* Also while there is something to come back for. */
	for (i = 0; i < 3; i++) {
		unit_free_rcu(ma, unit_alloc(ma));
		bma_reclaim();
	}
	bma_world.meta.returned = META_TRIM_PIECES;
	assert_true(bma_reclaim());
	assert_int_equal(bma_world.meta.returned, 0);
	bma_world.meta.returned = 1;
	bma_world.round = META_TRIM_ROUNDS - 1;
	assert_true(bma_reclaim());
	assert_int_equal(bma_world.meta.returned, 0);
	/* And until it is over. */
	bma_world.meta.returned = 1;
	bma_world.meta.trimming = true;
	assert_true(bma_reclaim());
	assert_int_equal(bma_world.meta.returned, 0);
}

/* --- a round, interrupted everywhere --------------------------------------------------------------------- */

static unsigned int settle_rounds;

static void run_rounds(void)
{
	unsigned int i;

	port_store(&scene_ma->group->want_flush, true, relaxed);
	for (i = 0; i < settle_rounds; i++) {
		bma_reclaim();
		unit_pass(1);
	}
}

static void a_round_bears_interruption(void)
{
	static void (*const nested[])(void *) = {
		scene_nested_alloc,	 scene_nested_free,	 scene_nested_free_rcu,
		scene_nested_to_and_fro, scene_nested_other_cpu, scene_nested_grace_period,
	};
	struct unit_scene scene = { .prepare = scene_prepare,
				    .run = run_rounds,
				    .check = scene_check };
	unsigned int i, points = 0;

	settle_rounds = 5;
	for (scene_freed = 0; scene_freed <= 6; scene_freed += 3) {
		for (scene_freed_rcu = 0; scene_freed_rcu <= 4; scene_freed_rcu += 2) {
			for (i = 0; i < sizeof(nested) / sizeof(nested[0]); i++) {
				scene.nested = nested[i];
				points += unit_explore(&scene);
			}
		}
	}
	print_message("    (%u points)\n", points);
	assert_true(points > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT_TEST(nothing_to_do),
		UNIT_TEST(somebody_waits),
		UNIT_TEST(every_allocator_is_adopted),
		UNIT_TEST(an_idle_cpu_is_harvested),
		UNIT_TEST(a_cpu_that_moves_is_left_alone),
		UNIT_TEST(freed_rcu_and_left),
		UNIT_TEST(freed_rcu_all_the_time),
		UNIT_TEST(a_flush_is_for_every_cpu),
		UNIT_TEST(what_cannot_be_detached_is_asked_for_again),
		UNIT_TEST(no_memory_for_a_spare_block),
		UNIT_TEST(all_slots_are_harvested),
		UNIT_TEST(what_the_depot_did_not_need_leaves_it),
		UNIT_TEST(a_trim_waits_for_rcu),
		UNIT_TEST(a_trim_waits_for_trace),
		UNIT_TEST(an_rcu_reader_keeps_what_it_may_see),
		UNIT_TEST(a_sleepable_reader_keeps_memory_from_leaving),
		UNIT_TEST(without_readers_all_comes_back_by_itself),
		UNIT_TEST(no_flush_is_forgotten),
		UNIT_TEST(a_flush_is_not_done_before_it_is),
		UNIT_TEST(a_trim_bears_interruption),
		UNIT_TEST(batches_wait_one_after_the_other),
		UNIT_TEST(a_large_surplus_leaves_in_parts),
		UNIT_TEST(nothing_strands),
		UNIT_TEST(metadata_goes_back),
		UNIT_TEST(a_round_bears_interruption),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
