// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * bench_scale.c - `bma bench scale`: more threads, more caches, more CPUs
 *
 *   threads  each has some objects in flight and frees the oldest; pairs of all of them a second
 *   caches   a thread goes round them and takes and gives back more from each than a CPU keeps, so
 *            that every turn goes through the slow path
 *   CPUs     the same on one cache, with CPUs that the library emulates (BMA_CPUS)
 *
 * Caches and CPUs are contestants, so that few and many take turns and are compared.  Objects are left
 * unwritten where it is about bma's own work: with many caches the user's memory, not bma's, is what
 * the CPU's caches have no room for.
 */
#define _GNU_SOURCE
#include "source.h"

#include <math.h>
#include <stdlib.h>

enum { MOPS, CPU_NS, RSS };

static const struct bench_figure figures[] = {
	[MOPS] = { "Mops/s", "million_pairs_per_second", 1, 4, true },
	[CPU_NS] = { "CPU ns", "cpu_ns", 1, 3, true },
	[RSS] = { "RSS grew by MiB", "rss_growth_bytes", 1 << 20, 0, false },
};

/* What a case has more and more of. */
struct growth {
	bool caches, cpus;
	bool written;
};

static const struct growth threads_case = { 0 };
static const struct growth caches_case = { .caches = true };
static const struct growth caches_written_case = { .caches = true, .written = true };
static const struct growth cpus_case = { .cpus = true };
static const struct growth cpus_written_case = { .cpus = true, .written = true };

#define IN_FLIGHT 64

static enum exit_code measure(struct work *work, const struct role *role)
{
	double *values = work->run->result->values;
	struct work_sum sum;
	enum exit_code code = work_run(work, role, 1, &sum);

	if (code != EXIT_OK)
		return code;
	values[MOPS] = sum.operations / sum.seconds / 1e6;
	values[CPU_NS] = cpu_ns_per_operation(&sum);
	values[RSS] = (double)(sum.rss_peak - sum.rss_before);
	return EXIT_OK;
}

static enum exit_code run_threads(const struct bench_run *run)
{
	const struct source *source = run->who->how;
	struct work work = { .run = run, .source = source, .nr = IN_FLIGHT };
	struct role role = { .step = source->many, .nr = run->at->n };

	return measure(&work, &role);
}

/* --- many caches, and many CPUs --------------------------------------------------------------- */

/* More than the magazines that a CPU has of a cache hold together: of small objects, and of others. */
#define MAX_TURN 192
#define TURN_BYTES 98304

/* Of a contestant. */
struct many {
	unsigned long nr_caches;
	int nr_cpus; /* 0: those of the machine */
};

static struct bpf_mem_alloc *caches;

static unsigned long nr_caches_of(const struct work *work)
{
	return ((const struct many *)work->run->who->how)->nr_caches;
}

/* Has the library taken notice of BMA_CPUS?  Then per-CPU objects have as many copies. */
static bool are_emulated(int nr_cpus)
{
	struct bpf_mem_alloc ma;
	bool last_is_there;
	void *object;

	if (bpf_mem_alloc_init(&ma, 8, true))
		return false;
	object = bpf_mem_cache_alloc(&ma);
	last_is_there = bpf_per_cpu_ptr(object, nr_cpus - 1);
	bpf_mem_cache_free(&ma, object);
	bpf_mem_alloc_destroy(&ma);
	return last_is_there;
}

static bool caches_open(struct work *work)
{
	unsigned long nr = nr_caches_of(work);

	caches = calloc(nr, sizeof(*caches));
	for (unsigned long i = 0; caches && i < nr; i++) {
		if (bpf_mem_alloc_init(&caches[i], (int)work->run->params.size, false)) {
			bench_fault(work->run, "cannot make allocator %lu", i);
			return false;
		}
	}
	return caches;
}

static void caches_close(struct work *work)
{
	for (unsigned long i = 0; i < nr_caches_of(work); i++)
		bpf_mem_alloc_destroy(&caches[i]);
	free(caches);
}

static ALWAYS_INLINE size_t turn(struct worker *t, bool written)
{
	struct bpf_mem_alloc *ma = &caches[t->at];
	void *objects[MAX_TURN];
	size_t nr = TURN_BYTES / t->size < MAX_TURN ? TURN_BYTES / t->size : MAX_TURN;

	for (size_t i = 0; i < nr; i++) {
		objects[i] = bpf_mem_cache_alloc(ma);
		if (!objects[i])
			return no_memory(t);
		if (written)
			touch(objects[i]);
	}
	for (size_t i = 0; i < nr; i++)
		bpf_mem_cache_free(ma, objects[i]);
	t->at = (t->at + 1) % nr_caches_of(t->work);
	return nr;
}

