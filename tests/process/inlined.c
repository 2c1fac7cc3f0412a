// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * inlined.c - see inlined.h
 */
#include <bma/bpf_mem_alloc.h>

#include "inlined.h"

void *inlined_cache_alloc(struct bpf_mem_alloc *ma)
{
	return bpf_mem_cache_alloc(ma);
}

void *inlined_cache_alloc_flags(struct bpf_mem_alloc *ma, unsigned int flags)
{
	return bpf_mem_cache_alloc_flags(ma, flags);
}

void *inlined_alloc(struct bpf_mem_alloc *ma, size_t size)
{
	return bpf_mem_alloc(ma, size);
}

void inlined_cache_free(struct bpf_mem_alloc *ma, void *ptr)
{
	bpf_mem_cache_free(ma, ptr);
}

void inlined_cache_free_rcu(struct bpf_mem_alloc *ma, void *ptr)
{
	bpf_mem_cache_free_rcu(ma, ptr);
}

void inlined_free(struct bpf_mem_alloc *ma, void *ptr)
{
	bpf_mem_free(ma, ptr);
}

void inlined_free_rcu(struct bpf_mem_alloc *ma, void *ptr)
{
	bpf_mem_free_rcu(ma, ptr);
}
