// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * script.c - the door for unit tests
 *
 * Each entry has the semantics that port.h asks for, and checks that core uses it as port.h says: sizes and
 * alignment, pages given back as they were taken, no process-only entry in a nested context.  Who
 * breaks a rule ends the program, with a message.
 *
 * Pages come from one reserved range of addresses, from its beginning on, so that runs are alike and a
 * late access of freed pages faults.
 *
 * Held by: tests/core/, all of it.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <bma/rcu.h>

#include "port.h"
#include "private.h"
#include "script.h"

#define UNIT ((size_t)1 << PORT_UNIT_SHIFT)
#define ARENA ((size_t)1 << 37)
#define ARENA_ALIGN ((uintptr_t)1 << 32)
#define MAX_AREAS SCRIPT_MAX_AREAS

struct area {
	char *base;
	size_t bytes; /* 0: given back */
};

/* Two more threads, who relieve each other, hold core's own domains. */
#define HOLDER (SCRIPT_THREADS + 1)
#define NR_THREADS (SCRIPT_THREADS + 3)
#define NR_DRIVEN 2
#define MAX_SLEEPS 100

struct thread {
	struct bpf_rcu_reader_ *reader; /* its bpf_rcu_this_reader_ while another runs */
	bool dead;
};

struct op {
	unsigned int calls;
	unsigned int fail_at, fail_count;
};

static struct {
	struct op op[SCRIPT_NR_OPS];
	enum script_op interrupt_op;
	unsigned int interrupt_at; /* points still to come; 0: not armed */
	bool interrupted;
	unsigned int depth; /* of what interrupts */
	bool as_thread;
	void (*interrupt)(void *arg);
	void *interrupt_arg;
	unsigned int cpu, nr_cpus;
	bool slow;
	bool locked;
	bool quiet; /* what runs is the test's, and no point for it */
	char *next; /* free from here on */
	size_t nr_areas, out;
	void (*on_free)(void *pages, size_t bytes);
	struct bma_gp driven[NR_DRIVEN];
	struct thread thread[NR_THREADS];
	unsigned int self;
	unsigned int holder[BPF_RCU_DOMAINS_]; /* 0: the domain is not held */
	unsigned int sleeps; /* since the last that brought something */
	void (*on_sleep)(struct bma_gp *gp);
} home;

static struct area areas[MAX_AREAS];
static char *arena;

void script_need(bool good, const char *func, const char *rule)
{
	if (good)
		return;
	fprintf(stderr, "script: %s: %s\n", func, rule);
	abort();
}

/* --- counting, failing, interrupting ------------------------------------------------------------ */

static void point(enum script_op op)
{
	if (home.quiet || !home.interrupt_at ||
	    (home.interrupt_op != SCRIPT_ANY && home.interrupt_op != op) || --home.interrupt_at)
		return;
	home.interrupted = true;
	home.depth++;
	home.interrupt(home.interrupt_arg);
	home.depth--;
}

/* May what runs now sleep, or wait for others? */
static bool in_process_context(void)
{
	return (!home.depth || home.as_thread) && !home.locked;
}

static void enter(enum script_op op)
{
	home.op[op].calls++;
	point(op);
}

/* Is this call one of those that shall fail? */
static bool fails(enum script_op op)
{
	struct op *o = &home.op[op];

	if (!o->fail_count || (o->fail_at > 1 && o->fail_at--))
		return false;
	if (o->fail_count != SCRIPT_EVER)
		o->fail_count--;
	return true;
}

unsigned int script_calls(enum script_op op)
{
	return home.op[op].calls;
}

void script_fail(enum script_op op, unsigned int nth, unsigned int count)
{
	NEED(nth);
	home.op[op].fail_at = nth;
	home.op[op].fail_count = count;
}

void script_interrupt(enum script_op op, unsigned int nth, void (*fn)(void *arg), void *arg)
{
	home.interrupt_op = op;
	home.interrupt_at = fn ? nth : 0;
	home.interrupted = false;
	home.interrupt = fn;
	home.interrupt_arg = arg;
}

bool script_interrupted(void)
{
	return home.interrupted;
}

void script_as_thread(bool on)
{
	home.as_thread = on;
}

