// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * init.c - making an allocator, and handing it over to the reclaimer
 *
 * An allocator is a group of caches: one, or one for each size class.  Init takes metadata only (the
 * group and its caches); spans, CPUs' blocks and the table of these come when first needed.  Contexts:
 * process, but for bma_cpus_show(), which is for any.
 *
 * The table of CPUs has a word for each possible CPU, in each allocator, so one that is not used must
 * not have it.  All begin with the same, world.no_cpus, in which each CPU shows bma_no_cpu: nothing to
 * pop, no room to push.  Who is to give a CPU its first block makes the allocator's own first (NO_TABLE):
 *
 *   g->cpus	no_cpus -> own, by compare-and-swap, once; what is not the slow paths' business reads it
 *		as ever, and finds that no CPU has anything
 *   ma->cpus	what the fast path reads: set to g->cpus after that, and before the first block is put
 *		in the table, so that no block is where the fast path never looks
 *
 * Two CPUs at once, or a handler in the middle: the second one's swap fails, it frees the table that it
 * made and shows the first one's.  A context that stops between the two for good: its CPU has no block,
 * so the next one there comes by here again.  A call that still has the old table finds nothing in it,
 * takes the slow path, and reads g->cpus there.  Nothing is ever written to no_cpus.  Without memory for
 * a table it is as without memory for a block.  The reclaimer, which reads g->cpus once in a visit,
 * may miss a table that comes meanwhile, but then who loads the first magazine wakes it after that.
 * Where there is no fast path, as in debug mode, ma->cpus stays as it is.  Destroy comes after all calls.
 *
 * The table stays until destroy: in the fallback, who looked it up may yet lock a block in it.
 *
 * Ordering: the table's words are written before it is in g->cpus and ma->cpus (release); the fast path
 * reads them through the pointer.
 *
 * Held by: tests/core/test_init.c.
 */
#include "bma.h"

static const uint32_t class_sizes[BMA_NR_CLASSES] = { 16,  32,	64,   96,   128, 192,
						      256, 512, 1024, 2048, 4096 };

/* What a destroyed allocator points to: nothing is one of its objects. */
struct bpf_mem_cache bma_no_cache;

#define UNIT ((size_t)1 << PORT_UNIT_SHIFT)
#define SPAN_MAX (BPF_MEM_CACHE_SIZE_MAX > UNIT ? (size_t)BPF_MEM_CACHE_SIZE_MAX : UNIT)

/* Objects from 16 bytes on are aligned to 16; smaller ones to the power of two in their size. */
static uint32_t stride_of(uint32_t size)
{
	uint32_t align = size >= 16 ? 16 : 8;

	return (size + align - 1) & ~(align - 1);
}

/* The smallest span of which at most an eighth is lost. */
static size_t span_bytes_of(uint32_t stride)
{
	size_t bytes = UNIT;

	while (bytes < SPAN_MAX && (bytes < stride || bytes % stride > bytes / 8))
		bytes += UNIT;
	return bytes;
}

static uint32_t mask_of(size_t bytes)
{
	uint32_t size = UNIT;

	while (size < bytes)
		size <<= 1;
	return size - 1;
}

_Static_assert(UNIT / 8 <= UINT16_MAX, "of the smallest objects, a span has the most");
_Static_assert(SPAN_MAX <= (1ul << 21), "as bma_is_obj() has it");

/* The least integer above 2^64 / @size, where 2^64 has no room. */
static uint64_t inverse_of(uint32_t size)
{
	return (UINT64_MAX - (size - 1)) / size + 2;
}

static uint32_t capacity_of(uint32_t stride)
{
	uint32_t n = PORT_MAGAZINE_OBJ_BYTES / stride;

	if (n > BMA_MAGAZINE_ENTRIES)
		return BMA_MAGAZINE_ENTRIES;
	return n ? n : 1;
}

static void cache_init(struct bma_group *g, struct bpf_mem_cache *c, uint32_t size, bool percpu,
		       uint32_t slot_nr)
{
	c->size = stride_of(size);
	c->user_size = size;
	c->span_bytes = span_bytes_of(c->size);
	c->span_mask = mask_of(c->span_bytes);
	c->nr_objs = (uint16_t)(c->span_bytes / c->size);
	c->inverse = inverse_of(c->size);
	c->bound = c->nr_objs * (c->inverse * c->size);
	c->map_words = (uint16_t)((c->nr_objs + 63) / 64);
	c->capacity = capacity_of(c->size);
	c->slot = BMA_TOP_OFFSET(slot_nr, 0);
	c->group = g;
	c->percpu = percpu;
	c->nr_copies = percpu ? port_nr_cpus() : 1;
	port_store(&c->ready, true, relaxed);
}

