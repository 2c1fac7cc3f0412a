// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_limbo.c - magazines that wait for readers
 */
#include "every_access.h"
#include "../../core/limbo.c"
#include "scenes.h"

/* Magazines of things that are no objects, and the grace period that each has to wait for. */
#define MAX_PUT 700

static char thing[2];
static struct bpf_mem_cache *c;
static struct {
	struct bma_magazine *m;
	uint64_t number;
	bool in;
} waiting[MAX_PUT];
static unsigned int nr_waiting;
static struct bma_gp *gp;

static void begin_with(struct bpf_mem_alloc *ma)
{
	c = ma->caches;
	gp = ma->group->gp;
	nr_waiting = 0;
}

static void begin(void)
{
	begin_with(unit_ma(64, false));
}

static int64_t nr_limbo(void)
{
	return port_load(&c->nr_limbo, relaxed);
}

static struct bma_magazine *magazine(unsigned int n)
{
	struct bma_magazine *m = bma_magazine_new();

	assert_non_null(m);
	while (m->count < n)
		bma_magazine_push(c, m, &thing[m->count]);
	return m;
}

static void put(unsigned int n)
{
	struct bma_magazine *m = magazine(n);

	assert_true(nr_waiting < MAX_PUT);
	waiting[nr_waiting].m = m;
	waiting[nr_waiting].number = script_gp_begun(gp) + 1;
	waiting[nr_waiting++].in = true;
	bma_limbo_put(c, m);
}

/* @m may be reused now: was it time? */
static void ripe(struct bma_magazine *m)
{
	unsigned int i;

	for (i = 0; i < nr_waiting; i++) {
		if (waiting[i].m != m || !waiting[i].in)
			continue;
		assert_true(script_gp_ended(gp) >= waiting[i].number);
		waiting[i].in = false;
		assert_true(m->count >= 1);
		while (m->count) {
			void *obj = bma_magazine_pop(c, m);

			assert_ptr_equal(obj, &thing[m->count]);
		}
		bma_magazine_free(m);
		return;
	}
	fail_msg("a magazine that was not put in, or came out twice");
}

/* Take out what is ripe. */
static unsigned int get_all(void)
{
	struct bma_magazine *m;
	unsigned int n = 0;

	while ((m = bma_limbo_get(c)) || (m = bma_depot_get(c))) {
		ripe(m);
		n++;
	}
	return n;
}

static void check_empty(void)
{
	unsigned int i;

	for (i = 0; i < nr_waiting; i++)
		assert_false(waiting[i].in);
	for (i = 0; i < BMA_NR_BUCKETS; i++)
		assert_null(first_of(port_load(&c->bucket[i], relaxed)));
	assert_int_equal(nr_limbo(), 0);
	assert_int_equal(port_load(&c->nr_depot, relaxed), 0);
}

static void a_running_grace_period_does_not_count(void)
{
	begin();
	script_gp_begin(unit_rcu());
	put(2);
	assert_int_equal(get_all(), 0);
	script_gp_end(unit_rcu());
	assert_int_equal(get_all(), 0);
	script_gp_begin(unit_rcu());
	assert_int_equal(get_all(), 0);
	script_gp_end(unit_rcu());
	assert_int_equal(get_all(), 1);
	check_empty();
}

static void one_that_begins_later_does(void)
{
	begin();
	put(2);
	put(1);
	assert_int_equal(nr_limbo(), 3);
	assert_int_equal(script_gp_wanted(unit_rcu()), SCRIPT_GP_FIRST);
	script_gp_begin(unit_rcu());
	put(1);
	assert_int_equal(script_gp_wanted(unit_rcu()), SCRIPT_GP_FIRST + 1);
	script_gp_end(unit_rcu());
	/* Both that waited for it come at once, by one take. */
	assert_int_equal(get_all(), 2);
	assert_int_equal(nr_limbo(), 1);
	script_gp_pass(unit_rcu(), 1);
	assert_int_equal(get_all(), 1);
	check_empty();
}