void script_access(void)
{
	enter(SCRIPT_ACCESS);
}

void script_mark(void)
{
	enter(SCRIPT_MARK);
}

/* --- this CPU's magazines ----------------------------------------------------------------------- */

void script_cpu(unsigned int cpu)
{
	NEED(cpu < home.nr_cpus);
	home.cpu = cpu;
}

void script_nr_cpus(unsigned int nr)
{
	NEED(nr && !home.out);
	home.nr_cpus = nr;
}

unsigned int port_cpu(void)
{
	return home.cpu;
}

void script_slow(bool on)
{
	home.slow = on;
}

unsigned int port_nr_cpus(void)
{
	return home.nr_cpus;
}

static bma_top_t *top_at(bma_cpu_ptr_t *cpus, size_t offset)
{
	struct bma_cpu *block = port_load(&cpus[home.cpu], acquire);

	NEED(offset < BMA_TOP_OFFSET(block->nr_slots, 0));
	return bma_top_at(block, offset);
}

static void *pop(bma_top_t *top)
{
	bma_obj_t *at = port_load(top, relaxed), obj = at[-1];

	if (obj)
		port_store(top, at - 1, relaxed);
	return obj;
}

bool port_cpu_fast(void)
{
	return !home.slow;
}

void *port_cpu_pop(bma_cpu_ptr_t *cpus, size_t offset)
{
	void *obj;

	enter(SCRIPT_POP);
	obj = fails(SCRIPT_POP) ? NULL : pop(top_at(cpus, offset));
	point(SCRIPT_POP);
	return obj;
}

static bool push(bma_top_t *top, void *obj)
{
	bma_obj_t *at = port_load(top, relaxed);

	if (bma_top_is_end(at))
		return false;
	*at = obj;
	port_store(top, at + 1, relaxed);
	return true;
}

bool port_cpu_push(bma_cpu_ptr_t *cpus, size_t offset, void *obj)
{
	bool done;

	NEED(obj);
	enter(SCRIPT_PUSH);
	done = !fails(SCRIPT_PUSH) && push(top_at(cpus, offset), obj);
	point(SCRIPT_PUSH);
	return done;
}

static bool replace(bma_top_t *top, bma_obj_t *old, bma_obj_t *new)
{
	if (port_load(top, relaxed) != old)
		return false;
	port_store(top, new, relaxed);
	return true;
}

bool port_cpu_replace(bma_cpu_ptr_t *cpus, struct bma_cpu *block, size_t offset, bma_obj_t *old,
		      bma_obj_t *new)
{
	bool done;

	enter(SCRIPT_REPLACE);
	done = !fails(SCRIPT_REPLACE) && port_load(&cpus[home.cpu], acquire) == block &&
	       replace(top_at(cpus, offset), old, new);
	point(SCRIPT_REPLACE);
	return done;
}

struct bma_cpu *port_cpu_block(bma_cpu_ptr_t *cpus, unsigned int *index)
{
	struct bma_cpu *block;

	enter(SCRIPT_BLOCK);
	*index = home.cpu;
	block = port_load(&cpus[home.cpu], acquire);
	point(SCRIPT_BLOCK);
	return block;
}

struct bma_cpu *port_cpu_detach(bma_cpu_ptr_t *cpus, unsigned int index, struct bma_cpu *fresh)
{
	struct bma_cpu *block = NULL;

	NEED(index < home.nr_cpus && fresh);
	enter(SCRIPT_DETACH);
	if (!fails(SCRIPT_DETACH))
		block = port_xchg(&cpus[index], fresh, acq_rel);
	point(SCRIPT_DETACH);
	return block;
}

/* --- pages -------------------------------------------------------------------------------------- */

