// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_stats.c - what is where, exact when nothing runs
 */
#include "every_access.h"
#include "../../core/stats.c"
#include "scenes.h"

static struct bpf_mem_alloc *ma;

static void in_every_state(void)
{
	void *obj[8];

	script_hold(unit_trace(), true);
	ma = unit_ma(1024, false);
	unit_check_stats(ma, 0, 0, 0, 0);
	unit_alloc_many(ma, obj, 7);
	unit_check_stats(ma, 7, 1, 0, 0); /* a magazine is filled with two */
	unit_free(ma, obj[6]);
	unit_check_stats(ma, 6, 2, 0, 0); /* loaded */
	unit_free_many(ma, obj + 3, 3);
	unit_check_stats(ma, 3, 5, 0, 0); /* previous, depot */
	unit_free_rcu(ma, obj[0]);
	unit_check_stats(ma, 2, 5, 1, 0); /* by_rcu */
	unit_free_rcu_many(ma, obj + 1, 2);
	unit_check_stats(ma, 0, 5, 3, 0); /* a bucket */
	script_fail(SCRIPT_PUSH, 1, 1);
	script_fail(SCRIPT_REPLACE, 1, SCRIPT_EVER);
	obj[0] = unit_alloc(ma);
	unit_free_rcu(ma, obj[0]);
	script_fail(SCRIPT_REPLACE, 1, 0);
	unit_check_stats(ma, 0, 4, 4, 0); /* by_rcu, the cache's */
	unit_pass(1);
	/* Ripe, but nobody has looked yet. */
	unit_check_stats(ma, 0, 4, 4, 0);
	port_store(&ma->group->want_flush, true, relaxed);
	bma_reclaim();
	unit_pass(1);
	bma_reclaim();
	unit_check_stats(ma, 0, 8, 0, 0); /* all in the depot */
	while (bma_world.round % 4)
		bma_reclaim();
	unit_rounds(4);
	unit_check_stats(ma, 0, 0, 0, 8); /* ttrace_wait */
	assert_int_equal(unit_stats(ma).spans, 2);
	unit_pass(1);
	bma_reclaim();
	unit_check_stats(ma, 0, 0, 0, 0);
	assert_int_equal(unit_stats(ma).spans, 0);
	obj[0] = unit_alloc(ma);
	unit_no_meta();
	script_fail(SCRIPT_PUSH, 1, 1);
	bma_reclaim_harvest(ma->group, 0);
	unit_check_stats(ma, 1, 1, 0, 0);
	script_cpu(0);
	unit_meta_back();
	unit_free(ma, obj[0]);
}

static void bytes_follow_objects(void)
{
	struct bpf_mem_stats s;
	void *obj[7];

	script_nr_cpus(3);
	ma = unit_ma(1000, true);
	unit_alloc_many(ma, obj, 7);
	unit_free_rcu_many(ma, obj, 3);
	unit_free(ma, obj[3]);
	s = unit_stats(ma);
	assert_int_equal(ma->caches->size, 1008);
	assert_int_equal(s.bytes_in_use, s.objs_in_use * 1008);
	assert_int_equal(s.bytes_free, s.objs_free * 1008);
	assert_int_equal(s.bytes_waiting_rcu, 3 * 1008);
	assert_int_equal(s.bytes_waiting_ttrace, 0);
	assert_int_equal(s.spans, 2);
	assert_int_equal(s.bytes_spans, 2 * 3 * ma->caches->span_bytes);
	unit_rounds(3);
	unit_pass(1);
	unit_rounds(12);
	s = unit_stats(ma);
	assert_int_equal(s.bytes_waiting_ttrace, s.objs_waiting_ttrace * 1008);
	assert_true(s.objs_waiting_ttrace > 0);
	unit_free_many(ma, obj + 4, 3);
}

