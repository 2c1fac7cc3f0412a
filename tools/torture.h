/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * torture.h - the parts of `bma torture`
 *
 *   torture.c          options; its head comment says how to read the output
 *   torture_watch.c    the parent: starts the runs, shows progress, sees what hangs or dies
 *   torture_report.c   what is printed: heading, progress, histogram, verdict, JSON
 *   torture_run.c      a run: kinds and threads, from the first allocator to the last check
 *   torture_element.c  elements: owner, generation, contents; and what is found
 *   torture_update.c   updaters: publish, retire, and use objects of their own
 *   torture_read.c     readers of each kind, short and long
 *   torture_wait.c     who waits for grace periods: synchronize, barrier, callbacks
 *   torture_sprint.c   a reader and an updater that race without pause
 *   torture_disturb.c  signals, migration, threads that come and go
 *   torture_alloc.c    allocators that come and go, limits
 *   torture_fork.c     forks
 *   torture_fault.c    calls to the system that fail
 *
 * A run has a process of its own; what it counts and finds is in memory that its parent sees, so
 * that a run that crashes or hangs is reported like any other.
 */
#ifndef BMA_TORTURE_H
#define BMA_TORTURE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <bma/bpf_mem_alloc.h>
#include <bma/rcu.h>

#include "tool.h"

struct rcu_flavor_struct;

/* Kinds of readers: our own, normal and sleepable, and those of liburcu's flavours. */
enum kind { OWN, TRACE, MEMB, MB, QSBR, BP, NR_KINDS };

/* Who makes it hard, each so many threads. */
enum disturber {
	SIGNALS,
	MIGRATE,
	STALL,
	CHURN,
	FORK,
	ALLOCATORS,
	LIMITS,
	WAIT,
	SPRINT,
	NR_DISTURBERS
};

/* Calls to the system that fail. */
enum fault { FAULT_MMAP, FAULT_THREAD, FAULT_MEMBARRIER, NR_FAULTS };

/* Names, as in options and reports. */
extern const char *const kind_names[NR_KINDS];
extern const char *const disturber_names[NR_DISTURBERS];
extern const char *const fault_names[NR_FAULTS];

struct torture_params {
	double seconds;
	double hang_seconds;
	uint64_t seed;
	unsigned long updaters, readers; /* of each kind */
	unsigned long size; /* bytes of an element; 0: another for each kind */
	bool kinds[NR_KINDS];
	unsigned long disturbers[NR_DISTURBERS];
	bool faults[NR_FAULTS];
	bool json;
	bool help;
};

/* What can be found. */
enum failure {
	F_REUSED,
	F_OLD,
	F_CONTENTS,
	F_TYPE,
	F_UNMAPPED,
	F_OWNERS,
	F_FREE,
	F_ERRNO,
	F_NULL,
	F_DTOR,
	F_CALLBACK,
	F_CHILD,
	F_LEFT,
	F_HANG,
	F_DIED,
	NR_FAILURES
};

extern const char *const failure_names[NR_FAILURES];

struct torture_finding {
	_Atomic uint64_t count;
	_Atomic bool described;
	char first[240]; /* the first of them, in detail */
};

/* As in rcutorture: what is older than this counts as this. */
#define PIPE_LEN 10

struct torture_kind_counts {
	_Atomic uint64_t updates;
	_Atomic uint64_t private; /* objects that were allocated and freed with no reader */
	_Atomic uint64_t sections;
	_Atomic uint64_t refusals; /* allocations that returned NULL, as they may */
	_Atomic uint64_t ended; /* grace periods */
	_Atomic uint64_t pipe[PIPE_LEN + 1];
};

enum torture_stage { STARTING, RUNNING, CALMING, STOPPING, ENDING, OVER };

/* One run, in memory that is shared with the parent. */
struct torture_phase {
	const char *name; /* of the process that set it */
	double seconds;
	bool without_membarrier;
	_Atomic int stage;
	_Atomic uint64_t beats; /* of the run's first thread */
	struct torture_kind_counts kinds[NR_KINDS];
	_Atomic uint64_t disturbances[NR_DISTURBERS];
	_Atomic uint64_t faults[NR_FAULTS];
	double ran;
};

/* A thread sanitizer does not survive the fork of a process with threads. */
#if defined(__SANITIZE_THREAD__)
#define TORTURE_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TORTURE_TSAN 1
#endif
#endif
#ifndef TORTURE_TSAN
#define TORTURE_TSAN 0
#endif

#define MAX_PHASES 2

struct torture_shared {
	struct torture_params params;
	unsigned int nr_phases;
	struct torture_phase phases[MAX_PHASES];
	struct torture_finding findings[NR_FAILURES];
	double seconds;
};

/* torture_watch.c, torture_report.c: the parent */
enum exit_code torture_watch(const struct torture_params *params);
enum exit_code torture_phase_on_fd(const char *text);
void torture_print_heading(const struct torture_shared *shared);
void torture_print_progress(const struct torture_shared *shared, double seconds);
enum exit_code torture_print_result(const struct torture_shared *shared);
bool torture_found(const struct torture_shared *shared);

/* torture_fault.c */
bool membarrier_works(void);
bool deny_membarrier(void);
void faults_begin(uint64_t seed);
/* All calls of mmap() fail, or some again. */
void faults_spell(bool on);
void faults_end(void);
int thread_create(pthread_t *thread, void *(*fn)(void *), void *arg);

/* torture_run.c: run the @nr-th phase in this process, which has not used bma yet. */
enum exit_code torture_run(struct torture_shared *shared, unsigned int nr);