/* The first of a bucket says what is in it, and so does each below for those from it on. */
static void a_bucket_is_described_by_its_first(void)
{
	struct bma_magazine *m;
	uint32_t total = 0;
	uint64_t word;
	unsigned int i;

	begin();
	for (i = 1; i <= 5; i++) {
		put(1 + i % 2);
		total += 1 + i % 2;
	}
	word = port_load(&c->bucket[SCRIPT_GP_FIRST % BMA_NR_BUCKETS], relaxed);
	for (i = 5; i; i--) {
		assert_ptr_equal(m = first_of(word), waiting[i - 1].m);
		assert_int_equal(port_load(&m->total, relaxed), total);
		assert_ptr_equal(bma_piece(port_load(&m->tail, relaxed)), waiting[0].m);
		total -= m->count;
		word = port_load(&m->next, relaxed);
	}
	assert_null(first_of(word));
	script_gp_pass(unit_rcu(), 1);
	/* One comes to hand, the rest go to the depot, counted. */
	m = bma_limbo_get(c);
	assert_int_equal(port_load(&c->nr_depot, relaxed) + m->count, 8);
	assert_int_equal(nr_limbo(), 0);
	ripe(m);
	assert_int_equal(get_all(), 4);
	check_empty();
}

static void a_put_releases_what_is_ripe_in_its_bucket(void)
{
	begin();
	put(2);
	put(2);
	script_gp_pass(unit_rcu(), BMA_NR_BUCKETS);
	put(1);
	assert_int_equal(nr_limbo(), 1);
	assert_int_equal(port_load(&c->nr_depot, relaxed), 4);
	assert_int_equal(get_all(), 2);
	script_gp_pass(unit_rcu(), 1);
	assert_int_equal(get_all(), 1);
	check_empty();
}

static void every_change_moves_a_buckets_tag(void)
{
	bma_word_t *bucket;
	uint64_t tag;

	begin();
	bucket = &c->bucket[SCRIPT_GP_FIRST % BMA_NR_BUCKETS];
	tag = port_load(bucket, relaxed) >> 40;
	put(2);
	assert_int_not_equal(port_load(bucket, relaxed) >> 40, tag);
	tag = port_load(bucket, relaxed) >> 40;
	assert_int_equal(cookie_of(port_load(bucket, relaxed)), SCRIPT_GP_FIRST & 0xff);
	script_gp_pass(unit_rcu(), 1);
	get_all();
	assert_int_not_equal(port_load(bucket, relaxed) >> 40, tag);
	/* The tag wraps within its 24 bits. */
	port_store(bucket, 0xffffffull << 40, relaxed);
	script_gp_pass(unit_rcu(), 3);
	put(2);
	assert_int_equal(port_load(bucket, relaxed) >> 40, 0);
	script_gp_pass(unit_rcu(), 1);
	assert_int_equal(get_all(), 1);
	check_empty();
}

/* Low bytes of the numbers wrap twice; there are always two cookies pending. */
static void numbers_wrap(void)
{
	unsigned int i, n = 0;

	begin();
	for (i = 0; i < 600; i++) {
		script_gp_begin(unit_rcu());
		put(1 + i % 2);
		script_gp_end(unit_rcu());
		n += get_all();
		assert_true(nr_waiting - n <= 2);
	}
	script_gp_pass(unit_rcu(), 2);
	get_all();
	check_empty();
}

/* Nobody takes anything for a long time: then two more grace periods may be waited for, not more. */
static void an_old_cookie_is_asked_for_again(void)
{
	unsigned int age;

	for (age = 1; age <= 600; age++) {
		unit_begin();
		begin();
		put(2);
		script_gp_pass(unit_rcu(), age);
		bma_limbo_ripen(c);
		while (script_gp_ended(unit_rcu()) < script_gp_wanted(unit_rcu()))
			script_gp_pass(unit_rcu(), 1);
		assert_true(script_gp_ended(unit_rcu()) <= SCRIPT_GP_FIRST - 1 + age + 2);
		assert_false(bma_limbo_ripen(c));
		assert_int_equal(get_all(), 1);
		check_empty();
		unit_end();
	}
	unit_begin();
}

