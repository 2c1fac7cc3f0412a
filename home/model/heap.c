// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * heap.c - pages, and which pieces of metadata are in use
 *
 * Pages come from one small arena at a fixed address, the lowest that fit, so that an address comes back
 * as soon as may be.  What was given back is poisoned: a shared access to it fails, and so does a plain
 * write, when the pages are next handed out or at the end.
 *
 * The linker has bma_meta_alloc(), _free() and _free_list() come through here (--wrap), core's files as
 * they are.  A piece is freed once, by the class that it was allocated by, and nobody writes to it until it is
 * allocated again, but for the words at its beginning that late readers may look at.
 */
#include <string.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "private.h"

#define UNIT (1u << PORT_UNIT_SHIFT)
#define UNITS (ARENA_BYTES / UNIT)
#define PAGES_POISON 0xdb
#define PIECE_POISON 0xa5
/* Words at the beginning of a piece that may be read when it is free: links, tail and total. */
#define PIECE_OPEN 16
#define STEP 64
#define STEPS (ARENA_BYTES / STEP)
#define MAGAZINE_CLASS 7

/* Of each unit: is it out, and how many units are out with it from here on? */
static bool unit_out[UNITS];
static uint16_t unit_count[UNITS];

/* Of each step of the arena that a piece begins at: what it is. */
enum { NO_PIECE, FREE_PIECE, PIECE };
static uint8_t piece_state[STEPS], piece_class[STEPS];

/* What goes later. */
#define MAX_LATER 16
static struct {
	void *pages;
	size_t bytes;
} later[MAX_LATER];
static unsigned int nr_later;

static long pages_out, pieces_out;
static void (*on_pages_free)(void *pages, size_t bytes);

