// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * limbo.c - magazines that wait for readers
 *
 * Problem: objects freed with free_rcu become reusable after a grace period that began after the
 * free. In the seed that took a callback per cache and flags that said whether one was under way;
 * they are where its three races live.
 *
 * Idea: polled grace periods; kin: FreeBSD's SMR sequence numbers, Linux's
 * poll_state_synchronize_rcu(). A magazine that leaves its CPU gets a cookie, and then nothing is
 * in progress: there is a list with a number on it.  Who finds the number reached, takes the list.
 * Magazines wait in a few buckets by cookie, so that a grace period that ends releases a bucket by
 * one compare-and-swap, untouched.
 *
 * Objects and owners: a bucket is one word, {tag, cookie, first magazine}.
 *
 *	list		push		take all	walk
 *	bucket		any		any		reclaimer, after it took it
 *	by_rcu		any		reclaimer	-	(any: pop)
 *
 * Invariants:
 *   (1) A magazine's cookie is snapshot when no CPU can push to it any more.
 *   (2) The cookie of a bucket is the latest of its magazines'.  As cookie and list are in one
 *       word, a take that saw the cookie done takes nothing that came later.  (test_limbo.c: late
 *       pusher)
 *   (3) tail and total of the first magazine describe the list.  They are copied from the one below
 *       before the compare-and-swap; the tag makes it fail if that one was taken meanwhile.
 *
 *   (4) nr_limbo is never more than what is there: a magazine counts from after it was put in until
 *       before it is taken.  So a thread that is stopped for good in between (fork.c) makes the
 *       limit wider by what it had in hand, and does not have allocations refused for good.
 *
 * Two cookies can be pending in a domain at a time (the running grace period's and the next one's),
 * so with four buckets the one that a new cookie falls into is done, but for a late pusher's, which
 * is older: it then waits for the later one, safely.
 *
 * Ordering: bma_gp_snapshot()'s SNAPSHOT barrier orders every unlinking that came before the frees
 * in the magazine before the cookie; the bucket's release and acquire carry the magazine, and
 * bma_gp_done()'s acquire puts the readers' last reads before the reuse.
 *
 * Progress: lock-free.  Contexts: any.
 *
 * Not promised: that a ripe bucket is released at once; the next refill or the reclaimer does it.
 *
 * Held by: tests/core/test_limbo.c.
 */
#include "bma.h"

/*
 * With HURRY_BYTES of one cache in limbo, grace periods that a thread drives are not put off; not with
 * less, as each takes CPU time and interrupts those that free.  With POLL_BYTES, our own are polled:
 * seldom, as a poll interrupts every CPU that runs us, but so that what waits stays in the caches.  A
 * reader that it found inside is looked for again, which interrupts nobody, at each LOOKS-th part.  For
 * each YIELD_BYTES, who adds a magazine lets others run once: the CPU is what a reader that was
 * preempted inside its section, or who drives the grace periods, may be waiting for.  Our own readers
 * give it back as soon as they leave, so it is less for them.  At most MAX_YIELDS times in a grace
 * period.  With large objects, as many as so many objects have.
 */
#define HURRY_BYTES (1 << 20)
#define POLL_BYTES (192 << 10)
#define POLL_OBJS 4
#define LOOKS 8
#define YIELD_BYTES (256 << 10)
#define YIELD_BYTES_IF_DRIVEN (8 << 20)
#define YIELD_OBJS 64
#define MAX_YIELDS 256

static struct bma_magazine *first_of(uint64_t word)
{
	return (uint32_t)word ? bma_piece((uint32_t)word) : NULL;
}

static bma_cookie_t cookie_of(uint64_t word)
{
	return (bma_cookie_t)(word >> 32);
}

static uint64_t changed(uint64_t word, bma_cookie_t cookie, bma_handle_t first)
{
	return ((word >> 40) + 1) << 40 | (uint64_t)cookie << 32 | first;
}

static struct bma_gp *gp_of(const struct bpf_mem_cache *c)
{
	return c->group->gp;
}

/* Empty @bucket if it is ripe; returns the first of what was in it. */
static struct bma_magazine *take_ripe(struct bpf_mem_cache *c, bma_word_t *bucket)
{
	uint64_t word = port_load(bucket, acquire);
	struct bma_magazine *m = first_of(word);
	int64_t total;

