/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * port.h - the door: all that core asks of its home
 *
 * A home is chosen by include path: its home.h must provide every name below that is marked "home".
 * "any": called from any context, so it must be async-signal-safe, must not block and must keep
 * errno.  "process": may block.  "reclaimer": called only by whoever runs bma_reclaim().
 */
#ifndef BMA_PORT_H
#define BMA_PORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bma_cpu;
struct rcu_flavor_struct;

#include "home.h"

/*
 * Sizes (home): powers of two, and tiny where a home wants the rare to be common.
 *
 *   PORT_MAGAZINE_BYTES  a magazine: 16 bytes of header, the rest pointers
 *   PORT_UNIT_SHIFT      spans and their alignment are multiples of 1 << this
 *   PORT_ADDR_BITS       no object lies at or above 1 << this
 *   PORT_META_CHUNK      address space asked for at a time for metadata
 *   PORT_META_PAGE       what of it is given back at a time; at least 4096
 *
 * And, where a home has a reason not to have ours, small for a model checker, which keeps copies:
 *
 *   PORT_LEAF_BITS           1 << this addresses are one leaf of the page map
 *   PORT_META_CHUNKS         so many chunks of metadata at most
 *   PORT_RESERVE             records for readers that come while there is no memory
 *   PORT_MAGAZINE_OBJ_BYTES  a magazine holds at most about so many bytes of objects
 *
 * Numbers (home): PORT_EINVAL, PORT_E2BIG, PORT_ENOMEM.
 */

#ifndef PORT_LEAF_BITS
#define PORT_LEAF_BITS 32
#define PORT_META_CHUNKS (1u << 16)
#define PORT_RESERVE 64
#define PORT_MAGAZINE_OBJ_BYTES (32 << 10)
#endif

/*
 * Shared memory.  Every access of core to a word that two contexts share is one of these and names
 * its order (relaxed, acquire, release, acq_rel, seq_cst).  A home that has to see each of them, a
 * model checker's say, defines them itself; by default they are C11's.
 */
#ifndef port_load
#include <stdatomic.h>
#define PORT_ATOMIC(type) _Atomic(type)
#define port_load(p, mo) atomic_load_explicit((p), memory_order_##mo)
#define port_store(p, v, mo) atomic_store_explicit((p), (v), memory_order_##mo)
#define port_xchg(p, v, mo) atomic_exchange_explicit((p), (v), memory_order_##mo)
#define port_add(p, v, mo) atomic_fetch_add_explicit((p), (v), memory_order_##mo)
#define port_sub(p, v, mo) atomic_fetch_sub_explicit((p), (v), memory_order_##mo)
#define port_or(p, v, mo) atomic_fetch_or_explicit((p), (v), memory_order_##mo)
#define port_and(p, v, mo) atomic_fetch_and_explicit((p), (v), memory_order_##mo)
/* Strong; on failure *old is what was there, read with order relaxed. */
#define port_cas(p, old, v, mo)                                                                    \
	atomic_compare_exchange_strong_explicit((p), (old), (v), memory_order_##mo,                \
						memory_order_relaxed)
#endif
/*
 * A hint that the line at @p, any address, will be written soon.  By default the compiler's.  A home with no
 * use for it says so in PORT_PREFETCHES, and need not evaluate @p.
 */
#ifndef port_prefetch_to_write
#define PORT_PREFETCHES true
#define port_prefetch_to_write(p) __builtin_prefetch((p), 1)
#endif
#ifndef port_barrier_full
#include <stdatomic.h>
#define port_barrier_full() atomic_thread_fence(memory_order_seq_cst)
#endif

/*
 * This CPU's magazines.  cpus[i] is the block of CPU i; a block holds for each cache three tops,
 * each pointing one past the last object of a magazine.  What makes them safe is the home's
 * business (a restartable sequence, a try-lock); the contract is the same:
 *
 *   port_cpu_pop      any   if top[-1] is not NULL: return it, top = top - 1.  Else NULL.
 *   port_cpu_push     any   if top is not at a magazine's end: *top = obj, top = top + 1, true.
 *   port_cpu_replace  any   if @block is this CPU's block and top == @old: top = @new, true.
 *
 * each in one indivisible step as against everything else that runs on this CPU's block, nested
 * signal handlers included; or else nothing happens and NULL/false is returned, for whatever
 * reason. A caller may therefore never loop on them.
 *
 *   port_cpu_fast     any   do the next two ever do what they say?  If not, they are to be shown a table
 *                     whose blocks all have nothing to pop and no room to push; constant.
 *   port_cpu_fast_pop, port_cpu_fast_push  any   as pop and push, inline.
 *   port_cpu_block    any   this CPU's block and its index; a hint that only replace makes sure of.
 *   port_cpu_detach   reclaimer   put @fresh in cpus[i] and return the block that was there, on
 *                     which then no operation is or comes under way; NULL if it cannot be had just
 *                     now.
 *   port_cpu          any   the CPU that runs this, below port_nr_cpus().
 *   port_nr_cpus      any   number of possible CPUs; constant.
 */
