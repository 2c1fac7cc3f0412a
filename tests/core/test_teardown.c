// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_teardown.c - the end of an allocator
 */
#include "every_access.h"
#include "../../core/teardown.c"
#include "scenes.h"

#define MAX_DESTRUCTED 256

static struct log {
	void *obj[MAX_DESTRUCTED];
	unsigned int nr, frees;
} log_of[2];

static void destruct(void *obj, void *ctx)
{
	struct log *l = ctx;
	unsigned int i;

	/* The last call was not yet; no object comes twice; readers may look at it no longer. */
	assert_int_equal(l->frees, 0);
	for (i = 0; i < l->nr; i++)
		assert_ptr_not_equal(l->obj[i], obj);
	l->obj[l->nr++] = obj;
	assert_true(unit_obj(obj)->state == UNIT_FREED || unit_obj(obj)->state == UNIT_FREED_RCU);
	assert_true(unit_both_over(unit_obj(obj)));
	assert_true(unit_intact(unit_obj(obj)));
}

static void destruct_ctx(void *ctx)
{
	((struct log *)ctx)->frees++;
}

static struct bpf_mem_alloc *ma_with_dtor(int size, unsigned int i)
{
	struct bpf_mem_alloc *ma = unit_ma(size, false);

	log_of[i] = (struct log){ .nr = 0 };
	bpf_mem_alloc_set_dtor(ma, destruct, destruct_ctx, &log_of[i]);
	return ma;
}

/* --- objects everywhere ---------------------------------------------------------------------------------- */

static int64_t in_bucket(struct bpf_mem_cache *c)
{
	unsigned int i;
	int64_t n = 0;

	for (i = 0; i < BMA_NR_BUCKETS; i++)
		n += (uint32_t)port_load(&c->bucket[i], relaxed) != 0;
	return n;
}

static bma_obj_t *top(struct bpf_mem_alloc *ma, unsigned int cpu, enum bma_top which)
{
	struct bma_cpu *block = port_load(&ma->group->cpus[cpu], acquire);

	return port_load(&block->slot[0].top[which], relaxed);
}

/* Some of @obj's 48 objects to each place where a free object can be; returns how many stay out. */
static unsigned int put_everywhere(struct bpf_mem_alloc *ma, void **obj)
{
	struct bpf_mem_cache *c = ma->caches;
	unsigned int n = 0, i;

	unit_alloc_many(ma, obj, 48);
	/* ttrace_wait, then ttrace_next */
	unit_free_many(ma, obj + n, 8);
	n += 8;
	bma_reclaim_harvest(ma->group, 0);
	for (i = 0; i < 8; i++)
		bma_reclaim();
	unit_free_many(ma, obj + n, 6);
	n += 6;
	bma_reclaim_harvest(ma->group, 0);
	for (i = 0; i < 8; i++)
		bma_reclaim();
	assert_int_not_equal(c->ttrace_wait.first, 0);
	assert_int_not_equal(c->ttrace_next.first, 0);
	/* deferred, and waiting for it */
	unit_no_meta();
	script_fail(SCRIPT_PUSH, 1, SCRIPT_EVER);
	script_fail(SCRIPT_REPLACE, 1, SCRIPT_EVER);
	unit_free(ma, obj[n++]);
	unit_free_rcu(ma, obj[n++]);
	bma_reclaim();
	assert_true(c->deferred_wait.on);
	unit_free(ma, obj[n++]);
	unit_free_rcu(ma, obj[n++]);
	assert_int_equal(port_load(&c->nr_deferred, relaxed), 4);
	assert_true(port_load(&c->deferred, relaxed));
	unit_meta_back();
	/* by_rcu and partial, where steps fail */
	unit_free_rcu(ma, obj[n++]);
	unit_free(ma, obj[n++]);
	script_fail(SCRIPT_PUSH, 1, 0);
	script_fail(SCRIPT_REPLACE, 1, 0);
	assert_int_not_equal(bma_stack_first(&c->by_rcu), 0);
	assert_int_not_equal(bma_stack_first(&c->partial), 0);
	script_cpu(1);
	/* two buckets, of one of which the period will have passed */
	unit_free_rcu_many(ma, obj + n, 6);
	n += 6;
	script_gp_begin(unit_rcu());
	unit_free_rcu_many(ma, obj + n, 4);
	n += 4;
	assert_int_equal(in_bucket(c), 2);
	/* depot, loaded, previous on one CPU, and by_rcu on both */
	unit_free_many(ma, obj + n, 7);
	n += 7;
	script_cpu(0);
	unit_free_rcu_many(ma, obj + n, 1);
	n += 1;
	assert_int_not_equal(bma_stack_first(&c->depot), 0);
	for (i = 0; i < BMA_NR_TOPS; i++)
		assert_true(bma_top_count(c, top(ma, 1, i)) > 0);
	assert_true(bma_top_count(c, top(ma, 0, BMA_BY_RCU)) > 0);
	return 48 - n;
}

