// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * bench_footprint.c - `bma bench footprint`: what an allocator takes that has nothing to do
 *
 *   idle     made, and never used
 *   used     made, used once on the CPU that the thread was on, and idle for a second
 *   a peak   as much as 1 GiB of objects, all freed, at once or after readers, and two seconds passed
 *
 * One allocator is made and used before, so that what the library takes once is in none of it.
 * malloc has no allocators that could be counted, but it has peaks.
 */
#define _GNU_SOURCE
#include "source.h"

#include <math.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <bma/stats.h>

enum { RSS, BOOKS, LEFT };

static const struct bench_figure figures[] = {
	[RSS] = { "RSS KiB", "rss_bytes", 1024, 0, true },
	[BOOKS] = { "books KiB", "books_bytes", 1024, 0, false },
	[LEFT] = { "left %", "left_percent", 1, 4, false },
};

struct idleness {
	bool kmalloc;
	bool used;
};

static const struct idleness idle = { 0 }, idle_kmalloc = { .kmalloc = true };
static const struct idleness used = { .used = true };
static const struct idleness used_kmalloc = { .kmalloc = true, .used = true };

#define PEAK_BYTES (1ul << 30)
#define MEMORY_PART 8 /* at most this part, as 16 bytes may take 48 with headers */
#define IDLE_SECONDS 1
#define PEAK_SECONDS 2

static uint64_t books(void)
{
	struct bpf_mem_stats stats;

	bpf_mem_process_stats(&stats);
	return stats.bytes_spans + stats.bytes_meta;
}

static double growth(uint64_t before, uint64_t after)
{
	return after > before ? (double)(after - before) : 0;
}

static bool make_one(struct bpf_mem_alloc *ma, const struct idleness *how, unsigned long size)
{
	void *object;

	if (bpf_mem_alloc_init(ma, how->kmalloc ? 0 : (int)size, false))
		return false;
	if (!how->used)
		return true;
	object = how->kmalloc ? bpf_mem_alloc(ma, size) : bpf_mem_cache_alloc(ma);
	if (!object)
		return false;
	touch(object);
	if (how->kmalloc)
		bpf_mem_free(ma, object);
	else
		bpf_mem_cache_free(ma, object);
	return true;
}

static bool make_all(struct bpf_mem_alloc *all, const struct bench_run *run)
{
	for (unsigned long i = 0; i < run->at->n; i++) {
		if (!make_one(&all[i], run->at->how, run->params.size))
			return false;
	}
	return true;
}

static enum exit_code run_idle(const struct bench_run *run)
{
	static struct bpf_mem_alloc first, *all;
	double *values = run->result->values, nr = (double)run->at->n;
	uint64_t rss, its_books;

	all = calloc(run->at->n, sizeof(*all));
	/* Its own pages must not count: they are the user's. */
	for (unsigned long i = 0; all && i < run->at->n; i++)
		*(volatile char *)&all[i] = 0;
	if (!all || !make_one(&first, &used, run->params.size))
		return bench_fault(run, "no memory");
	sleep(IDLE_SECONDS);
	rss = rss_exact();
	its_books = books();
	if (!make_all(all, run))
		return bench_fault(run, "cannot make %lu allocators", run->at->n);
	if (((const struct idleness *)run->at->how)->used)
		sleep(IDLE_SECONDS);
	values[RSS] = growth(rss, rss_exact()) / nr;
	values[BOOKS] = growth(its_books, books()) / nr;
	values[LEFT] = NAN;
	return EXIT_OK;
}

/* --- a peak ----------------------------------------------------------------------------------- */

/* Objects are linked, so that nothing beside them is needed to find them. */
static void *make_peak(struct worker *t, size_t bytes)
{
	void **list = NULL;

	for (size_t sum = 0; sum < bytes; sum += t->size) {
		void **object = t->work->source->alloc(t);

		if (!object) {
			no_memory(t);
			return NULL;
		}
		for (size_t i = 0; i < t->size; i += 4096)
			((volatile char *)object)[i] = 1;
		*object = list;
		list = object;
	}
	return list;
}

