// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_cpus.c - CPUs: which there may be, which a process may use, and what those cost that it does not use
 *
 * A process's CPUs are chosen before it uses bma, so most of this runs in children; where the system is to
 * show other CPUs than it has, in this program run again, with another list bound over the system's own.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "port.h"
#include "private.h"
#include "util.h"

#define POSSIBLE "/sys/devices/system/cpu/possible"
#define SIZE 96
#define HELD 100
#define MAX_THREADS 64

/* --- work ---------------------------------------------------------------------------------------- */

static struct bpf_mem_alloc ma, percpu;

/* What a thread has: filled with what tells it from all others. */
struct worker {
	unsigned int nr;
	unsigned long rounds;
	_Atomic int tid;
	_Atomic bool done;
	void *held[HELD];
	pthread_t thread;
};

static uint64_t seed_of(const struct worker *w, unsigned int i)
{
	return w->nr * 1000 + i;
}

static void replace(struct worker *w, unsigned int i, bool rcu)
{
	if (w->held[i]) {
		must(is_filled(w->held[i], SIZE, seed_of(w, i)));
		if (rcu)
			bpf_mem_cache_free_rcu(&ma, w->held[i]);
		else
			bpf_mem_cache_free(&ma, w->held[i]);
	}
	w->held[i] = bpf_mem_cache_alloc(&ma);
	must(w->held[i]);
	fill(w->held[i], SIZE, seed_of(w, i));
}

/* Each CPU's copy of a per-CPU object is one's own. */
static void use_percpu(const struct worker *w)
{
	char *obj = bpf_mem_cache_alloc(&percpu);
	unsigned int cpu;

	must(obj);
	for (cpu = 0; cpu < port_nr_cpus(); cpu++)
		fill(bpf_per_cpu_ptr(obj, cpu), 64, seed_of(w, cpu));
	for (cpu = 0; cpu < port_nr_cpus(); cpu++)
		must(is_filled(bpf_per_cpu_ptr(obj, cpu), 64, seed_of(w, cpu)));
	bpf_mem_cache_free(&percpu, obj);
}

static void *work(void *arg)
{
	struct worker *w = arg;
	uint64_t random = w->nr + 1;
	unsigned long i;

	atomic_store(&w->tid, (int)syscall(SYS_gettid));
	for (i = 0; i < w->rounds; i++) {
		replace(w, (unsigned int)(rnd(&random) % HELD), rnd(&random) % 2);
		must(port_cpu() < port_nr_cpus());
		if (i % 64 == 0)
			use_percpu(w);
	}
	for (i = 0; i < HELD; i++) {
		must(!w->held[i] || is_filled(w->held[i], SIZE, seed_of(w, (unsigned int)i)));
		bpf_mem_cache_free(&ma, w->held[i]);
	}
	atomic_store(&w->done, true);
	return NULL;
}

static struct worker workers[MAX_THREADS];

static void work_begin(unsigned int nr, unsigned long rounds)
{
	unsigned int i;

	must(!bpf_mem_alloc_init(&ma, SIZE, false) && !bpf_mem_alloc_init(&percpu, 64, true));
	for (i = 0; i < nr; i++) {
		workers[i] = (struct worker){ .nr = i, .rounds = rounds };
		thread_start(&workers[i].thread, work, &workers[i]);
	}
}

static void work_end(unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		thread_join(workers[i].thread);
	must(!stats_of(&ma).objs_in_use && !stats_of(&percpu).objs_in_use);
	bpf_mem_alloc_destroy(&ma);
	bpf_mem_alloc_destroy(&percpu);
	await_nothing_left();
	must(!process_stats().never_freed);
}

static void work_with(unsigned int nr)
{
	work_begin(nr, turns(200000, 5000000) / nr);
	work_end(nr);
}

/* --- which CPUs there may be --------------------------------------------------------------------- */

static unsigned int last_cpu_here(void)
{
	return (unsigned int)cpu_here(nr_cpus_here() - 1);
}

