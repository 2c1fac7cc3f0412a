// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * source_malloc.c - malloc and free; and the least that an allocator can do
 *
 * The array is what is left when all that makes an allocator usable is left out: objects of one
 * thread, made beforehand, taken from and put on a stack.  It knows nothing of other threads, of
 * signals, of an end of its memory, or of wrong pointers.  It is inlined into the loop; the same behind
 * two calls by address is what a shared library could do at best.  And for what is handed over, not even
 * that: its objects are used in turn, and nothing is given back, which leaves the handing over alone.
 */
#define _GNU_SOURCE
#include "source.h"

#include <stdlib.h>

static ALWAYS_INLINE void *malloc_alloc(struct worker *t)
{
	return malloc(t->size);
}

static ALWAYS_INLINE void malloc_free(struct worker *t, void *object)
{
	(void)t;
	free(object);
}

DEFINE_LOOPS(malloc, malloc_alloc, malloc_free)

const struct source source_malloc = { LOOPS(malloc, malloc_alloc, malloc_free) };

#define ARRAY_OBJECTS 1024

static __thread struct {
	size_t nr;
	void *objects[ARRAY_OBJECTS];
} array;

static bool array_enter(struct worker *t)
{
	size_t stride = (t->size + 15) & ~15ul;
	char *memory = malloc(ARRAY_OBJECTS * stride);

	for (; memory && array.nr < ARRAY_OBJECTS; array.nr++)
		array.objects[array.nr] = memory + array.nr * stride;
	t->own = memory;
	return memory;
}

static void array_leave(struct worker *t)
{
	free(t->own);
}

static ALWAYS_INLINE void *array_alloc(struct worker *t)
{
	(void)t;
	return array.nr ? array.objects[--array.nr] : NULL;
}

static ALWAYS_INLINE void array_free(struct worker *t, void *object)
{
	(void)t;
	array.objects[array.nr++] = object;
}

DEFINE_LOOPS(array, array_alloc, array_free)

const struct source source_array = {
	.enter = array_enter,
	.leave = array_leave,
	LOOPS(array, array_alloc, array_free),
};

static void *array_alloc_called(struct worker *t)
{
	return array_alloc(t);
}

static void array_free_called(struct worker *t, void *object)
{
	array_free(t, object);
}

/* As the loader's table of addresses has them. */
static alloc_fn *volatile array_alloc_at = array_alloc_called;
static retire_fn *volatile array_free_at = array_free_called;

static ALWAYS_INLINE void *called_alloc(struct worker *t)
{
	return array_alloc_at(t);
}

static ALWAYS_INLINE void called_free(struct worker *t, void *object)
{
	array_free_at(t, object);
}

DEFINE_LOOPS(called, called_alloc, called_free)

const struct source source_array_called = {
	.enter = array_enter,
	.leave = array_leave,
	LOOPS(called, called_alloc, called_free),
};

static ALWAYS_INLINE void *ring_alloc(struct worker *t)
{
	(void)t;
	return array.objects[array.nr++ % ARRAY_OBJECTS];
}

static ALWAYS_INLINE void ring_free(struct worker *t, void *object)
{
	(void)t;
	(void)object;
}

DEFINE_LOOPS(ring, ring_alloc, ring_free)

const struct source source_ring = {
	.enter = array_enter,
	.leave = array_leave,
	LOOPS(ring, ring_alloc, ring_free),
};
