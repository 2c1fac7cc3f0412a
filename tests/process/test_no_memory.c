// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_no_memory.c - no memory, no threads, and both again later
 *
 * The library in here calls this program's mmap(), munmap(), madvise() and pthread_create(), which fail
 * when they are told to.  An allocation then gives NULL and nothing else goes wrong: what is allocated
 * keeps what is in it, frees succeed, grace periods end, and all is well when the system has some again.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "nodes.h"

/* --- what the library gets of the system ------------------------------------------------------------ */

enum call { MMAP, MUNMAP, MADVISE, THREAD, NR_CALLS };

#define EVER (~0u)

/* The calls from number first on, count of them, fail. */
static struct {
	_Atomic unsigned int calls, failed, first, count;
} script[NR_CALLS];

static void fail_from(enum call call, unsigned int nth, unsigned int count)
{
	atomic_store(&script[call].count, 0);
	atomic_store(&script[call].failed, 0);
	atomic_store(&script[call].first, atomic_load(&script[call].calls) + nth);
	atomic_store(&script[call].count, count);
}

static void fail_no_more(enum call call)
{
	atomic_store(&script[call].count, 0);
}

static unsigned int failed(enum call call)
{
	return atomic_load(&script[call].failed);
}

static bool must_fail(enum call call)
{
	unsigned int nr = atomic_fetch_add(&script[call].calls, 1) + 1;
	unsigned int count = atomic_load(&script[call].count);
	unsigned int first = atomic_load(&script[call].first);
	bool fails = count && nr >= first && nr - first < count;

	if (fails)
		atomic_fetch_add(&script[call].failed, 1);
	return fails;
}

void *__wrap_mmap64(void *addr, size_t len, int prot, int flags, int fd, off_t offset);
int __wrap_munmap(void *addr, size_t len);
int __wrap_madvise(void *addr, size_t len, int advice);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *),
			  void *arg);
void *__real_mmap64(void *addr, size_t len, int prot, int flags, int fd, off_t offset);
int __real_munmap(void *addr, size_t len);
int __real_madvise(void *addr, size_t len, int advice);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *),
			  void *arg);

void *__wrap_mmap64(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
	if (!must_fail(MMAP))
		return __real_mmap64(addr, len, prot, flags, fd, offset);
	errno = ENOMEM;
	return MAP_FAILED;
}

/* As with too many mappings: to unmap a part of one makes two. */
int __wrap_munmap(void *addr, size_t len)
{
	if (!must_fail(MUNMAP))
		return __real_munmap(addr, len);
	errno = ENOMEM;
	return -1;
}

int __wrap_madvise(void *addr, size_t len, int advice)
{
	if (!must_fail(MADVISE))
		return __real_madvise(addr, len, advice);
	errno = EAGAIN;
	return -1;
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *),
			  void *arg)
{
	if (must_fail(THREAD))
		return EAGAIN;
	return __real_pthread_create(thread, attr, fn, arg);
}

/* Where the library has no thread, rounds are run by who waits. */
static void wait_until_all_is_back(void)
{
	await((bpf_rcu_barrier(), nothing_left()));
}

/* Our own threads are not the library's. */
static void our_thread(pthread_t *thread, void *(*fn)(void *), void *arg)
{
	must(!__real_pthread_create(thread, NULL, fn, arg));
}

/* --- a scenario that asks for everything --------------------------------------------------------------- */

#define SIZE 4096
#define OBJS 3000

struct user {
	struct bpf_mem_alloc ma;
	const struct rcu_flavor_struct *flavor;
	char *obj[OBJS];
	unsigned int nr;
	bool threads; /* the library has some */
};

static void user_alloc(struct user *u, gfp_t flags)
{
	char *obj = bpf_mem_cache_alloc_flags(&u->ma, flags);

	if (!obj)
		return;
	fill(obj, SIZE, u->nr);
	u->obj[u->nr++] = obj;
}

static void user_free(struct user *u, bool rcu)
{
	char *obj = u->obj[--u->nr];

	must(is_filled(obj, SIZE, u->nr));
	errno = 77;
	if (rcu)
		bpf_mem_cache_free_rcu(&u->ma, obj);
	else
		bpf_mem_cache_free(&u->ma, obj);
	must(errno == 77);
}

