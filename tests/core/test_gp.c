// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_gp.c - grace periods, numbered: the state machine, in domains that are driven and in core's own
 */
#include "every_access.h"
#include "../../core/gp.c"
#include "unit.h"

static struct bma_gp *rcu(void)
{
	return script_gp(SCRIPT_RCU);
}

static uint64_t begun(struct bma_gp *gp)
{
	return script_gp_begun(gp);
}

static uint64_t ended(struct bma_gp *gp)
{
	return script_gp_ended(gp);
}

static void check_numbers(void)
{
	unsigned int i;

	for (i = 0; i < SCRIPT_NR_GPS; i++) {
		struct bma_gp *gp = script_gp(i);

		assert_true(ended(gp) <= begun(gp) && begun(gp) <= ended(gp) + 1);
	}
}

static void set_numbers(struct bma_gp *gp, uint64_t number)
{
	port_store(gp->started, number, relaxed);
	port_store(&gp->completed, number, relaxed);
	port_store(&gp->wanted, number, relaxed);
}

/* --- numbers and cookies ------------------------------------------------------------------------------ */

static void a_number_is_of_one_that_has_not_begun(void)
{
	unsigned int i;

	for (i = 0; i < SCRIPT_NR_GPS; i++) {
		struct bma_gp *gp = script_gp(i);
		uint64_t first = bma_gp_number(gp), second;

		assert_int_equal(first, SCRIPT_GP_FIRST);
		assert_int_equal(bma_gp_number(gp), first);
		script_gp_begin(gp);
		second = bma_gp_number(gp);
		assert_int_equal(second, first + 1);
		assert_false(bma_gp_number_done(gp, first));
		script_gp_end(gp);
		assert_true(bma_gp_number_done(gp, first));
		assert_false(bma_gp_number_done(gp, second));
		assert_int_equal(bma_gp_number(gp), second);
		script_gp_pass(gp, 1);
		assert_true(bma_gp_number_done(gp, second));
		/* For good. */
		script_gp_pass(gp, 1000);
		assert_true(bma_gp_number_done(gp, first));
		check_numbers();
	}
}

/* A cookie is 8 bits: pending if one or two ahead of what has ended, and done otherwise. */
static void a_cookie_is_pending_or_done(void)
{
	unsigned int offset, c, age;

	for (offset = 0; offset < 520; offset++) {
		for (c = 0; c < 256; c++) {
			uint8_t left = (uint8_t)(c - ended(unit_rcu()));

			assert_int_equal(bma_gp_done(unit_rcu(), c), left != 1 && left != 2);
		}
		script_gp_pass(unit_rcu(), 1);
	}
	/* So one that was given is never done early, and at any age two more make it so. */
	for (age = 0; age < 600; age++) {
		unsigned int running = age % 2;
		bma_cookie_t cookie;
		uint64_t number;

		if (running)
			script_gp_begin(unit_rcu());
		cookie = bma_gp_snapshot(unit_rcu());
		number = bma_gp_number(unit_rcu());
		assert_int_equal(cookie, number & 0xff);
		assert_false(bma_gp_done(unit_rcu(), cookie));
		if (running)
			script_gp_end(unit_rcu());
		assert_false(bma_gp_done(unit_rcu(), cookie));
		script_gp_begin(unit_rcu());
		assert_false(bma_gp_done(unit_rcu(), cookie));
		script_gp_end(unit_rcu());
		assert_true(bma_gp_done(unit_rcu(), cookie));
		script_gp_pass(unit_rcu(), age);
		bma_gp_request(unit_rcu(), cookie, false);
		while (bma_gp_wanted(unit_rcu()))
			script_gp_pass(unit_rcu(), 1);
		assert_true(bma_gp_done(unit_rcu(), cookie));
		assert_true(ended(unit_rcu()) <= number + age + 2);
	}
}

