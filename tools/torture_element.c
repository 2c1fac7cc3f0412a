// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * torture_element.c - elements: who owns them, what is in them, how old they are
 *
 * Owner.  Who allocates an object exchanges its owner word for one of his own, who frees it for
 * FREE: to find it owned at the first, or not owned at the second, is a failure.  The word lies in
 * the object, as a freed object keeps what it held; what debug mode writes there is not OWNED.
 *
 * Age.  As in rcutorture, pipe is 0 while an element is published and 1 when it is unlinked; each
 * grace period that begins after the unlinking and ends adds one.  No reader that found it may see
 * more than 1.  Three ways to count:
 *   - who unlinked it waits for grace periods itself, with the element still its own;
 *   - the cookie of a grace period after the unlinking: readers of our own kinds poll it;
 *   - the number of grace periods that had ended, from the allocator's statistics.  One more may
 *     have been under way; the next one after that began later.
 */
#define _GNU_SOURCE
#include "torture.h"

#include <stdarg.h>
#include <stdio.h>

#include <bma/stats.h>

const char *const failure_names[NR_FAILURES] = {
	[F_REUSED] = "memory reused under a reader",
	[F_OLD] = "a reader found what a grace period ago was unlinked",
	[F_CONTENTS] = "contents changed",
	[F_TYPE] = "memory of no allocator, or of another one",
	[F_UNMAPPED] = "access to unmapped memory",
	[F_OWNERS] = "an object with two owners",
	[F_FREE] = "an object that somebody else freed",
	[F_ERRNO] = "errno changed in a signal handler",
	[F_NULL] = "an allocation failed without a reason",
	[F_DTOR] = "a destructor called wrongly",
	[F_CALLBACK] = "a barrier that did not wait for callbacks",
	[F_CHILD] = "a forked child failed",
	[F_LEFT] = "something left at the end, or lost",
	[F_HANG] = "no progress",
	[F_DIED] = "the run died",
};

#define MAGIC (0xb3a5ull << 48)
#define OWNED (0xfeedull << 48)
#define TAG (0xffffull << 48)
#define FREE 0

static _Atomic uint64_t generations;

void torture_fail(enum failure what, const char *format, ...)
{
	struct torture_finding *f = &torture.shared->findings[what];
	va_list args;

	atomic_fetch_add(&f->count, 1);
	if (atomic_exchange(&f->described, true))
		return;
	va_start(args, format);
	vsnprintf(f->first, sizeof(f->first), format, args);
	va_end(args);
}

static uint64_t magic_of(enum kind kind, uint64_t serial)
{
	return MAGIC | (uint64_t)kind << 40 | serial;
}

int pool_init(struct pool *pool, enum kind kind, uint64_t serial, size_t size, bool sized)
{
	const struct rcu_flavor_struct *flavor = torture.kinds[kind].flavor;
	int fixed = sized ? 0 : (int)size;

	*pool = (struct pool){
		.kind = kind, .sized = sized, .size = size, .magic = magic_of(kind, serial)
	};
	if (flavor)
		return bpf_mem_alloc_init_flavor(&pool->ma, fixed, false, flavor);
	return bpf_mem_alloc_init(&pool->ma, fixed, false);
}

static size_t words(const struct pool *pool)
{
	return (pool->size - sizeof(struct element)) / sizeof(uint64_t);
}

static uint64_t word(uint64_t generation, size_t i)
{
	return (generation + i) * 0x9e3779b97f4a7c15u;
}

static void *allocate(struct pool *pool, gfp_t flags)
{
	if (pool->sized)
		return bpf_mem_alloc(&pool->ma, pool->size);
	if (flags)
		return bpf_mem_cache_alloc_flags(&pool->ma, flags);
	return bpf_mem_cache_alloc(&pool->ma);
}

/* An allocation returned NULL. */
static void refused(const struct pool *pool)
{
	const struct torture_params *p = torture.params;

	if (!pool->may_refuse && !p->disturbers[LIMITS] && !p->faults[FAULT_MMAP])
		torture_fail(F_NULL, "kind %s, %zu bytes", kind_names[pool->kind], pool->size);
	count(&torture.kinds[pool->kind].counts->refusals, 1);
}

