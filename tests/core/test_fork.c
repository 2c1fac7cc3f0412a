// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_fork.c - what a child makes of the threads that it does not have
 *
 * A thread is in the middle of a call, at each point of it in turn, when another one forks: in the child it
 * stays there for good.  Or it is this thread that forks, in a handler, and goes on.
 */
#include "every_access.h"
#include "../../core/cpu.c"
#include "../../core/depot.c"
#include "../../core/limbo.c"
#include "../../core/rcu.c"
#include "../../core/slab.c"
#include <setjmp.h>
#include "readers.h"

#define CHILD 9
#define OTHER 2

/* The running thread, @nr from now on, is all that the child has. */
static void fork_as(unsigned int nr)
{
	struct bpf_rcu_reader_ *ours = bpf_rcu_this_reader_;
	uint32_t before = port_thread_id();
	unsigned int i;

	script_thread(nr);
	bpf_rcu_this_reader_ = ours;
	for (i = 1; i <= SCRIPT_THREADS; i++)
		if (i != nr)
			script_thread_dies(i);
	bma_forked(before);
}

/* --- readers ---------------------------------------------------------------------------------------------- */

static void others_are_not_waited_for(void)
{
	unsigned int i;

	for (i = 0; i < 2; i++) {
		const struct domain *d = &domains[i];
		struct bma_gp *gp = script_gp(d->which);

		begin();
		section_of(1);
		script_thread(OTHER);
		d->lock();
		script_thread(1);
		assert_false(one_passes(gp));
		fork_as(CHILD);
		/* Without a look for the dead. */
		assert_true(one_passes(gp));
		section_of(3);
		assert_int_equal(bma_reader_records(), 2);
		end();
	}
}

static void ones_own_section_goes_on(void)
{
	struct bpf_rcu_reader_ *r;

	begin();
	bpf_rcu_read_lock();
	r = bpf_rcu_this_reader_;
	fork_as(CHILD);
	assert_true(bpf_rcu_read_lock_held());
	assert_int_equal(owner(r), CHILD);
	script_thread(3);
	assert_false(one_passes(rcu()));
	bma_gp_poll(rcu(), true);
	assert_true(bma_gp_wanted(rcu()));
	script_thread(CHILD);
	bpf_rcu_read_unlock();
	assert_true(one_passes(rcu()));
	end();
}

/* As after a clone() that core has no word of: whoever looks, the caller is no dead thread. */
static void nor_is_it_lost_without_a_word(void)
{
	begin();
	script_thread(OTHER);
	bpf_rcu_read_lock();
	script_thread(1);
	bpf_rcu_read_lock();
	script_thread_dies(OTHER);
	bpf_rcu_this_reader_->owner = OTHER;
	bma_gp_want(rcu(), bma_gp_number(rcu()), false);
	bma_gp_poll(rcu(), true);
	assert_true(bma_gp_wanted(rcu()));
	bpf_rcu_read_unlock();
	bma_gp_poll(rcu(), true);
	assert_false(bma_gp_wanted(rcu()));
	end();
}

static void in_the_child(void *arg)
{
	(void)arg;
	fork_as(CHILD);
}

/* A handler forks in the middle of this thread's first section. */
static void run_first_section(void)
{
	bpf_rcu_read_lock();
}

static void check_first_section(void)
{
	assert_true(bpf_rcu_read_lock_held());
	assert_int_equal(owner(bpf_rcu_this_reader_), port_thread_id());
	script_thread(3);
	bpf_rcu_read_lock();
	bpf_rcu_read_unlock();
	assert_false(one_passes(rcu()));
	script_thread(CHILD);
	bpf_rcu_read_unlock();
	assert_true(one_passes(rcu()));
	end();
}

static void a_first_section_goes_on(void)
{
	struct unit_scene scene = { .prepare = begin,
				    .run = run_first_section,
				    .nested = in_the_child,
				    .check = check_first_section };

	assert_true(unit_explore(&scene) > 5);
}

/* A handler forks in the middle of this thread's burial of another, and a new thread reads. */
static void prepare_burial(void)
{
	begin();
	section_of(1);
	script_thread(OTHER);
	bpf_rcu_read_lock();
	script_thread(1);
	assert_false(one_passes(rcu()));
	script_thread_dies(OTHER);
}

static void run_burial(void)
{
	bma_gp_poll(rcu(), true);
}

static void fork_and_read(void *arg)
{
	(void)arg;
	fork_as(CHILD);
	script_thread(3);
	bpf_rcu_read_lock();
	script_thread(CHILD);
}

static void check_burial(void)
{
	assert_false(one_passes(rcu()));
	script_thread(3);
	assert_true(bpf_rcu_read_lock_held());
	assert_int_equal(owner(bpf_rcu_this_reader_), 3);
	bpf_rcu_read_unlock();
	assert_true(one_passes(rcu()));
	end();
}

