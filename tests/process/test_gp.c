// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_gp.c - numbered grace periods (core/gp.c): of liburcu's flavours, each driven by its thread
 * (home/process/flavors.c), and of our own readers, driven by the reclaimer and by whoever polls
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdbool.h> /* liburcu 0.15 forgets it */
#include <stdlib.h>
#include <string.h>
#include <urcu/flavor.h>

#include "bma.h"
#include "nth.h"
#include "util.h"

static struct bma_gp *domain_of(const struct rcu_flavor_struct *flavor)
{
	struct bma_gp *gp = is_own(flavor) ? &bma_rcu : port_gp_of_flavor(flavor);

	must(gp && gp->driven == !is_own(flavor));
	return gp;
}

/* Asks again, as the contract says. */
static bool done_or_ask(struct bma_gp *gp, bma_cookie_t cookie, bool hurry)
{
	if (bma_gp_done(gp, cookie))
		return true;
	bma_gp_request(gp, cookie, hurry);
	return false;
}

static void test_domains(void **state)
{
	struct bma_gp *gp[NR_FLAVORS], *other;
	unsigned int i, j, n;

	(void)state;
	for (i = 0; i < NR_FLAVORS; i++) {
		gp[i] = domain_of(flavors[i].ops);
		assert_ptr_equal(domain_of(flavors[i].ops), gp[i]);
		for (j = 0; j < i; j++)
			assert_ptr_not_equal(gp[i], gp[j]);
	}
	/* The list has our own first, and each once. */
	assert_ptr_equal(bma_gp_nth(0), &bma_rcu);
	assert_ptr_equal(bma_gp_nth(1), &bma_trace);
	for (n = 0; (other = bma_gp_nth(n)); n++)
		for (i = 0; i < n; i++)
			assert_ptr_not_equal(bma_gp_nth(i), other);
	assert_int_equal(n, NR_FLAVORS + 1);
	for (i = 0; i < NR_FLAVORS; i++) {
		for (j = 0; j < n && bma_gp_nth(j) != gp[i]; j++)
			;
		assert_true(j < n);
	}
}

static void test_idle(void **state)
{
	const struct flavor *f = *state;
	struct bma_gp *gp = domain_of(f->ops);
	uint64_t before = bma_gp_counts(gp).ended, hurried;
	bma_cookie_t cookie = bma_gp_snapshot(gp);

	/* Nobody asked: not done, and nothing runs. */
	assert_false(bma_gp_done(gp, cookie));
	sleep_us(20000);
	assert_false(bma_gp_done(gp, cookie));
	assert_int_equal(bma_gp_counts(gp).ended, before);
	bma_gp_request(gp, cookie, false);
	await(bma_gp_done(gp, cookie));
	assert_true(bma_gp_counts(gp).ended > before);
	assert_true(bma_gp_done(gp, cookie));
	hurried = bma_gp_counts(gp).hurried;
	before = bma_gp_counts(gp).ended;
	cookie = bma_gp_snapshot(gp);
	bma_gp_request(gp, cookie, true);
	await(bma_gp_done(gp, cookie));
	/* Hurried ones are counted, once each. */
	assert_true(bma_gp_counts(gp).hurried > hurried);
	assert_true(bma_gp_counts(gp).hurried - hurried <= bma_gp_counts(gp).ended - before + 1);
}

static void test_waits_for_reader(void **state)
{
	const struct flavor *f = *state;
	struct bma_gp *gp = domain_of(f->ops);
	bma_cookie_t cookie, later;
	struct sitter r;
	int i;

	sitter_begin(&r, f->ops);
	cookie = bma_gp_snapshot(gp);
	bma_gp_request(gp, cookie, true);
	for (i = 0; i < 20; i++) {
		assert_false(bma_gp_done(gp, cookie));
		later = bma_gp_snapshot(gp);
		bma_gp_request(gp, later, i % 2);
		assert_false(bma_gp_done(gp, later));
		/* Two are pending at most: the one that runs and the next. */
		assert_true((bma_cookie_t)(later - cookie) <= 1);
		sleep_us(1000);
	}
	sitter_end(&r);
	await(done_or_ask(gp, later, true));
	assert_true(bma_gp_done(gp, cookie));
}