void heap_map(void)
{
	void *p = mmap(ARENA_BASE, ARENA_BYTES, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	if (p != ARENA_BASE)
		abort();
	model.arena_next = ARENA_BASE;
}

static bool in_arena(const void *p)
{
	return (const char *)p >= ARENA_BASE && (const char *)p < ARENA_BASE + ARENA_BYTES;
}

static unsigned int unit_of(const void *p)
{
	return (unsigned int)(((const char *)p - ARENA_BASE) / UNIT);
}

void heap_check_access(const void *p)
{
	if (in_arena(p) ? !unit_out[unit_of(p)] : (uintptr_t)p < 0x10000)
		model_fail("an access to memory that was given back, or never taken");
}

static bool all_are(const char *p, size_t bytes, int value)
{
	while (bytes && *p == (char)value) {
		p++;
		bytes--;
	}
	return !bytes;
}

/* --- pages -------------------------------------------------------------------------------------- */

static bool fits(unsigned int unit, unsigned int n)
{
	while (n && unit < UNITS && !unit_out[unit]) {
		unit++;
		n--;
	}
	return !n;
}

static void check_untouched(char *p, size_t bytes)
{
	size_t at;

	for (at = 0; at < bytes && p + at < model.arena_next; at += UNIT)
		if (!all_are(p + at, UNIT, PAGES_POISON))
			model_fail("pages that were given back have been written to");
}

static void *take(unsigned int unit, size_t bytes)
{
	char *p = ARENA_BASE + unit * UNIT;

	check_untouched(p, bytes);
	memset(p, 0, bytes);
	memset(&unit_out[unit], true, bytes / UNIT);
	unit_count[unit] = (uint16_t)(bytes / UNIT);
	/* What is skipped for alignment counts as given back. */
	if (p > model.arena_next)
		memset(model.arena_next, PAGES_POISON, (size_t)(p - model.arena_next));
	if (p + bytes > model.arena_next)
		model.arena_next = p + bytes;
	pages_out += (long)bytes;
	return p;
}

void *port_pages_alloc(size_t bytes, size_t align, size_t beside)
{
	unsigned int unit;

	(void)beside;
	model_point("port_pages_alloc");
	if (choose(2, &model.fails))
		return NULL;
	for (unit = 0; unit < UNITS; unit += (unsigned int)(align / UNIT))
		if (fits(unit, (unsigned int)(bytes / UNIT)))
			return take(unit, bytes);
	model_fail("the model's memory is too small");
	return NULL;
}

void port_pages_free(void *pages, size_t bytes)
{
	unsigned int unit = unit_of(pages);

	model_point("port_pages_free");
	if (!in_arena(pages) || !unit_out[unit] || unit_count[unit] != bytes / UNIT)
		model_fail("pages are freed that were not allocated like that");
	if (on_pages_free)
		on_pages_free(pages, bytes);
	memset(&unit_out[unit], false, bytes / UNIT);
	memset(pages, PAGES_POISON, bytes);
	pages_out -= (long)bytes;
}

void port_pages_free_later(void *pages, size_t bytes)
{
	if (nr_later == MAX_LATER)
		model_fail("more pages go later than the model has room for");
	later[nr_later].pages = pages;
	later[nr_later++].bytes = bytes;
}

bool port_pages_free_now(void)
{
	/* All of it, as too early is what a scene would see. */
	while (nr_later) {
		nr_later--;
		port_pages_free(later[nr_later].pages, later[nr_later].bytes);
	}
	return false;
}

void port_pages_drop(void *pages, size_t bytes)
{
	size_t first = (size_t)((char *)pages - ARENA_BASE) / STEP, i;

	model_point("port_pages_drop");
	for (i = first; i < first + bytes / STEP; i++) {
		if (piece_state[i] == PIECE)
			model_fail("a page is dropped with a piece in it");
		piece_state[i] = NO_PIECE;
	}
	memset(pages, 0, bytes);
}

void model_on_pages_free(void (*fn)(void *pages, size_t bytes))
{
	on_pages_free = fn;
}

/* --- pieces of metadata ------------------------------------------------------------------------- */

void *__real_bma_meta_alloc(unsigned int size_class);
void __real_bma_meta_free(void *piece, unsigned int size_class);
void *__wrap_bma_meta_alloc(unsigned int size_class);
void *bma_piece(uint32_t handle);
void __real_bma_meta_free_list(void *first, void *last, unsigned int size_class);
void __wrap_bma_meta_free(void *piece, unsigned int size_class);
void __wrap_bma_meta_free_list(void *first, void *last, unsigned int size_class);

static size_t step_of(const void *piece)
{
	return (size_t)((const char *)piece - ARENA_BASE) / STEP;
}

static size_t piece_bytes(unsigned int size_class)
{
	return size_class == MAGAZINE_CLASS ? STEP : (size_t)STEP << size_class;
}

bool heap_is_magazine(const void *p)
{
	size_t step;

	if (!in_arena(p))
		return false;
	step = step_of(p);
	return piece_state[step] != NO_PIECE && piece_class[step] == MAGAZINE_CLASS;
}

static char *poisoned(void *piece)
{
	return (char *)piece + PIECE_OPEN;
}

static void piece_out(void *piece, unsigned int size_class)
{
	size_t step = step_of(piece), bytes = piece_bytes(size_class) - PIECE_OPEN;

	if (piece_state[step] == PIECE)
		model_fail("a piece of metadata has two owners");
	if (piece_state[step] == FREE_PIECE && !all_are(poisoned(piece), bytes, PIECE_POISON))
		model_fail("a free piece of metadata has been written to");
	piece_state[step] = PIECE;
	piece_class[step] = (uint8_t)size_class;
	pieces_out++;
}

void *__wrap_bma_meta_alloc(unsigned int size_class)
{
	void *piece = __real_bma_meta_alloc(size_class);

	if (piece)
		piece_out(piece, size_class);
	return piece;
}

static bool piece_in(void *piece, unsigned int size_class)
{
	size_t step = in_arena(piece) ? step_of(piece) : 0;

	if (!in_arena(piece) || piece_state[step] != PIECE || piece_class[step] != size_class) {
		model_fail("what is no piece in use is freed as one");
		return false;
	}
	piece_state[step] = FREE_PIECE;
	memset(poisoned(piece), PIECE_POISON, piece_bytes(size_class) - PIECE_OPEN);
	pieces_out--;
	return true;
}

void __wrap_bma_meta_free(void *piece, unsigned int size_class)
{
	if (piece_in(piece, size_class))
		__real_bma_meta_free(piece, size_class);
}

void __wrap_bma_meta_free_list(void *first, void *last, unsigned int size_class)
{
	void *piece = first;

	while (piece_in(piece, size_class) && piece != last)
		piece = bma_piece(*(uint32_t *)piece);
	__real_bma_meta_free_list(first, last, size_class);
}

static long pieces_base, pages_base;

void model_baseline(void)
{
	pieces_base = pieces_out;
	pages_base = pages_out;
}

long model_pieces(void)
{
	return pieces_out - pieces_base;
}

long model_pages(void)
{
	return pages_out - pages_base;
}

/* What was freed is as it was left. */
void heap_check_end(void)
{
	unsigned int unit;
	size_t step;

	for (unit = 0; unit < UNITS && ARENA_BASE + unit * UNIT < model.arena_next; unit++)
		if (!unit_out[unit])
			check_untouched(ARENA_BASE + unit * UNIT, UNIT);
	for (step = 0; step < STEPS; step++)
		if (piece_state[step] == FREE_PIECE &&
		    !all_are(poisoned(ARENA_BASE + step * STEP),
			     piece_bytes(piece_class[step]) - PIECE_OPEN, PIECE_POISON))
			model_fail("a free piece of metadata has been written to");
}
