// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_callback.c - what users ask of grace periods: wait, poll, have called, and the barrier
 */
#include "every_access.h"
#include "../../core/callback.c"
#include "unit.h"

static struct bma_gp *rcu(void)
{
	return script_gp(SCRIPT_RCU);
}

/* As when the program begins. */
static void begin(void)
{
	unsigned int i;

	for (i = 0; i < BPF_RCU_DOMAINS_; i++) {
		port_store(&bma_world.callbacks[i].incoming, NULL, relaxed);
		bma_world.callbacks[i].batch = NULL;
		bma_world.callbacks[i].nr_run = 0;
	}
}

/* --- callbacks ----------------------------------------------------------------------------------------- */

#define MAX_CALLS 64

/* @number: of a grace period that must have ended. */
static struct call {
	struct bpf_rcu_head head;
	unsigned int queued, run;
	uint64_t number;
	bool trace, again;
} calls[MAX_CALLS];

static struct call *ran[MAX_CALLS * 4];
static unsigned int nr_ran;

static void queue_call(struct call *call);

static void run_call(struct bpf_rcu_head *head)
{
	struct call *call = (struct call *)((char *)head - offsetof(struct call, head));

	call->run++;
	assert_int_equal(call->run, call->queued);
	assert_true(script_gp_ended(call->trace ? unit_trace() : rcu()) >= call->number);
	assert_true(nr_ran < MAX_CALLS * 4);
	ran[nr_ran++] = call;
	/* It is the caller's again. */
	memset(head, 0x5a, sizeof(*head));
	if (call->again) {
		call->again = false;
		queue_call(call);
	}
}

static void queue_call(struct call *call)
{
	call->number = script_gp_begun(call->trace ? unit_trace() : rcu()) + 1;
	call->queued++;
	if (call->trace)
		call_rcu_tasks_trace(&call->head, run_call);
	else
		bpf_call_rcu(&call->head, run_call);
}

static void begin_calls(void)
{
	unsigned int i;

	begin();
	memset(calls, 0, sizeof(calls));
	for (i = 0; i < MAX_CALLS; i++)
		calls[i].trace = i % 2;
	nr_ran = 0;
}

/* All that were queued have run, once for each time. */
static void check_ran(void)
{
	unsigned int i;

	while (bma_reclaim())
		unit_pass(1);
	for (i = 0; i < MAX_CALLS; i++)
		assert_int_equal(calls[i].run, calls[i].queued);
	for (i = 0; i < BPF_RCU_DOMAINS_; i++) {
		assert_null(port_load(&bma_world.callbacks[i].incoming, relaxed));
		assert_null(bma_world.callbacks[i].batch);
	}
	begin();
}

static void they_run_once_and_in_order(void)
{
	unsigned int i, wakes;

	begin_calls();
	script_hold(rcu(), true);
	for (i = 0; i < 10; i += 2) {
		wakes = script_calls(SCRIPT_WAKE);
		queue_call(&calls[i]);
		assert_true(script_calls(SCRIPT_WAKE) > wakes);
	}
	/* Not before their grace period, and not on this thread now. */
	for (i = 0; i < 5; i++)
		assert_true(bma_reclaim());
	assert_int_equal(nr_ran, 0);
	script_gp_end(rcu());
	assert_int_equal(nr_ran, 0);
	bma_reclaim();
	assert_int_equal(nr_ran, 5);
	for (i = 0; i < 5; i++)
		assert_ptr_equal(ran[i], &calls[2 * i]);
	assert_false(bma_reclaim());
	assert_int_equal(nr_ran, 5);
	script_hold(rcu(), false);
	check_ran();
}

/* Where no reader is inside, in the round that takes them. */
static void without_readers_they_run_at_once(void)
{
	begin_calls();
	queue_call(&calls[0]);
	queue_call(&calls[1]);
	assert_false(bma_reclaim());
	assert_int_equal(nr_ran, 2);
	check_ran();
}

/* One that runs when they are queued does not count. */
static void a_running_period_does_not_count(void)
{
	begin_calls();
	script_hold(rcu(), true);
	script_gp_begin(rcu());
	queue_call(&calls[0]);
	bma_reclaim();
	script_gp_end(rcu());
	assert_true(bma_reclaim());
	assert_int_equal(nr_ran, 0);
	script_gp_pass(rcu(), 1);
	assert_false(bma_reclaim());
	assert_int_equal(nr_ran, 1);
	script_hold(rcu(), false);
	check_ran();
}