static unsigned int listed(const char *format, unsigned int first, unsigned int last)
{
	char path[] = "/tmp/bma-cpus-XXXXXX", text[5000];
	int fd = mkstemp(path), len;
	unsigned int nr;

	len = snprintf(text, sizeof(text), format, first, last);
	must(fd >= 0 && write(fd, text, (size_t)len) == len);
	close(fd);
	nr = home_possible_cpus(path);
	unlink(path);
	return nr;
}

/* The list is taken as it is, unless it leaves out a CPU that this very process may use. */
static void test_list(void **state)
{
	unsigned int last = last_cpu_here(), room = home_possible_cpus("/nowhere");
	char many[4097];

	(void)state;
	assert_int_equal(listed("0-%u,%u\n", last, last + 12), last + 13);
	assert_int_equal(listed("0-1,%u-%u\n", last + 7, last + 10), last + 11);
	assert_int_equal(listed("0-%u\n", last, 0), last + 1);
	assert_int_equal(listed("%u", last + 4095, 0), last + 4096);

	assert_true(room > last && room % 8 == 0);
	assert_int_equal(listed("\n", 0, 0), room);
	assert_int_equal(listed("", 0, 0), room);
	memset(many, '0', sizeof(many) - 1);
	many[sizeof(many) - 1] = 0;
	assert_int_equal(listed(many, 0, 0), room);
	if (last) {
		assert_int_equal(listed("0-%u\n", last - 1, 0), room);
		assert_int_equal(listed("0\n", 0, 0), room);
	}
}

/* Run this program again with @list in place of the system's; false if that cannot be done here. */
static bool run_with_list(const char *list, const char *arg, const char *value)
{
	char path[] = "/tmp/bma-list-XXXXXX";
	int fd = mkstemp(path), status;
	pid_t pid;

	must(fd >= 0 && write(fd, list, strlen(list)) == (ssize_t)strlen(list));
	close(fd);
	pid = fork();
	must(pid >= 0);
	if (!pid) {
		if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
		    mount(path, POSSIBLE, NULL, MS_BIND, NULL))
			_exit(77);
		execl("/proc/self/exe", "again", arg, value, (char *)NULL);
		_exit(4);
	}
	must(waitpid(pid, &status, 0) == pid);
	unlink(path);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		return false;
	must(WIFEXITED(status) && !WEXITSTATUS(status));
	return true;
}

/* In the program run again: so many CPUs are possible. */
static int expect(const char *value)
{
	port_init();
	printf("# %u CPUs\n", port_nr_cpus());
	must(port_nr_cpus() == (unsigned int)atoi(value));
	work_with(4);
	return 0;
}

static void expect_with(const char *list, unsigned int nr)
{
	char value[16];

	if (under_qemu() || under_valgrind())
		skip_because("what runs us starts no program");
	snprintf(value, sizeof(value), "%u", nr);
	if (!run_with_list(list, "expect", value))
		skip_because("not allowed to mount");
}

static void test_holes(void **state)
{
	unsigned int last = last_cpu_here();
	char list[64];

	(void)state;
	snprintf(list, sizeof(list), "0-%u,%u-%u\n", last, last + 7, last + 10);
	expect_with(list, last + 11);
}

/* No list, or a wrong one: sequences must not leave the table all the same. */
static void test_no_list(void **state)
{
	(void)state;
	expect_with("", home_possible_cpus("/nowhere"));
}

static void test_wrong_list(void **state)
{
	(void)state;
	if (!last_cpu_here())
		skip_because("one CPU");
	expect_with("0\n", home_possible_cpus("/nowhere"));
}

/* --- CPUs that are emulated ----------------------------------------------------------------------- */

/* A thread comes by all of them; port_cpu() is what its calls go by. */
static void see_all(unsigned int nr)
{
	static bool seen[4096];
	unsigned int left = nr, cpu;
	unsigned long i;

	for (i = 0; left; i++) {
		must(i < 1000ul * nr);
		cpu = port_cpu();
		must(cpu < nr);
		left -= !seen[cpu];
		seen[cpu] = true;
	}
}

