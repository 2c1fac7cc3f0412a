/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * inlined.h - the hot calls as a user's code has them: each in a function that does nothing else
 */
#ifndef BMA_TEST_INLINED_H
#define BMA_TEST_INLINED_H

#include <stddef.h>

struct bpf_mem_alloc;

void *inlined_cache_alloc(struct bpf_mem_alloc *ma);
void *inlined_cache_alloc_flags(struct bpf_mem_alloc *ma, unsigned int flags);
void *inlined_alloc(struct bpf_mem_alloc *ma, size_t size);
void inlined_cache_free(struct bpf_mem_alloc *ma, void *ptr);
void inlined_cache_free_rcu(struct bpf_mem_alloc *ma, void *ptr);
void inlined_free(struct bpf_mem_alloc *ma, void *ptr);
void inlined_free_rcu(struct bpf_mem_alloc *ma, void *ptr);

#endif /* BMA_TEST_INLINED_H */
