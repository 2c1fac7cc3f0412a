// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * debug.c - debug mode: who freed twice, who wrote after a free, who read too late
 *
 * Problem: find misuse of objects in a running program, in any context, with the library that is
 * installed, and without a cost when nobody asked for it.
 *
 * Idea: in debug mode an allocator's user sees a table of CPUs in which all show bma_no_cpu, so every
 * fast path fails and every call arrives in a slow function.  There one branch leads here, where the
 * same steps are done on the real table.  Below that all is as usual.  Kin: SLUB's debugging (user
 * tracking, poison), KASAN's quarantine.
 *
 * Each object has a record beside its span: what became of it last, where, and by whom.  What no reader
 * can have any more is filled with a pattern, which is looked at when the object is handed out again and
 * when its memory leaves.
 *
 *	last		since			memory			who may go on from it
 *	IN_SLAB		put, or new		zero, gone		who took its bit
 *	OUT		alloc			the caller's		free, by compare-and-swap
 *	FREED		free, reader inside	as freed, waiting	who has it in hand
 *	WAITING		free_rcu		as freed, waiting	who took the ripe bucket, or reclaimer
 *	FILLED		no reader		pattern, gone		who has it in hand
 *	KEPT		no reader, but a dtor	as freed, gone		who has it in hand
 *	LEAVING		on its way to the slab	ours			who has it in hand
 *
 * Objects and owners: a record's word changes hands with the object.  Only OUT is left by whoever comes
 * first, so of two frees one finds it gone, which is the double free.  That word carries the address of
 * the call that changed it, so that the loser knows that of the winner; the rest of the record may be
 * a moment late.  Records are the descriptor's, not the memory's, so that a late look at one is harmless.
 *
 * When no reader can have an object: at its free in our own domain, if after barrier SCAN nobody is
 * inside, of either kind, the caller included.  Else, after bpf_mem_free() it is left alone and not
 * checked; after free_rcu it is looked at again when it ripens, and left alone if a sleepable reader is
 * inside then.  Readers of liburcu are not to be seen: who says bpf_mem_free() there is believed.
 *
 * Quarantine: what is ripe goes to the young generation.  When that has Q bytes, the old generation goes to
 * the depot and the young one becomes the old: between Q and 2Q bytes of frees for each object.
 *
 *	list		push			take all
 *	young		who ripened it		who sets nr_young back (by compare-and-swap), teardown
 *	old		who took young		the same; who finds no memory
 *
 * Progress: lock-free, but linear in objects that ripen and in records of readers.  Contexts: any.
 *
 * Not promised: that a free of another allocator's object is survived while that allocator goes away.
 *
 * Held by: tests/core/test_debug.c, tests/process/test_debug.c.
 */
#include "bma.h"

/* As Linux's POISON_FREE. */
#define PATTERN 0x6b
#define LEAKS_SHOWN 8

#define UNIT ((size_t)1 << PORT_UNIT_SHIFT)

enum state { IN_SLAB, OUT, FREED, WAITING, FILLED, KEPT, LEAVING };

struct bma_record {
	bma_word_t last; /* {address of the call:56, state:8} */
	PORT_ATOMIC(uintptr_t) alloc_site;
	PORT_ATOMIC(const char *) free_func; /* NULL: not known, or not yet */
	PORT_ATOMIC(uint32_t) alloc_thread, free_thread;
};

/* --- what the user asked for -------------------------------------------------------------------- */

struct options {
	uint32_t mode;
	uint64_t quarantine;
	bool unknown;
};

/* If @text begins with @word, what follows it. */
static const char *after(const char *text, const char *word)
{
	while (*word && *text == *word)
		text++, word++;
	return *word ? NULL : text;
}

static bool is_end(const char *text)
{
	return !*text || *text == ',';
}

/* A number of bytes with a suffix K, M or G; NULL if that is not what it is. */
static const char *bytes_at(const char *text, uint64_t *bytes)
{
	uint64_t n = 0;
	const char *at = text;

	for (; *at >= '0' && *at <= '9' && n < 1ull << 40; at++)
		n = n * 10 + (uint64_t)(*at - '0');
	if (at == text)
		return NULL;
	if (*at == 'K' || *at == 'M' || *at == 'G')
		n <<= *at == 'K' ? 10 : *at == 'M' ? 20 : 30, at++;
	*bytes = n;
	return is_end(at) ? at : NULL;
}