/* Three regions of the home's, and back, in part through limbo. */
static void user_work(struct user *u)
{
	unsigned int i;

	for (i = 0; i < OBJS; i++)
		user_alloc(u, i % 100 ? GFP_NOWAIT : GFP_KERNEL);
	must(stats_of(&u->ma).objs_in_use == u->nr);
	while (u->nr)
		user_free(u, u->nr % 2);
	bpf_rcu_barrier();
	must(!stats_of(&u->ma).objs_in_use && !stats_of(&u->ma).objs_waiting_rcu);
}

/* One of all sizes, one of large objects, and one with copies. */
static void others_work(void)
{
	struct bpf_mem_alloc sized, large, percpu;
	void *obj;
	size_t i;

	if (!bpf_mem_alloc_init(&sized, 0, false))
		for (i = 1; i <= 4096; i *= 2)
			bpf_mem_free_rcu(&sized, bpf_mem_alloc(&sized, i));
	if (!bpf_mem_alloc_init(&large, 1 << 20, false))
		for (i = 0; i < 8; i++)
			bpf_mem_cache_free_rcu(&large, bpf_mem_cache_alloc(&large));
	if (!bpf_mem_alloc_init(&percpu, 4096, true)) {
		obj = bpf_mem_cache_alloc(&percpu);
		must(!obj || is_zero(bpf_this_cpu_ptr(obj), 4096));
		bpf_mem_cache_free(&percpu, obj);
	}
	bpf_mem_alloc_destroy(&sized);
	bpf_mem_alloc_destroy(&large);
	bpf_mem_alloc_destroy(&percpu);
}

static void *read_in_a_thread(void *arg)
{
	(void)arg;
	bpf_rcu_read_lock();
	rcu_read_lock_trace();
	rcu_read_unlock_trace();
	bpf_rcu_read_unlock();
	return NULL;
}

static void scenario(const struct rcu_flavor_struct *flavor)
{
	struct user u = { .flavor = flavor };
	pthread_t reader;

	if (!init_for(&u.ma, SIZE, false, flavor))
		user_work(&u);
	our_thread(&reader, read_in_a_thread, NULL);
	others_work();
	thread_join(reader);
	bpf_rcu_synchronize();
	synchronize_rcu_tasks_trace();
	bpf_mem_alloc_destroy(&u.ma);
	wait_until_all_is_back();
}

/* All is there again, and in full. */
static void recovered(const struct rcu_flavor_struct *flavor)
{
	struct user u = { .flavor = flavor };

	must(!init_for(&u.ma, SIZE, false, flavor));
	user_work(&u);
	must(!stats_of(&u.ma).refusals);
	bpf_mem_alloc_destroy(&u.ma);
	await_nothing_left();
	must(!process_stats().never_freed);
}

/* --- the nth call fails --------------------------------------------------------------------------------- */

struct failure {
	const struct rcu_flavor_struct *flavor;
	enum call call;
	unsigned int nth, count;
	int result; /* a pipe: how many calls there were, or as many as failed */
};

static void fail_nth(void *arg)
{
	struct failure *f = arg;
	unsigned int n;

	fail_from(f->call, f->nth, f->count);
	scenario(f->flavor);
	n = failed(f->call);
	fail_no_more(f->call);
	recovered(f->flavor);
	must(write(f->result, &n, sizeof(n)) == sizeof(n));
}

/* In a process that has nothing yet; was there a call to fail? */
static bool fails_nth(struct failure *f)
{
	unsigned int n = 0;
	int ends[2];

	must(!pipe(ends));
	f->result = ends[1];
	must(in_child(fail_nth, f));
	must(read(ends[0], &n, sizeof(n)) == sizeof(n));
	close(ends[0]);
	close(ends[1]);
	return n;
}

static void fail_each(const struct rcu_flavor_struct *flavor, enum call call, unsigned int count)
{
	struct failure f = { .flavor = flavor, .call = call, .nth = 1, .count = count };

	if (TEST_TSAN || under_valgrind())
		skip();
	for (; fails_nth(&f); f.nth++)
		must(f.nth < 500);
	printf("# %u calls\n", f.nth - 1);
	assert_true(f.nth > 1);
}

