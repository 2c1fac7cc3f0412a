/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * rcu.h - readers that need no library and no registration
 *
 * Two kinds of readers, each with grace periods of its own:
 *
 *	bpf_rcu_read_lock()	short sections, must not sleep; bpf_mem_free_rcu() waits for them
 *	before
 *				it reuses memory
 *	rcu_read_lock_trace()	sections that may sleep; memory waits for them, too, before it
 *	leaves the
 *				allocator
 *
 * A thread is a reader from its first lock on, in a signal handler too; it may exit without a word.
 * core/rcu.c has the proof.  Contexts: "any" and "process" as in bpf_mem_alloc.h.
 */
#ifndef BMA_RCU_H
#define BMA_RCU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Private: one thread's record, a cache line.  Each word: {grace period when entered:48,
 * nesting:16}.
 */
enum { BPF_RCU_NORMAL_, BPF_RCU_TRACE_, BPF_RCU_DOMAINS_ };

#define BPF_RCU_NESTING_ 0xffffu

struct bpf_rcu_reader_ {
	uint64_t word[BPF_RCU_DOMAINS_];
	uint64_t owner;
	struct bpf_rcu_reader_ *next;
	uint64_t asked; /* to let others run when it leaves */
} __attribute__((aligned(64)));

struct bpf_rcu_domain_ {
	uint64_t started; /* number of the latest grace period that has begun */
} __attribute__((aligned(64)));

extern struct bpf_rcu_domain_ bpf_rcu_domain_[BPF_RCU_DOMAINS_];
extern bool bpf_rcu_readers_fence_;
extern __thread struct bpf_rcu_reader_ *bpf_rcu_this_reader_
	__attribute__((tls_model("initial-exec")));
struct bpf_rcu_reader_ *bpf_rcu_reader_new_(void);
void bpf_rcu_reader_asked_(void);

/* A home that has to see each access defines these itself. */
#ifndef BPF_RCU_LOAD_
#define BPF_RCU_LOAD_(p, mo) __atomic_load_n((p), __ATOMIC_##mo)
#define BPF_RCU_STORE_(p, v, mo) __atomic_store_n((p), (v), __ATOMIC_##mo)
#endif
#ifndef BPF_RCU_FENCE_
#define BPF_RCU_FENCE_() __sync_synchronize() /* __atomic_thread_fence(), without gcc's -Wtsan */
#endif

