// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_init.c - making an allocator
 */
#include "every_access.h"
#include "../../core/init.c"
#include "scenes.h"

static const struct rcu_flavor_struct *const flavor = (void *)class_sizes;

static void check_untouched(const struct bpf_mem_alloc *ma)
{
	assert_null(ma->cpus);
	assert_null(ma->caches);
	assert_null(ma->group);
	assert_int_equal(ma->bytes_caches, 0);
	assert_int_equal(script_pages_out(), 0);
	assert_null(bma_world.groups);
	assert_int_equal(bma_stack_first(&bma_world.inbox), 0);
}

static void bad_input(void)
{
	static const struct {
		int size;
		bool percpu;
		int err;
	} bad[] = {
		{ -1, false, -PORT_EINVAL },
		{ -1, true, -PORT_EINVAL },
		{ -2147483647 - 1, false, -PORT_EINVAL },
		{ 0, true, -PORT_EINVAL },
		{ BPF_MEM_CACHE_SIZE_MAX + 1, false, -PORT_E2BIG },
		{ BPF_MEM_CACHE_SIZE_MAX + 1, true, -PORT_E2BIG },
		{ 2147483647, false, -PORT_E2BIG },
	};
	struct bpf_mem_alloc ma;
	unsigned int i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		memset(&ma, 0x5a, sizeof(ma));
		assert_int_equal(bpf_mem_alloc_init(&ma, bad[i].size, bad[i].percpu), bad[i].err);
		check_untouched(&ma);
		memset(&ma, 0x5a, sizeof(ma));
		assert_int_equal(bpf_mem_alloc_init_flavor(&ma, bad[i].size, bad[i].percpu, flavor),
				 bad[i].err);
		check_untouched(&ma);
	}
	memset(&ma, 0x5a, sizeof(ma));
	assert_int_equal(bpf_mem_alloc_init_flavor(&ma, 64, false, NULL), -PORT_EINVAL);
	check_untouched(&ma);
	/* What is left can be destroyed. */
	bpf_mem_alloc_destroy(&ma);
	check_untouched(&ma);
}

static void the_largest_and_the_smallest(void)
{
	struct bpf_mem_alloc *large = unit_ma(BPF_MEM_CACHE_SIZE_MAX, false),
			     *small = unit_ma(1, false);
	void *obj[3];

	assert_int_equal(large->caches->size, BPF_MEM_CACHE_SIZE_MAX);
	assert_int_equal(large->caches->capacity, 1);
	assert_int_equal(small->caches->size, 8);
	unit_alloc_many(large, obj, 3);
	unit_free_rcu(large, obj[0]);
	unit_free_many(large, obj + 1, 2);
	unit_alloc_many(small, obj, 3);
	unit_free_many(small, obj, 3);
}

static void memory_for_objects_comes_later(void)
{
	struct bpf_mem_alloc *ma;
	unsigned int i;

	script_nr_cpus(8);
	ma = unit_ma(64, false);
	/* One chunk of metadata, and no pagemap yet. */
	assert_int_equal(script_pages_out(), PORT_META_CHUNK);
	assert_int_equal(unit_stats(ma).spans, 0);
	assert_int_equal(unit_stats(ma).allocators, 1);
	for (i = 0; i < 8; i++)
		assert_ptr_equal(port_load(&ma->group->cpus[i], relaxed), bma_no_cpu);
}

static void each_flavour_has_its_domain(void)
{
	struct bpf_mem_alloc *ma = unit_new_ma();

	assert_int_equal(bpf_mem_alloc_init_flavor(ma, 64, false, flavor), 0);
	assert_ptr_equal(ma->group->gp, script_gp(1));
	assert_ptr_equal(unit_ma(64, false)->group->gp, script_gp(0));
	/* And without one it is core's own, of either init. */
	assert_ptr_equal(unit_own_ma(64, false)->group->gp, &bma_rcu);
	ma = unit_new_ma();
	assert_int_equal(bpf_mem_alloc_percpu_init(ma, NULL), 0);
	assert_ptr_equal(ma->group->gp, &bma_rcu);
	assert_int_equal(script_calls(SCRIPT_FLAVOR), 2);
	assert_int_equal(script_calls(SCRIPT_INIT), 4);
}