static void read_option(const char *text, struct options *o)
{
	const char *value = after(text, "quarantine=");

	if (is_end(text))
		return;
	if ((value && bytes_at(value, &o->quarantine)) || (*text == '1' && is_end(text + 1)))
		o->mode |= BMA_DEBUG_ON;
	else if (*text == '0' && is_end(text + 1))
		o->mode &= ~BMA_DEBUG_ON;
	else if (after(text, "abort") && is_end(after(text, "abort")))
		o->mode |= BMA_DEBUG_ON | BMA_DEBUG_ABORT;
	else
		o->unknown = true;
}

static void read_options(const char *text, struct options *o)
{
	while (text) {
		read_option(text, o);
		while (!is_end(text))
			text++;
		text = *text ? text + 1 : NULL;
	}
}

/* Process: before the first allocator is made. */
void bma_debug_init(void)
{
	struct bma_debug *d = &bma_world.debug;
	struct options o = { .mode = BMA_DEBUG_READ };
	uint32_t unread = 0;
	bool on = false;
	const char *text;

	/* Acquire: pairs with the release below, for quarantine. */
	if (port_load(&d->mode, acquire))
		return;
	text = port_debug_options(&on);
	if (on)
		o.mode |= BMA_DEBUG_ON;
	read_options(text, &o);
	/* Who comes here at the same time reads the same. */
	port_store(&d->quarantine, o.quarantine, relaxed);
	if (port_cas(&d->mode, &unread, o.mode, release) && o.unknown)
		port_report("bma", "BMA_DEBUG has an option that is not known", NULL, 0, 0);
}

/* --- records ------------------------------------------------------------------------------------- */

static size_t records_bytes(const struct bpf_mem_cache *c)
{
	return (c->nr_objs * sizeof(struct bma_record) + UNIT - 1) & ~(UNIT - 1);
}

bool bma_debug_records_new(struct bma_span *span)
{
	span->records = port_pages_alloc(records_bytes(span->cache), UNIT, 0);
	return span->records;
}

void bma_debug_records_free(struct bma_span *span)
{
	if (span->records)
		port_pages_free(span->records, records_bytes(span->cache));
}

static uint64_t packed(uintptr_t site, enum state state)
{
	return (uint64_t)site << 8 | state;
}

static uintptr_t site_of(uint64_t last)
{
	return (uintptr_t)(last >> 8);
}

static enum state state_of(uint64_t last)
{
	return (enum state)(last & 0xff);
}

/* NULL if @obj's span has gone meanwhile, so that it was not the caller's. */
static struct bma_record *record_of(struct bpf_mem_cache *c, const void *obj)
{
	struct bma_span *span = bma_pagemap_span(obj);

	return span ? &span->records[bma_obj_nr(c, obj)] : NULL;
}

/* Who has the object in hand says what becomes of it; where it was freed stays. */
static void go_on(struct bma_record *r, enum state state)
{
	port_store(&r->last, packed(site_of(port_load(&r->last, relaxed)), state), release);
}

/* --- reports ------------------------------------------------------------------------------------- */

static void report(struct bma_misuse *m, struct bma_caller by)
{
	m->call.func = by.func;
	m->call.site = (uintptr_t)by.site;
	m->call.thread = port_thread_id();
	m->fatal = port_load(&bma_world.debug.mode, relaxed) & BMA_DEBUG_ABORT;
	port_report_object(m);
}

static void name_allocator(struct bma_misuse *m, const struct bma_group *g)
{
	m->allocator = g->allocator;
	m->size = g->nr_caches == 1 ? g->caches->user_size : 0;
}

/* What @r knows of its object, which was last seen as @last. */
static void tell_history(struct bma_misuse *m, struct bma_record *r, uint64_t last)
{
	uintptr_t site = port_load(&r->alloc_site, relaxed);

	if (site || state_of(last) == OUT)
		m->alloc = (struct bma_event){ "", port_load(&r->alloc_thread, relaxed), site };
	if (state_of(last) != OUT && site_of(last)) {
		m->free.func = port_load(&r->free_func, relaxed);
		m->free.func = m->free.func ? m->free.func : "another call at this moment";
		m->free.thread = port_load(&r->free_thread, relaxed);
		m->free.site = site_of(last);
	}
}

static void report_obj(struct bpf_mem_cache *c, const void *obj, const char *what, uint64_t offset,
		       uint64_t last, struct bma_caller by)
{
	struct bma_misuse m = { .what = what, .ptr = obj, .offset = offset };
	struct bma_record *r = record_of(c, obj);

	name_allocator(&m, c->group);
	m.size = c->user_size;
	if (r)
		tell_history(&m, r, last);
	report(&m, by);
}

