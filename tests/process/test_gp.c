// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_gp.c - home/process/gp.c: numbered grace periods of liburcu's flavours
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <urcu/flavor.h>

#include "port.h"
#include "util.h"

/* A reader that goes in and out at our word. */
struct reader {
	const struct rcu_flavor_struct *flavor;
	_Atomic bool in, leave;
	pthread_t thread;
};

static void *stay_inside(void *arg)
{
	struct reader *r = arg;

	r->flavor->register_thread();
	reader_enter(r->flavor);
	atomic_store(&r->in, true);
	while (!atomic_load(&r->leave))
		sleep_us(100);
	reader_leave(r->flavor);
	r->flavor->unregister_thread();
	return NULL;
}

static void reader_begin(struct reader *r, const struct rcu_flavor_struct *flavor)
{
	*r = (struct reader){ .flavor = flavor };
	thread_start(&r->thread, stay_inside, r);
	await(atomic_load(&r->in));
}

static void reader_end(struct reader *r)
{
	atomic_store(&r->leave, true);
	thread_join(r->thread);
}

/* Asks again, as the contract says. */
static bool done_or_ask(struct bma_gp *gp, bma_cookie_t cookie, bool hurry)
{
	if (port_gp_done(gp, cookie))
		return true;
	port_gp_request(gp, cookie, hurry);
	return false;
}

static void test_domains(void **state)
{
	struct bma_gp *gp[NR_FLAVORS];
	int i, j;

	(void)state;
	for (i = 0; i < NR_FLAVORS; i++) {
		gp[i] = port_gp_of_flavor(flavors[i].ops);
		assert_non_null(gp[i]);
		assert_ptr_equal(port_gp_of_flavor(flavors[i].ops), gp[i]);
		for (j = 0; j < i; j++)
			assert_ptr_not_equal(gp[i], gp[j]);
	}
	/* The default readers are bp's. */
	assert_ptr_equal(port_gp_of_flavor(NULL), gp[3]);
}

static void test_idle(void **state)
{
	const struct flavor *f = *state;
	struct bma_gp *gp = port_gp_of_flavor(f->ops);
	uint64_t before = port_gp_counts(gp).ended;
	bma_cookie_t cookie = port_gp_snapshot(gp);

	/* Nobody asked: not done, and nothing runs. */
	assert_false(port_gp_done(gp, cookie));
	sleep_us(20000);
	assert_false(port_gp_done(gp, cookie));
	assert_int_equal(port_gp_counts(gp).ended, before);
	port_gp_request(gp, cookie, false);
	await(port_gp_done(gp, cookie));
	assert_true(port_gp_counts(gp).ended > before);
	assert_true(port_gp_done(gp, cookie));
	cookie = port_gp_snapshot(gp);
	port_gp_request(gp, cookie, true);
	await(port_gp_done(gp, cookie));
	assert_true(port_gp_counts(NULL).ended >= port_gp_counts(gp).ended);
}

static void test_waits_for_reader(void **state)
{
	const struct flavor *f = *state;
	struct bma_gp *gp = port_gp_of_flavor(f->ops);
	bma_cookie_t cookie, later;
	struct reader r;
	int i;

	reader_begin(&r, f->ops);
	cookie = port_gp_snapshot(gp);
	port_gp_request(gp, cookie, true);
	for (i = 0; i < 20; i++) {
		assert_false(port_gp_done(gp, cookie));
		later = port_gp_snapshot(gp);
		port_gp_request(gp, later, i % 2);
		assert_false(port_gp_done(gp, later));
		/* Two are pending at most: the one that runs and the next. */
		assert_true((bma_cookie_t)(later - cookie) <= 1);
		sleep_us(1000);
	}
	reader_end(&r);
	await(done_or_ask(gp, later, true));
	assert_true(port_gp_done(gp, cookie));
}

