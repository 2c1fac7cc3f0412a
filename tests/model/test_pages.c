// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * The process home's pages.c, byte for byte, on a system of a few frames, each of a region's size.
 *
 * No frame has memory: pages.c touches none of what it hands out.  The system knows what is mapped, whether
 * somebody has each unit, and whether it was written to since it was last dropped.  So each scenario checks, without
 * a word, that
 *   - a unit that is handed out is mapped, is nobody else's, and is zero;
 *   - nothing is unmapped or dropped that somebody has, or that is not mapped;
 *   - at the end the table has each region that is mapped, and no other; the hints pass over no room; and
 *     when all units are back, all regions are, but for the first.
 */
#include <string.h>
#include <sys/mman.h>

#include "model.h"

#define mmap system_mmap
#define munmap system_munmap
#define madvise system_madvise
#define port_pages_alloc pages_alloc
#define port_pages_free pages_free
#define port_pages_free_later pages_free_later
#define port_pages_free_now pages_free_now
#define port_pages_drop pages_drop
/* Two regions to a leaf. */
#undef PORT_LEAF_BITS
#define PORT_LEAF_BITS 15

static void *system_mmap(void *addr, size_t bytes, int prot, int flags, int fd, off_t offset);
static int system_munmap(void *p, size_t bytes);
static int system_madvise(void *p, size_t bytes, int advice);

void *port_pages_alloc(size_t bytes, size_t align, size_t beside);
void port_pages_free(void *pages, size_t bytes);
void port_pages_free_later(void *pages, size_t bytes);
bool port_pages_free_now(void);
void port_pages_drop(void *pages, size_t bytes);

#include "process/pages.c"

#define FRAMES 7u
#define FIRST_FRAME ((uintptr_t)0xc0000)
#define NR_UNITS (FRAMES * UNITS)
#define NR_LEAVES 4u

static struct {
	unsigned int frames; /* that there are */
	bool mapped[FRAMES];
	bool taken[NR_UNITS]; /* somebody has it */
	bool written[NR_UNITS];
	struct {
		bool mapped;
		struct region region[LEAF_ENTRIES];
	} leaf[NR_LEAVES];
} sys = { .frames = FRAMES };

/* --- the system: its lock orders those who unmap and map, as barriers do ----------------------------- */

static unsigned int unit_of(const void *p)
{
	return (unsigned int)(((uintptr_t)p - FIRST_FRAME) / UNIT);
}

static bool is_frame(const void *p)
{
	return (uintptr_t)p >= FIRST_FRAME && unit_of(p) < NR_UNITS;
}

static void *map_leaf(void)
{
	unsigned int i;

	for (i = 0; i < NR_LEAVES; i++) {
		if (sys.leaf[i].mapped)
			continue;
		sys.leaf[i].mapped = true;
		memset(sys.leaf[i].region, 0, sizeof(sys.leaf[i].region));
		return sys.leaf[i].region;
	}
	return MAP_FAILED;
}

/* The lowest that is vacant, so that an address comes back as soon as may be. */
static void *system_mmap(void *addr, size_t bytes, int prot, int flags, int fd, off_t offset)
{
	unsigned int i;

	(void)addr, (void)prot, (void)flags, (void)fd, (void)offset;
	model_point("mmap");
	port_barrier_full();
	if (bytes < UNIT)
		return map_leaf();
	MODEL_CHECK(bytes <= REGION);
	for (i = 0; i < sys.frames; i++) {
		if (sys.mapped[i])
			continue;
		sys.mapped[i] = true;
		return (void *)(FIRST_FRAME + i * REGION);
	}
	return MAP_FAILED;
}

/* What goes is mapped, and nobody's. */
static void check_may_go(void *p, size_t bytes)
{
	unsigned int unit;

	for (unit = unit_of(p); unit < unit_of((char *)p + bytes); unit++) {
		MODEL_CHECK(sys.mapped[unit / UNITS] && "what is not mapped goes");
		MODEL_CHECK(!sys.taken[unit] && "what somebody has goes");
	}
}

static int system_munmap(void *p, size_t bytes)
{
	unsigned int frame = unit_of(p) / UNITS, i;

	model_point("munmap");
	port_barrier_full();
	for (i = 0; i < NR_LEAVES; i++)
		if (p == sys.leaf[i].region) {
			sys.leaf[i].mapped = false;
			return 0;
		}
	MODEL_CHECK(is_frame(p) && !((uintptr_t)p & (REGION - 1)));
	check_may_go(p, bytes);
	sys.mapped[frame] = false;
	memset(&sys.written[frame * UNITS], 0, UNITS);
	return 0;
}

