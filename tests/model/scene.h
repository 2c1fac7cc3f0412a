/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * scene.h - what the scenarios share
 *
 * scene_alloc() and its kind keep a shadow of every object: who has it, who looks at it.  So each scenario
 * checks, without a word, that
 *   - an object has one owner, and keeps what that wrote;
 *   - no object that was freed with free_rcu is handed out, or written to, while a reader that found it
 *     before is inside; and no memory of an object goes while a reader of either kind is inside, or while
 *     it has an owner;
 *   - no store that was made inside a section reaches the object after it was handed out again;
 *   - at the end all is back: pages, pieces of metadata, counts.
 */
#ifndef BMA_SCENE_H
#define BMA_SCENE_H

#include "bma.h"
#include "model.h"

#define SCENE_OBJS 16

/* Sizes of objects that make magazines of one and two, in spans of one and two objects. */
#define SCENE_ONE 256
#define SCENE_TWO 128

enum scene_state { SCENE_NONE, SCENE_OUT, SCENE_FREED, SCENE_GONE };

struct scene_obj {
	char *at;
	size_t size;
	enum scene_state state;
	bool by_rcu; /* freed so */
	unsigned int watched; /* readers inside that have it, and expect it to stay */
	unsigned int held; /* readers inside that have it, of any kind */
	uint64_t mark; /* what its owner wrote */
	int writer[MODEL_THREADS]; /* readers that have written to it, by the number of its owners */
	int owners; /* so far */
};

static struct {
	struct scene_obj obj[SCENE_OBJS];
	unsigned int nr;
	uint64_t marks;
	struct bpf_mem_alloc ma[2];
	uint64_t root; /* what readers find objects by */
} scene;

static inline struct scene_obj *scene_obj(const void *p)
{
	unsigned int i;

	for (i = 0; i < scene.nr; i++)
		if (scene.obj[i].at == p)
			return &scene.obj[i];
	if (scene.nr == SCENE_OBJS)
		model_fail("too many objects for the shadow");
	scene.obj[scene.nr].at = (char *)(uintptr_t)p;
	return &scene.obj[scene.nr++];
}

static inline void scene_got(void *p, size_t size)
{
	struct scene_obj *o = scene_obj(p);

	if (o->state == SCENE_OUT)
		model_fail("an object has two owners");
	if (o->watched)
		model_fail("an object is reused while a reader has it");
	o->state = SCENE_OUT;
	o->size = size;
	o->owners++;
	o->mark = ++scene.marks;
	*(uint64_t *)p = o->mark;
}

static inline void scene_give(void *p, bool by_rcu)
{
	struct scene_obj *o = scene_obj(p);

	if (o->state != SCENE_OUT)
		model_fail("the scenario frees what it has not");
	if (*(uint64_t *)p != o->mark)
		model_fail("an object was written to while it had an owner");
	o->state = SCENE_FREED;
	o->by_rcu = by_rcu;
}

static inline void *scene_alloc_from(struct bpf_mem_alloc *ma)
{
	void *p = bpf_mem_cache_alloc(ma);

	if (p)
		scene_got(p, ma->caches->size);
	return p;
}

static inline void *scene_alloc(void)
{
	return scene_alloc_from(&scene.ma[0]);
}

static inline void scene_free_to(struct bpf_mem_alloc *ma, void *p)
{
	scene_give(p, false);
	bpf_mem_cache_free(ma, p);
}

static inline void scene_free(void *p)
{
	scene_free_to(&scene.ma[0], p);
}

static inline void scene_free_rcu(void *p)
{
	scene_give(p, true);
	bpf_mem_cache_free_rcu(&scene.ma[0], p);
}

/* --- readers -------------------------------------------------------------------------------------- */

/* Inside a section: what the root leads to, watched until scene_drop(); NULL if nothing. */
static inline char *scene_find(void)
{
	char *p = (char *)(uintptr_t)port_load(&scene.root, relaxed);

	if (p) {
		scene_obj(p)->watched++;
		scene_obj(p)->held++;
		if (scene_obj(p)->state == SCENE_GONE)
			model_fail("a reader finds an object whose memory has gone");
	}
	return p;
}

/* Look at it once more, and leave it. */
static inline void scene_drop(char *p)
{
	if (!p)
		return;
	model_point("a reader looks at its object");
	if (*(uint64_t *)p != scene_obj(p)->mark)
		model_fail("an object was written to while a reader had it");
	scene_obj(p)->watched--;
	scene_obj(p)->held--;
}

/* A section that finds an object, and writes into it. */
static inline void scene_read(bool write)
{
	char *p;

	bpf_rcu_read_lock();
	p = scene_find();
	if (p && write) {
		scene_obj(p)->writer[model_self()] = scene_obj(p)->owners;
		port_store((uint64_t *)(p + 8), 1, relaxed);
	}
	scene_drop(p);
	bpf_rcu_read_unlock();
}