/* Put into a bucket whose magazines may be of any age. */
static void an_old_bucket_is_added_to(void)
{
	unsigned int age;

	for (age = 1; age <= 520; age++) {
		unit_begin();
		begin();
		put(2);
		script_gp_pass(unit_rcu(), age);
		script_gp_begin(unit_rcu());
		put(1);
		get_all();
		script_gp_end(unit_rcu());
		get_all();
		script_gp_pass(unit_rcu(), 1);
		get_all();
		script_gp_pass(unit_rcu(), 2);
		get_all();
		check_empty();
		unit_end();
	}
	unit_begin();
}

static void ripen_moves_what_is_ripe_and_asks_for_the_rest(void)
{
	begin();
	assert_false(bma_limbo_ripen(c));
	put(2);
	put(1);
	script_gp_begin(unit_rcu());
	put(1);
	script_gp_end(unit_rcu());
	assert_true(bma_limbo_ripen(c));
	assert_int_equal(port_load(&c->nr_depot, relaxed), 3);
	assert_int_equal(nr_limbo(), 1);
	assert_int_equal(script_gp_wanted(unit_rcu()), SCRIPT_GP_FIRST + 1);
	script_gp_pass(unit_rcu(), 1);
	assert_false(bma_limbo_ripen(c));
	assert_int_equal(get_all(), 3);
	check_empty();
}

static void much_in_limbo_hurries(void)
{
	unsigned int i, n = HURRY_BYTES / 1024 / 2;

	begin_with(unit_ma(1024, false));
	for (i = 0; i < n; i++)
		put(2);
	assert_int_equal(nr_limbo() * 1024, HURRY_BYTES);
	assert_int_equal(script_calls(SCRIPT_HURRY), 0);
	put(1);
	assert_int_equal(script_calls(SCRIPT_HURRY), 1);
	script_gp_pass(unit_rcu(), 1);
	assert_int_equal(script_gp_hurried(unit_rcu()), 1);
	get_all();
	put(1);
	assert_int_equal(script_calls(SCRIPT_HURRY), 1);
	script_gp_pass(unit_rcu(), 1);
	get_all();
	check_empty();
}

/* Who frees gives way, once for each @n magazines in limbo, and so often in a grace period. */
static void much_in_limbo_yields(struct bpf_mem_alloc *ma, unsigned int n)
{
	unsigned int i, yields = 0, again;

	begin_with(ma);
	for (again = 0; again < 2; again++) {
		unsigned int left = MAX_YIELDS - again;

		nr_waiting = 0;
		for (i = 1; i <= MAX_PUT; i++) {
			put(1);
			assert_int_equal(script_calls(SCRIPT_YIELD), yields);
			bma_limbo_let_readers_run(c);
			yields += i / n < left ? i / n : left;
			left -= i / n < left ? i / n : left;
			assert_int_equal(script_calls(SCRIPT_YIELD), yields);
		}
		assert_int_equal(left, 0);
		assert_int_equal(nr_limbo(), MAX_PUT);
		/* Our own reader was asked to let others run when it leaves, and does. */
		script_gp_pass(gp, 2);
		yields += !gp->driven;
		assert_int_equal(script_calls(SCRIPT_YIELD), yields);
		/* After a yield it looks whether that has helped. */
		bma_limbo_let_readers_run(c);
		assert_int_equal(script_calls(SCRIPT_YIELD), ++yields);
		assert_int_equal(nr_limbo(), 0);
		assert_int_equal(get_all(), MAX_PUT);
		check_empty();
		bma_limbo_let_readers_run(c);
		assert_int_equal(script_calls(SCRIPT_YIELD), yields);
	}
}

