// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_records.c - the records of core's own readers: one for each thread, and whose it is next
 */
#include "every_access.h"
#include "../../core/rcu.c"
#include "readers.h"

/* --- records ------------------------------------------------------------------------------------------------- */

static void a_thread_has_one_record(void)
{
	struct bpf_rcu_reader_ *of[SCRIPT_THREADS + 1];
	unsigned int i, j;

	begin();
	assert_int_equal(bma_reader_records(), 0);
	assert_false(bpf_rcu_read_lock_held());
	assert_false(bma_reader_inside(rcu()));
	assert_int_equal(bma_reader_records(), 0);
	for (i = 1; i <= SCRIPT_THREADS; i++) {
		section_of(i);
		of[i] = bpf_rcu_this_reader_;
		assert_int_equal(bma_reader_records(), i);
		assert_int_equal((uintptr_t)of[i] % 64, 0);
		for (j = 1; j < i; j++)
			assert_ptr_not_equal(of[i], of[j]);
	}
	for (i = 1; i <= SCRIPT_THREADS; i++) {
		section_of(i);
		rcu_read_lock_trace();
		rcu_read_unlock_trace();
		assert_ptr_equal(bpf_rcu_this_reader_, of[i]);
	}
	assert_int_equal(bma_reader_records(), SCRIPT_THREADS);
	end();
}

/* Threads come and go without a word; at most four at a time. */
static void there_are_no_more_than_threads(void)
{
	unsigned int i;

	begin();
	for (i = 0; i < 1000; i++) {
		section_of(1 + i % 16);
		if (i >= 3)
			script_thread_dies(1 + (i - 3) % 16);
		assert_true(bma_reader_records() <= 4);
	}
	assert_int_equal(bma_reader_records(), 4);
	end();
}

/* One of the same number: whoever had it is dead, and nobody need be asked. */
static void of_the_same_number_is_the_same_record(void)
{
	struct bpf_rcu_reader_ *r;
	unsigned int i, asked;

	begin();
	section_of(3);
	section_of(2);
	bpf_rcu_read_lock();
	r = bpf_rcu_this_reader_;
	assert_false(one_passes(rcu()));
	asked = script_calls(SCRIPT_THREAD_DEAD);
	for (i = 0; i < 3; i++) {
		script_thread(3);
		script_thread_dies(2);
		section_of(2);
		assert_ptr_equal(bpf_rcu_this_reader_, r);
		assert_false(bpf_rcu_read_lock_held());
		assert_true(one_passes(rcu()));
	}
	assert_int_equal(script_calls(SCRIPT_THREAD_DEAD), asked);
	assert_int_equal(bma_reader_records(), 2);
	end();
}

/* Though there is a free one, too: who else would find out about one that its number's former thread had? */
static void none_is_left_with_a_number_in_use(void)
{
	struct bpf_rcu_reader_ *r2;

	begin();
	script_thread(2);
	bpf_rcu_read_lock();
	r2 = bpf_rcu_this_reader_;
	script_thread(3);
	bpf_rcu_read_lock();
	script_thread(4);
	assert_false(one_passes(rcu()));
	script_thread_dies(3);
	script_thread(2);
	bpf_rcu_read_unlock();
	bma_gp_poll(rcu(), true);
	assert_false(bma_gp_wanted(rcu()));
	assert_int_equal(bma_reader_records(), 2);
	bpf_rcu_read_lock();
	script_thread(4);
	script_thread_dies(2);
	section_of(2);
	assert_ptr_equal(bpf_rcu_this_reader_, r2);
	/* Nobody is inside. */
	bma_gp_want(rcu(), bma_gp_number(rcu()), false);
	bma_gp_poll(rcu(), true);
	assert_false(bma_gp_wanted(rcu()));
	section_of(5);
	assert_int_equal(bma_reader_records(), 2);
	end();
}

/* A free one is taken before the system is asked who is dead, and that before there is another. */
static void what_is_free_is_taken_first(void)
{
	struct bpf_rcu_reader_ *r2, *r3;
	unsigned int asked;

	begin();
	section_of(2);
	r2 = bpf_rcu_this_reader_;
	section_of(3);
	r3 = bpf_rcu_this_reader_;
	port_store(shared(&r2->owner), 0, relaxed);
	script_thread(1);
	script_thread_dies(2);
	script_thread_dies(3);
	asked = script_calls(SCRIPT_THREAD_DEAD);
	section_of(4);
	assert_ptr_equal(bpf_rcu_this_reader_, r2);
	assert_int_equal(script_calls(SCRIPT_THREAD_DEAD), asked);
	section_of(5);
	assert_ptr_equal(bpf_rcu_this_reader_, r3);
	assert_true(script_calls(SCRIPT_THREAD_DEAD) > asked);
	section_of(6);
	assert_int_equal(bma_reader_records(), 3);
	end();
}

static void who_dies_inside_is_found(void)
{
	unsigned int i;

	for (i = 0; i < 2; i++) {
		const struct domain *d = &domains[i];
		struct bma_gp *gp = script_gp(d->which);
		unsigned int asked;

		begin();
		script_thread(2);
		d->lock();
		d->lock();
		bpf_rcu_read_lock();
		script_thread(1);
		assert_false(one_passes(gp));
		bma_gp_poll(gp, true);
		assert_true(bma_gp_wanted(gp));
		script_thread_dies(2);
		/* A poll in a hurry does not ask. */
		asked = script_calls(SCRIPT_THREAD_DEAD);
		bma_gp_poll(gp, false);
		assert_true(bma_gp_wanted(gp));
		assert_int_equal(script_calls(SCRIPT_THREAD_DEAD), asked);
		bma_gp_poll(gp, true);
		assert_false(bma_gp_wanted(gp));
		/* And is inside of neither kind. */
		assert_true(one_passes(rcu()) && one_passes(unit_trace()));
		section_of(3);
		assert_int_equal(bma_reader_records(), 1);
		end();
	}
}