enum bma_top {
	BMA_LOADED, /* alloc pops, free pushes */
	BMA_PREVIOUS, /* full, empty or none: only replaced */
	BMA_BY_RCU, /* free_rcu pushes */
	BMA_NR_TOPS
};

typedef void *bma_obj_t;
typedef PORT_ATOMIC(bma_obj_t *) bma_top_t;
typedef PORT_ATOMIC(struct bma_cpu *) bma_cpu_ptr_t;

struct bma_slot {
	bma_top_t top[BMA_NR_TOPS];
	bma_obj_t *seen[BMA_NR_TOPS]; /* reclaimer: the tops at its last visit */
};

struct bma_cpu {
	PORT_ATOMIC(uint32_t) link; /* free list of metadata */
	PORT_ATOMIC(uint32_t) busy; /* home: the fallback's try-lock */
	uint32_t nr_slots;
	uint32_t idle; /* reclaimer: visits without a change */
	struct bma_slot slot[];
};

#define BMA_TOP_OFFSET(slot_nr, which)                                                             \
	(offsetof(struct bma_cpu, slot) + (slot_nr) * sizeof(struct bma_slot) +                    \
	 (which) * sizeof(bma_top_t))

static inline bma_top_t *bma_top_at(struct bma_cpu *block, size_t offset)
{
	return (bma_top_t *)((char *)block + offset);
}

/*
 * A magazine is aligned to its size and filled to its end, so a full one's top is a multiple of it.
 */
static inline bool bma_top_is_end(bma_obj_t *top)
{
	return !((uintptr_t)top & (PORT_MAGAZINE_BYTES - 1));
}

void *port_cpu_pop(bma_cpu_ptr_t *cpus, size_t offset);
bool port_cpu_push(bma_cpu_ptr_t *cpus, size_t offset, void *obj);
#ifndef port_cpu_fast_pop
#define port_cpu_fast_pop port_cpu_pop
#define port_cpu_fast_push port_cpu_push
#endif
bool port_cpu_fast(void);
bool port_cpu_replace(bma_cpu_ptr_t *cpus, struct bma_cpu *block, size_t offset, bma_obj_t *old,
		      bma_obj_t *new);
struct bma_cpu *port_cpu_block(bma_cpu_ptr_t *cpus, unsigned int *index);
struct bma_cpu *port_cpu_detach(bma_cpu_ptr_t *cpus, unsigned int index, struct bma_cpu *fresh);
unsigned int port_cpu(void);
unsigned int port_nr_cpus(void);

/* Process: before an allocator is made, each time. */
void port_init(void);

/*
 * Pages.  Sizes are multiples of 1 << PORT_UNIT_SHIFT, @align a power of two of at least that.
 *
 *   port_pages_alloc  any   zeroed memory, or NULL; @beside: so much its user has already, used whole
 *                     as this will be: a home may have larger pages for who has much
 *   port_pages_free   any   give back all of what one call of alloc returned
 *   port_pages_free_later  reclaimer  the same, but they may stay until it calls, again and again,
 *   port_pages_free_now    reclaimer  give back a part of what was to go later; true: there is more
 *   port_pages_drop   any   multiples of PORT_META_PAGE: the memory goes back, the addresses stay
 *                     valid and read as zero
 */
void *port_pages_alloc(size_t bytes, size_t align, size_t beside);
void port_pages_free(void *pages, size_t bytes);
void port_pages_free_later(void *pages, size_t bytes);
bool port_pages_free_now(void);
void port_pages_drop(void *pages, size_t bytes);

/*
 * Grace periods.  Core numbers them (gp.c) and drives those of its own readers (rcu.c); those of
 * liburcu's flavours are driven by the home, which for each
 *
 *	bma_gp_begin(gp);  waits for the flavour's readers;  bma_gp_end(gp);
 *
 * one at a time, while bma_gp_wanted(gp).  Domains are never freed.
 *
 *   port_gp_of_flavor     process  the domain of a liburcu flavour, or NULL if there is no memory
 *   port_gp_driven        any   the @n-th domain that the home drives, or NULL
 *   port_gp_kick          any   @gp is wanted; now (@hurry) or a little later
 *   port_gp_ended         any   wake who sleeps in port_gp_sleep()
 *   port_gp_wait_begin    process  false if this thread is a reader of @gp and so must not wait;
 *                         else it
 *   port_gp_wait_end      is none until then (a QSBR thread goes offline if *@online says so)
 *   port_gp_sleep         process  until @completed is no more the number of @gp, or a moment
 *   port_yield            any   let others run on this CPU for a moment: readers, or who waits for one
 *
 * Core's readers:
 *
 *   port_readers_fence    any   barrier SCAN: a full barrier here and, unless readers have real
 *                         ones, on each CPU that runs a thread of this process.  False if it cannot
 *                         be had.
 *   port_thread_id        any   the caller's, not 0
 *   port_thread_dead      any   true only if no thread of that number is left
 */