/* Of our own readers: one fence for each POLL_BYTES, whoever is inside, who is looked for without. */
static void much_in_limbo_polls(void)
{
	unsigned int i, n = POLL_BYTES / 2048 / 2;

	begin_with(unit_own_ma(2048, false));
	for (i = 0; i < n - 1; i++)
		put(2);
	assert_int_equal(script_calls(SCRIPT_FENCE), 0);
	script_hold(gp, true);
	put(2);
	assert_int_equal(script_calls(SCRIPT_FENCE), 1);
	for (i = 0; i < n / LOOKS - 1; i++)
		put(2);
	assert_int_equal(script_gp_ended(gp), script_gp_begun(gp) - 1);
	script_hold(gp, false);
	put(2);
	assert_int_equal(script_gp_ended(gp), script_gp_begun(gp));
	assert_int_equal(nr_limbo(), n / LOOKS * 2);
	assert_int_equal(get_all(), n);
	for (i = n / LOOKS; i < n - 1; i++)
		put(2);
	assert_int_equal(script_calls(SCRIPT_FENCE), 1);
	/* It is over at once, with nobody inside. */
	put(2);
	assert_int_equal(script_calls(SCRIPT_FENCE), 2);
	assert_int_equal(nr_limbo(), 0);
}

static void much_yields_to_own_readers(void)
{
	script_hold(script_gp(SCRIPT_RCU), true);
	much_in_limbo_yields(unit_own_ma(1 << 12, false), YIELD_BYTES >> 12);
}

/* Who drives them must run, too: it takes more to give way to. */
static void more_yields_to_who_drives(void)
{
	much_in_limbo_yields(unit_ma(1 << 17, false), YIELD_BYTES_IF_DRIVEN >> 17);
}

/* A few large objects are many bytes, but no sign that anyone is kept from running. */
static void a_few_large_objects_do_not_yield(void)
{
	much_in_limbo_yields(unit_ma(BPF_MEM_CACHE_SIZE_MAX, false), YIELD_OBJS);
}

static void close_gives_cookies(void)
{
	struct bma_magazine *m;
	unsigned int i;

	begin();
	for (i = 0; i < 3; i++) {
		m = magazine(1);
		waiting[nr_waiting].m = m;
		waiting[nr_waiting].number = SCRIPT_GP_FIRST + 1;
		waiting[nr_waiting++].in = true;
		bma_limbo_put_partial(c, m);
	}
	assert_int_equal(nr_limbo(), 3);
	/* What passes before they have one does not count. */
	script_gp_pass(unit_rcu(), 1);
	assert_int_equal(get_all(), 0);
	bma_limbo_close(c);
	assert_int_equal(nr_limbo(), 3);
	assert_int_equal(bma_stack_first(&c->by_rcu), 0);
	assert_int_equal(get_all(), 0);
	script_gp_pass(unit_rcu(), 1);
	assert_int_equal(get_all(), 3);
	check_empty();
}

static struct bma_magazine *partial[2];

static void prepare_partial(void)
{
	begin();
	partial[0] = partial[1] = NULL;
	bma_limbo_put_partial(c, magazine(1));
}

static void get_partial(void)
{
	partial[0] = bma_limbo_get_partial(c);
}

static void get_partial_too(void *arg)
{
	(void)arg;
	partial[1] = bma_limbo_get_partial(c);
}

static void check_partial(void)
{
	assert_true(!partial[0] != !partial[1]);
	assert_int_equal(nr_limbo(), 0);
	bma_magazine_free(partial[0] ? partial[0] : partial[1]);
	check_empty();
}

static void one_gets_what_two_have_seen(void)
{
	struct unit_scene scene = { .prepare = prepare_partial,
				    .run = get_partial,
				    .nested = get_partial_too,
				    .check = check_partial };

	assert_true(unit_explore(&scene) > 2);
}

