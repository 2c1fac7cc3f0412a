// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * source_bma_called.c - bma without its inline hits: each alloc and free is a call of the library
 */
#define _GNU_SOURCE
#define BMA_NO_INLINE
#include "source.h"

static ALWAYS_INLINE void *called_alloc(struct worker *t)
{
	(void)t;
	return bpf_mem_cache_alloc(&source_ma);
}

static ALWAYS_INLINE void called_free(struct worker *t, void *object)
{
	(void)t;
	bpf_mem_cache_free(&source_ma, object);
}

DEFINE_LOOPS(called, called_alloc, called_free)

const struct source source_bma_called = {
	.open = bma_open,
	.close = bma_close,
	LOOPS(called, called_alloc, called_free),
};
