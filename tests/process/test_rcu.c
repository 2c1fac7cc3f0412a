// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_rcu.c - our own readers (bma/rcu.h), and who waits for them: with synchronize or with cookies
 *
 * Each case is for both kinds, whose calls are the same but for their names.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bma.h"
#include "util.h"

/* --- the two kinds, as one --------------------------------------------------------------------- */

struct kind {
	const char *name;
	void (*lock)(void), (*unlock)(void);
	bool (*held)(void);
	void (*synchronize)(void);
	bpf_rcu_cookie (*get_state)(void);
	bool (*poll_state)(bpf_rcu_cookie cookie);
	const char *complaint;
	const struct kind *other;
};

static const struct kind kinds[2] = {
	{ "rcu", bpf_rcu_read_lock, bpf_rcu_read_unlock, bpf_rcu_read_lock_held,
	  bpf_rcu_synchronize, bpf_rcu_get_state, bpf_rcu_poll_state,
	  "bpf_rcu_synchronize: called inside a read-side section\n", &kinds[1] },
	{ "trace", rcu_read_lock_trace, rcu_read_unlock_trace, rcu_read_lock_trace_held,
	  synchronize_rcu_tasks_trace, rcu_tasks_trace_get_state, rcu_tasks_trace_poll_state,
	  "synchronize_rcu_tasks_trace: called inside a read-side section\n", &kinds[0] },
};

static const struct rcu_flavor_struct *readers_of(const struct kind *k)
{
	return k == &kinds[1] ? &trace_readers : flavors[OWN].ops;
}

/* Polls alone end it, with the reclaimer kept from its rounds. */
static void poll_to_the_end(const struct kind *k, bpf_rcu_cookie cookie)
{
	port_reclaim_lock();
	await(k->poll_state(cookie));
	port_reclaim_unlock();
}

/* --- sections ---------------------------------------------------------------------------------- */

static void test_nesting(void **state)
{
	const struct kind *k = *state;
	int i;

	assert_false(k->held());
	for (i = 0; i < 65535; i++) {
		k->lock();
		assert_true(k->held());
	}
	assert_false(k->other->held());
	for (i = 0; i < 65535; i++) {
		assert_true(k->held());
		k->unlock();
	}
	assert_false(k->held());
}

/* Sections of the two kinds may overlap; each unlock ends one of its own. */
static void test_overlap(void **state)
{
	const struct kind *k = *state, *other = k->other;

	k->lock();
	other->lock();
	k->unlock();
	assert_false(k->held());
	assert_true(other->held());
	k->lock();
	other->unlock();
	assert_true(k->held());
	assert_false(other->held());
	k->unlock();
	assert_false(k->held());
}

/* Only the outermost unlock ends it. */
static void test_nested_holds(void **state)
{
	const struct kind *k = *state;
	bpf_rcu_cookie cookie;

	k->lock();
	k->lock();
	cookie = k->get_state();
	assert_false(k->poll_state(cookie));
	k->unlock();
	sleep_us(30000);
	assert_false(k->poll_state(cookie));
	/* A section inside the section is no new one. */
	k->lock();
	assert_false(k->poll_state(cookie));
	k->unlock();
	assert_false(k->poll_state(cookie));
	k->unlock();
	poll_to_the_end(k, cookie);
}

/* The state is a thread's own. */
static void *not_inside(void *arg)
{
	const struct kind *k = arg;

	must(!k->held() && !k->other->held());
	k->lock();
	must(k->held() && !k->other->held());
	k->unlock();
	must(!k->held());
	return NULL;
}

static void test_own_state(void **state)
{
	const struct kind *k = *state;
	pthread_t thread;

	k->lock();
	thread_start(&thread, not_inside, (void *)(uintptr_t)k);
	thread_join(thread);
	assert_true(k->held());
	k->unlock();
}

/* --- cookies ----------------------------------------------------------------------------------- */