static void claim(struct pool *pool, struct element *e, uint64_t generation)
{
	uint64_t owner =
		atomic_exchange_explicit(&e->owner, OWNED | generation, memory_order_relaxed);
	uint64_t magic = peek(&e->magic);

	if ((owner & TAG) == OWNED)
		torture_fail(F_OWNERS, "kind %s: %p, allocated as number %llu, belongs to %llu",
			     kind_names[pool->kind], (void *)e, (unsigned long long)generation,
			     (unsigned long long)(owner & ~TAG));
	/* Zero: fresh from the slab. */
	if (magic && magic != pool->magic && !torture.debug)
		torture_fail(F_TYPE, "kind %s: %p, just allocated, has %llx where %llx should be",
			     kind_names[pool->kind], (void *)e, (unsigned long long)magic,
			     (unsigned long long)pool->magic);
	poke(&e->magic, pool->magic);
}

struct element *element_get(struct pool *pool, gfp_t flags)
{
	uint64_t generation;
	struct element *e = allocate(pool, flags);
	size_t i;

	if (!e) {
		refused(pool);
		return NULL;
	}
	generation = atomic_fetch_add_explicit(&generations, 1, memory_order_relaxed) + 1;
	claim(pool, e, generation);
	poke(&e->generation, generation);
	poke(&e->cookie, 0);
	poke(&e->ended, 0);
	poke(&e->pipe, 0);
	for (i = 0; i < words(pool); i++)
		e->body[i] = word(generation, i);
	return e;
}

/* The first word from @at on, in steps, that is not as it should be; words() if there is none. */
static size_t wrong_word(const struct element *e, const struct pool *pool, size_t at, size_t step)
{
	const volatile uint64_t *body = e->body;
	uint64_t generation = peek(&e->generation);
	size_t nr = words(pool);

	for (; at < nr; at += step)
		if (body[at] != word(generation, at))
			return at;
	return nr;
}

static void contents_wrong(const struct element *e, const struct pool *pool, size_t at,
			   const char *who)
{
	torture_fail(F_CONTENTS, "kind %s, %s: word %zu of %p, number %llu, is %llx",
		     kind_names[pool->kind], who, at, (const void *)e,
		     (unsigned long long)peek(&e->generation), (unsigned long long)e->body[at]);
}

void element_check(const struct element *e, const struct pool *pool, const char *who)
{
	size_t at = wrong_word(e, pool, 0, 1);

	if (at < words(pool))
		contents_wrong(e, pool, at, who);
}

static void disown(struct pool *pool, struct element *e)
{
	uint64_t generation = peek(&e->generation);
	uint64_t owner = atomic_exchange_explicit(&e->owner, FREE, memory_order_relaxed);

	if (owner != (OWNED | generation))
		torture_fail(F_FREE, "kind %s: %p, freed as number %llu, has owner %llx",
			     kind_names[pool->kind], (void *)e, (unsigned long long)generation,
			     (unsigned long long)owner);
}

void element_free(struct pool *pool, struct element *e)
{
	disown(pool, e);
	if (pool->sized)
		bpf_mem_free(&pool->ma, e);
	else
		bpf_mem_cache_free(&pool->ma, e);
}

void element_free_rcu(struct pool *pool, struct element *e)
{
	disown(pool, e);
	if (pool->sized)
		bpf_mem_free_rcu(&pool->ma, e);
	else
		bpf_mem_cache_free_rcu(&pool->ma, e);
}

struct element *element_publish(slot_t *slot, struct element *e)
{
	return atomic_exchange_explicit(slot, e, memory_order_acq_rel);
}

void element_age(struct element *e, unsigned int pipe)
{
	poke(&e->pipe, pipe);
}

static uint64_t ended_now(struct kind_state *kind)
{
	struct bpf_mem_stats stats;

	bpf_mem_alloc_stats(&kind->pool.ma, &stats);
	return stats.grace_periods;
}