/* @ptr lies in a span: of which object, and what became of that?  @ma is NULL: it may be any's. */
static void tell_whose(struct bma_misuse *m, struct bpf_mem_cache *c,
		       const struct bpf_mem_alloc *ma)
{
	uintptr_t at = (uintptr_t)m->ptr & c->span_mask;
	const char *obj = (const char *)m->ptr - at % c->size;
	bool ours = !ma || (uintptr_t)c - (uintptr_t)ma->caches < ma->bytes_caches;
	struct bma_record *r;

	if (at / c->size >= c->nr_objs)
		return;
	m->offset = at % c->size ? at % c->size : BMA_NO_OFFSET;
	m->size = c->user_size;
	m->what = !ours	       ? "an object of another allocator" :
		  at % c->size ? "a pointer into an object, not to its beginning" :
				 m->what;
	if (!ma || !ours)
		m->allocator = c->group->allocator;
	r = record_of(c, obj);
	if (r)
		tell_history(m, r, port_load(&r->last, acquire));
}

/* Something is wrong with a call on @ma (NULL: on none), or with its @ptr. */
void bma_complain(struct bma_caller by, const char *what, const void *ptr,
		  const struct bpf_mem_alloc *ma)
{
	bool destroyed = ma && ma->caches == &bma_no_cache;
	struct bpf_mem_cache *c = destroyed || ptr == ma ? NULL : bma_pagemap_cache(ptr);
	struct bma_misuse m = { .what = destroyed ? "the allocator was destroyed" : what };

	if (!bma_debugging()) {
		port_report(by.func, m.what, ptr, 0, 0);
		return;
	}
	m.ptr = ptr;
	m.offset = BMA_NO_OFFSET;
	m.allocator = ma;
	if (ma && ma->group)
		name_allocator(&m, ma->group);
	if (c)
		tell_whose(&m, c, ma);
	report(&m, by);
}

/* --- contents and marks --------------------------------------------------------------------------- */

static char *copy_of(const struct bpf_mem_cache *c, void *obj, uint32_t i)
{
	return (char *)obj + i * c->span_bytes;
}

static void mark(const struct bpf_mem_cache *c, void *obj, void (*as)(void *mem, size_t size))
{
	uint32_t i;

	for (i = 0; i < c->nr_copies; i++)
		as(copy_of(c, obj, i), c->size);
}

static void mark_out(const struct bpf_mem_cache *c, void *obj, size_t bytes)
{
	uint32_t i;

	for (i = 0; i < c->nr_copies; i++)
		port_mark_out(copy_of(c, obj, i), bytes, c->size);
}

static void fill(const struct bpf_mem_cache *c, void *obj)
{
	uint32_t i;

	for (i = 0; i < c->nr_copies; i++)
		__builtin_memset(copy_of(c, obj, i), PATTERN, c->size);
}

/* The offset of the first byte of @mem that is not @byte; a word at a time while it is. */
static uint64_t first_wrong(const char *mem, size_t size, unsigned char byte)
{
	uint64_t word = byte * 0x0101010101010101ull;
	size_t at = 0;

	while (at < size && *(const uint64_t *)(mem + at) == word)
		at += sizeof(word);
	while (at < size && (unsigned char)mem[at] == byte)
		at++;
	return at;
}

static void check(struct bpf_mem_cache *c, void *obj, uint64_t last, struct bma_caller by)
{
	bool filled = state_of(last) == FILLED;
	uint64_t at;
	uint32_t i;

	for (i = 0; i < c->nr_copies; i++) {
		at = first_wrong(copy_of(c, obj, i), c->size, filled ? PATTERN : 0);
		if (at == c->size)
			continue;
		report_obj(c, obj,
			   filled ? "the object was written after it was freed" :
				    "memory that was not handed out was written",
			   i * c->span_bytes + at, last, by);
		return;
	}
}

/* Make a freed object's memory ours, and see whether all is as we left it. */
static void take_back(struct bpf_mem_cache *c, void *obj, uint64_t last, struct bma_caller by)
{
	mark(c, obj, port_mark_ours);
	if (state_of(last) == FILLED || state_of(last) == IN_SLAB)
		check(c, obj, last, by);
}

/* No reader can have @obj, which was freed, any more. */
static void poison(struct bpf_mem_cache *c, void *obj, struct bma_record *r)
{
	mark(c, obj, port_mark_ours);
	/* A destructor finds what the object held. */
	if (!c->group->dtor)
		fill(c, obj);
	mark(c, obj, port_mark_gone);
	go_on(r, c->group->dtor ? KEPT : FILLED);
}

