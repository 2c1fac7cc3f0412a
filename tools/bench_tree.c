// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * bench_tree.c - `bma bench tree`: the allocator below a structure of somebody else
 *
 * Threads look up and replace the elements of liburcu's lock-free hash table (a tree of split
 * ordered lists).  All keys are there all the time, so that a lookup that does not find its key, or
 * finds an element that is not whole, is a fault.  Readers are those of the memb flavour.
 */
#define _GNU_SOURCE
#include "contestant.h"
#include "source.h"

#include <urcu.h>
#include <urcu/rculfhash.h>

enum { MOPS, CPU_NS, LIMBO, RSS };

static const struct bench_figure figures[] = {
	[MOPS] = { "Mops/s", "million_operations_per_second", 1, 4, true },
	[CPU_NS] = { "CPU ns", "cpu_ns", 1, 3, true },
	[LIMBO] = { "peak limbo MiB", "peak_limbo_bytes", 1 << 20, 0, false },
	[RSS] = { "peak RSS MiB", "peak_rss_bytes", 1 << 20, 0, true },
};

#define NR_KEYS 65536

/* The rest, up to --size, is the user's. */
struct element {
	struct cds_lfht_node node;
	uint64_t key;
	uint64_t check; /* ~key */
};

static struct pool pool;
static struct cds_lfht *tree;

static unsigned long hash_of(uint64_t key)
{
	return (unsigned long)(key * 0x9e3779b97f4a7c15u >> 16);
}

static int is_key(struct cds_lfht_node *node, const void *key)
{
	return caa_container_of(node, struct element, node)->key == *(const uint64_t *)key;
}

static bool replace(struct worker *t, uint64_t key)
{
	struct element *element = pool.how->alloc(&pool);
	struct cds_lfht_node *old;

	if (!element)
		return false;
	cds_lfht_node_init(&element->node);
	element->key = key;
	element->check = ~key;
	rcu_read_lock();
	old = cds_lfht_add_replace(tree, hash_of(key), is_key, &key, &element->node);
	rcu_read_unlock();
	if (old)
		pool.how->retire(&pool, caa_container_of(old, struct element, node));
	else if (t)
		work_fault(t->work, "a key was not there");
	return true;
}

static void look_up(struct worker *t, uint64_t key)
{
	struct cds_lfht_iter iter;
	struct cds_lfht_node *node;

	rcu_read_lock();
	cds_lfht_lookup(tree, hash_of(key), is_key, &key, &iter);
	node = cds_lfht_iter_get_node(&iter);
	if (!node || caa_container_of(node, struct element, node)->check != ~key)
		work_fault(t->work, "a key was not there, or its element was reused");
	rcu_read_unlock();
}

static size_t tree_step(struct worker *t)
{
	unsigned long updates = t->work->run->at->n;
	uint64_t random = (uintptr_t)t->own;

	for (int i = 0; i < WORK_STEP; i++) {
		uint64_t draw = next_random(&random);

		if ((draw >> 32) % 100 >= updates)
			look_up(t, draw % NR_KEYS);
		else if (!replace(t, draw % NR_KEYS))
			return no_memory(t);
	}
	t->own = (void *)(uintptr_t)random;
	return WORK_STEP;
}

static bool tree_open(struct work *work)
{
	size_t size = work->run->params.size;

	if (pool_open(&pool, work->run->who->how, size))
		return false;
	tree = cds_lfht_new(NR_KEYS, NR_KEYS, NR_KEYS, 0, NULL);
	if (!tree) {
		bench_fault(work->run, "no memory for the table");
		return false;
	}
	if (!pool_enter(&pool))
		return false;
	for (uint64_t key = 0; key < NR_KEYS; key++) {
		if (!replace(NULL, key)) {
			bench_fault(work->run, "no memory for the elements");
			return false;
		}
	}
	return true;
}

/* With no other thread at work; defer_rcu() may wait for readers, so that it is called by none. */
static void delete (struct work *work, uint64_t key)
{
	struct cds_lfht_iter iter;
	struct cds_lfht_node *node;
	int err;

	rcu_read_lock();
	cds_lfht_lookup(tree, hash_of(key), is_key, &key, &iter);
	node = cds_lfht_iter_get_node(&iter);
	err = cds_lfht_del(tree, node);
	rcu_read_unlock();
	if (err)
		work_fault(work, "an element was lost");
	else
		pool.how->retire(&pool, caa_container_of(node, struct element, node));
}

static void tree_close(struct work *work)
{
	for (uint64_t key = 0; key < NR_KEYS; key++)
		delete (work, key);
	pool_leave(&pool);
	if (cds_lfht_destroy(tree, NULL) || pool_close(&pool))
		work_fault(work, "what was allocated did not come back");
}

static bool tree_enter(struct worker *t)
{
	t->own = (void *)(uintptr_t)(t->id + 1);
	return pool_enter(&pool);
}

static void tree_leave(struct worker *t)
{
	(void)t;
	pool_leave(&pool);
}

static uint64_t tree_limbo(const struct work *work)
{
	struct memory_usage usage;

	(void)work;
	pool_measure(&pool, &usage);
	return usage.limbo;
}

static const struct source tree_source = {
	.open = tree_open,
	.close = tree_close,
	.enter = tree_enter,
	.leave = tree_leave,
	.limbo = tree_limbo,
};

static enum exit_code run_tree(const struct bench_run *run)
{
	struct work work = {
		.run = run,
		.source = &tree_source,
		.nr = 1,
		.watches_limbo = true,
	};
	const struct role role = { .step = tree_step, .nr = run->params.threads };
	double *values = run->result->values;
	struct work_sum sum;
	enum exit_code code = work_run(&work, &role, 1, &sum);

	if (code != EXIT_OK)
		return code;
	values[MOPS] = sum.operations / sum.seconds / 1e6;
	values[CPU_NS] = cpu_ns_per_operation(&sum);
	values[LIMBO] = sum.limbo_peak;
	values[RSS] = (double)sum.rss_peak;
	return EXIT_OK;
}

static const struct bench_case cases[] = {
	{ .name = "50% reads, 50% updates", .n = 50 },
	{ .name = "90% reads, 10% updates", .n = 10 },
};

static const struct bench_contestant contestants[] = {
	{ .name = "bma free_rcu", .program = PROGRAM_SHARED, .how = &bma_free_rcu_contestant },
	EACH_MALLOC(" + call_rcu", &malloc_call_rcu_contestant),
	EACH_MALLOC(" + defer_rcu", &malloc_defer_rcu_contestant),
	{ .name = "ck_epoch_call", .missing = "the table's readers are liburcu's" },
};

const struct bench tree_bench = {
	.name = "tree",
	.summary = "lookups and replacements in liburcu's lock-free hash table",
	.explain = "65536 keys, all there all the time; an operation is a lookup or a replacement.",
	BENCH_TABLES(figures, cases, contestants),
	.defaults = { .size = DEFAULT_SIZE, .rounds = 3, .seconds = 0.5 },
	.size_min = sizeof(struct element),
	.size_max = 65536,
	.run = run_tree,
};