/* A table of CPUs may be larger than a piece of metadata. */
static size_t cpus_bytes(void)
{
	return port_nr_cpus() * sizeof(bma_cpu_ptr_t);
}

static bma_cpu_ptr_t *cpus_new(void)
{
	size_t bytes = cpus_bytes(), i;
	bma_cpu_ptr_t *cpus;

	if (bytes <= 1u << BMA_META_MAX_SHIFT)
		cpus = bma_meta_alloc(bma_meta_class(bytes));
	else
		cpus = port_pages_alloc((bytes + UNIT - 1) & ~(UNIT - 1), UNIT, 0);
	for (i = 0; cpus && i < port_nr_cpus(); i++)
		port_store(&cpus[i], bma_no_cpu, relaxed);
	return cpus;
}

void bma_cpus_free(bma_cpu_ptr_t *cpus)
{
	size_t bytes = cpus_bytes();

	if (bytes <= 1u << BMA_META_MAX_SHIFT)
		bma_meta_free(cpus, bma_meta_class(bytes));
	else
		port_pages_free(cpus, (bytes + UNIT - 1) & ~(UNIT - 1));
}

/* In debug mode all calls are to come to the slow paths, so the fast ones find nothing. */
static bool has_fast_paths(void)
{
	return port_cpu_fast() && !bma_debugging();
}

/* The table of CPUs that is @g's own, made now if there is none, and shown to the fast paths; or NULL. */
bma_cpu_ptr_t *bma_cpus_show(struct bma_group *g)
{
	bma_cpu_ptr_t *none = port_load(&bma_world.no_cpus, relaxed), *fresh;

	if (!bma_has_cpus(g)) {
		fresh = cpus_new();
		if (!fresh)
			return NULL;
		if (!port_cas(&g->cpus, &none, fresh, acq_rel)) /* NO_TABLE */
			bma_cpus_free(fresh);
	}
	if (has_fast_paths())
		port_store((PORT_ATOMIC(bma_cpu_ptr_t *) *)&g->allocator->cpus, bma_cpus(g),
			   release);
	return bma_cpus(g);
}

static size_t caches_bytes(uint32_t nr)
{
	return nr * sizeof(struct bpf_mem_cache);
}

_Static_assert(BMA_NR_CLASSES * sizeof(struct bpf_mem_cache) <= 1u << BMA_META_MAX_SHIFT,
	       "the caches of a group are one piece");

size_t bma_group_bytes(struct bma_group *g)
{
	return sizeof(*g) + caches_bytes(g->nr_caches) + (bma_has_cpus(g) ? cpus_bytes() : 0);
}

/* Free a group that nothing points to any more; its table of CPUs is freed already. */
void bma_group_free(struct bma_group *g)
{
	bma_meta_free(g->caches, bma_meta_class(caches_bytes(g->nr_caches)));
	bma_meta_free(g, bma_meta_class(sizeof(*g)));
}

/* A zeroed piece, but for its first word, which late pops may still read. */
static void *zeroed(size_t bytes)
{
	char *piece = bma_meta_alloc(bma_meta_class(bytes));

	if (piece) {
		port_store((bma_link_t *)piece, 0, relaxed);
		__builtin_memset(piece + sizeof(bma_link_t), 0, bytes - sizeof(bma_link_t));
	}
	return piece;
}

/* What destroyed allocators share; made once, for good. */
static bool no_cpus_ready(void)
{
	bma_cpu_ptr_t *none = NULL, *fresh;

	if (port_load(&bma_world.no_cpus, acquire))
		return true;
	fresh = cpus_new();
	if (fresh && !port_cas(&bma_world.no_cpus, &none, fresh, release))
		bma_cpus_free(fresh);
	return fresh;
}

static struct bma_group *group_new(uint32_t nr_caches, uint32_t nr_slots)
{
	struct bma_group *g = no_cpus_ready() ? zeroed(sizeof(*g)) : NULL;

	if (!g)
		return NULL;
	g->nr_caches = nr_caches;
	g->nr_slots = nr_slots;
	g->nr_cpus = port_nr_cpus();
	port_store(&g->cpus, port_load(&bma_world.no_cpus, relaxed), relaxed);
	g->caches = zeroed(caches_bytes(nr_caches));
	if (g->caches)
		return g;
	bma_meta_free(g, bma_meta_class(sizeof(*g)));
	return NULL;
}

