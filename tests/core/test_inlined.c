// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_inlined.c - what a caller's own code calls where it has no hit
 */
#include "unit.h"

static void all_that_the_call_would_do(void)
{
	struct bpf_mem_alloc *fixed = unit_ma(64, false), *sized = unit_ma(0, false);
	unsigned int i;
	void *obj[4];

	for (i = 0; i < 200; i++) {
		obj[0] = bpf_mem_cache_alloc_(fixed);
		obj[1] = bpf_mem_cache_alloc_flags_(fixed, i % 2 ? GFP_KERNEL : GFP_NOWAIT);
		obj[2] = bpf_mem_alloc_(sized, 64);
		obj[3] = bpf_mem_alloc_(sized, 64);
		assert_true(obj[0] && obj[1] && obj[2] && obj[3]);
		assert_ptr_not_equal(obj[0], obj[1]);
		assert_ptr_not_equal(obj[2], obj[3]);
		bpf_mem_cache_free_(fixed, obj[0]);
		bpf_mem_cache_free_rcu_(fixed, obj[1]);
		bpf_mem_free_(sized, obj[2]);
		bpf_mem_free_rcu_(sized, obj[3]);
	}
	assert_int_equal(unit_stats(fixed).objs_in_use, 0);
	assert_int_equal(unit_stats(fixed).objs_waiting_rcu, 200);
	assert_int_equal(unit_stats(sized).objs_in_use, 0);
	assert_int_equal(unit_stats(sized).objs_waiting_rcu, 200);
	unit_pass(1);
	assert_int_equal(script_nr_reports(), 0);
}

static void it_speaks_of_the_call_that_the_user_wrote(void)
{
	struct bpf_mem_alloc *fixed = unit_ma(64, false), *sized = unit_ma(0, false);
	int obj;

	assert_null(bpf_mem_cache_alloc_(sized));
	unit_check_report("bpf_mem_cache_alloc", sized);
	assert_null(bpf_mem_cache_alloc_flags_(sized, GFP_KERNEL));
	unit_check_report("bpf_mem_cache_alloc_flags", sized);
	assert_null(bpf_mem_alloc_(fixed, 64));
	unit_check_report("bpf_mem_alloc", fixed);
	bpf_mem_cache_free_(fixed, &obj);
	unit_check_report("bpf_mem_cache_free", &obj);
	bpf_mem_cache_free_rcu_(fixed, &obj);
	unit_check_report("bpf_mem_cache_free_rcu", &obj);
	bpf_mem_free_(sized, &obj);
	unit_check_report("bpf_mem_free", &obj);
	bpf_mem_free_rcu_(sized, &obj);
	unit_check_report("bpf_mem_free_rcu", &obj);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT_TEST(all_that_the_call_would_do),
		UNIT_TEST(it_speaks_of_the_call_that_the_user_wrote),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
