/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * bpf_mem_alloc.h - Linux's BPF memory allocator for processes
 *
 * A bpf_mem_alloc hands out objects of one size (init with size > 0) or of the eleven kmalloc-like
 * classes 16 32 64 96 128 192 256 512 1024 2048 4096 (init with size 0).  What tells it from
 * malloc:
 *
 *   call                      others may get the memory        the memory may leave the allocator
 *   bpf_mem_[cache_]free      at once, same allocator and size  after an RCU and a tasks-trace GP
 *   bpf_mem_[cache_]free_rcu  after an RCU GP begun later       after an RCU and a tasks-trace GP
 *   bpf_mem_cache_raw_free    at once                           at once
 *
 * Contexts.  "any": from any thread and from a signal handler, whatever it interrupted; does not
 * block, does not call malloc, keeps errno.  "process": not from a signal handler; may take locks
 * and create a thread.  docs/semantics.md lists every difference from Linux.
 *
 * With BMA_DEBUG=1 in the environment misuse is reported on stderr with the object's history; with
 * BMA_DEBUG=abort the process ends then.  docs/debugging.md says what is found.
 */
#ifndef BMA_BPF_MEM_ALLOC_H
#define BMA_BPF_MEM_ALLOC_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A call that may sleep asks with GFP_KERNEL; the other two never block. */
typedef unsigned int gfp_t;
#ifndef GFP_KERNEL
#define GFP_ATOMIC ((gfp_t)0x1)
#define GFP_NOWAIT ((gfp_t)0x2)
#define GFP_KERNEL ((gfp_t)0x4)
#endif

/* What an allocation of no bytes returns: not NULL, not to be read; every free accepts it. */
#ifndef ZERO_SIZE_PTR
#define ZERO_SIZE_PTR ((void *)16)
#endif

/* Largest object of a fixed-size allocator, in bytes, and of a kmalloc-like one. */
#define BPF_MEM_CACHE_SIZE_MAX (1 << 20)
#define BPF_MEM_ALLOC_SIZE_MAX 4096

/*
 * Of a hot function of the shared library: call it by its address in the table of those, not through a stub
 * that jumps there.  As with -fno-plt, its name is then resolved at start and not at its first call; a static
 * library is called directly.
 */
#if defined(__has_attribute)
#if __has_attribute(noplt)
#define BMA_HOT_ __attribute__((noplt))
#endif
#endif
#ifndef BMA_HOT_
#define BMA_HOT_
#endif

/*
 * What a hot function does most of the time is compiled into its caller (inline.h), which calls the library for
 * the rest.  Not where BMA_NO_INLINE is defined; nor without optimisation, with TSan, which would not follow, on
 * other machines, or with a compiler that has no asm goto with outputs.
 */
#if !defined(BMA_NO_INLINE) && defined(__OPTIMIZE__) && defined(__x86_64__) && defined(__LP64__)
#if defined(__clang__)
#if __clang_major__ >= 14 && !__has_feature(thread_sanitizer)
#define BMA_INLINES_HITS_
#endif
#elif defined(__GNUC__)
#if __GNUC__ >= 11 && !defined(__SANITIZE_THREAD__)
#define BMA_INLINES_HITS_
#endif
#endif
#endif

struct bma_cpu;
struct bma_group;
struct bpf_mem_cache;
struct obj_cgroup;
struct rcu_flavor_struct;

/* Allocated by the caller, must not move while in use; all fields are private. */
struct bpf_mem_alloc {
	struct bma_cpu **cpus;
	struct bpf_mem_cache *caches;
	struct bma_group *group;
	size_t bytes_caches;
};

/*
 * Make an allocator of objects of @size bytes (1 to BPF_MEM_CACHE_SIZE_MAX), or a kmalloc-like one
 * if @size is 0.  With @percpu each object is one copy per possible CPU.  @flavor is the liburcu
 * flavour whose readers use the objects (&urcu_memb_flavor, ...); it must outlive the process's
 * last grace period.  Memory for objects is taken when first needed.
 *
 * Returns 0, -EINVAL (@size negative; @percpu with @size 0; no @flavor), -E2BIG (@size too large)
 * or
 * -ENOMEM; then nothing is held.  Context: process.
 */