static int system_madvise(void *p, size_t bytes, int advice)
{
	model_point("madvise");
	if (!is_frame(p))
		return 0;
	if (advice == MADV_DONTNEED || advice == MADV_FREE)
		check_may_go(p, bytes);
	else
		MODEL_CHECK(sys.mapped[unit_of(p) / UNITS]);
	if (advice == MADV_DONTNEED)
		memset(&sys.written[unit_of(p)], 0, bytes / UNIT);
	return 0;
}

/* --- who uses it ------------------------------------------------------------------------------- */

static char *take(unsigned int n, size_t beside)
{
	char *p = pages_alloc(n * UNIT, UNIT, beside);
	unsigned int unit = p ? unit_of(p) : 0, i;

	for (i = 0; p && i < n; i++) {
		MODEL_CHECK(sys.mapped[(unit + i) / UNITS] && "a unit that is not mapped");
		MODEL_CHECK(!sys.taken[unit + i] && "a unit has two owners");
		MODEL_CHECK(!sys.written[unit + i] && "a unit is not zero");
		sys.taken[unit + i] = true;
		sys.written[unit + i] = true;
	}
	if (p)
		model_point("has it");
	return p;
}

static void give_up(const char *p, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++) {
		MODEL_CHECK(sys.taken[unit_of(p) + i] && "a unit is freed twice");
		sys.taken[unit_of(p) + i] = false;
	}
}

static void give(char *p, unsigned int n)
{
	give_up(p, n);
	pages_free(p, n * UNIT);
}

static void give_later(char *p, unsigned int n)
{
	give_up(p, n);
	pages_free_later(p, n * UNIT);
}

/* A region that was not there before, with all of it taken. */
static char *take_region(void)
{
	char *p = take(32, 0);

	MODEL_CHECK(take(32, 0) == p + 32 * UNIT);
	return p;
}

static unsigned int frame_of(const char *p)
{
	return unit_of(p) / UNITS;
}

static struct {
	char *kept; /* the region that stays, all of it taken; others too */
	char *more, *second, *again, *alone;
	bool ready;
} scene;

/* Is each region in the table once, at its place, and is that all that is mapped? */
static void check_table(void)
{
	bool seen[FRAMES] = { false };
	struct region *region;
	unsigned int i, frame;

	for (i = 0; i < NR_REGIONS; i++) {
		if (!table[i])
			continue;
		MODEL_CHECK(i < table_end);
		frame = frame_of((char *)base_of(table[i]));
		region = region_of(base_of(table[i]));
		MODEL_CHECK(sys.mapped[frame] && "a region in the table is not mapped");
		MODEL_CHECK(!seen[frame] && "a region is in the table twice");
		MODEL_CHECK(region->nr == i + 1 && "a region does not know its place");
		MODEL_CHECK((!region->free || table_hint[kind_of(table[i])] <= i) &&
			    "room is passed over");
		MODEL_CHECK((!i || region->free != ALL) &&
			    "a region that is all free is not unmapped");
		seen[frame] = true;
	}
	for (i = 0; i < FRAMES; i++)
		MODEL_CHECK(seen[i] == sys.mapped[i] && "a region is lost");
}

/* All that somebody still has comes back. */
static void finish(void)
{
	unsigned int unit, n, mapped = 0;

	check_table();
	for (unit = 0; unit < NR_UNITS; unit += n) {
		for (n = 0; n < 32 && unit % UNITS + n < UNITS && sys.taken[unit + n]; n++)
			;
		if (n)
			give((char *)(FIRST_FRAME + unit * UNIT), n);
		n += !n;
	}
	check_table();
	for (unit = 0; unit < FRAMES; unit++)
		mapped += sys.mapped[unit];
	MODEL_CHECK(mapped <= 1 && "a region is not unmapped");
}

static void setup_full(void)
{
	scene.kept = take_region();
}

/* The next ones have a new leaf. */
static void setup_two(void)
{
	setup_full();
	take_region();
}

static void take_give_beside(size_t beside)
{
	char *p = take(1, beside);

	MODEL_CHECK(p);
	give(p, 1);
}

static void take_give(void)
{
	take_give_beside(0);
}

static void take_give_huge(void)
{
	take_give_beside(MUCH);
}

static void take_one(void)
{
	MODEL_CHECK(take(1, 0));
}

static void give_kept(void)
{
	give(scene.kept, 1);
}

/* What was had, if it was. */
static void give_if_had(char *p, unsigned int n)
{
	if (p)
		give(p, n);
}

static void take_huge(void)
{
	give_if_had(take(32, MUCH), 32);
}

/* --- a region that comes back at its address, and at another place ------------------------------- */

static void setup_come_back(void)
{
	setup_full();
	scene.more = take_region();
	scene.second = take(1, 0);
}

static void give_second(void)
{
	give(scene.second, 1);
}

