// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_debug.c - debug mode: records, pattern, marks, quarantine
 *
 * The shadow of unit.h does without debug mode's pattern, so these tests call the allocator themselves.
 */
#include "every_access.h"
#include "../../core/debug.c"
#include "unit.h"

#define SIZE 24 /* in 32 bytes */
#define STRIDE 32

static struct bpf_mem_alloc *ma;

static void begin(const char *options)
{
	script_debug(options, false);
	ma = unit_ma(SIZE, false);
}

static void begin_own(const char *options)
{
	script_debug(options, false);
	ma = unit_own_ma(SIZE, false);
}

static bool is_filled(const char *obj)
{
	return unit_all(obj, STRIDE, PATTERN);
}

static void *get(void)
{
	char *obj = bpf_mem_cache_alloc(ma);

	assert_non_null(obj);
	assert_true(script_is_out(obj, STRIDE));
	assert_true(unit_all(obj, STRIDE, 0) || is_filled(obj));
	memset(obj, 'u', SIZE);
	return obj;
}

static void assert_as_freed(const char *obj)
{
	assert_true(unit_all(obj, SIZE, 'u'));
	assert_false(script_is_gone(obj, STRIDE));
}

static void assert_poisoned(const char *obj)
{
	assert_true(is_filled(obj));
	assert_true(script_is_gone(obj, STRIDE));
}

/* The only misuse so far; what it says. */
static const struct bma_misuse *said(const char *func, const char *what, const void *ptr)
{
	const struct bma_misuse *m = script_misuse(0);

	assert_int_equal(script_nr_misuses(), 1);
	assert_string_equal(m->call.func, func);
	assert_non_null(strstr(m->what, what));
	assert_ptr_equal(m->ptr, ptr);
	assert_ptr_equal(m->allocator, ma);
	return m;
}

static void off_is_off(void)
{
	void *obj;

	begin("0");
	assert_ptr_equal(ma->cpus, ma->group->cpus);
	obj = bpf_mem_cache_alloc(ma);
	assert_null(bma_pagemap_span(obj)->records);
	bpf_mem_cache_free(ma, obj);
	assert_int_equal(script_calls(SCRIPT_MARK), 0);
}

/* --- what happens to an object ------------------------------------------------------------------- */

static void nobodys_objects_are_poisoned(void)
{
	char *obj;

	begin_own("1");
	assert_ptr_equal(ma->cpus, port_load(&bma_world.no_cpus, relaxed));
	obj = get();
	assert_false(script_is_out(obj + STRIDE, STRIDE));
	bpf_mem_cache_free(ma, obj);
	assert_poisoned(obj);
	/* As in ordinary mode, the latest is the next. */
	assert_ptr_equal(get(), obj);
	bpf_mem_cache_free(ma, obj);
	assert_int_equal(script_nr_misuses(), 0);
}

static void a_free_under_a_reader_of(unsigned int which)
{
	char *obj, *later;

	unit_begin();
	begin_own("1");
	obj = get();
	later = get();
	script_hold(script_gp(which), true);
	bpf_mem_cache_free(ma, obj);
	bpf_mem_cache_free_rcu(ma, later);
	assert_as_freed(obj);
	assert_as_freed(later);
	assert_ptr_equal(bpf_mem_cache_alloc(ma), obj);
	assert_true(unit_all(obj, SIZE, 'u'));
	script_hold(script_gp(which), false);
	bpf_mem_cache_free(ma, obj);
	assert_poisoned(obj);
	unit_end();
}

static void what_a_reader_may_have_is_left_alone(void)
{
	char *obj;

	a_free_under_a_reader_of(SCRIPT_RCU);
	a_free_under_a_reader_of(SCRIPT_TRACE);
	unit_begin();
	begin_own("1");
	obj = get();
	bpf_rcu_read_lock();
	bpf_mem_cache_free(ma, obj);
	bpf_rcu_read_unlock();
	assert_as_freed(obj);
	/* Where barrier SCAN cannot be had, nobody knows. */
	assert_ptr_equal(bpf_mem_cache_alloc(ma), obj);
	script_fail(SCRIPT_FENCE, 1, 1);
	bpf_mem_cache_free(ma, obj);
	assert_as_freed(obj);
}

