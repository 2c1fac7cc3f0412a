/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * bma.h - core's own structures, and what its files offer each other
 *
 * Objects and their owners, from the caller down to the system:
 *
 *	magazine in a CPU's block	who runs on that CPU, one indivisible step at a time (cpu.c)
 *	magazine in hand		one context, between two steps
 *	depot, partial, by_rcu		the cache; any number of pushers and poppers (depot.c)
 *	bucket (limbo)			the cache; any number of pushers and takers (limbo.c)
 *	ttrace_next, ttrace_wait	the reclaimer (reclaim.c)
 *	bit in a span's free map	the slab; any number of takers and putters (slab.c)
 *
 * All structures here live in metadata pages (meta.c), which stay mapped for good: a late reader of
 * a recycled structure sees garbage, never a fault, and its compare-and-swap fails on the tag.
 */
#ifndef BMA_BMA_H
#define BMA_BMA_H

#include "port.h" /* first: a home that has to see readers' accesses says so there */

#define BMA_NO_INLINE /* core is what the hits are compiled from, and has its home's steps */
#include <bma/bpf_mem_alloc.h>
#include <bma/inline.h>
#include <bma/rcu.h>
#include <bma/stats.h>

#define bma_likely(x) __builtin_expect(!!(x), 1)
#define bma_unlikely(x) __builtin_expect(!!(x), 0)

/* A piece of metadata by number; 0 is none.  Half a word, so that a tag fits beside it. */
typedef uint32_t bma_handle_t;
typedef PORT_ATOMIC(uint32_t) bma_link_t;
typedef PORT_ATOMIC(uint64_t) bma_word_t;

/* A lock-free stack: {tag, handle of the first}.  Every change moves the tag (ABA). */
struct bma_stack {
	bma_word_t head;
};

/*
 * A magazine.  Entries fill it to its end from entry[first] on, where first leaves room for the
 * cache's capacity and for a NULL just below, at which a pop finds the magazine empty.
 *
 * @next: the next on the stack, bucket or chain that it is on.
 * @tail, @total: of a bucket's list from it on, the last magazine and the number of objects; they
 *	  stay right for who takes the list and holds the rest of it.
 * @count: objects in it while it is in no slot (there, the word may be that NULL).
 * @filler: a hint, which CPU freed them; see cpu.c.
 *
 * Its owner writes them before it pushes it.
 */
#define BMA_MAGAZINE_ENTRIES ((PORT_MAGAZINE_BYTES - 16) / sizeof(bma_obj_t))

struct bma_magazine {
	bma_link_t next;
	bma_link_t tail;
	uint16_t count;
	uint16_t filler;
	bma_link_t total;
	bma_obj_t entry[BMA_MAGAZINE_ENTRIES];
};

_Static_assert(sizeof(struct bma_magazine) == PORT_MAGAZINE_BYTES, "header is 16 bytes");

/* Both empty (the word below is NULL) and full (it is a magazine's end). */
extern struct bma_magazine bma_no_magazine;
#define BMA_NO_TOP ((bma_obj_t *)(&bma_no_magazine + 1))

/* Some magazines, linked by next. */
struct bma_chain {
	bma_handle_t first;
	uint64_t objs;
};

/*
 * A span: pages cut into objects of one cache.  A descriptor belongs to its cache for good, and is
 * used again for another span of it.
 *
 * @state: BMA_SPAN_LISTED, it is on the cache's partial_spans or held by who popped it there;
 *	   BMA_SPAN_DEAD, its memory is gone, and who takes LISTED away puts it on dead_spans.
 * @base: NULL if it has no memory.
 * @records: in debug mode, one for each object, the descriptor's for good; else NULL.
 * @nr_free: bits set in the free map; @hint: a word of it that had some.  The map decides.
 * @nr_sorted: reclaimer: not 0: it is on the cache's sorted_spans, by @sorted_next, and so many bits are
 *	set in the waiting map, of objects that are about to be put back.
 * @map: three bitmaps of the cache's map_words each: free (any), freed with no memory for a
 *	magazine (any: set; reclaimer: take), and (reclaimer) those of them that wait for readers or,
 *	at other times, what it has sorted.
 */
