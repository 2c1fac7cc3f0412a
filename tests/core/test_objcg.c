// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_objcg.c - accounts for memory
 */
#include "every_access.h"
#include "../../core/objcg.c"
#include "unit.h"

#define SPAN 4096u

static struct obj_cgroup *account(size_t limit)
{
	struct obj_cgroup *objcg = obj_cgroup_create("test", limit);

	assert_non_null(objcg);
	assert_int_equal(obj_cgroup_usage(objcg), 0);
	return objcg;
}

static struct bpf_mem_alloc *ma_with(struct obj_cgroup *objcg)
{
	struct bpf_mem_alloc *ma = unit_ma(1024, false);

	bpf_mem_alloc_set_objcg(ma, objcg);
	return ma;
}

/* As many objects as there are, up to @max. */
static unsigned int alloc_up_to(struct bpf_mem_alloc *ma, void **obj, unsigned int max)
{
	unsigned int n = 0;

	while (n < max && (obj[n] = unit_try(ma, GFP_NOWAIT)))
		n++;
	return n;
}

static void the_limit_is_exact(void)
{
	static const size_t limits[] = { 1, SPAN - 1, SPAN, SPAN + 1, 3 * SPAN - 1, 3 * SPAN };
	void *obj[20];
	unsigned int i, n;

	for (i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		unit_begin();
		struct obj_cgroup *objcg = account(limits[i]);
		struct bpf_mem_alloc *ma = ma_with(objcg);

		n = alloc_up_to(ma, obj, 20);
		assert_int_equal(n, limits[i] / SPAN * 4);
		assert_int_equal(obj_cgroup_usage(objcg), limits[i] / SPAN * SPAN);
		assert_int_equal(unit_stats(ma).refusals, 1);
		assert_int_equal(unit_stats(ma).bytes_spans, obj_cgroup_usage(objcg));
		/* What comes back can be had again; the limit is of memory, not of calls. */
		if (n) {
			unit_free(ma, obj[n - 1]);
			obj[n - 1] = unit_try(ma, 0);
			assert_non_null(obj[n - 1]);
		}
		unit_free_many(ma, obj, n);
		unit_settle();
		assert_int_equal(obj_cgroup_usage(objcg), 0);
		assert_int_equal(alloc_up_to(ma, obj, 20), n);
		unit_free_many(ma, obj, n);
		obj_cgroup_put(objcg);
		unit_end();
	}
	unit_begin();
}

static void no_limit(void)
{
	struct obj_cgroup *objcg = account(0);
	struct bpf_mem_alloc *ma = ma_with(objcg);
	void *obj[200];

	unit_alloc_many(ma, obj, 200);
	assert_int_equal(obj_cgroup_usage(objcg), 50 * SPAN);
	unit_free_many(ma, obj, 200);
	obj_cgroup_put(objcg);
}

static void a_charge_that_leads_to_nothing_is_taken_back(void)
{
	struct obj_cgroup *objcg = account(0);
	struct bpf_mem_alloc *ma = ma_with(objcg);
	unsigned int i;

	for (i = 1; i <= 2; i++) {
		script_fail(SCRIPT_PAGES_ALLOC, i, SCRIPT_EVER);
		assert_null(unit_try(ma, 0));
		assert_int_equal(obj_cgroup_usage(objcg), 0);
		assert_int_equal(unit_stats(ma).bytes_spans, 0);
	}
	script_fail(SCRIPT_PAGES_ALLOC, 1, 0);
	obj_cgroup_put(objcg);
}

static void two_allocators_share_a_limit(void)
{
	struct obj_cgroup *objcg = account(4 * SPAN);
	struct bpf_mem_alloc *a = ma_with(objcg), *b = ma_with(objcg);
	void *of_a[20], *of_b[20];
	unsigned int n = alloc_up_to(a, of_a, 12), m = alloc_up_to(b, of_b, 20);

	assert_int_equal(n, 12);
	assert_int_equal(m, 4);
	assert_int_equal(obj_cgroup_usage(objcg), 4 * SPAN);
	unit_free_many(a, of_a, n);
	unit_destroy(a);
	assert_null(unit_try(b, 0));
	unit_settle();
	assert_int_equal(obj_cgroup_usage(objcg), SPAN);
	m += alloc_up_to(b, of_b + m, 16);
	assert_int_equal(m, 16);
	unit_free_many(b, of_b, m);
	obj_cgroup_put(objcg);
}

static void every_copy_is_charged(void)
{
	struct obj_cgroup *objcg;
	struct bpf_mem_alloc *ma;
	void *obj;

	script_nr_cpus(3);
	objcg = account(3 * SPAN);
	ma = unit_ma(1024, true);
	bpf_mem_alloc_set_objcg(ma, objcg);
	obj = unit_alloc(ma);
	assert_int_equal(obj_cgroup_usage(objcg), 3 * SPAN);
	unit_free(ma, obj);
	obj_cgroup_put(objcg);
}