static void no_domain_is_no_memory(void)
{
	struct bpf_mem_alloc ma;

	script_fail(SCRIPT_FLAVOR, 1, 2);
	memset(&ma, 0x5a, sizeof(ma));
	assert_int_equal(bpf_mem_alloc_init_flavor(&ma, 64, false, flavor), -PORT_ENOMEM);
	check_untouched(&ma);
	memset(&ma, 0x5a, sizeof(ma));
	assert_int_equal(bpf_mem_alloc_init_flavor(&ma, 0, true, script_flavor()), -PORT_EINVAL);
	check_untouched(&ma);
	assert_int_equal(bpf_mem_alloc_init_flavor(&ma, 64, false, script_flavor()), -PORT_ENOMEM);
	check_untouched(&ma);
}

/* Each of three kinds, for 1 to 1000 CPUs; with so many the table of CPUs is not a piece any more. */
static int init_kind(struct bpf_mem_alloc *ma, unsigned int kind)
{
	switch (kind) {
	case 0:
		return bpf_mem_alloc_init(ma, 64, false);
	case 1:
		return bpf_mem_alloc_init(ma, 0, false);
	default:
		return bpf_mem_alloc_percpu_init(ma, NULL);
	}
}

/* Let there be @pages of metadata only, and @more calls for other pages. */
static bool init_with(unsigned int kind, unsigned int cpus, unsigned int pages, unsigned int more)
{
	struct bpf_mem_alloc ma = { 0 };
	struct bma_stack inbox;
	int err;

	unit_begin();
	script_nr_cpus(cpus);
	inbox = bma_world.inbox;
	unit_meta_left(pages);
	script_fail(SCRIPT_PAGES_ALLOC, more + 1, SCRIPT_EVER);
	err = init_kind(&ma, kind);
	if (err) {
		assert_int_equal(err, -PORT_ENOMEM);
		assert_null(ma.group);
		assert_null(ma.cpus);
		assert_int_equal(inbox.head, bma_world.inbox.head);
	}
	bpf_mem_alloc_destroy(&ma);
	/* Nothing leaks: the end says so. */
	unit_end();
	return !err;
}

static void every_allocation_may_fail(void)
{
	static const unsigned int cpus[] = { 1, 512, 513, 1000 };
	unsigned int kind, i, pages, more, failed = 0, done = 0;

	for (kind = 0; kind < 3; kind++) {
		for (i = 0; i < 4; i++) {
			for (pages = 0; pages <= 6; pages++) {
				for (more = 0; more <= 2; more++) {
					if (init_with(kind, cpus[i], pages, more))
						done++;
					else
						failed++;
				}
			}
		}
	}
	unit_begin();
	assert_true(done > 20);
	assert_true(failed > 50);
}

static void with_many_cpus(void)
{
	struct bpf_mem_alloc *ma;
	void *obj;

	script_nr_cpus(1000);
	ma = unit_ma(64, false);
	script_cpu(999);
	obj = unit_alloc(ma);
	script_cpu(0);
	unit_free(ma, obj);
	unit_destroy(ma);
	/* What a destroyed one points to is there as well. */
	script_cpu(999);
	assert_null(bpf_mem_cache_alloc(ma));
}

