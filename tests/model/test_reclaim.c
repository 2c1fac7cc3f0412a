// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * The reclaimer's rounds against callers; allocations that wait.
 */
#include "scene.h"

static void *spare[4];
static bool freed;

/* An idle CPU with magazines of each kind, and a depot. */
static void setup(void)
{
	unsigned int i;

	scene_begin();
	for (i = 0; i < 4; i++)
		spare[i] = scene_alloc();
	scene_free(spare[3]);
	scene_free(spare[2]);
	scene_free_rcu(spare[1]);
	scene_publish(spare[0]);
}

static void alloc_and_free(void)
{
	void *p = scene_alloc(), *q = scene_alloc();

	scene_free(p);
	scene_free_rcu(q);
}

static void unlink_and_refill(void)
{
	scene_free_rcu(scene_unlink());
	alloc_and_free();
}

static void one_round(void)
{
	model_reclaimer(1);
}

static void two_rounds(void)
{
	model_reclaimer(2);
}

/* The depot's two magazines are a surplus in the round that comes. */
static void make_surplus(void)
{
	struct bpf_mem_cache *c = scene.ma[0].caches;

	bma_reclaim_harvest(scene.ma[0].group, 0);
	c->nr_depot_low = c->nr_depot;
	bma_world.round = 3;
}

static void setup_trim(void)
{
	setup();
	make_surplus();
}

/* Free, for reuse at once: a reader may still have it, and then its memory stays. */
static void unlink_and_free_now(void)
{
	scene_free(scene_unlink());
	freed = true;
}

static bool is_freed(void *arg)
{
	return *(bool *)arg;
}

static void trim_what_was_freed(void)
{
	model_wait("for the free", is_freed, &freed);
	make_surplus();
	bma_reclaim();
	bma_reclaim();
}

/* Room for two objects in limbo, and two are in it. */
static void setup_limit(void)
{
	setup();
	scene_free_rcu(scene_alloc());
	bma_reclaim_harvest(scene.ma[0].group, 0);
	bpf_mem_alloc_set_limbo_limit(&scene.ma[0], SCENE_TWO);
}

static void alloc_at_limit(void)
{
	void *p = scene_alloc();

	if (p)
		scene_free(p);
	scene_free_rcu(scene_unlink());
}

static void alloc_waiting(void)
{
	void *p = bpf_mem_cache_alloc_flags(&scene.ma[0], GFP_KERNEL);

	MODEL_CHECK(p);
	scene_got(p, SCENE_TWO);
	scene_free(p);
}

static void free_and_wait(void)
{
	scene_free_rcu(scene_unlink());
	alloc_waiting();
}

/* The account has room for what there is. */
static struct obj_cgroup *objcg;

static void setup_full(void)
{
	setup();
	objcg = obj_cgroup_create("full", 1);
	MODEL_CHECK(objcg);
	bpf_mem_alloc_set_objcg(&scene.ma[0], objcg);
	bma_reclaim_harvest(scene.ma[0].group, 0);
	spare[2] = scene_alloc();
	spare[3] = scene_alloc();
}

static void wait_for_own(void)
{
	scene_free_rcu(scene_unlink());
	alloc_waiting();
	scene_free(spare[2]);
	scene_free(spare[3]);
}

static void finish_full(void)
{
	bpf_mem_alloc_destroy(&scene.ma[0]);
	model_settle();
	obj_cgroup_put(objcg);
	scene_end();
}

static const struct model_scenario scenarios[] = {
	{
		.name = "a round against alloc, free and free_rcu",
		.setup = setup,
		.thread = { unlink_and_refill, one_round },
		.finish = scene_end,
		.nr_cpus = 2,
		.check = { .preemptions = 2 },
		.proof = { .preemptions = 3, .late = 1 },
	},
	{
		.name = "a round, a reader, and free_rcu",
		.setup = setup,
		.thread = { unlink_and_refill, scene_reader, two_rounds },
		.finish = scene_end,
		.nr_cpus = 3,
		.check = { .preemptions = 1 },
		.proof = { .preemptions = 3 },
	},
	{
		.name = "a trim against a refill",
		.setup = setup_trim,
		.thread = { unlink_and_refill, two_rounds },
		.finish = scene_end,
		.nr_cpus = 2,
		.check = { .preemptions = 1 },
		.proof = { .preemptions = 4 },
	},
	{
		.name = "a trim of what a sleepable reader has",
		.setup = setup,
		.thread = { unlink_and_free_now, scene_read_trace, trim_what_was_freed },
		.finish = scene_end,
		.nr_cpus = 3,
		.check = { .preemptions = 1 },
		.proof = { .preemptions = 3 },
	},
	{
		.name = "alloc at the limit of limbo",
		.setup = setup_limit,
		.thread = { alloc_at_limit, scene_reader },
		.finish = scene_end,
		.nr_cpus = 2,
		.check = { .preemptions = 2 },
		.proof = { .preemptions = 4, .late = 1 },
	},
	{
		.name = "a waiting alloc at the limit of limbo",
		.setup = setup_limit,
		.thread = { free_and_wait, scene_reader },
		.finish = scene_end,
		.nr_cpus = 2,
		.check = { .preemptions = 2 },
		.proof = { .preemptions = 4, .late = 1 },
	},
	{
		.name = "a waiting alloc where the account is full",
		.setup = setup_full,
		.thread = { wait_for_own, scene_reader, one_round },
		.finish = finish_full,
		.nr_cpus = 2,
		.check = { .preemptions = 1 },
		.proof = { .preemptions = 3 },
	},
	{ 0 },
};

int main(int argc, char **argv)
{
	return model_main(argc, argv, scenarios);
}