static void publish(struct bpf_mem_alloc *ma, struct bma_group *g, struct bma_gp *gp)
{
	g->gp = gp;
	g->gp_at_init = bma_gp_counts(gp);
	g->allocator = ma;
	ma->cpus = (struct bma_cpu **)port_load(&bma_world.no_cpus, relaxed);
	ma->caches = g->caches;
	ma->group = g;
	ma->bytes_caches = caches_bytes(g->nr_caches);
	bma_stack_push(&bma_world.inbox, g, g);
	port_reclaim_wake();
}

/* @gp: NULL if there was no memory for it */
static int init(struct bpf_mem_alloc *ma, int size, bool percpu, struct bma_gp *gp)
{
	struct bma_group *g;
	unsigned int i;

	g = gp ? group_new(size ? 1 : BMA_NR_CLASSES, size ? 1 : BMA_MAX_SLOTS) : NULL;
	if (!g)
		return -PORT_ENOMEM;
	if (size)
		cache_init(g, g->caches, (uint32_t)size, percpu, 0);
	for (i = 0; !size && i < BMA_NR_CLASSES; i++)
		cache_init(g, &g->caches[i], class_sizes[i], percpu, BMA_FIRST_CLASS_SLOT + i);
	publish(ma, g, gp);
	return 0;
}

/* Each init, whether it succeeds or not. */
static void begin(struct bpf_mem_alloc *ma)
{
	*ma = (struct bpf_mem_alloc){ 0 };
	port_init();
	bma_debug_init();
}

static int check(int size, bool percpu)
{
	if (size < 0 || (percpu && !size))
		return -PORT_EINVAL;
	return size > BPF_MEM_CACHE_SIZE_MAX ? -PORT_E2BIG : 0;
}

int bpf_mem_alloc_init(struct bpf_mem_alloc *ma, int size, bool percpu)
{
	int err = check(size, percpu);

	begin(ma);
	return err ? err : init(ma, size, percpu, &bma_rcu);
}

int bpf_mem_alloc_init_flavor(struct bpf_mem_alloc *ma, int size, bool percpu,
			      const struct rcu_flavor_struct *flavor)
{
	int err = flavor ? check(size, percpu) : -PORT_EINVAL;

	begin(ma);
	return err ? err : init(ma, size, percpu, port_gp_of_flavor(flavor));
}

int bpf_mem_alloc_percpu_init(struct bpf_mem_alloc *ma, struct obj_cgroup *objcg)
{
	int err;
	unsigned int i;

	begin(ma);
	err = init(ma, 0, true, &bma_rcu);
	if (err)
		return err;
	for (i = 0; i < BMA_NR_CLASSES; i++)
		port_store(&ma->caches[i].ready, false, relaxed);
	if (objcg)
		bpf_mem_alloc_set_objcg(ma, objcg);
	return 0;
}

int bpf_mem_alloc_percpu_unit_init(struct bpf_mem_alloc *ma, int size)
{
	struct bma_group *g = ma->group;
	unsigned int i = 0;

	if (!g || g->nr_caches != BMA_NR_CLASSES || !g->caches->percpu || size <= 0 ||
	    size > BPF_MEM_ALLOC_SIZE_MAX)
		return -PORT_EINVAL;
	while (class_sizes[i] < (uint32_t)size)
		i++;
	port_store(&g->caches[i].ready, true, relaxed);
	return 0;
}

void bpf_mem_alloc_set_dtor(struct bpf_mem_alloc *ma, void (*dtor)(void *obj, void *ctx),
			    void (*dtor_ctx_free)(void *ctx), void *ctx)
{
	struct bma_group *g = ma->group;

	if (!g) {
		bma_complain(BMA_CALLER, "not an allocator", ma, ma);
		return;
	}
	/* The reclaimer has no object of it yet, but reads the group. */
	port_reclaim_lock();
	g->dtor = dtor;
	g->dtor_ctx_free = dtor_ctx_free;
	g->dtor_ctx = ctx;
	port_reclaim_unlock();
}

void bpf_mem_alloc_set_limbo_limit(struct bpf_mem_alloc *ma, size_t bytes)
{
	if (ma->group)
		port_store(&ma->group->limbo_limit, bytes, relaxed);
	else
		bma_complain(BMA_CALLER, "not an allocator", ma, ma);
}

void bpf_mem_alloc_destroy(struct bpf_mem_alloc *ma)
{
	struct bma_group *g = ma->group;

	if (!g)
		return;
	ma->cpus = (struct bma_cpu **)port_load(&bma_world.no_cpus, relaxed);
	ma->caches = &bma_no_cache;
	ma->group = NULL;
	ma->bytes_caches = 0;
	/* Pairs with the reclaimer's acquire: all calls on it are before. */
	port_store(&g->state, BMA_DYING, release);
	port_reclaim_wake();
}