int bpf_mem_alloc_init_flavor(struct bpf_mem_alloc *ma, int size, bool percpu,
			      const struct rcu_flavor_struct *flavor);

/*
 * The same for the readers of this translation unit: where a liburcu flavour is mapped before this
 * header (<urcu.h>, or <urcu/urcu-memb.h> with URCU_API_MAP), that one, as in cds_lfht_new(); where
 * no flavour is included, those of <bma/rcu.h>.  Where flavours are included unmapped there is no
 * right default: the call does not compile.
 */
#if defined(rcu_flavor)
static inline int bpf_mem_alloc_init(struct bpf_mem_alloc *ma, int size, bool percpu)
{
	return bpf_mem_alloc_init_flavor(ma, size, percpu, &rcu_flavor);
}
#elif defined(_URCU_MEMB_H) || defined(_URCU_MB_H) || defined(_URCU_QSBR_H) ||                     \
	defined(_URCU_BP_H) || defined(_URCU_SIGNAL_H)
#if defined(__has_attribute)
#if __has_attribute(unavailable)
#define BMA_NO_DEFAULT_FLAVOR(msg) __attribute__((unavailable(msg)))
#endif
#endif
#ifndef BMA_NO_DEFAULT_FLAVOR
#define BMA_NO_DEFAULT_FLAVOR(msg) __attribute__((error(msg)))
#endif
int bpf_mem_alloc_init(struct bpf_mem_alloc *ma, int size, bool percpu)
	BMA_NO_DEFAULT_FLAVOR("liburcu flavours are included unmapped: name one "
			      "with bpf_mem_alloc_init_flavor()");
#else
int bpf_mem_alloc_init(struct bpf_mem_alloc *ma, int size, bool percpu);
#endif

/*
 * A kmalloc-like per-CPU allocator: made empty by the first call, each size class added by the
 * second (@size bytes, 1 to 4096, rounded up to its class; adding a class twice is harmless).  An
 * allocation of a class that was not added returns NULL.  @objcg, if not NULL, is charged; the
 * allocator takes a reference of its own.  Readers are those of <bma/rcu.h>.
 *
 * Return 0, -EINVAL (@size is of no class, or @ma was not made by bpf_mem_alloc_percpu_init()) or
 * -ENOMEM.  Context: process.
 */
int bpf_mem_alloc_percpu_init(struct bpf_mem_alloc *ma, struct obj_cgroup *objcg);
int bpf_mem_alloc_percpu_unit_init(struct bpf_mem_alloc *ma, int size);

/*
 * Give up the allocator.  Returns at once, also with grace periods pending and readers inside their
 * sections: the memory goes back to the system after an RCU and a tasks-trace grace period.  @ma
 * may be reused at once.  No other call on @ma may run at the same time or follow.  Objects that
 * were never freed are counted, reported on stderr, and given back with the rest.  An @ma that is
 * all zero, or already destroyed, is accepted.  Context: process.
 */
void bpf_mem_alloc_destroy(struct bpf_mem_alloc *ma);

/*
 * Have @dtor(obj, @ctx) called once for each object when its memory leaves the allocator, after
 * both grace periods, from the reclaimer's thread.  It is called for objects that were freed, not
 * for each free: a recycled object keeps what it held.  @dtor_ctx_free(@ctx), if not NULL, is
 * called after the last of them.  Call it after init and before the first allocation.  A @dtor must
 * not call into the allocator that it belongs to.  Context: process.
 */
void bpf_mem_alloc_set_dtor(struct bpf_mem_alloc *ma, void (*dtor)(void *obj, void *ctx),
			    void (*dtor_ctx_free)(void *ctx), void *ctx);

/*
 * Bound what of @ma waits for readers (0: no bound, as at first), but for the magazines that are on
 * CPUs. From half of it on grace periods are hurried; at the limit an allocation that finds no
 * object on its CPU waits with GFP_KERNEL and returns NULL without.  free and free_rcu go on.
 * Counted in limbo_waits and limbo_refusals of bpf_mem_stats.  Context: any.
 */
