// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * pages.c - memory from the system, in any context
 *
 * Problem: spans of 64 KiB upwards, aligned to their size, taken and given back one by one by
 * signal handlers and threads at once, without a lock, without running into the system's limit of
 * mappings.
 *
 * Idea: map regions of 4 MiB and hand out their 64 units by the bits of one word each: who clears a
 * run of bits owns those units.  A region's word is found by its address in a radix tree; a table
 * of regions, with a hint where to begin, says where to look for room.  Units that come back are
 * dropped (MADV_DONTNEED) first, so memory is resident only where it is in use; a region whose last
 * unit comes back is unmapped, but for one that is kept.  Larger requests, and all when no region
 * can be had, are mappings of their own.
 *
 * The reclaimer gives back many units at a time, and there each system call counts: it marks them in
 * their regions (`later`), and then goes over the regions that have such marks.  One in which every
 * unit is free or marked is unmapped as it is, by one call; else each run of marked units is dropped
 * by one.
 *
 * Objects and owners: a clear bit is the owner's of the unit; a marked one is the reclaimer's.  Who
 * clears all bits that are set, in one step, when all but those of its own units are, unmaps the
 * region.  A word is 0 where there is no region.
 *
 * Ordering: a unit is dropped before its bit is set (release) and used after it is cleared
 * (acquire); a region's word is set (release) after its table entry.
 *
 * Progress: lock-free.  Contexts: any; mmap, munmap and madvise are system calls, and keep errno
 * here.
 *
 * Held by: tests/process/test_pages.c.
 */
#define _GNU_SOURCE
#include <sys/mman.h>

#include "port.h"

#define UNIT ((size_t)1 << PORT_UNIT_SHIFT)
#define UNITS 64u
#define REGION (UNIT * UNITS)
#define REGION_MAX_RUN (UNITS / 2)
#define NR_REGIONS (1u << 18)
#define ALL (~0ull)
/* So many are given back at a time: a fork may wait for it, and a page takes a quarter of a microsecond. */
#define PART_UNITS 128u

#define LEAF_SPAN ((uintptr_t)1 << 32)
#define LEAF_ENTRIES (LEAF_SPAN / REGION)

struct region {
	_Atomic uint64_t free;
	_Atomic uint32_t nr; /* its place in the table + 1; 0: there is no region here */
	uint64_t later; /* reclaimer: units that it is about to give back */
};

typedef _Atomic(struct region *) leaf_t;

static leaf_t leaves[((uintptr_t)1 << PORT_ADDR_BITS) / LEAF_SPAN];
static _Atomic uintptr_t table[NR_REGIONS]; /* base addresses; 0: vacant */
static _Atomic uint32_t table_end; /* all from here on are vacant */
static _Atomic uint32_t table_hint; /* all below are full or vacant */
static uint32_t later_at; /* reclaimer: no region before this place has marks */
static uint32_t nr_later; /* reclaimer: units that are marked */

