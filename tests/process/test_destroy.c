// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_destroy.c - the end of an allocator, with readers inside, objects in limbo and others at work
 */
#define _GNU_SOURCE
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "util.h"

struct inside {
	const struct rcu_flavor_struct *flavor;
	void *look_at;
	size_t bytes;
	_Atomic bool in, leave;
	pthread_t thread;
};

static void *stay_inside(void *arg)
{
	struct inside *r = arg;

	r->flavor->register_thread();
	reader_enter(r->flavor);
	atomic_store(&r->in, true);
	while (!atomic_load(&r->leave)) {
		must(!r->look_at || is_filled(r->look_at, r->bytes, 3));
		sleep_us(500);
	}
	must(!r->look_at || is_filled(r->look_at, r->bytes, 3));
	reader_leave(r->flavor);
	r->flavor->unregister_thread();
	return NULL;
}

static void inside_begin(struct inside *r, const struct rcu_flavor_struct *flavor, void *look_at,
			 size_t bytes)
{
	*r = (struct inside){ .flavor = flavor, .look_at = look_at, .bytes = bytes };
	thread_start(&r->thread, stay_inside, r);
	await(atomic_load(&r->in));
}

static void inside_end(struct inside *r)
{
	atomic_store(&r->leave, true);
	thread_join(r->thread);
}

/* --- a million objects in limbo ---------------------------------------------------------------- */

struct million {
	const struct rcu_flavor_struct *flavor;
	unsigned long objects;
	void **objs;
};

/* Fill @ma's limbo; the reader looks at the first of them. */
static void to_limbo(struct million *m, struct bpf_mem_alloc *ma, struct inside *r)
{
	unsigned long i;

	for (i = 0; i < m->objects; i++) {
		m->objs[i] = bpf_mem_cache_alloc(ma);
		must(m->objs[i]);
		memset(m->objs[i], 3, 64);
	}
	fill(m->objs[0], 64, 3);
	inside_begin(r, m->flavor, m->objs[0], 64);
	for (i = 0; i < m->objects; i++)
		bpf_mem_cache_free_rcu(ma, m->objs[i]);
	must(stats_of(ma).objs_waiting_rcu == m->objects);
}

/* Returns how long destroy took. */
static double destroy_once(struct million *m, size_t *peak)
{
	struct bpf_mem_alloc ma;
	struct inside r;
	double start;

	must(!init_for(&ma, 64, false, m->flavor));
	to_limbo(m, &ma, &r);
	*peak = rss();
	start = now();
	bpf_mem_alloc_destroy(&ma);
	start = now() - start;
	/* A few rounds of the reclaimer; it all must still be there. */
	sleep_us(120000);
	must(process_stats().dying == 1);
	must(process_stats().bytes_spans >= m->objects * 64);
	must(process_stats().never_freed == 0);
	inside_end(&r);
	await_nothing_left();
	must(process_stats().never_freed == 0);
	return start;
}

static void destroy_million(void *arg)
{
	struct million m = { .flavor = arg, .objects = turns(1000000, 1000000) };
	double took, best = 1e9;
	size_t before, peak;
	int i;

	m.objs = calloc(m.objects, sizeof(*m.objs));
	memset(m.objs, 1, m.objects * sizeof(*m.objs));
	/* Once for what the process keeps for good: threads' stacks, the first chunk of metadata. */
	destroy_once(&m, &peak);
	before = rss();
	for (i = 0; i < 3; i++) {
		took = destroy_once(&m, &peak);
		best = took < best ? took : best;
	}
	/* Metadata goes a little after the spans. */
	if (is_plain())
		await(rss() < before + (2 << 20));
	printf("# destroy with %lu in limbo: %.3f ms; RSS %zu KiB, then %zu KiB, before %zu KiB\n",
	       m.objects, 1e3 * best, peak >> 10, rss() >> 10, before >> 10);
	fflush(stdout);
	if (is_plain())
		must(best < 0.010);
	free(m.objs);
}

static void test_million(void **state)
{
	const struct flavor *f = *state;

	assert_true(in_child(destroy_million, (void *)f->ops));
}

/* --- where no thread can be created ------------------------------------------------------------ */

static void no_threads(bool none)
{
	struct rlimit limit;

	must(!getrlimit(RLIMIT_NPROC, &limit));
	limit.rlim_cur = none ? 0 : limit.rlim_max;
	must(!setrlimit(RLIMIT_NPROC, &limit));
}

