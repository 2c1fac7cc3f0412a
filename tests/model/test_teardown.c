// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * The end of an allocator, with readers inside, the reclaimer at work, and frees just before.
 */
#include "scene.h"

static void *spare[4];
static unsigned int freed;

static void setup(void)
{
	unsigned int i;

	scene_begin();
	for (i = 0; i < 2; i++)
		spare[i] = scene_alloc();
	scene_publish(spare[0]);
}

static void setup_depot(void)
{
	unsigned int i;

	setup();
	for (i = 2; i < 4; i++)
		spare[i] = scene_alloc();
	scene_free(spare[2]);
	scene_free(spare[3]);
}

static void setup_two(void)
{
	unsigned int i;

	setup();
	MODEL_CHECK(bpf_mem_alloc_init(&scene.ma[1], SCENE_TWO, false) == 0);
	model_settle();
	for (i = 2; i < 4; i++)
		spare[i] = scene_alloc_from(&scene.ma[1]);
}

/* All is freed, then the allocator is given up. */
static void free_and_destroy(void)
{
	scene_free_rcu(scene_unlink());
	scene_free(spare[1]);
	scene_destroy(&scene.ma[0]);
}

static void free_and_destroy_second(void)
{
	scene_free_to(&scene.ma[1], spare[2]);
	scene_free_to(&scene.ma[1], spare[3]);
	scene_destroy(&scene.ma[1]);
}

/* The caller sees to it that all calls are over, by whatever means: here, a counter. */
static void done_with(void)
{
	port_add(&freed, 1, acq_rel);
}

static bool all_done(void *arg)
{
	return *(unsigned int *)arg == 2;
}

static void free_unlinked(void)
{
	scene_free_rcu(scene_unlink());
	done_with();
}

static void free_second(void)
{
	scene_free(spare[1]);
	done_with();
	model_wait("until the other is done", all_done, &freed);
	scene_destroy(&scene.ma[0]);
}

/* Nothing to look after: the reclaimer sleeps. */
static void setup_asleep(void)
{
	scene_begin();
	scene_free(scene_alloc());
	model_settle();
}

static void free_rcu_and_destroy(void)
{
	void *p = scene_alloc();

	if (p)
		scene_free_rcu(p);
	scene_destroy(&scene.ma[0]);
}

static void destroy_only(void)
{
	scene_destroy(&scene.ma[0]);
}

static void two_rounds(void)
{
	model_reclaimer(2);
}

static void three_rounds(void)
{
	model_reclaimer(3);
}

static void two_and_a_reader(void)
{
	scene_reader();
	scene_read_trace();
}

static void depot_then_destroy(void)
{
	void *p = scene_alloc();

	scene_free(p);
	free_and_destroy();
}

/* What a trim left on its way is taken over. */
static void setup_trimmed(void)
{
	struct bpf_mem_cache *c;
	unsigned int i;

	setup_depot();
	c = scene.ma[0].caches;
	bma_reclaim_harvest(scene.ma[0].group, 0);
	for (i = 0; i < 2; i++) {
		c->nr_depot_low = c->nr_depot;
		bma_world.round = 3;
		bma_reclaim();
	}
}

static const struct model_scenario scenarios[] = {
	{
		.name = "destroy with a reader inside",
		.setup = setup,
		.thread = { free_and_destroy, scene_reader, three_rounds },
		.finish = scene_end,
		.nr_cpus = 3,
		.check = { .preemptions = 1 },
		.proof = { .preemptions = 3 },
	},
	{
		.name = "destroy with a sleepable reader inside",
		.setup = setup,
		.thread = { free_and_destroy, scene_read_trace, three_rounds },
		.finish = scene_end,
		.nr_cpus = 3,
		.check = { .preemptions = 1 },
		.proof = { .preemptions = 3 },
	},
	{
		.name = "destroy with readers of both kinds, one after the other",
		.setup = setup,
		.thread = { free_and_destroy, two_and_a_reader, two_rounds },
		.finish = scene_end,
		.nr_cpus = 2,
		.check = { .preemptions = 1 },
		.proof = { .preemptions = 2, .late = 1 },
	},
	{
		.name = "destroy just after another thread's free_rcu",
		.setup = setup,
		.thread = { free_unlinked, free_second, two_rounds },
		.finish = scene_end,
		.nr_cpus = 3,
		.check = { .preemptions = 1 },
		.proof = { .preemptions = 3 },
	},
	{
		.name = "destroy, and the reclaimer asleep",
		.setup = setup_asleep,
		.thread = { destroy_only, two_rounds },
		.finish = scene_end,
		.nr_cpus = 2,
		.check = { .preemptions = 2 },
		.proof = { .preemptions = 4, .late = 1 },
	},
	{
		.name = "destroy where steps have failed",
		.setup = setup_asleep,
		.thread = { free_rcu_and_destroy, two_rounds },
		.finish = scene_end,
		.nr_cpus = 2,
		.check = { .preemptions = 0, .fails = 1 },
		.proof = { .preemptions = 2, .fails = 2 },
	},
	{
		.name = "destroy of two allocators",
		.setup = setup_two,
		.thread = { free_and_destroy, free_and_destroy_second, two_rounds },
		.finish = scene_end,
		.nr_cpus = 2,
		.check = { .preemptions = 1 },
		.proof = { .preemptions = 3 },
	},
	{
		.name = "destroy while a trim is on its way",
		.setup = setup_trimmed,
		.thread = { depot_then_destroy, scene_read_trace, two_rounds },
		.finish = scene_end,
		.nr_cpus = 3,
		.check = { .preemptions = 1 },
		.proof = { .preemptions = 3 },
	},
	{ 0 },
};

int main(int argc, char **argv)
{
	return model_main(argc, argv, scenarios);
}