/* Barrier READER: see core/rcu.c. */
static inline void bpf_rcu_reader_barrier_(void)
{
	if (__builtin_expect(__atomic_load_n(&bpf_rcu_readers_fence_, __ATOMIC_RELAXED), 0))
		BPF_RCU_FENCE_();
	else
		__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

/* A handler between load and store nests, and leaves the word's nesting as it found it. */
static inline void bpf_rcu_enter_(unsigned int domain)
{
	struct bpf_rcu_reader_ *r = bpf_rcu_this_reader_;
	uint64_t word;

	if (__builtin_expect(!r, 0))
		r = bpf_rcu_reader_new_();
	word = BPF_RCU_LOAD_(&r->word[domain], RELAXED);
	if (__builtin_expect(!(word & BPF_RCU_NESTING_), 1))
		word = BPF_RCU_LOAD_(&bpf_rcu_domain_[domain].started, ACQUIRE) << 16;
	BPF_RCU_STORE_(&r->word[domain], word + 1, RELAXED);
	bpf_rcu_reader_barrier_();
}

static inline void bpf_rcu_leave_(unsigned int domain)
{
	struct bpf_rcu_reader_ *r = bpf_rcu_this_reader_;
	uint64_t *word = &r->word[domain];

	BPF_RCU_STORE_(word, BPF_RCU_LOAD_(word, RELAXED) - 1, RELEASE);
	if (domain == BPF_RCU_NORMAL_ && __builtin_expect(!!BPF_RCU_LOAD_(&r->asked, RELAXED), 0))
		bpf_rcu_reader_asked_();
}

static inline bool bpf_rcu_inside_(unsigned int domain)
{
	struct bpf_rcu_reader_ *r = bpf_rcu_this_reader_;

	return r && BPF_RCU_LOAD_(&r->word[domain], RELAXED) & BPF_RCU_NESTING_;
}

/*
 * Read-side sections.  They nest (to 65535) and may overlap those of the other kind.  unlock
 * belongs to the thread that locked.  The first lock of a thread may take memory; if there is none,
 * it waits for some.  bpf_rcu_read_unlock() gives up the CPU for a moment (sched_yield()) if much
 * waits for the section that it ends, as whoever frees may be waiting for the CPU.  Context: any.
 */
static inline void bpf_rcu_read_lock(void)
{
	bpf_rcu_enter_(BPF_RCU_NORMAL_);
}

static inline void bpf_rcu_read_unlock(void)
{
	bpf_rcu_leave_(BPF_RCU_NORMAL_);
}

static inline void rcu_read_lock_trace(void)
{
	bpf_rcu_enter_(BPF_RCU_TRACE_);
}

static inline void rcu_read_unlock_trace(void)
{
	bpf_rcu_leave_(BPF_RCU_TRACE_);
}

/* Is the caller inside a section of that kind?  Context: any. */
static inline bool bpf_rcu_read_lock_held(void)
{
	return bpf_rcu_inside_(BPF_RCU_NORMAL_);
}

static inline bool rcu_read_lock_trace_held(void)
{
	return bpf_rcu_inside_(BPF_RCU_TRACE_);
}

/*
 * Return after a grace period that began after the call.  Not inside a section of the same kind:
 * that is reported on stderr, and the call returns at once.  Context: process.
 */
void bpf_rcu_synchronize(void);
void synchronize_rcu_tasks_trace(void);

/*
 * Return when all that was freed with free_rcu before the call, in allocators of every domain, is
 * ripe or back in its slab, and all callbacks queued before with bpf_call_rcu() have run.  It does
 * not wait for sleepable readers.  Not inside a section of bpf_rcu_read_lock() or of a liburcu
 * flavour, which is reported, nor from a callback or a destructor.  Context: process.
 */
void bpf_rcu_barrier(void);

/*
 * get_state: a cookie for a grace period that begins after the call.  poll_state: has it ended?  It
 * also helps it along, without blocking, so that polling alone ends it once readers have left.  A
 * cookie may be polled at any time, any number of times.  Context: any.
 */
typedef uint64_t bpf_rcu_cookie;

bpf_rcu_cookie bpf_rcu_get_state(void);
bool bpf_rcu_poll_state(bpf_rcu_cookie cookie);
bpf_rcu_cookie rcu_tasks_trace_get_state(void);
bool rcu_tasks_trace_poll_state(bpf_rcu_cookie cookie);

/*
 * Have @func(@head) called after a grace period, on the reclaimer's thread.  @head is the caller's,
 * and in use until then.  @func may free, allocate and queue again; it should be short.
 * Context: any; but as a thread cannot be made in any context, the reclaimer's is made by the first
 * call that may block (an init, a synchronize, a barrier, statistics).
 */
struct bpf_rcu_head {
	struct bpf_rcu_head *next;
	void (*func)(struct bpf_rcu_head *head);
};

void bpf_call_rcu(struct bpf_rcu_head *head, void (*func)(struct bpf_rcu_head *head));
void call_rcu_tasks_trace(struct bpf_rcu_head *head, void (*func)(struct bpf_rcu_head *head));

/*
 * A reader that holds up a grace period for longer than the stall time is reported, once for each
 * grace period: on stderr, or to the callback, from the reclaimer's thread.
 */
struct bpf_rcu_stall {
	const char *domain; /* "rcu", "tasks trace", "liburcu" */
	unsigned long ms; /* since the grace period began */
	int tid; /* of a thread that holds it up; 0: not known */
	size_t limbo_bytes; /* that wait, in all allocators */
};

/* @ms: 0 for never; 1000 at first.  @report: NULL for stderr.  Context: process. */
void bpf_rcu_set_stall_time(unsigned int ms);
void bpf_rcu_set_stall_report(void (*report)(const struct bpf_rcu_stall *stall, void *ctx),
			      void *ctx);

#ifdef __cplusplus
}
#endif

#endif /* BMA_RCU_H */