	if (!m || !bma_gp_done(gp_of(c), cookie_of(word)))
		return NULL;
	total = port_load(&m->total, relaxed);
	port_sub(&c->nr_limbo, total, relaxed);
	if (!port_cas(bucket, &word, changed(word, 0, 0), acq_rel)) {
		port_add(&c->nr_limbo, total, relaxed);
		return NULL;
	}
	return bma_debugging() ? bma_debug_ripened(c, m) : m;
}

/* Head the list in @word by @m. */
static void link_before(struct bma_magazine *m, uint64_t word)
{
	struct bma_magazine *below = first_of(word);

	port_store(&m->next, (uint32_t)word, relaxed);
	port_store(&m->tail, below ? port_load(&below->tail, relaxed) : bma_handle(m), relaxed);
	port_store(&m->total, m->count + (below ? port_load(&below->total, relaxed) : 0), relaxed);
}

static int64_t bytes_in(const struct bpf_mem_cache *c)
{
	return port_load(&c->nr_limbo, relaxed) * (int64_t)c->size;
}

/* What of a group waits, but for the magazines that are on CPUs. */
int64_t bma_limbo_bytes(struct bma_group *g)
{
	int64_t bytes = 0;
	uint32_t i;

	for (i = 0; i < g->nr_caches; i++)
		bytes += bytes_in(&g->caches[i]);
	return bytes;
}

static int64_t at_least(int64_t bytes, int64_t objs, const struct bpf_mem_cache *c)
{
	return objs * c->size > bytes ? objs * c->size : bytes;
}

static void request(struct bpf_mem_cache *c, bma_cookie_t cookie)
{
	int64_t half = (int64_t)port_load(&c->group->limbo_limit, relaxed) / 2;
	bool hurry = bytes_in(c) > HURRY_BYTES || (half && bma_limbo_bytes(c->group) > half);

	bma_gp_request(gp_of(c), cookie, hurry);
}

/* Move all that is ripe to the depot, and ask again for what is not; true if there is such. */
bool bma_limbo_ripen(struct bpf_mem_cache *c)
{
	struct bma_magazine *m;
	bool pending = false;
	unsigned int i;
	uint64_t word;

	for (i = 0; i < BMA_NR_BUCKETS; i++) {
		m = take_ripe(c, &c->bucket[i]);
		if (m)
			bma_depot_splice(c, m);
		word = port_load(&c->bucket[i], relaxed);
		if (first_of(word)) {
			request(c, cookie_of(word));
			pending = true;
		}
	}
	return pending;
}

/* Have our own readers' grace periods go on, and take what is ripe. */
static void poll(struct bpf_mem_cache *c, bool thorough)
{
	bma_gp_poll(gp_of(c), thorough);
	bma_limbo_ripen(c);
	port_store(&c->poll_at, bytes_in(c), relaxed);
}

/* Once for so many bytes, so that it costs each object little. */
static void poll_if_due(struct bpf_mem_cache *c)
{
	int64_t step = at_least(POLL_BYTES, POLL_OBJS, c), bytes = bytes_in(c);

	/* Refills and the reclaimer take what is ripe, too. */
	if (bytes < port_load(&c->poll_at, relaxed))
		port_store(&c->poll_at, bytes, relaxed);
	if (bytes < port_load(&c->poll_at, relaxed) + step / LOOKS)
		return;
	if (bma_gp_look(gp_of(c)))
		bma_limbo_ripen(c);
	else if (bytes >= step)
		poll(c, false);
	port_store(&c->poll_at, bytes_in(c), relaxed);
}

/* Give up a magazine in hand to be reused after a grace period that begins from now on. */
void bma_limbo_put(struct bpf_mem_cache *c, struct bma_magazine *m)
{
	bma_cookie_t cookie = bma_gp_snapshot(gp_of(c)), later;
	bma_word_t *bucket = &c->bucket[cookie % BMA_NR_BUCKETS];
	struct bma_magazine *ripe = take_ripe(c, bucket);
	int64_t count = m->count;
	uint64_t word;

	/* At once: what a thread that ends here has in hand is lost until destroy. */
	if (ripe)
		bma_depot_splice(c, ripe);
	word = port_load(bucket, acquire);
	do {
		link_before(m, word);
		/* A pending cookie in our bucket that is not ours is a later one. */
		later = first_of(word) && !bma_gp_done(gp_of(c), cookie_of(word)) ?
				cookie_of(word) :
				cookie;
	} while (!port_cas(bucket, &word, changed(word, later, bma_handle(m)), acq_rel));
	port_add(&c->nr_limbo, count, relaxed);
	request(c, later);
	poll_if_due(c);
}