#define BMA_SPAN_LISTED 1u
#define BMA_SPAN_DEAD 2u

struct bma_span {
	bma_link_t link;
	bma_link_t all_next;
	char *base;
	struct bma_record *records;
	struct bpf_mem_cache *cache;
	PORT_ATOMIC(uint32_t) state;
	PORT_ATOMIC(uint32_t) nr_free;
	PORT_ATOMIC(uint32_t) hint;
	uint32_t nr_sorted;
	bma_handle_t sorted_next;
	bma_word_t map[];
};

enum bma_map { BMA_MAP_FREE, BMA_MAP_DEFERRED, BMA_MAP_WAITING, BMA_NR_MAPS };

/*
 * Limbo of one cache in a few buckets by cookie: {tag:24, cookie:8, handle of the first
 * magazine:32}. At most two cookies are pending at a time, and a late pusher's is an older one.
 */
#define BMA_NR_BUCKETS 4

/* What waits for a grace period of either kind: taken together, done together. */
struct bma_wait {
	bool on;
	bma_cookie_t rcu, trace;
};

/*
 * One size.  Each part is a cache line of its own, as CPUs that free and CPUs that allocate write
 * here at the same time: what every call reads, and no call writes; and then what is written
 * together.
 */
#define BMA_LINE 64
#define BMA_LINE_BEGINS __attribute__((aligned(BMA_LINE)))

struct bpf_mem_cache {
	/* Does not change after init. */
	BMA_LINE_BEGINS bma_link_t link;
	uint32_t size; /* of an object, alignment included */
	uint32_t user_size; /* what of it is the user's */
	uint32_t slot; /* its offset in a CPU's block */
	uint64_t inverse, bound; /* see bma_is_obj() */
	uint32_t span_mask; /* up to here as in struct bma_cache_ of <bma/inline-rseq.h> */
	uint32_t nr_copies; /* of an object */
	size_t span_bytes; /* of one copy */
	struct bma_group *group;
	uint16_t nr_objs; /* of a span */
	uint16_t map_words;
	uint8_t capacity; /* of a magazine */
	bool percpu;
	PORT_ATOMIC(bool) ready; /* false: a per-CPU class that was not added */

	/* Reclaimer. */
	BMA_LINE_BEGINS struct bma_chain ttrace_next;
	struct bma_chain ttrace_wait;
	struct bma_wait ttrace, deferred_wait;
	uint32_t leaks_shown; /* in debug mode */
	bma_handle_t sorted_spans; /* with objects that are to be put back; see slab.c */
	bool trimming; /* the latest trim has not taken all that it should */
	bool destructed; /* dying: what was deferred, too */

	/* Any context.  Of counts of objects a value may be off, and below 0, while a step is under way. */
	BMA_LINE_BEGINS struct bma_stack partial; /* neither full nor empty: where a step failed */
	struct bma_stack depot; /* full, or as full as the reclaimer found it on a CPU */
	PORT_ATOMIC(int64_t) nr_depot; /* in depot and partial, or more */
	PORT_ATOMIC(int64_t) nr_depot_low; /* lowest since the reclaimer's last visit */
	struct bma_stack partial_spans, dead_spans;
	PORT_ATOMIC(int64_t) nr_from_slab; /* taken less put back */
	bma_link_t all_spans;
	PORT_ATOMIC(bool) deferred; /* some span has deferred bits */
	PORT_ATOMIC(bool) empties; /* some span became all free outside the reclaimer */

	BMA_LINE_BEGINS struct bma_stack by_rcu; /* as partial, of objects that have no cookie yet */
	bma_word_t bucket[BMA_NR_BUCKETS];
	PORT_ATOMIC(int64_t) nr_limbo; /* in buckets and by_rcu, or less */
	PORT_ATOMIC(int64_t) poll_at; /* bytes of them after the latest look from limbo_put */
	PORT_ATOMIC(uint64_t) yields; /* {grace periods that had ended:32, yields since:32} */

