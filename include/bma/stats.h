/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * stats.h - what an allocator, or all of them, hold at this moment
 *
 * Counted on slow paths and derived from how full the magazines are, so that the fast paths pay
 * nothing: a snapshot is exact when nothing runs and near otherwise.
 */
#ifndef BMA_STATS_H
#define BMA_STATS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct bpf_mem_alloc;

struct bpf_mem_stats {
	/*
	 * Objects: with the caller; in magazines and ready; in limbo; on their way back to the
	 * slab.
	 */
	uint64_t objs_in_use;
	uint64_t objs_free;
	uint64_t objs_waiting_rcu;
	uint64_t objs_waiting_ttrace;
	/* The same in bytes (per-CPU objects: of one copy). */
	uint64_t bytes_in_use;
	uint64_t bytes_free;
	uint64_t bytes_waiting_rcu;
	uint64_t bytes_waiting_ttrace;
	/* Memory taken for objects, all copies of per-CPU ones included. */
	uint64_t spans;
	uint64_t bytes_spans;
	/* Magazines that hold objects or are loaded on a CPU, and what they and all else take. */
	uint64_t magazines;
	uint64_t bytes_meta;
	/* Events since init: grace periods of the allocator's domain, and how many were hurried; */
	uint64_t grace_periods;
	uint64_t hurries;
	/* allocations that returned NULL; frees of what was no object; objects lost at destroy. */
	uint64_t refusals;
	uint64_t bad_frees;
	uint64_t never_freed;
	/* allocations that waited, or returned NULL (also a refusal), at the limit of
   * limbo. */
	uint64_t limbo_waits;
	uint64_t limbo_refusals;
	/* Allocators alive, and destroyed ones that still wait for readers (process only). */
	uint64_t allocators;
	uint64_t dying;
};

/* A snapshot of @ma, which must not be destroyed meanwhile.  Context: process. */
void bpf_mem_alloc_stats(const struct bpf_mem_alloc *ma, struct bpf_mem_stats *stats);

/*
 * The sum over all allocators, destroyed ones included: what a destroyed one still holds counts
 * until it is back, its events for good.  Context: process.
 */
void bpf_mem_process_stats(struct bpf_mem_stats *stats);

#ifdef __cplusplus
}
#endif

#endif /* BMA_STATS_H */