static void destroy_with_objects_everywhere(unsigned int held, unsigned int passing)
{
	unsigned int out, i, free_calls;
	struct bpf_mem_alloc *ma;
	void *obj[48];
	size_t pages;

	script_nr_cpus(2);
	script_hold(unit_trace(), true);
	ma = ma_with_dtor(1024, 0);
	out = put_everywhere(ma, obj);
	assert_int_equal(unit_stats(ma).objs_in_use, out);
	assert_int_equal(log_of[0].nr, 0);
	pages = script_pages_out();
	free_calls = script_calls(SCRIPT_PAGES_FREE);
	unit_destroy(ma);
	/* It returns at once, with nothing done but said. */
	assert_int_equal(script_pages_out(), pages);
	assert_int_equal(script_calls(SCRIPT_PAGES_FREE), free_calls);
	/* A reader of one kind stays inside, the other's come and go. */
	if (script_gp_begun(script_gp(held)) == script_gp_ended(script_gp(held)))
		script_gp_begin(script_gp(held));
	if (script_gp_begun(script_gp(passing)) != script_gp_ended(script_gp(passing)))
		script_gp_end(script_gp(passing));
	for (i = 0; i < 10; i++) {
		assert_true(bma_reclaim());
		assert_int_equal(log_of[0].nr, 0);
		assert_int_equal(script_pages_out(), pages);
		script_gp_pass(script_gp(passing), 1);
		unit_check_freed();
	}
	/* The period that ran at destroy does not count, the next does. */
	script_gp_end(script_gp(held));
	assert_true(bma_reclaim());
	assert_int_equal(log_of[0].nr, 0);
	script_gp_pass(script_gp(held), 1);
	assert_false(bma_reclaim());
	assert_int_equal(log_of[0].nr, 48 - out);
	assert_int_equal(log_of[0].frees, 1);
	assert_int_equal(script_pages_out(), unit_fixed_bytes());
	assert_int_equal(script_nr_reports(), 1);
	assert_string_equal(script_report(0)->func, "bpf_mem_alloc_destroy");
	assert_int_equal(script_report(0)->count, out);
	assert_int_equal(script_report(0)->size, 1024);
	assert_int_equal(unit_process_stats().never_freed, out);
	assert_int_equal(unit_process_stats().dying, 0);
}

static void an_rcu_reader_stays_inside(void)
{
	destroy_with_objects_everywhere(0, SCRIPT_TRACE);
}

static void a_trace_reader_stays_inside(void)
{
	destroy_with_objects_everywhere(SCRIPT_TRACE, 0);
}

/* Core's own readers: it waits for both kinds, and for neither when nobody is inside. */
static void own_readers_stay_inside(void)
{
	static const unsigned int kinds[] = { SCRIPT_RCU, SCRIPT_TRACE };
	struct bpf_mem_alloc *ma;
	unsigned int i, n;
	void *obj[12];
	size_t pages;

	for (i = 0; i < 3; i++) {
		unit_begin();
		ma = unit_own_ma(1024, false);
		log_of[0] = (struct log){ .nr = 0 };
		bpf_mem_alloc_set_dtor(ma, destruct, destruct_ctx, &log_of[0]);
		unit_alloc_many(ma, obj, 12);
		if (i < 2)
			script_hold(script_gp(kinds[i]), true);
		unit_free_many(ma, obj, 6);
		unit_free_rcu_many(ma, obj + 6, 6);
		pages = script_pages_out();
		unit_destroy(ma);
		for (n = 0; i < 2 && n < 10; n++) {
			assert_true(bma_reclaim());
			assert_int_equal(log_of[0].nr, 0);
			assert_int_equal(script_pages_out(), pages);
		}
		if (i < 2)
			script_hold(script_gp(kinds[i]), false);
		assert_false(bma_reclaim());
		assert_int_equal(log_of[0].nr, 12);
		assert_int_equal(log_of[0].frees, 1);
		assert_int_equal(script_pages_out(), unit_fixed_bytes());
		unit_end();
	}
	unit_begin();
}

