// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_rcu.c - core's own readers: who is waited for
 */
#include "every_access.h"
#include "../../core/rcu.c"
#include "readers.h"

/* --- who is waited for ----------------------------------------------------------------------------------- */

static void who_was_there_before_is_waited_for(void)
{
	unsigned int i, n;

	for (i = 0; i < 2; i++) {
		const struct domain *d = &domains[i];
		struct bma_gp *gp = script_gp(d->which);

		begin();
		assert_true(one_passes(gp));
		d->lock();
		for (n = 0; n < 5; n++)
			assert_false(one_passes(gp));
		/* One has begun, and no more. */
		assert_int_equal(script_gp_begun(gp), SCRIPT_GP_FIRST + 1);
		assert_int_equal(ended(gp), SCRIPT_GP_FIRST);
		d->unlock();
		assert_true(one_passes(gp));
		end();
	}
}

static void who_came_later_is_not(void)
{
	unsigned int i, n;

	for (i = 0; i < 2; i++) {
		const struct domain *d = &domains[i];
		struct bma_gp *gp = script_gp(d->which);

		begin();
		script_thread(2);
		d->lock();
		assert_false(one_passes(gp));
		script_thread(3);
		d->lock();
		script_thread(2);
		d->unlock();
		bma_gp_poll(gp, false);
		assert_int_equal(ended(gp), SCRIPT_GP_FIRST);
		/* But by the next it is. */
		for (n = 0; n < 3; n++)
			assert_false(one_passes(gp));
		assert_int_equal(ended(gp), SCRIPT_GP_FIRST);
		assert_int_equal(bma_reader_before(gp, SCRIPT_GP_FIRST, false), 0);
		assert_int_equal(bma_reader_before(gp, SCRIPT_GP_FIRST + 1, false), 3);
		script_thread(3);
		d->unlock();
		assert_true(one_passes(gp));
		end();
	}
}

/* In and out, again and again, by turns: grace periods go on. */
static void readers_who_take_turns_hold_nothing(void)
{
	unsigned int n;

	begin();
	for (n = 0; n < 100; n++) {
		script_thread(2 + n % 2);
		bpf_rcu_read_lock();
		if (n) {
			script_thread(3 - n % 2);
			bpf_rcu_read_unlock();
		}
		one_passes(rcu());
	}
	assert_true(ended(rcu()) >= SCRIPT_GP_FIRST + 90);
	script_thread(2 + 99 % 2);
	bpf_rcu_read_unlock();
	assert_true(one_passes(rcu()));
	end();
}

static void sections_nest(void)
{
	unsigned int i, n;

	for (i = 0; i < 2; i++) {
		const struct domain *d = &domains[i];
		struct bma_gp *gp = script_gp(d->which);

		begin();
		assert_false(d->held());
		d->lock();
		assert_false(one_passes(gp));
		/* An inner one does not make it a later reader. */
		for (n = 0; n < 10; n++) {
			d->lock();
			assert_true(d->held());
			assert_false(one_passes(gp));
		}
		for (n = 0; n < 10; n++) {
			d->unlock();
			assert_true(d->held());
			assert_false(one_passes(gp));
		}
		d->unlock();
		assert_false(d->held());
		assert_true(one_passes(gp));
		end();
	}
}

static bool is_asked(unsigned int nr)
{
	script_thread(nr);
	return bpf_rcu_this_reader_ && bpf_rcu_this_reader_->asked;
}

/* Who is waited for, and only who is, lets others run when it leaves its outermost section, once. */
static void who_is_asked_lets_others_run(void)
{
	unsigned int yields, nr;

	begin();
	for (nr = 2; nr <= 4; nr++) {
		script_thread(nr);
		bpf_rcu_read_lock();
		bpf_rcu_read_lock();
		rcu_read_lock_trace();
		if (nr == 3)
			assert_false(one_passes(rcu()));
	}
	script_thread(5);
	bpf_rcu_read_lock();
	bpf_rcu_read_unlock();
	/* 2 and 3 were there before; 3 itself frees. */
	script_thread(3);
	bma_readers_ask(rcu());
	assert_true(is_asked(2));
	assert_false(is_asked(3) || is_asked(4) || is_asked(5));
	yields = script_calls(SCRIPT_YIELD);
	for (nr = 2; nr <= 4; nr++) {
		script_thread(nr);
		bpf_rcu_read_unlock();
		rcu_read_unlock_trace();
		assert_int_equal(script_calls(SCRIPT_YIELD), yields);
		bpf_rcu_read_unlock();
		yields += nr == 2;
		assert_int_equal(script_calls(SCRIPT_YIELD), yields);
		assert_false(is_asked(nr));
		bpf_rcu_read_lock();
		bpf_rcu_read_unlock();
		assert_int_equal(script_calls(SCRIPT_YIELD), yields);
	}
	end();
}