/* What comes while a batch waits is for the next. */
static void those_that_come_later_wait_longer(void)
{
	begin_calls();
	script_hold(rcu(), true);
	queue_call(&calls[0]);
	bma_reclaim();
	queue_call(&calls[2]);
	bma_reclaim();
	script_gp_end(rcu());
	assert_true(bma_reclaim());
	assert_int_equal(nr_ran, 1);
	assert_ptr_equal(ran[0], &calls[0]);
	script_gp_pass(rcu(), 1);
	assert_false(bma_reclaim());
	assert_int_equal(nr_ran, 2);
	script_hold(rcu(), false);
	check_ran();
}

static void each_kind_waits_for_its_own(void)
{
	unsigned int held;

	for (held = 0; held < 2; held++) {
		struct bma_gp *gp = held ? unit_trace() : rcu();

		begin_calls();
		script_hold(gp, true);
		queue_call(&calls[held]);
		queue_call(&calls[!held]);
		assert_true(bma_reclaim());
		assert_true(bma_reclaim());
		assert_int_equal(nr_ran, 1);
		assert_ptr_equal(ran[0], &calls[!held]);
		script_hold(gp, false);
		assert_false(bma_reclaim());
		assert_int_equal(nr_ran, 2);
		check_ran();
	}
}

static void a_callback_may_queue_again(void)
{
	unsigned int i;

	begin_calls();
	calls[1].again = true;
	queue_call(&calls[1]);
	assert_true(bma_reclaim());
	assert_int_equal(nr_ran, 1);
	assert_false(bma_reclaim());
	assert_int_equal(nr_ran, 2);
	begin_calls();
	for (i = 0; i < 4; i++) {
		calls[i].again = true;
		queue_call(&calls[i]);
	}
	script_hold(rcu(), true);
	bma_reclaim();
	assert_int_equal(nr_ran, 2); /* of the sleepable kind: again in the next round */
	script_gp_pass(rcu(), 1);
	assert_true(bma_reclaim());
	assert_int_equal(nr_ran, 6);
	script_gp_pass(rcu(), 1);
	bma_reclaim();
	assert_int_equal(nr_ran, 8);
	script_hold(rcu(), false);
	check_ran();
	for (i = 0; i < 4; i++)
		assert_int_equal(calls[i].run, 2);
}

/* A callback frees, and allocates. */
static struct bpf_mem_alloc *ma;
static void *of_callback;

static void free_and_alloc(struct bpf_rcu_head *head)
{
	(void)head;
	unit_free_rcu(ma, of_callback);
	of_callback = unit_alloc(ma);
}

static void a_callback_may_allocate(void)
{
	struct bpf_rcu_head head;
	unsigned int i;

	begin_calls();
	ma = unit_own_ma(1024, false);
	of_callback = unit_alloc(ma);
	for (i = 0; i < 10; i++) {
		bpf_call_rcu(&head, free_and_alloc);
		bma_reclaim();
	}
	unit_free(ma, of_callback);
	check_ran();
}

/* --- queued and run, interrupted everywhere ----------------------------------------------------------------- */

static void prepare_calls(void)
{
	begin_calls();
	queue_call(&calls[0]);
	queue_call(&calls[1]);
}

static void prepare_batch(void)
{
	begin_calls();
	script_hold(rcu(), true);
	script_hold(unit_trace(), true);
	queue_call(&calls[0]);
	queue_call(&calls[1]);
	bma_reclaim();
	queue_call(&calls[2]);
	queue_call(&calls[3]);
	script_gp_pass(rcu(), 1);
}

static void run_queue(void)
{
	queue_call(&calls[10]);
	queue_call(&calls[11]);
}

static void run_step(void)
{
	bma_callbacks_step();
	bma_callbacks_step();
}

static void nested_queue(void *arg)
{
	(void)arg;
	queue_call(&calls[20]);
	queue_call(&calls[21]);
	queue_call(&calls[22]);
}

static void nested_periods(void *arg)
{
	nested_queue(arg);
	unit_pass(2);
	queue_call(&calls[23]);
	queue_call(&calls[24]);
}

static void nested_step(void *arg)
{
	nested_queue(arg);
	bma_callbacks_step();
	unit_pass(1);
	bma_callbacks_step();
}

static void callbacks_bear_interruption(void)
{
	static void (*const prepare[])(void) = { begin_calls, prepare_calls, prepare_batch };
	static void (*const nested[])(void *) = { nested_queue, nested_periods, nested_step };
	unsigned int p, n, points = 0;

	for (p = 0; p < 3; p++) {
		for (n = 0; n < 3; n++) {
			struct unit_scene scene = { .prepare = prepare[p],
						    .run = run_queue,
						    .nested = nested[n],
						    .check = check_ran };

			points += unit_explore(&scene);
			/* There is one who runs them. */
			scene.run = run_step;
			if (nested[n] != nested_step)
				points += unit_explore(&scene);
		}
	}
	print_message("    (%u points)\n", points);
	assert_true(points > 150);
}