/* Magazines: on CPUs, empty ones too, and those that hold what waits. */
static void magazines_and_metadata(void)
{
	size_t group, block = bma_cpu_bytes(1);
	struct bpf_mem_stats s;
	void *obj[8];

	script_nr_cpus(3);
	ma = unit_ma(1024, false);
	group = bma_group_bytes(ma->group);
	s = unit_stats(ma);
	assert_int_equal(s.magazines, 0);
	assert_int_equal(s.bytes_meta, group);
	unit_alloc_many(ma, obj, 8);
	s = unit_stats(ma);
	assert_int_equal(s.magazines, 2);
	/* Its table of CPUs came with the first. */
	assert_int_equal(bma_group_bytes(ma->group), group + 3 * sizeof(bma_cpu_ptr_t));
	group = bma_group_bytes(ma->group);
	assert_int_equal(s.bytes_meta, group + block + 2 * sizeof(struct bma_magazine));
	script_cpu(2);
	unit_free_many(ma, obj, 5);
	unit_free_rcu_many(ma, obj + 5, 3);
	s = unit_stats(ma);
	/* CPU 0: two; CPU 2: loaded, previous and by_rcu; a full one in the depot, one in a bucket. */
	assert_int_equal(s.magazines, 2 + 3 + 0 + 1 + 1 - (s.objs_free == 5 ? 0 : 1) - 0);
	assert_int_equal(s.bytes_meta,
			 group + 2 * block + s.magazines * sizeof(struct bma_magazine));
}

static void events(void)
{
	struct bpf_mem_alloc *other;
	struct bpf_mem_stats s;
	void *obj;
	unsigned int i;

	script_gp_pass(unit_rcu(), 3);
	ma = unit_ma(BPF_MEM_CACHE_SIZE_MAX, false);
	other = unit_ma(64, false);
	assert_int_equal(unit_stats(ma).grace_periods, 0);
	script_gp_pass(unit_rcu(), 2);
	for (i = 0; i < 3; i++)
		unit_free_rcu(ma, unit_alloc(ma));
	script_gp_pass(unit_rcu(), 1);
	script_fail(SCRIPT_PAGES_ALLOC, 1, SCRIPT_EVER);
	for (i = 0, obj = NULL; !unit_stats(ma).refusals; i++)
		obj = unit_try(ma, GFP_ATOMIC) ?: obj;
	script_fail(SCRIPT_PAGES_ALLOC, 1, 0);
	bpf_mem_cache_free(ma, &s);
	bpf_mem_cache_free(other, &s);
	bpf_mem_cache_free(other, obj ? obj : &s);
	bpf_mem_cache_raw_free(&s);
	s = unit_stats(ma);
	assert_int_equal(s.grace_periods, 3);
	assert_int_equal(s.hurries, 1);
	assert_int_equal(s.refusals, 1);
	assert_int_equal(s.bad_frees, 1);
	assert_int_equal(s.allocators, 1);
	assert_int_equal(unit_stats(other).bad_frees, 2);
	assert_int_equal(unit_stats(other).refusals, 0);
	s = unit_process_stats();
	/* Of all domains, none of which began with number 1. */
	assert_int_equal(s.grace_periods, 6 + SCRIPT_NR_GPS * (SCRIPT_GP_FIRST - 1));
	assert_int_equal(s.hurries, 1);
	assert_int_equal(s.refusals, 1);
	assert_int_equal(s.bad_frees, 4);
	assert_int_equal(s.allocators, 2);
	/* Events stay when the allocator goes. */
	unit_destroy(ma);
	unit_destroy(other);
	unit_settle();
	s = unit_process_stats();
	assert_int_equal(s.refusals, 1);
	assert_int_equal(s.bad_frees, 4);
	assert_int_equal(s.never_freed, unit.lost);
	assert_int_equal(s.allocators, 0);
	assert_int_equal(s.dying, 0);
	assert_int_equal(s.hurries, 1);
	assert_int_equal(s.objs_in_use + s.objs_free + s.spans + s.bytes_spans, 0);
}