static void sections_nest_deep(void)
{
	unsigned int n;

	begin();
	for (n = 0; n < 65535; n++)
		bpf_rcu_read_lock();
	assert_true(bpf_rcu_read_lock_held());
	assert_false(one_passes(rcu()));
	while (n--)
		bpf_rcu_read_unlock();
	assert_false(bpf_rcu_read_lock_held());
	assert_true(one_passes(rcu()));
	end();
}

static void the_kinds_are_apart(void)
{
	struct bma_gp *trace = unit_trace();

	begin();
	bpf_rcu_read_lock();
	assert_false(rcu_read_lock_trace_held());
	assert_false(one_passes(rcu()));
	assert_true(one_passes(trace));
	/* They may overlap as they like. */
	rcu_read_lock_trace();
	assert_true(bpf_rcu_read_lock_held() && rcu_read_lock_trace_held());
	bpf_rcu_read_unlock();
	assert_true(one_passes(rcu()));
	assert_false(one_passes(trace));
	bpf_rcu_read_lock();
	rcu_read_unlock_trace();
	assert_true(bpf_rcu_read_lock_held() && !rcu_read_lock_trace_held());
	assert_false(one_passes(rcu()));
	assert_true(one_passes(trace));
	bpf_rcu_read_unlock();
	assert_true(one_passes(rcu()));
	assert_int_equal(bma_reader_records(), 1);
	end();
}

static void with_a_barrier_of_its_own_or_not(void)
{
	unsigned int i;

	begin();
	for (i = 0; i < 2; i++) {
		bpf_rcu_readers_fence_ = i;
		bpf_rcu_read_lock();
		assert_false(one_passes(rcu()));
		bpf_rcu_read_unlock();
		assert_true(one_passes(rcu()));
	}
	end();
}

/* A word has 48 bits of the number. */
static void numbers_may_be_large(void)
{
	static const uint64_t at[] = { 1ull << 47, 1ull << 48, 1ull << 49 };
	unsigned int i, n;

	begin();
	for (n = 0; n < sizeof(at) / sizeof(at[0]); n++) {
		port_store(rcu()->started, at[n] - 5, relaxed);
		port_store(&rcu()->completed, at[n] - 5, relaxed);
		for (i = 0; i < 10; i++) {
			script_thread(2);
			bpf_rcu_read_lock();
			assert_false(one_passes(rcu()));
			script_thread(3);
			bpf_rcu_read_lock();
			script_thread(2);
			bpf_rcu_read_unlock();
			assert_false(one_passes(rcu()));
			script_thread(3);
			bpf_rcu_read_unlock();
			assert_true(one_passes(rcu()));
		}
		assert_true(ended(rcu()) > at[n]);
	}
	end();
}

/* --- interrupted on the way in and out --------------------------------------------------------------------- */

static struct {
	uint64_t in, out; /* what had begun when it was surely inside, and on its way out */
} seen;

static void nested_periods(void *arg)
{
	unsigned int i;

	(void)arg;
	script_thread(3);
	for (i = 0; i < 3; i++)
		one_passes(rcu());
	script_thread(2);
}

/* A handler that reads, in both kinds. */
static void nested_sections(void *arg)
{
	(void)arg;
	bpf_rcu_read_lock();
	rcu_read_lock_trace();
	assert_true(bpf_rcu_read_lock_held() && rcu_read_lock_trace_held());
	assert_false(one_passes(rcu()));
	bpf_rcu_read_unlock();
	rcu_read_unlock_trace();
}

static void nested_both(void *arg)
{
	nested_sections(arg);
	nested_periods(arg);
	nested_sections(arg);
}

static void nested_other_thread(void *arg)
{
	(void)arg;
	script_thread(4);
	bpf_rcu_read_lock();
	assert_false(one_passes(rcu()));
	bpf_rcu_read_unlock();
	one_passes(rcu());
	script_thread(2);
}

static unsigned int depth;

static void prepare_section(void)
{
	unsigned int i;

	begin();
	script_thread(2);
	for (i = 0; i < depth; i++)
		bpf_rcu_read_lock();
	if (!depth) {
		/* Not its first: that is another test's. */
		bpf_rcu_read_lock();
		bpf_rcu_read_unlock();
	}
}