/* --- waits and polls -------------------------------------------------------------------------------------------- */

/* Each domain has its own of all this. */
static const struct domain {
	unsigned int which;
	void (*lock)(void);
	void (*unlock)(void);
	void (*synchronize)(void);
	const char *name;
	bpf_rcu_cookie (*get_state)(void);
	bool (*poll_state)(bpf_rcu_cookie cookie);
} domains[] = {
	{ SCRIPT_RCU, bpf_rcu_read_lock, bpf_rcu_read_unlock, bpf_rcu_synchronize,
	  "bpf_rcu_synchronize", bpf_rcu_get_state, bpf_rcu_poll_state },
	{ SCRIPT_TRACE, rcu_read_lock_trace, rcu_read_unlock_trace, synchronize_rcu_tasks_trace,
	  "synchronize_rcu_tasks_trace", rcu_tasks_trace_get_state, rcu_tasks_trace_poll_state },
};

static unsigned int sleeps;

static void relieve_at_the_third(struct bma_gp *gp)
{
	if (++sleeps % 3)
		return;
	if (!unit_running(gp))
		script_gp_begin(gp);
	script_gp_end(gp);
}

static void synchronize_waits_for_a_period(void)
{
	unsigned int i;

	script_on_sleep(relieve_at_the_third);
	for (i = 0; i < 2; i++) {
		struct bma_gp *gp = script_gp(domains[i].which);
		uint64_t number;

		domains[i].synchronize();
		script_hold(gp, true);
		number = bma_gp_number(gp);
		sleeps = 0;
		domains[i].synchronize();
		assert_int_equal(sleeps, 3);
		assert_int_equal(script_gp_ended(gp), number);
		/* One that runs does not count. */
		script_gp_begin(gp);
		domains[i].synchronize();
		assert_int_equal(sleeps, 9);
		assert_int_equal(script_gp_ended(gp), number + 2);
	}
	assert_int_equal(script_nr_reports(), 0);
}

static void but_not_inside(void)
{
	unsigned int i;

	for (i = 0; i < 2; i++) {
		domains[i].lock();
		domains[i].synchronize();
		assert_int_equal(script_nr_reports(), i + 1);
		assert_string_equal(script_report(i)->func, domains[i].name);
		/* The other kind is another matter. */
		domains[!i].synchronize();
		assert_int_equal(script_nr_reports(), i + 1);
		domains[i].unlock();
	}
	assert_int_equal(script_calls(SCRIPT_SLEEP), 0);
}

static void a_poll_helps_along(void)
{
	bpf_rcu_cookie cookie, later;
	unsigned int i;

	for (i = 0; i < 2; i++) {
		const struct domain *d = &domains[i];

		cookie = d->get_state();
		assert_int_equal(d->get_state(), cookie);
		/* Asking for a cookie begins nothing; polling alone ends it. */
		assert_false(bma_gp_wanted(script_gp(d->which)));
		assert_true(d->poll_state(cookie));
		assert_true(d->poll_state(cookie));
		script_hold(script_gp(d->which), true);
		cookie = d->get_state();
		assert_false(d->poll_state(cookie));
		later = d->get_state();
		assert_false(d->poll_state(later));
		script_hold(script_gp(d->which), false);
		/* That one runs does not keep it from ending both. */
		assert_true(d->poll_state(later));
		assert_true(d->poll_state(cookie));
		/* Also by who is inside, when it went in later. */
		cookie = d->get_state();
		script_hold(script_gp(d->which), true);
		assert_false(d->poll_state(cookie));
		d->lock();
		script_hold(script_gp(d->which), false);
		assert_true(d->poll_state(cookie));
		assert_false(d->poll_state(d->get_state()));
		d->unlock();
	}
	assert_int_equal(script_calls(SCRIPT_SLEEP), 0);
}

/* --- the barrier ---------------------------------------------------------------------------------------------------- */

/* Freed before the call: each is ripe or in its slab. */
static void check_all_ripe(void)
{
	unsigned int i, n = 0;

	for (i = 0; i < UNIT_MAX_OBJS; i++) {
		if (unit.obj[i].state != UNIT_FREED_RCU)
			continue;
		assert_true(unit_rcu_over(&unit.obj[i]));
		n++;
	}
	for (i = 0; i < unit.nr_mas; i++)
		if (unit.ma[i].group)
			assert_int_equal(unit_stats(&unit.ma[i]).objs_waiting_rcu, 0);
	assert_true(n > 0);
}

