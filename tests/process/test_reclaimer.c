// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_reclaimer.c - home/process/reclaimer.c: who runs core's rounds, and when
 *
 * The rounds here are the test's own: this program has no core.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "port.h"
#include "private.h"
#include "nth.h"
#include "util.h"

static _Atomic unsigned int rounds, asked_again, concurrent;
static _Atomic unsigned int slow_us;
static _Atomic bool work;

unsigned int bma_reclaim(void)
{
	must(port_add(&concurrent, 1, seq_cst) == 0);
	sleep_us(port_load(&slow_us, relaxed));
	port_store(&work, false, seq_cst);
	port_add(&rounds, 1, seq_cst);
	must(port_sub(&concurrent, 1, seq_cst) == 1);
	if (!port_load(&asked_again, relaxed))
		return BMA_DONE;
	port_sub(&asked_again, 1, relaxed);
	return BMA_AGAIN;
}

/* Of the rest of core and of the home, what the linker asks for; nobody reads here. */
struct bpf_rcu_domain_ bpf_rcu_domain_[BPF_RCU_DOMAINS_];

struct bpf_rcu_reader_ *bpf_rcu_reader_new_(void)
{
	abort();
}

void bpf_rcu_reader_asked_(void)
{
	abort();
}

void bma_forked(uint32_t before)
{
	(void)before;
}

/* No flavour either. */
void home_flavors_start(void)
{
}

void home_flavors_hold(void)
{
}

void home_flavors_release(void)
{
}

void home_flavors_forked(void)
{
}

/* After each round, and under the same lock. */
static _Atomic unsigned int stall_checks;

void home_stall_check(void)
{
	must(port_load(&concurrent, seq_cst) == 0);
	must(port_add(&stall_checks, 1, seq_cst) == port_load(&rounds, seq_cst) - 1);
}

static unsigned int nr_rounds(void)
{
	return port_load(&rounds, seq_cst);
}

/* Wait until it sleeps: no round for some time. */
static void quiet(void)
{
	unsigned int before;

	do {
		before = nr_rounds();
		sleep_us(60000);
	} while (nr_rounds() != before);
}

/* --- without a thread: in a child that may have none ------------------------------------------- */

static void no_threads(bool none)
{
	struct rlimit limit;

	must(!getrlimit(RLIMIT_NPROC, &limit));
	limit.rlim_cur = none ? 0 : limit.rlim_max;
	must(!setrlimit(RLIMIT_NPROC, &limit));
}

static void lock_and_unlock(void)
{
	port_reclaim_lock();
	port_reclaim_unlock();
}

static void without_thread(void *arg)
{
	unsigned int i, before;

	(void)arg;
	/* Root may have as many as it likes. */
	if (!geteuid())
		must(!setresuid(65534, 65534, 65534));
	no_threads(true);
	home_reclaimer_start();
	port_reclaim_wake();
	for (i = 1; i <= 10; i++) {
		before = nr_rounds();
		port_reclaim_round();
		must(nr_rounds() == before + 1);
	}
	lock_and_unlock();
	/* And when there may be one again, there is one. */
	no_threads(false);
	port_reclaim_round();
	before = nr_rounds();
	quiet();
	port_reclaim_wake();
	await(nr_rounds() > before);
}

static void test_without_thread(void **state)
{
	(void)state;
	if (TEST_ASAN || TEST_TSAN || under_valgrind())
		skip_because("a sanitizer has threads of its own");
	assert_true(in_child(without_thread, NULL));
}

/* --- with it ----------------------------------------------------------------------------------- */

static void test_wake(void **state)
{
	unsigned int i, before;

	(void)state;
	home_reclaimer_start();
	quiet();
	for (i = 0; i < 5; i++) {
		before = nr_rounds();
		port_reclaim_wake();
		await(nr_rounds() > before);
		quiet();
	}
	/* Nobody wakes it: it sleeps. */
	before = nr_rounds();
	sleep_us(150000);
	assert_int_equal(nr_rounds(), before);
}

/* No wake is lost, however the two meet. */
static void test_no_lost_wake(void **state)
{
	unsigned long n = turns(20000, 1000000), i;
	uint64_t random = 42;

	(void)state;
	for (i = 0; i < n; i++) {
		unsigned int spin = rnd(&random) % 2000;

		port_store(&work, true, seq_cst);
		port_reclaim_wake();
		await(!port_load(&work, seq_cst));
		while (spin--)
			__asm__ volatile("");
	}
}

