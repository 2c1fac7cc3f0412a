// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * torture_read.c - readers
 *
 * A section takes hold of some elements and looks at them again and again: the same generation, the
 * same contents, not too old.  Most are short; some yield, some sleep, and sleepable ones sleep long.
 * Sections nest, and ours of both kinds overlap.
 *
 * A sleepable reader also looks at elements of the other kinds.  They may be reused while it holds
 * them; but their memory stays in its allocator, so that the mark of that is there for as long as
 * it stays inside.
 */
#define _GNU_SOURCE
#include "torture.h"

#include <sched.h>
#include <urcu/flavor.h>

/*
 * liburcu is not instrumented, so the sanitizer is told what a section's end orders; the library's
 * home says the other half, after a grace period.
 */
#if TORTURE_TSAN
void __tsan_release(void *addr);
#else
#define __tsan_release(addr) ((void)(addr))
#endif

extern const struct rcu_flavor_struct urcu_qsbr_flavor;

#define MAX_HOLDS 4
#define MAX_NESTING 3
/* How long readers stay, at most, in us. */
#define NAP 1000
#define SLEEPABLE_NAP 50000
#define STALL_MIN 50000
#define STALL_MAX 1500000

static bool is_qsbr(const struct kind_state *kind)
{
	return kind->flavor == &urcu_qsbr_flavor;
}

void kind_register(const struct kind_state *kind)
{
	if (kind->flavor)
		kind->flavor->register_thread();
}

void kind_unregister(const struct kind_state *kind)
{
	if (kind->flavor)
		kind->flavor->unregister_thread();
}

void section_enter(const struct kind_state *kind)
{
	if (is_qsbr(kind))
		kind->flavor->thread_online();
	if (kind->flavor)
		kind->flavor->read_lock();
	else if (kind->kind == TRACE)
		rcu_read_lock_trace();
	else
		bpf_rcu_read_lock();
}

void section_leave(const struct kind_state *kind)
{
	if (kind->flavor) {
		__tsan_release((void *)(uintptr_t)kind->flavor);
		kind->flavor->read_unlock();
	} else if (kind->kind == TRACE) {
		rcu_read_unlock_trace();
	} else {
		bpf_rcu_read_unlock();
	}
	if (is_qsbr(kind))
		kind->flavor->thread_offline();
}

static void linger(uint64_t *random, unsigned int longest)
{
	if (one_in(32, random))
		nap_us(below(longest, random));
	else if (one_in(8, random))
		sched_yield();
}

static void look(struct kind_state *kind, uint64_t *random, unsigned int longest)
{
	unsigned int i, nr = 1 + below(MAX_HOLDS, random), looks = 1 + below(8, random);
	struct hold hold[MAX_HOLDS];

	for (i = 0; i < nr; i++)
		hold_begin(&hold[i], kind, below(NR_SLOTS, random));
	while (looks--) {
		for (i = 0; i < nr; i++)
			hold_check(&hold[i], random);
		linger(random, longest);
	}
	for (i = 0; i < nr; i++)
		hold_end(&hold[i]);
}

/* As a sleepable reader, at elements that may be reused. */
static void look_at_type(uint64_t *random, unsigned int longest)
{
	struct kind_state *kind = any_kind(random);
	struct hold hold;
	int looks;

	hold_begin(&hold, kind, below(NR_SLOTS, random));
	for (looks = 0; looks < 4; looks++) {
		hold_check_type(&hold);
		linger(random, longest);
	}
	hold_check_type(&hold);
}

void read_section(struct kind_state *kind, uint64_t *random, unsigned int longest)
{
	bool both = !kind->flavor && one_in(8, random);
	struct kind_state *other = &torture.kinds[kind->kind == TRACE ? OWN : TRACE];
	unsigned int i, nesting = one_in(4, random) ? 1 + below(MAX_NESTING, random) : 1;

	for (i = 0; i < nesting; i++)
		section_enter(kind);
	if (both)
		section_enter(other);
	look(kind, random, longest);
	if (kind->kind == TRACE && !torture.debug)
		look_at_type(random, longest);
	if (both)
		section_leave(other);
	for (i = 0; i < nesting; i++)
		section_leave(kind);
	count(&kind->counts->sections, 1);
}

void *run_reader(void *arg)
{
	struct torture_thread *t = arg;
	unsigned int longest = t->kind->kind == TRACE ? SLEEPABLE_NAP : NAP;

	kind_register(t->kind);
	while (going(t))
		read_section(t->kind, &t->random, longest);
	kind_unregister(t->kind);
	return NULL;
}

/* A reader of any kind that stays inside. */
static void stall(struct torture_thread *t, struct kind_state *kind)
{
	uint64_t until = now_ns() + 1000ull * (STALL_MIN + below(STALL_MAX, &t->random));
	struct hold hold, other = { .e = NULL };

	section_enter(kind);
	hold_begin(&hold, kind, below(NR_SLOTS, &t->random));
	if (kind->kind == TRACE && !torture.debug)
		hold_begin(&other, any_kind(&t->random), below(NR_SLOTS, &t->random));
	while (now_ns() < until && going(t)) {
		hold_check(&hold, &t->random);
		hold_check_type(&other);
		nap_us(below(5000, &t->random));
	}
	hold_end(&hold);
	section_leave(kind);
}

void *run_stall(void *arg)
{
	struct torture_thread *t = arg;
	struct kind_state *kind;

	while (going(t)) {
		kind = any_kind(&t->random);
		kind_register(kind);
		stall(t, kind);
		kind_unregister(kind);
		count_disturbance(STALL);
		nap_us(below(500000, &t->random));
	}
	return NULL;
}