static void free_on_every_cpu(struct bpf_mem_alloc *of)
{
	unsigned int cpu;
	void *obj[5];

	for (cpu = 0; cpu < 3; cpu++) {
		script_cpu(cpu);
		unit_alloc_many(of, obj, 5);
		unit_free_rcu_many(of, obj, 4 + cpu % 2);
		if (cpu % 2 == 0)
			unit_free(of, obj[4]);
	}
}

static void a_barrier_is_for_all_that_was_freed(void)
{
	struct bpf_mem_alloc *of[3];
	unsigned int i;

	begin_calls();
	script_nr_cpus(3);
	of[0] = unit_own_ma(1024, false);
	of[1] = unit_ma(1024, false);
	of[2] = unit_new_ma();
	assert_int_equal(bpf_mem_alloc_init_flavor(of[2], 0, false, (void *)&calls), 0);
	free_on_every_cpu(of[0]);
	free_on_every_cpu(of[1]);
	unit_free_rcu(of[2], unit_alloc_size(of[2], 100));
	for (i = 0; i < 8; i += 2)
		queue_call(&calls[i]);
	bpf_rcu_barrier();
	check_all_ripe();
	assert_int_equal(nr_ran, 4);
	/* Two domains are driven: it has slept for each. */
	assert_true(script_calls(SCRIPT_SLEEP) >= 2);
	assert_int_equal(script_nr_reports(), 0);
	assert_int_equal(port_load(&bma_world.flushes_done, relaxed),
			 port_load(&bma_world.flushes_wanted, relaxed));
	check_ran();
}

/* A reader stays inside for a while, of each kind of domain in turn. */
static struct bma_gp *stays;
static unsigned int stays_for;

static void leave_in_the_end(struct bma_gp *gp)
{
	sleeps++;
	assert_ptr_equal(gp, stays);
	if (--stays_for)
		return;
	if (gp->driven)
		script_gp_end(gp);
	else
		script_hold(gp, false);
	script_on_sleep(NULL);
}

static void a_barrier_waits_for_readers(void)
{
	unsigned int i;

	for (i = 0; i < 2; i++) {
		unit_begin();
		begin_calls();
		ma = i ? unit_ma(1024, false) : unit_own_ma(1024, false);
		stays = ma->group->gp;
		stays_for = 5;
		sleeps = 0;
		if (i)
			script_gp_begin(stays);
		else
			script_hold(stays, true);
		unit_free_rcu(ma, unit_alloc(ma));
		queue_call(&calls[0]);
		script_on_sleep(leave_in_the_end);
		bpf_rcu_barrier();
		assert_int_equal(sleeps, 5);
		check_all_ripe();
		assert_int_equal(nr_ran, 1);
		check_ran();
		unit_end();
	}
	unit_begin();
}

static void but_not_for_sleepable_ones(void)
{
	begin_calls();
	script_hold(unit_trace(), true);
	ma = unit_own_ma(1024, false);
	unit_free_rcu(ma, unit_alloc(ma));
	queue_call(&calls[0]);
	queue_call(&calls[1]);
	bpf_rcu_barrier();
	check_all_ripe();
	assert_int_equal(nr_ran, 1);
	assert_ptr_equal(ran[0], &calls[0]);
	assert_int_equal(script_gp_ended(unit_trace()), SCRIPT_GP_FIRST - 1);
	assert_int_equal(script_calls(SCRIPT_SLEEP), 2);
	script_hold(unit_trace(), false);
	check_ran();
}

static void a_barrier_is_not_for_those_inside(void)
{
	begin_calls();
	queue_call(&calls[0]);
	bpf_rcu_read_lock();
	bpf_rcu_barrier();
	assert_int_equal(script_nr_reports(), 1);
	assert_string_equal(script_report(0)->func, "bpf_rcu_barrier");
	assert_int_equal(script_calls(SCRIPT_ROUND), 0);
	assert_int_equal(nr_ran, 0);
	bpf_rcu_read_unlock();
	/* A flavour's reader is told, too. */
	script_fail(SCRIPT_WAIT, 1, 1);
	bpf_rcu_barrier();
	assert_int_equal(script_nr_reports(), 2);
	assert_string_equal(script_report(1)->func, "bpf_rcu_barrier");
	/* A sleepable one may. */
	rcu_read_lock_trace();
	bpf_rcu_barrier();
	assert_int_equal(script_nr_reports(), 2);
	rcu_read_unlock_trace();
	check_ran();
}

