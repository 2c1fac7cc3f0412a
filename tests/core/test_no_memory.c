// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_no_memory.c - every public call, with the nth request for pages refused, for every n
 *
 * Once, twice or from then on, and with none to a few pages of metadata left, so that whatever a call
 * takes is at some time what it does not get.  A call then says so or does without; the shadow of
 * unit.h knows what must not be lost, and when there is memory again all is as ever.
 */
#include "unit.h"

#define LIVE 10

static struct bpf_mem_alloc *fixed, *sized, *percpu;
static void *live[LIVE];
static unsigned int nr_live;

static void prepare(void)
{
	script_nr_cpus(2);
	fixed = unit_own_ma(1024, false);
	sized = unit_own_ma(0, false);
	percpu = unit_own_ma(64, true);
	for (nr_live = 0; nr_live < LIVE; nr_live++)
		live[nr_live] = unit_alloc(fixed);
}

/* --- the calls ------------------------------------------------------------------------------------------ */

static void call_alloc(void)
{
	unsigned int i;

	for (i = 0; i < LIVE; i++) {
		script_cpu(i % 2);
		unit_try(fixed, 0);
	}
}

static void call_alloc_kernel(void)
{
	unsigned int i;

	for (i = 0; i < LIVE; i++)
		unit_try(fixed, GFP_KERNEL);
}

static void call_alloc_size(void)
{
	size_t size;
	void *obj;

	for (size = 16; size <= BPF_MEM_ALLOC_SIZE_MAX; size *= 2) {
		obj = bpf_mem_alloc(sized, size);
		if (obj)
			unit_got(bma_pagemap_cache(obj), obj);
	}
}

static void call_alloc_percpu(void)
{
	unit_try(percpu, 0);
	script_cpu(1);
	unit_try(percpu, 0);
}

static void call_free(void)
{
	unit_free_many(fixed, live, nr_live);
}

static void call_free_rcu(void)
{
	script_cpu(1);
	unit_free_rcu_many(fixed, live, nr_live);
}

static void call_raw_free(void)
{
	while (nr_live)
		unit_raw_free(live[--nr_live]);
}

static void call_init(void)
{
	struct bpf_mem_alloc ma[4] = { { 0 } };
	int i, err[4];

	err[0] = bpf_mem_alloc_init(&ma[0], 64, false);
	err[1] = bpf_mem_alloc_init(&ma[1], 0, false);
	err[2] = bpf_mem_alloc_init_flavor(&ma[2], 64, true, script_flavor());
	err[3] = bpf_mem_alloc_percpu_init(&ma[3], NULL);
	if (!err[3])
		assert_int_equal(bpf_mem_alloc_percpu_unit_init(&ma[3], 64), 0);
	for (i = 0; i < 4; i++) {
		assert_true(!err[i] || err[i] == -PORT_ENOMEM);
		assert_true(!err[i] == !!ma[i].group);
		bpf_mem_alloc_destroy(&ma[i]);
	}
}

static void call_set(void)
{
	struct obj_cgroup *objcg = obj_cgroup_create("account", 1 << 20);

	bpf_mem_alloc_set_objcg(fixed, objcg);
	bpf_mem_alloc_set_limbo_limit(fixed, 1 << 20);
	bpf_mem_alloc_set_dtor(sized, NULL, NULL, NULL);
	assert_int_equal(obj_cgroup_usage(objcg), objcg ? unit_stats(fixed).bytes_spans : 0);
	obj_cgroup_put(objcg);
}

/* A thread's first sections: they cannot fail, and have some records in reserve. */
static void call_read(void)
{
	static unsigned int last;
	bpf_rcu_cookie cookie;

	script_thread(2 + last++ % 10);
	bpf_rcu_read_lock();
	rcu_read_lock_trace();
	script_thread(1);
	cookie = bpf_rcu_get_state();
	assert_false(bpf_rcu_poll_state(cookie));
	script_thread(2 + (last - 1) % 10);
	rcu_read_unlock_trace();
	bpf_rcu_read_unlock();
	script_thread(1);
	assert_true(bpf_rcu_poll_state(cookie));
}