static void test_mmap_fails_once(void **state)
{
	fail_each(((const struct flavor *)*state)->ops, MMAP, 1);
}

static void test_mmap_fails_from(void **state)
{
	fail_each(((const struct flavor *)*state)->ops, MMAP, EVER);
}

static void test_mmap_fails_thrice(void **state)
{
	fail_each(((const struct flavor *)*state)->ops, MMAP, 3);
}

static void test_thread_fails_once(void **state)
{
	fail_each(((const struct flavor *)*state)->ops, THREAD, 1);
}

static void test_thread_fails_ever(void **state)
{
	fail_each(((const struct flavor *)*state)->ops, THREAD, EVER);
}

/* --- what cannot be given back ---------------------------------------------------------------------------- */

static void check_fresh_is_zero(const struct rcu_flavor_struct *flavor)
{
	struct bpf_mem_alloc ma;
	char *obj[OBJS];
	int i;

	must(!init_for(&ma, SIZE, false, flavor));
	for (i = 0; i < OBJS; i++) {
		must((obj[i] = bpf_mem_cache_alloc(&ma)));
		must(is_zero(obj[i], SIZE));
		memset(obj[i], 0xff, SIZE);
	}
	for (i = 0; i < OBJS; i++)
		bpf_mem_cache_free(&ma, obj[i]);
	bpf_mem_alloc_destroy(&ma);
	await_nothing_left();
}

static void keep_pages(void *arg)
{
	const struct rcu_flavor_struct *flavor = arg;

	fail_from(MADVISE, 1, EVER);
	check_fresh_is_zero(flavor);
	scenario(flavor);
	check_fresh_is_zero(flavor);
	must(failed(MADVISE) > 0);
	fail_no_more(MADVISE);
	recovered(flavor);
}

static void test_madvise_fails(void **state)
{
	const struct flavor *f = *state;

	if (TEST_TSAN)
		skip();
	assert_true(in_child(keep_pages, (void *)(uintptr_t)f->ops));
}

/* Pages that are locked into memory cannot be dropped. */
static void lock_pages(void *arg)
{
	const struct rcu_flavor_struct *flavor = arg;

	if (mlockall(MCL_FUTURE))
		return;
	check_fresh_is_zero(flavor);
	scenario(flavor);
	check_fresh_is_zero(flavor);
}

static void test_mlockall(void **state)
{
	const struct flavor *f = *state;

	if (!is_plain())
		skip();
	assert_true(in_child(lock_pages, (void *)(uintptr_t)f->ops));
}

static void keep_mappings(void *arg)
{
	const struct rcu_flavor_struct *flavor = arg;

	fail_from(MUNMAP, 1, EVER);
	check_fresh_is_zero(flavor);
	scenario(flavor);
	check_fresh_is_zero(flavor);
	fail_no_more(MUNMAP);
	recovered(flavor);
}

static void test_munmap_fails(void **state)
{
	const struct flavor *f = *state;

	if (TEST_TSAN)
		skip();
	assert_true(in_child(keep_mappings, (void *)(uintptr_t)f->ops));
}

/* --- a limit, again and again ------------------------------------------------------------------------------- */

static void limit_as(size_t more)
{
	struct rlimit limit;
	unsigned long pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	must(f && fscanf(f, "%lu", &pages) == 1);
	fclose(f);
	must(!getrlimit(RLIMIT_AS, &limit));
	limit.rlim_cur = more == SIZE_MAX ? limit.rlim_max : pages * 4096 + more;
	must(!setrlimit(RLIMIT_AS, &limit));
}

#define MANY 20000

static unsigned int alloc_all_there_is(struct bpf_mem_alloc *ma, char **obj)
{
	unsigned int n = 0;

	while (n < MANY && (obj[n] = bpf_mem_cache_alloc(ma))) {
		fill(obj[n], SIZE, n);
		n++;
	}
	must(n < MANY);
	return n;
}

static void free_them(struct bpf_mem_alloc *ma, char **obj, unsigned int n)
{
	while (n--) {
		must(is_filled(obj[n], SIZE, n));
		if (n % 2)
			bpf_mem_cache_free_rcu(ma, obj[n]);
		else
			bpf_mem_cache_free(ma, obj[n]);
	}
}

