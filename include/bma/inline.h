/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * inline.h - a hit of alloc and of free in the caller's own code
 *
 * Private: bpf_mem_alloc.h includes it, and says when.  Each function does what the library's of the
 * same name does where the CPU's magazine is neither empty nor full, and else calls the library, which
 * begins anew.  So nothing but speed differs: who finds no restartable sequences, is in debug mode, or
 * passes what is no object, comes to the library by the same way.
 */
#ifndef BMA_INLINE_H
#define BMA_INLINE_H

#include <bma/bpf_mem_alloc.h>
#include <bma/inline-rseq.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The library's, but for the hit. */
BMA_HOT_ void *bpf_mem_alloc_(struct bpf_mem_alloc *ma, size_t size);
BMA_HOT_ void bpf_mem_free_(struct bpf_mem_alloc *ma, void *ptr);
BMA_HOT_ void bpf_mem_free_rcu_(struct bpf_mem_alloc *ma, void *ptr);
BMA_HOT_ void *bpf_mem_cache_alloc_(struct bpf_mem_alloc *ma);
BMA_HOT_ void *bpf_mem_cache_alloc_flags_(struct bpf_mem_alloc *ma, gfp_t flags);
BMA_HOT_ void bpf_mem_cache_free_(struct bpf_mem_alloc *ma, void *ptr);
BMA_HOT_ void bpf_mem_cache_free_rcu_(struct bpf_mem_alloc *ma, void *ptr);

#ifdef BMA_INLINES_HITS_

#define BMA_LIKELY_(x) __builtin_expect(!!(x), 1)

BMA_INLINE_ void *bma_pop_(struct bpf_mem_alloc *ma, size_t offset)
{
	return bma_rseq_if_below_top_pop_it_(__atomic_load_n(&ma->cpus, __ATOMIC_ACQUIRE),
					     bma_inline_rseq_, offset);
}

BMA_INLINE_ bool bma_push_(struct bpf_mem_alloc *ma, size_t offset, void *obj)
{
	return bma_rseq_if_not_end_push_(__atomic_load_n(&ma->cpus, __ATOMIC_ACQUIRE),
					 bma_inline_rseq_, offset, obj);
}

/* The cache whose span holds @ptr, or NULL; for any value of @ptr. */
BMA_INLINE_ const struct bma_cache_ *bma_cache_at_(const void *ptr)
{
	uintptr_t at = (uintptr_t)ptr;
	void *const *leaf;

	if (!BMA_LIKELY_(at >> BMA_LEAF_BITS_ < 1u << (BMA_ADDR_BITS_ - BMA_LEAF_BITS_)))
		return NULL;
	leaf = __atomic_load_n(&bma_inline_1_.leaf[at >> BMA_LEAF_BITS_], __ATOMIC_ACQUIRE);
	if (!BMA_LIKELY_(leaf))
		return NULL;
	at = (at & ((1ull << BMA_LEAF_BITS_) - 1)) >> BMA_UNIT_SHIFT_;
	return (const struct bma_cache_ *)__atomic_load_n(&leaf[at], __ATOMIC_ACQUIRE);
}

/* bma_is_obj() of core/bma.h. */
BMA_INLINE_ bool bma_begins_at_(const struct bma_cache_ *c, const void *ptr)
{
	return ((uintptr_t)ptr & c->span_mask) * c->inverse < c->bound;
}

BMA_INLINE_ bool bma_free_hits_(struct bpf_mem_alloc *ma, void *ptr, size_t which)
{
	const struct bma_cache_ *c = bma_cache_at_(ptr);

	return BMA_LIKELY_((uintptr_t)c - (uintptr_t)ma->caches < ma->bytes_caches) &&
	       BMA_LIKELY_(bma_begins_at_(c, ptr)) && bma_push_(ma, c->slot + which, ptr);
}

BMA_INLINE_ bool bma_cache_free_hits_(struct bpf_mem_alloc *ma, void *ptr, size_t which)
{
	const struct bma_cache_ *c = bma_cache_at_(ptr);

	return BMA_LIKELY_(c && c == (const struct bma_cache_ *)(const void *)ma->caches) &&
	       BMA_LIKELY_(bma_begins_at_(c, ptr)) && bma_push_(ma, BMA_FIRST_SLOT_ + which, ptr);
}

/* --- bpf_mem_alloc.h's --------------------------------------------------------------------------- */

BMA_INLINE_ void *bpf_mem_cache_alloc(struct bpf_mem_alloc *ma)
{
	void *obj = bma_pop_(ma, BMA_FIRST_SLOT_);

	return BMA_LIKELY_(obj) ? obj : bpf_mem_cache_alloc_(ma);
}

BMA_INLINE_ void *bpf_mem_cache_alloc_flags(struct bpf_mem_alloc *ma, gfp_t flags)
{
	void *obj = bma_pop_(ma, BMA_FIRST_SLOT_);

	return BMA_LIKELY_(obj) ? obj : bpf_mem_cache_alloc_flags_(ma, flags);
}

/* A kmalloc-like allocator is told by its size from one that has no such slots. */
BMA_INLINE_ void *bpf_mem_alloc(struct bpf_mem_alloc *ma, size_t size)
{
	void *obj = NULL;

	if (BMA_LIKELY_(size - 1 < BPF_MEM_ALLOC_SIZE_MAX) &&
	    BMA_LIKELY_(ma->bytes_caches > BMA_CACHE_BYTES_))
		obj = bma_pop_(ma, bma_inline_1_.class_offset[(size - 1) / 16]);
	return BMA_LIKELY_(obj) ? obj : bpf_mem_alloc_(ma, size);
}

BMA_INLINE_ void bpf_mem_free(struct bpf_mem_alloc *ma, void *ptr)
{
	if (!BMA_LIKELY_(bma_free_hits_(ma, ptr, 0)))
		bpf_mem_free_(ma, ptr);
}

BMA_INLINE_ void bpf_mem_free_rcu(struct bpf_mem_alloc *ma, void *ptr)
{
	if (!BMA_LIKELY_(bma_free_hits_(ma, ptr, BMA_BY_RCU_)))
		bpf_mem_free_rcu_(ma, ptr);
}

BMA_INLINE_ void bpf_mem_cache_free(struct bpf_mem_alloc *ma, void *ptr)
{
	if (!BMA_LIKELY_(bma_cache_free_hits_(ma, ptr, 0)))
		bpf_mem_cache_free_(ma, ptr);
}

BMA_INLINE_ void bpf_mem_cache_free_rcu(struct bpf_mem_alloc *ma, void *ptr)
{
	if (!BMA_LIKELY_(bma_cache_free_hits_(ma, ptr, BMA_BY_RCU_)))
		bpf_mem_cache_free_rcu_(ma, ptr);
}

#endif /* BMA_INLINES_HITS_ */

#ifdef __cplusplus
}
#endif

#endif /* BMA_INLINE_H */