static void ripe_objects_are_poisoned(bool held)
{
	char *obj[4];
	unsigned int i;

	unit_begin();
	begin("1");
	for (i = 0; i < 4; i++)
		obj[i] = get();
	for (i = 0; i < 4; i++)
		bpf_mem_cache_free_rcu(ma, obj[i]);
	bpf_mem_alloc_stats(ma, &(struct bpf_mem_stats){ 0 });
	port_store(&ma->group->want_flush, true, relaxed);
	unit_rounds(1);
	for (i = 0; i < 4; i++)
		assert_as_freed(obj[i]);
	if (held)
		script_hold(script_gp(SCRIPT_TRACE), true);
	unit_pass_in(script_gp(0), 2);
	unit_rounds(1);
	for (i = 0; i < 4; i++) {
		if (held)
			assert_as_freed(obj[i]);
		else
			assert_poisoned(obj[i]);
	}
	if (held)
		script_hold(script_gp(SCRIPT_TRACE), false);
	unit_end();
	assert_int_equal(script_nr_misuses(), 0);
}

static void what_is_ripe_is_poisoned(void)
{
	ripe_objects_are_poisoned(false);
	ripe_objects_are_poisoned(true);
	unit_begin();
}

static char held[SIZE];
static unsigned int nr_destructed;

static void dtor(void *obj, void *ctx)
{
	(void)ctx;
	assert_memory_equal(obj, held, SIZE);
	nr_destructed++;
}

static void a_destructor_finds_what_was_there(void)
{
	void *obj[2];

	memset(held, 'u', SIZE);
	nr_destructed = 0;
	begin("1");
	bpf_mem_alloc_set_dtor(ma, dtor, NULL, NULL);
	obj[0] = get();
	obj[1] = get();
	bpf_mem_cache_free(ma, obj[0]);
	assert_true(script_is_gone(obj[0], STRIDE));
	bpf_mem_cache_free_rcu(ma, obj[1]);
	unit_end();
	assert_int_equal(nr_destructed, 2);
	unit_begin();
}

static void every_copy_is_poisoned(void)
{
	char *obj, *copy;
	int i;

	script_nr_cpus(3);
	script_debug("1", false);
	ma = unit_ma(SIZE, true);
	obj = bpf_mem_cache_alloc(ma);
	bpf_mem_cache_free(ma, obj);
	for (i = 0; i < 3; i++)
		assert_poisoned(bpf_per_cpu_ptr(obj, i));
	copy = bpf_per_cpu_ptr(obj, 2);
	copy[9] = 0;
	assert_ptr_equal(bpf_mem_cache_alloc(ma), obj);
	assert_int_equal(said("bpf_mem_cache_alloc", "written after", obj)->offset, copy + 9 - obj);
	bpf_mem_cache_free(ma, obj);
}

/* --- misuse --------------------------------------------------------------------------------------- */

static void who_may_sleep_gets_a_record(void)
{
	void *obj;

	begin("1");
	/* The first try finds nothing. */
	script_fail(SCRIPT_PAGES_ALLOC, 1, 1);
	obj = bpf_mem_cache_alloc_flags(ma, GFP_KERNEL);
	assert_true(script_is_out(obj, STRIDE));
	bpf_mem_free(ma, obj);
	bpf_mem_free(ma, obj);
	said("bpf_mem_free", "freed already", obj);
}

static void raw_free(struct bpf_mem_alloc *unused, void *obj)
{
	(void)unused;
	bpf_mem_cache_raw_free(obj);
}

static const struct {
	const char *name;
	void (*free)(struct bpf_mem_alloc *ma, void *obj);
} frees[] = {
	{ "bpf_mem_free", bpf_mem_free },
	{ "bpf_mem_free_rcu", bpf_mem_free_rcu },
	{ "bpf_mem_cache_free", bpf_mem_cache_free },
	{ "bpf_mem_cache_free_rcu", bpf_mem_cache_free_rcu },
	{ "bpf_mem_cache_raw_free", raw_free },
};
#define NR_FREES (sizeof(frees) / sizeof(frees[0]))