/* One that ends on the way keeps nobody else from waking it. */
static void test_waker_ends(void **state)
{
	unsigned int nth, before;

	(void)state;
	need_single_steps();
	for (nth = 1; thread_ends_at(port_reclaim_wake, nth); nth++) {
		before = nr_rounds();
		port_reclaim_wake();
		await(nr_rounds() > before);
		quiet();
	}
	assert_true(nth > 10);
}

static void test_ticks(void **state)
{
	unsigned int before;
	double start;

	(void)state;
	quiet();
	before = nr_rounds();
	port_store(&asked_again, 4, relaxed);
	start = now();
	port_reclaim_wake();
	await(nr_rounds() >= before + 5);
	/* A tick apart, and then no more. */
	assert_true(now() - start > 0.04);
	quiet();
	assert_int_equal(nr_rounds(), before + 5);
}

static void *call_round(void *arg)
{
	unsigned int before, i;

	(void)arg;
	for (i = 0; i < 20; i++) {
		port_store(&work, true, seq_cst);
		before = nr_rounds();
		port_reclaim_round();
		/* One that began after the call has ended. */
		must(nr_rounds() > before);
	}
	return NULL;
}

static void test_round(void **state)
{
	pthread_t threads[3];
	unsigned int i;

	(void)state;
	port_store(&slow_us, 3000, relaxed);
	for (i = 0; i < 3; i++)
		thread_start(&threads[i], call_round, NULL);
	for (i = 0; i < 3; i++)
		thread_join(threads[i]);
	port_store(&work, true, seq_cst);
	port_reclaim_round();
	assert_false(port_load(&work, seq_cst));
	port_store(&slow_us, 0, relaxed);
}

/* Who asks for a round while it is about to tick does not wait for the tick. */
static void test_rounds_at_once(void **state)
{
	unsigned int i, late = 0;
	double start;

	(void)state;
	port_store(&asked_again, 1000, relaxed);
	for (i = 0; i < 40; i++) {
		start = now();
		port_reclaim_round();
		late += now() - start > 0.02;
	}
	port_store(&asked_again, 0, relaxed);
	printf("# %u of %u as late as a tick\n", late, i);
	assert_true(!is_plain() || late < i / 4);
}

static void test_lock(void **state)
{
	unsigned int before, i;

	(void)state;
	quiet();
	for (i = 0; i < 20; i++) {
		port_reclaim_lock();
		before = nr_rounds();
		port_reclaim_wake();
		sleep_us(3000);
		assert_int_equal(nr_rounds(), before);
		port_reclaim_unlock();
		await(nr_rounds() > before);
	}
}

/* Its thread takes nobody's signals. */
static bool all_blocked(const char *task)
{
	char path[300], line[256];
	unsigned long long mask = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%s/status", task);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, "SigBlk:", 7))
			mask = strtoull(line + 7, NULL, 16);
	if (f)
		fclose(f);
	/* All but KILL, STOP and the two that glibc keeps for itself. */
	return (mask | 1ull << 8 | 1ull << 18 | 3ull << 31) == ~0ull;
}

static bool is_reclaimer(const char *task)
{
	char path[300], name[64] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%s/comm", task);
	f = fopen(path, "r");
	if (f && !fgets(name, sizeof(name), f))
		name[0] = 0;
	if (f)
		fclose(f);
	return !strcmp(name, "bma-reclaim\n");
}

static void test_signals(void **state)
{
	struct dirent *entry;
	int found = 0;
	DIR *dir;

	(void)state;
	if (under_qemu() || under_valgrind())
		skip_because("the system knows what is blocked by what runs us");
	dir = opendir("/proc/self/task");
	assert_non_null(dir);
	while ((entry = readdir(dir)))
		if (is_reclaimer(entry->d_name)) {
			found++;
			assert_true(all_blocked(entry->d_name));
		}
	closedir(dir);
	assert_int_equal(found, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		/* It forks, so it comes first. */
		cmocka_unit_test(test_without_thread), cmocka_unit_test(test_wake),
		cmocka_unit_test(test_no_lost_wake),   cmocka_unit_test(test_waker_ends),
		cmocka_unit_test(test_ticks),	       cmocka_unit_test(test_round),
		cmocka_unit_test(test_rounds_at_once), cmocka_unit_test(test_lock),
		cmocka_unit_test(test_signals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