static void free_peak(struct worker *t, void **list)
{
	while (list) {
		void **next = *list;

		t->work->source->retire(t, list);
		list = next;
	}
}

static enum exit_code run_peak(const struct bench_run *run)
{
	struct work work = { .run = run, .source = run->who->how };
	struct role role = { .reads = false };
	struct worker t = { .work = &work, .role = &role, .size = run->params.size };
	size_t memory =
		(size_t)sysconf(_SC_PHYS_PAGES) / MEMORY_PART * (size_t)sysconf(_SC_PAGESIZE);
	uint64_t before = rss_exact(), peak;
	double *values = run->result->values;
	void *list;

	if (work.source->open && !work.source->open(&work))
		return EXIT_FAILED;
	if (work.source->enter && !work.source->enter(&t))
		return bench_fault(run, "no memory for a thread's record");
	list = make_peak(&t, memory < PEAK_BYTES ? memory : PEAK_BYTES);
	if (!list)
		return EXIT_FAILED;
	peak = rss_exact();
	free_peak(&t, list);
	sleep(PEAK_SECONDS);
	values[RSS] = growth(before, rss_exact());
	values[BOOKS] = run->who->program == PROGRAM_SHARED ? (double)books() : NAN;
	values[LEFT] = values[RSS] / growth(before, peak) * 100;
	return EXIT_OK;
}

static enum exit_code run_footprint(const struct bench_run *run)
{
	return run->at->how ? run_idle(run) : run_peak(run);
}

static bool fits(const struct bench_case *at, const struct bench_contestant *who)
{
	const struct source *source = who->how;

	return at->how ? source == &source_bma_free : source->waits == (at->n == 1);
}

static const struct bench_case cases[] = {
	{ .name = "1 idle, fixed-size", .n = 1, .how = &idle },
	{ .name = "10000 idle, fixed-size", .n = 10000, .how = &idle },
	{ .name = "1 idle, kmalloc-like", .n = 1, .how = &idle_kmalloc },
	{ .name = "10000 idle, kmalloc-like", .n = 10000, .how = &idle_kmalloc },
	{ .name = "10000 used, fixed-size", .n = 10000, .how = &used },
	{ .name = "10000 used, kmalloc-like", .n = 10000, .how = &used_kmalloc },
	{ .name = "after a peak", .size = 16 },
	{ .name = "after a peak", .size = 64 },
	{ .name = "after a peak, free_rcu", .size = 16, .n = 1 },
	{ .name = "after a peak, free_rcu", .size = 64, .n = 1 },
};

static const struct bench_contestant contestants[] = {
	{ .name = "bma", .program = PROGRAM_SHARED, .how = &source_bma_free },
	EACH_MALLOC("", &source_malloc),
	{ .name = "bma free_rcu", .program = PROGRAM_SHARED, .how = &source_bma_free_rcu },
	EACH_MALLOC(" + call_rcu", &source_call_rcu),
};

const struct bench footprint_bench = {
	.name = "footprint",
	.summary = "memory of allocators that are idle, and what is left after a peak",
	.explain =
		"Of each allocator, or of all that is left two seconds after 1 GiB was freed: what "
		"the resident set\ngrew by, what bma's books say, and the part of the peak.  A run "
		"takes as long as it does,\nwhatever --seconds; a peak is less than 1 GiB where that is "
		"an eighth of the machine's memory.",
	BENCH_TABLES(figures, cases, contestants),
	.defaults = { .threads = 1, .size = DEFAULT_SIZE, .rounds = 3, .seconds = 1 },
	.size_min = sizeof(void *),
	.size_max = BPF_MEM_ALLOC_SIZE_MAX,
	.fits = fits,
	.run = run_footprint,
};