/* A turn: all that fits, back while there is none, through readers that stay for a while; then plenty. */
static void starve_and_recover(struct bpf_mem_alloc *ma, const struct rcu_flavor_struct *flavor,
			       size_t more)
{
	static char *obj[MANY];
	struct sitter s;
	unsigned int n;

	sitter_begin(&s, flavor);
	limit_as(more);
	n = alloc_all_there_is(ma, obj);
	free_them(ma, obj, n);
	must(!stats_of(ma).objs_in_use);
	sitter_end(&s);
	bpf_rcu_barrier();
	must(!stats_of(ma).objs_waiting_rcu);
	/* As much as before, or what a reserve of metadata made possible. */
	n = alloc_all_there_is(ma, obj);
	free_them(ma, obj, n);
	bpf_rcu_barrier();
	limit_as(SIZE_MAX);
	for (n = 0; n < 5000; n++) {
		must((obj[n] = bpf_mem_cache_alloc(ma)));
		fill(obj[n], SIZE, n);
	}
	free_them(ma, obj, n);
	await(!stats_of(ma).spans);
}

/* urcu-bp aborts where it has no memory for a thread that is new to it. */
static void become_reader(const struct rcu_flavor_struct *flavor)
{
	flavor->register_thread();
	reader_enter(flavor);
	reader_leave(flavor);
}

static void starve(void *arg)
{
	const struct rcu_flavor_struct *flavor = arg;
	struct bpf_mem_alloc ma;
	unsigned int i;

	must(!init_for(&ma, SIZE, false, flavor));
	become_reader(flavor);
	for (i = 0; i < 6; i++)
		starve_and_recover(&ma, flavor, (size_t)i * i << 20);
	flavor->unregister_thread();
	bpf_mem_alloc_destroy(&ma);
	await_nothing_left();
	must(!process_stats().never_freed);
}

static void test_limit(void **state)
{
	const struct flavor *f = *state;

	/* A sanitizer's own mappings come in between. */
	if (!is_plain())
		skip();
	assert_true(in_child(starve, (void *)(uintptr_t)f->ops));
}

/* --- no threads, until there are ------------------------------------------------------------------------------ */

static unsigned int threads_of_the_library(void)
{
	return atomic_load(&script[THREAD].calls) - failed(THREAD);
}

/* Work goes on by polling, and by whoever waits; nothing is given up. */
static void without_threads(void *arg)
{
	const struct rcu_flavor_struct *flavor = arg;
	struct user u = { .flavor = flavor };
	unsigned int i;

	fail_from(THREAD, 1, EVER);
	must(!init_for(&u.ma, SIZE, false, flavor));
	for (i = 0; i < 10; i++)
		user_work(&u);
	bpf_rcu_synchronize();
	synchronize_rcu_tasks_trace();
	must(threads_of_the_library() == 0);
	must(failed(THREAD) >= 2);
	fail_no_more(THREAD);
	/* Tried for again by the next that may block; from then on memory goes back by itself. */
	stats_of(&u.ma);
	await(threads_of_the_library() > 0);
	bpf_mem_alloc_destroy(&u.ma);
	await_nothing_left();
}

static void test_without_threads(void **state)
{
	const struct flavor *f = *state;

	if (TEST_TSAN)
		skip();
	assert_true(in_child(without_threads, (void *)(uintptr_t)f->ops));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_mmap_fails_once, "test_mmap_fails_once", NULL, NULL, OWN),
		CASE(test_mmap_fails_thrice, "test_mmap_fails_thrice", NULL, NULL, OWN),
		CASE(test_mmap_fails_from, "test_mmap_fails_from(own)", NULL, NULL, OWN),
		CASE(test_mmap_fails_from, "test_mmap_fails_from(memb)", NULL, NULL, MEMB),
		ALL_FLAVORS(test_thread_fails_once, NULL, NULL),
		ALL_FLAVORS(test_thread_fails_ever, NULL, NULL),
		ALL_FLAVORS(test_without_threads, NULL, NULL),
		ALL_FLAVORS(test_limit, NULL, NULL),
		CASE(test_madvise_fails, "test_madvise_fails", NULL, NULL, OWN),
		CASE(test_mlockall, "test_mlockall", NULL, NULL, OWN),
		CASE(test_munmap_fails, "test_munmap_fails", NULL, NULL, OWN),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