/*
 * Below: within a run.
 *
 * An element, as long as its allocator's objects.  It is in one of three states: published, found
 * by readers, changed by nobody but in its cookie, ended and pipe; somebody's own; free, when what
 * it held is still there until its next owner writes.  Words that a reader may look at while a bug
 * lets somebody write are atomic and relaxed; the body is plain, for thread sanitizers to see.
 */
struct element {
	_Atomic uint64_t magic; /* of its allocator: the same from the first owner on */
	_Atomic uint64_t owner; /* OWNED and more, or free */
	_Atomic uint64_t generation; /* another one for each owner */
	_Atomic uint64_t cookie; /* our own readers: the grace period after its unlinking */
	_Atomic uint64_t ended; /* 1 + grace periods that had ended at its unlinking; 0: not known */
	_Atomic uint64_t pipe; /* 0: published; 1: unlinked; 1 + grace periods since */
	uint64_t body[];
};

#define MIN_SIZE (sizeof(struct element) + 2 * sizeof(uint64_t))

/* An allocator of elements. */
struct pool {
	struct bpf_mem_alloc ma;
	enum kind kind;
	bool sized; /* a kmalloc-like allocator */
	size_t size;
	uint64_t magic;
	bool may_refuse; /* it has a limit */
};

typedef _Atomic(struct element *) slot_t;

/* Where readers look.  The last ones are for allocators that come and go. */
#define NR_SLOTS 32
#define NR_OWN_SLOTS 24
#define NR_PARCELS 16

/* What all that is of one kind shares. */
struct kind_state {
	enum kind kind;
	const struct rcu_flavor_struct *flavor; /* NULL: our own */
	struct pool pool;
	struct torture_kind_counts *counts;
	slot_t slots[NR_SLOTS];
	slot_t parcels[NR_PARCELS]; /* objects that one thread allocates and another frees */
};

struct torture {
	struct torture_shared *shared;
	struct torture_phase *phase;
	const struct torture_params *params;
	struct kind_state kinds[NR_KINDS];
	bool debug; /* freed objects may be written and must not be looked at */
};

extern struct torture torture;

/* A thread of the run, from its beginning to its end. */
struct torture_thread {
	_Alignas(CACHE_LINE) void *(*main)(void *thread);
	struct kind_state *kind; /* updaters and readers */
	bool disturbs; /* it ends before the others */
	unsigned int nr;
	uint64_t random;
	pthread_t thread;
	_Atomic pid_t tid;
	_Atomic bool started;
};

extern struct torture_thread torture_threads[];
extern unsigned int nr_torture_threads;

/* torture_run.c */
bool going(const struct torture_thread *thread);
void nap_us(unsigned int us);
struct kind_state *any_kind(uint64_t *random);
void count_disturbance(enum disturber which);
uint64_t stream(uint64_t nr);

static inline bool one_in(unsigned int n, uint64_t *random)
{
	return !((next_random(random) >> 32) % n);
}

static inline unsigned int below(unsigned int n, uint64_t *random)
{
	return (unsigned int)((next_random(random) >> 32) % n);
}

static inline void count(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

#define peek(p) atomic_load_explicit((p), memory_order_relaxed)
#define poke(p, v) atomic_store_explicit((p), (v), memory_order_relaxed)

/* torture_element.c.  Any context, but where it says otherwise. */
void torture_fail(enum failure what, const char *format, ...) __attribute__((format(printf, 2, 3)));
int pool_init(struct pool *pool, enum kind kind, uint64_t serial, size_t size, bool sized);
/* An element of the caller's own, claimed and stamped; NULL where that may be. */
struct element *element_get(struct pool *pool, gfp_t flags);
/* Is it as its owner, or who published it, left it? */
void element_check(const struct element *e, const struct pool *pool, const char *who);
void element_free(struct pool *pool, struct element *e);
void element_free_rcu(struct pool *pool, struct element *e);
/* Have readers find @e in the place of another one, which is unlinked then; it may be NULL. */
struct element *element_publish(slot_t *slot, struct element *e);
void element_age(struct element *e, unsigned int pipe);
/* What was unlinked before: remember which grace periods had ended.  @exact: process context. */
void elements_retired(struct kind_state *kind, struct element *const *e, unsigned int nr,
		      bool exact);

/* What a reader holds. */
struct hold {
	struct kind_state *kind;
	const struct element *e;
	uint64_t magic, generation;
	unsigned int slot;
	uint64_t since_ns;
};

void hold_begin(struct hold *hold, struct kind_state *kind, unsigned int slot);
void hold_check(const struct hold *hold, uint64_t *random);
void hold_end(const struct hold *hold);
/* Of memory that may have been reused, but must not have left its allocator. */
void hold_check_type(const struct hold *hold);

/* torture_update.c */
void *run_updater(void *thread);
/* Some updates and objects of one's own; any context, but with @process. */
void update(struct kind_state *kind, uint64_t *random, bool process);
void use_own(struct kind_state *kind, uint64_t *random, bool process);

/* torture_read.c */
void *run_reader(void *thread);
void *run_stall(void *thread);
void kind_register(const struct kind_state *kind);
void kind_unregister(const struct kind_state *kind);
void section_enter(const struct kind_state *kind);
void section_leave(const struct kind_state *kind);
/* A read section; @longest: how long to stay, about, in us, if it is a long one. */
void read_section(struct kind_state *kind, uint64_t *random, unsigned int longest);

/* torture_wait.c, torture_sprint.c, torture_disturb.c, torture_alloc.c, torture_fork.c */
void *run_wait(void *thread);
bool callbacks_done(void);
void *run_signals(void *thread);
void catch_signals(void);
void *run_migrate(void *thread);
void *run_churn(void *thread);
void *run_allocators(void *thread);
void *run_limits(void *thread);
void *run_fork(void *thread);
void *run_sprint(void *thread);

#endif /* BMA_TORTURE_H */
