/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * util.h - what the semantics tests share
 *
 * Only a test's main thread may use cmocka's assertions (they longjmp); other threads, signal handlers
 * and forked children use must(), which says where and aborts.
 */
#ifndef BMA_TEST_UTIL_H
#define BMA_TEST_UTIL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <cmocka.h>

#include <pthread.h>
#include <urcu/flavor.h>
#include <bma/bpf_mem_alloc.h>
#include <bma/rcu.h>
#include <bma/stats.h>

#if defined(__SANITIZE_ADDRESS__)
#define TEST_ASAN 1
#elif defined(__SANITIZE_THREAD__)
#define TEST_TSAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TEST_ASAN 1
#elif __has_feature(thread_sanitizer)
#define TEST_TSAN 1
#endif
#endif
#ifndef TEST_ASAN
#define TEST_ASAN 0
#endif
#ifndef TEST_TSAN
#define TEST_TSAN 0
#endif

#define must(cond)                                                                                 \
	do {                                                                                       \
		if (!(cond))                                                                       \
			must_have(__FILE__, __LINE__, #cond);                                      \
	} while (0)
void must_have(const char *file, int line, const char *what) __attribute__((noreturn));

/* Have @cond become true within WAIT_S; polls. */
#define WAIT_S 90
#define await(cond)                                                                                \
	do {                                                                                       \
		double give_up_ = now() + WAIT_S;                                                  \
		while (!(cond)) {                                                                  \
			must(now() < give_up_ && #cond);                                           \
			sleep_us(200);                                                             \
		}                                                                                  \
	} while (0)

/* Seconds, on a clock that only goes forward. */
double now(void);
void sleep_us(unsigned int us);

/* Under valgrind, as scripts/check may say with BMA_TEST_VALGRIND=1: no timing, little work. */
bool under_valgrind(void);
/* Under qemu-user, as scripts/aarch64.ini says: the same, and some system calls are missing. */
bool under_qemu(void);
/* Is debug mode on?  Then objects have records, a recycled one holds a pattern, and all is slower. */
bool in_debug_mode(void);
/* Nothing between us and the system: is memory measured as it sees it, and time as it is? */
bool is_plain(void);
/* Skip a test that is not to be had here, and say why. */
void skip_because(const char *why);
/* Skip the test where there are no single steps. */
void need_single_steps(void);
/* @usual turns of a loop; @full with BMA_TEST_LONG=1; a part of @usual where turns are slow. */
unsigned long turns(unsigned long usual, unsigned long full);
bool is_long(void);

/* Bytes of this process that are in memory. */
size_t rss(void);

/* CPUs this process may use: how many, and the number of the nth. */
unsigned int nr_cpus_here(void);
int cpu_here(unsigned int nth);
/* Keep this thread on the nth of them (modulo their number), or let it go. */
void pin(unsigned int nth);
void unpin(void);

void thread_start(pthread_t *thread, void *(*fn)(void *), void *arg);
void thread_join(pthread_t thread);

/* Run @fn in a child, which must not have used bma before the fork; true if it ended well. */
bool in_child(void (*fn)(void *arg), void *arg);
/* Has child @pid ended well, within WAIT_S?  One that has not is shown (where there is gdb) and killed. */
bool child_ended_well(pid_t pid);

/*
 * Run this program again in a process where membarrier() fails with @err (0: it does not), with @arg as its
 * only argument; true if it ended well.  @env, if not NULL, is put in the environment: NAME=value.
 */
bool run_without_membarrier(int err, const char *arg, char *env);
/* Skip the test where that, or deny_membarrier(), cannot be done. */
void need_filters(void);
/* Have membarrier() fail from now on, in all threads. */
void deny_membarrier(int err);

/* What is written on stderr between the two goes to a buffer; @end returns it, valid until the next. */
void stderr_begin(void);
const char *stderr_end(void);

/*
 * The readers that an allocator may have, by name: those of liburcu's four flavours, and our own in the
 * shape of a flavour.  Only what threads and readers do is in that shape, nothing for updaters.
 */
struct flavor {
	const char *name;
	const struct rcu_flavor_struct *ops;
};
enum { MEMB, MB, QSBR, BP, OWN, NR_FLAVORS };
extern const struct flavor flavors[NR_FLAVORS];
bool is_qsbr(const struct rcu_flavor_struct *flavor);
bool is_own(const struct rcu_flavor_struct *flavor);
/* Sleepable readers in the same shape; no allocator is made for them. */
extern const struct rcu_flavor_struct trace_readers;

/* A case of a cmocka group for each of them. */
#define CASE(test, name, setup, teardown, nth)                                                     \
	{                                                                                          \
		name, test, setup, teardown, (void *)(uintptr_t)&flavors[nth]                      \
	}
#define ALL_FLAVORS(test, setup, teardown)                                                         \
	CASE(test, #test "(memb)", setup, teardown, MEMB),                                         \
		CASE(test, #test "(mb)", setup, teardown, MB),                                     \
		CASE(test, #test "(qsbr)", setup, teardown, QSBR),                                 \
		CASE(test, #test "(bp)", setup, teardown, BP),                                     \
		CASE(test, #test "(own)", setup, teardown, OWN)

/* A section of any flavour, in a thread that is registered: for QSBR, being online. */
void reader_enter(const struct rcu_flavor_struct *flavor);
void reader_leave(const struct rcu_flavor_struct *flavor);

/* A thread of its own that goes inside and stays there until it is told to leave. */
struct sitter {
	const struct rcu_flavor_struct *flavor;
	_Atomic bool in, leave;
	_Atomic int tid;
	pthread_t thread;
};
void sitter_begin(struct sitter *s, const struct rcu_flavor_struct *flavor);
void sitter_end(struct sitter *s);

/* Random numbers, fast, one state for each thread. */
static inline uint64_t rnd(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Bytes of an object that tell whose it is: fill it, or find out that they are all as they were. */
void fill(void *obj, size_t bytes, uint64_t seed);
bool is_filled(const void *obj, size_t bytes, uint64_t seed);
bool is_zero(const void *obj, size_t bytes);

/* Is there a mapping at @p, the beginning of a page? */
bool is_mapped(void *p);

/* Sorts, and says whether some pointer is there twice. */
bool has_twins(void **objs, size_t n);

/*
 * Make an allocator for any of these readers.  It and the next few are inline because a program that
 * brings its own core has none of what they call.
 */
static inline int init_for(struct bpf_mem_alloc *ma, int size, bool percpu,
			   const struct rcu_flavor_struct *flavor)
{
	if (is_own(flavor))
		return bpf_mem_alloc_init(ma, size, percpu);
	return bpf_mem_alloc_init_flavor(ma, size, percpu, flavor);
}

/*
 * Snapshots; and: has the library given everything back, with no allocator left, dying or not?
 */
static inline struct bpf_mem_stats stats_of(const struct bpf_mem_alloc *ma)
{
	struct bpf_mem_stats s;

	bpf_mem_alloc_stats(ma, &s);
	return s;
}

static inline struct bpf_mem_stats process_stats(void)
{
	struct bpf_mem_stats s;

	bpf_mem_process_stats(&s);
	return s;
}

static inline bool nothing_left(void)
{
	struct bpf_mem_stats s = process_stats();

	return !(s.allocators | s.dying | s.spans | s.bytes_spans | s.magazines | s.objs_in_use |
		 s.objs_free | s.objs_waiting_rcu | s.objs_waiting_ttrace | s.bytes_in_use |
		 s.bytes_free | s.bytes_waiting_rcu | s.bytes_waiting_ttrace);
}

static inline void await_nothing_left(void)
{
	await(nothing_left());
}

/* cmocka teardown. */
static inline int check_nothing_left(void **state)
{
	double give_up = now() + 10;
	struct bpf_mem_stats s;

	(void)state;
	while (!nothing_left() && now() < give_up)
		sleep_us(200);
	if (nothing_left())
		return 0;
	s = process_stats();
	print_error(
		"left: %lu allocators, %lu dying, %lu spans, %lu in use, %lu free, %lu in limbo\n",
		s.allocators, s.dying, s.spans, s.objs_in_use, s.objs_free, s.objs_waiting_rcu);
	return -1;
}

#endif /* BMA_TEST_UTIL_H */
