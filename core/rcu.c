// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * rcu.c - our own readers
 *
 * Problem: readers that need no registration, nest, may run in signal handlers at any instruction,
 * cost two stores, and can be waited for by anyone without blocking.
 *
 * Idea: each thread has a record, in memory that is never unmapped, with a word for each kind of
 * readers: how deep it is nested, and the number of the grace period that had begun when it
 * entered. A grace period n is over when no record is inside since before n began.  Kin: liburcu's
 * memb flavour (readers whose barrier is the updater's membarrier), FreeBSD's SMR (polling),
 * epochs.
 *
 * Objects and owners: a record's words are written by its thread only; `owner` (thread number, 0:
 * free) by who takes it or finds its thread dead, by compare-and-swap; the list of records only
 * grows.
 *
 * Invariants:
 *   (1) A thread has one record at a time, and it is in the list before its first section.
 *   (2) A record is taken only when it is free or its owner is dead; so there are never more
 *       records than the most threads that were alive at a time (and handlers in the middle of
 *       taking one).
 *   (3) Reader words change by the owner's enter and leave only, each of which leaves a handler's
 *       nested sections balanced: a handler between its load and its store restores the nesting.
 *
 * Ordering, for grace period n and a reader that loads x, which an updater unlinked before SNAPSHOT:
 *   READER    in enter, between the store of the word and the section: a compiler barrier, which
 *             SCAN makes a full one; or a full barrier where there is no membarrier.
 *   SCAN      in a poll, after it saw or made started == n, before it looks at the words.  It says so
 *             (fenced, with release), and who learns it (with acquire) may look at any later time: what
 *             is said below is of any look after SCAN, as a word that was there then is there, or a later
 *             one of the same thread.
 *   LEAVE     the word is stored with release; a scan loads it with acquire: the section is before.
 *
 *   Either READER is before SCAN.  Then the scan sees the word.  If the reader entered before n
 *   began, it is waited for.  If it read started >= n, that was written after the updater's SNAPSHOT
 *   had read less, so the unlinking, before that, had reached memory: loads after the acquire of
 *   started find it (here memory must be multi-copy atomic: x86, ARMv8, RISC-V).
 *   Or READER is after SCAN.  Then the section's loads are after SCAN, which is after SNAPSHOT's
 *   barrier in the order of full barriers, since SNAPSHOT read less than n: they find it unlinked.
 *   A reader that is late, with an old number of started in its word, is waited for by all later
 *   grace periods until it leaves: late, never early.
 *
 *   Without READER or SCAN: the word is in the reader's store buffer while the scan looks (found
 *   idle), and its load of x has been done already: it holds an object that is reused.
 *   Without LEAVE's release: a load of the section is done after the word is seen idle.
 *
 * A reader that was preempted inside is let run by those who free (limbo.c), but it would keep the CPU
 * for its whole slice, where they need its section's end only.  So they ask it to give the CPU back when
 * it leaves; kin: Linux's rcu_read_unlock_special().  That is a hint, without order: one that is lost,
 * or comes to another thread that has got the record, costs a slice or a system call.
 *
 * Progress: enter and leave are wait-free but for a thread's first enter, polls are lock-free.
 *
 * Not promised: anything about a thread that exits inside a section but that it is found in the
 * end.
 *
 * Held by: tests/core/test_rcu.c, tests/process/test_rcu.c.
 */
#include "bma.h"

/* With the number of a thread: it found the record's dead and is clearing it. */
#define BURYING (1u << 31)

struct bpf_rcu_domain_ bpf_rcu_domain_[BPF_RCU_DOMAINS_];

static struct bma_readers *const readers = &bma_world.readers;

static bma_word_t *shared(uint64_t *word)
{
	return (bma_word_t *)word;
}

struct bma_gp bma_rcu = {
	.started = (bma_word_t *)&bpf_rcu_domain_[BPF_RCU_NORMAL_].started,
	.readers = BPF_RCU_NORMAL_,
};

