// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_exit.c - threads that end, in the middle of anything
 *
 * By returning, by deferred cancellation (never inside a call of ours, and then nothing is lost), by
 * asynchronous cancellation and by pthread_exit() in a handler (at any instruction: what the thread had
 * in hand is lost until its allocator is destroyed).  Whatever became of them, the others go on, grace
 * periods end, and destroy gives everything back.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bma.h"
#include "nodes.h"

/* A call has at most this in hand. */
#define IN_HAND (2 * 62 + 2)

static void pieces_back(void)
{
	bpf_rcu_barrier();
	bpf_rcu_synchronize();
	synchronize_rcu_tasks_trace();
}

/* With the dead behind us: every CPU serves, what was freed ripens, and no reader is left inside. */
static void go_on(void)
{
	bpf_rcu_cookie rcu = bpf_rcu_get_state(), trace = rcu_tasks_trace_get_state();
	unsigned int i;

	for (i = 0; i < nr_cpus_here(); i++) {
		pin(i);
		steps(500, i);
	}
	unpin();
	pieces_back();
	must(bpf_rcu_poll_state(rcu) && rcu_tasks_trace_poll_state(trace));
}

/* Nothing waits but what the count, made before the push, says of @dead ones that never pushed. */
static void check_limbo(uint64_t dead)
{
	must(stats_of(&shared).objs_waiting_rcu <= dead * 62);
	must(!bma_stack_first(&shared.caches->by_rcu));
	for (unsigned int i = 0; i < BMA_NR_BUCKETS; i++)
		must(!(uint32_t)port_load(&shared.caches->bucket[i], relaxed));
}

static int begin(void **state)
{
	(void)state;
	return bpf_mem_alloc_init(&shared, sizeof(struct node), false);
}

/* Destroy, when @dead threads may have lost @each objects; how many were. */
static uint64_t end_with(uint64_t dead, uint64_t each)
{
	uint64_t before = process_stats().never_freed, lost;

	go_on();
	check_limbo(dead);
	stderr_begin();
	lost = tear_down() - before;
	stderr_end();
	assert_true(lost <= dead * each);
	return lost;
}

/* --- short lives ------------------------------------------------------------------------------------ */

/* Some end inside sections, and all leave to others what they have made. */
static void *live(void *arg)
{
	uint64_t random = (uintptr_t)arg + 1;
	unsigned int i;

	for (i = 0; i < 20; i++) {
		read_one(&random);
		replace_one(&random);
		delete_node(new_node(&random), i % 2);
	}
	rcu_read_lock_trace();
	bpf_rcu_read_lock();
	if (rnd(&random) % 4)
		bpf_rcu_read_unlock();
	if (rnd(&random) % 4)
		rcu_read_unlock_trace();
	return NULL;
}

static void test_short_lives(void **state)
{
	unsigned long n = turns(2000, 10000) / 8 * 8, i;
	pthread_t threads[8];

	(void)state;
	for (i = 0; i < n; i++) {
		thread_start(&threads[i % 8], live, (void *)i);
		if (i % 8 == 7)
			for (int j = 0; j < 8; j++)
				thread_join(threads[j]);
	}
	go_on();
	assert_true(bma_reader_records() < 64);
	assert_int_equal(stats_of(&shared).objs_in_use, PUBLISHED);
	assert_int_equal(end_with(0, 0), 0);
}

/* --- cancellation: no call of ours is a point of it --------------------------------------------------- */

static __thread bool in_call;

static void not_in_call(void *arg)
{
	(void)arg;
	must(!in_call);
}

static void callback(struct bpf_rcu_head *head)
{
	(void)head;
}

/* A stall, and what else is written. */
static void calls_that_report(void)
{
	int local;

	bpf_mem_cache_free(&shared, &local);
	bpf_rcu_read_lock();
	bpf_rcu_synchronize();
	bpf_rcu_barrier();
	bpf_rcu_read_unlock();
}

static void calls_that_block(void)
{
	struct bpf_mem_alloc ma, memb;
	struct bpf_rcu_head head;
	struct obj_cgroup *cg = obj_cgroup_create("cancelled", 1 << 20);

	must(!bpf_mem_alloc_init(&ma, 0, false));
	must(!init_for(&memb, 64, false, flavors[MEMB].ops));
	bpf_mem_alloc_set_objcg(&ma, cg);
	bpf_mem_alloc_set_limbo_limit(&memb, 4096);
	for (int i = 0; i < 1000; i++)
		bpf_mem_cache_free_rcu(&memb, bpf_mem_cache_alloc_flags(&memb, GFP_KERNEL));
	bpf_mem_free_rcu(&ma, bpf_mem_alloc(&ma, 100));
	bpf_call_rcu(&head, callback);
	pieces_back();
	must(!stats_of(&ma).objs_in_use);
	bpf_mem_alloc_destroy(&ma);
	bpf_mem_alloc_destroy(&memb);
	obj_cgroup_put(cg);
}