static void test_cookie_alone(void **state)
{
	const struct kind *k = *state;
	bpf_rcu_cookie cookie[300];
	int i, j;

	port_reclaim_lock();
	for (i = 0; i < 300; i++) {
		cookie[i] = k->get_state();
		assert_int_equal(k->get_state(), cookie[i]);
		/* Nobody is inside: the first poll does it. */
		assert_true(k->poll_state(cookie[i]));
		for (j = 0; j <= i; j++)
			assert_true(k->poll_state(cookie[j]));
	}
	port_reclaim_unlock();
}

static void test_cookie_waits(void **state)
{
	const struct kind *k = *state;
	bpf_rcu_cookie cookie[50];
	struct sitter s;
	int i;

	sitter_begin(&s, readers_of(k));
	for (i = 0; i < 50; i++) {
		cookie[i] = k->get_state();
		assert_false(k->poll_state(cookie[i]));
		assert_false(k->poll_state(cookie[0]));
		sleep_us(500);
	}
	/* All who wait share one or two. */
	assert_true(cookie[49] - cookie[0] <= 1);
	sitter_end(&s);
	poll_to_the_end(k, cookie[49]);
	for (i = 0; i < 50; i++)
		assert_true(k->poll_state(cookie[i]));
	sitter_begin(&s, readers_of(k));
	for (i = 0; i < 50; i++)
		assert_true(k->poll_state(cookie[i]));
	sitter_end(&s);
}

/* Who goes inside after the grace period has begun is not waited for. */
static void test_cookie_late_reader(void **state)
{
	const struct kind *k = *state;
	struct sitter early, late;
	bpf_rcu_cookie cookie, after;

	sitter_begin(&early, readers_of(k));
	cookie = k->get_state();
	assert_false(k->poll_state(cookie));
	sitter_begin(&late, readers_of(k));
	after = k->get_state();
	assert_false(k->poll_state(cookie));
	sitter_end(&early);
	poll_to_the_end(k, cookie);
	assert_true(after != cookie);
	assert_false(k->poll_state(after));
	sitter_end(&late);
	poll_to_the_end(k, after);
}

/* One kind's reader holds up nothing of the other. */
static void test_kinds_apart(void **state)
{
	const struct kind *k = *state;
	bpf_rcu_cookie cookie;
	struct sitter s;

	sitter_begin(&s, readers_of(k));
	cookie = k->get_state();
	poll_to_the_end(k->other, k->other->get_state());
	k->other->synchronize();
	assert_false(k->poll_state(cookie));
	sitter_end(&s);
	poll_to_the_end(k, cookie);
}

/* With nobody who polls, the reclaimer ends what was asked for once. */
static void test_cookie_by_itself(void **state)
{
	const struct kind *k = *state;
	bpf_rcu_cookie cookie;
	struct sitter s;

	sitter_begin(&s, readers_of(k));
	cookie = k->get_state();
	assert_false(k->poll_state(cookie));
	sitter_end(&s);
	await(bma_gp_number_done(k == &kinds[1] ? &bma_trace : &bma_rcu, cookie));
	assert_true(k->poll_state(cookie));
}

/* Many who poll at a time, with readers that come and go. */
struct polls {
	const struct kind *k;
	_Atomic bool stop;
	_Atomic unsigned long ended;
};

static void *poll_all_the_time(void *arg)
{
	struct polls *p = arg;
	bpf_rcu_cookie cookie = p->k->get_state();

	while (!atomic_load(&p->stop)) {
		if (!p->k->poll_state(cookie))
			continue;
		atomic_fetch_add(&p->ended, 1);
		cookie = p->k->get_state();
	}
	return NULL;
}

static void *read_all_the_time(void *arg)
{
	struct polls *p = arg;
	bpf_rcu_cookie cookie;

	while (!atomic_load(&p->stop)) {
		p->k->lock();
		cookie = p->k->get_state();
		must(!p->k->poll_state(cookie));
		must(p->k->held());
		must(!p->k->poll_state(cookie));
		p->k->unlock();
	}
	return NULL;
}

static void test_many_polls(void **state)
{
	struct polls p = { .k = *state };
	pthread_t threads[4];
	double until = now() + 0.2;
	int i;

	for (i = 0; i < 4; i++)
		thread_start(&threads[i], i % 2 ? poll_all_the_time : read_all_the_time, &p);
	await(now() > until && atomic_load(&p.ended) > 20);
	atomic_store(&p.stop, true);
	for (i = 0; i < 4; i++)
		thread_join(threads[i]);
}

