// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * torture_alloc.c - allocators that come and go, and limits
 *
 * A short-lived allocator has a few slots of a kind to itself.  Its elements are published, replaced,
 * unlinked and freed, and then it is destroyed at once, with readers inside that hold what it gave
 * out.  Some have a destructor, some an account, some are kmalloc-like, some per-CPU.
 */
#define _GNU_SOURCE
#include "torture.h"

#include <stdlib.h>

#define NR_SHORT_SLOTS (NR_SLOTS - NR_OWN_SLOTS)
#define MAX_ROUNDS 4
#define NR_LARGE 16
#define NR_HOGGED 4096
#define ACCOUNT (1 << 20)

static _Atomic uint64_t serials;

/* Who allocates in slots of a kind: one at a time. */
static _Atomic bool taken[NR_KINDS];

struct dtor_ctx {
	uint64_t magic;
	_Atomic uint64_t calls;
};

static void dtor(void *obj, void *arg)
{
	struct dtor_ctx *ctx = arg;
	const struct element *e = obj;

	count(&ctx->calls, 1);
	if (peek(&e->magic) != ctx->magic && !torture.debug)
		torture_fail(F_DTOR, "%p is marked %llx, not %llx", obj,
			     (unsigned long long)peek(&e->magic), (unsigned long long)ctx->magic);
}

static void dtor_ctx_free(void *ctx)
{
	free(ctx);
}

static void give_dtor(struct pool *pool)
{
	struct dtor_ctx *ctx = calloc(1, sizeof(*ctx));

	if (!ctx)
		return;
	ctx->magic = pool->magic;
	bpf_mem_alloc_set_dtor(&pool->ma, dtor, dtor_ctx_free, ctx);
}

static void give_account(struct pool *pool)
{
	struct obj_cgroup *account = obj_cgroup_create("torture", ACCOUNT);

	if (!account)
		return;
	bpf_mem_alloc_set_objcg(&pool->ma, account);
	obj_cgroup_put(account);
	pool->may_refuse = true;
}

static bool open_pool(struct pool *pool, enum kind kind, uint64_t *random)
{
	uint64_t serial = atomic_fetch_add(&serials, 1) + 1;
	size_t size = MIN_SIZE + 8 * below(one_in(4, random) ? 500 : 32, random);
	int err = pool_init(pool, kind, serial, size, one_in(3, random));

	if (err) {
		if (!torture.params->faults[FAULT_MMAP])
			torture_fail(F_NULL, "an allocator cannot be made: error %d", -err);
		return false;
	}
	if (one_in(4, random))
		give_dtor(pool);
	if (one_in(4, random))
		give_account(pool);
	return true;
}

/* Into each of the short-lived slots another element. */
static void replace_all(struct kind_state *kind, struct pool *pool)
{
	struct element *old;

	for (unsigned int i = NR_OWN_SLOTS; i < NR_SLOTS; i++) {
		old = element_publish(&kind->slots[i], element_get(pool, GFP_NOWAIT));
		if (!old)
			continue;
		elements_retired(kind, &old, 1, false);
		element_free_rcu(pool, old);
	}
}

/* With readers of all kinds inside, some of which hold these elements. */
static void unlink_all(struct kind_state *kind, struct pool *pool)
{
	struct element *old[NR_SHORT_SLOTS];
	unsigned int i, n = 0;

	for (i = NR_OWN_SLOTS; i < NR_SLOTS; i++) {
		old[n] = element_publish(&kind->slots[i], NULL);
		n += old[n] != NULL;
	}
	elements_retired(kind, old, n, false);
	/* Nothing is allocated from here on, so there is no reuse that readers could see. */
	for (i = 0; i < n; i++)
		if (i % 2)
			element_free(pool, old[i]);
		else
			element_free_rcu(pool, old[i]);
}

static void live(struct kind_state *kind, struct pool *pool, uint64_t *random)
{
	/* free_rcu does not wait for sleepable readers, so theirs are replaced but once. */
	unsigned int rounds = kind->kind == TRACE ? 1 : 1 + below(MAX_ROUNDS, random);

	while (rounds--) {
		replace_all(kind, pool);
		nap_us(below(2000, random));
	}
	unlink_all(kind, pool);
}