static size_t turn_unwritten(struct worker *t)
{
	return turn(t, false);
}

static size_t turn_written(struct worker *t)
{
	return turn(t, true);
}

/* All caches have been used before it counts. */
static bool caches_enter(struct worker *t)
{
	for (unsigned long i = 0; i < nr_caches_of(t->work); i++)
		t->role->step(t);
	return true;
}

static const struct source caches_source = {
	.open = caches_open,
	.enter = caches_enter,
	.close = caches_close,
};

static enum exit_code run_many(const struct bench_run *run)
{
	const struct growth *growth = run->at->how;
	const struct many *many = run->who->how;
	struct work work = { .run = run, .source = &caches_source, .nr = 1 };
	struct role role = {
		.step = growth->written ? turn_written : turn_unwritten,
		.nr = run->params.threads,
	};

	if (many->nr_cpus && !are_emulated(many->nr_cpus))
		return bench_fault(run, "the library emulates no CPUs");
	return measure(&work, &role);
}

static bool fits(const struct bench_case *at, const struct bench_contestant *who)
{
	const struct growth *growth = at->how;

	if (!who->run)
		return growth == &threads_case;
	return ((const struct many *)who->how)->nr_cpus ? growth->cpus : growth->caches;
}

#define THREADS_CASE(text, nr)                                                                     \
	{                                                                                          \
		.name = text, .n = nr, .how = &threads_case                                        \
	}

static const struct bench_case cases[] = {
	THREADS_CASE("1 thread", 1),
	THREADS_CASE("2 threads", 2),
	THREADS_CASE("4 threads", 4),
	THREADS_CASE("8 threads", 8),
	THREADS_CASE("16 threads", 16),
	THREADS_CASE("32 threads", 32),
	THREADS_CASE("64 threads", 64),
	{ .name = "caches", .size = 64, .how = &caches_case },
	{ .name = "caches", .size = 4096, .how = &caches_case },
	{ .name = "written, caches", .size = 64, .how = &caches_written_case },
	{ .name = "CPUs", .size = 64, .how = &cpus_case },
	{ .name = "CPUs", .size = 4096, .how = &cpus_case },
	{ .name = "written, CPUs", .size = 64, .how = &cpus_written_case },
};

#define CACHES(text, nr)                                                                           \
	{                                                                                          \
		.name = "bma, " text, .program = PROGRAM_SHARED, .run = run_many,                  \
		.how = &(const struct many)                                                        \
		{                                                                                  \
			.nr_caches = (nr)                                                          \
		}                                                                                  \
	}
#define CPUS(nr)                                                                                   \
	{                                                                                          \
		.name = "bma, " #nr " CPUs", .program = PROGRAM_SHARED,                            \
		.environment = "BMA_CPUS=" #nr, .run = run_many, .how = &(const struct many)       \
		{                                                                                  \
			.nr_cpus = (nr), .nr_caches = 1                                            \
		}                                                                                  \
	}

static const struct bench_contestant contestants[] = {
	FREE_CONTESTANTS,
	CACHES("1 cache", 1),
	CACHES("10 caches", 10),
	CACHES("100 caches", 100),
	CACHES("1000 caches", 1000),
	CACHES("10000 caches", 10000),
	CPUS(2),
	CPUS(8),
	CPUS(64),
	CPUS(512),
};

const struct bench scale_bench = {
	.name = "scale",
	.summary = "more and more threads, caches, and CPUs",
	.explain =
		"An operation is an alloc and its free.  With threads the number of the case "
		"counts, not --threads.\nWith caches and with CPUs, which the library emulates, "
		"each turn takes and gives back what goes through\nthe slow path several times, "
		"as magazines hold 62 objects of 64 bytes or 8 of 4096; \"CPU ns\" should\nnot "
		"grow, and \"ratio\" compares with the fewest.  Objects are not written, but where "
		"it says so.",
	BENCH_TABLES(figures, cases, contestants),
	.defaults = { .threads = 1, .size = DEFAULT_SIZE, .rounds = 3, .seconds = 0.1 },
	.size_min = 1,
	.size_max = BPF_MEM_ALLOC_SIZE_MAX,
	.fits = fits,
	.run = run_threads,
};
