// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Stacks: the same piece at the head again, with another one below.
 */
#include "scene.h"

static struct bma_magazine *held[8];

static struct bma_magazine *get(void)
{
	struct bma_magazine *m = bma_depot_get(scene.ma[0].caches);
	unsigned int i;

	for (i = 0; m && i < 8; i++)
		MODEL_CHECK(held[i] != m && "a magazine has two owners");
	for (i = 0; m && held[i]; i++)
		;
	if (m)
		held[i] = m;
	return m;
}

static void put(struct bma_magazine *m)
{
	unsigned int i;

	for (i = 0; m && i < 8; i++)
		if (held[i] == m)
			held[i] = NULL;
	if (m)
		bma_depot_put(scene.ma[0].caches, m);
}

/* Three full magazines in the depot. */
static void setup(void)
{
	struct bpf_mem_cache *c;
	struct bma_magazine *m;
	unsigned int i;

	scene_begin();
	c = scene.ma[0].caches;
	for (i = 0; i < 3; i++) {
		m = bma_magazine_new();
		MODEL_CHECK(bma_slab_fill(c, m));
		bma_depot_put(c, m);
	}
	port_reclaim_wake();
}

static void pop(void)
{
	put(get());
}

static void pop_pop_push(void)
{
	struct bma_magazine *a = get(), *b = get();

	put(a);
	put(b);
}

static void pieces(void)
{
	void *a = bma_meta_alloc(0), *b = bma_meta_alloc(0);

	bma_meta_free(a, 0);
	bma_meta_free(b, 0);
}

/* Two to a page, so that a page is cut, and is all free again. */
#define HALF 5

static void halves(void)
{
	char *a = bma_meta_alloc(HALF), *b = bma_meta_alloc(HALF);

	MODEL_CHECK(!a || a != b);
	if (a)
		bma_meta_free(a, HALF);
	if (b)
		bma_meta_free(b, HALF);
}

static void trim(void)
{
	bma_meta_trim(&bma_world.meta);
}

static void finish(void)
{
	MODEL_CHECK(scene.ma[0].caches->nr_depot == 6);
	scene_end();
}

/* A chunk that was published is there for good, so pages need not be what they were. */
static void finish_pages(void)
{
	bpf_mem_alloc_destroy(&scene.ma[0]);
	model_settle();
	MODEL_CHECK(!model_pieces());
}

static const struct model_scenario scenarios[] = {
	{
		.name = "pop against pop, pop, push",
		.setup = setup,
		.thread = { pop, pop_pop_push },
		.finish = finish,
		.nr_cpus = 2,
		.check = { .preemptions = MODEL_FREELY, .late = 1 },
		.proof = { .preemptions = MODEL_FREELY, .late = 3 },
	},
	{
		.name = "pop against two of pop, pop, push",
		.setup = setup,
		.thread = { pop, pop_pop_push, pop },
		.finish = finish,
		.nr_cpus = 3,
		.check = { .preemptions = 2 },
		.proof = { .preemptions = MODEL_FREELY, .late = 1 },
	},
	{
		.name = "pieces of metadata",
		.setup = scene_begin,
		.thread = { pieces, pieces },
		.finish = scene_end,
		.nr_cpus = 2,
		.check = { .preemptions = MODEL_FREELY, .late = 1 },
		.proof = { .preemptions = MODEL_FREELY, .late = 3 },
	},
	{
		.name = "pages of metadata against a trim",
		.setup = scene_begin,
		.thread = { halves, trim },
		.finish = scene_end,
		.nr_cpus = 2,
		.check = { .preemptions = 2 },
		.proof = { .preemptions = MODEL_FREELY, .late = 1 },
	},
	{
		.name = "pages of metadata, and no memory",
		.setup = scene_begin,
		.thread = { halves, halves },
		.finish = finish_pages,
		.nr_cpus = 2,
		.check = { .preemptions = 1, .fails = 1 },
		.proof = { .preemptions = 5, .late = 1, .fails = 2 },
	},
	{ 0 },
};

int main(int argc, char **argv)
{
	return model_main(argc, argv, scenarios);
}