/* --- readers -------------------------------------------------------------------------------------- */

/* Whoever entered before SCAN and is still inside had read this number or less. */
static bool is_some_inside(struct bma_gp *gp)
{
	return bma_reader_before(gp, port_load(gp->started, seq_cst) + 1, true);
}

static bool no_sleepable_reader(void)
{
	return port_readers_fence() && !is_some_inside(&bma_trace); /* SCAN */
}

static bool no_reader(struct bma_gp *gp)
{
	return no_sleepable_reader() && (gp->driven || !is_some_inside(gp));
}

/* --- quarantine ----------------------------------------------------------------------------------- */

static int64_t generation_bytes(void)
{
	return (int64_t)port_load(&bma_world.debug.quarantine, relaxed);
}

static bool release(struct bpf_mem_cache *c, struct bma_stack *generation)
{
	bma_handle_t h = bma_stack_take(generation);
	bool some = h;
	struct bma_magazine *m;

	while (h) {
		m = bma_piece(h);
		h = port_load(&m->next, relaxed);
		port_sub(&c->nr_quarantined, (int64_t)m->count, relaxed);
		bma_depot_put(c, m);
	}
	return some;
}

static bool release_all(struct bpf_mem_cache *c)
{
	bool old = release(c, &c->old);

	return release(c, &c->young) || old;
}

static void next_generation(struct bpf_mem_cache *c)
{
	struct bma_magazine *m;
	bma_handle_t h;

	release(c, &c->old);
	h = bma_stack_take(&c->young);
	while (h) {
		m = bma_piece(h);
		h = port_load(&m->next, relaxed);
		bma_stack_push(&c->old, m, m);
	}
}

static void quarantine(struct bpf_mem_cache *c, struct bma_magazine *m)
{
	int64_t count = (int64_t)m->count, young;

	port_add(&c->nr_quarantined, count, relaxed);
	bma_stack_push(&c->young, m, m);
	young = port_add(&c->nr_young, count, relaxed) + count;
	if (young * (int64_t)c->size >= generation_bytes() &&
	    port_cas(&c->nr_young, &young, 0, relaxed))
		next_generation(c);
}

/* --- alloc and free ------------------------------------------------------------------------------- */

static void hand_out(struct bpf_mem_cache *c, void *obj, size_t bytes, struct bma_caller by)
{
	struct bma_record *r = record_of(c, obj);

	take_back(c, obj, port_load(&r->last, acquire), by);
	port_store(&r->alloc_site, (uintptr_t)by.site, relaxed);
	port_store(&r->alloc_thread, port_thread_id(), relaxed);
	port_store(&r->free_func, NULL, relaxed);
	port_store(&r->free_thread, 0, relaxed);
	mark_out(c, obj, bytes);
	port_store(&r->last, packed((uintptr_t)by.site, OUT), release);
}

/* Hand out @obj, or if there is none (NULL) what @refill finds once the quarantine is given up. */
void *bma_debug_alloc(struct bpf_mem_cache *c, void *obj, size_t bytes, struct bma_caller by,
		      void *(*refill)(struct bpf_mem_cache *c))
{
	if (!obj && release_all(c))
		obj = refill(c);
	if (obj)
		hand_out(c, obj, bytes, by);
	return obj;
}

static const char *why_not(enum state state)
{
	switch (state) {
	case IN_SLAB:
	case LEAVING:
		return "the object is not allocated";
	default:
		return "the object is freed already";
	}
}

/* Have the caller give up @obj; NULL, and it is told, if it is not the caller's. */
static struct bma_record *take_from_user(struct bpf_mem_cache *c, void *obj, enum state to,
					 struct bma_caller by)
{
	struct bma_record *r = record_of(c, obj);
	uint64_t last = r ? port_load(&r->last, acquire) : 0;

	while (state_of(last) == OUT)
		if (port_cas(&r->last, &last, packed((uintptr_t)by.site, to), acq_rel))
			break;
	if (state_of(last) != OUT) {
		report_obj(c, obj, why_not(state_of(last)), BMA_NO_OFFSET, last, by);
		port_add(&c->group->nr_bad_frees, 1, relaxed);
		return NULL;
	}
	port_store(&r->free_func, by.func, relaxed);
	port_store(&r->free_thread, port_thread_id(), relaxed);
	mark(c, obj, port_mark_waiting);
	return r;
}