static void run_section(void)
{
	uint64_t before = ended(rcu());

	bpf_rcu_read_lock();
	seen.in = script_gp_begun(rcu());
	assert_true(bpf_rcu_read_lock_held());
	/* A late one, with an old number, holds up what begins after: late, never early. */
	assert_false(one_passes(rcu()));
	assert_true(ended(rcu()) <= seen.in);
	seen.out = ended(rcu());
	bpf_rcu_read_unlock();
	assert_true(!depth || ended(rcu()) <= before + 1);
	assert_int_equal(bpf_rcu_read_lock_held(), depth != 0);
}

static void check_section(void)
{
	unsigned int i;

	script_thread(2);
	assert_int_equal(bpf_rcu_read_lock_held(), depth != 0);
	assert_false(rcu_read_lock_trace_held());
	for (i = 0; i < depth; i++) {
		assert_false(one_passes(rcu()));
		bpf_rcu_read_unlock();
	}
	assert_int_equal(
		port_load(shared(&bpf_rcu_this_reader_->word[0]), relaxed) & BPF_RCU_NESTING_, 0);
	assert_true(one_passes(rcu()));
	assert_true(one_passes(unit_trace()));
	end();
}

static void (*const nested[])(void *) = { nested_periods, nested_sections, nested_both,
					  nested_other_thread };

#define NR_NESTED (sizeof(nested) / sizeof(nested[0]))

static void sections_bear_interruption(void)
{
	struct unit_scene scene = { .prepare = prepare_section,
				    .run = run_section,
				    .check = check_section };
	unsigned int i, points = 0;

	for (depth = 0; depth < 3; depth++) {
		for (i = 0; i < NR_NESTED; i++) {
			scene.nested = nested[i];
			points += unit_explore(&scene);
		}
	}
	assert_true(points > 200);
}

/* The first section of a thread, in whose midst a handler has its first. */
static void prepare_first(void)
{
	begin();
	depth = 0;
	script_thread(2);
}

static void check_first(void)
{
	struct bpf_rcu_reader_ *r, *own;
	unsigned int owned = 0;

	script_thread(2);
	own = bpf_rcu_this_reader_;
	assert_non_null(own);
	assert_false(bpf_rcu_read_lock_held());
	/* One record is the thread's; what the handler's coming made too many is free. */
	for (r = port_load(&bma_world.readers.records, relaxed); r; r = r->next) {
		owned += owner(r) == 2;
		assert_true(owner(r) == 2 || owner(r) == 4 || !owner(r));
		assert_true(r == own || owner(r) != 2);
		assert_int_equal((r->word[0] | r->word[1]) & BPF_RCU_NESTING_, 0);
	}
	assert_int_equal(owned, 1);
	assert_true(bma_reader_records() <= 2);
	/* And the next thread that comes has it. */
	owned = bma_reader_records();
	script_thread(5);
	bpf_rcu_read_lock();
	assert_ptr_not_equal(bpf_rcu_this_reader_, own);
	bpf_rcu_read_unlock();
	assert_true(bma_reader_records() <= (owned < 2 ? 2 : owned + 1));
	script_thread(2);
	assert_ptr_equal(bpf_rcu_this_reader_, own);
	check_section();
}

static void first_sections_bear_interruption(void)
{
	struct unit_scene scene = { .prepare = prepare_first,
				    .run = run_section,
				    .check = check_first };
	unsigned int i, points = 0;

	for (i = 0; i < NR_NESTED; i++) {
		scene.nested = nested[i];
		points += unit_explore(&scene);
	}
	print_message("    (%u points)\n", points);
	assert_true(points > 100);
}

/* --- a long walk ------------------------------------------------------------------------------------------------- */

#define WALKERS 8
#define COOKIES 32

static uint64_t walk_state;

static unsigned int dice(unsigned int n)
{
	walk_state = walk_state * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned int)(walk_state >> 33) % n;
}

/* @section: of its outermost one, 0 if it is not inside; its time is when it was surely inside. */
static struct {
	uint64_t section[2];
	unsigned int depth[2];
} walker[WALKERS + 1];

static struct {
	uint64_t time, number;
	unsigned int domain;
} cookie[COOKIES];

static uint64_t now;
static bool walk_nested;
static uint64_t walk_periods;

static void walk_check(void)
{
	unsigned int i, j, domain;

	for (i = 0; i < COOKIES; i++) {
		domain = cookie[i].domain;
		if (!cookie[i].time ||
		    !bma_gp_number_done(script_gp(domains[domain].which), cookie[i].number))
			continue;
		for (j = 1; j <= WALKERS; j++)
			assert_true(!walker[j].section[domain] ||
				    walker[j].section[domain] > cookie[i].time);
		cookie[i].time = 0;
	}
}

