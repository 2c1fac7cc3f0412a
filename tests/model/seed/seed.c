// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * seed.c - the protocol that the review was about, as it was; and its scenes again, with ours
 *
 * protocol.h has it, where a list is a word with a bit for each object; and consumers.h, for the one race that
 * is about links.
 *
 * Those must fail that say so (`must fail` in their name); docs/teardown.md draws the four.
 */
#include "scene.h"

#include "protocol.h"

#include "consumers.h"

static void seed_fail(const char *what)
{
	model_fail(what);
}

static void seed_wait(const char *what, bool (*over)(void *arg))
{
	model_wait(what, over, NULL);
}

/* As long as it takes is one of the interleavings. */
static void seed_grace_period(void)
{
}

/* --- the same scenes here ------------------------------------------------------------------------- */

static void *spare[4];

/* One magazine waits for RCU, another for both kinds, and a callback's work is a round's. */
static void here_setup(void)
{
	unsigned int i;

	scene_begin();
	for (i = 0; i < 4; i++)
		spare[i] = scene_alloc();
	scene_free(spare[2]);
	scene_free(spare[3]);
	bma_reclaim_harvest(scene.ma[0].group, 0);
	scene.ma[0].caches->nr_depot_low = 2;
	bma_world.round = 3;
	bma_reclaim();
	scene_free_rcu(spare[0]);
	bma_reclaim_harvest(scene.ma[0].group, 0);
	scene_publish(spare[1]);
}

static void here_destroy(void)
{
	scene_free_rcu(scene_unlink());
	scene_destroy(&scene.ma[0]);
}

static void here_rounds(void)
{
	model_reclaimer(2);
}

/* Objects of one allocator that another CPU freed, and the end of both. */
static void here_setup_two(void)
{
	here_setup();
	MODEL_CHECK(bpf_mem_alloc_init(&scene.ma[1], SCENE_TWO, false) == 0);
	model_settle();
	spare[0] = scene_alloc_from(&scene.ma[1]);
}

static void here_destroy_second(void)
{
	scene_free_to(&scene.ma[1], spare[0]);
	scene_destroy(&scene.ma[1]);
}

/* Two refills of one depot, while a third puts back what it took. */
static void here_setup_depot(void)
{
	unsigned int i;

	scene_begin();
	for (i = 0; i < 4; i++)
		spare[i] = scene_alloc();
	for (i = 0; i < 4; i++) {
		scene_free(spare[i]);
		if (i & 1)
			bma_reclaim_harvest(scene.ma[0].group, 0);
	}
}

static void here_refill(void)
{
	scene_free(scene_alloc());
}

static void here_take_and_add(void)
{
	struct bpf_mem_cache *c = scene.ma[0].caches;
	struct bma_magazine *a = bma_depot_get(c), *b = bma_depot_get(c);

	if (a)
		bma_depot_put(c, a);
	if (b)
		bma_depot_put(c, b);
}

#define FREELY .check = { .preemptions = MODEL_FREELY }, .proof = { .preemptions = MODEL_FREELY }

static const struct model_scenario scenarios[] = {
	{
		.name = "must fail: 1 drained, then filled again",
		.must_fail = true,
		.setup = setup_leak,
		.thread = { destroy, run_callbacks },
		.finish = finish,
		.nr_cpus = 2,
		FREELY,
	},
	{
		.name = "must fail: 2 flags in the wrong order",
		.must_fail = true,
		.setup = setup_order,
		.thread = { destroy, run_callbacks },
		.finish = finish,
		.nr_cpus = 2,
		FREELY,
	},
	{
		.name = "must fail: 3 another cache's callback",
		.must_fail = true,
		.setup = setup_tgt,
		.thread = { destroy, run_callbacks },
		.finish = finish,
		.nr_cpus = 2,
		FREELY,
	},
	{
		.name = "must fail: 4 two consumers of one list",
		.must_fail = true,
		.setup = setup_list,
		.thread = { take_one_by_one, take_all_and_add },
		.nr_cpus = 2,
		FREELY,
	},
	{
		.name = "here: destroy while a round moves what waits",
		.setup = here_setup,
		.thread = { here_destroy, here_rounds },
		.finish = scene_end,
		.nr_cpus = 2,
		.check = { .preemptions = 2 },
		.proof = { .preemptions = 4, .late = 1 },
	},
	{
		.name = "here: destroy, readers, and a round",
		.setup = here_setup,
		.thread = { here_destroy, scene_reader, here_rounds },
		.finish = scene_end,
		.nr_cpus = 3,
		.check = { .preemptions = 1 },
		.proof = { .preemptions = 3 },
	},
	{
		.name = "here: two allocators end at once",
		.setup = here_setup_two,
		.thread = { here_destroy, here_destroy_second, here_rounds },
		.finish = scene_end,
		.nr_cpus = 3,
		.check = { .preemptions = 1 },
		.proof = { .preemptions = 3 },
	},
	{
		.name = "here: consumers of one depot",
		.setup = here_setup_depot,
		.thread = { here_refill, here_take_and_add, here_refill },
		.finish = scene_end,
		.nr_cpus = 3,
		.check = { .preemptions = 2 },
		.proof = { .preemptions = 4, .late = 1 },
	},
	{ 0 },
};

int main(int argc, char **argv)
{
	return model_main(argc, argv, scenarios);
}