/* What a dying allocator still holds counts, once. */
static void a_dying_allocator_counts_until_it_is_gone(void)
{
	struct bpf_mem_stats before, after;
	struct bpf_mem_alloc *ma;
	void *obj[48];
	unsigned int out;

	script_nr_cpus(2);
	ma = ma_with_dtor(1024, 0);
	out = put_everywhere(ma, obj);
	before = unit_process_stats();
	assert_int_equal(before.allocators, 1);
	assert_int_equal(before.dying, 0);
	unit_destroy(ma);
	after = unit_process_stats();
	assert_int_equal(after.allocators, 0);
	assert_int_equal(after.dying, 1);
	assert_int_equal(after.objs_in_use, out);
	bma_reclaim();
	after = unit_process_stats();
	assert_int_equal(after.dying, 1);
	assert_int_equal(after.objs_in_use, out);
	assert_int_equal(after.objs_free + after.objs_waiting_rcu + after.objs_waiting_ttrace,
			 48 - out);
	assert_int_equal(after.objs_waiting_ttrace, 48 - out);
	assert_int_equal(after.spans, before.spans);
	assert_int_equal(after.bytes_spans, before.bytes_spans);
	unit_pass(2);
	bma_reclaim();
	after = unit_process_stats();
	assert_int_equal(after.dying, 0);
	assert_int_equal(after.objs_in_use + after.objs_waiting_ttrace + after.spans, 0);
	assert_int_equal(after.bytes_spans, 0);
	assert_int_equal(after.never_freed, out);
}

/*
 * What waits without a cookie, and a bucket that has ripened meanwhile, of every age: whoever gave the one
 * its cookie now would find the other in its way.  Nothing may move from list to list behind our back.
 */
static void a_leftover_meets_a_ripe_bucket(void)
{
	struct bpf_mem_alloc *ma;
	unsigned int age, i;
	void *obj[12];

	for (age = 0; age <= 3 * BMA_NR_BUCKETS; age++) {
		unit_begin();
		ma = ma_with_dtor(1024, 0);
		unit_alloc_many(ma, obj, 12);
		for (i = 0; i < 8; i += 2) {
			unit_free_rcu_many(ma, obj + i, 2);
			script_gp_pass(unit_rcu(), 1);
		}
		script_gp_pass(unit_rcu(), age);
		script_fail(SCRIPT_PUSH, 1, SCRIPT_EVER);
		script_fail(SCRIPT_REPLACE, 1, SCRIPT_EVER);
		unit_free_rcu(ma, obj[8]);
		unit_free(ma, obj[9]);
		assert_int_not_equal(bma_stack_first(&ma->caches->by_rcu), 0);
		assert_true(in_bucket(ma->caches) > 0);
		unit_destroy(ma);
		bma_reclaim();
		assert_int_equal(unit_process_stats().objs_waiting_ttrace, 10);
		unit_pass(1);
		bma_reclaim();
		assert_int_equal(log_of[0].nr, 10);
		assert_int_equal(script_report(0)->count, 2);
		unit_end();
	}
	unit_begin();
}

static void an_unused_one_goes_too(void)
{
	unsigned int i;

	script_nr_cpus(2);
	for (i = 0; i < 2; i++) {
		unit_destroy(unit_ma(i ? 0 : 64, false));
		assert_true(bma_reclaim());
		unit_pass(1);
		assert_false(bma_reclaim());
		assert_int_equal(script_pages_out(), unit_fixed_bytes());
	}
	assert_int_equal(script_nr_reports(), 0);
}

static void all_zero_and_destroyed_are_accepted(void)
{
	struct bpf_mem_alloc zero = { 0 }, *ma = unit_ma(64, false);

	bpf_mem_alloc_destroy(&zero);
	unit_destroy(ma);
	bpf_mem_alloc_destroy(ma);
	unit_settle();
	bpf_mem_alloc_destroy(ma);
	/* The caller's structure can be used for another at once. */
	assert_int_equal(bpf_mem_alloc_init(ma, 64, false), 0);
	unit_free(ma, unit_alloc(ma));
	assert_int_equal(script_nr_reports(), 0);
}