static void take_all_takes_ripe_and_unripe(void)
{
	struct bma_chain chain = { 0 };
	struct bma_magazine *m;
	bma_handle_t h;
	unsigned int i;

	begin();
	put(2);
	script_gp_begin(unit_rcu());
	put(1);
	put(2);
	script_gp_end(unit_rcu());
	for (i = 0; i < BMA_NR_BUCKETS; i++)
		for (h = bma_limbo_take(c, i); h;) {
			m = bma_piece(h);
			h = port_load(&m->next, relaxed);
			bma_chain_add(&chain, m);
		}
	assert_int_equal(chain.objs, 5);
	/* Nothing has moved on to the depot on the way. */
	assert_int_equal(bma_stack_first(&c->depot), 0);
	port_store(&c->nr_limbo, 0, relaxed);
	for (i = 0; i < nr_waiting; i++)
		waiting[i].in = false;
	check_empty();
	assert_int_equal(bma_chain_free(&chain, 10), 3);
}

/* --- waits for both kinds ------------------------------------------------------------------------- */

static void a_wait_is_for_both(void)
{
	struct bma_wait wait = { 0 };

	script_hold(unit_trace(), true);
	bma_wait_begin(&wait, unit_rcu());
	assert_true(wait.on);
	assert_int_equal(script_gp_wanted(unit_rcu()), SCRIPT_GP_FIRST);
	assert_int_equal(script_gp_wanted(unit_trace()), SCRIPT_GP_FIRST);
	assert_false(bma_wait_done(&wait, unit_rcu()));
	script_gp_pass(unit_rcu(), 1);
	assert_false(bma_wait_done(&wait, unit_rcu()));
	assert_true(wait.on);
	script_gp_pass(unit_trace(), 1);
	assert_true(bma_wait_done(&wait, unit_rcu()));
	assert_false(wait.on);
	/* The other way round. */
	bma_wait_begin(&wait, unit_rcu());
	script_gp_pass(unit_trace(), 5);
	assert_false(bma_wait_done(&wait, unit_rcu()));
	script_gp_pass(unit_rcu(), 1);
	assert_true(bma_wait_done(&wait, unit_rcu()));
}

static void a_running_period_of_either_kind_does_not_count(void)
{
	struct bma_wait wait = { 0 };

	script_hold(unit_trace(), true);
	script_gp_begin(unit_rcu());
	script_gp_begin(unit_trace());
	bma_wait_begin(&wait, unit_rcu());
	script_gp_end(unit_rcu());
	script_gp_end(unit_trace());
	assert_false(bma_wait_done(&wait, unit_rcu()));
	script_gp_pass(unit_rcu(), 1);
	assert_false(bma_wait_done(&wait, unit_rcu()));
	script_gp_pass(unit_trace(), 1);
	assert_true(bma_wait_done(&wait, unit_rcu()));
}

static void without_trace_readers_one_is_enough(void)
{
	struct bma_wait wait = { 0 };

	bma_wait_begin(&wait, unit_rcu());
	assert_false(bma_wait_done(&wait, unit_rcu()));
	script_gp_pass(unit_rcu(), 1);
	assert_true(bma_wait_done(&wait, unit_rcu()));
}

/* --- put and get, interrupted everywhere ------------------------------------------------------------ */

static unsigned int periods;

static void prepare_one(void)
{
	begin();
	put(2);
}

static void prepare_ripe(void)
{
	begin();
	put(2);
	put(1);
	script_gp_pass(unit_rcu(), 1);
}

/* A bucket with something ripe, and one with something that is not, of the next of its period. */
static void prepare_both(void)
{
	begin();
	put(2);
	script_gp_begin(unit_rcu());
	put(1);
	script_gp_end(unit_rcu());
}

static void run_put(void)
{
	put(2);
}

static void run_get(void)
{
	struct bma_magazine *m = bma_limbo_get(c);

	if (m)
		ripe(m);
}

static void run_ripen(void)
{
	bma_limbo_ripen(c);
}

