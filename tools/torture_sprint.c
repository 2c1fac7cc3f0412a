// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * torture_sprint.c - a reader and an updater of our own kind that race without pause
 *
 * A grace period must not overlook a reader whose word is still on its way to memory: barrier SCAN
 * in docs/ordering.md.  That way takes some hundred nanoseconds at most, so nothing that sleeps,
 * yields or does much else between two steps will meet it.  Here both do next to nothing: the
 * updater unlinks, takes a cookie, polls it, and has its element back; the reader enters with a store
 * buffer full of stores that miss the caches, takes hold, looks for a moment, and leaves.
 *
 * They sprint for a short time now and then, as they leave little of two CPUs to others.
 */
#define _GNU_SOURCE
#include "torture.h"

#include <sched.h>

#define SPRINT_NS 20000000
#define LOOKS 64
#define COLD_WORDS (1u << 22)
#define COLD_STORES 32

struct sprint {
	struct kind_state *own;
	slot_t slot;
	_Atomic bool running, over;
	uint64_t random; /* the reader's */
	pthread_t reader;
};

static void fill_store_buffer(uint64_t *random)
{
	static _Atomic uint64_t memory[COLD_WORDS];

	for (int i = 0; i < COLD_STORES; i++)
		poke(&memory[below(COLD_WORDS, random)], 1);
}

static void look(const struct element *e)
{
	uint64_t generation = peek(&e->generation), now = generation, pipe = 0;

	for (int i = 0; i < LOOKS && now == generation && pipe < 2; i++) {
		pipe = peek(&e->pipe);
		now = peek(&e->generation);
	}
	if (now != generation)
		torture_fail(F_REUSED, "in a sprint: %p, number %llu when found, is %llu",
			     (const void *)e, (unsigned long long)generation,
			     (unsigned long long)now);
	else if (pipe > 1)
		torture_fail(F_OLD, "in a sprint: %p, pipe %llu", (const void *)e,
			     (unsigned long long)pipe);
}

static void *read_on(void *arg)
{
	struct sprint *s = arg;
	const struct element *e;

	while (!atomic_load(&s->over)) {
		if (!atomic_load(&s->running)) {
			nap_us(500);
			continue;
		}
		fill_store_buffer(&s->random);
		bpf_rcu_read_lock();
		e = atomic_load_explicit(&s->slot, memory_order_acquire);
		if (e)
			look(e);
		bpf_rcu_read_unlock();
		count(&s->own->counts->sections, 1);
	}
	return NULL;
}

/* Put @e, or nothing, in the place of what is there, and have that back when nobody reads it. */
static void replace(struct sprint *s, struct element *e)
{
	bpf_rcu_cookie cookie;

	e = element_publish(&s->slot, e);
	if (!e)
		return;
	element_age(e, 1);
	cookie = bpf_rcu_get_state();
	while (!bpf_rcu_poll_state(cookie))
		sched_yield();
	element_age(e, 2);
	element_free(&s->own->pool, e);
	count(&s->own->counts->updates, 1);
}

static void sprint(struct torture_thread *t, struct sprint *s)
{
	uint64_t start_ns = now_ns();
	struct element *e;

	atomic_store(&s->running, true);
	while (going(t) && now_ns() - start_ns < SPRINT_NS) {
		e = element_get(&s->own->pool, 0);
		if (e)
			replace(s, e);
	}
	replace(s, NULL);
	atomic_store(&s->running, false);
}

void *run_sprint(void *arg)
{
	struct torture_thread *t = arg;
	struct sprint s = { .own = &torture.kinds[OWN], .random = next_random(&t->random) };

	if (!torture.params->kinds[OWN] || thread_create(&s.reader, read_on, &s))
		return NULL;
	while (going(t)) {
		sprint(t, &s);
		count_disturbance(SPRINT);
		nap_us(below(200000, &t->random));
	}
	atomic_store(&s.over, true);
	pthread_join(s.reader, NULL);
	return NULL;
}