/* Past 32 bits, what a reader's word has room for, and what a difference can tell. */
static void numbers_may_be_large(void)
{
	static const uint64_t at[] = { 1ull << 32, 1ull << 48, 1ull << 49, 1ull << 63 };
	unsigned int which, i, n;

	for (n = 0; n < sizeof(at) / sizeof(at[0]); n++) {
		for (which = 0; which < 2; which++) {
			struct bma_gp *gp = which ? rcu() : unit_rcu();

			set_numbers(gp, at[n] - 4);
			for (i = 0; i < 6; i++) {
				uint64_t number = bma_gp_number(gp);
				bma_cookie_t cookie = bma_gp_snapshot(gp);

				assert_false(bma_gp_number_done(gp, number));
				bma_gp_want(gp, number, false);
				assert_true(bma_gp_wanted(gp));
				bma_gp_poll(gp, false);
				if (gp->driven)
					script_gp_pass(gp, 1);
				assert_true(bma_gp_number_done(gp, number));
				assert_true(bma_gp_done(gp, cookie));
				assert_false(bma_gp_wanted(gp));
			}
			assert_int_equal(ended(gp), at[n] + 2);
		}
	}
}

/* --- who asks ------------------------------------------------------------------------------------------ */

static void what_is_wanted_only_grows(void)
{
	struct bma_gp *gp = unit_rcu();

	assert_false(bma_gp_wanted(gp));
	bma_gp_want(gp, SCRIPT_GP_FIRST + 1, false);
	assert_int_equal(script_gp_wanted(gp), SCRIPT_GP_FIRST + 1);
	bma_gp_want(gp, SCRIPT_GP_FIRST, false);
	assert_int_equal(script_gp_wanted(gp), SCRIPT_GP_FIRST + 1);
	script_gp_pass(gp, 1);
	assert_true(bma_gp_wanted(gp));
	script_gp_begin(gp);
	assert_true(bma_gp_wanted(gp));
	script_gp_end(gp);
	assert_false(bma_gp_wanted(gp));
	/* What has ended is not wanted, and an old cookie costs nothing. */
	bma_gp_want(gp, SCRIPT_GP_FIRST - 1, false);
	bma_gp_request(gp, SCRIPT_GP_FIRST & 0xff, false);
	assert_false(bma_gp_wanted(gp));
}

static void a_request_is_for_one_or_two(void)
{
	struct bma_gp *gp = unit_rcu();
	bma_cookie_t cookie = bma_gp_snapshot(gp);

	bma_gp_request(gp, cookie, false);
	assert_int_equal(script_gp_wanted(gp), SCRIPT_GP_FIRST);
	script_gp_begin(gp);
	cookie = bma_gp_snapshot(gp);
	bma_gp_request(gp, cookie, false);
	assert_int_equal(script_gp_wanted(gp), SCRIPT_GP_FIRST + 1);
}

/* Who drives a domain is kicked; core's own wait for a poll.  The reclaimer comes by for either. */
static void who_is_told(void)
{
	unsigned int i;

	for (i = 0; i < SCRIPT_NR_GPS; i++) {
		struct bma_gp *gp = script_gp(i);
		unsigned int kicks = script_calls(SCRIPT_KICK), wakes = script_calls(SCRIPT_WAKE),
			     hurries = script_calls(SCRIPT_HURRY);

		bma_gp_want(gp, bma_gp_number(gp), false);
		bma_gp_want(gp, bma_gp_number(gp), true);
		bma_gp_request(gp, bma_gp_snapshot(gp), true);
		bma_gp_request(gp, bma_gp_snapshot(gp), false);
		assert_int_equal(script_calls(SCRIPT_KICK) - kicks, gp->driven ? 4 : 0);
		assert_int_equal(script_calls(SCRIPT_HURRY) - hurries, gp->driven ? 2 : 0);
		assert_int_equal(script_calls(SCRIPT_WAKE) - wakes, 4);
	}
}

/* One that begins hurried counts, once, however many asked for it. */
static void hurries_are_counted(void)
{
	unsigned int i, n, hurried = 0;

	for (i = 0; i < SCRIPT_NR_GPS; i++) {
		struct bma_gp *gp = script_gp(i);

		for (n = 0, hurried = 0; n < 20; n++) {
			bma_gp_want(gp, bma_gp_number(gp), false);
			if (n % 3 == 0) {
				bma_gp_want(gp, bma_gp_number(gp), true);
				bma_gp_want(gp, bma_gp_number(gp), true);
				hurried++;
			}
			assert_int_equal(port_load(&gp->hurry, relaxed), n % 3 == 0);
			if (gp->driven)
				script_gp_pass(gp, 1);
			else
				bma_gp_poll(gp, false);
			assert_false(port_load(&gp->hurry, relaxed));
			assert_int_equal(bma_gp_counts(gp).hurried, hurried);
			assert_int_equal(bma_gp_counts(gp).ended, SCRIPT_GP_FIRST + n);
		}
	}
}

