// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * What was freed with free_rcu, and readers.
 */
#include "scene.h"

static void *spare[4];
static bool pushed;

/* All that was taken from the slab is out, and CPU 0's by_rcu magazine has room for one more. */
static void setup_linked(void)
{
	unsigned int i;

	scene_begin();
	for (i = 0; i < 4; i++)
		spare[i] = scene_alloc();
	scene_free_rcu(spare[3]);
	scene_publish(spare[0]);
}

/* Unlink and free, so that its magazine leaves the CPU; then take what can be had. */
static void unlink_and_free(void)
{
	scene_free_rcu(scene_unlink());
	scene_free_rcu(spare[1]);
}

static void take_two(void)
{
	void *p = scene_alloc(), *q = scene_alloc();

	scene_free(p);
	scene_free(q);
}

static void replacer(void)
{
	unlink_and_free();
	bpf_rcu_poll_state(bpf_rcu_get_state());
	take_two();
	scene_free(spare[2]);
}

/* It polls for nobody: the grace periods are somebody else's. */
static void unlinker(void)
{
	unlink_and_free();
	take_two();
	scene_free(spare[2]);
}

static void poller(void)
{
	bpf_rcu_poll_state(bpf_rcu_get_state());
}

static void writing_reader(void)
{
	scene_read(true);
}

/* With one object a magazine: what each free_rcu finds there goes to limbo. */
static void setup_one(void)
{
	unsigned int i;

	scene_begin_sized(SCENE_ONE);
	for (i = 0; i < 4; i++)
		spare[i] = scene_alloc();
	scene_free_rcu(spare[3]);
	scene_publish(spare[0]);
}

/* Stands, in the scene that is meant, between its cookie and its push. */
static void late_pusher(void)
{
	struct bma_magazine *m = bma_magazine_new();

	scene_give(spare[2], true);
	bma_magazine_push(scene.ma[0].caches, m, spare[2]);
	bma_limbo_put(scene.ma[0].caches, m);
	pushed = true;
}

/* Meanwhile four grace periods pass, so that the same bucket's turn has come again. */
static void pass_four_and_read(void)
{
	unsigned int i;

	for (i = 0; i < 4; i++)
		bpf_rcu_poll_state(bpf_rcu_get_state());
	scene_reader();
}

static bool is_pushed(void *arg)
{
	return *(bool *)arg;
}

/* What can be had when the late one has come. */
static void free_and_take_late(void)
{
	unlink_and_free();
	model_wait("for the late one", is_pushed, &pushed);
	take_two();
}

/* A bucket that is ripe. */
static void setup_ripe(void)
{
	setup_one();
	scene_free_rcu(scene_unlink());
	scene_free_rcu(spare[1]);
	bpf_rcu_poll_state(bpf_rcu_get_state());
}

static void take_one(void)
{
	scene_free_rcu(scene_alloc());
}

static void take_two_and_free(void)
{
	take_two();
	scene_free(spare[2]);
}

/* On one CPU: the magazine that one fills, another puts away. */
static void free_linked(void)
{
	scene_free_rcu(scene_unlink());
}

static void free_other(void)
{
	scene_free_rcu(spare[1]);
	bpf_rcu_poll_state(bpf_rcu_get_state());
	take_two();
	scene_free(spare[2]);
}

static const struct model_scenario scenarios[] = {
	{
		.name = "free_rcu against a reader",
		.setup = setup_linked,
		.thread = { replacer, scene_reader },
		.finish = scene_end,
		.nr_cpus = 2,
		.check = { .preemptions = 2, .late = 1 },
		.proof = { .preemptions = MODEL_FREELY, .late = 1 },
	},
	{
		.name = "free_rcu against a reader with real barriers",
		.setup = setup_linked,
		.thread = { replacer, scene_reader },
		.finish = scene_end,
		.nr_cpus = 2,
		.fences = true,
		.check = { .preemptions = 2, .late = 1 },
		.proof = { .preemptions = MODEL_FREELY, .late = 2 },
	},
	{
		.name = "free_rcu against a reader that writes",
		.setup = setup_linked,
		.thread = { replacer, writing_reader },
		.finish = scene_end,
		.nr_cpus = 2,
		.check = { .preemptions = 2, .late = 1 },
		.proof = { .preemptions = MODEL_FREELY, .late = 1 },
	},
	{
		.name = "free_rcu, a reader, and a poll by another",
		.setup = setup_linked,
		.thread = { unlinker, poller, scene_reader },
		.finish = scene_end,
		.nr_cpus = 3,
		.late_at = &scene.root,
		.check = { .preemptions = 2 },
		.proof = { .preemptions = 3, .late = 1 },
	},
	{
		.name = "a release of a bucket against a late pusher",
		.setup = setup_one,
		.thread = { late_pusher, pass_four_and_read, free_and_take_late },
		.finish = scene_end,
		.nr_cpus = 3,
		.check = { .preemptions = 1 },
		.proof = { .preemptions = 3 },
	},
	{
		.name = "two who take a ripe bucket",
		.setup = setup_ripe,
		.thread = { take_one, take_two_and_free },
		.finish = scene_end,
		.nr_cpus = 2,
		.check = { .preemptions = 2 },
		.proof = { .preemptions = 4 },
	},
	{
		.name = "the cookie of what another pushes",
		.setup = setup_linked,
		.thread = { free_linked, free_other, scene_reader },
		.finish = scene_end,
		.check = { .preemptions = 2 },
		.proof = { .preemptions = 3 },
	},
	{ 0 },
};

int main(int argc, char **argv)
{
	return model_main(argc, argv, scenarios);
}