static inline void scene_reader(void)
{
	scene_read(false);
}

static inline void scene_read_trace(void)
{
	char *p;

	rcu_read_lock_trace();
	p = (char *)(uintptr_t)port_load(&scene.root, relaxed);
	if (p) {
		scene_obj(p)->held++;
		model_point("a sleepable reader looks at its object");
		scene_obj(p)->held--;
	}
	rcu_read_unlock_trace();
}

/* Have readers find @p from now on, or (NULL) nothing; what they found until now. */
static inline void *scene_publish(void *p)
{
	void *old = (void *)(uintptr_t)scene.root;

	port_store(&scene.root, (uintptr_t)p, release);
	return old;
}

/* Unlink by a plain store, which may be late. */
static inline void *scene_unlink(void)
{
	void *old = (void *)(uintptr_t)scene.root;

	port_store(&scene.root, 0, relaxed);
	return old;
}

/* --- beginning and end ---------------------------------------------------------------------------- */

static inline void scene_pages_go(void *pages, size_t bytes)
{
	struct scene_obj *o;
	unsigned int i;

	for (i = 0; i < scene.nr; i++) {
		o = &scene.obj[i];
		if (o->at < (char *)pages || o->at >= (char *)pages + bytes)
			continue;
		if (o->held)
			model_fail("memory goes while a reader has an object in it");
		if (o->state == SCENE_OUT)
			model_fail("memory goes while an object has an owner");
		o->state = SCENE_GONE;
	}
}

static inline bool scene_late_store(unsigned int thread, void *p)
{
	struct scene_obj *o;
	unsigned int i;

	for (i = 0; i < scene.nr; i++) {
		o = &scene.obj[i];
		if ((char *)p != o->at + 8 || !o->writer[thread])
			continue;
		return o->state != SCENE_GONE && o->writer[thread] == o->owners;
	}
	return true;
}

/* One piece of each size that is in use, so that no scene cuts pages, which is many steps. */
static inline void scene_keep_metadata(void)
{
	unsigned int size_class;

	for (size_class = 0; size_class < 4; size_class++)
		bma_meta_alloc(size_class);
	bma_meta_alloc(BMA_META_MAGAZINE);
}

/* Also makes what the first allocator of a program makes for good. */
static inline void scene_begin_sized(int size)
{
	struct bpf_mem_alloc first;

	model_on_pages_free(scene_pages_go);
	model_on_late_store(scene_late_store);
	scene_keep_metadata();
	MODEL_CHECK(bpf_mem_alloc_init(&first, size, false) == 0);
	bpf_mem_cache_free(&first, bpf_mem_cache_alloc(&first));
	bpf_mem_alloc_destroy(&first);
	model_settle();
	model_baseline();
	MODEL_CHECK(bpf_mem_alloc_init(&scene.ma[0], size, false) == 0);
	model_settle();
}

static inline void scene_begin(void)
{
	scene_begin_sized(SCENE_TWO);
}

/* Every object that is free is where an allocation or the reclaimer finds it. */
static inline void scene_check_spans(struct bpf_mem_cache *c)
{
	bma_handle_t h;
	struct bma_span *span;
	uint32_t state;

	for (h = c->all_spans; h; h = span->all_next) {
		span = bma_piece(h);
		state = span->state;
		if (!(state & (BMA_SPAN_LISTED | BMA_SPAN_DEAD)) && span->map[0])
			model_fail("a span with free objects is on no list");
	}
}

static inline void scene_destroy(struct bpf_mem_alloc *ma)
{
	bpf_mem_alloc_destroy(ma);
}

/* What nobody has is with the slab when the reclaimer has nothing left to do: nothing strands. */
static inline void scene_check_nothing_strands(struct bpf_mem_cache *c)
{
	int64_t out = 0;
	unsigned int i;

	for (i = 0; i < scene.nr; i++)
		out += scene.obj[i].state == SCENE_OUT && bma_pagemap_cache(scene.obj[i].at) == c;
	if (c->nr_from_slab != out)
		model_fail("objects strand");
}

/* All is back once allocators are destroyed and readers are out. */
static inline void scene_end(void)
{
	unsigned int i;

	for (i = 0; i < 2; i++) {
		if (!scene.ma[i].group)
			continue;
		model_settle();
		scene_check_spans(scene.ma[i].caches);
		scene_check_nothing_strands(scene.ma[i].caches);
		scene_destroy(&scene.ma[i]);
	}
	model_settle();
	if (model_pages())
		model_fail("pages are not back");
	if (model_pieces())
		model_fail("metadata is not back");
}

#endif /* BMA_SCENE_H */