/* --- polls --------------------------------------------------------------------------------------------- */

static void a_poll_does_nothing_for_the_driven(void)
{
	bma_gp_want(unit_rcu(), bma_gp_number(unit_rcu()), true);
	bma_gp_poll(unit_rcu(), false);
	bma_gp_poll(unit_rcu(), true);
	script_gp_begin(unit_rcu());
	bma_gp_poll(unit_rcu(), true);
	assert_int_equal(begun(unit_rcu()), SCRIPT_GP_FIRST);
	assert_int_equal(ended(unit_rcu()), SCRIPT_GP_FIRST - 1);
	assert_int_equal(script_calls(SCRIPT_FENCE), 0);
	assert_int_equal(bma_gp_holder(unit_rcu()), 0);
}

static void a_poll_that_nobody_wants_does_nothing(void)
{
	bma_gp_poll(rcu(), false);
	bma_gp_poll(rcu(), true);
	assert_int_equal(begun(rcu()), SCRIPT_GP_FIRST - 1);
	assert_int_equal(script_calls(SCRIPT_FENCE), 0);
}

static void a_poll_goes_as_far_as_is_wanted(void)
{
	bma_gp_want(rcu(), bma_gp_number(rcu()), false);
	bma_gp_poll(rcu(), false);
	assert_int_equal(begun(rcu()), SCRIPT_GP_FIRST);
	assert_int_equal(ended(rcu()), SCRIPT_GP_FIRST);
	assert_int_equal(script_calls(SCRIPT_FENCE), 1);
	assert_int_equal(script_calls(SCRIPT_ENDED), 1);
	/* A cookie that was given while one ran is of the one after: one poll does both. */
	script_hold(rcu(), true);
	bma_gp_want(rcu(), bma_gp_number(rcu()), false);
	bma_gp_poll(rcu(), false);
	assert_int_equal(begun(rcu()), SCRIPT_GP_FIRST + 1);
	assert_int_equal(ended(rcu()), SCRIPT_GP_FIRST);
	bma_gp_want(rcu(), bma_gp_number(rcu()), false);
	bma_gp_poll(rcu(), false);
	assert_int_equal(begun(rcu()), SCRIPT_GP_FIRST + 1);
	script_hold(rcu(), false);
	bma_gp_poll(rcu(), false);
	assert_int_equal(ended(rcu()), SCRIPT_GP_FIRST + 2);
	assert_int_equal(begun(rcu()), SCRIPT_GP_FIRST + 2);
	/* The other domain has nothing to do with it. */
	assert_int_equal(begun(unit_trace()), SCRIPT_GP_FIRST - 1);
}

static void one_fence_is_enough_but_for_who_waits(void)
{
	unsigned int i;

	bma_gp_want(rcu(), bma_gp_number(rcu()), false);
	script_hold(rcu(), true);
	for (i = 0; i < 5; i++)
		bma_gp_poll(rcu(), false);
	assert_int_equal(script_calls(SCRIPT_FENCE), 1);
	bma_gp_poll(rcu(), true);
	assert_int_equal(script_calls(SCRIPT_FENCE), 3);
	script_hold(rcu(), false);
	bma_gp_poll(rcu(), false);
	assert_int_equal(ended(rcu()), SCRIPT_GP_FIRST);
	/* For the next one it takes another. */
	bma_gp_want(rcu(), bma_gp_number(rcu()), false);
	bma_gp_poll(rcu(), false);
	assert_int_equal(ended(rcu()), SCRIPT_GP_FIRST + 1);
	assert_int_equal(script_calls(SCRIPT_FENCE), 4);
}

