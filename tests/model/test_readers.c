// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Our own readers: their records, and who waits for them; and a domain that the home drives.
 */
#include "scene.h"

static void *spare;
static bool in_handler;

static void setup_linked(void)
{
	scene_begin();
	spare = scene_alloc();
	scene_publish(scene_alloc());
}

/* Unlink, wait, reuse: free is enough then. */
static void synchronizer(void)
{
	void *p = scene_unlink();

	bpf_rcu_synchronize();
	if (scene_obj(p)->held)
		model_fail("synchronize returns while a reader is inside");
	scene_free(p);
	scene_free(spare);
}

static void twice(void)
{
	scene_reader();
	scene_reader();
}

static void nested(void)
{
	bpf_rcu_read_lock();
	scene_reader();
	bpf_rcu_read_unlock();
}

/* Leaves without a word. */
static void dies_inside(void)
{
	bpf_rcu_read_lock();
}

static void synchronize_trace(void)
{
	synchronize_rcu_tasks_trace();
}

static unsigned int records_of(unsigned int owner)
{
	struct bpf_rcu_reader_ *r;
	unsigned int n = 0;

	for (r = bma_world.readers.records; r; r = r->next)
		n += (uint32_t)r->owner == owner;
	return n;
}

static void nested_first(void)
{
	bpf_rcu_read_lock();
	bpf_rcu_read_lock();
	bpf_rcu_read_unlock();
	bpf_rcu_read_unlock();
	MODEL_CHECK((int)bpf_rcu_this_reader_->owner == model_self() + 2);
	MODEL_CHECK(in_handler || records_of((uint32_t)model_self() + 2) == 1);
}

/* The thread that it came to may be in the middle of getting its own. */
static void nested_in_handler(void)
{
	in_handler = true;
	nested_first();
	in_handler = false;
}

static void check_records(unsigned int most)
{
	struct bpf_rcu_reader_ *r;
	unsigned int i;

	MODEL_CHECK(bma_reader_records() <= most);
	for (r = bma_world.readers.records; r; r = r->next)
		for (i = 0; i < BPF_RCU_DOMAINS_; i++)
			MODEL_CHECK(!(r->word[i] & BPF_RCU_NESTING_));
}

static void finish_strangers(void)
{
	/* One more for the handler's. */
	check_records(3);
}

static void two_polls(void)
{
	bpf_rcu_poll_state(bpf_rcu_get_state());
	bpf_rcu_poll_state(bpf_rcu_get_state());
}

static void synchronize_only(void)
{
	bpf_rcu_synchronize();
}

/* Waits poll thoroughly, whoever else is at it. */
static void synchronize_twice(void)
{
	bpf_rcu_synchronize();
	bpf_rcu_synchronize();
}

static uint64_t most;

static void watch_completed(void)
{
	unsigned int i;
	uint64_t now;

	for (i = 0; i < 3; i++) {
		now = port_load(&bma_rcu.completed, acquire);
		MODEL_CHECK(now >= most);
		most = now;
	}
}

static struct bpf_rcu_head head[2];
static unsigned int called;

static void count_call(struct bpf_rcu_head *h)
{
	(void)h;
	called++;
}

static void free_in_call(struct bpf_rcu_head *h)
{
	void *p = (void *)(uintptr_t)most;

	(void)h;
	if (scene_obj(p)->held)
		model_fail("a callback runs while a reader is inside");
	called++;
}

static void call_rcu(void)
{
	void *p = scene_unlink();

	most = (uintptr_t)p;
	bpf_call_rcu(&head[0], free_in_call);
	bpf_call_rcu(&head[1], count_call);
	bpf_rcu_barrier();
	MODEL_CHECK(called == 2);
	scene_free(p);
	scene_free(spare);
}

/* --- the home's domain ---------------------------------------------------------------------------- */

static void setup_flavor(void)
{
	scene_begin();
	bpf_mem_alloc_destroy(&scene.ma[0]);
	model_settle();
	model_baseline();
	MODEL_CHECK(!bpf_mem_alloc_init_flavor(&scene.ma[0], SCENE_TWO, false, model_flavor()));
	spare = scene_alloc();
	scene_publish(scene_alloc());
	/* Somebody waits already. */
	bma_gp_want(scene.ma[0].group->gp, 1, false);
}

