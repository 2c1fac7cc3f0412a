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
 * unit comes back is unmapped, but for one that is kept.  Larger requests, and all when no unit
 * can be had, are mappings of their own.
 *
 * The reclaimer gives back many units at a time, and there each system call counts: it marks them in
 * their regions (`later`), and then goes over the regions that have such marks.  One in which every
 * unit is free or marked is unmapped as it is, by one call; else each run of marked units is dropped
 * by one.
 *
 * Who has much and uses it whole gets units from regions of huge pages: 512 pages come by one fault and go
 * by one step of munmap.  No others are in these, as what is used in part would have memory for all
 * of it.  They stay huge only as long as they go whole: when of a block, a huge page, a part goes and
 * another stays, its region has small pages from then on.
 *
 * Objects and owners: a clear bit is the owner's of the unit; a marked one is the reclaimer's.  Who
 * clears all bits that are set, in one step, when all but those of its own units are, unmaps the
 * region.  A word is 0 where there is no region.
 *
 * Ordering: a unit is dropped before its bit is set (release) and used after it is cleared
 * (acquire); a region's word is set (release) after its table entry.  What is written of a region before
 * munmap() is before all that is written of the next one there: the system maps an address again under
 * the lock under which it was unmapped.
 *
 * Progress: lock-free.  Contexts: any; mmap, munmap and madvise are system calls, and keep errno
 * here.
 *
 * Held by: tests/process/test_pages.c, tests/process/test_huge.c, tests/model/test_pages.c.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>

#include "port.h"

#define UNIT ((size_t)1 << PORT_UNIT_SHIFT)
#define UNITS 64u
#define REGION (UNIT * UNITS)
#define REGION_MAX_RUN (UNITS / 2)
/* Of 1 TiB, or of all addresses. */
#define NR_REGIONS (1u << ((PORT_ADDR_BITS < 40 ? PORT_ADDR_BITS : 40) - PORT_UNIT_SHIFT - 6))
#define ALL (~0ull)
/* So many are given back at a time: a fork may wait for it, and a page takes a quarter of a microsecond. */
#define PART_UNITS 128u

/* From so much on, the one huge page that is filled at present is little beside it. */
#define MUCH ((size_t)32 << 20)
/* A huge page where pages are of 4 KiB; where they are larger, so is it than a region, and there is none. */
#define BLOCK_UNITS 32u
#define BLOCKS (UNITS / BLOCK_UNITS)
#define BLOCK (ALL >> (UNITS - BLOCK_UNITS))

enum kind { SMALL, HUGE, NR_KINDS };

#define LEAF_SPAN ((uintptr_t)1 << PORT_LEAF_BITS)
#define LEAF_ENTRIES (LEAF_SPAN / REGION)

struct region {
	PORT_ATOMIC(uint64_t) free;
	PORT_ATOMIC(uint32_t) nr; /* its place in the table + 1; 0: there is no region here */
	PORT_ATOMIC(uint32_t) huge; /* reclaimer: blocks that may be huge pages, a bit each */
	uint64_t later; /* reclaimer: units that it is about to give back */
};

typedef PORT_ATOMIC(struct region *) leaf_t;

static leaf_t leaves[((uintptr_t)1 << PORT_ADDR_BITS) / LEAF_SPAN];
static PORT_ATOMIC(uintptr_t) table[NR_REGIONS]; /* base address | kind; 0: vacant */
static PORT_ATOMIC(uint32_t) table_end; /* all from here on are vacant */
static PORT_ATOMIC(uint32_t) table_hint[NR_KINDS]; /* all of the kind below are full */
static uint32_t later_at; /* reclaimer: no region before this place has marks */
static uint32_t nr_later; /* reclaimer: units that are marked */

/*
 * No huge pages for who did not ask: where the system has them always, the first object would take one,
 * and what is dropped of one stays in memory.
 */