	/* Seldom written; the quarantine only in debug mode. */
	BMA_LINE_BEGINS struct bma_stack young;
	struct bma_stack old;
	PORT_ATOMIC(int64_t) nr_young; /* counted since the last change of generation */
	PORT_ATOMIC(int64_t) nr_quarantined;
	PORT_ATOMIC(int64_t) nr_ttrace; /* in ttrace_next and ttrace_wait */
	PORT_ATOMIC(int64_t) nr_deferred;
	PORT_ATOMIC(uint64_t) nr_spans, nr_refusals;
};

_Static_assert(sizeof(struct bpf_mem_cache) == 5ul * BMA_LINE, "each part fits its line");

/* Grace periods of a domain so far. */
struct bma_gp_counts {
	uint64_t ended;
	uint64_t hurried; /* of them */
};

enum bma_group_state { BMA_LIVE, BMA_DYING };

/* What one bpf_mem_alloc stands for.  Linked by the reclaimer's list once it is off the inbox. */
struct bma_group {
	bma_link_t link;
	PORT_ATOMIC(uint32_t) state;
	struct bma_group *next; /* reclaimer */
	PORT_ATOMIC(bma_cpu_ptr_t *)
	cpus; /* world.no_cpus until a CPU is to get a block; see init.c */
	struct bpf_mem_cache *caches;
	uint32_t nr_caches;
	uint32_t nr_slots;
	uint32_t nr_cpus;
	bool inherited; /* reclaimer: this process is a child, and its parent made it */
	bool over; /* reclaimer: dying, and both grace periods have passed */
	PORT_ATOMIC(bool) want_flush; /* have the reclaimer harvest every CPU */
	struct bma_cpu *spare; /* reclaimer: the block that the next harvest leaves in place */
	struct bma_wait teardown; /* reclaimer */
	struct bma_gp *gp;
	PORT_ATOMIC(struct obj_cgroup *) objcg;
	PORT_ATOMIC(uint64_t) bytes_charged;
	PORT_ATOMIC(uint64_t) nr_bad_frees;
	PORT_ATOMIC(uint64_t) limbo_limit; /* bytes; 0: none */
	PORT_ATOMIC(uint64_t) nr_limbo_refusals, nr_limbo_waits;
	void (*dtor)(void *obj, void *ctx);
	void (*dtor_ctx_free)(void *ctx);
	void *dtor_ctx;
	struct bma_gp_counts gp_at_init;
	struct bpf_mem_alloc *allocator; /* its name in reports, and where its table is shown */
};

#define BMA_NR_CLASSES 11
/*
 * Slot 0 of a kmalloc-like block stays empty, so that a bpf_mem_cache_alloc() on one is found out.
 */
#define BMA_FIRST_CLASS_SLOT 1
#define BMA_MAX_SLOTS (BMA_FIRST_CLASS_SLOT + BMA_NR_CLASSES)

/* address space in units -> who owns it; see pagemap.c */
#define BMA_LEAF_BITS PORT_LEAF_BITS
#define BMA_ROOT_ENTRIES (1u << (PORT_ADDR_BITS - BMA_LEAF_BITS))
#define BMA_LEAF_ENTRIES (1u << (BMA_LEAF_BITS - PORT_UNIT_SHIFT))

/* Of each unit; apart, as frees look at one of them only. */
struct bma_leaf {
	PORT_ATOMIC(struct bpf_mem_cache *) cache[BMA_LEAF_ENTRIES];
	PORT_ATOMIC(struct bma_span *) span[BMA_LEAF_ENTRIES];
};

typedef PORT_ATOMIC(struct bma_leaf *) bma_leaf_t;

