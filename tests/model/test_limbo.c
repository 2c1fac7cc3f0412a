// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * What was freed with free_rcu, and readers.
 */
#include "scene.h"

static void setup_linked(void)
{
	scene_begin_sized(SCENE_ONE);
	scene_publish(scene_alloc());
}

/* Unlink, free, and take what can be had. */
static void replacer(void)
{
	void *p = scene_unlink();
	unsigned int i;

	scene_free_rcu(p);
	for (i = 0; i < 2; i++) {
		bpf_rcu_poll_state(bpf_rcu_get_state());
		p = scene_alloc();
		if (p)
			scene_free_rcu(p);
	}
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
	{ 0 },
};

int main(int argc, char **argv)
{
	return model_main(argc, argv, scenarios);
}