static void a_move_takes_the_charge_along(void)
{
	struct obj_cgroup *a = account(0), *b = account(SPAN);
	struct bpf_mem_alloc *ma = unit_ma(1024, false);
	void *obj[12];

	unit_alloc_many(ma, obj, 4);
	bpf_mem_alloc_set_objcg(ma, a);
	assert_int_equal(obj_cgroup_usage(a), SPAN);
	unit_alloc_many(ma, obj + 4, 8);
	assert_int_equal(obj_cgroup_usage(a), 3 * SPAN);
	/* Past the limit, if need be; but then no further. */
	bpf_mem_alloc_set_objcg(ma, b);
	assert_int_equal(obj_cgroup_usage(a), 0);
	assert_int_equal(obj_cgroup_usage(b), 3 * SPAN);
	assert_null(unit_try(ma, 0));
	/* To where it is already, to none and back. */
	bpf_mem_alloc_set_objcg(ma, b);
	assert_int_equal(obj_cgroup_usage(b), 3 * SPAN);
	bpf_mem_alloc_set_objcg(ma, NULL);
	assert_int_equal(obj_cgroup_usage(b), 0);
	bpf_mem_alloc_set_objcg(ma, NULL);
	bpf_mem_alloc_set_objcg(ma, a);
	assert_int_equal(obj_cgroup_usage(a), 3 * SPAN);
	unit_free_many(ma, obj, 12);
	unit_settle();
	assert_int_equal(obj_cgroup_usage(a), 0);
	obj_cgroup_put(a);
	obj_cgroup_put(b);
}

/* An allocator's reference keeps the account until its memory is back. */
static void references_keep_it(void)
{
	struct obj_cgroup *objcg = account(0);
	struct bpf_mem_alloc *ma = ma_with(objcg);
	void *obj = unit_alloc(ma);

	assert_int_equal(port_load(&objcg->refs, relaxed), 2);
	obj_cgroup_put(objcg);
	unit_free(ma, obj);
	unit_destroy(ma);
	assert_int_equal(port_load(&objcg->refs, relaxed), 1);
	assert_int_equal(obj_cgroup_usage(objcg), SPAN);
	bma_reclaim();
	assert_int_equal(obj_cgroup_usage(objcg), SPAN);
	unit_pass(1);
	bma_reclaim();
	/* Gone with the last: its piece is free. */
	assert_true(unit_is_free(objcg, bma_meta_class(sizeof(*objcg))));
}

static void names_and_nobody(void)
{
	static const char name[] = "a name that is longer than the thirty-one bytes that are kept";
	struct obj_cgroup *objcg = obj_cgroup_create(name, 7), *none = obj_cgroup_create(NULL, 0);

	assert_int_equal(strlen(objcg->name), 31);
	assert_memory_equal(objcg->name, name, 31);
	assert_int_equal(objcg->limit, 7);
	assert_int_equal(none->name[0], 0);
	assert_int_equal(obj_cgroup_usage(NULL), 0);
	obj_cgroup_put(NULL);
	obj_cgroup_put(objcg);
	obj_cgroup_put(none);
}

static void no_memory_for_an_account(void)
{
	script_fail(SCRIPT_PAGES_ALLOC, 1, 1);
	assert_null(obj_cgroup_create("test", 0));
	assert_int_equal(script_pages_out(), 0);
}

static void not_an_allocator(void)
{
	struct obj_cgroup *objcg = account(0);
	struct bpf_mem_alloc ma = { 0 };

	bpf_mem_alloc_set_objcg(&ma, objcg);
	assert_int_equal(script_nr_reports(), 1);
	unit_check_report("bpf_mem_alloc_set_objcg", &ma);
	assert_int_equal(port_load(&objcg->refs, relaxed), 1);
	obj_cgroup_put(objcg);
}

/* Two charge at once, at the limit: never more than the limit, and not less than there is. */
static struct obj_cgroup *shared;
static struct bpf_mem_alloc *one, *two;
static unsigned int nr_charged;

static void prepare_charge(void)
{
	shared = account(3 * SPAN);
	one = ma_with(shared);
	two = ma_with(shared);
	nr_charged = 0;
}

static void run_charge(void)
{
	nr_charged += bma_charge(one->group, 2 * SPAN);
}

static void nested_charge(void *arg)
{
	(void)arg;
	nr_charged += bma_charge(two->group, 2 * SPAN);
}

static void check_charge(void)
{
	assert_int_equal(nr_charged, 1);
	assert_int_equal(obj_cgroup_usage(shared), 2 * SPAN);
	bma_uncharge(unit_stats(one).bytes_spans ? one->group : two->group, 2 * SPAN);
	assert_int_equal(obj_cgroup_usage(shared), 0);
	obj_cgroup_put(shared);
}

static void a_charge_bears_interruption(void)
{
	const struct unit_scene scene = { .prepare = prepare_charge,
					  .run = run_charge,
					  .nested = nested_charge,
					  .check = check_charge };

	assert_true(unit_explore(&scene) >= 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT_TEST(the_limit_is_exact),
		UNIT_TEST(no_limit),
		UNIT_TEST(a_charge_that_leads_to_nothing_is_taken_back),
		UNIT_TEST(two_allocators_share_a_limit),
		UNIT_TEST(every_copy_is_charged),
		UNIT_TEST(a_move_takes_the_charge_along),
		UNIT_TEST(references_keep_it),
		UNIT_TEST(names_and_nobody),
		UNIT_TEST(no_memory_for_an_account),
		UNIT_TEST(not_an_allocator),
		UNIT_TEST(a_charge_bears_interruption),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