struct bma_gp bma_trace = {
	.started = (bma_word_t *)&bpf_rcu_domain_[BPF_RCU_TRACE_].started,
	.readers = BPF_RCU_TRACE_,
};

static void clear(struct bpf_rcu_reader_ *r)
{
	unsigned int i;

	/* Acquire, of LEAVE: who reads our 0 comes after the sections of who is gone, too. */
	for (i = 0; i < BPF_RCU_DOMAINS_; i++)
		port_xchg(shared(&r->word[i]), 0, acq_rel);
}

static uint32_t thread_of(uint64_t owner)
{
	return (uint32_t)owner;
}

/* Thread numbers come back, so each change of owner has a number of its own in the high half. */
static bool change_owner(struct bpf_rcu_reader_ *r, uint64_t owner, uint32_t thread)
{
	return port_cas(shared(&r->owner), &owner, ((owner >> 32) + 1) << 32 | thread, acq_rel);
}

/*
 * What a new thread may take, best first: what a dead thread of our number left behind (nobody else
 * would ever find that one dead), what is free, what any dead thread left behind.
 */
enum wanted { OURS, FREE, DEAD, NR_WANTED };

static bool can_take(uint64_t owner, uint32_t self, enum wanted wanted)
{
	uint32_t thread = thread_of(owner);

	switch (wanted) {
	case OURS:
		return thread == self;
	case FREE:
		return !thread;
	default:
		return thread && port_thread_dead(thread & ~BURYING);
	}
}

static struct bpf_rcu_reader_ *find(uint32_t self, enum wanted wanted)
{
	struct bpf_rcu_reader_ *r;
	uint64_t owner;

	for (r = port_load(&readers->records, acquire); r; r = r->next) {
		owner = port_load(shared(&r->owner), relaxed);
		if (can_take(owner, self, wanted) && change_owner(r, owner, self)) {
			clear(r);
			return r;
		}
	}
	return NULL;
}

/* A record that is not in the list yet; NULL if there is no memory, nor reserve. */
static struct bpf_rcu_reader_ *make(uint32_t self)
{
	struct bpf_rcu_reader_ *r = bma_meta_alloc(bma_meta_class(sizeof(*r)));
	uint32_t n;

	if (!r) {
		n = port_load(&readers->nr_reserved, relaxed);
		do {
			if (n == BMA_NR_RESERVE)
				return NULL;
		} while (!port_cas(&readers->nr_reserved, &n, n + 1, relaxed));
		r = &readers->reserve[n];
	}
	clear(r);
	port_store(shared(&r->owner), self, relaxed);
	return r;
}

static struct bpf_rcu_reader_ *find_or_make(uint32_t self)
{
	struct bpf_rcu_reader_ *r = NULL;
	unsigned int wanted;

	for (wanted = OURS; !r && wanted < NR_WANTED; wanted++)
		r = find(self, wanted);
	if (r)
		return r;
	r = make(self);
	if (!r)
		return NULL;
	r->next = port_load(&readers->records, relaxed);
	while (!port_cas(&readers->records, &r->next, r, release))
		;
	return r;
}

/* The calling thread's first section: give it a record. */
struct bpf_rcu_reader_ *bpf_rcu_reader_new_(void)
{
	uint32_t self = port_thread_id();
	struct bpf_rcu_reader_ *r, *none = NULL;

	while (!(r = find_or_make(self)))
		port_yield();
	/* A handler may have been here meanwhile; then its record is ours, and this one is free. */
	if (__atomic_compare_exchange_n(&bpf_rcu_this_reader_, &none, r, false, __ATOMIC_RELAXED,
					__ATOMIC_RELAXED)) {
		/* Or it forked, and we are somebody else. */
		if (port_thread_id() != self)
			change_owner(r, port_load(shared(&r->owner), relaxed), port_thread_id());
		return r;
	}
	if (none != r)
		change_owner(r, port_load(shared(&r->owner), relaxed), 0);
	return none;
}

