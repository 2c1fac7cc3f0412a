// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_flood.c - how much memory waits for readers when objects are freed as fast as they are allocated
 *
 * Two threads do alloc and free_rcu of 64 bytes, one reader reads.  Each case runs in a child of its own,
 * so that its peak RSS is its own.
 */
#define _GNU_SOURCE
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "util.h"

#define LIMIT ((size_t)64 << 20)
#define WRITERS 2
#define TRIES 6

struct flood {
	struct bpf_mem_alloc ma;
	const struct rcu_flavor_struct *flavor;
	unsigned long pairs;
	size_t limit; /* of peak RSS */
	_Atomic bool stop;
	void *_Atomic shared;
};

static void *write_pairs(void *arg)
{
	struct flood *f = arg;
	uint64_t *obj, *old;
	unsigned long i;

	for (i = 0; i < f->pairs / WRITERS; i++) {
		obj = bpf_mem_cache_alloc(&f->ma);
		must(obj);
		*obj = i;
		/* Now and then one that the reader can see. */
		old = obj;
		if (i % 1024 == 0)
			old = atomic_exchange_explicit(&f->shared, obj, memory_order_acq_rel);
		if (old)
			bpf_mem_cache_free_rcu(&f->ma, old);
	}
	return NULL;
}

static void *read_some(void *arg)
{
	struct flood *f = arg;
	uint64_t *obj, value;

	f->flavor->register_thread();
	while (!atomic_load(&f->stop)) {
		reader_enter(f->flavor);
		obj = atomic_load_explicit(&f->shared, memory_order_acquire);
		if (obj) {
			value = *(volatile uint64_t *)obj;
			must(value % 1024 == 0 && value == *(volatile uint64_t *)obj);
		}
		reader_leave(f->flavor);
	}
	f->flavor->unregister_thread();
	return NULL;
}

static size_t peak_rss(void)
{
	struct rusage usage;

	must(!getrusage(RUSAGE_SELF, &usage));
	return (size_t)usage.ru_maxrss << 10;
}

/*
 * A grace period of urcu-bp that finds a reader inside sleeps for 10 ms and more, and what is freed
 * meanwhile waits: its limit is what the updaters free in so long.
 */
static size_t limit_of(const struct flavor *f)
{
	return !strcmp(f->name, "bp") ? 4 * LIMIT : LIMIT;
}

static void flood(void *arg)
{
	const struct flavor *flavor = arg;
	struct flood f = {
		.flavor = flavor->ops,
		.limit = limit_of(flavor),
		.pairs = turns(10000000, 200000000),
	};
	pthread_t writers[WRITERS], reader;
	double start, end;
	int i;

	must(!init_for(&f.ma, 64, false, f.flavor));
	start = now();
	thread_start(&reader, read_some, &f);
	for (i = 0; i < WRITERS; i++)
		thread_start(&writers[i], write_pairs, &f);
	for (i = 0; i < WRITERS; i++)
		thread_join(writers[i]);
	end = now();
	atomic_store(&f.stop, true);
	thread_join(reader);
	if (f.shared)
		bpf_mem_cache_free_rcu(&f.ma, f.shared);
	printf("# %lu pairs, %.1f ns each, peak RSS %zu KiB, %lu grace periods\n", f.pairs,
	       1e9 * (end - start) / (double)f.pairs, peak_rss() >> 10,
	       (unsigned long)stats_of(&f.ma).grace_periods);
	fflush(stdout);
	must(!stats_of(&f.ma).objs_in_use);
	must(!stats_of(&f.ma).refusals);
	bpf_mem_alloc_destroy(&f.ma);
	await_nothing_left();
	if (is_plain())
		must(peak_rss() < f.limit);
}

static void test_flood(void **state)
{
	const struct flavor *f = *state;

	bool good = false;
	int tries;

	/* Memory in limbo is time that readers and who drives take; others may have had the CPUs. */
	for (tries = 0; !good && tries < TRIES; tries++) {
		printf("# %s\n", f->name);
		good = in_child(flood, (void *)f);
	}
	assert_true(good);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ALL_FLAVORS(test_flood, NULL, NULL),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