static void percpu_classes(void)
{
	struct bpf_mem_alloc *ma = &unit.ma[unit.nr_mas++], *fixed, *plain;
	unsigned int i, size;

	script_nr_cpus(2);
	assert_int_equal(bpf_mem_alloc_percpu_init(ma, NULL), 0);
	assert_int_equal(bpf_mem_alloc_percpu_unit_init(ma, 0), -PORT_EINVAL);
	assert_int_equal(bpf_mem_alloc_percpu_unit_init(ma, -1), -PORT_EINVAL);
	assert_int_equal(bpf_mem_alloc_percpu_unit_init(ma, 4097), -PORT_EINVAL);
	for (i = 0; i < BMA_NR_CLASSES; i++)
		assert_false(port_load(&ma->caches[i].ready, relaxed));
	for (i = 0, size = 1; size <= 4096; size++) {
		assert_int_equal(bpf_mem_alloc_percpu_unit_init(ma, size), 0);
		if (size > class_sizes[i])
			i++;
		assert_true(port_load(&ma->caches[i].ready, relaxed));
		assert_true(i + 1 == BMA_NR_CLASSES ||
			    !port_load(&ma->caches[i + 1].ready, relaxed));
	}
	fixed = unit_ma(64, true);
	plain = unit_ma(0, false);
	assert_int_equal(bpf_mem_alloc_percpu_unit_init(fixed, 64), -PORT_EINVAL);
	assert_int_equal(bpf_mem_alloc_percpu_unit_init(plain, 64), -PORT_EINVAL);
	unit_destroy(ma);
	assert_int_equal(bpf_mem_alloc_percpu_unit_init(ma, 64), -PORT_EINVAL);
}

static void percpu_init_takes_an_account(void)
{
	struct bpf_mem_alloc *ma = &unit.ma[unit.nr_mas++];
	struct obj_cgroup *objcg = obj_cgroup_create("percpu", 4096);

	assert_int_equal(bpf_mem_alloc_percpu_init(ma, objcg), 0);
	assert_int_equal(bpf_mem_alloc_percpu_unit_init(ma, 1024), 0);
	unit_free(ma, unit_alloc_size(ma, 1024));
	assert_int_equal(obj_cgroup_usage(objcg), 4096);
	obj_cgroup_put(objcg);
}

static void no_dtor_for_what_is_no_allocator(void)
{
	struct bpf_mem_alloc ma = { 0 };

	bpf_mem_alloc_set_dtor(&ma, NULL, NULL, NULL);
	assert_int_equal(script_nr_reports(), 1);
	assert_string_equal(script_report(0)->func, "bpf_mem_alloc_set_dtor");
	assert_ptr_equal(script_report(0)->ptr, &ma);
}

/* Two first allocators at once share what there is one of. */
static void run_init(void)
{
	unit_ma(64, false);
}

static void nested_init(void *arg)
{
	(void)arg;
	script_as_thread(true);
	unit_ma(0, false);
	script_as_thread(false);
}

static void check_init(void)
{
	unsigned int i;

	assert_int_equal(unit.nr_mas, 2);
	bma_adopt();
	assert_non_null(bma_world.groups);
	assert_non_null(bma_world.groups->next);
	for (i = 0; i < 2; i++) {
		if (unit.ma[i].group->nr_caches == 1)
			unit_free(&unit.ma[i], unit_alloc(&unit.ma[i]));
		else
			unit_free(&unit.ma[i], unit_alloc_size(&unit.ma[i], 64));
	}
}

static void prepare_513(void)
{
	script_nr_cpus(513);
}

static void init_bears_interruption(void)
{
	struct unit_scene scene = { .run = run_init, .nested = nested_init, .check = check_init };

	assert_true(unit_explore(&scene) > 10);
	scene.prepare = prepare_513;
	assert_true(unit_explore(&scene) > 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT_TEST(bad_input),
		UNIT_TEST(the_largest_and_the_smallest),
		UNIT_TEST(memory_for_objects_comes_later),
		UNIT_TEST(each_flavour_has_its_domain),
		UNIT_TEST(no_domain_is_no_memory),
		UNIT_TEST(every_allocation_may_fail),
		UNIT_TEST(with_many_cpus),
		UNIT_TEST(percpu_classes),
		UNIT_TEST(percpu_init_takes_an_account),
		UNIT_TEST(no_dtor_for_what_is_no_allocator),
		UNIT_TEST(init_bears_interruption),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