/* As another frame is taken by what is no region, the next region is where the second was. */
static void bring_back(void)
{
	char *half, *rest;

	take_give();
	give(scene.more, 32);
	give(scene.more + 32 * UNIT, 32);
	scene.alone = take(33, 0);
	scene.again = take(1, 0);
	half = take(32, 0);
	rest = take(31, 0);
	MODEL_CHECK(scene.alone && scene.again && half && rest && take(1, 0));
	give(half, 32);
	give(rest, 31);
	scene.ready = true;
}

static bool is_ready(void *arg)
{
	(void)arg;
	return scene.ready;
}

static void give_again(void)
{
	model_wait("until it is back", is_ready, NULL);
	give(scene.again, 1);
}

/* It has a mapping of its own, which the table does not know. */
static void finish_come_back(void)
{
	give(scene.alone, 33);
	finish();
}

/* --- room ---------------------------------------------------------------------------------------- */

/* Of the last region all but one unit is taken. */
static void setup_one_left(void)
{
	setup_full();
	MODEL_CHECK(take(32, 0) && take(31, 0));
}

static void give_two(void)
{
	give(scene.kept, 1);
	give(scene.kept + UNIT, 1);
}

/* --- no room: of the system's frames all but one are taken ----------------------------------------- */

static void setup_one_frame(void)
{
	setup_full();
	sys.frames = 2;
}

static void try_two(void)
{
	char *p = take(1, 0), *q = take(1, MUCH);

	give_if_had(p, 1);
	give_if_had(q, 1);
}

static void try_alone(void)
{
	give_if_had(take(33, 0), 33);
}

/* --- what goes later ------------------------------------------------------------------------------- */

/* Two huge pages, one taken as a whole, of the other some. */
static void setup_huge(void)
{
	setup_full();
	scene.more = take(32, MUCH);
	scene.second = take(1, MUCH);
}

static void reclaim(void)
{
	while (pages_free_now())
		;
}

static void whole_later(void)
{
	give_later(scene.more, 32);
	reclaim();
}

/* A part of one: the free ones of it go as well. */
static void part_later(void)
{
	give_later(scene.second, 1);
	reclaim();
}

static void both_later(void)
{
	give_later(scene.second, 1);
	give_later(scene.more, 32);
	reclaim();
}

static const struct model_scenario scenarios[] = {
	{
		.name = "a region that comes back at another place",
		.setup = setup_come_back,
		.thread = { give_second, bring_back, give_again },
		.finish = finish_come_back,
		.nr_cpus = 3,
		.check = { .preemptions = 2 },
		.proof = { .preemptions = 4, .late = 1 },
	},
	{
		.name = "three who each want a new region",
		.setup = setup_two,
		.thread = { take_one, take_give, take_give },
		.finish = finish,
		.nr_cpus = 3,
		.check = { .preemptions = 2, .late = 1 },
		.proof = { .preemptions = 3, .late = 1 },
	},
	{
		.name = "one who wants a region of huge pages, and two who do not",
		.setup = setup_full,
		.thread = { take_give, take_huge, take_give },
		.finish = finish,
		.nr_cpus = 3,
		.check = { .preemptions = 2, .late = 1 },
		.proof = { .preemptions = 3, .late = 1 },
	},
	{
		.name = "the last room, and what comes back",
		.setup = setup_one_left,
		.thread = { take_one, take_one, give_two },
		.finish = finish,
		.nr_cpus = 3,
		.check = { .preemptions = 2, .late = 1 },
		.proof = { .preemptions = MODEL_FREELY, .late = 2 },
	},
	{
		.name = "no room but one frame",
		.setup = setup_one_frame,
		.thread = { try_two, try_alone, try_two },
		.finish = finish,
		.nr_cpus = 3,
		.check = { .preemptions = 2 },
		.proof = { .preemptions = MODEL_FREELY, .late = 1 },
	},
	{
		.name = "a huge page that goes later",
		.setup = setup_huge,
		.thread = { whole_later, take_give_huge, give_second },
		.finish = finish,
		.nr_cpus = 3,
		.check = { .preemptions = 2, .late = 1 },
		.proof = { .preemptions = MODEL_FREELY, .late = 2 },
	},
	{
		.name = "a part of one that goes later",
		.setup = setup_huge,
		.thread = { part_later, take_give_huge, take_give_huge },
		.finish = finish,
		.nr_cpus = 3,
		.check = { .preemptions = 2, .late = 1 },
		.proof = { .preemptions = MODEL_FREELY, .late = 2 },
	},
	{
		.name = "both that go later",
		.setup = setup_huge,
		.thread = { both_later, take_give_huge, give_kept },
		.finish = finish,
		.nr_cpus = 3,
		.check = { .preemptions = 2, .late = 1 },
		.proof = { .preemptions = MODEL_FREELY, .late = 2 },
	},
	{ 0 },
};

int main(int argc, char **argv)
{
	return model_main(argc, argv, scenarios);
}