static void work_on_emulated(void *value)
{
	unsigned int nr = (unsigned int)atoi(value);

	must(!setenv("BMA_CPUS", value, 1));
	port_init();
	must(port_nr_cpus() >= nr && port_nr_cpus() > last_cpu_here() && !port_cpu_fast());
	see_all(nr);
	work_with(8);
}

static void test_emulated(void **state)
{
	assert_true(in_child(work_on_emulated, *state));
}

/* What is no number of CPUs is as if it were not there. */
static void expect_own(void *value)
{
	unsigned int own = home_possible_cpus(POSSIBLE);

	must(!setenv("BMA_CPUS", value, 1));
	port_init();
	must(port_nr_cpus() == own);
	pin(0);
	must(port_cpu() == (unsigned int)cpu_here(0));
}

static void test_not_emulated(void **state)
{
	static const char *const values[] = { "", "0", "-1", "many", "4097" };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(values) / sizeof(values[0]); i++)
		assert_true(in_child(expect_own, (void *)values[i]));
}

/* --- what is paid for --------------------------------------------------------------------------- */

static void use_here(void)
{
	void *objs[HELD];
	int i;

	for (i = 0; i < HELD; i++)
		must((objs[i] = bpf_mem_cache_alloc(&ma)));
	for (i = 0; i < HELD; i++)
		bpf_mem_cache_free(&ma, objs[i]);
}

static uint64_t meta_used_here(void)
{
	use_here();
	return stats_of(&ma).bytes_meta;
}

static void *use_in_thread(void *arg)
{
	(void)arg;
	use_here();
	return NULL;
}

/* A CPU's part comes into being when it is used: not with the allocator, nor for another thread. */
static void one_after_the_other(void *arg)
{
	uint64_t none, one, again, two;
	pthread_t thread;
	int i;

	(void)arg;
	pin(0);
	must(!bpf_mem_alloc_init(&ma, SIZE, false));
	port_reclaim_lock(); /* no idle CPU is emptied meanwhile */
	none = stats_of(&ma).bytes_meta;
	one = meta_used_here();
	for (i = 0; i < 20; i++) {
		thread_start(&thread, use_in_thread, NULL);
		thread_join(thread);
	}
	again = meta_used_here();
	pin(1);
	two = meta_used_here();
	port_reclaim_unlock();
	printf("# metadata: %lu bytes, with one CPU %lu, with another %lu\n", none, one, two);
	fflush(stdout);
	must(none < one && again == one && one < two);
	bpf_mem_alloc_destroy(&ma);
	await_nothing_left();
}

static void test_pay_for_used(void **state)
{
	(void)state;
	if (nr_cpus_here() < 2)
		skip_because("one CPU");
	assert_true(in_child(one_after_the_other, NULL));
}

/* The metadata of an allocator that was used on one CPU, but for its table of CPUs. */
static uint64_t meta_of_one(void)
{
	uint64_t bytes;

	pin(0);
	must(!bpf_mem_alloc_init(&ma, SIZE, false));
	port_reclaim_lock();
	bytes = meta_used_here() - port_nr_cpus() * sizeof(void *);
	port_reclaim_unlock();
	bpf_mem_alloc_destroy(&ma);
	await_nothing_left();
	return bytes;
}

/* So many possible CPUs cost a pointer each, rounded up. */
static int pay(const char *value)
{
	uint64_t bytes = meta_of_one();

	must(port_nr_cpus() == 512);
	must(bytes < strtoull(value, NULL, 10) + 512 * sizeof(void *));
	return 0;
}

static void test_pay_for_possible(void **state)
{
	char value[32];

	(void)state;
	if (under_qemu() || under_valgrind())
		skip_because("what runs us starts no program");
	snprintf(value, sizeof(value), "%lu", meta_of_one());
	unpin();
	if (!run_with_list("0-511\n", "pay", value))
		skip_because("not allowed to mount");
}

/* --- which CPUs a process may use ----------------------------------------------------------------- */

static void on_one(void *arg)
{
	(void)arg;
	pin(nr_cpus_here() - 1);
	work_with(8);
}

static void test_one_cpu(void **state)
{
	(void)state;
	assert_true(in_child(on_one, NULL));
}