static void a_look_ends_what_had_its_fence(void)
{
	assert_false(bma_gp_look(unit_rcu()));
	assert_false(bma_gp_look(rcu()));
	/* One whose fence did not work, or is still to come. */
	script_hold(rcu(), true);
	bma_gp_want(rcu(), bma_gp_number(rcu()), false);
	script_fail(SCRIPT_FENCE, 1, SCRIPT_EVER);
	bma_gp_poll(rcu(), false);
	script_fail(SCRIPT_FENCE, 1, 0);
	assert_int_equal(begun(rcu()), SCRIPT_GP_FIRST);
	assert_false(bma_gp_look(rcu()));
	assert_int_equal(ended(rcu()), SCRIPT_GP_FIRST - 1);
	bma_gp_poll(rcu(), false);
	assert_false(bma_gp_look(rcu()));
	script_hold(rcu(), false);
	assert_true(bma_gp_look(rcu()));
	assert_int_equal(ended(rcu()), SCRIPT_GP_FIRST);
	assert_false(bma_gp_look(rcu()));
}

/* A scan after a fence that did not work shows nothing. */
static void without_the_fence_nothing_ends(void)
{
	unsigned int i;

	bma_gp_want(rcu(), bma_gp_number(rcu()), false);
	script_fail(SCRIPT_FENCE, 1, SCRIPT_EVER);
	for (i = 0; i < 50; i++) {
		bma_gp_poll(rcu(), i % 2);
		assert_int_equal(ended(rcu()), SCRIPT_GP_FIRST - 1);
		check_numbers();
	}
	assert_false(bma_gp_number_done(rcu(), SCRIPT_GP_FIRST));
	assert_true(bma_gp_wanted(rcu()));
	script_fail(SCRIPT_FENCE, 1, 0);
	bma_gp_poll(rcu(), false);
	assert_int_equal(ended(rcu()), SCRIPT_GP_FIRST);
}

/* --- polls that overlap -------------------------------------------------------------------------------- */

static unsigned int fences_before, fences_of_nested;

static void nested_poll(void *arg)
{
	fences_before = script_calls(SCRIPT_FENCE);
	bma_gp_poll(rcu(), arg != NULL);
	fences_of_nested = script_calls(SCRIPT_FENCE) - fences_before;
}

static void a_poll_leaves_it_to_one_under_way(void)
{
	bma_gp_want(rcu(), bma_gp_number(rcu()), false);
	script_interrupt(SCRIPT_FENCE, 2, nested_poll, NULL);
	bma_gp_poll(rcu(), false);
	assert_true(script_interrupted());
	assert_int_equal(fences_of_nested, 0);
	assert_int_equal(ended(rcu()), SCRIPT_GP_FIRST);
	/* The reclaimer does not. */
	bma_gp_want(rcu(), bma_gp_number(rcu()), false);
	script_interrupt(SCRIPT_FENCE, 2, nested_poll, &fences_before);
	bma_gp_poll(rcu(), false);
	assert_int_equal(fences_of_nested, 1);
	assert_int_equal(ended(rcu()), SCRIPT_GP_FIRST + 1);
	assert_int_equal(port_load(&rcu()->polling, relaxed), 0);
}

/* The one that was under way is never heard of again. */
static void but_not_for_ever(void)
{
	unsigned int i, round;

	for (round = 0; round < 3; round++) {
		bma_gp_want(rcu(), bma_gp_number(rcu()), false);
		port_store(&rcu()->polling, 1, relaxed);
		for (i = 1; i < BMA_POLL_PATIENCE; i++) {
			bma_gp_poll(rcu(), false);
			assert_true(bma_gp_wanted(rcu()));
		}
		bma_gp_poll(rcu(), false);
		assert_false(bma_gp_wanted(rcu()));
		/* And then all is as it was. */
		bma_gp_want(rcu(), bma_gp_number(rcu()), false);
		bma_gp_poll(rcu(), false);
		assert_false(bma_gp_wanted(rcu()));
	}
}

/* --- waits --------------------------------------------------------------------------------------------- */