/* A record that was a dead thread's is taken, and a new thread of the child needs one, too. */
static void prepare_dead(void)
{
	begin();
	script_thread(OTHER);
	bpf_rcu_read_lock();
	bpf_rcu_read_unlock();
	script_thread(1);
	script_thread_dies(OTHER);
}

static void check_both_inside(void)
{
	assert_true(bpf_rcu_read_lock_held());
	assert_int_equal(owner(bpf_rcu_this_reader_), CHILD);
	bpf_rcu_read_unlock();
	check_burial();
}

static void a_record_is_taken_once(void)
{
	struct unit_scene scene = { .prepare = prepare_dead,
				    .run = run_first_section,
				    .nested = fork_and_read,
				    .check = check_both_inside };

	assert_true(unit_explore(&scene) > 5);
}

static void a_burial_goes_on(void)
{
	struct unit_scene scene = { .prepare = prepare_burial,
				    .run = run_burial,
				    .nested = fork_and_read,
				    .check = check_burial };

	assert_true(unit_explore(&scene) > 5);
}

/* --- allocators ------------------------------------------------------------------------------------------- */

#define HELD 12

static struct bpf_mem_alloc *ma;
static void *held[HELD];
static jmp_buf parent;

static void other_alloc(void)
{
	bpf_mem_cache_alloc(ma);
}

static void other_free(void)
{
	bpf_mem_cache_free(ma, held[0]);
}

static void other_free_rcu(void)
{
	bpf_mem_cache_free_rcu(ma, held[0]);
}

static void other_raw_free(void)
{
	bpf_mem_cache_raw_free(held[0]);
}

static void other_reads(void)
{
	bpf_rcu_read_lock();
	rcu_read_lock_trace();
	rcu_read_unlock_trace();
	bpf_rcu_read_unlock();
}

static void other_polls(void)
{
	bpf_rcu_cookie cookie = bpf_rcu_get_state();

	bpf_rcu_poll_state(cookie);
}

static void prepare(unsigned int freed)
{
	unsigned int i;

	ma = unit_ma(1024, false);
	bpf_mem_alloc_set_limbo_limit(ma, 16 << 10);
	for (i = 0; i < HELD; i++)
		assert_non_null(held[i] = bpf_mem_cache_alloc(ma));
	for (i = 1; i <= freed; i++) {
		if (i % 2)
			bpf_mem_cache_free_rcu(ma, held[i]);
		else
			bpf_mem_cache_free(ma, held[i]);
	}
}

/* The other thread is left where it is; this one goes on, in the child. */
static void leave(void *arg)
{
	(void)arg;
	script_thread(1);
	fork_as(CHILD);
	longjmp(parent, 1);
}

static void use(struct bpf_mem_alloc *m)
{
	void *objs[HELD];
	unsigned int round, i;

	for (round = 0; round < 4; round++) {
		for (i = 0; i < HELD; i++)
			assert_non_null(objs[i] = bpf_mem_cache_alloc(m));
		for (i = 0; i < HELD; i++) {
			if (round % 2)
				bpf_mem_cache_free_rcu(m, objs[i]);
			else
				bpf_mem_cache_free(m, objs[i]);
		}
		unit_pass(2);
	}
}

/* @mapped: it was left in a call that took pages, which it may not have written down yet. */
static void go_on_in_child(unsigned int freed, bool mapped)
{
	struct bpf_mem_stats s;
	unsigned int i;
	size_t lost;

	for (i = freed + 1; i < HELD; i++)
		bpf_mem_cache_free(ma, held[i]);
	use(ma);
	script_as_thread(true);
	bpf_rcu_barrier();
	use(ma);
	bpf_mem_alloc_stats(ma, &s);
	assert_int_equal(s.limbo_refusals, 0);
	bpf_rcu_barrier();
	/* Whoever was counting: nothing is in limbo now, and the depot has no more than it counts. */
	assert_true(port_load(&ma->caches->nr_limbo, relaxed) <= 0);
	assert_true(port_load(&ma->caches->nr_depot, relaxed) >= 0);
	bpf_mem_alloc_destroy(ma);
	for (i = 0; i < 20; i++) {
		unit_pass(1);
		bma_reclaim();
	}
	assert_null(bma_world.groups);
	lost = script_pages_out() - unit_fixed_bytes();
	assert_true(!lost || (mapped && lost == (size_t)1 << PORT_UNIT_SHIFT));
	assert_int_equal(script_nr_reports(), 0);
}

/* One point of one call at which to be left; false if the call has fewer. */
static bool left_at(void (*call)(void), unsigned int freed, unsigned int nth)
{
	static bool left;
	static unsigned int maps;

	unit_begin();
	begin();
	prepare(freed);
	left = false;
	maps = script_calls(SCRIPT_PAGES_ALLOC);
	script_interrupt(SCRIPT_ANY, nth, leave, NULL);
	if (!setjmp(parent)) {
		script_thread(OTHER);
		call();
		script_interrupt(SCRIPT_ANY, 0, NULL, NULL);
	} else {
		left = true;
		go_on_in_child(freed, script_calls(SCRIPT_PAGES_ALLOC) != maps);
	}
	return left;
}