/* It works all the same: who asks for statistics has what waits come back. */
static void without_threads(void *arg)
{
	struct bpf_mem_alloc ma;
	void *objs[200];
	int i;

	(void)arg;
	/* Root may have as many as it likes. */
	must(geteuid() || !setresuid(65534, 65534, 65534));
	no_threads(true);
	must(!bpf_mem_alloc_init(&ma, 64, false));
	for (i = 0; i < 200; i++)
		must((objs[i] = bpf_mem_cache_alloc_flags(&ma, GFP_KERNEL)));
	for (i = 0; i < 200; i++)
		bpf_mem_cache_free_rcu(&ma, objs[i]);
	await(stats_of(&ma).objs_waiting_rcu == 0);
	for (i = 0; i < 200; i++)
		must((objs[i] = bpf_mem_cache_alloc(&ma)));
	for (i = 0; i < 200; i++)
		bpf_mem_cache_free_rcu(&ma, objs[i]);
	bpf_mem_alloc_destroy(&ma);
	await_nothing_left();
	/* And a thread, once there may be one. */
	no_threads(false);
	must(!bpf_mem_alloc_init(&ma, 64, false));
	bpf_mem_alloc_destroy(&ma);
	await_nothing_left();
}

static void test_without_threads(void **state)
{
	(void)state;
	if (TEST_ASAN || TEST_TSAN || under_valgrind())
		skip_because("a sanitizer has threads of its own");
	assert_true(in_child(without_threads, NULL));
}

/* --- allocators come and go on several threads at once ----------------------------------------- */

static void use_one(uint64_t *random)
{
	static const int sizes[] = { 0, 8, 64, 3000, 100000 };
	int size = sizes[rnd(random) % 5], n = (int)(rnd(random) % 300), i;
	bool percpu = size == 64 && rnd(random) % 2;
	struct bpf_mem_alloc ma;
	void *obj[300];

	must(!init_for(&ma, size, percpu, flavors[rnd(random) % NR_FLAVORS].ops));
	for (i = 0; i < n; i++) {
		obj[i] = size ? bpf_mem_cache_alloc(&ma) :
				bpf_mem_alloc(&ma, rnd(random) % 4096 + 1);
		must(obj[i]);
	}
	while (n--) {
		if (rnd(random) % 2)
			bpf_mem_free_rcu(&ma, obj[n]);
		else
			bpf_mem_free(&ma, obj[n]);
	}
	bpf_mem_alloc_destroy(&ma);
}

static void *come_and_go(void *arg)
{
	uint64_t random = (uintptr_t)arg * 7919 + 88172645463325252u;
	unsigned long n = turns(300, 10000);

	while (n--)
		use_one(&random);
	return NULL;
}

static void test_many_at_once(void **state)
{
	uint64_t lost = process_stats().never_freed;
	pthread_t threads[6];
	uintptr_t i;

	(void)state;
	for (i = 0; i < 6; i++)
		thread_start(&threads[i], come_and_go, (void *)i);
	for (i = 0; i < 6; i++)
		thread_join(threads[i]);
	await_nothing_left();
	assert_int_equal(process_stats().never_freed, lost);
}

/*
 * Threads that move between CPUs leave magazines half full all over the place.  Destroy right after them
 * must still find every object.
 */
struct movers {
	struct bpf_mem_alloc ma;
	unsigned long times;
	_Atomic unsigned int next;
};

static void *move_and_free(void *arg)
{
	struct movers *m = arg;
	uint64_t random = atomic_fetch_add(&m->next, 1) + 362436069;
	unsigned long i;
	void *obj;

	for (i = 0; i < m->times; i++) {
		obj = bpf_mem_cache_alloc(&m->ma);
		must(obj);
		if (rnd(&random) % 64 == 0)
			pin((unsigned int)(rnd(&random) >> 32));
		bpf_mem_cache_free_rcu(&m->ma, obj);
	}
	return NULL;
}