static unsigned int called;

static void count(struct bpf_rcu_head *head)
{
	(void)head;
	called++;
}

static void call_wait(void)
{
	struct bpf_rcu_head rcu, trace;

	called = 0;
	unit_free_rcu_many(fixed, live, nr_live);
	bpf_call_rcu(&rcu, count);
	call_rcu_tasks_trace(&trace, count);
	bpf_rcu_synchronize();
	synchronize_rcu_tasks_trace();
	bpf_rcu_barrier();
	unit_settle();
	assert_int_equal(called, 2);
	assert_int_equal(unit_stats(fixed).objs_waiting_rcu, 0);
}

static void call_stats(void)
{
	assert_int_equal(unit_stats(fixed).objs_in_use, LIVE);
	assert_int_equal(unit_process_stats().objs_in_use, LIVE);
	assert_int_equal(unit_process_stats().allocators, 3);
}

static void call_destroy(void)
{
	unit_free_rcu_many(fixed, live, nr_live / 2);
	unit_destroy(fixed);
	unit_destroy(percpu);
	unit_settle();
	assert_int_equal(unit_process_stats().allocators, 1);
	assert_int_equal(unit_process_stats().spans, 0);
}

/* The reclaimer fetches what CPUs hold, and puts it back. */
static void call_reclaim(void)
{
	unit_free_rcu_many(fixed, live, nr_live);
	port_store(&fixed->group->want_flush, true, relaxed);
	unit_settle();
	assert_int_equal(unit_stats(fixed).objs_in_use, 0);
}

/* --- each of them --------------------------------------------------------------------------------------- */

/* Once more, with memory. */
static void check_recovered(void)
{
	unsigned int i;

	unit_meta_back();
	unit_check_freed();
	for (i = 0; fixed->group && i < LIVE; i++)
		unit_free(fixed, unit_alloc(fixed));
	unit_free(sized, unit_alloc_size(sized, 512));
	assert_int_equal(unit_process_stats().objs_in_use, unit.out);
}

/* How many requests @call made when the @nth and so many as @count are refused. */
static unsigned int refuse(void (*call)(void), unsigned int pages, unsigned int nth,
			   unsigned int count)
{
	unsigned int before;

	unit_begin();
	prepare();
	unit_meta_left(pages);
	before = script_calls(SCRIPT_PAGES_ALLOC);
	script_fail(SCRIPT_PAGES_ALLOC, nth, count);
	call();
	before = script_calls(SCRIPT_PAGES_ALLOC) - before;
	check_recovered();
	unit_end();
	return before;
}

static unsigned int refuse_each(void (*call)(void))
{
	static const unsigned int counts[] = { 1, 2, SCRIPT_EVER };
	unsigned int pages, nth, i, requests, most = 0;

	for (pages = 0; pages <= 3; pages++) {
		for (i = 0; i < 3; i++) {
			nth = 0;
			do {
				requests = refuse(call, pages, ++nth, counts[i]);
				assert_true(nth < 200);
			} while (requests >= nth);
			most = nth - 1 > most ? nth - 1 : most;
		}
	}
	unit_begin();
	return most;
}

static void those_that_ask_for_memory(void)
{
	static void (*const calls[])(void) = {
		call_alloc, call_alloc_kernel, call_alloc_size, call_alloc_percpu,
		call_free,  call_init,	       call_set,	call_wait,
	};
	unsigned int i;

	for (i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		assert_true(refuse_each(calls[i]) > 0);
}

static void those_that_need_not(void)
{
	static void (*const calls[])(void) = {
		call_free_rcu, call_raw_free, call_read, call_stats, call_destroy, call_reclaim,
	};
	unsigned int i;

	for (i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		refuse_each(calls[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT_TEST(those_that_ask_for_memory),
		UNIT_TEST(those_that_need_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