/* One copy of it for each CPU: write them all, and read them back. */
static void use_percpu(uint64_t *random)
{
	struct bpf_mem_alloc ma;
	uint64_t *obj, *copy;
	int cpu;

	if (bpf_mem_alloc_init(&ma, 64, true))
		return;
	obj = bpf_mem_cache_alloc(&ma);
	for (cpu = 0; obj && (copy = bpf_per_cpu_ptr(obj, cpu)); cpu++)
		*copy = *random + (uint64_t)cpu;
	for (cpu = 0; obj && (copy = bpf_per_cpu_ptr(obj, cpu)); cpu++)
		if (*copy != *random + (uint64_t)cpu)
			torture_fail(F_CONTENTS, "copy %d of per-CPU object %p", cpu, (void *)obj);
	bpf_mem_cache_free_rcu(&ma, obj);
	bpf_mem_alloc_destroy(&ma);
}

/* Objects so large that each few of them take a mapping of their own, which may fail. */
static void use_large(uint64_t *random)
{
	size_t words = (64 << 10 << below(5, random)) / sizeof(uint64_t);
	uint64_t *obj[NR_LARGE];
	struct bpf_mem_alloc ma;
	unsigned int n = 0, nr = 1 + below(NR_LARGE, random);

	if (bpf_mem_alloc_init(&ma, (int)(words * sizeof(uint64_t)), false))
		return;
	for (; n < nr && (obj[n] = bpf_mem_cache_alloc(&ma)); n++)
		obj[n][0] = obj[n][words - 1] = (uintptr_t)obj[n];
	while (n--) {
		if (obj[n][0] != (uintptr_t)obj[n] || obj[n][words - 1] != (uintptr_t)obj[n])
			torture_fail(F_CONTENTS, "large object %p", (void *)obj[n]);
		bpf_mem_cache_free_rcu(&ma, obj[n]);
	}
	bpf_mem_alloc_destroy(&ma);
}

void *run_allocators(void *arg)
{
	struct torture_thread *t = arg;
	struct kind_state *kind;
	struct pool pool;

	while (going(t)) {
		kind = any_kind(&t->random);
		if (atomic_exchange(&taken[kind->kind], true)) {
			nap_us(100);
			continue;
		}
		if (open_pool(&pool, kind->kind, &t->random)) {
			live(kind, &pool, &t->random);
			bpf_mem_alloc_destroy(&pool.ma);
			count_disturbance(ALLOCATORS);
		}
		atomic_store(&taken[kind->kind], false);
		if (one_in(8, &t->random))
			use_percpu(&t->random);
		if (one_in(8, &t->random))
			use_large(&t->random);
		nap_us(below(2000, &t->random));
	}
	return NULL;
}

/* From no limbo at all to as much as there is. */
static size_t any_limit(uint64_t *random)
{
	static const size_t limits[] = { 0, 0, 1, 64 << 10, 256 << 10, 1 << 20 };

	return limits[below(ARRAY_SIZE(limits), random)];
}

/* Take much at once, keep it for a moment, and give it back: memory runs dry, then overflows. */
static void hog(struct kind_state *kind, uint64_t *random)
{
	static struct element *own[NR_HOGGED];
	static _Atomic bool busy;
	unsigned int n = 0, nr = below(NR_HOGGED, random);

	if (atomic_exchange(&busy, true))
		return;
	for (; n < nr && (own[n] = element_get(&kind->pool, GFP_NOWAIT)); n++)
		;
	nap_us(below(2000, random));
	while (n--) {
		element_check(own[n], &kind->pool, "a hog");
		if (n % 2)
			element_free(&kind->pool, own[n]);
		else
			element_free_rcu(&kind->pool, own[n]);
	}
	atomic_store(&busy, false);
}

void *run_limits(void *arg)
{
	struct torture_thread *t = arg;

	while (going(t)) {
		bpf_mem_alloc_set_limbo_limit(&any_kind(&t->random)->pool.ma,
					      any_limit(&t->random));
		if (one_in(8, &t->random))
			hog(any_kind(&t->random), &t->random);
		count_disturbance(LIMITS);
		nap_us(below(20000, &t->random));
	}
	for (unsigned int i = 0; i < NR_KINDS; i++)
		if (torture.params->kinds[i])
			bpf_mem_alloc_set_limbo_limit(&torture.kinds[i].pool.ma, 0);
	return NULL;
}