/* One CPU while the library starts and allocators are made, all of them later. */
static void on_more(void *arg)
{
	struct worker w = { .nr = MAX_THREADS, .rounds = 1000 };

	(void)arg;
	pin(0);
	must(!bpf_mem_alloc_init(&ma, SIZE, false) && !bpf_mem_alloc_init(&percpu, 64, true));
	work(&w);
	bpf_mem_alloc_destroy(&ma);
	bpf_mem_alloc_destroy(&percpu);
	unpin();
	work_with(8);
}

static void test_more_cpus(void **state)
{
	(void)state;
	assert_true(in_child(on_more, NULL));
}

static bool put(const char *dir, const char *file, const char *text)
{
	char path[200];
	bool good;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	good = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	if (fd >= 0)
		close(fd);
	return good;
}

/* A control group of its own, of one CPU; false if none can be had, as either version makes them. */
static bool group_make(char *dir, size_t size)
{
	static const char *const roots[] = { "/sys/fs/cgroup/cpuset", "/sys/fs/cgroup" };
	char cpu[16];
	size_t i;

	snprintf(cpu, sizeof(cpu), "%u", last_cpu_here());
	for (i = 0; i < sizeof(roots) / sizeof(roots[0]); i++) {
		snprintf(dir, size, "%s/bma-test-%d", roots[i], (int)getpid());
		if (mkdir(dir, 0755))
			continue;
		if (put(dir, "cpuset.cpus", cpu) && put(dir, "cpuset.mems", "0"))
			return true;
		rmdir(dir);
	}
	return false;
}

static void in_group(void *dir)
{
	char self[16];

	snprintf(self, sizeof(self), "%d", (int)getpid());
	must(put(dir, "cgroup.procs", self));
	await(sched_getcpu() == (int)last_cpu_here());
	work_with(8);
	must(port_cpu() == last_cpu_here());
}

static void test_cgroup(void **state)
{
	char dir[100];
	bool good;

	(void)state;
	if (!group_make(dir, sizeof(dir)))
		skip_because("no control group of CPUs to be had");
	good = in_child(in_group, dir);
	await(!rmdir(dir));
	assert_true(good);
}

/* Threads are sent from CPU to CPU in the middle of what they do. */
static void test_sent_around(void **state)
{
	unsigned long sent = 0;
	uint64_t random = 1;
	cpu_set_t one;
	int i, tid;

	(void)state;
	work_begin(4, turns(300000, 5000000));
	for (i = 0; !atomic_load(&workers[i].done) || ++i < 4;) {
		tid = atomic_load(&workers[rnd(&random) % 4].tid);
		CPU_ZERO(&one);
		CPU_SET(cpu_here((unsigned int)rnd(&random)), &one);
		sent += tid && !sched_setaffinity(tid, sizeof(one), &one);
		sleep_us(20);
	}
	work_end(4);
	printf("# sent %lu times\n", sent);
	assert_true(sent > 0);
}

static void test_many_threads(void **state)
{
	(void)state;
	work_with(MAX_THREADS);
}

int main(int argc, char **argv)
{
	static char two[] = "2", some[] = "64", many[] = "512";
	const struct CMUnitTest tests[] = {
		/* In children, before this process uses bma. */
		cmocka_unit_test(test_list),
		cmocka_unit_test(test_holes),
		cmocka_unit_test(test_no_list),
		cmocka_unit_test(test_wrong_list),
		{ "test_emulated(2)", test_emulated, NULL, NULL, two },
		{ "test_emulated(64)", test_emulated, NULL, NULL, some },
		{ "test_emulated(512)", test_emulated, NULL, NULL, many },
		cmocka_unit_test(test_not_emulated),
		cmocka_unit_test(test_pay_for_used),
		cmocka_unit_test(test_one_cpu),
		cmocka_unit_test(test_more_cpus),
		cmocka_unit_test(test_cgroup),
		/* And here. */
		cmocka_unit_test(test_pay_for_possible),
		cmocka_unit_test(test_sent_around),
		cmocka_unit_test(test_many_threads),
	};

	if (argc > 2)
		return strcmp(argv[1], "pay") ? expect(argv[2]) : pay(argv[2]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