static void push_by_rcu(struct bpf_mem_cache *c, void *obj)
{
	if (!bma_cpu_push(c, BMA_BY_RCU, obj))
		bma_cpu_flush_rcu(c, obj);
}

void bma_debug_free_rcu(struct bpf_mem_cache *c, void *obj, struct bma_caller by)
{
	struct bma_record *r = take_from_user(c, obj, WAITING, by);

	if (!r)
		return;
	/* Of liburcu's readers we know only when they have left. */
	if (!c->group->gp->driven && no_reader(c->group->gp))
		poison(c, obj, r);
	push_by_rcu(c, obj);
}

void bma_debug_free(struct bpf_mem_cache *c, void *obj, struct bma_caller by)
{
	struct bma_record *r;

	if (generation_bytes()) {
		bma_debug_free_rcu(c, obj, by);
		return;
	}
	r = take_from_user(c, obj, FREED, by);
	if (!r)
		return;
	if (no_reader(c->group->gp))
		poison(c, obj, r);
	if (!bma_cpu_push(c, BMA_LOADED, obj))
		bma_cpu_flush(c, obj);
}

/* True: @obj is ours, to be put into the slab. */
bool bma_debug_raw_free(struct bpf_mem_cache *c, void *obj, struct bma_caller by)
{
	if (!take_from_user(c, obj, LEAVING, by))
		return false;
	mark(c, obj, port_mark_ours);
	return true;
}

/* --- limbo and slab ------------------------------------------------------------------------------- */

static void ripened(struct bpf_mem_cache *c, void *obj, bool poisoned)
{
	struct bma_record *r = record_of(c, obj);

	if (state_of(port_load(&r->last, acquire)) != WAITING)
		return;
	if (poisoned)
		poison(c, obj, r);
	else
		go_on(r, FREED);
}

/*
 * A list of magazines whose grace period has passed, in hand from @first on; returns what may be used
 * again now.
 */
struct bma_magazine *bma_debug_ripened(struct bpf_mem_cache *c, struct bma_magazine *first)
{
	bool poisoned = no_sleepable_reader();
	struct bma_magazine *m;
	bma_handle_t h;
	uint32_t i;

	for (h = bma_handle(first); h;) {
		m = bma_piece(h);
		h = port_load(&m->next, relaxed);
		for (i = 0; i < m->count; i++)
			ripened(c, bma_magazine_bottom(c, m)[i], poisoned);
		if (generation_bytes())
			quarantine(c, m);
	}
	return generation_bytes() ? NULL : first;
}

#define BY_RECLAIMER ((struct bma_caller){ "bma", NULL })

/* Reclaimer: @obj is about to be destructed, or to go back to the slab. */
void bma_debug_leaves(struct bpf_mem_cache *c, void *obj)
{
	struct bma_record *r = record_of(c, obj);

	take_back(c, obj, port_load(&r->last, acquire), BY_RECLAIMER);
	go_on(r, LEAVING);
}

/* @obj is zero now, and about to be the slab's. */
void bma_debug_in_slab(struct bpf_mem_cache *c, void *obj)
{
	mark(c, obj, port_mark_gone);
	go_on(record_of(c, obj), IN_SLAB);
}

void bma_debug_span_comes(struct bma_span *span)
{
	port_mark_gone(span->base, span->cache->span_bytes * span->cache->nr_copies);
}

static void obj_goes(struct bpf_mem_cache *c, void *obj, struct bma_record *r, uint32_t *leaks)
{
	uint64_t last = port_load(&r->last, acquire);

	if (state_of(last) == OUT) {
		if (!c->group->inherited && (*leaks)++ < LEAKS_SHOWN)
			report_obj(c, obj, "the object was never freed", BMA_NO_OFFSET, last,
				   (struct bma_caller){ "bpf_mem_alloc_destroy", NULL });
		mark(c, obj, port_mark_waiting);
	}
	take_back(c, obj, last, BY_RECLAIMER);
	port_store(&r->last, IN_SLAB, release);
}

/* A span of which nobody has an object, or whose allocator is destroyed, is about to be unmapped. */
void bma_debug_span_goes(struct bma_span *span)
{
	struct bpf_mem_cache *c = span->cache;
	uint32_t nr, *leaks = &c->leaks_shown;

	for (nr = 0; nr < c->nr_objs; nr++)
		obj_goes(c, span->base + (size_t)nr * c->size, &span->records[nr], leaks);
	port_mark_ours(span->base, c->span_bytes * c->nr_copies);
}