/* see meta.c */
#define BMA_META_MIN_SHIFT 6
#define BMA_META_MAX_SHIFT 12
/* Magazines have a class of their own: a late link_before() then reads what was a magazine's. */
#define BMA_META_MAGAZINE (BMA_META_MAX_SHIFT - BMA_META_MIN_SHIFT + 1)
#define BMA_META_CLASSES (BMA_META_MAGAZINE + 1)
#define BMA_META_CHUNKS PORT_META_CHUNKS

struct bma_meta {
	struct bma_stack free[BMA_META_CLASSES];
	struct bma_stack cold;
	PORT_ATOMIC(uint32_t) nr_chunks;
	PORT_ATOMIC(uint64_t) nr_pages; /* in use, chunk headers included */
	/* Reclaimer: pieces freed since the last trim, and where one is that is under way. */
	uint32_t returned;
	bool trimming;
	unsigned int size_class; /* the next to be sorted */
	bma_handle_t unsorted; /* pieces of the one before */
	bma_handle_t sorted; /* pages */
	PORT_ATOMIC(struct bma_meta_chunk *) chunk[BMA_META_CHUNKS];
};

/* Records of our own readers; see rcu.c.  The reserve is for threads that come while there is no memory. */
#define BMA_NR_RESERVE PORT_RESERVE

struct bma_readers {
	PORT_ATOMIC(struct bpf_rcu_reader_ *) records;
	PORT_ATOMIC(uint32_t) nr_reserved;
	struct bpf_rcu_reader_ reserve[BMA_NR_RESERVE];
};

/* Callbacks of one kind of our own readers; see callback.c. */
struct bma_callbacks {
	PORT_ATOMIC(struct bpf_rcu_head *) incoming;
	struct bpf_rcu_head *batch; /* reclaimer */
	uint64_t number; /* reclaimer: the grace period that batch waits for */
	uint64_t nr_run; /* reclaimer: batches */
};

/* Debug mode: what the user asked for, once read; see debug.c. */
#define BMA_DEBUG_READ 1u
#define BMA_DEBUG_ON 2u
#define BMA_DEBUG_ABORT 4u

struct bma_debug {
	PORT_ATOMIC(uint32_t) mode;
	PORT_ATOMIC(uint64_t) quarantine; /* bytes of a generation; 0: none */
};

/* All that core has beside its stack: one, so that a test can begin anew. */
struct bma_world {
	bma_leaf_t leaf[BMA_ROOT_ENTRIES]; /* first: frees need not add */
	struct bma_meta meta;
	PORT_ATOMIC(bma_cpu_ptr_t *)
	no_cpus; /* all bma_no_cpu: what an allocator has before it is used, and when it is destroyed */
	struct bma_stack inbox; /* groups that the reclaimer has not seen */
	struct bma_group *groups; /* reclaimer */
	PORT_ATOMIC(uint64_t) flushes_wanted; /* as in a group, of all: how often asked for */
	PORT_ATOMIC(uint64_t) flushes_done; /* how many of these have been done */
	bool flush_all, flush_failed; /* reclaimer: of this round */
	uint32_t round; /* reclaimer: ticks */
	bool at_once; /* reclaimer: the round before was not over, so this one is no tick */
	struct bpf_mem_stats past; /* reclaimer: events of groups that are gone */
	PORT_ATOMIC(uint64_t) nr_stray_frees; /* bad frees that are no allocator's */
	struct bma_readers readers;
	struct bma_callbacks callbacks[BPF_RCU_DOMAINS_];
	struct bma_debug debug;
};

extern struct bma_world bma_world;

/* meta.c: memory for all of the above */
void *bma_meta_alloc(unsigned int size_class);
void bma_meta_free(void *piece, unsigned int size_class);
unsigned int bma_meta_class(size_t bytes);
void bma_meta_free_list(void *first, void *last, unsigned int size_class);
bool bma_meta_trim(struct bma_meta *meta);
bma_handle_t bma_handle(void *piece);
void *bma_piece(bma_handle_t handle);
void bma_stack_push(struct bma_stack *stack, void *first, void *last);
void *bma_stack_pop(struct bma_stack *stack);
struct bma_magazine *bma_stack_pop_magazine(struct bma_stack *stack);
bma_handle_t bma_stack_take(struct bma_stack *stack);