void elements_retired(struct kind_state *kind, struct element *const *e, unsigned int nr,
		      bool exact)
{
	/* A full barrier, too: what is read next is read after the unlinking is visible. */
	uint64_t cookie = kind->kind == TRACE ? rcu_tasks_trace_get_state() : bpf_rcu_get_state();
	uint64_t ended = exact && kind->kind != TRACE ? ended_now(kind) + 1 : 0;

	for (unsigned int i = 0; i < nr; i++) {
		poke(&e[i]->pipe, 1);
		if (!kind->flavor)
			poke(&e[i]->cookie, cookie);
		poke(&e[i]->ended, ended);
	}
}

static double held_ms(const struct hold *h)
{
	return (double)(now_ns() - h->since_ns) / 1e6;
}

void hold_begin(struct hold *h, struct kind_state *kind, unsigned int slot)
{
	*h = (struct hold){ .kind = kind, .slot = slot };
	h->e = atomic_load_explicit(&kind->slots[slot], memory_order_acquire);
	if (!h->e)
		return;
	h->magic = peek(&h->e->magic);
	h->generation = peek(&h->e->generation);
	h->since_ns = now_ns();
}

static void reused(const struct hold *h)
{
	torture_fail(F_REUSED,
		     "kind %s, slot %u: %p, number %llu when found, is %llu after %.3f ms inside",
		     kind_names[h->kind->kind], h->slot, (const void *)h->e,
		     (unsigned long long)h->generation, (unsigned long long)peek(&h->e->generation),
		     held_ms(h));
}

/* Elements of allocators that come and go are not all of one size: only who made it knows. */
static bool size_is_known(const struct hold *h)
{
	return h->magic == h->kind->pool.magic;
}

void hold_check(const struct hold *h, uint64_t *random)
{
	const struct pool *pool = &h->kind->pool;
	size_t at, step;

	if (!h->e)
		return;
	hold_check_type(h);
	if (peek(&h->e->generation) != h->generation) {
		reused(h);
		return;
	}
	if (!size_is_known(h))
		return;
	step = words(pool) / 16 + 1;
	at = wrong_word(h->e, pool, below((unsigned int)step, random), step);
	if (at < words(pool)) {
		if (peek(&h->e->generation) != h->generation)
			reused(h);
		else
			contents_wrong(h->e, pool, at, "in a section");
	}
}

void hold_check_type(const struct hold *h)
{
	uint64_t magic;

	if (!h->e)
		return;
	magic = peek(&h->e->magic);
	if (magic == h->magic && (magic & ~((1ull << 40) - 1)) == magic_of(h->kind->kind, 0))
		return;
	torture_fail(F_TYPE, "kind %s, slot %u: %p is marked %llx, then %llx after %.3f ms inside",
		     kind_names[h->kind->kind], h->slot, (const void *)h->e,
		     (unsigned long long)h->magic, (unsigned long long)magic, held_ms(h));
}

/* Grace periods since it was unlinked, and one. */
static uint64_t pipe_of(const struct hold *h)
{
	uint64_t pipe = peek(&h->e->pipe), cookie = peek(&h->e->cookie);
	uint64_t ended = peek(&h->e->ended), now = peek(&h->kind->counts->ended);

	if (cookie && pipe < 2 &&
	    (h->kind->kind == TRACE ? rcu_tasks_trace_poll_state(cookie) :
				      bpf_rcu_poll_state(cookie)))
		pipe = 2;
	if (ended && now > ended && now - (ended - 1) > pipe)
		pipe = now - (ended - 1);
	return pipe;
}

void hold_end(const struct hold *h)
{
	uint64_t pipe;

	if (!h->e)
		return;
	pipe = pipe_of(h);
	/* What was read is of this element if it is still this one. */
	if (peek(&h->e->generation) != h->generation) {
		reused(h);
		return;
	}
	if (pipe > 1)
		torture_fail(F_OLD, "kind %s, slot %u: %p, pipe %llu after %.3f ms inside",
			     kind_names[h->kind->kind], h->slot, (const void *)h->e,
			     (unsigned long long)pipe, held_ms(h));
	count(&h->kind->counts->pipe[pipe < PIPE_LEN ? pipe : PIPE_LEN], 1);
}