void bpf_mem_alloc_set_limbo_limit(struct bpf_mem_alloc *ma, size_t bytes);

/* 0, or -E2BIG if bpf_mem_alloc() could not serve @size bytes.  Context: any. */
int bpf_mem_alloc_check_size(bool percpu, size_t size);

/*
 * kmalloc/kfree equivalent.  bpf_mem_alloc() returns an object of the smallest class that holds
 * @size bytes, ZERO_SIZE_PTR if @size is 0, NULL if @size is more than 4096 or there is no memory
 * (of the system, or of the objcg).  Memory fresh from the slab is zero; a recycled object holds
 * what it held.  The caller owns the object until it frees it.
 *
 * The frees accept NULL and ZERO_SIZE_PTR.  A pointer that is no object of @ma is reported on
 * stderr and counted, and nothing else happens.  They cannot fail.  Context: any.
 */
BMA_HOT_ void *bpf_mem_alloc(struct bpf_mem_alloc *ma, size_t size);
BMA_HOT_ void bpf_mem_free(struct bpf_mem_alloc *ma, void *ptr);
BMA_HOT_ void bpf_mem_free_rcu(struct bpf_mem_alloc *ma, void *ptr);

/* kmem_cache_alloc/free equivalent, for a fixed-size allocator.  Otherwise as above. */
BMA_HOT_ void *bpf_mem_cache_alloc(struct bpf_mem_alloc *ma);
BMA_HOT_ void bpf_mem_cache_free(struct bpf_mem_alloc *ma, void *ptr);
BMA_HOT_ void bpf_mem_cache_free_rcu(struct bpf_mem_alloc *ma, void *ptr);

/*
 * As bpf_mem_cache_alloc(); with GFP_KERNEL it may sleep, and waits for a grace period before it
 * returns NULL.  It must then not be called inside a read-side critical section of the allocator's
 * flavour (an online QSBR thread is taken offline for the wait).
 * Context: any with GFP_NOWAIT and GFP_ATOMIC, process with GFP_KERNEL.
 */
BMA_HOT_ void *bpf_mem_cache_alloc_flags(struct bpf_mem_alloc *ma, gfp_t flags);

/*
 * Give an object's memory straight back to the slab: no destructor, no grace period.  The caller
 * knows that no reader of either kind can reach it.  For an object of any allocator.  Context: any.
 */
void bpf_mem_cache_raw_free(void *ptr);

/*
 * The copy of per-CPU object @ptr that belongs to @cpu, or to the CPU that the caller runs on
 * (which may change at any time).  NULL if @cpu is not a possible CPU or @ptr is no per-CPU object.
 * Context: any.
 */
void *bpf_per_cpu_ptr(void *ptr, int cpu);
void *bpf_this_cpu_ptr(void *ptr);

/*
 * An account for memory: bytes of spans (for per-CPU objects: of every possible CPU's copy) of the
 * allocators that it is set for.  Over @limit_bytes (0: no limit) an allocation returns NULL.
 *
 * obj_cgroup_create() returns a reference, or NULL if there is no memory; obj_cgroup_put() drops
 * it, and each allocator holds one of its own until its memory is back.  @name is copied (at most
 * 31 bytes) and used in messages.  obj_cgroup_usage() is in bytes, and exact when nothing runs.
 * bpf_mem_alloc_ set_objcg() moves what @ma already holds to @objcg (NULL: to none), past the limit
 * if need be; no allocation on @ma may run meanwhile.
 * Context: process; obj_cgroup_usage(): any.
 */
struct obj_cgroup *obj_cgroup_create(const char *name, size_t limit_bytes);
size_t obj_cgroup_usage(const struct obj_cgroup *objcg);
void obj_cgroup_put(struct obj_cgroup *objcg);
void bpf_mem_alloc_set_objcg(struct bpf_mem_alloc *ma, struct obj_cgroup *objcg);

#ifdef __cplusplus
}
#endif

#ifdef BMA_INLINES_HITS_
#include <bma/inline.h>
#endif

#endif /* BMA_BPF_MEM_ALLOC_H */