/* The dtor's context goes also where there was nothing to destruct; without one there is none. */
static void the_context_goes_once(void)
{
	struct bpf_mem_alloc *ma = ma_with_dtor(64, 0);

	unit_destroy(ma);
	bma_reclaim();
	assert_int_equal(log_of[0].frees, 0);
	unit_pass(1);
	bma_reclaim();
	bma_reclaim();
	assert_int_equal(log_of[0].nr, 0);
	assert_int_equal(log_of[0].frees, 1);
	ma = unit_ma(64, false);
	bpf_mem_alloc_set_dtor(ma, destruct, NULL, &log_of[0]);
	log_of[0] = (struct log){ .nr = 0 };
	unit_free(ma, unit_alloc(ma));
	unit_destroy(ma);
	unit_settle();
	assert_int_equal(log_of[0].nr, 1);
	assert_int_equal(log_of[0].frees, 0);
}

/* Once for each object that was handed out and freed, whatever became of it in between. */
static void the_destructor_runs_once_for_each(void)
{
	struct bpf_mem_alloc *ma = ma_with_dtor(1024, 0);
	void *obj[9];
	unsigned int i, j, destructed;

	for (i = 0; i < 10; i++) {
		unit_alloc_many(ma, obj, 9);
		unit_free_many(ma, obj, 5);
		unit_free_rcu_many(ma, obj + 5, 4);
		if (i % 3 == 2)
			unit_pass(1);
	}
	assert_int_equal(log_of[0].nr, 0);
	/* Recycled ones kept what they held; now all leave for the slab, once each. */
	destructed = 0;
	for (i = 0; i < UNIT_MAX_OBJS; i++)
		destructed += unit.obj[i].state != UNIT_UNSEEN;
	unit_alloc_many(ma, obj, 1);
	unit_settle();
	assert_int_equal(log_of[0].nr, destructed - 1);
	for (i = 0; i < log_of[0].nr; i++)
		assert_ptr_not_equal(log_of[0].obj[i], obj[0]);
	j = log_of[0].nr;
	unit_destroy(ma); /* one is never freed: not for that */
	unit_settle();
	assert_int_equal(log_of[0].nr, j);
	assert_int_equal(log_of[0].frees, 1);
}

static void two_are_destroyed(void)
{
	struct bpf_mem_alloc *ma[2];
	void *obj[48];
	unsigned int out;

	script_nr_cpus(2);
	script_hold(unit_trace(), true);
	ma[0] = ma_with_dtor(1024, 0);
	out = put_everywhere(ma[0], obj);
	ma[1] = ma_with_dtor(1024, 1);
	unit_free_rcu(ma[1], unit_alloc(ma[1]));
	unit_destroy(ma[0]);
	bma_reclaim();
	unit_destroy(ma[1]);
	/* The first one's periods are not the second's. */
	script_gp_end(unit_rcu());
	script_gp_begin(unit_rcu());
	script_gp_end(unit_trace());
	script_gp_begin(unit_trace());
	bma_reclaim();
	script_gp_end(unit_rcu());
	bma_reclaim();
	assert_int_equal(log_of[0].frees, 0);
	script_gp_end(unit_trace());
	bma_reclaim();
	assert_int_equal(log_of[0].nr, 48 - out);
	assert_int_equal(log_of[0].frees, 1);
	assert_int_equal(log_of[1].frees, 0);
	script_gp_pass(unit_rcu(), 1);
	bma_reclaim();
	assert_int_equal(log_of[1].frees, 0);
	script_gp_pass(unit_trace(), 1);
	assert_false(bma_reclaim());
	assert_int_equal(log_of[1].nr, 1);
	assert_int_equal(log_of[1].frees, 1);
	assert_int_equal(script_pages_out(), unit_fixed_bytes());
}

/* Both domains of flavours: each allocator waits for its own. */
static void each_waits_for_its_own_readers(void)
{
	const struct rcu_flavor_struct *flavor = (void *)&log_of;
	struct bpf_mem_alloc *ma = unit_new_ma(), *other = unit_ma(1024, false);

	assert_int_equal(bpf_mem_alloc_init_flavor(ma, 1024, false, flavor), 0);
	unit_free_rcu(ma, unit_alloc(ma));
	unit_free_rcu(other, unit_alloc(other));
	unit_destroy(ma);
	unit_destroy(other);
	bma_reclaim();
	script_gp_pass(script_gp(0), 2);
	assert_true(bma_reclaim());
	assert_ptr_equal(bma_world.groups->gp, script_gp(1));
	assert_null(bma_world.groups->next);
	script_gp_pass(script_gp(1), 1);
	assert_false(bma_reclaim());
}