static void *map(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	madvise(p, bytes, MADV_NOHUGEPAGE);
	return p;
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

static uintptr_t base_of(uintptr_t entry)
{
	return entry & ~(REGION - 1);
}

static enum kind kind_of(uintptr_t entry)
{
	return entry & (REGION - 1);
}

/* Enter a region in the table; its place, or NR_REGIONS if it is full. */
static uint32_t table_enter(uintptr_t entry)
{
	uint32_t i, end;
	uintptr_t vacant;

	for (i = 0; i < NR_REGIONS; i++) {
		vacant = 0;
		if (!port_load(&table[i], relaxed) && port_cas(&table[i], &vacant, entry, seq_cst))
			break;
	}
	end = port_load(&table_end, relaxed);
	while (i < NR_REGIONS && end <= i && !port_cas(&table_end, &end, i + 1, release))
		;
	return i;
}

/* The region at @nr, if there is one of @kind. */
static struct region *region_at(uint32_t nr, enum kind kind)
{
	uintptr_t entry = port_load(&table[nr], seq_cst);

	return entry && kind_of(entry) == kind ? region_of(base_of(entry)) : NULL;
}

/*
 * HINT_BACK: who makes room, in a region or by a new one, looks at the hint after that; HINT_ON: who
 * finds none moves the hint, then looks again.  All seq_cst, so one of them sees the other, and no
 * room is passed over.
 */
static void hint_back(uint32_t nr, enum kind kind)
{
	uint32_t hint = port_load(&table_hint[kind], seq_cst);

	while (nr < hint && !port_cas(&table_hint[kind], &hint, nr, seq_cst))
		;
}

static void hint_on(uint32_t nr, enum kind kind)
{
	uint32_t hint = nr;
	struct region *region;

	if (!port_cas(&table_hint[kind], &hint, nr + 1, seq_cst))
		return;
	region = region_at(nr, kind);
	if (region && port_load(&region->free, seq_cst))
		hint_back(nr, kind);
}

/* Map a region; its first @n units are the caller's. */
static void *region_new(unsigned int n, enum kind kind)
{
	char *base = map_aligned(REGION, REGION);
	struct region *region = base ? region_slot((uintptr_t)base) : NULL;
	uint32_t nr = region ? table_enter((uintptr_t)base | kind) : NR_REGIONS;
	bool huge;

	if (nr == NR_REGIONS) {
		if (base)
			munmap(base, REGION);
		return NULL;
	}
	port_store(&region->nr, nr + 1, relaxed);
	/* Where there are none, as the kernel or the user has it, small ones will do. */
	huge = kind == HUGE && !madvise(base, REGION, MADV_HUGEPAGE);
	port_store(&region->huge, huge ? (1u << BLOCKS) - 1 : 0, relaxed);
	port_store(&region->free, ALL << n, seq_cst);
	hint_back(nr, kind);
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
static bool region_retire(uintptr_t base, struct region *region, uint64_t ours)
{
	uint64_t others = ~ours;
	uint32_t nr;

	if (base_of(port_load(&table[0], relaxed)) == base ||
	    !port_cas(&region->free, &others, 0, acquire))
		return false;
	/* Not before: with nothing of it ours, it may have gone, and come again at another place. */
	nr = port_load(&region->nr, relaxed) - 1;
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
static void *table_take(unsigned int n, unsigned int align, enum kind kind)
{
	uint32_t end = port_load(&table_end, acquire), i;
	struct region *region;
	uintptr_t entry;
	void *p;

	for (i = port_load(&table_hint[kind], relaxed); i < end; i++) {
		entry = port_load(&table[i], acquire);
		region = entry && kind_of(entry) == kind ? region_of(base_of(entry)) : NULL;
		p = region ? region_take(base_of(entry), region, n, align) : NULL;
		if (p)
			return p;
		if (!region || !port_load(&region->free, relaxed))
			hint_on(i, kind);
	}
	return NULL;
}

void *port_pages_alloc(size_t bytes, size_t align, size_t beside)
{
	unsigned int n = (unsigned int)(bytes / UNIT), step = (unsigned int)(align / UNIT);
	bool fits = bytes <= REGION_MAX_RUN * UNIT && align <= REGION_MAX_RUN * UNIT;
	enum kind kind = beside >= MUCH ? HUGE : SMALL;
	int saved = errno;
	void *p = NULL;

	if (fits)
		p = table_take(n, step, kind);
	if (fits && !p)
		p = region_new(n, kind);
	/* Better among the others than in a mapping of its own. */
	if (fits && !p)
		p = table_take(n, step, kind == HUGE ? SMALL : HUGE);
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
		region_retire(base, region, 0);
	hint_back(nr, kind_of(port_load(&table[nr], relaxed)));
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

/* A huge page has memory for the free units of its block as well: those have to go with @later. */
static uint64_t with_free(struct region *region, uint64_t later)
{
	uint64_t block = BLOCK;
	unsigned int i;

	for (i = 0; i < BLOCKS; i++, block <<= BLOCK_UNITS)
		if (port_load(&region->huge, relaxed) >> i & 1 && later & block)
			later |= port_and(&region->free, ~block, acquire) & block;
	return later;
}

/*
 * A huge page of which a part is dropped keeps the memory of all of it, which nobody sees in the resident
 * set, until the system runs short.  MADV_FREE of a part makes small pages of it, and the kernel shall not
 * make a huge one of them again.  Returns what it cost: about as many units' time as a block has.
 */
static unsigned int split(uintptr_t base, struct region *region, uint64_t later)
{
	uint64_t block = BLOCK, part;
	unsigned int i, cost = 0;

	for (i = 0; i < BLOCKS; i++, block <<= BLOCK_UNITS) {
		part = later & block;
		if (!(port_load(&region->huge, relaxed) >> i & 1) || !part || part == block)
			continue;
		port_and(&region->huge, ~(1u << i), relaxed);
		madvise((void *)base, REGION, MADV_NOHUGEPAGE);
		madvise((char *)base + (size_t)__builtin_ctzll(part) * UNIT, UNIT, MADV_FREE);
		cost += BLOCK_UNITS;
	}
	return cost;
}

/* Give back what is marked of a region; returns how many units' time it took. */
static unsigned int give_back(uintptr_t base)
{
	struct region *region = base ? region_of(base) : NULL;
	uint64_t later = region ? region->later : 0;
	unsigned int cost;

	if (!later)
		return 0;
	region->later = 0;
	cost = (unsigned int)__builtin_popcountll(later);
	nr_later -= cost;
	later = with_free(region, later);
	if (!region_retire(base, region, later)) {
		cost += split(base, region, later);
		drop_runs(base, later);
		units_free(base, region, later);
	}
	return cost;
}

bool port_pages_free_now(void)
{
	unsigned int n = 0;
	int saved = errno;

	while (nr_later && n < PART_UNITS)
		n += give_back(base_of(port_load(&table[later_at++], relaxed)));
	errno = saved;
	return nr_later;
}