/* A late pusher: between its cookie and its push, so many periods pass, others put and take. */
static void nested_periods(void *arg)
{
	(void)arg;
	put(1);
	script_gp_pass(unit_rcu(), periods);
	put(2);
	script_gp_begin(unit_rcu());
	put(1);
	script_gp_end(unit_rcu());
}

static void nested_take(void *arg)
{
	nested_periods(arg);
	get_all();
	put(1);
}

static void nested_ripen(void *arg)
{
	put(2);
	script_gp_pass(unit_rcu(), periods);
	bma_limbo_ripen(c);
	put(2);
	(void)arg;
}

/* The same first magazine comes back into the bucket with another below it. */
static void nested_aba(void *arg)
{
	(void)arg;
	script_gp_pass(unit_rcu(), 1);
	get_all();
	script_gp_pass(unit_rcu(), 3);
	put(1);
	put(2);
	put(2);
}

/* Nobody waits for ever, nothing is lost or comes early, at any time. */
static void check_comes_back(void)
{
	unsigned int i;

	get_all();
	for (i = 0; i < 5; i++) {
		bma_limbo_ripen(c);
		get_all();
		script_gp_begin(unit_rcu());
		get_all();
		script_gp_end(unit_rcu());
		get_all();
	}
	check_empty();
}

static void limbo_bears_interruption(void)
{
	static void (*const prepare[])(void) = { begin, prepare_one, prepare_ripe, prepare_both };
	static void (*const run[])(void) = { run_put, run_get, run_ripen };
	static void (*const nested[])(void *) = { nested_periods, nested_take, nested_ripen,
						  nested_aba };
	static const unsigned int ages[] = { 0, 1, 2, 3, 4, 5, 252, 253, 254, 255, 256, 257, 258 };
	unsigned int p, r, n, a, points = 0;

	for (p = 0; p < 4; p++) {
		for (r = 0; r < 3; r++) {
			for (n = 0; n < 4; n++) {
				struct unit_scene scene = { .prepare = prepare[p],
							    .run = run[r],
							    .nested = nested[n],
							    .check = check_comes_back };

				for (a = 0; a < sizeof(ages) / sizeof(ages[0]); a++) {
					periods = ages[a];
					points += unit_explore(&scene);
				}
			}
		}
	}
	print_message("    (%u points)\n", points);
	assert_true(points > 3000);
}

static void free_rcu_interrupted_everywhere(void)
{
	assert_true(scene_explore(scene_free_rcu) > 1000);
}

static void alloc_interrupted_everywhere(void)
{
	assert_true(scene_explore(scene_alloc) > 900);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT_TEST(a_running_grace_period_does_not_count),
		UNIT_TEST(one_that_begins_later_does),
		UNIT_TEST(a_bucket_is_described_by_its_first),
		UNIT_TEST(a_put_releases_what_is_ripe_in_its_bucket),
		UNIT_TEST(every_change_moves_a_buckets_tag),
		UNIT_TEST(numbers_wrap),
		UNIT_TEST(an_old_cookie_is_asked_for_again),
		UNIT_TEST(an_old_bucket_is_added_to),
		UNIT_TEST(ripen_moves_what_is_ripe_and_asks_for_the_rest),
		UNIT_TEST(much_in_limbo_hurries),
		UNIT_TEST(much_in_limbo_polls),
		UNIT_TEST(much_yields_to_own_readers),
		UNIT_TEST(more_yields_to_who_drives),
		UNIT_TEST(a_few_large_objects_do_not_yield),
		UNIT_TEST(close_gives_cookies),
		UNIT_TEST(one_gets_what_two_have_seen),
		UNIT_TEST(take_all_takes_ripe_and_unripe),
		UNIT_TEST(a_wait_is_for_both),
		UNIT_TEST(a_running_period_of_either_kind_does_not_count),
		UNIT_TEST(without_trace_readers_one_is_enough),
		UNIT_TEST(limbo_bears_interruption),
		UNIT_TEST(free_rcu_interrupted_everywhere),
		UNIT_TEST(alloc_interrupted_everywhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