static void of_every_class(void)
{
	struct bpf_mem_alloc *ma = unit_ma(0, false);
	uint64_t lost = 0;
	unsigned int i;

	for (i = 0; i < BMA_NR_CLASSES; i++) {
		unit_free(ma, unit_alloc_size(ma, ma->caches[i].size));
		unit_free_rcu(ma, unit_alloc_size(ma, ma->caches[i].size));
		if (i % 2)
			lost += unit_alloc_size(ma, ma->caches[i].size) != NULL;
	}
	unit_destroy(ma);
	unit_settle();
	/* A report for each size that has lost some. */
	assert_int_equal(script_nr_reports(), lost);
	assert_int_equal(script_report(0)->size, 32);
	assert_int_equal(script_report(0)->count, 1);
	assert_int_equal(unit_process_stats().never_freed, lost);
}

/* --- in parts ----------------------------------------------------------------------------------------------- */

/* Destroy with @n objects in limbo and nothing else: how many accesses its steps take, beside the slab's. */
static unsigned int accesses_of_teardown(unsigned int n)
{
	struct bpf_mem_alloc *ma;
	unsigned int before;
	void *obj[256];

	unit_begin();
	ma = unit_ma(1024, false);
	unit_alloc_many(ma, obj, n);
	unit_free_rcu_many(ma, obj, n);
	unit_rounds(2);
	assert_int_equal(port_load(&ma->caches->nr_limbo, relaxed), n);
	unit_destroy(ma);
	before = script_calls(SCRIPT_ACCESS);
	bma_reclaim();
	assert_int_equal(unit_process_stats().objs_waiting_ttrace, n);
	unit_pass(1);
	assert_int_equal(bma_reclaim(), BMA_DONE);
	before = script_calls(SCRIPT_ACCESS) - before;
	unit_end();
	return before;
}

/* However much is in limbo: its magazines are not looked at one by one. */
static void limbo_goes_as_it_is(void)
{
	unsigned int few = accesses_of_teardown(8);

	assert_true(few > 0);
	assert_int_equal(accesses_of_teardown(256), few);
	unit_begin();
}

/* A fork waits for a round, so none gives back all of a large allocator. */
static void a_large_one_goes_in_parts(void)
{
	enum { N = 2 * PART + 100 };
	struct bpf_mem_alloc *ma = unit_ma(4096, false);
	unsigned int i, rounds = 0, freed;
	static void *obj[N];

	/* More than the shadow has room for. */
	for (i = 0; i < N; i++)
		assert_non_null(obj[i] = bpf_mem_cache_alloc(ma));
	for (i = 0; i < N; i++)
		bpf_mem_cache_free(ma, obj[i]);
	assert_true(port_load(&ma->caches->nr_spans, relaxed) >= N);
	unit_destroy(ma);
	bma_reclaim();
	unit_pass(1);
	for (;;) {
		freed = script_calls(SCRIPT_PAGES_FREE);
		i = bma_reclaim();
		rounds++;
		freed = script_calls(SCRIPT_PAGES_FREE) - freed;
		if (!i)
			break;
		assert_true(i & BMA_AT_ONCE);
		assert_true(freed < PART / 8);
		/* Until all is back it is not gone. */
		assert_true(unit_process_stats().dying || script_pages_out() == unit_fixed_bytes());
	}
	assert_true(rounds > 3);
	assert_int_equal(unit_process_stats().dying, 0);
	assert_int_equal(script_pages_out(), unit_fixed_bytes());
	assert_int_equal(script_nr_reports(), 0);
}

/* The same where each object is destructed. */
static unsigned int nr_destructed;

static void count_destructed(void *obj, void *ctx)
{
	(void)obj;
	(void)ctx;
	nr_destructed++;
}