/* Have the lines of a piece come all at a time, where they would be waited for one after the other. */
static inline void bma_fetch(const void *piece, size_t bytes)
{
	size_t at;

	for (at = 0; at < bytes; at += BMA_LINE)
		port_prefetch_to_write((const char *)piece + at);
}

static inline bma_handle_t bma_stack_first(struct bma_stack *stack)
{
	return (bma_handle_t)port_load(&stack->head, relaxed);
}

/* pagemap.c: who owns an address */
bool bma_pagemap_set(char *base, size_t bytes, struct bpf_mem_cache *c, struct bma_span *span);

/* What holds the entries of @ptr, for any value of it; NULL if nothing near it was ever ours. */
static inline struct bma_leaf *bma_pagemap_leaf(const void *ptr)
{
	uintptr_t nr = (uintptr_t)ptr >> BMA_LEAF_BITS;

	return bma_likely(nr < BMA_ROOT_ENTRIES) ? port_load(&bma_world.leaf[nr], acquire) : NULL;
}

static inline size_t bma_pagemap_unit(const void *ptr)
{
	return ((uintptr_t)ptr & ((1ull << BMA_LEAF_BITS) - 1)) >> PORT_UNIT_SHIFT;
}

/* The cache whose span holds @ptr, or NULL; safe for any value of @ptr. */
static inline struct bpf_mem_cache *bma_pagemap_cache(const void *ptr)
{
	struct bma_leaf *leaf = bma_pagemap_leaf(ptr);

	return bma_likely(leaf) ? port_load(&leaf->cache[bma_pagemap_unit(ptr)], acquire) : NULL;
}

/* The span of an object. */
static inline struct bma_span *bma_pagemap_span(const void *obj)
{
	return port_load(&bma_pagemap_leaf(obj)->span[bma_pagemap_unit(obj)], relaxed);
}

/*
 * Does an object begin at @ptr, which lies in a span of @c?
 *
 * inverse is the least integer above 2^64 / size: inverse * size = 2^64 + e with 1 <= e <= size.  So, modulo
 * 2^64, offset n * size + r comes out as n * e + r * inverse.  For an object (r = 0, n < nr_objs) that is
 * below bound = nr_objs * e; with r = 0 and a larger n, not below it; with r > 0, at least inverse, which is
 * more than n * e ever is.  None of it wraps: sizes and spans are below 2^22.  (Kin: Lemire, Kaser and
 * Kurz, "Faster remainder by direct computation", 2019.)
 */
static inline bool bma_is_obj(const struct bpf_mem_cache *c, const void *ptr)
{
	return ((uintptr_t)ptr & c->span_mask) * c->inverse < c->bound;
}

/* The number of that object within its span: n of the above, as n * e is below 2^64. */
static inline uint32_t bma_obj_nr(const struct bpf_mem_cache *c, const void *ptr)
{
	return (uint32_t)(((uintptr_t)ptr & c->span_mask) * (unsigned __int128)c->inverse >> 64);
}

/* depot.c: magazines out of CPUs */
struct bma_magazine *bma_magazine_new(void);
void bma_magazine_free(struct bma_magazine *m);
unsigned int bma_chain_free(struct bma_chain *chain, unsigned int max);
void bma_chain_add(struct bma_chain *chain, struct bma_magazine *m);
void bma_depot_put(struct bpf_mem_cache *c, struct bma_magazine *m);
struct bma_magazine *bma_depot_get(struct bpf_mem_cache *c);
struct bma_magazine *bma_depot_get_partial(struct bpf_mem_cache *c);
void bma_depot_splice(struct bpf_mem_cache *c, struct bma_magazine *first);