static void walk_step(void);

static void walk_interruption(void *arg)
{
	unsigned int i, self = port_thread_id();

	(void)arg;
	walk_nested = true;
	for (i = dice(8); i; i--)
		walk_step();
	walk_nested = false;
	script_thread(self);
}

static void walk_reader(unsigned int nr, unsigned int domain)
{
	script_thread(nr);
	if (!dice(3) && walker[nr].depth[domain] < 4) {
		domains[domain].lock();
		if (!walker[nr].depth[domain]++)
			walker[nr].section[domain] = ++now;
	} else if (walker[nr].depth[domain]) {
		if (!--walker[nr].depth[domain])
			walker[nr].section[domain] = 0;
		domains[domain].unlock();
	}
	assert_int_equal(domains[domain].held(), walker[nr].depth[domain] != 0);
}

static void walk_death(unsigned int nr)
{
	if (nr == port_thread_id())
		return;
	script_thread_dies(nr);
	memset(&walker[nr], 0, sizeof(walker[nr]));
}

static void walk_cookie(unsigned int i, unsigned int domain)
{
	/* Who goes in while the number is taken is on either side. */
	cookie[i].time = 0;
	now++;
	cookie[i].domain = domain;
	{
		uint64_t time = now;

		cookie[i].number = bma_gp_number(script_gp(domains[domain].which));
		cookie[i].time = time;
	}
	bma_gp_want(script_gp(domains[domain].which), cookie[i].number, dice(2));
}

static void walk_step(void)
{
	unsigned int what = dice(100), domain = dice(2);

	/* Threads that are interrupted go on after; so handlers are of others, and interrupt these. */
	if (what < 60)
		walk_reader(walk_nested ? 1 + WALKERS / 2 + dice(WALKERS / 2) :
					  1 + dice(WALKERS / 2),
			    domain);
	else if (what < 75)
		bma_gp_poll(script_gp(domains[domain].which), dice(2));
	else if (what < 88 && !walk_nested)
		walk_cookie(dice(COOKIES), domain);
	else if (what < 92)
		walk_death(walk_nested ? 1 + WALKERS / 2 + dice(WALKERS / 2) :
					 1 + dice(WALKERS / 2));
	else if (what < 94)
		script_fail(SCRIPT_FENCE, 1, dice(3));
	else if (!walk_nested)
		script_interrupt(SCRIPT_ANY, 1 + dice(40), walk_interruption, NULL);
	walk_check();
}

static void walk(uint64_t seed)
{
	unsigned int i, domain;

	begin();
	walk_state = seed;
	now = 0;
	memset(walker, 0, sizeof(walker));
	memset(cookie, 0, sizeof(cookie));
	for (i = 0; i < 2000; i++)
		walk_step();
	script_interrupt(SCRIPT_ANY, 0, NULL, NULL);
	script_fail(SCRIPT_FENCE, 1, 0);
	script_thread(WALKERS + 1);
	for (i = 1; i <= WALKERS; i++)
		walk_death(i);
	for (domain = 0; domain < 2; domain++)
		bma_gp_poll(script_gp(domains[domain].which), true);
	walk_check();
	for (i = 0; i < COOKIES; i++)
		assert_int_equal(cookie[i].time, 0);
	/* None but for who was in the middle of taking or burying one. */
	assert_true(bma_reader_records() <= WALKERS + 1);
	walk_periods += ended(rcu()) - SCRIPT_GP_FIRST;
	end();
}

static void a_long_walk(void)
{
	uint64_t seed;

	walk_periods = 0;
	for (seed = 1; seed <= 100; seed++) {
		unit.at = (unsigned int)seed;
		unit_begin();
		walk(seed);
		unit_end();
	}
	print_message("    (%u periods)\n", (unsigned int)walk_periods);
	unit.at = 0;
	unit_begin();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT_TEST(who_was_there_before_is_waited_for),
		UNIT_TEST(who_came_later_is_not),
		UNIT_TEST(readers_who_take_turns_hold_nothing),
		UNIT_TEST(sections_nest),
		UNIT_TEST(who_is_asked_lets_others_run),
		UNIT_TEST(sections_nest_deep),
		UNIT_TEST(the_kinds_are_apart),
		UNIT_TEST(with_a_barrier_of_its_own_or_not),
		UNIT_TEST(numbers_may_be_large),
		UNIT_TEST(sections_bear_interruption),
		UNIT_TEST(first_sections_bear_interruption),
		UNIT_TEST(a_long_walk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