static void test_moving_threads(void **state)
{
	uint64_t lost = process_stats().never_freed;
	unsigned long turn, n = turns(60, 2000);
	struct movers m = { .times = 3000 };
	pthread_t threads[4];
	int i;

	(void)state;
	for (turn = 0; turn < n; turn++) {
		assert_int_equal(bpf_mem_alloc_init(&m.ma, 40, false), 0);
		for (i = 0; i < 4; i++)
			thread_start(&threads[i], move_and_free, &m);
		for (i = 0; i < 4; i++)
			thread_join(threads[i]);
		assert_int_equal(stats_of(&m.ma).objs_in_use, 0);
		bpf_mem_alloc_destroy(&m.ma);
	}
	await_nothing_left();
	assert_int_equal(process_stats().never_freed, lost);
}

/* --- destructors ------------------------------------------------------------------------------- */

#define NR_OBJS 5000

struct dtors {
	_Atomic int runs[NR_OBJS];
	_Atomic int ctx_freed;
	_Atomic int total;
};

struct numbered {
	uint64_t number, check;
};

static void dtor(void *obj, void *ctx)
{
	struct numbered *n = obj;
	struct dtors *d = ctx;

	must(!atomic_load(&d->ctx_freed));
	must(n->number < NR_OBJS && n->check == ~n->number);
	atomic_fetch_add(&d->runs[n->number], 1);
	atomic_fetch_add(&d->total, 1);
}

static void dtor_ctx_free(void *ctx)
{
	struct dtors *d = ctx;

	atomic_fetch_add(&d->ctx_freed, 1);
}

static void number(void *obj, uint64_t i)
{
	*(struct numbered *)obj = (struct numbered){ i, ~i };
}

/* Each way that an object can be on when its allocator goes. */
static void free_somehow(struct bpf_mem_alloc *ma, void *obj, int i)
{
	if (i % 2)
		bpf_mem_cache_free(ma, obj);
	else
		bpf_mem_cache_free_rcu(ma, obj);
}

static void check_once_each(struct dtors *d, int n)
{
	int i;

	for (i = 0; i < n; i++)
		assert_int_equal(atomic_load(&d->runs[i]), 1);
	assert_int_equal(atomic_load(&d->total), n);
	assert_int_equal(atomic_load(&d->ctx_freed), 1);
}

static void dtor_once(bool percpu, unsigned int pause_us)
{
	static void *objs[NR_OBJS];
	static struct dtors d;
	struct bpf_mem_alloc ma;
	int i;

	memset(&d, 0, sizeof(d));
	assert_int_equal(bpf_mem_alloc_init(&ma, 64, percpu), 0);
	bpf_mem_alloc_set_dtor(&ma, dtor, dtor_ctx_free, &d);
	for (i = 0; i < NR_OBJS; i++) {
		objs[i] = bpf_mem_cache_alloc(&ma);
		assert_non_null(objs[i]);
		number(objs[i], (uint64_t)i);
	}
	for (i = 0; i < NR_OBJS; i++)
		free_somehow(&ma, objs[i], i);
	/* Meanwhile some may have left already. */
	sleep_us(pause_us);
	bpf_mem_alloc_destroy(&ma);
	await(atomic_load(&d.ctx_freed));
	await_nothing_left();
	check_once_each(&d, NR_OBJS);
}

static void test_dtor(void **state)
{
	unsigned int pause;

	(void)state;
	for (pause = 0; pause <= 400000; pause = pause * 2 + 25000)
		dtor_once(pause % 50000 != 0, pause);
}

/* A recycled object was not destructed in between; a raw_free-d one never is. */
static void test_dtor_recycled(void **state)
{
	static struct dtors d;
	struct bpf_mem_alloc ma;
	void *obj;
	int i;

	(void)state;
	memset(&d, 0, sizeof(d));
	assert_int_equal(bpf_mem_alloc_init(&ma, 64, false), 0);
	bpf_mem_alloc_set_dtor(&ma, dtor, dtor_ctx_free, &d);
	pin(0);
	for (i = 0; i < 100; i++) {
		obj = bpf_mem_cache_alloc(&ma);
		number(obj, 0);
		bpf_mem_cache_free(&ma, obj);
	}
	assert_int_equal(atomic_load(&d.total), 0);
	assert_ptr_equal(bpf_mem_cache_alloc(&ma), obj);
	bpf_mem_cache_raw_free(obj);
	unpin();
	bpf_mem_alloc_destroy(&ma);
	await(atomic_load(&d.ctx_freed));
	check_once_each(&d, 0);
}