/*
 * A reader that stays inside gets nothing from our yields, so there are so many in a grace period.
 */
static bool may_yield(struct bpf_mem_cache *c)
{
	uint64_t ended = port_load(&gp_of(c)->completed, relaxed) << 32;
	uint64_t yields = port_load(&c->yields, relaxed);

	if (yields >> 32 != ended >> 32)
		yields = ended;
	port_store(&c->yields, yields + 1, relaxed);
	return (uint32_t)yields < MAX_YIELDS;
}

/* Called after a put by who freed, not by the reclaimer, which others wait for. */
void bma_limbo_let_readers_run(struct bpf_mem_cache *c)
{
	bool driven = gp_of(c)->driven;
	int64_t bytes = driven ? YIELD_BYTES_IF_DRIVEN : YIELD_BYTES;
	int64_t step = at_least(bytes, YIELD_OBJS, c), yields;

	for (yields = bytes_in(c) / step; yields > 0 && may_yield(c); yields--) {
		if (!driven)
			bma_readers_ask(gp_of(c));
		port_yield();
		/* Thorough: the reader that we yield to may be dead. */
		poll(c, true);
		if (bytes_in(c) < step)
			break;
	}
}

/* A magazine whose grace period has passed; what was ripe with it goes to the depot. */
struct bma_magazine *bma_limbo_get(struct bpf_mem_cache *c)
{
	struct bma_magazine *m = NULL;
	unsigned int i;

	for (i = 0; i < BMA_NR_BUCKETS && !m; i++)
		m = take_ripe(c, &c->bucket[i]);
	if (m)
		bma_fetch(m, sizeof(*m));
	if (m && port_load(&m->next, relaxed))
		bma_depot_splice(c, bma_piece(port_load(&m->next, relaxed)));
	return m;
}

/* Give up a magazine that has room, and no cookie yet. */
void bma_limbo_put_partial(struct bpf_mem_cache *c, struct bma_magazine *m)
{
	int64_t count = m->count;

	bma_stack_push(&c->by_rcu, m, m);
	port_add(&c->nr_limbo, count, relaxed);
}

/* One of these, or NULL. */
struct bma_magazine *bma_limbo_get_partial(struct bpf_mem_cache *c)
{
	struct bma_magazine *m;

	if (!bma_stack_first(&c->by_rcu))
		return NULL;
	/* How many are in it is known when we have it. */
	port_sub(&c->nr_limbo, c->capacity, relaxed);
	m = bma_stack_pop(&c->by_rcu);
	port_add(&c->nr_limbo, (int64_t)c->capacity - (m ? m->count : 0), relaxed);
	return m;
}

/* Give a cookie to the magazines that failed steps left without one. */
void bma_limbo_close(struct bpf_mem_cache *c)
{
	bma_handle_t h = bma_stack_take(&c->by_rcu);
	struct bma_magazine *m;

	while (h) {
		m = bma_piece(h);
		h = port_load(&m->next, relaxed);
		port_sub(&c->nr_limbo, (int64_t)m->count, relaxed);
		bma_limbo_put(c, m);
	}
}

/* Teardown: empty a bucket, ripe or not; returns the first of what was in it. */
bma_handle_t bma_limbo_take(struct bpf_mem_cache *c, unsigned int bucket)
{
	return (bma_handle_t)port_xchg(&c->bucket[bucket], 0, acquire);
}

void bma_wait_begin(struct bma_wait *wait, struct bma_gp *gp)
{
	wait->on = true;
	wait->rcu = bma_gp_snapshot(gp);
	wait->trace = bma_gp_snapshot(&bma_trace);
	bma_gp_request(gp, wait->rcu, false);
	bma_gp_request(&bma_trace, wait->trace, false);
}

static bool done_or_request(struct bma_gp *gp, bma_cookie_t cookie)
{
	if (bma_gp_done(gp, cookie))
		return true;
	bma_gp_request(gp, cookie, false);
	bma_gp_poll(gp, true);
	return bma_gp_done(gp, cookie);
}

/* Have both grace periods ended?  Then the wait is over. */
bool bma_wait_done(struct bma_wait *wait, struct bma_gp *gp)
{
	bool rcu = done_or_request(gp, wait->rcu);
	bool trace = done_or_request(&bma_trace, wait->trace);

	if (rcu && trace)
		wait->on = false;
	return rcu && trace;
}
