/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * protocol.h - the protocol that the review was about, in our own words, as far as its teardown goes
 *
 * Each CPU's cache has two lists that wait: for RCU (waiting) and, after that, for RCU tasks trace
 * (next_trace, then waiting_trace); and for each kind a flag that says whether a callback is on its way.
 * The RCU callback of a cache moves its objects to the list of the cache that they came from (tgt).
 * Destroy drains every list, looks at the flags, and frees the caches at once if none is set; else after
 * both barriers.
 *
 * A list is a word with a bit for each object, so that taking all and adding some are one step each, as
 * they are in an llist.
 *
 * The model checker runs it (seed.c), and real threads do (tests/process/test_jitter.c); who includes this
 * has port.h's accesses, and provides these three.
 */
#ifndef BMA_TEST_SEED_PROTOCOL_H
#define BMA_TEST_SEED_PROTOCOL_H

/* A race has shown itself. */
static void seed_fail(const char *what);
/* Until @over. */
static void seed_wait(const char *what, bool (*over)(void *arg));
/* What passes between a call of call_rcu_tasks_trace() and its callback. */
static void seed_grace_period(void);

#define NR_CACHES 2

struct cache {
	PORT_ATOMIC(uint64_t) waiting;
	PORT_ATOMIC(uint64_t) next_trace;
	PORT_ATOMIC(uint64_t) waiting_trace;
	PORT_ATOMIC(uint32_t) rcu_in_progress;
	PORT_ATOMIC(uint32_t) trace_in_progress;
	struct cache *tgt;
	bool rcu_queued, trace_queued; /* the callback, with the system */
};

static struct cache cache[NR_CACHES];
static PORT_ATOMIC(uint64_t) back; /* objects that are with the slab again */
static uint64_t all; /* objects that were handed to the protocol */
static PORT_ATOMIC(bool) caches_freed;
static bool rcu_flag_first;

static void touch(void)
{
	if (caches_freed)
		seed_fail("a callback runs on a cache that was freed");
}

static void free_all(uint64_t objs)
{
	if (back & objs)
		seed_fail("an object is freed twice");
	back |= objs;
}

static void call_rcu_trace(struct cache *c)
{
	uint64_t objs;

	touch();
	if (port_xchg(&c->trace_in_progress, 1, seq_cst))
		return;
	objs = port_xchg(&c->next_trace, 0, seq_cst);
	port_or(&c->waiting_trace, objs, seq_cst);
	c->trace_queued = true;
}

/* After an RCU grace period. */
static void rcu_callback(struct cache *c)
{
	uint64_t objs;

	touch();
	c->rcu_queued = false;
	objs = port_xchg(&c->waiting, 0, seq_cst);
	if (objs) {
		port_or(&c->tgt->next_trace, objs, seq_cst);
		call_rcu_trace(c->tgt);
	}
	touch();
	port_store(&c->rcu_in_progress, 0, seq_cst);
}

/* After a tasks-trace grace period. */
static void trace_callback(struct cache *c)
{
	touch();
	free_all(port_xchg(&c->waiting_trace, 0, seq_cst));
	touch();
	port_store(&c->trace_in_progress, 0, seq_cst);
	c->trace_queued = false;
}

static void run_callbacks(void)
{
	unsigned int i;

	for (i = 0; i < NR_CACHES; i++)
		if (cache[i].rcu_queued)
			rcu_callback(&cache[i]);
	seed_grace_period();
	for (i = 0; i < NR_CACHES; i++)
		if (cache[i].trace_queued)
			trace_callback(&cache[i]);
}

static void drain(struct cache *c)
{
	free_all(port_xchg(&c->next_trace, 0, seq_cst));
	free_all(port_xchg(&c->waiting_trace, 0, seq_cst));
	free_all(port_xchg(&c->waiting, 0, seq_cst));
}

static bool in_progress(struct cache *c)
{
	bool first, second;

	if (rcu_flag_first) {
		first = port_load(&c->rcu_in_progress, seq_cst);
		second = port_load(&c->trace_in_progress, seq_cst);
	} else {
		first = port_load(&c->trace_in_progress, seq_cst);
		second = port_load(&c->rcu_in_progress, seq_cst);
	}
	return first || second;
}

static bool no_callback(void *arg)
{
	unsigned int i;

	(void)arg;
	for (i = 0; i < NR_CACHES; i++)
		if (cache[i].rcu_in_progress || cache[i].trace_in_progress)
			return false;
	return true;
}

static void destroy(void)
{
	bool wait = false;
	unsigned int i;

	for (i = 0; i < NR_CACHES; i++) {
		drain(&cache[i]);
		wait |= in_progress(&cache[i]);
	}
	if (wait)
		seed_wait("rcu_barrier, and that of tasks trace", no_callback);
	caches_freed = true;
}

static void finish(void)
{
	run_callbacks();
	if (back != all)
		seed_fail("an object is lost");
}

/* One object waits for RCU in cache @nr, and its callback is on its way. */
static void wait_rcu(unsigned int nr, uint64_t obj)
{
	cache[nr].waiting = obj;
	cache[nr].rcu_in_progress = 1;
	cache[nr].rcu_queued = true;
	all |= obj;
}

static void setup_own(void)
{
	cache[0].tgt = &cache[0];
	cache[1].tgt = &cache[1];
}

static void setup_leak(void)
{
	setup_own();
	rcu_flag_first = true;
	wait_rcu(0, 1);
	cache[0].waiting_trace = 2;
	cache[0].trace_in_progress = 1;
	cache[0].trace_queued = true;
	all |= 2;
}

static void setup_order(void)
{
	setup_own();
	wait_rcu(0, 1);
}

static void setup_tgt(void)
{
	setup_own();
	cache[1].tgt = &cache[0];
	rcu_flag_first = true;
	wait_rcu(1, 1);
}

#endif /* BMA_TEST_SEED_PROTOCOL_H */
