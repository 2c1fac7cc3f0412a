// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * A CPU's magazines: threads that take turns on it, migrate, are interrupted, and are flushed from outside.
 */
#include "scene.h"

static void alloc_and_free(void)
{
	void *p = scene_alloc(), *q = scene_alloc();

	scene_free(p);
	scene_free(q);
}

static void alloc_and_free_rcu(void)
{
	void *p = scene_alloc(), *q = scene_alloc();

	scene_free_rcu(p);
	scene_free_rcu(q);
}

static void over_the_edge(void)
{
	void *p[3];
	unsigned int i;

	for (i = 0; i < 3; i++)
		p[i] = scene_alloc();
	for (i = 0; i < 3; i++)
		scene_free(p[i]);
}

/* Memory may run out here. */
static void whatever_there_is(void)
{
	void *p = scene_alloc(), *q = scene_alloc();

	if (p)
		scene_free_rcu(p);
	if (q)
		scene_free(q);
}

static void setup_one(void)
{
	scene_begin_sized(SCENE_ONE);
}

static void setup_asleep(void)
{
	setup_one();
	scene_free(scene_alloc());
	model_settle();
}

static void *taken;

static void setup_asleep_two(void)
{
	scene_begin();
	scene_free(scene_alloc());
	model_settle();
}

static void take_one(void)
{
	taken = scene_alloc();
}

/* What came with it from the slab goes back there. */
static void finish_taken(void)
{
	model_settle();
	MODEL_CHECK(!scene.ma[0].caches->nr_depot);
	if (taken)
		scene_free(taken);
	scene_end();
}

/* CPU 0 has a block, and in it magazines of each kind. */
static void setup_loaded(void)
{
	void *p[3];
	unsigned int i;

	scene_begin();
	for (i = 0; i < 3; i++)
		p[i] = scene_alloc();
	scene_free(p[0]);
	scene_free_rcu(p[1]);
	scene_free(p[2]);
}

static void handler(void)
{
	void *p = scene_alloc();

	if (p)
		scene_free_rcu(p);
}

static void handler_frees(void)
{
	void *p = scene_alloc();

	scene_free(p);
}

/* What the reclaimer does to a CPU that is idle. */
static void harvest(void)
{
	bma_reclaim_harvest(scene.ma[0].group, 0);
	bma_reclaim_harvest(scene.ma[0].group, 0);
}

static const struct model_scenario scenarios[] = {
	{
		.name = "alloc and free on one CPU",
		.setup = setup_loaded,
		.thread = { over_the_edge, alloc_and_free },
		.finish = scene_end,
		.check = { .preemptions = 2 },
		.proof = { .preemptions = MODEL_FREELY },
	},
	{
		.name = "the first steps on one CPU",
		.setup = scene_begin,
		.thread = { alloc_and_free, alloc_and_free_rcu },
		.finish = scene_end,
		.check = { .preemptions = 2 },
		.proof = { .preemptions = 4 },
	},
	{
		.name = "the first steps of all on two CPUs",
		.setup = scene_begin,
		.thread = { alloc_and_free, alloc_and_free_rcu },
		.finish = scene_end,
		.nr_cpus = 2,
		.check = { .preemptions = 1 },
		.proof = { .preemptions = 3 },
	},
	{
		.name = "alloc, free and free_rcu on two CPUs",
		.setup = setup_loaded,
		.thread = { alloc_and_free, alloc_and_free_rcu },
		.finish = scene_end,
		.nr_cpus = 2,
		.check = { .preemptions = 2, .late = 1 },
		.proof = { .preemptions = 3, .late = 1 },
	},
	{
		.name = "magazines of one on two CPUs",
		.setup = setup_one,
		.thread = { alloc_and_free, alloc_and_free_rcu },
		.finish = scene_end,
		.nr_cpus = 2,
		.check = { .preemptions = 2 },
		.proof = { .preemptions = 3, .late = 1 },
	},
	{
		.name = "migration at any step",
		.setup = setup_loaded,
		.thread = { alloc_and_free_rcu, over_the_edge },
		.finish = scene_end,
		.nr_cpus = 2,
		.check = { .preemptions = 1, .migrations = 1 },
		.proof = { .preemptions = 2, .migrations = 2 },
	},
	{
		.name = "three threads on two CPUs",
		.setup = setup_loaded,
		.thread = { handler, handler_frees, handler },
		.finish = scene_end,
		.nr_cpus = 2,
		.check = { .preemptions = 1 },
		.proof = { .preemptions = 3 },
	},
	{
		.name = "a signal at any point",
		.setup = scene_begin,
		.thread = { over_the_edge },
		.handler = { handler },
		.finish = scene_end,
		.check = { .preemptions = 0 },
		.proof = { .preemptions = 0 },
	},
	{
		.name = "a signal at any point, magazines of one",
		.setup = setup_one,
		.thread = { alloc_and_free_rcu },
		.handler = { handler_frees },
		.finish = scene_end,
		.check = { .preemptions = 0 },
		.proof = { .preemptions = 0 },
	},
	{
		.name = "a signal at any point, and another thread",
		.setup = setup_loaded,
		.thread = { alloc_and_free_rcu, alloc_and_free },
		.handler = { handler },
		.finish = scene_end,
		.check = { .preemptions = 1 },
		.proof = { .preemptions = 2 },
	},
	{
		.name = "steps that fail, and no memory",
		.setup = scene_begin,
		.thread = { whatever_there_is, whatever_there_is },
		.finish = scene_end,
		.nr_cpus = 2,
		.check = { .preemptions = 0, .fails = 1 },
		.proof = { .preemptions = 1, .fails = 2 },
	},
	{
		.name = "a step that fails while the reclaimer sleeps",
		.setup = setup_asleep,
		.thread = { handler },
		.finish = scene_end,
		.check = { .fails = 1 },
		.proof = { .fails = 3 },
	},
	{
		.name = "a load that fails while the reclaimer sleeps",
		.setup = setup_asleep_two,
		.thread = { take_one },
		.finish = finish_taken,
		.check = { .fails = 1 },
		.proof = { .fails = 3 },
	},
	{
		.name = "a flush of another CPU's magazines against its owner",
		.setup = setup_loaded,
		.thread = { over_the_edge, harvest },
		.finish = scene_end,
		.nr_cpus = 2,
		.sequences = true,
		.check = { .preemptions = 2 },
		.proof = { .preemptions = 4 },
	},
	{ 0 },
};

int main(int argc, char **argv)
{
	return model_main(argc, argv, scenarios);
}