static void *map(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

/* Map @bytes aligned to @align by mapping more and cutting off what is too much. */
static void *map_aligned(size_t bytes, size_t align)
{
	char *p = map(bytes), *base;
	size_t before;

	if (!p || !((uintptr_t)p & (align - 1)))
		return p;
	munmap(p, bytes);
	p = map(bytes + align);
	if (!p)
		return NULL;
	before = -(uintptr_t)p & (align - 1);
	base = p + before;
	if (before)
		munmap(p, before);
	if (align - before)
		munmap(base + bytes, align - before);
	return base;
}

static struct region *region_of(uintptr_t base)
{
	struct region *leaf = port_load(&leaves[base / LEAF_SPAN], acquire);

	return leaf ? &leaf[base / REGION % LEAF_ENTRIES] : NULL;
}

/* As region_of(), making the leaf if there is none; NULL if there is no memory. */
static struct region *region_slot(uintptr_t base)
{
	leaf_t *slot = &leaves[base / LEAF_SPAN];
	struct region *leaf = NULL, *fresh;

	if (region_of(base))
		return region_of(base);
	fresh = map(LEAF_ENTRIES * sizeof(*fresh));
	if (!fresh)
		return NULL;
	if (!port_cas(slot, &leaf, fresh, acq_rel))
		munmap(fresh, LEAF_ENTRIES * sizeof(*fresh));
	return region_of(base);
}

/* Enter @base in the table; its place, or NR_REGIONS if it is full. */
static uint32_t table_enter(uintptr_t base)
{
	uint32_t i, end;
	uintptr_t vacant;

	for (i = 0; i < NR_REGIONS; i++) {
		vacant = 0;
		if (!port_load(&table[i], relaxed) && port_cas(&table[i], &vacant, base, release))
			break;
	}
	end = port_load(&table_end, relaxed);
	while (i < NR_REGIONS && end <= i && !port_cas(&table_end, &end, i + 1, release))
		;
	return i;
}

/*
 * HINT_BACK: who frees sets bits, then looks at the hint; HINT_ON: who finds a region full moves
 * the hint, then looks at the bits.  All seq_cst, so one of them sees the other, and no room is
 * passed over.
 */
static void hint_back(uint32_t nr)
{
	uint32_t hint = port_load(&table_hint, seq_cst);

	while (nr < hint && !port_cas(&table_hint, &hint, nr, seq_cst))
		;
}

static void hint_on(uint32_t nr, struct region *region)
{
	uint32_t hint = nr;

	if (port_cas(&table_hint, &hint, nr + 1, seq_cst) && region &&
	    port_load(&region->free, seq_cst))
		hint_back(nr);
}

/* Map a region; its first @n units are the caller's. */
static void *region_new(unsigned int n)
{
	char *base = map_aligned(REGION, REGION);
	struct region *region = base ? region_slot((uintptr_t)base) : NULL;
	uint32_t nr = region ? table_enter((uintptr_t)base) : NR_REGIONS;

	if (nr == NR_REGIONS) {
		if (base)
			munmap(base, REGION);
		return NULL;
	}
	port_store(&region->nr, nr + 1, relaxed);
	port_store(&region->free, ALL << n, seq_cst);
	hint_back(nr);
	return base;
}

/* Where pages cannot go (they are locked into memory, say), at least what is in them does. */
static void drop(void *pages, size_t bytes)
{
	if (madvise(pages, bytes, MADV_DONTNEED))
		__builtin_memset(pages, 0, bytes);
}

/*
 * Unmap a region whose units are all free but those in @ours, which are the caller's.  False if others
 * use it, or it is the first one, which stays, so that little use maps little.
 */
static bool region_retire(uintptr_t base, struct region *region, uint32_t nr, uint64_t ours)
{
	uint64_t others = ~ours;

	if (!nr || !port_cas(&region->free, &others, 0, acquire))
		return false;
	port_store(&region->nr, 0, relaxed);
	port_store(&table[nr], 0, release);
	/* Where a mapping cannot be split, as there are too many, the addresses are lost. */
	if (munmap((void *)base, REGION))
		drop((void *)base, REGION);
	return true;
}

/* The lowest run of @n set bits in @free that begins at a multiple of @align; 0 if none. */
static uint64_t find_run(uint64_t free, unsigned int n, unsigned int align)
{
	uint64_t run = (1ull << n) - 1;
	unsigned int at;

	for (at = 0; at + n <= UNITS; at += align)
		if ((free & run << at) == run << at)
			return run << at;
	return 0;
}

static void *region_take(uintptr_t base, struct region *region, unsigned int n, unsigned int align)
{
	uint64_t free = port_load(&region->free, relaxed), run;

	do {
		run = find_run(free, n, align);
		if (!run)
			return NULL;
	} while (!port_cas(&region->free, &free, free & ~run, acquire));
	return (char *)base + (size_t)__builtin_ctzll(run) * UNIT;
}

/* Units from a region that there is. */
static void *table_take(unsigned int n, unsigned int align)
{
	uint32_t end = port_load(&table_end, acquire), i;
	struct region *region;
	uintptr_t base;
	void *p;

	for (i = port_load(&table_hint, relaxed); i < end; i++) {
		base = port_load(&table[i], acquire);
		region = base ? region_of(base) : NULL;
		p = region ? region_take(base, region, n, align) : NULL;
		if (p)
			return p;
		if (!region || !port_load(&region->free, relaxed))
			hint_on(i, region);
	}
	return NULL;
}

void *port_pages_alloc(size_t bytes, size_t align)
{
	unsigned int n = (unsigned int)(bytes / UNIT), step = (unsigned int)(align / UNIT);
	int saved = errno;
	void *p = NULL;

	if (bytes <= REGION_MAX_RUN * UNIT && align <= REGION_MAX_RUN * UNIT) {
		p = table_take(n, step);
		if (!p)
			p = region_new(n);
	}
	if (!p)
		p = map_aligned(bytes, align);
	errno = saved;
	return p;
}

void port_pages_drop(void *pages, size_t bytes)
{
	int saved = errno;

	drop(pages, bytes);
	errno = saved;
}

static void units_free(uintptr_t base, struct region *region, uint64_t run)
{
	uint32_t nr = port_load(&region->nr, relaxed) - 1;

	if ((port_or(&region->free, run, seq_cst) | run) == ALL)
		region_retire(base, region, nr, 0);
	hint_back(nr);
}

static uint64_t run_at(unsigned int at, size_t n)
{
	return ALL >> (UNITS - n) << at;
}

static uint64_t run_of(const void *pages, size_t bytes)
{
	return run_at((uintptr_t)pages / UNIT % UNITS, bytes / UNIT);
}

void port_pages_free(void *pages, size_t bytes)
{
	uintptr_t base = (uintptr_t)pages & ~(REGION - 1);
	struct region *region = region_of(base);
	int saved = errno;

	if (!region || !port_load(&region->nr, relaxed)) {
		munmap(pages, bytes);
	} else {
		drop(pages, bytes);
		units_free(base, region, run_of(pages, bytes));
	}
	errno = saved;
}

void port_pages_free_later(void *pages, size_t bytes)
{
	uintptr_t base = (uintptr_t)pages & ~(REGION - 1);
	struct region *region = region_of(base);
	uint32_t nr = region ? port_load(&region->nr, relaxed) : 0;

	if (!nr) {
		port_pages_free(pages, bytes);
		return;
	}
	region->later |= run_of(pages, bytes);
	nr_later += bytes / UNIT;
	if (nr - 1 < later_at)
		later_at = nr - 1;
}

/* Drop the units in @later, a call for each run. */
static void drop_runs(uintptr_t base, uint64_t later)
{
	unsigned int at, n;

	for (; later; later &= ~run_at(at, n)) {
		at = (unsigned int)__builtin_ctzll(later);
		for (n = 1; at + n < UNITS && later >> (at + n) & 1; n++)
			;
		drop((char *)base + at * UNIT, n * UNIT);
	}
}

/* Give back what is marked of a region; returns how many units. */
static unsigned int give_back(uintptr_t base)
{
	struct region *region = base ? region_of(base) : NULL;
	uint64_t later = region ? region->later : 0;

	if (!later)
		return 0;
	region->later = 0;
	if (!region_retire(base, region, port_load(&region->nr, relaxed) - 1, later)) {
		drop_runs(base, later);
		units_free(base, region, later);
	}
	return (unsigned int)__builtin_popcountll(later);
}

bool port_pages_free_now(void)
{
	unsigned int n = 0;
	int saved = errno;

	while (nr_later && n < PART_UNITS) {
		unsigned int gone = give_back(port_load(&table[later_at++], relaxed));

		n += gone;
		nr_later -= gone;
	}
	errno = saved;
	return nr_later;
}
