// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * source_bma.c - bma, fixed-size and kmalloc-like, with its built-in readers
 */
#define _GNU_SOURCE
#include "source.h"

#include <string.h>

#include <bma/rcu.h>
#include <bma/stats.h>

struct bpf_mem_alloc source_ma;

static bool open_with(struct work *work, int size)
{
	int err = bpf_mem_alloc_init(&source_ma, size, false);

	if (err)
		bench_fault(work->run, "cannot make an allocator: %s", strerror(-err));
	return !err;
}

bool bma_open(struct work *work)
{
	return open_with(work, (int)work->run->params.size);
}

static bool kmalloc_open(struct work *work)
{
	return open_with(work, 0);
}

/* Objects in use are a fault of ours, so that it did not measure what it should have. */
void bma_close(struct work *work)
{
	struct bpf_mem_stats stats;

	bpf_mem_alloc_stats(&source_ma, &stats);
	if (stats.objs_in_use || stats.bad_frees)
		work_fault(work, "the books do not close");
	bpf_mem_alloc_destroy(&source_ma);
}

static uint64_t bma_limbo(const struct work *work)
{
	struct bpf_mem_stats stats;

	(void)work;
	bpf_mem_alloc_stats(&source_ma, &stats);
	return stats.bytes_waiting_rcu;
}

static size_t bma_read(struct worker *t)
{
	(void)t;
	for (int i = 0; i < WORK_STEP; i++) {
		bpf_rcu_read_lock();
		__asm__ volatile("" ::: "memory");
		bpf_rcu_read_unlock();
	}
	return WORK_STEP;
}

static void bma_synchronize(struct worker *t)
{
	(void)t;
	bpf_rcu_synchronize();
}

static ALWAYS_INLINE void *bma_alloc(struct worker *t)
{
	(void)t;
	return bpf_mem_cache_alloc(&source_ma);
}

static ALWAYS_INLINE void bma_free(struct worker *t, void *object)
{
	(void)t;
	bpf_mem_cache_free(&source_ma, object);
}

static ALWAYS_INLINE void bma_free_rcu(struct worker *t, void *object)
{
	(void)t;
	bpf_mem_cache_free_rcu(&source_ma, object);
}

static ALWAYS_INLINE void *kmalloc_alloc(struct worker *t)
{
	return bpf_mem_alloc(&source_ma, t->size);
}

static ALWAYS_INLINE void kmalloc_free(struct worker *t, void *object)
{
	(void)t;
	bpf_mem_free(&source_ma, object);
}

static ALWAYS_INLINE void kmalloc_free_rcu(struct worker *t, void *object)
{
	(void)t;
	bpf_mem_free_rcu(&source_ma, object);
}

DEFINE_LOOPS(fixed, bma_alloc, bma_free)
DEFINE_LOOPS(fixed_rcu, bma_alloc, bma_free_rcu)
DEFINE_LOOPS(kmalloc, kmalloc_alloc, kmalloc_free)
DEFINE_LOOPS(kmalloc_rcu, kmalloc_alloc, kmalloc_free_rcu)

#define BMA_READERS                                                                                \
	.waits = true, .limbo = bma_limbo, .read = bma_read, .synchronize = bma_synchronize

const struct source source_bma_free = {
	.open = bma_open,
	.close = bma_close,
	LOOPS(fixed, bma_alloc, bma_free),
};

const struct source source_bma_free_rcu = {
	BMA_READERS,
	.open = bma_open,
	.close = bma_close,
	LOOPS(fixed_rcu, bma_alloc, bma_free_rcu),
};

const struct source source_kmalloc_free = {
	.open = kmalloc_open,
	.close = bma_close,
	LOOPS(kmalloc, kmalloc_alloc, kmalloc_free),
};

const struct source source_kmalloc_free_rcu = {
	BMA_READERS,
	.open = kmalloc_open,
	.close = bma_close,
	LOOPS(kmalloc_rcu, kmalloc_alloc, kmalloc_free_rcu),
};