/* A reader that begins after the snapshot need not be waited for, one that began before must be. */
static void test_wait(void **state)
{
	const struct flavor *f = *state;
	struct bma_gp *gp = port_gp_of_flavor(f->ops);
	bma_cookie_t cookie = port_gp_snapshot(gp);

	port_gp_request(gp, cookie, true);
	assert_true(port_gp_wait(gp, cookie));
	assert_true(port_gp_done(gp, cookie));
	f->ops->register_thread();
	reader_enter(f->ops);
	cookie = port_gp_snapshot(gp);
	port_gp_request(gp, cookie, true);
	if (is_qsbr(f->ops)) {
		assert_true(port_gp_wait(gp, cookie));
		assert_true(f->ops->read_ongoing());
	} else {
		assert_false(port_gp_wait(gp, cookie));
		assert_false(port_gp_done(gp, cookie));
	}
	reader_leave(f->ops);
	assert_true(port_gp_wait(gp, cookie));
	f->ops->unregister_thread();
}

/* Cookies of long ago: done, or for a moment pending again, but never stuck and never of the future. */
static void test_wrap(void **state)
{
	const struct flavor *f = *state;
	struct bma_gp *gp = port_gp_of_flavor(f->ops);
	bma_cookie_t old = port_gp_snapshot(gp), cookie;
	int i, pending = 0;

	port_gp_request(gp, old, true);
	await(port_gp_done(gp, old));
	for (i = 0; i < 520; i++) {
		cookie = port_gp_snapshot(gp);
		must(!port_gp_done(gp, cookie));
		port_gp_request(gp, cookie, true);
		await(port_gp_done(gp, cookie));
		pending += !port_gp_done(gp, old);
	}
	assert_true(pending <= 6);
	await(done_or_ask(gp, old, true));
}

/* --- never done too early ---------------------------------------------------------------------- */

struct box {
	_Atomic uint64_t alive;
};

#define BOXES 64

struct boxes {
	const struct rcu_flavor_struct *flavor;
	struct box box[BOXES];
	struct box *_Atomic current;
	_Atomic bool stop;
};

static void *open_boxes(void *arg)
{
	struct boxes *b = arg;
	struct box *box;
	int i;

	b->flavor->register_thread();
	while (!atomic_load_explicit(&b->stop, memory_order_relaxed)) {
		reader_enter(b->flavor);
		box = atomic_load_explicit(&b->current, memory_order_acquire);
		for (i = 0; i < 20; i++)
			must(atomic_load_explicit(&box->alive, memory_order_relaxed));
		reader_leave(b->flavor);
	}
	b->flavor->unregister_thread();
	return NULL;
}

/* Exchange the current box many times; an old one is closed as soon as its cookie is done. */
static void exchange_boxes(struct boxes *b, struct bma_gp *gp, unsigned long n)
{
	bma_cookie_t cookie[BOXES];
	unsigned long i, closed = 0;
	struct box *box;

	for (i = 1; i <= n; i++) {
		while (i - closed >= BOXES - 1 ||
		       (closed < i - 1 && port_gp_done(gp, cookie[closed % BOXES]))) {
			if (!done_or_ask(gp, cookie[closed % BOXES], closed % 2)) {
				sched_yield();
				continue;
			}
			atomic_store_explicit(&b->box[closed % BOXES].alive, 0,
					      memory_order_relaxed);
			closed++;
		}
		box = &b->box[i % BOXES];
		atomic_store_explicit(&box->alive, 1, memory_order_relaxed);
		/* No order beyond release: SNAPSHOT is port_gp_snapshot()'s business. */
		atomic_store_explicit(&b->current, box, memory_order_release);
		cookie[(i - 1) % BOXES] = port_gp_snapshot(gp);
	}
}

static void test_never_early(void **state)
{
	const struct flavor *f = *state;
	struct bma_gp *gp = port_gp_of_flavor(f->ops);
	struct boxes *b = calloc(1, sizeof(*b));
	pthread_t readers[2];
	int i;

	b->flavor = f->ops;
	atomic_store(&b->box[0].alive, 1);
	atomic_store(&b->current, &b->box[0]);
	for (i = 0; i < 2; i++)
		thread_start(&readers[i], open_boxes, b);
	exchange_boxes(b, gp, turns(4000, 400000));
	atomic_store(&b->stop, true);
	for (i = 0; i < 2; i++)
		thread_join(readers[i]);
	free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_domains),
		ALL_FLAVORS(test_idle, NULL, NULL),
		ALL_FLAVORS(test_waits_for_reader, NULL, NULL),
		ALL_FLAVORS(test_wait, NULL, NULL),
		ALL_FLAVORS(test_wrap, NULL, NULL),
		ALL_FLAVORS(test_never_early, NULL, NULL),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