static void a_call_may_be_left_anywhere(void)
{
	static void (*const calls[])(void) = { other_alloc,    other_free,  other_free_rcu,
					       other_raw_free, other_reads, other_polls };
	unsigned int i, freed, nth, points = 0;

	for (i = 0; i < sizeof(calls) / sizeof(*calls); i++)
		for (freed = 0; freed < 8; freed++)
			for (nth = 1; left_at(calls[i], freed, nth); nth++)
				points++;
	assert_true(points > 400);
	unit_begin();
	begin();
}

/* Callbacks: what is queued runs in the child, and nobody waits for one that was half queued. */
static unsigned int runs;

static void count_run(struct bpf_rcu_head *head)
{
	(void)head;
	runs++;
}

static struct bpf_rcu_head heads[2];

static void other_queues(void)
{
	bpf_call_rcu(&heads[1], count_run);
}

static void a_callback_may_be_half_queued(void)
{
	static unsigned int nth;
	static bool left;

	left = true;
	for (nth = 1; left; nth++) {
		unit_begin();
		begin();
		runs = 0;
		bpf_call_rcu(&heads[0], count_run);
		script_interrupt(SCRIPT_ANY, nth, leave, NULL);
		left = setjmp(parent);
		if (!left) {
			script_thread(OTHER);
			other_queues();
			script_interrupt(SCRIPT_ANY, 0, NULL, NULL);
		}
		script_as_thread(true);
		bpf_rcu_barrier();
		assert_true(runs == 1 || runs == 2);
	}
	assert_true(nth > 2);
	unit_begin();
	begin();
}

/* --- grace periods that are driven -------------------------------------------------------------------------- */

static void one_under_way_is_run_again(void)
{
	struct bma_gp *gp = script_gp(0);
	uint64_t number;

	begin();
	bma_gp_begin(gp);
	number = bma_gp_number(gp);
	fork_as(CHILD);
	bma_gp_begin(gp);
	bma_gp_end(gp);
	assert_false(bma_gp_number_done(gp, number));
	assert_int_equal(bma_gp_number(gp), number);
	bma_gp_begin(gp);
	bma_gp_end(gp);
	assert_true(bma_gp_number_done(gp, number));
	end();
}

/* --- statistics --------------------------------------------------------------------------------------------- */

/* What the other thread had is not this process's to lose. */
static void what_others_had_is_not_called_lost(void)
{
	unsigned int i;

	for (i = 0; i < 4; i++) {
		unit_begin();
		begin();
		script_debug(i & 2 ? "1" : "0", false);
		prepare(0);
		if (i & 1)
			fork_as(CHILD);
		bpf_mem_alloc_destroy(ma);
		while (bma_reclaim())
			unit_pass(1);
		assert_int_equal(script_nr_reports(), i & 1 ? 0 : 1);
		assert_int_equal(script_nr_misuses() > 0, i == 2);
	}
	unit_begin();
	begin();
}

/* Each call in turn, with a fork on top of it at each point: it goes on in the child, and counts right. */
static void (*interrupted)(void);
static unsigned int nr_freed;

static void prepare_call(void)
{
	begin();
	prepare(nr_freed);
}

static void run_call(void)
{
	interrupted();
}

static void check_counts(void)
{
	unsigned int i;

	for (i = 0; i < 40; i++) {
		unit_pass(1);
		bma_reclaim();
	}
	assert_int_equal(port_load(&ma->caches->nr_limbo, relaxed), 0);
	assert_int_equal(port_load(&ma->caches->nr_depot, relaxed), 0);
	bpf_mem_alloc_destroy(ma);
	while (bma_reclaim())
		unit_pass(1);
	end();
}

static void counts_are_right_where_the_call_goes_on(void)
{
	static void (*const calls[])(void) = { other_alloc, other_free, other_free_rcu };
	struct unit_scene scene = { .prepare = prepare_call,
				    .run = run_call,
				    .nested = in_the_child,
				    .check = check_counts };
	unsigned int i;

	for (i = 0; i < 3; i++) {
		interrupted = calls[i];
		for (nr_freed = 0; nr_freed < 8; nr_freed++)
			unit_explore(&scene);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT_TEST(others_are_not_waited_for),
		UNIT_TEST(ones_own_section_goes_on),
		UNIT_TEST(nor_is_it_lost_without_a_word),
		UNIT_TEST(a_first_section_goes_on),
		UNIT_TEST(a_record_is_taken_once),
		UNIT_TEST(a_burial_goes_on),
		UNIT_TEST(a_call_may_be_left_anywhere),
		UNIT_TEST(a_callback_may_be_half_queued),
		UNIT_TEST(one_under_way_is_run_again),
		UNIT_TEST(what_others_had_is_not_called_lost),
		UNIT_TEST(counts_are_right_where_the_call_goes_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