static void a_wait_for_what_is_over_does_not_sleep(void)
{
	unsigned int i;

	for (i = 0; i < SCRIPT_NR_GPS; i++) {
		script_gp_pass(script_gp(i), 1);
		assert_true(bma_gp_wait(script_gp(i), SCRIPT_GP_FIRST));
	}
	assert_int_equal(script_calls(SCRIPT_SLEEP), 0);
	assert_int_equal(script_calls(SCRIPT_WAIT), 2);
	assert_int_equal(script_calls(SCRIPT_WAIT_END), 2);
}

static void a_wait_is_in_a_hurry(void)
{
	unsigned int i;

	for (i = 0; i < SCRIPT_NR_GPS; i++) {
		struct bma_gp *gp = script_gp(i);

		assert_true(bma_gp_wait(gp, bma_gp_number(gp)));
		assert_int_equal(ended(gp), SCRIPT_GP_FIRST);
		assert_int_equal(bma_gp_counts(gp).hurried, 1);
	}
	/* Core's own are over as soon as one has looked. */
	assert_int_equal(script_calls(SCRIPT_SLEEP), 2);
	assert_int_equal(script_calls(SCRIPT_WAIT_END), 2);
	/* For the next but one it sleeps twice. */
	script_gp_begin(unit_rcu());
	assert_true(bma_gp_wait(unit_rcu(), bma_gp_number(unit_rcu())));
	assert_int_equal(script_calls(SCRIPT_SLEEP), 4);
	assert_int_equal(ended(unit_rcu()), SCRIPT_GP_FIRST + 2);
}

static unsigned int sleeps;

static void leave_at_the_third(struct bma_gp *gp)
{
	if (++sleeps == 3)
		script_hold(gp, false);
}

static void a_wait_polls_until_readers_leave(void)
{
	unsigned int which;

	script_on_sleep(leave_at_the_third);
	for (which = SCRIPT_TRACE; which <= SCRIPT_RCU; which++) {
		sleeps = 0;
		script_hold(script_gp(which), true);
		assert_true(bma_gp_wait(script_gp(which), bma_gp_number(script_gp(which))));
		assert_int_equal(sleeps, 3);
		assert_int_equal(ended(script_gp(which)), SCRIPT_GP_FIRST);
	}
	/* Also when it is not a reader that is in the way. */
	script_fail(SCRIPT_FENCE, 1, 3);
	script_on_sleep(NULL);
	sleeps = script_calls(SCRIPT_SLEEP);
	assert_true(bma_gp_wait(rcu(), bma_gp_number(rcu())));
	assert_true(script_calls(SCRIPT_SLEEP) > sleeps);
}

static void who_is_inside_does_not_wait(void)
{
	uint64_t number = bma_gp_number(rcu());

	bpf_rcu_read_lock();
	assert_false(bma_gp_wait(rcu(), number));
	/* Not even for what is over. */
	assert_false(bma_gp_wait(rcu(), number - 1));
	assert_true(bma_gp_wait(unit_trace(), bma_gp_number(unit_trace())));
	assert_true(bma_gp_wait(unit_rcu(), bma_gp_number(unit_rcu())));
	bpf_rcu_read_unlock();
	rcu_read_lock_trace();
	assert_false(bma_gp_wait(unit_trace(), bma_gp_number(unit_trace())));
	assert_true(bma_gp_wait(rcu(), number));
	rcu_read_unlock_trace();
	assert_true(bma_gp_wait(unit_trace(), bma_gp_number(unit_trace())));
	/* Of those that are driven the home knows. */
	script_fail(SCRIPT_WAIT, 1, 1);
	sleeps = script_calls(SCRIPT_SLEEP);
	assert_false(bma_gp_wait(unit_rcu(), bma_gp_number(unit_rcu())));
	assert_int_equal(script_calls(SCRIPT_SLEEP), sleeps);
	assert_int_equal(script_calls(SCRIPT_WAIT_END), script_calls(SCRIPT_WAIT) - 1);
}

/* It ends between the look and the sleep: a home that is told so in time does not sleep. */
static void end_it(void *arg)
{
	(void)arg;
	script_gp_pass(unit_rcu(), 1);
}