static void free_by_both(size_t first, size_t second)
{
	const struct bma_misuse *m;
	void *obj, *other;

	unit_begin();
	begin("1");
	obj = get();
	other = get();
	script_thread(2);
	frees[first].free(ma, obj);
	script_thread(3);
	frees[second].free(ma, obj);
	m = said(frees[second].name, first == 4 ? "not allocated" : "freed already", obj);
	assert_string_equal(m->free.func, frees[first].name);
	assert_int_equal(m->alloc.thread, 1);
	assert_int_equal(m->free.thread, 2);
	assert_int_equal(m->call.thread, 3);
	assert_true(m->alloc.site && m->free.site && m->call.site);
	assert_int_equal(m->size, SIZE);
	assert_false(m->fatal);
	assert_int_equal(unit_stats(ma).bad_frees, 1);
	assert_int_equal(unit_stats(ma).objs_in_use, 1);
	bpf_mem_free(ma, other);
	unit_end();
	assert_int_equal(script_nr_misuses(), 1);
}

static void a_double_free_is_found(void)
{
	size_t i, j;

	for (i = 0; i < NR_FREES; i++)
		for (j = 0; j < NR_FREES; j++)
			free_by_both(i, j);
	unit_begin();
}

static void what_was_not_allocated_is_not_freed(void)
{
	char *obj;

	begin("1");
	obj = get();
	bpf_mem_free(ma, obj + STRIDE);
	assert_null(said("bpf_mem_free", "not allocated", obj + STRIDE)->free.func);
	bpf_mem_free(ma, obj);
}

static void pointers_into_objects_are_told(void)
{
	const struct bma_misuse *m;
	char *obj;

	begin("abort");
	obj = get();
	bpf_mem_free(ma, obj + 5);
	m = said("bpf_mem_free", "into an object", obj + 5);
	assert_int_equal(m->offset, 5);
	assert_int_equal(m->size, SIZE);
	assert_true(m->alloc.site && m->fatal);
	bpf_mem_free(ma, obj);
}

/* A call that names no allocator: the object's own is told. */
static void raw_pointers_into_objects_are_told(void)
{
	const struct bma_misuse *m;
	char *obj;

	begin("1");
	obj = get();
	bpf_mem_cache_raw_free(obj + 5);
	m = said("bpf_mem_cache_raw_free", "into an object", obj + 5);
	assert_int_equal(m->offset, 5);
	assert_int_equal(m->size, SIZE);
	bpf_mem_free(ma, obj);
}

/* What is left of a span's memory belongs to no object. */
static void what_is_behind_the_objects_is_told(void)
{
	const struct bma_misuse *m;
	struct bpf_mem_cache *c;
	char *obj, *end;

	script_debug("1", false);
	ma = unit_ma(88, false);
	c = ma->caches;
	assert_true(c->nr_objs * c->size < c->span_bytes);
	obj = bpf_mem_cache_alloc(ma);
	end = (char *)((uintptr_t)obj & ~(uintptr_t)c->span_mask) + c->nr_objs * c->size;
	bpf_mem_free(ma, end);
	m = said("bpf_mem_free", "no object", end);
	assert_true(m->offset == BMA_NO_OFFSET && !m->alloc.func);
	bpf_mem_free(ma, obj);
}

static void several_sizes_are_no_size(void)
{
	script_debug("1", false);
	ma = unit_ma(0, false);
	bpf_mem_free(ma, held);
	assert_int_equal(said("bpf_mem_free", "no object", held)->size, 0);
}

static void others_objects_are_told(void)
{
	struct bpf_mem_alloc *other;
	const struct bma_misuse *m;
	char *obj;

	begin("1");
	other = unit_ma(SIZE, false);
	obj = get();
	bpf_mem_free(other, obj);
	m = said("bpf_mem_free", "another allocator", obj);
	assert_true(m->alloc.site && !m->free.func);
	assert_int_equal(unit_stats(other).bad_frees, 1);
	bpf_mem_free(ma, obj);
}