static void who_takes_over_is_not_inside(void)
{
	begin();
	script_thread(2);
	bpf_rcu_read_lock();
	rcu_read_lock_trace();
	script_thread(1);
	assert_false(one_passes(rcu()));
	script_thread_dies(2);
	section_of(3);
	assert_int_equal(bma_reader_records(), 1);
	assert_false(bpf_rcu_read_lock_held());
	assert_false(rcu_read_lock_trace_held());
	assert_true(one_passes(rcu()) && one_passes(unit_trace()));
	end();
}

/* While a dead thread is buried, another takes its record, or one of the same number begins. */
static unsigned int heir;
static uint64_t heir_in; /* what had begun when it was surely inside */

static void prepare_dead(void)
{
	begin();
	script_thread(2);
	bpf_rcu_read_lock();
	script_thread(1);
	assert_false(one_passes(rcu()));
	script_thread_dies(2);
}

static void run_burial(void)
{
	bma_gp_poll(rcu(), true);
}

static void nested_heir(void *arg)
{
	(void)arg;
	script_thread(heir);
	bpf_rcu_read_lock();
	heir_in = script_gp_begun(rcu());
	script_thread(1);
}

static void check_heir(void)
{
	assert_true(ended(rcu()) <= heir_in);
	assert_false(one_passes(rcu()));
	script_thread(heir);
	assert_true(bpf_rcu_read_lock_held());
	bpf_rcu_read_unlock();
	assert_int_equal(owner(bpf_rcu_this_reader_), heir);
	assert_true(one_passes(rcu()));
	assert_true(bma_reader_records() <= 2);
	end();
}

static void burials_bear_interruption(void)
{
	struct unit_scene scene = { .prepare = prepare_dead,
				    .run = run_burial,
				    .nested = nested_heir,
				    .check = check_heir };

	for (heir = 2; heir <= 3; heir++)
		assert_true(unit_explore(&scene) > 10);
}

/* Two threads at once want the record of a dead one. */
static void run_heir(void)
{
	section_of(4);
	bpf_rcu_read_lock();
}

static void check_heirs(void)
{
	script_thread(4);
	assert_true(bpf_rcu_read_lock_held());
	assert_int_equal(owner(bpf_rcu_this_reader_), 4);
	bpf_rcu_read_unlock();
	check_heir();
}

static void nested_heir_of_4(void *arg)
{
	nested_heir(arg);
	script_thread(4);
}

static void a_record_has_one_heir(void)
{
	struct unit_scene scene = { .prepare = prepare_dead,
				    .run = run_heir,
				    .nested = nested_heir_of_4,
				    .check = check_heirs };

	heir = 3;
	assert_true(unit_explore(&scene) > 10);
}

/* --- no memory ------------------------------------------------------------------------------------------------- */

static void without_memory_there_is_a_reserve(void)
{
	unsigned int i;

	begin();
	unit_no_meta();
	for (i = 1; i <= SCRIPT_THREADS; i++) {
		section_of(i);
		assert_true(is_reserve(bpf_rcu_this_reader_));
		assert_int_equal(bma_reader_records(), i);
		bpf_rcu_read_lock();
		assert_false(one_passes(rcu()));
		bpf_rcu_read_unlock();
		assert_true(one_passes(rcu()));
	}
	assert_int_equal(script_calls(SCRIPT_YIELD), 0);
	unit_meta_back();
	end();
}

static void give_memory(void *arg)
{
	(void)arg;
	unit_meta_back();
}

static void let_one_die(void *arg)
{
	(void)arg;
	script_thread_dies(2);
}

static void and_when_that_ends_it_waits(void)
{
	unsigned int i;

	for (i = 0; i < 2; i++) {
		begin();
		unit_no_meta();
		port_store(&bma_world.readers.nr_reserved, BMA_NR_RESERVE - 2, relaxed);
		section_of(2);
		section_of(3);
		script_interrupt(SCRIPT_YIELD, 9, i ? let_one_die : give_memory, NULL);
		section_of(4);
		assert_true(script_interrupted());
		assert_true(bma_reader_records() == (i ? 2 : 3));
		assert_int_equal(port_load(&bma_world.readers.nr_reserved, relaxed),
				 BMA_NR_RESERVE);
		bpf_rcu_read_lock();
		assert_false(one_passes(rcu()));
		bpf_rcu_read_unlock();
		unit_meta_back();
		end();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT_TEST(a_thread_has_one_record),
		UNIT_TEST(there_are_no_more_than_threads),
		UNIT_TEST(of_the_same_number_is_the_same_record),
		UNIT_TEST(none_is_left_with_a_number_in_use),
		UNIT_TEST(what_is_free_is_taken_first),
		UNIT_TEST(who_dies_inside_is_found),
		UNIT_TEST(who_takes_over_is_not_inside),
		UNIT_TEST(burials_bear_interruption),
		UNIT_TEST(a_record_has_one_heir),
		UNIT_TEST(without_memory_there_is_a_reserve),
		UNIT_TEST(and_when_that_ends_it_waits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
