// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_percpu.c - objects with a copy for each CPU
 */
#include "every_access.h"
#include "../../core/percpu.c"
#include "unit.h"

#define NR_CPUS 5

static struct bpf_mem_alloc *percpu_ma(int size)
{
	script_nr_cpus(NR_CPUS);
	return unit_ma(size, true);
}

/* All copies of all objects are apart, aligned, and hold what was written to them. */
static void each_cpu_has_its_own_copy(void)
{
	static const int sizes[] = { 1, 8, 40, 64, 1000, 4096, 5000 };
	unsigned int i, cpu;
	void *obj[9];

	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		unit_begin();
		struct bpf_mem_alloc *ma = percpu_ma(sizes[i]);

		/* The shadow fills every copy with its own pattern, and looks at all in the end. */
		unit_alloc_many(ma, obj, 9);
		unit_check_freed();
		assert_ptr_equal(bpf_per_cpu_ptr(obj[0], 0), obj[0]);
		for (cpu = 0; cpu < NR_CPUS; cpu++) {
			script_cpu(cpu);
			assert_ptr_equal(bpf_this_cpu_ptr(obj[3]), bpf_per_cpu_ptr(obj[3], cpu));
			assert_int_equal((uintptr_t)bpf_this_cpu_ptr(obj[3]) % 8, 0);
		}
		unit_free_many(ma, obj, 9);
		unit_end();
	}
	unit_begin();
}

static void what_is_no_copy_is_null(void)
{
	struct bpf_mem_alloc *ma = percpu_ma(64), *plain = unit_ma(64, false);
	void *obj = unit_alloc(ma), *no = unit_alloc(plain);

	assert_null(bpf_per_cpu_ptr(obj, -1));
	assert_null(bpf_per_cpu_ptr(obj, NR_CPUS));
	assert_null(bpf_per_cpu_ptr(obj, 1 << 30));
	assert_non_null(bpf_per_cpu_ptr(obj, NR_CPUS - 1));
	assert_null(bpf_per_cpu_ptr(no, 0));
	assert_null(bpf_this_cpu_ptr(no));
	assert_null(bpf_per_cpu_ptr(NULL, 0));
	assert_null(bpf_this_cpu_ptr(NULL));
	assert_null(bpf_per_cpu_ptr(ZERO_SIZE_PTR, 0));
	assert_null(bpf_per_cpu_ptr(&ma, 0));
	unit_free(ma, obj);
	unit_free(plain, no);
}

/* Only the first copy is the object: of another a free knows nothing. */
static void a_copy_is_no_object(void)
{
	struct bpf_mem_alloc *ma = percpu_ma(64);
	void *obj = unit_alloc(ma);
	unsigned int cpu;

	for (cpu = 1; cpu < NR_CPUS; cpu++)
		bpf_mem_cache_free(ma, bpf_per_cpu_ptr(obj, cpu));
	assert_int_equal(script_nr_reports(), NR_CPUS - 1);
	assert_int_equal(unit_stats(ma).bad_frees, NR_CPUS - 1);
	unit_check_stats(ma, 1, 1, 0, 0);
	unit_free(ma, obj);
}

static void a_recycled_one_holds_what_it_held(void)
{
	struct bpf_mem_alloc *ma = percpu_ma(64);
	void *obj = unit_alloc(ma), *again;

	unit_free(ma, obj);
	again = bpf_mem_cache_alloc(ma);
	assert_ptr_equal(again, obj);
	assert_true(unit_intact(unit_obj(obj)));
	unit_got(ma->caches, again);
	unit_free_rcu(ma, again);
	/* And after the slab it is zero, in every copy: the shadow looks. */
	unit_settle();
	assert_int_equal(unit_stats(ma).spans, 0);
	unit_free(ma, unit_alloc(ma));
}

static void memory_is_of_all_copies(void)
{
	struct bpf_mem_alloc *ma = percpu_ma(1024);
	size_t before;
	void *obj;

	unit_free(ma, unit_alloc(ma));
	unit_settle();
	before = script_pages_out();
	obj = unit_alloc(ma);
	assert_int_equal(script_pages_out(), before + NR_CPUS * 4096);
	assert_int_equal(unit_stats(ma).bytes_spans, NR_CPUS * 4096);
	assert_int_equal(unit_stats(ma).bytes_in_use, 1024);
	unit_free(ma, obj);
}

static void classes_come_when_added(void)
{
	struct bpf_mem_alloc *ma = &unit.ma[unit.nr_mas++];
	void *obj;

	script_nr_cpus(NR_CPUS);
	assert_int_equal(bpf_mem_alloc_percpu_init(ma, NULL), 0);
	assert_null(bpf_mem_alloc(ma, 64));
	assert_int_equal(unit_stats(ma).refusals, 1);
	assert_int_equal(bpf_mem_alloc_percpu_unit_init(ma, 50), 0);
	obj = unit_alloc_size(ma, 33);
	assert_int_equal(unit_obj(obj)->size, 64);
	assert_non_null(bpf_per_cpu_ptr(obj, NR_CPUS - 1));
	assert_null(bpf_mem_alloc(ma, 32));
	assert_null(bpf_mem_alloc(ma, 65));
	unit_free(ma, obj);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT_TEST(each_cpu_has_its_own_copy), UNIT_TEST(what_is_no_copy_is_null),
		UNIT_TEST(a_copy_is_no_object),	      UNIT_TEST(a_recycled_one_holds_what_it_held),
		UNIT_TEST(memory_is_of_all_copies),   UNIT_TEST(classes_come_when_added),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
