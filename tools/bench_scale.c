// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * bench_scale.c - `bma bench scale`: more threads, and more caches
 *
 *   threads  each has some objects in flight and frees the oldest; pairs of all of them a second
 *   caches   one thread that goes round them and takes and gives back more from each than a CPU
 *            keeps, so that every turn goes through the slow path; time of a pair
 *
 * Emulated CPUs are not here: they need another home than a process, and a program sees of bma but
 * its public headers.
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
static const char threads_case, caches_case;

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

/* --- many caches ------------------------------------------------------------------------------ */

/* More than the two magazines that a CPU has of a cache hold together. */
#define TURN 192

static struct bpf_mem_alloc *caches;

static bool caches_open(struct work *work)
{
	unsigned long nr = work->run->at->n;

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
	for (unsigned long i = 0; i < work->run->at->n; i++)
		bpf_mem_alloc_destroy(&caches[i]);
	free(caches);
}

static size_t caches_step(struct worker *t)
{
	struct bpf_mem_alloc *ma = &caches[t->at];
	void *objects[TURN];

	for (int i = 0; i < TURN; i++) {
		objects[i] = bpf_mem_cache_alloc(ma);
		if (!objects[i])
			return no_memory(t);
		touch(objects[i]);
	}
	for (int i = 0; i < TURN; i++)
		bpf_mem_cache_free(ma, objects[i]);
	t->at = (t->at + 1) % t->work->run->at->n;
	return TURN;
}

/* All caches have been used before it counts. */
static bool caches_enter(struct worker *t)
{
	for (unsigned long i = 0; i < t->work->run->at->n; i++)
		caches_step(t);
	return true;
}

static const struct source caches_source = {
	.open = caches_open,
	.enter = caches_enter,
	.close = caches_close,
};

static enum exit_code run_caches(const struct bench_run *run)
{
	struct work work = { .run = run, .source = &caches_source, .nr = 1 };
	struct role role = { .step = caches_step, .nr = 1 };

	return measure(&work, &role);
}

static enum exit_code run_scale(const struct bench_run *run)
{
	return run->at->how == &caches_case ? run_caches(run) : run_threads(run);
}

static bool fits(const struct bench_case *at, const struct bench_contestant *who)
{
	return at->how == &threads_case || who->how == &source_bma_free;
}

#define THREADS_CASE(text, nr)                                                                     \
	{                                                                                          \
		.name = text, .n = nr, .how = &threads_case                                        \
	}
#define CACHES_CASE(text, nr)                                                                      \
	{                                                                                          \
		.name = text, .n = nr, .how = &caches_case                                         \
	}

static const struct bench_case cases[] = {
	THREADS_CASE("1 thread", 1),	  THREADS_CASE("2 threads", 2),
	THREADS_CASE("4 threads", 4),	  THREADS_CASE("8 threads", 8),
	THREADS_CASE("16 threads", 16),	  THREADS_CASE("32 threads", 32),
	THREADS_CASE("64 threads", 64),	  CACHES_CASE("1 cache", 1),
	CACHES_CASE("10 caches", 10),	  CACHES_CASE("100 caches", 100),
	CACHES_CASE("1000 caches", 1000), CACHES_CASE("10000 caches", 10000),
};

static const struct bench_contestant contestants[] = { FREE_CONTESTANTS };

const struct bench scale_bench = {
	.name = "scale",
	.summary = "more and more threads, and more and more caches",
	.explain = "An operation is an alloc and its free.  With threads the number of the case "
		   "counts, not --threads;\nwith caches every turn goes through the slow path, so "
		   "\"CPU ns\" should not grow with their number.",
	.figures = figures,
	.nr_figures = ARRAY_SIZE(figures),
	.cases = cases,
	.nr_cases = ARRAY_SIZE(cases),
	.contestants = contestants,
	.nr_contestants = ARRAY_SIZE(contestants),
	.defaults = { .threads = 1, .size = DEFAULT_SIZE, .rounds = 3, .seconds = 0.1 },
	.size_min = 1,
	.size_max = BPF_MEM_ALLOC_SIZE_MAX,
	.fits = fits,
	.run = run_scale,
};