static void foreign_pointers_are_told(void)
{
	begin("1");
	bpf_mem_free(ma, held);
	assert_null(said("bpf_mem_free", "no object", held)->alloc.func);
}

static void use_after_destroy_is_told(void)
{
	unsigned int i;

	for (i = 0; i < 2; i++) {
		unit_begin();
		begin(i ? "1" : "0");
		bpf_mem_alloc_destroy(ma);
		assert_null(bpf_mem_cache_alloc(ma));
		if (i)
			said("bpf_mem_cache_alloc", "destroyed", ma);
		else
			assert_non_null(strstr(script_report(0)->what, "destroyed"));
		bpf_mem_free(ma, held);
		assert_int_equal(i ? script_nr_misuses() : script_nr_reports(), 2);
		unit_end();
	}
	unit_begin();
}

/* --- writes after free ----------------------------------------------------------------------------- */

static void a_late_write_is_found_at_alloc(void)
{
	const struct bma_misuse *m;
	char *obj;

	begin("1");
	obj = get();
	bpf_mem_cache_free(ma, obj);
	obj[17] = 1;
	obj[20] = 1;
	assert_ptr_equal(bpf_mem_cache_alloc(ma), obj);
	m = said("bpf_mem_cache_alloc", "written after", obj);
	assert_int_equal(m->offset, 17);
	assert_string_equal(m->free.func, "bpf_mem_cache_free");
	bpf_mem_cache_free(ma, obj);
}

static void a_late_write_is_found_when_memory_leaves(void)
{
	char *obj;

	begin("1");
	obj = get();
	bpf_mem_cache_free(ma, obj);
	obj[0] = 0;
	port_store(&ma->group->want_flush, true, relaxed);
	unit_settle();
	assert_int_equal(unit_stats(ma).spans, 0);
	assert_int_equal(said("bma", "written after", obj)->offset, 0);
}

static void a_late_write_is_found_at_destroy(void)
{
	char *obj;

	begin("1");
	obj = get();
	bpf_mem_cache_free(ma, obj);
	obj[31] = 0;
	unit_end();
	assert_int_equal(said("bma", "written after", obj)->offset, 31);
	unit_begin();
}

static void a_wild_write_into_the_slab_is_found(void)
{
	char *obj, *next;

	begin("1");
	obj = get();
	/* A magazine was filled from below. */
	obj[3 - STRIDE] = 1;
	next = bpf_mem_cache_alloc(ma);
	assert_ptr_equal(next, obj - STRIDE);
	assert_int_equal(said("bpf_mem_cache_alloc", "not handed out", next)->offset, 3);
	bpf_mem_cache_free(ma, obj);
	bpf_mem_cache_free(ma, next);
}

static void leaks_are_listed(void)
{
	unsigned int i;

	begin("1");
	for (i = 0; i < 11; i++)
		get();
	unit.lost = 11;
	unit_end();
	assert_int_equal(script_nr_misuses(), LEAKS_SHOWN);
	assert_string_equal(script_misuse(7)->call.func, "bpf_mem_alloc_destroy");
	assert_true(script_misuse(7)->alloc.site);
	unit_begin();
}

/* --- quarantine ------------------------------------------------------------------------------------ */

#define NR 24

/* Free @obj and let it ripen. */
static void free_and_ripen(void *obj, unsigned int i)
{
	if (i % 2)
		bpf_mem_cache_free(ma, obj);
	else
		bpf_mem_cache_free_rcu(ma, obj);
	unit_pass_in(script_gp(0), 2);
	port_store(&ma->group->want_flush, true, relaxed);
	bma_adopt();
	if (port_load(&ma->group->cpus[0], relaxed) != bma_no_cpu)
		bma_reclaim_harvest(ma->group, 0);
	unit_pass_in(script_gp(0), 2);
	bma_limbo_ripen(ma->caches);
}