/* --- synchronize ------------------------------------------------------------------------------- */

struct waiter {
	const struct kind *k;
	_Atomic bool begun, done;
	pthread_t thread;
};

static void *synchronize(void *arg)
{
	struct waiter *w = arg;

	atomic_store(&w->begun, true);
	w->k->synchronize();
	atomic_store(&w->done, true);
	return NULL;
}

static void test_synchronize(void **state)
{
	const struct kind *k = *state;
	struct waiter w[4];
	struct sitter s;
	int i;

	k->synchronize();
	sitter_begin(&s, readers_of(k));
	for (i = 0; i < 4; i++) {
		w[i] = (struct waiter){ .k = i < 3 ? k : k->other };
		thread_start(&w[i].thread, synchronize, &w[i]);
	}
	await(atomic_load(&w[3].done));
	sleep_us(50000);
	for (i = 0; i < 3; i++)
		assert_true(atomic_load(&w[i].begun) && !atomic_load(&w[i].done));
	sitter_end(&s);
	for (i = 0; i < 4; i++)
		thread_join(w[i].thread);
}

/* Inside a section it says so and returns, a section of the other kind is none of its business. */
static void test_synchronize_inside(void **state)
{
	const struct kind *k = *state;
	char said[256];
	double start;

	k->lock();
	stderr_begin();
	start = now();
	k->synchronize();
	snprintf(said, sizeof(said), "%s", stderr_end());
	assert_true(now() - start < 5);
	assert_string_equal(said, k->complaint);
	assert_true(k->held());
	k->other->synchronize();
	k->unlock();
	stderr_begin();
	k->synchronize();
	assert_string_equal(stderr_end(), "");
}

/* --- threads that come and go ------------------------------------------------------------------ */

static void *exit_inside(void *arg)
{
	const struct kind *k = arg;
	int i;

	for (i = 0; i < 5; i++)
		k->lock();
	pthread_exit(NULL);
}

static void test_exit_inside(void **state)
{
	const struct kind *k = *state;
	bpf_rcu_cookie cookie;
	unsigned int records;
	pthread_t thread;
	int i;

	k->lock();
	k->unlock();
	k->synchronize();
	records = bma_reader_records();
	for (i = 0; i < 20; i++) {
		thread_start(&thread, exit_inside, (void *)(uintptr_t)k);
		thread_join(thread);
		cookie = k->get_state();
		if (i % 2)
			k->synchronize();
		else
			/* Polls leave the dead to the reclaimer. */
			await(k->poll_state(cookie));
		assert_true(k->poll_state(cookie));
		assert_false(k->held());
	}
	assert_in_range(bma_reader_records(), records, records + 1);
}

/* The main thread goes, inside a section, and the process stays. */
static void *outlive_main(void *arg)
{
	const struct kind *k = arg;
	double until = now() + 3;
	bpf_rcu_cookie cookie;

	sleep_us(100000);
	cookie = k->get_state();
	while (!k->poll_state(cookie) && now() < until)
		sleep_us(1000);
	_exit(k->poll_state(cookie) ? 0 : 1);
}

static void main_exits(const struct kind *k)
{
	struct bpf_mem_alloc ma;
	pthread_t thread;

	must(!bpf_mem_alloc_init(&ma, 64, false));
	k->lock();
	thread_start(&thread, outlive_main, (void *)(uintptr_t)k);
	pthread_exit(NULL);
}

static void test_main_exits_inside(void **state)
{
	const struct kind *k = *state;
	int status;
	pid_t pid;

	/* The leak sanitizer does, for one. */
	if (!is_plain())
		skip_because("what runs us wants the main thread");
	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid)
		main_exits(k);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/*
 * Threads that read, exit and are replaced; some exit inside.  A thread is dead for the kernel a little after
 * pthread_join() has returned, and only then is replaced, so that the number of those alive is known.
 */
#define ALIVE 1000

struct churner {
	bool stays_inside;
	_Atomic bool read;
	_Atomic int tid;
	sem_t leave;
	pthread_t thread;
};