typedef uint8_t bma_cookie_t;

struct bma_gp {
	PORT_ATOMIC(uint64_t) * started; /* number of the latest that began */
	PORT_ATOMIC(uint64_t) completed; /* ended: started, or the one before */
	PORT_ATOMIC(uint64_t) wanted; /* somebody waits for it */
	PORT_ATOMIC(uint64_t) hurried; /* how many were */
	PORT_ATOMIC(bool) hurry;
	PORT_ATOMIC(uint64_t) fenced; /* core's readers: SCAN was done for it; or an older one */
	PORT_ATOMIC(uint32_t) polling; /* core's readers: polls while one was under way */
	uint8_t readers; /* core's readers: of which domain */
	bool driven; /* by the home */
	PORT_ATOMIC(uint64_t) started_if_driven; /* what started then points to */
};

/*
 * Core offers, beside bma_reclaim(): all domains, our own first, NULL behind the last; whether
 * somebody waits for one; and (our own readers) a thread that has been inside since before the
 * grace period that runs began, or 0.
 */
struct bma_gp *bma_gp_nth(unsigned int n);
bool bma_gp_wanted(struct bma_gp *gp);
uint32_t bma_gp_holder(struct bma_gp *gp);
void bma_gp_begin(struct bma_gp *gp);
void bma_gp_end(struct bma_gp *gp);

/*
 * And, in the child of a fork, for the home to call before anything else there, with the reclaimer's
 * lock held over the fork: @before is what port_thread_id() was of the thread that is left.
 */
void bma_forked(uint32_t before);

struct bma_gp *port_gp_of_flavor(const struct rcu_flavor_struct *flavor);
struct bma_gp *port_gp_driven(unsigned int n);
void port_gp_kick(struct bma_gp *gp, bool hurry);
void port_gp_ended(struct bma_gp *gp);
bool port_gp_wait_begin(struct bma_gp *gp, bool *online);
void port_gp_wait_end(struct bma_gp *gp, bool online);
void port_gp_sleep(struct bma_gp *gp, uint64_t completed);
void port_yield(void);
bool port_readers_fence(void);
uint32_t port_thread_id(void);
bool port_thread_dead(uint32_t id);

/*
 * The reclaimer: whoever calls bma_reclaim(), one at a time, again as that says, and at any rate
 * after a wake.
 *
 *   port_reclaim_wake    any      have it called soon
 *   port_reclaim_round   process  return after a call that began after this one
 *   port_reclaim_lock    process  keep it from running
 */
enum bma_again { /* may be or-ed */
		 BMA_DONE = 0,
		 BMA_AGAIN = 1, /* after a tick */
		 BMA_AT_ONCE = 2 /* when others have had a turn at port_reclaim_lock() */
};

unsigned int bma_reclaim(void);
void port_reclaim_wake(void);
void port_reclaim_round(void);
void port_reclaim_lock(void);
void port_reclaim_unlock(void);

/* Tell the user (any): "@func: @what", and @ptr, @count and @size (bytes) where they are not 0. */
void port_report(const char *func, const char *what, const void *ptr, uint64_t count,
		 uint64_t size);

/*
 * Debug mode (debug.c).
 *
 *   port_debug_options  process  the user's text, or NULL; *@on: whether it is on with none
 *   port_report_object  any      tell the user of a misuse; if @fatal, end the process
 *
 * Who did what, where: the address that a call of ours returns to, 0 where it is not known.
 */
struct bma_event {
	const char *func; /* NULL: there was none */
	uint32_t thread;
	uintptr_t site;
};

#define BMA_NO_OFFSET UINT64_MAX

struct bma_misuse {
	struct bma_event call; /* in which it was found */
	const char *what;
	const void *ptr;
	uint64_t offset; /* of the first wrong byte */
	const void *allocator;
	uint64_t size; /* of its objects; 0: of several */
	struct bma_event alloc, free; /* the object's history */
	bool fatal;
};

const char *port_debug_options(bool *on);
void port_report_object(const struct bma_misuse *m);

/*
 * Marks, in debug mode, for tools that watch the memory (any).  Memory is ours, as all pages are at
 * first and must be when they are given back; or
 *
 *   port_mark_out      ours -> the caller's, the first @bytes of @size
 *   port_mark_waiting  the caller's -> given back by it, but readers may look at it
 *   port_mark_gone     ours -> nobody may touch it
 *   port_mark_ours     any of these -> ours
 *
 * Objects, and for gone and ours also any number of them in a row.
 */
void port_mark_out(void *obj, size_t bytes, size_t size);
void port_mark_waiting(void *obj, size_t size);
void port_mark_gone(void *mem, size_t size);
void port_mark_ours(void *mem, size_t size);

#endif /* BMA_PORT_H */