/* A CPU in the middle of something, no memory for a block: it is asked for until it has been done. */
static void a_barrier_does_not_give_up(void)
{
	unsigned int rounds;

	begin_calls();
	script_nr_cpus(3);
	ma = unit_own_ma(1024, false);
	free_on_every_cpu(ma);
	script_fail(SCRIPT_DETACH, 2, 5);
	rounds = script_calls(SCRIPT_ROUND);
	bpf_rcu_barrier();
	assert_true(script_calls(SCRIPT_ROUND) - rounds > 3);
	check_all_ripe();
	check_ran();
}

/* Some have been taken by the reclaimer, some not, and there is always a reader inside: each has its turn. */
static void a_barrier_waits_for_every_batch(void)
{
	begin_calls();
	script_hold(rcu(), true);
	queue_call(&calls[0]);
	bma_reclaim();
	queue_call(&calls[2]);
	sleeps = 0;
	script_on_sleep(relieve_at_the_third);
	bpf_rcu_barrier();
	assert_int_equal(nr_ran, 2);
	assert_true(sleeps >= 6);
	script_on_sleep(NULL);
	script_hold(rcu(), false);
	check_ran();
}

/* One that queues itself again and again does not hold it. */
static void run_for_ever(struct bpf_rcu_head *head)
{
	if (++sleeps < 100)
		bpf_call_rcu(head, run_for_ever);
}

static void a_barrier_is_for_what_was_queued_before(void)
{
	struct bpf_rcu_head head;

	begin_calls();
	sleeps = 0;
	bpf_call_rcu(&head, run_for_ever);
	queue_call(&calls[0]);
	bpf_rcu_barrier();
	assert_int_equal(nr_ran, 1);
	assert_true(sleeps >= 1 && sleeps < 20);
	check_ran();
	assert_int_equal(sleeps, 100);
}

/* Who frees and queues while it waits is not lost, nor does it disturb. */
static struct bpf_mem_alloc *other;

static void prepare_barrier(void)
{
	begin_calls();
	script_nr_cpus(2);
	ma = unit_own_ma(1024, false);
	other = unit_ma(1024, false);
	unit_free_rcu(ma, unit_alloc(ma));
	unit_free_rcu(other, unit_alloc(other));
	queue_call(&calls[0]);
	queue_call(&calls[1]);
}

static void run_barrier(void)
{
	struct unit_obj *of[2] = { NULL, NULL };
	unsigned int i, n = 0;

	for (i = 0; i < UNIT_MAX_OBJS; i++)
		if (unit.obj[i].state == UNIT_FREED_RCU)
			of[n++] = &unit.obj[i];
	assert_int_equal(n, 2);
	bpf_rcu_barrier();
	for (i = 0; i < 2; i++)
		assert_true(script_gp_ended(of[i]->gp) >= SCRIPT_GP_FIRST);
	assert_int_equal(calls[0].run, 1);
}

static void nested_work(void *arg)
{
	(void)arg;
	script_cpu(1);
	unit_free_rcu(ma, unit_alloc(ma));
	unit_free_rcu(other, unit_alloc(other));
	queue_call(&calls[20]);
	queue_call(&calls[21]);
	script_cpu(0);
}

static void a_barrier_bears_interruption(void)
{
	struct unit_scene scene = { .prepare = prepare_barrier,
				    .run = run_barrier,
				    .nested = nested_work,
				    .check = check_ran };

	assert_true(unit_explore(&scene) > 60);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT_TEST(they_run_once_and_in_order),
		UNIT_TEST(without_readers_they_run_at_once),
		UNIT_TEST(a_running_period_does_not_count),
		UNIT_TEST(those_that_come_later_wait_longer),
		UNIT_TEST(each_kind_waits_for_its_own),
		UNIT_TEST(a_callback_may_queue_again),
		UNIT_TEST(a_callback_may_allocate),
		UNIT_TEST(callbacks_bear_interruption),
		UNIT_TEST(synchronize_waits_for_a_period),
		UNIT_TEST(but_not_inside),
		UNIT_TEST(a_poll_helps_along),
		UNIT_TEST(a_barrier_is_for_all_that_was_freed),
		UNIT_TEST(a_barrier_waits_for_readers),
		UNIT_TEST(but_not_for_sleepable_ones),
		UNIT_TEST(a_barrier_is_not_for_those_inside),
		UNIT_TEST(a_barrier_does_not_give_up),
		UNIT_TEST(a_barrier_waits_for_every_batch),
		UNIT_TEST(a_barrier_is_for_what_was_queued_before),
		UNIT_TEST(a_barrier_bears_interruption),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