static void *read_a_little(void *arg)
{
	struct churner *c = arg;
	int i;

	atomic_store(&c->tid, (int)syscall(SYS_gettid));
	for (i = 0; i < 3; i++) {
		bpf_rcu_read_lock();
		rcu_read_lock_trace();
		must(bpf_rcu_read_lock_held() && rcu_read_lock_trace_held());
		rcu_read_unlock_trace();
		bpf_rcu_read_unlock();
	}
	atomic_store(&c->read, true);
	while (sem_wait(&c->leave))
		must(errno == EINTR);
	if (c->stays_inside)
		bpf_rcu_read_lock();
	return NULL;
}

static void churner_start(struct churner *c, pthread_attr_t *small, bool stays_inside, bool leave)
{
	*c = (struct churner){ .stays_inside = stays_inside };
	must(!sem_init(&c->leave, 0, leave));
	must(!pthread_create(&c->thread, small, read_a_little, c));
}

static void churner_end(struct churner *c)
{
	must(!sem_post(&c->leave));
	thread_join(c->thread);
	while (!syscall(SYS_tgkill, getpid(), atomic_load(&c->tid), 0))
		sched_yield();
	must(errno == ESRCH);
}

static unsigned long churn(struct churner *c, unsigned int alive, pthread_attr_t *small)
{
	double until = now() + (is_long() ? 20 : 1);
	unsigned long replaced = 0;

	while (now() < until) {
		churner_end(&c[replaced % alive]);
		churner_start(&c[replaced % alive], small, replaced % 7 == 0, true);
		replaced++;
	}
	return replaced;
}

static void test_churn(void **state)
{
	unsigned int alive = under_valgrind() || TEST_TSAN ? ALIVE / 10 : ALIVE, i;
	static struct churner c[ALIVE];
	unsigned int peak, after;
	unsigned long replaced;
	pthread_attr_t small;

	(void)state;
	must(!pthread_attr_init(&small) && !pthread_attr_setstacksize(&small, 128 << 10));
	for (i = 0; i < alive; i++)
		churner_start(&c[i], &small, false, false);
	for (i = 0; i < alive; i++)
		await(atomic_load(&c[i].read));
	peak = bma_reader_records();
	assert_true(peak >= alive);
	replaced = churn(c, alive, &small);
	for (i = 0; i < alive; i++)
		churner_end(&c[i]);
	after = bma_reader_records();
	printf("# %lu threads, %u at a time: %u reader records, then %u\n", replaced, alive, peak,
	       after);
	/* All of this program's threads at that moment, and no more. */
	assert_int_equal(after, peak);
	bpf_rcu_synchronize();
	synchronize_rcu_tasks_trace();
}

#define FOR_BOTH(test)                                                                             \
	{ #test "(rcu)", test, NULL, NULL, (void *)(uintptr_t)&kinds[0] },                         \
	{                                                                                          \
#test "(trace)", test, NULL, NULL, (void *)(uintptr_t)&kinds[1]                    \
	}

static int setup(void **state)
{
	(void)state;
	port_init();
	return 0;
}

int main(void)
{
	const struct CMUnitTest children[] = {
		FOR_BOTH(test_main_exits_inside),
	};
	const struct CMUnitTest tests[] = {
		FOR_BOTH(test_nesting),
		FOR_BOTH(test_overlap),
		FOR_BOTH(test_nested_holds),
		FOR_BOTH(test_own_state),
		FOR_BOTH(test_cookie_alone),
		FOR_BOTH(test_cookie_waits),
		FOR_BOTH(test_cookie_late_reader),
		FOR_BOTH(test_kinds_apart),
		FOR_BOTH(test_cookie_by_itself),
		FOR_BOTH(test_many_polls),
		FOR_BOTH(test_synchronize),
		FOR_BOTH(test_synchronize_inside),
		FOR_BOTH(test_exit_inside),
		cmocka_unit_test(test_churn),
	};
	int failed = cmocka_run_group_tests(children, NULL, NULL);

	return failed + cmocka_run_group_tests(tests, setup, NULL);
}