/* The state that a magazine has in a slot, and back. */
static inline bma_obj_t *bma_magazine_bottom(const struct bpf_mem_cache *c, struct bma_magazine *m)
{
	return (bma_obj_t *)(m + 1) - c->capacity;
}

static inline bma_obj_t *bma_magazine_top(const struct bpf_mem_cache *c, struct bma_magazine *m)
{
	return bma_magazine_bottom(c, m) + m->count;
}

static inline void bma_magazine_push(const struct bpf_mem_cache *c, struct bma_magazine *m,
				     void *obj)
{
	*bma_magazine_top(c, m) = obj;
	m->count++;
}

static inline void *bma_magazine_pop(const struct bpf_mem_cache *c, struct bma_magazine *m)
{
	m->count--;
	return *bma_magazine_top(c, m);
}

struct bma_magazine *bma_magazine_of(const struct bpf_mem_cache *c, bma_obj_t *top);
bma_obj_t *bma_magazine_load(const struct bpf_mem_cache *c, struct bma_magazine *m);
uint64_t bma_top_count(const struct bpf_mem_cache *c, bma_obj_t *top);

/* cpu.c: this CPU's magazines, when a pop or push finds one empty or full */
extern struct bma_cpu *const bma_no_cpu;
void *bma_cpu_pop(struct bpf_mem_cache *c);
bool bma_cpu_push(struct bpf_mem_cache *c, enum bma_top which, void *obj);
void *bma_cpu_refill(struct bpf_mem_cache *c);
void bma_cpu_flush(struct bpf_mem_cache *c, void *obj);
void bma_cpu_flush_rcu(struct bpf_mem_cache *c, void *obj);
struct bma_cpu *bma_cpu_new(const struct bma_group *g);
void bma_cpu_reset(struct bma_cpu *block);
void bma_cpu_free(struct bma_cpu *block);

static inline size_t bma_top_offset(const struct bpf_mem_cache *c, enum bma_top which)
{
	return c->slot + which * sizeof(bma_top_t);
}

static inline struct bma_slot *bma_slot(const struct bpf_mem_cache *c, struct bma_cpu *block)
{
	return (struct bma_slot *)((char *)block + c->slot);
}

static inline size_t bma_cpu_bytes(uint32_t nr_slots)
{
	return sizeof(struct bma_cpu) + nr_slots * sizeof(struct bma_slot);
}

/* gp.c: grace periods */
#define BMA_POLL_PATIENCE 16

uint64_t bma_gp_number(struct bma_gp *gp);
bool bma_gp_number_done(struct bma_gp *gp, uint64_t number);
void bma_gp_want(struct bma_gp *gp, uint64_t number, bool hurry);
bma_cookie_t bma_gp_snapshot(struct bma_gp *gp);
bool bma_gp_done(struct bma_gp *gp, bma_cookie_t cookie);
void bma_gp_request(struct bma_gp *gp, bma_cookie_t cookie, bool hurry);
void bma_gp_poll(struct bma_gp *gp, bool thorough);
bool bma_gp_look(struct bma_gp *gp);
bool bma_gp_wait(struct bma_gp *gp, uint64_t number);
struct bma_gp_counts bma_gp_counts(struct bma_gp *gp);

/* rcu.c: our own readers */
extern struct bma_gp bma_rcu, bma_trace;
void bma_readers_forked(uint32_t before);
uint32_t bma_reader_before(struct bma_gp *gp, uint64_t number, bool thorough);
void bma_readers_ask(struct bma_gp *gp);
bool bma_reader_inside(struct bma_gp *gp);
unsigned int bma_reader_records(void);

/* callback.c */
bool bma_callbacks_step(void);