/* Who sleeps until it is over must not be one of the readers; a QSBR thread is none meanwhile. */
static void test_wait(void **state)
{
	const struct flavor *f = *state;
	struct bma_gp *gp = domain_of(f->ops);
	uint64_t number = bma_gp_number(gp);

	assert_true(bma_gp_wait(gp, number));
	assert_true(bma_gp_number_done(gp, number));
	f->ops->register_thread();
	reader_enter(f->ops);
	number = bma_gp_number(gp);
	bma_gp_want(gp, number, true);
	if (is_qsbr(f->ops)) {
		assert_true(bma_gp_wait(gp, number));
		assert_true(f->ops->read_ongoing());
	} else {
		assert_false(bma_gp_wait(gp, number));
		sleep_us(30000);
		assert_false(bma_gp_number_done(gp, number));
		assert_true(f->ops->read_ongoing());
	}
	reader_leave(f->ops);
	assert_true(bma_gp_wait(gp, number));
	f->ops->unregister_thread();
}

/* A reader that goes inside after the grace period has begun is not waited for. */
static void test_late_reader(void **state)
{
	const struct flavor *f = *state;
	struct bma_gp *gp = domain_of(f->ops);
	struct sitter early, late;
	uint64_t number;

	sitter_begin(&early, f->ops);
	number = bma_gp_number(gp);
	bma_gp_want(gp, number, true);
	await(port_load(gp->started, seq_cst) == number);
	/* For liburcu, it is where it waits for the early one. */
	sleep_us(20000);
	sitter_begin(&late, f->ops);
	assert_false(bma_gp_number_done(gp, number));
	sitter_end(&early);
	await(bma_gp_number_done(gp, number));
	number = bma_gp_number(gp);
	bma_gp_want(gp, number, true);
	sleep_us(20000);
	assert_false(bma_gp_number_done(gp, number));
	sitter_end(&late);
	await(bma_gp_number_done(gp, number));
}

/* Cookies of long ago: done, or for a moment pending again, but never stuck and never of the future. */
static void test_wrap(void **state)
{
	const struct flavor *f = *state;
	struct bma_gp *gp = domain_of(f->ops);
	bma_cookie_t old = bma_gp_snapshot(gp), cookie;
	int i, pending = 0;

	bma_gp_request(gp, old, true);
	await(bma_gp_done(gp, old));
	for (i = 0; i < 520; i++) {
		cookie = bma_gp_snapshot(gp);
		must(!bma_gp_done(gp, cookie));
		bma_gp_request(gp, cookie, true);
		await(bma_gp_done(gp, cookie));
		pending += !bma_gp_done(gp, old);
	}
	assert_true(pending <= 6);
	await(done_or_ask(gp, old, true));
}

static struct bma_gp *memb;

static void want_memb(void)
{
	bma_gp_want(memb, bma_gp_number(memb), true);
}

/* Who asks for a grace period, and ends on the way, keeps nobody else from it. */
static void test_asker_ends(void **state)
{
	uint64_t number;
	unsigned int nth;

	(void)state;
	need_single_steps();
	memb = domain_of(flavors[MEMB].ops);
	for (nth = 1; thread_ends_at(want_memb, nth); nth++) {
		number = bma_gp_number(memb);
		bma_gp_want(memb, number, true);
		await(bma_gp_number_done(memb, number));
		/* Its thread goes back to sleep. */
		sleep_us(5000);
	}
	assert_true(nth > 20);
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
		       (closed < i - 1 && bma_gp_done(gp, cookie[closed % BOXES]))) {
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
		/* No order beyond release: SNAPSHOT is bma_gp_snapshot()'s business. */
		atomic_store_explicit(&b->current, box, memory_order_release);
		cookie[(i - 1) % BOXES] = bma_gp_snapshot(gp);
	}
}

static void test_never_early(void **state)
{
	const struct flavor *f = *state;
	struct bma_gp *gp = domain_of(f->ops);
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

static int setup(void **state)
{
	(void)state;
	port_init();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_domains),
		ALL_FLAVORS(test_idle, NULL, NULL),
		ALL_FLAVORS(test_waits_for_reader, NULL, NULL),
		ALL_FLAVORS(test_wait, NULL, NULL),
		ALL_FLAVORS(test_late_reader, NULL, NULL),
		ALL_FLAVORS(test_wrap, NULL, NULL),
		cmocka_unit_test(test_asker_ends),
		ALL_FLAVORS(test_never_early, NULL, NULL),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