/* Generations of four objects: the first comes back when eight are freed, and no sooner. */
static void an_object_stays_between_one_and_two_generations(void)
{
	void *obj[NR];
	unsigned int i;

	begin("quarantine=128");
	for (i = 0; i < NR; i++)
		obj[i] = get();
	for (i = 0; i < NR; i++) {
		free_and_ripen(obj[i], i);
		assert_poisoned(obj[i]);
		assert_int_equal(port_load(&ma->caches->nr_quarantined, relaxed),
				 i < 7 ? i + 1 : 4 + (i + 1) % 4);
		assert_int_equal(unit_stats(ma).objs_free + unit_stats(ma).objs_waiting_rcu, i + 1);
	}
	assert_int_equal(script_nr_misuses(), 0);
}

static void no_memory_empties_the_quarantine(void)
{
	void *obj[NR], *again;
	unsigned int i;

	begin("quarantine=1G");
	for (i = 0; i < NR; i++)
		obj[i] = get();
	for (i = 0; i < NR; i++)
		free_and_ripen(obj[i], i);
	assert_int_equal(unit_stats(ma).objs_waiting_rcu, NR);
	script_fail(SCRIPT_PAGES_ALLOC, 1, SCRIPT_EVER);
	for (i = 0; i < NR; i++)
		get();
	while ((again = bpf_mem_cache_alloc(ma)))
		i++, unit.lost++;
	assert_int_equal(unit_stats(ma).objs_waiting_rcu, 0);
	unit.lost += NR;
	script_fail(SCRIPT_PAGES_ALLOC, 1, 0);
}

/* As it is just after a generation has become the old one. */
static void no_memory_empties_an_old_generation(void)
{
	void *obj[8];
	unsigned int i;

	begin("quarantine=128");
	for (i = 0; i < 8; i++)
		obj[i] = get();
	for (i = 0; i < 8; i++)
		free_and_ripen(obj[i], i);
	assert_false(bma_stack_first(&ma->caches->young));
	assert_true(bma_stack_first(&ma->caches->old));
	script_fail(SCRIPT_PAGES_ALLOC, 1, SCRIPT_EVER);
	while (bpf_mem_cache_alloc(ma))
		unit.lost++;
	assert_int_equal(unit_stats(ma).objs_waiting_rcu, 0);
	script_fail(SCRIPT_PAGES_ALLOC, 1, 0);
}

static void teardown_takes_the_quarantine(void)
{
	void *obj[NR];
	unsigned int i;

	begin("quarantine=128");
	for (i = 0; i < NR; i++)
		obj[i] = get();
	for (i = 0; i < 7; i++)
		free_and_ripen(obj[i], i);
	assert_int_equal(port_load(&ma->caches->nr_quarantined, relaxed), 7);
	for (; i < NR; i++)
		bpf_mem_cache_free(ma, obj[i]);
	((char *)obj[5])[1] = 0;
	unit_end();
	assert_int_equal(said("bma", "written after", obj[5])->offset, 1);
	unit_begin();
}

/* --- no memory, and interruption ------------------------------------------------------------------- */

static void no_records_no_span(void)
{
	unsigned int nth;
	void *obj;

	for (nth = 1; nth < 6; nth++) {
		unit_begin();
		begin("1");
		script_fail(SCRIPT_PAGES_ALLOC, nth, SCRIPT_EVER);
		obj = bpf_mem_cache_alloc(ma);
		script_fail(SCRIPT_PAGES_ALLOC, 1, 0);
		if (!obj)
			obj = get();
		bpf_mem_cache_free(ma, obj);
		unit_end();
		assert_int_equal(script_nr_misuses(), 0);
	}
	unit_begin();
}

static void free_with_no_memory_defers(void)
{
	void *obj[NR];
	unsigned int i;

	begin("1");
	for (i = 0; i < NR; i++)
		obj[i] = get();
	unit_no_meta();
	for (i = 0; i < NR; i++)
		free_and_ripen(obj[i], i);
	assert_true(port_load(&ma->caches->nr_deferred, relaxed) > 0);
	unit_meta_back();
	unit_settle();
	assert_int_equal(unit_stats(ma).objs_in_use, 0);
	assert_int_equal(script_nr_misuses(), 0);
}