/* limbo.c: magazines that wait for readers */
void bma_limbo_put(struct bpf_mem_cache *c, struct bma_magazine *m);
void bma_limbo_let_readers_run(struct bpf_mem_cache *c);
struct bma_magazine *bma_limbo_get(struct bpf_mem_cache *c);
void bma_limbo_put_partial(struct bpf_mem_cache *c, struct bma_magazine *m);
struct bma_magazine *bma_limbo_get_partial(struct bpf_mem_cache *c);
bool bma_limbo_ripen(struct bpf_mem_cache *c);
int64_t bma_limbo_bytes(struct bma_group *g);
void bma_limbo_close(struct bpf_mem_cache *c);
bma_handle_t bma_limbo_take(struct bpf_mem_cache *c, unsigned int bucket);
void bma_wait_begin(struct bma_wait *wait, struct bma_gp *gp);
bool bma_wait_done(struct bma_wait *wait, struct bma_gp *gp);

/* slab.c: objects out of magazines */
bool bma_slab_fill(struct bpf_mem_cache *c, struct bma_magazine *m);
void *bma_slab_get(struct bpf_mem_cache *c);
void bma_slab_put(struct bpf_mem_cache *c, void *obj);
bool bma_slab_put_chain(struct bpf_mem_cache *c, struct bma_chain *chain);
void bma_slab_defer(struct bpf_mem_cache *c, void *obj);
bool bma_slab_step(struct bpf_mem_cache *c);
void bma_slab_destruct(struct bpf_mem_cache *c, struct bma_magazine *m);
bool bma_slab_destroy(struct bpf_mem_cache *c, unsigned int *part);

static inline bma_cpu_ptr_t *bma_cpus(struct bma_group *g)
{
	return port_load(&g->cpus, acquire);
}

static inline bool bma_has_cpus(struct bma_group *g)
{
	return bma_cpus(g) != port_load(&bma_world.no_cpus, relaxed);
}

/* init.c: making and unmaking of allocators */
extern struct bpf_mem_cache bma_no_cache;
bma_cpu_ptr_t *bma_cpus_show(struct bma_group *g);
void bma_cpus_free(bma_cpu_ptr_t *cpus);
void bma_group_free(struct bma_group *g);
size_t bma_group_bytes(struct bma_group *g);

/* objcg.c: accounts */
bool bma_charge(struct bma_group *g, uint64_t bytes);
void bma_uncharge(struct bma_group *g, uint64_t bytes);

/* reclaim.c, teardown.c: the reclaimer's work */
bool bma_reclaim_harvest(struct bma_group *g, unsigned int index);
void bma_adopt(void);
unsigned int bma_teardown_step(struct bma_group *g);

/* debug.c */
struct bma_caller {
	const char *func;
	const void *site;
};

/* The public function that says so, and who called it. */
#define BMA_CALLER ((struct bma_caller){ __func__, __builtin_return_address(0) })

void bma_debug_init(void);
void bma_complain(struct bma_caller by, const char *what, const void *ptr,
		  const struct bpf_mem_alloc *ma);
void *bma_debug_alloc(struct bpf_mem_cache *c, void *obj, size_t bytes, struct bma_caller by,
		      void *(*refill)(struct bpf_mem_cache *c));
void bma_debug_free(struct bpf_mem_cache *c, void *obj, struct bma_caller by);
void bma_debug_free_rcu(struct bpf_mem_cache *c, void *obj, struct bma_caller by);
bool bma_debug_raw_free(struct bpf_mem_cache *c, void *obj, struct bma_caller by);
struct bma_magazine *bma_debug_ripened(struct bpf_mem_cache *c, struct bma_magazine *first);
bool bma_debug_records_new(struct bma_span *span);
void bma_debug_records_free(struct bma_span *span);
void bma_debug_span_comes(struct bma_span *span);
void bma_debug_span_goes(struct bma_span *span);
void bma_debug_leaves(struct bpf_mem_cache *c, void *obj);
void bma_debug_in_slab(struct bpf_mem_cache *c, void *obj);

static inline bool bma_debugging(void)
{
	return bma_unlikely(port_load(&bma_world.debug.mode, relaxed) & BMA_DEBUG_ON);
}

/* stats.c */
void bma_stats_bury(struct bma_group *g);

#endif /* BMA_BMA_H */