/* With a cancellation that waits for its point from the first call on. */
static void *be_cancelled(void *arg)
{
	pthread_cleanup_push(not_in_call, NULL);
	pthread_cancel(pthread_self());
	in_call = true;
	steps(200, (uintptr_t)arg);
	calls_that_report();
	calls_that_block();
	in_call = false;
	pthread_testcancel();
	abort();
	pthread_cleanup_pop(0);
	return NULL;
}

static void test_cancel_deferred(void **state)
{
	struct sitter s;
	pthread_t thread;
	void *result;
	int i;

	(void)state;
	stderr_begin();
	for (i = 0; i < 20; i++) {
		thread_start(&thread, be_cancelled, (void *)(uintptr_t)i);
		/* Somebody to wait for, now and then. */
		if (i % 4 == 0) {
			sitter_begin(&s, i % 8 ? flavors[OWN].ops : &trace_readers);
			sleep_us(20000);
			sitter_end(&s);
		}
		assert_int_equal(pthread_join(thread, &result), 0);
		assert_ptr_equal(result, PTHREAD_CANCELED);
	}
	stderr_end();
	assert_int_equal(end_with(0, 0), 0);
}

/* --- at any instruction ------------------------------------------------------------------------------- */

#define VICTIMS 4

struct victim {
	struct node *own[OWN_OBJS]; /* not freed when it ends */
	_Atomic bool at_work;
	bool blocks, asynchronous;
	uint64_t random;
	pthread_t thread;
};

static void exit_now(int sig)
{
	(void)sig;
	pthread_exit(NULL);
}

static void victim_step(struct victim *v)
{
	step(v->own, &v->random);
	rcu_read_lock_trace();
	step(v->own, &v->random);
	rcu_read_unlock_trace();
	if (!v->blocks || rnd(&v->random) % 4)
		return;
	switch (rnd(&v->random) % 4) {
	case 0:
		bpf_rcu_synchronize();
		break;
	case 1:
		bpf_rcu_barrier();
		break;
	case 2:
		must(stats_of(&shared).allocators <= 1);
		break;
	default:
		bpf_mem_cache_free(&shared, bpf_mem_cache_alloc_flags(&shared, GFP_KERNEL));
	}
}

static void *work_until_the_end(void *arg)
{
	struct victim *v = arg;
	sigset_t end;

	if (v->asynchronous)
		pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
	sigemptyset(&end);
	sigaddset(&end, SIGUSR1);
	pthread_sigmask(SIG_UNBLOCK, &end, NULL);
	atomic_store(&v->at_work, true);
	for (;;)
		victim_step(v);
	return NULL;
}

static void victim_begin(struct victim *v)
{
	memset(v->own, 0, sizeof(v->own));
	atomic_store(&v->at_work, false);
	thread_start(&v->thread, work_until_the_end, v);
}

static void victim_end(struct victim *v)
{
	await(atomic_load(&v->at_work));
	/* Somewhere. */
	sleep_us((unsigned int)(rnd(&v->random) >> 32) % 3000);
	must(!(v->asynchronous ? pthread_cancel(v->thread) : pthread_kill(v->thread, SIGUSR1)));
	thread_join(v->thread);
}

static void end_anywhere(bool asynchronous, bool blocks, unsigned long n)
{
	static struct victim victims[VICTIMS];
	unsigned long i;
	uint64_t lost;

	assert_int_not_equal(signal(SIGUSR1, exit_now), SIG_ERR);
	for (i = 0; i < VICTIMS; i++) {
		victims[i].asynchronous = asynchronous;
		victims[i].blocks = blocks;
		victims[i].random = i * 123 + n;
		victim_begin(&victims[i]);
	}
	for (i = 0; i < n; i++) {
		victim_end(&victims[i % VICTIMS]);
		steps(50, i);
		victim_begin(&victims[i % VICTIMS]);
	}
	for (i = 0; i < VICTIMS; i++)
		victim_end(&victims[i]);
	lost = end_with(n + VICTIMS, OWN_OBJS + IN_HAND);
	/* They did end with something. */
	assert_true(lost >= n);
}

static void test_cancel_asynchronous(void **state)
{
	if (TEST_TSAN)
		skip_because("TSan does not follow a thread that ends anywhere");
	assert_int_equal(begin(state), 0);
	end_anywhere(true, false, turns(400, 20000));
}

static void test_exit_in_handler(void **state)
{
	if (TEST_TSAN)
		skip_because("TSan does not follow a thread that ends anywhere");
	assert_int_equal(begin(state), 0);
	end_anywhere(false, false, turns(400, 20000));
}

static void test_exit_in_blocking_call(void **state)
{
	if (TEST_TSAN)
		skip_because("TSan does not follow a thread that ends anywhere");
	assert_int_equal(begin(state), 0);
	end_anywhere(false, true, turns(400, 20000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_short_lives, begin, check_nothing_left),
		cmocka_unit_test_setup_teardown(test_cancel_deferred, begin, check_nothing_left),
		cmocka_unit_test_teardown(test_cancel_asynchronous, check_nothing_left),
		cmocka_unit_test_teardown(test_exit_in_handler, check_nothing_left),
		cmocka_unit_test_teardown(test_exit_in_blocking_call, check_nothing_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