/*
 * If the thread of @r is dead, nobody is inside any more.  Ours is not, whatever its number says: this
 * may be a child that was made with no word to us.
 */
static bool bury(struct bpf_rcu_reader_ *r)
{
	uint64_t owner = port_load(shared(&r->owner), relaxed);

	if (r == bpf_rcu_this_reader_ || !can_take(owner, 0, DEAD) ||
	    !change_owner(r, owner, port_thread_id() | BURYING))
		return false;
	clear(r);
	change_owner(r, port_load(shared(&r->owner), relaxed), 0);
	return true;
}

/*
 * In the child of a fork: the only thread, @before in the parent, keeps what it has; all other records
 * are free.  It may be in the middle of taking one, or of burying one: then it goes on with that.
 */
void bma_readers_forked(uint32_t before)
{
	uint32_t self = port_thread_id(), thread;
	struct bpf_rcu_reader_ *r;
	uint64_t owner;

	for (r = port_load(&readers->records, relaxed); r; r = r->next) {
		owner = port_load(shared(&r->owner), relaxed);
		thread = thread_of(owner);
		if (r == bpf_rcu_this_reader_ || thread == before) {
			change_owner(r, owner, self);
		} else if (thread == (before | BURYING)) {
			change_owner(r, owner, self | BURYING);
		} else {
			clear(r);
			change_owner(r, owner, 0);
		}
	}
}

/* Its thread's number; not 0, though it may just have left and be free. */
static uint32_t owner_of(struct bpf_rcu_reader_ *r)
{
	uint32_t thread = thread_of(port_load(shared(&r->owner), relaxed));

	return thread ? thread : UINT32_MAX;
}

static bool is_inside_before(struct bpf_rcu_reader_ *r, unsigned int domain, uint64_t number)
{
	uint64_t word = port_load(shared(&r->word[domain]), acquire); /* LEAVE */

	return word & BPF_RCU_NESTING_ &&
	       (int64_t)((word & ~(uint64_t)BPF_RCU_NESTING_) - (number << 16)) < 0;
}

/*
 * Who has been inside since before grace period @number began?  A thread, or 0 for nobody.
 * @thorough: do not count the dead.
 */
uint32_t bma_reader_before(struct bma_gp *gp, uint64_t number, bool thorough)
{
	struct bpf_rcu_reader_ *r;

	for (r = port_load(&readers->records, acquire); r; r = r->next)
		if (is_inside_before(r, gp->readers, number) && !(thorough && bury(r)))
			return owner_of(r);
	return 0;
}

/* Have the readers that a grace period of @gp waits for let others run when they leave. */
void bma_readers_ask(struct bma_gp *gp)
{
	uint64_t number = port_load(gp->started, relaxed);
	struct bpf_rcu_reader_ *r;

	for (r = port_load(&readers->records, acquire); r; r = r->next)
		if (r != bpf_rcu_this_reader_ && is_inside_before(r, gp->readers, number))
			port_store(shared(&r->asked), 1, relaxed);
}

/* The calling thread has left a section, and was asked to let others run. */
void bpf_rcu_reader_asked_(void)
{
	/* Not yet: this was an inner one. */
	if (bpf_rcu_inside_(BPF_RCU_NORMAL_))
		return;
	port_store(shared(&bpf_rcu_this_reader_->asked), 0, relaxed);
	port_yield();
}

/* Is the calling thread a reader of @gp? */
bool bma_reader_inside(struct bma_gp *gp)
{
	return bpf_rcu_inside_(gp->readers);
}

/* How many records there are: never more than the most threads that were alive at a time. */
unsigned int bma_reader_records(void)
{
	struct bpf_rcu_reader_ *r;
	unsigned int n = 0;

	for (r = port_load(&readers->records, acquire); r; r = r->next)
		n++;
	return n;
}