static void *shared_obj;

static void prepare_shared(void)
{
	begin_own("1");
	shared_obj = get();
}

static void run_free(void)
{
	bpf_mem_cache_free(ma, shared_obj);
}

static void run_free_rcu(void)
{
	bpf_mem_cache_free_rcu(ma, shared_obj);
}

static void nested_free(void *arg)
{
	(void)arg;
	bpf_mem_free(ma, shared_obj);
}

static void check_once(void)
{
	said(script_misuse(0)->call.func, "freed already", shared_obj);
	assert_int_equal(unit_stats(ma).objs_in_use, 0);
	assert_int_equal(unit_stats(ma).bad_frees, 1);
}

static void run_turn(void)
{
	void *obj[5];
	unsigned int i;

	for (i = 0; i < 5; i++)
		obj[i] = get();
	for (i = 0; i < 5; i++)
		frees[i].free(ma, obj[i]);
}

static void nested_turn(void *arg)
{
	(void)arg;
	run_turn();
}

static void prepare_turn(void)
{
	begin_own("quarantine=96");
}

static void prepare_turn_plain(void)
{
	begin_own("1");
}

static void check_turn(void)
{
	assert_int_equal(script_nr_misuses(), 0);
	assert_int_equal(unit_stats(ma).objs_in_use, 0);
}

static void a_double_free_is_found_at_every_access(void)
{
	assert_true(unit_explore(&(struct unit_scene){ .prepare = prepare_shared,
						       .run = run_free,
						       .nested = nested_free,
						       .check = check_once }) > 15);
	assert_true(unit_explore(&(struct unit_scene){ .prepare = prepare_shared,
						       .run = run_free_rcu,
						       .nested = nested_free,
						       .check = check_once }) > 10);
}

static void all_bears_interruption(void)
{
	assert_true(unit_explore(&(struct unit_scene){ .prepare = prepare_turn_plain,
						       .run = run_turn,
						       .nested = nested_turn,
						       .check = check_turn }) > 100);
	assert_true(unit_explore(&(struct unit_scene){ .prepare = prepare_turn,
						       .run = run_turn,
						       .nested = nested_turn,
						       .check = check_turn }) > 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT_TEST(off_is_off),
		UNIT_TEST(nobodys_objects_are_poisoned),
		UNIT_TEST(what_a_reader_may_have_is_left_alone),
		UNIT_TEST(what_is_ripe_is_poisoned),
		UNIT_TEST(a_destructor_finds_what_was_there),
		UNIT_TEST(every_copy_is_poisoned),
		UNIT_TEST(who_may_sleep_gets_a_record),
		UNIT_TEST(a_double_free_is_found),
		UNIT_TEST(what_was_not_allocated_is_not_freed),
		UNIT_TEST(pointers_into_objects_are_told),
		UNIT_TEST(raw_pointers_into_objects_are_told),
		UNIT_TEST(what_is_behind_the_objects_is_told),
		UNIT_TEST(several_sizes_are_no_size),
		UNIT_TEST(others_objects_are_told),
		UNIT_TEST(foreign_pointers_are_told),
		UNIT_TEST(use_after_destroy_is_told),
		UNIT_TEST(a_late_write_is_found_at_alloc),
		UNIT_TEST(a_late_write_is_found_when_memory_leaves),
		UNIT_TEST(a_late_write_is_found_at_destroy),
		UNIT_TEST(a_wild_write_into_the_slab_is_found),
		UNIT_TEST(leaks_are_listed),
		UNIT_TEST(an_object_stays_between_one_and_two_generations),
		UNIT_TEST(no_memory_empties_the_quarantine),
		UNIT_TEST(no_memory_empties_an_old_generation),
		UNIT_TEST(teardown_takes_the_quarantine),
		UNIT_TEST(no_records_no_span),
		UNIT_TEST(free_with_no_memory_defers),
		UNIT_TEST(a_double_free_is_found_at_every_access),
		UNIT_TEST(all_bears_interruption),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