static void destructors_run_in_parts(void)
{
	enum { N = 2 * PART };
	struct bpf_mem_alloc *ma = unit_ma(64, false);
	unsigned int i, before, rounds = 0;
	static void *obj[N];

	bpf_mem_alloc_set_dtor(ma, count_destructed, NULL, NULL);
	for (i = 0; i < N; i++)
		assert_non_null(obj[i] = bpf_mem_cache_alloc(ma));
	for (i = 0; i < N; i++)
		if (i % 2)
			bpf_mem_cache_free(ma, obj[i]);
		else
			bpf_mem_cache_free_rcu(ma, obj[i]);
	unit_destroy(ma);
	bma_reclaim();
	unit_pass(1);
	nr_destructed = 0;
	do {
		before = nr_destructed;
		i = bma_reclaim();
		rounds++;
		assert_true(nr_destructed - before <= PART);
	} while (i);
	assert_int_equal(nr_destructed, N);
	assert_true(rounds > 2);
	assert_int_equal(script_nr_reports(), 0);
}

/*
 * Destroyed while what leaves is sorted into its spans, and while these are settled: each is destructed
 * once, the deferred too.
 */
static void destroyed_while_it_sorts(void)
{
	enum { N = 5000, STEPS = 5 };
	struct bpf_mem_cache *c;
	struct bma_magazine *m;
	unsigned int i, steps;
	bool more = true;

	for (steps = 0; steps < STEPS; steps++) {
		unit_begin();
		c = unit_ma(16, false)->caches;
		bpf_mem_alloc_set_dtor(&unit.ma[0], count_destructed, NULL, NULL);
		nr_destructed = 0;
		/* Straight from the slab, as the shadow has no room for so many. */
		for (i = 0; i < N / 2; i++) {
			m = bma_magazine_new();
			assert_true(bma_slab_fill(c, m));
			bma_chain_add(&c->ttrace_wait, m);
		}
		port_store(&c->nr_ttrace, N, relaxed);
		bma_slab_defer(c, bma_slab_get(c));
		bma_slab_get(c);
		for (i = 0; i < steps; i++)
			more = bma_slab_put_chain(c, &c->ttrace_wait);
		assert_int_equal(more, steps < STEPS - 1);
		unit_destroy(&unit.ma[0]);
		unit_settle();
		assert_int_equal(nr_destructed, N + 1);
		unit.lost = 1;
		unit_end();
	}
	unit_begin();
}

/* --- interrupted ------------------------------------------------------------------------------------------- */

static struct bpf_mem_alloc *other;

static void prepare_two(void)
{
	scene_freed = 4;
	scene_freed_rcu = 3;
	scene_prepare();
	other = unit_ma(1024, false);
	unit_free_rcu(other, unit_alloc(other));
}

static void run_teardown(void)
{
	unit_destroy(other);
	bma_reclaim();
	unit_pass(1);
	bma_reclaim();
}

/* Others go on, and begin. */
static void nested_init(void *arg)
{
	struct bpf_mem_alloc *third = unit_new_ma();

	(void)arg;
	/* As another thread would, so it is nobody's nested context. */
	script_as_thread(true);
	assert_int_equal(bpf_mem_alloc_init(third, 64, false), 0);
	script_as_thread(false);
	unit_free_rcu(third, unit_alloc(third));
}

static void teardown_bears_interruption(void)
{
	static void (*const nested[])(void *) = { scene_nested_to_and_fro, scene_nested_free_rcu,
						  nested_init };
	struct unit_scene scene = { .prepare = prepare_two,
				    .run = run_teardown,
				    .check = scene_check };
	unsigned int i, points = 0;

	for (i = 0; i < 3; i++) {
		scene.nested = nested[i];
		points += unit_explore(&scene);
	}
	print_message("    (%u points)\n", points);
	assert_true(points > 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT_TEST(an_rcu_reader_stays_inside),
		UNIT_TEST(a_trace_reader_stays_inside),
		UNIT_TEST(own_readers_stay_inside),
		UNIT_TEST(a_dying_allocator_counts_until_it_is_gone),
		UNIT_TEST(a_leftover_meets_a_ripe_bucket),
		UNIT_TEST(an_unused_one_goes_too),
		UNIT_TEST(all_zero_and_destroyed_are_accepted),
		UNIT_TEST(the_context_goes_once),
		UNIT_TEST(the_destructor_runs_once_for_each),
		UNIT_TEST(two_are_destroyed),
		UNIT_TEST(each_waits_for_its_own_readers),
		UNIT_TEST(of_every_class),
		UNIT_TEST(limbo_goes_as_it_is),
		UNIT_TEST(a_large_one_goes_in_parts),
		UNIT_TEST(destructors_run_in_parts),
		UNIT_TEST(destroyed_while_it_sorts),
		UNIT_TEST(teardown_bears_interruption),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