/* Not before the readers are gone. */
static void test_dtor_waits(void **state)
{
	const struct flavor *f = *state;
	static struct dtors d;
	struct bpf_mem_alloc ma;
	struct inside r;
	void *obj;

	memset(&d, 0, sizeof(d));
	assert_int_equal(init_for(&ma, 64, false, f->ops), 0);
	bpf_mem_alloc_set_dtor(&ma, dtor, dtor_ctx_free, &d);
	obj = bpf_mem_cache_alloc(&ma);
	number(obj, 0);
	inside_begin(&r, f->ops, NULL, 0);
	bpf_mem_cache_free(&ma, obj);
	bpf_mem_alloc_destroy(&ma);
	sleep_us(100000);
	assert_int_equal(atomic_load(&d.total), 0);
	assert_int_equal(atomic_load(&d.ctx_freed), 0);
	inside_end(&r);
	await(atomic_load(&d.ctx_freed));
	check_once_each(&d, 1);
}

/* Without a destructor there may be a context to free; without objects too. */
static void test_dtor_parts(void **state)
{
	static struct dtors d;
	struct bpf_mem_alloc ma;

	(void)state;
	memset(&d, 0, sizeof(d));
	assert_int_equal(bpf_mem_alloc_init(&ma, 0, false), 0);
	bpf_mem_alloc_set_dtor(&ma, NULL, dtor_ctx_free, &d);
	bpf_mem_free(&ma, bpf_mem_alloc(&ma, 100));
	bpf_mem_alloc_destroy(&ma);
	await(atomic_load(&d.ctx_freed));
	check_once_each(&d, 0);
	assert_int_equal(bpf_mem_alloc_init(&ma, 64, false), 0);
	bpf_mem_alloc_set_dtor(&ma, dtor, NULL, &d);
	bpf_mem_alloc_destroy(&ma);
}

/* --- objects that nobody freed ----------------------------------------------------------------- */

static void lose(int size, bool percpu, int n, const char *expect)
{
	uint64_t lost = process_stats().never_freed;
	struct bpf_mem_alloc ma;
	const char *said;
	void *obj;
	int i;

	assert_int_equal(bpf_mem_alloc_init(&ma, size, percpu), 0);
	for (i = 0; i < n + 100; i++) {
		obj = size ? bpf_mem_cache_alloc(&ma) : bpf_mem_alloc(&ma, 500);
		assert_non_null(obj);
		if (i >= n)
			bpf_mem_free_rcu(&ma, obj);
	}
	stderr_begin();
	bpf_mem_alloc_destroy(&ma);
	await_nothing_left();
	said = stderr_end();
	assert_int_equal(process_stats().never_freed, lost + (uint64_t)n);
	/* Debug mode goes on with a list of them. */
	if (in_debug_mode())
		assert_ptr_equal(strstr(said, expect), said);
	else
		assert_string_equal(said, expect);
}

static void test_never_freed(void **state)
{
	(void)state;
	lose(64, false, 0, "");
	lose(64, false, 1, "bpf_mem_alloc_destroy: 1 objects were never freed, of 64 bytes each\n");
	lose(64, true, 1000,
	     "bpf_mem_alloc_destroy: 1000 objects were never freed, of 64 bytes each\n");
	lose(0, false, 77,
	     "bpf_mem_alloc_destroy: 77 objects were never freed, of 512 bytes each\n");
	lose(100000, false, 3,
	     "bpf_mem_alloc_destroy: 3 objects were never freed, of 100000 bytes each\n");
}

int main(void)
{
	/* The first fork, so they come before anything in this process uses bma. */
	const struct CMUnitTest children[] = {
		ALL_FLAVORS(test_million, NULL, NULL),
		cmocka_unit_test(test_without_threads),
	};
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_many_at_once, check_nothing_left),
		cmocka_unit_test_teardown(test_moving_threads, check_nothing_left),
		cmocka_unit_test_teardown(test_dtor, check_nothing_left),
		cmocka_unit_test_teardown(test_dtor_recycled, check_nothing_left),
		ALL_FLAVORS(test_dtor_waits, NULL, check_nothing_left),
		cmocka_unit_test_teardown(test_dtor_parts, check_nothing_left),
		cmocka_unit_test_teardown(test_never_freed, check_nothing_left),
	};
	int failed = cmocka_run_group_tests(children, NULL, NULL);

	return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