static void no_wake_up_is_lost(void)
{
	unsigned int at = 0, slept;

	do {
		unit_begin();
		script_interrupt(SCRIPT_ANY, ++at, end_it, NULL);
		assert_true(bma_gp_wait(unit_rcu(), bma_gp_number(unit_rcu())));
		slept = script_calls(SCRIPT_SLEEP);
		/* At most the sleep that it was in time for. */
		assert_true(slept <= 2);
		check_numbers();
	} while (script_interrupted());
	assert_true(at > 10);
	unit_begin();
}

/* --- all domains --------------------------------------------------------------------------------------- */

static void all_domains_have_a_number(void)
{
	assert_ptr_equal(bma_gp_nth(0), &bma_rcu);
	assert_ptr_equal(bma_gp_nth(1), &bma_trace);
	assert_ptr_equal(bma_gp_nth(2), script_gp(0));
	assert_ptr_equal(bma_gp_nth(3), script_gp(1));
	assert_null(bma_gp_nth(4));
}

static void the_holder_is_who_was_there_before(void)
{
	script_thread(3);
	bpf_rcu_read_lock();
	assert_int_equal(bma_gp_holder(rcu()), 0);
	script_gp_begin(rcu());
	assert_int_equal(bma_gp_holder(rcu()), 3);
	assert_int_equal(bma_gp_holder(unit_trace()), 0);
	script_thread(4);
	bpf_rcu_read_lock();
	script_thread(3);
	bpf_rcu_read_unlock();
	assert_int_equal(bma_gp_holder(rcu()), 0);
	script_gp_pass(rcu(), 1);
	script_gp_begin(rcu());
	assert_int_equal(bma_gp_holder(rcu()), 4);
	script_thread(4);
	bpf_rcu_read_unlock();
	script_gp_end(rcu());
}

/* --- interrupted everywhere ---------------------------------------------------------------------------- */

static bool same_world; /* as at the last check */

/*
 * What ended is over: nobody who was inside before it began still is.  The shadow of a reader: the number
 * that the next to begin had when it went in.
 */
static struct {
	bool inside;
	uint64_t next;
} reader[SCRIPT_THREADS + 1];

static void check_nobody_was_passed(void)
{
	static uint64_t last_begun, last_ended;
	unsigned int i;

	/* Numbers only grow, in one world. */
	if (!same_world) {
		last_begun = last_ended = 0;
		same_world = true;
	}
	assert_true(begun(rcu()) >= last_begun && ended(rcu()) >= last_ended);
	last_begun = begun(rcu());
	last_ended = ended(rcu());
	for (i = 1; i <= SCRIPT_THREADS; i++)
		if (reader[i].inside)
			assert_true(ended(rcu()) < reader[i].next);
	check_numbers();
}

static void go_in(unsigned int nr)
{
	script_thread(nr);
	bpf_rcu_read_lock();
	reader[nr].next = begun(rcu()) + 1;
	reader[nr].inside = true;
	script_thread(1);
}

static void go_out(unsigned int nr)
{
	if (!reader[nr].inside)
		return;
	script_thread(nr);
	reader[nr].inside = false;
	bpf_rcu_read_unlock();
	script_thread(1);
}

static void prepare_none(void)
{
	memset(reader, 0, sizeof(reader));
	same_world = false;
}

static void prepare_wanted(void)
{
	prepare_none();
	bma_gp_want(rcu(), bma_gp_number(rcu()), false);
}

static void prepare_running(void)
{
	prepare_none();
	go_in(2);
	bma_gp_want(rcu(), bma_gp_number(rcu()), false);
	bma_gp_poll(rcu(), false);
	assert_int_equal(begun(rcu()), ended(rcu()) + 1);
	go_in(3);
	bma_gp_want(rcu(), bma_gp_number(rcu()), true);
}

static void run_poll(void)
{
	bma_gp_poll(rcu(), false);
	check_nobody_was_passed();
}

static void run_thorough_poll(void)
{
	bma_gp_poll(rcu(), true);
	check_nobody_was_passed();
}

static void run_request(void)
{
	bma_cookie_t cookie = bma_gp_snapshot(rcu());

	bma_gp_request(rcu(), cookie, true);
	assert_true(bma_gp_wanted(rcu()) || bma_gp_done(rcu(), cookie));
	check_numbers();
}