static void flavor_reader(void)
{
	char *p;

	model_flavor_lock();
	p = scene_find();
	scene_drop(p);
	model_flavor_unlock();
}

static void driver(void)
{
	model_drive(2);
}

static void flavor_waiter(void)
{
	struct bma_gp *gp = scene.ma[0].group->gp;
	void *p = scene_unlink();

	MODEL_CHECK(bma_gp_wait(gp, bma_gp_number(gp)));
	if (scene_obj(p)->held)
		model_fail("a wait is over while a reader is inside");
	scene_free(p);
	scene_free(spare);
}

static const struct model_scenario scenarios[] = {
	{
		.name = "synchronize against a reader",
		.setup = setup_linked,
		.thread = { synchronizer, twice },
		.finish = scene_end,
		.nr_cpus = 2,
		.check = { .preemptions = MODEL_FREELY, .late = 1 },
		.proof = { .preemptions = MODEL_FREELY, .late = 3 },
	},
	{
		.name = "synchronize against a reader with real barriers",
		.setup = setup_linked,
		.thread = { synchronizer, twice },
		.finish = scene_end,
		.nr_cpus = 2,
		.fences = true,
		.check = { .preemptions = MODEL_FREELY, .late = 1 },
		.proof = { .preemptions = MODEL_FREELY, .late = 3 },
	},
	{
		.name = "synchronize, a reader, and polls by another",
		.setup = setup_linked,
		.thread = { synchronizer, nested, two_polls },
		.finish = scene_end,
		.nr_cpus = 3,
		.check = { .preemptions = 2 },
		.proof = { .preemptions = 4, .late = 1 },
	},
	{
		.name = "a handler that reads",
		.setup = setup_linked,
		.thread = { synchronizer, scene_reader },
		.handler = { NULL, scene_reader },
		.finish = scene_end,
		.nr_cpus = 2,
		.check = { .preemptions = 2, .late = 1 },
		.proof = { .preemptions = MODEL_FREELY, .late = 1 },
	},
	{
		.name = "first sections, and one in a handler",
		.setup = scene_begin,
		.thread = { nested_first, nested_first },
		.handler = { nested_in_handler },
		.finish = finish_strangers,
		.nr_cpus = 2,
		.strangers = true,
		.check = { .preemptions = 1 },
		.proof = { .preemptions = MODEL_FREELY, .late = 1 },
	},
	{
		.name = "a thread that dies inside",
		.setup = setup_linked,
		.thread = { synchronizer, dies_inside },
		.finish = scene_end,
		.nr_cpus = 2,
		.check = { .preemptions = MODEL_FREELY, .late = 1 },
		.proof = { .preemptions = MODEL_FREELY, .late = 2 },
	},
	{
		.name = "polls that overlap",
		.thread = { synchronize_only, synchronize_twice, watch_completed },
		.nr_cpus = 3,
		.check = { .preemptions = 2 },
		.proof = { .preemptions = 6, .late = 1 },
	},
	{
		.name = "both kinds at once",
		.thread = { synchronize_only, synchronize_trace },
		.nr_cpus = 2,
		.check = { .preemptions = MODEL_FREELY, .late = 1 },
		.proof = { .preemptions = MODEL_FREELY, .late = 2 },
	},
	{
		.name = "callbacks and the barrier against a reader",
		.setup = setup_linked,
		.thread = { call_rcu, scene_reader },
		.finish = scene_end,
		.nr_cpus = 2,
		.check = { .preemptions = 2 },
		.proof = { .preemptions = 4, .late = 1 },
	},
	{
		.name = "a domain that the home drives",
		.setup = setup_flavor,
		.thread = { flavor_waiter, flavor_reader, driver },
		.finish = scene_end,
		.nr_cpus = 3,
		.flavor = true,
		.check = { .preemptions = 3, .late = 1 },
		.proof = { .preemptions = MODEL_FREELY, .late = 2 },
	},
	{ 0 },
};

int main(int argc, char **argv)
{
	return model_main(argc, argv, scenarios);
}