static void arena_map(void)
{
	char *p = mmap(NULL, ARENA + ARENA_ALIGN, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	NEED(p != MAP_FAILED);
	arena = (char *)(((uintptr_t)p + ARENA_ALIGN - 1) & ~(ARENA_ALIGN - 1));
	script_debug_map(arena, ARENA);
}

/* Make what was used of the arena as if it never had been. */
static void arena_reset(void)
{
	size_t used = home.next ? (size_t)(home.next - arena) : 0;

	if (!arena)
		arena_map();
	script_debug_reset(used);
	if (used)
		NEED(mmap(arena, used, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == arena);
}

static struct area *area_new(size_t bytes, size_t align)
{
	char *base = (char *)(((uintptr_t)home.next + align - 1) & ~(align - 1));

	NEED(base + bytes <= arena + ARENA && home.nr_areas < MAX_AREAS);
	NEED(!mprotect(base, bytes, PROT_READ | PROT_WRITE));
	home.next = base + bytes;
	areas[home.nr_areas] = (struct area){ base, bytes };
	return &areas[home.nr_areas++];
}

/* The area that has @p, by bisection: bases ascend. */
static struct area *area_of(const void *p)
{
	size_t low = 0, high = home.nr_areas, middle;

	while (high - low > 1) {
		middle = (low + high) / 2;
		if (areas[middle].base <= (const char *)p)
			low = middle;
		else
			high = middle;
	}
	NEED(high && areas[low].base <= (const char *)p);
	return &areas[low];
}

static bool whole(size_t n, size_t unit)
{
	return n && !(n & (unit - 1));
}

void *port_pages_alloc(size_t bytes, size_t align, size_t beside)
{
	void *pages = NULL;

	NEED(whole(bytes, UNIT) && whole(align, UNIT) && !(align & (align - 1)));
	NEED(!beside || whole(beside, UNIT));
	enter(SCRIPT_PAGES_ALLOC);
	if (!fails(SCRIPT_PAGES_ALLOC)) {
		pages = area_new(bytes, align)->base;
		home.out += bytes;
	}
	point(SCRIPT_PAGES_ALLOC);
	return pages;
}

void port_pages_free(void *pages, size_t bytes)
{
	struct area *area = area_of(pages);

	NEED(script_is_ours(pages, bytes));
	NEED(area->base == pages && area->bytes == bytes);
	enter(SCRIPT_PAGES_FREE);
	if (home.on_free)
		home.on_free(pages, bytes);
	area->bytes = 0;
	home.out -= bytes;
	NEED(!madvise(pages, bytes, MADV_DONTNEED) && !mprotect(pages, bytes, PROT_NONE));
	point(SCRIPT_PAGES_FREE);
}

void port_pages_drop(void *pages, size_t bytes)
{
	struct area *area = area_of(pages);

	NEED(whole((uintptr_t)pages, PORT_META_PAGE) && whole(bytes, PORT_META_PAGE));
	NEED((char *)pages + bytes <= area->base + area->bytes);
	enter(SCRIPT_PAGES_DROP);
	NEED(!madvise(pages, bytes, MADV_DONTNEED));
	point(SCRIPT_PAGES_DROP);
}

size_t script_pages_out(void)
{
	return home.out;
}

void script_on_pages_free(void (*fn)(void *pages, size_t bytes))
{
	home.on_free = fn;
}

/* --- threads, and what core's own readers ask for --------------------------------------------------- */

bool bpf_rcu_readers_fence_ = true;
__thread struct bpf_rcu_reader_ *bpf_rcu_this_reader_;

static void run_as(unsigned int nr)
{
	home.thread[home.self].reader = bpf_rcu_this_reader_;
	home.self = nr;
	bpf_rcu_this_reader_ = home.thread[nr].reader;
	/* A number that is used again is another thread's. */
	home.thread[nr].dead = false;
}

void script_thread(unsigned int nr)
{
	NEED(nr && nr <= SCRIPT_THREADS);
	run_as(nr);
}

void script_thread_dies(unsigned int nr)
{
	NEED(nr && nr <= SCRIPT_THREADS && nr != home.self);
	home.thread[nr] = (struct thread){ .dead = true };
}

uint32_t port_thread_id(void)
{
	return home.self;
}

bool port_thread_dead(uint32_t id)
{
	bool dead;

	NEED(id && id < NR_THREADS);
	enter(SCRIPT_THREAD_DEAD);
	dead = home.thread[id].dead;
	point(SCRIPT_THREAD_DEAD);
	return dead;
}

bool port_readers_fence(void)
{
	bool done;

	enter(SCRIPT_FENCE);
	done = !fails(SCRIPT_FENCE);
	point(SCRIPT_FENCE);
	return done;
}

void script_barrier(void)
{
	enter(SCRIPT_BARRIER);
}

void port_yield(void)
{
	enter(SCRIPT_YIELD);
	point(SCRIPT_YIELD);
}

/* --- grace periods ------------------------------------------------------------------------------ */

const struct rcu_flavor_struct *script_flavor(void)
{
	return (const struct rcu_flavor_struct *)&home.driven;
}

struct bma_gp *script_gp(unsigned int which)
{
	NEED(which < SCRIPT_NR_GPS);
	if (which < NR_DRIVEN)
		return &home.driven[which];
	return bma_gp_nth(which == SCRIPT_RCU ? 0 : 1);
}

uint64_t script_gp_begun(struct bma_gp *gp)
{
	return port_load(gp->started, relaxed);
}

uint64_t script_gp_ended(struct bma_gp *gp)
{
	return port_load(&gp->completed, relaxed);
}

uint64_t script_gp_wanted(struct bma_gp *gp)
{
	return port_load(&gp->wanted, relaxed);
}

uint64_t script_gp_hurried(struct bma_gp *gp)
{
	return port_load(&gp->hurried, relaxed);
}

static bool running(struct bma_gp *gp)
{
	return script_gp_begun(gp) != script_gp_ended(gp);
}

static void go_in(unsigned int nr, unsigned int domain)
{
	unsigned int self = home.self;

	run_as(nr);
	bpf_rcu_enter_(domain);
	run_as(self);
}

static void go_out(unsigned int nr, unsigned int domain)
{
	unsigned int self = home.self;

	run_as(nr);
	bpf_rcu_leave_(domain);
	run_as(self);
}

void script_hold(struct bma_gp *gp, bool on)
{
	unsigned int *holder = &home.holder[gp->readers];

	NEED(!gp->driven && !*holder == on);
	home.quiet = true;
	if (on)
		go_in(HOLDER, gp->readers);
	else
		go_out(*holder, gp->readers);
	home.quiet = false;
	*holder = on ? HOLDER : 0;
}

static void relieve(struct bma_gp *gp)
{
	unsigned int *holder = &home.holder[gp->readers], old = *holder;

	if (!old)
		return;
	*holder = old == HOLDER ? HOLDER + 1 : HOLDER;
	go_in(*holder, gp->readers);
	go_out(old, gp->readers);
}

void script_gp_begin(struct bma_gp *gp)
{
	NEED(!running(gp));
	home.quiet = true;
	bma_gp_begin(gp);
	home.quiet = false;
}

bool script_gp_end(struct bma_gp *gp)
{
	bool free = true;

	NEED(running(gp));
	home.quiet = true;
	if (!gp->driven) {
		relieve(gp);
		free = !bma_gp_holder(gp);
	}
	if (free)
		bma_gp_end(gp);
	home.quiet = false;
	return free;
}

void script_gp_pass(struct bma_gp *gp, unsigned int n)
{
	while (n--) {
		if (gp->driven || !running(gp))
			script_gp_begin(gp);
		NEED(script_gp_end(gp));
	}
}

void script_on_sleep(void (*fn)(struct bma_gp *gp))
{
	home.on_sleep = fn;
}

struct bma_gp *port_gp_of_flavor(const struct rcu_flavor_struct *flavor)
{
	NEED(in_process_context() && flavor);
	enter(SCRIPT_FLAVOR);
	return fails(SCRIPT_FLAVOR) ? NULL : &home.driven[flavor == script_flavor() ? 0 : 1];
}

struct bma_gp *port_gp_driven(unsigned int n)
{
	return n < NR_DRIVEN ? &home.driven[n] : NULL;
}

void port_gp_kick(struct bma_gp *gp, bool hurry)
{
	NEED(gp->driven);
	enter(SCRIPT_KICK);
	home.op[SCRIPT_HURRY].calls += hurry;
	point(SCRIPT_KICK);
}

void port_gp_ended(struct bma_gp *gp)
{
	NEED(gp);
	enter(SCRIPT_ENDED);
	point(SCRIPT_ENDED);
}

bool port_gp_wait_begin(struct bma_gp *gp, bool *online)
{
	NEED(in_process_context() && gp->driven);
	enter(SCRIPT_WAIT);
	if (fails(SCRIPT_WAIT))
		return false;
	*online = true;
	point(SCRIPT_WAIT);
	return true;
}

void port_gp_wait_end(struct bma_gp *gp, bool online)
{
	NEED(in_process_context() && gp->driven && online);
	enter(SCRIPT_WAIT_END);
}

/* What driven domains have a thread for. */
static void drive(struct bma_gp *gp)
{
	home.quiet = true;
	NEED(bma_gp_wanted(gp) && "a wake-up was lost");
	if (!running(gp))
		script_gp_begin(gp);
	script_gp_end(gp);
}

void port_gp_sleep(struct bma_gp *gp, uint64_t completed)
{
	NEED(in_process_context());
	enter(SCRIPT_SLEEP);
	if (script_gp_ended(gp) != completed)
		return;
	if (home.on_sleep)
		home.on_sleep(gp);
	else if (gp->driven)
		drive(gp);
	/* Core's own are polled between sleeps; but what waits for nothing sleeps for ever. */
	home.sleeps = script_gp_ended(gp) != completed ? 0 : home.sleeps + 1;
	NEED(home.sleeps < MAX_SLEEPS && "it sleeps for ever");
}

/* --- the reclaimer ------------------------------------------------------------------------------ */

void port_init(void)
{
	NEED(in_process_context());
	enter(SCRIPT_INIT);
}

void port_reclaim_wake(void)
{
	enter(SCRIPT_WAKE);
	point(SCRIPT_WAKE);
}

void port_reclaim_round(void)
{
	NEED(in_process_context());
	enter(SCRIPT_ROUND);
	bma_reclaim();
}

void port_reclaim_lock(void)
{
	NEED(in_process_context());
	home.locked = true;
}

void port_reclaim_unlock(void)
{
	NEED(home.locked);
	home.locked = false;
}

/* --- the beginning ---------------------------------------------------------------------------------- */

/*
 * Core keeps the records of readers for good.  So that none lies in pages that a reset takes away, one for
 * each thread is made before there is any memory, from core's reserve; a reset makes them nobody's.
 */
static struct bpf_rcu_reader_ *record[NR_THREADS];

static void records_make(void)
{
	unsigned int i;

	script_fail(SCRIPT_PAGES_ALLOC, 1, SCRIPT_EVER);
	for (i = 1; i < NR_THREADS; i++) {
		run_as(i);
		bpf_rcu_this_reader_ = NULL;
		record[i] = bpf_rcu_reader_new_();
	}
}

static void records_reset(void)
{
	unsigned int i, domain;

	if (!record[1])
		records_make();
	for (i = 1; i < NR_THREADS; i++) {
		record[i]->owner = 0;
		for (domain = 0; domain < BPF_RCU_DOMAINS_; domain++)
			record[i]->word[domain] = 0;
	}
	bpf_rcu_this_reader_ = NULL;
}

static void gp_reset(struct bma_gp *gp)
{
	port_store(gp->started, SCRIPT_GP_FIRST - 1, relaxed);
	port_store(&gp->completed, SCRIPT_GP_FIRST - 1, relaxed);
	port_store(&gp->wanted, 0, relaxed);
	port_store(&gp->hurried, 0, relaxed);
	port_store(&gp->hurry, false, relaxed);
	port_store(&gp->fenced, 0, relaxed);
	port_store(&gp->polling, 0, relaxed);
}

void script_reset(void)
{
	unsigned int i;

	records_reset();
	arena_reset();
	script_later_reset();
	__builtin_memset(&home, 0, sizeof(home));
	home.nr_cpus = 1;
	home.next = arena;
	home.self = 1;
	bpf_rcu_readers_fence_ = true;
	for (i = 0; i < NR_DRIVEN; i++) {
		home.driven[i].driven = true;
		home.driven[i].started = &home.driven[i].started_if_driven;
	}
	for (i = 0; i < SCRIPT_NR_GPS; i++)
		gp_reset(script_gp(i));
}