static void nothing_of_what_is_no_allocator(void)
{
	struct bpf_mem_alloc none = { 0 };
	struct bpf_mem_stats s, zero = { 0 };

	memset(&s, 0x5a, sizeof(s));
	bpf_mem_alloc_stats(&none, &s);
	assert_memory_equal(&s, &zero, sizeof(s));
}

/* Also one that no round has seen yet; and the sum is the sum. */
static void the_process_is_the_sum(void)
{
	struct bpf_mem_stats a, b, sum;
	struct bpf_mem_alloc *other;
	void *obj[6];

	ma = unit_ma(64, false);
	other = unit_ma(0, false);
	unit_alloc_many(ma, obj, 6);
	unit_free_rcu_many(ma, obj, 3);
	unit_free_rcu(other, unit_alloc_size(other, 100));
	unit_alloc_size(other, 2000);
	a = unit_stats(ma);
	b = unit_stats(other);
	sum = unit_process_stats();
	assert_int_equal(sum.objs_in_use, a.objs_in_use + b.objs_in_use);
	assert_int_equal(sum.objs_in_use, 4);
	assert_int_equal(sum.objs_free, a.objs_free + b.objs_free);
	assert_int_equal(sum.objs_waiting_rcu, 4);
	assert_int_equal(sum.bytes_in_use, a.bytes_in_use + b.bytes_in_use);
	assert_int_equal(sum.bytes_in_use, 3 * 64 + 2048);
	assert_int_equal(sum.spans, a.spans + b.spans);
	assert_int_equal(sum.bytes_spans, a.bytes_spans + b.bytes_spans);
	assert_int_equal(sum.allocators, 2);
	assert_int_equal(sum.bytes_meta,
			 port_load(&bma_world.meta.nr_pages, relaxed) * PORT_META_PAGE);
	unit_free_many(ma, obj + 3, 3);
}

/* While things move a number may be off, but none wraps below 0. */
static void look(void)
{
	struct bpf_mem_stats s = unit_stats(scene_ma);
	uint64_t few = 1000;

	assert_true(s.objs_in_use < few && s.objs_free < few && s.objs_waiting_rcu < few &&
		    s.objs_waiting_ttrace < few && s.spans < few && s.magazines < few);
	assert_true(s.bytes_in_use < few * 1024 && s.bytes_spans < few * 4096);
}

static void nested_stats(void *arg)
{
	(void)arg;
	script_as_thread(true);
	look();
	script_as_thread(false);
}

/* But for the reclaimer's work, which a snapshot keeps out. */
static void run_all(void)
{
	scene_alloc();
	scene_alloc();
	scene_free();
	scene_free_rcu();
	scene_free();
	scene_free_rcu();
}

static void no_number_wraps(void)
{
	struct unit_scene scene = { .prepare = scene_prepare,
				    .run = run_all,
				    .nested = nested_stats,
				    .check = scene_check };
	unsigned int points = 0;

	for (scene_freed = 0; scene_freed <= 5; scene_freed++) {
		scene_freed_rcu = scene_freed / 2;
		points += unit_explore(&scene);
	}
	assert_true(points > 100);
}

/* And while the snapshot is taken, others run. */
static void run_stats(void)
{
	look();
	assert_true(unit_process_stats().allocators == 1);
}

static void a_snapshot_bears_interruption(void)
{
	struct unit_scene scene = { .prepare = scene_prepare,
				    .run = run_stats,
				    .nested = scene_nested_to_and_fro,
				    .check = scene_check };

	scene_freed = scene_freed_rcu = 3;
	assert_true(unit_explore(&scene) > 30);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT_TEST(in_every_state),
		UNIT_TEST(bytes_follow_objects),
		UNIT_TEST(magazines_and_metadata),
		UNIT_TEST(events),
		UNIT_TEST(nothing_of_what_is_no_allocator),
		UNIT_TEST(the_process_is_the_sum),
		UNIT_TEST(no_number_wraps),
		UNIT_TEST(a_snapshot_bears_interruption),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