static void nested_look(void *arg)
{
	(void)arg;
	check_nobody_was_passed();
}

static void nested_in(void *arg)
{
	(void)arg;
	go_in(4);
}

static void nested_out(void *arg)
{
	(void)arg;
	go_out(2);
	go_out(3);
}

static void nested_in_out_in(void *arg)
{
	nested_out(arg);
	go_in(4);
	bma_gp_poll(rcu(), true);
	check_nobody_was_passed();
	go_in(5);
	bma_gp_want(rcu(), bma_gp_number(rcu()), false);
	bma_gp_poll(rcu(), true);
	check_nobody_was_passed();
	go_out(4);
}

static void nested_another(void *arg)
{
	(void)arg;
	bma_gp_want(rcu(), bma_gp_number(rcu()), true);
	bma_gp_poll(rcu(), true);
	check_nobody_was_passed();
}

static void nested_periods(void *arg)
{
	unsigned int i;

	nested_out(arg);
	for (i = 0; i < 4; i++)
		nested_another(arg);
}

static void nested_many(void *arg)
{
	unsigned int i;

	nested_out(arg);
	for (i = 0; i < 3; i++) {
		nested_another(arg);
		go_in(4 + i);
	}
}

/* Nothing that was asked for is forgotten: when all have left, one poll is enough. */
static void check_all_ends(void)
{
	unsigned int i;

	check_nobody_was_passed();
	for (i = 1; i <= SCRIPT_THREADS; i++)
		go_out(i);
	bma_gp_poll(rcu(), true);
	assert_false(bma_gp_wanted(rcu()));
	assert_int_equal(begun(rcu()), ended(rcu()));
	assert_int_equal(port_load(&rcu()->polling, relaxed), 0);
}

static void the_machine_bears_interruption(void)
{
	static void (*const prepare[])(void) = { prepare_none, prepare_wanted, prepare_running };
	static void (*const run[])(void) = { run_poll, run_thorough_poll, run_request };
	static void (*const nested[])(void *) = { nested_look,	    nested_in,	    nested_out,
						  nested_in_out_in, nested_another, nested_periods,
						  nested_many };
	unsigned int p, r, n, points = 0;

	for (p = 0; p < 3; p++) {
		for (r = 0; r < 3; r++) {
			for (n = 0; n < sizeof(nested) / sizeof(nested[0]); n++) {
				struct unit_scene scene = { .prepare = prepare[p],
							    .run = run[r],
							    .nested = nested[n],
							    .check = check_all_ends };

				points += unit_explore(&scene);
			}
		}
	}
	print_message("    (%u points)\n", points);
	assert_true(points > 500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT_TEST(a_number_is_of_one_that_has_not_begun),
		UNIT_TEST(a_cookie_is_pending_or_done),
		UNIT_TEST(numbers_may_be_large),
		UNIT_TEST(what_is_wanted_only_grows),
		UNIT_TEST(a_request_is_for_one_or_two),
		UNIT_TEST(who_is_told),
		UNIT_TEST(hurries_are_counted),
		UNIT_TEST(a_poll_does_nothing_for_the_driven),
		UNIT_TEST(a_poll_that_nobody_wants_does_nothing),
		UNIT_TEST(a_poll_goes_as_far_as_is_wanted),
		UNIT_TEST(one_fence_is_enough_but_for_who_waits),
		UNIT_TEST(a_look_ends_what_had_its_fence),
		UNIT_TEST(without_the_fence_nothing_ends),
		UNIT_TEST(a_poll_leaves_it_to_one_under_way),
		UNIT_TEST(but_not_for_ever),
		UNIT_TEST(a_wait_for_what_is_over_does_not_sleep),
		UNIT_TEST(a_wait_is_in_a_hurry),
		UNIT_TEST(a_wait_polls_until_readers_leave),
		UNIT_TEST(who_is_inside_does_not_wait),
		UNIT_TEST(no_wake_up_is_lost),
		UNIT_TEST(all_domains_have_a_number),
		UNIT_TEST(the_holder_is_who_was_there_before),
		UNIT_TEST(the_machine_bears_interruption),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
