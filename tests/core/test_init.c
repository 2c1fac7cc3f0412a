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

static uint64_t meta_bytes(void)
{
	uint64_t bytes = port_load(&bma_world.meta.nr_pages, relaxed) * PORT_META_PAGE;
	unsigned int class;

	for (class = 0; class < BMA_META_CLASSES; class ++)
		bytes -= unit_free_pieces(class) * unit_piece_bytes(class);
	return bytes;
}

/* However many CPUs there may be. */
static void an_idle_one_is_small(void)
{
	static const unsigned int cpus[] = { 1, 8, 512, 4096 };
	static const struct {
		int size;
		uint64_t bytes;
	} kinds[] = { { 64, 4096 }, { 0, 8192 } };
	unsigned int i, j;
	uint64_t before;
	size_t pages;

	for (i = 0; i < 4; i++) {
		for (j = 0; j < 2; j++) {
			unit_begin();
			script_nr_cpus(cpus[i]);
			/* What all share is there already. */
			unit_ma(64, false);
			pages = script_pages_out();
			before = meta_bytes();
			unit_ma(kinds[j].size, false);
			assert_true(meta_bytes() - before <= kinds[j].bytes);
			assert_int_equal(script_pages_out(), pages);
			unit_end();
		}
	}
	unit_begin();
}

/* The table comes with the first block, and with no memory for it all goes on without. */
static void the_table_comes_when_it_is_needed(void)
{
	bma_cpu_ptr_t *none, *own;
	struct bpf_mem_alloc *ma;
	void *obj[6];

	script_nr_cpus(8);
	ma = unit_ma(1024, false);
	none = port_load(&bma_world.no_cpus, relaxed);
	assert_ptr_equal(ma->cpus, none);
	assert_ptr_equal(bma_cpus(ma->group), none);
	obj[0] = unit_alloc(ma);
	own = bma_cpus(ma->group);
	assert_ptr_not_equal(own, none);
	assert_ptr_equal(ma->cpus, own);
	script_cpu(3);
	obj[1] = unit_alloc(ma);
	assert_ptr_equal(bma_cpus(ma->group), own);
	unit_free_many(ma, obj, 2);
	ma = unit_ma(1024, false);
	unit_free(ma, unit_alloc(ma));
	ma = unit_ma(1024, false);
	/* The span first, as from now on there is none to be had. */
	obj[0] = bma_slab_get(ma->caches);
	unit_got(ma->caches, obj[0]);
	unit_no_meta();
	obj[1] = unit_alloc(ma);
	unit_free(ma, obj[1]);
	unit_free_rcu(ma, obj[0]);
	assert_ptr_equal(bma_cpus(ma->group), none);
	unit_meta_back();
	unit_free(ma, unit_alloc(ma));
	assert_ptr_not_equal(bma_cpus(ma->group), none);
	assert_ptr_equal(ma->cpus, bma_cpus(ma->group));
	for (unsigned int i = 0; i < 8; i++)
		assert_ptr_equal(port_load(&none[i], relaxed), bma_no_cpu);
}

/* Two that begin at once, on one CPU or on two; and one that stops for good between the two stores. */
static unsigned int nested_cpu;

static void prepare_first(void)
{
	script_nr_cpus(2);
	scene_ma = unit_ma(1024, false);
}

static void run_first(void)
{
	unit_free(scene_ma, unit_alloc(scene_ma));
}

static void nested_first(void *arg)
{
	(void)arg;
	script_cpu(nested_cpu);
	run_first();
	script_cpu(0);
}

static void check_first(void)
{
	assert_ptr_equal(scene_ma->cpus, bma_cpus(scene_ma->group));
	assert_true(bma_has_cpus(scene_ma->group));
	unit_check_stats(scene_ma, 0, unit_stats(scene_ma).objs_free, 0, 0);
}

static void the_first_bear_interruption(void)
{
	struct unit_scene scene = { .prepare = prepare_first,
				    .run = run_first,
				    .nested = nested_first,
				    .check = check_first };

	for (nested_cpu = 0; nested_cpu < 2; nested_cpu++)
		assert_true(unit_explore(&scene) > 10);
}

static void a_table_that_was_not_shown_is_by_the_next(void)
{
	struct bpf_mem_alloc *ma;

	script_nr_cpus(2);
	ma = unit_ma(64, false);
	/* As if the context that made it were gone. */
	port_store(&ma->group->cpus, cpus_new(), relaxed);
	unit_free(ma, unit_alloc(ma));
	assert_ptr_equal(ma->cpus, bma_cpus(ma->group));
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
	unit_check_report("bpf_mem_alloc_set_dtor", &ma);
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
		UNIT_TEST(an_idle_one_is_small),
		UNIT_TEST(the_table_comes_when_it_is_needed),
		UNIT_TEST(the_first_bear_interruption),
		UNIT_TEST(a_table_that_was_not_shown_is_by_the_next),
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
