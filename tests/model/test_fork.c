// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * A fork, at any point of what other threads do, and of what the one that forks does itself: what the child
 * makes of the memory that it has.
 *
 * The scenarios go on as the child.  There, objects have one owner still; what others had in hand in the
 * middle of a call is lost, and no more; the rest can be had, waits for no reader that is not there, and
 * comes back; and destroy gives back all, what was lost included.
 */
#include "scene.h"

static void *spare[4];
/* By those who were in the middle of something, at most: two magazines, or records. */
static unsigned int objs_lost = 4, pieces_lost = 2;
static unsigned int records; /* of readers, at first */
static bool forked;
static char *ours; /* what the one that forks has found as a reader */

/* A magazine of each kind on CPU 0, a full one in the depot, and readers find an object. */
static void setup(void)
{
	struct bpf_mem_cache *c;
	struct bma_magazine *m;
	unsigned int i;

	scene_begin();
	records = bma_reader_records();
	c = scene.ma[0].caches;
	for (i = 0; i < 4; i++)
		spare[i] = scene_alloc();
	scene_publish(spare[0]);
	scene_free(spare[3]);
	scene_free_rcu(spare[2]);
	m = bma_magazine_new();
	MODEL_CHECK(bma_slab_fill(c, m));
	bma_depot_put(c, m);
}

/* The child knows of no reader but, perhaps, itself. */
static void fork_now(void)
{
	unsigned int i;

	model_fork();
	forked = true;
	for (i = 0; i < scene.nr; i++)
		scene.obj[i].watched = scene.obj[i].held = scene.obj[i].at == ours;
}

/* All that a program can do with what it has. */
static void use(void)
{
	void *p[3];
	unsigned int i;

	for (i = 0; i < 3; i++)
		MODEL_CHECK(p[i] = scene_alloc());
	scene_free_rcu(p[0]);
	scene_free(p[1]);
	scene_free_rcu(p[2]);
}

static void forker(void)
{
	fork_now();
	use();
}

/* Grace periods end in the child, also for what was unlinked in the parent. */
static void unlink_fork_and_wait(void)
{
	void *p = scene_unlink();

	fork_now();
	bpf_rcu_synchronize();
	scene_free(p);
	use();
	synchronize_rcu_tasks_trace();
}

static void other_allocs_and_frees(void)
{
	void *p = scene_alloc(), *q = scene_alloc();

	scene_free(p);
	scene_free(q);
}

/* CPU 0 has two full magazines, so that a free has one go to the depot. */
static void setup_full(void)
{
	void *p[4];
	unsigned int i;

	scene_begin();
	records = bma_reader_records();
	for (i = 0; i < 4; i++)
		p[i] = scene_alloc();
	for (i = 0; i < 2; i++)
		spare[i] = scene_alloc();
	for (i = 0; i < 4; i++)
		scene_free(p[i]);
}

static void other_frees_to_the_depot(void)
{
	scene_free(spare[1]);
	other_allocs_and_frees();
}

static void other_frees_rcu(void)
{
	scene_free_rcu(spare[1]);
	scene_free_rcu(scene_alloc());
}

/* A magazine that could not be loaded waits with one object in it, and then gets another. */
static void other_fills_by_rcu(void)
{
	scene_free_rcu(spare[1]);
	scene_free_rcu(scene_alloc());
	scene_free_rcu(scene_alloc());
}

static void other_reads(void)
{
	scene_reader();
	scene_read_trace();
}

/* --- at the limit of limbo: room for two objects ------------------------------------------------------ */

static void setup_limit(void)
{
	unsigned int i;

	scene_begin();
	records = bma_reader_records();
	for (i = 0; i < 4; i++)
		spare[i] = scene_alloc();
	scene_free_rcu(spare[3]);
	bpf_mem_alloc_set_limbo_limit(&scene.ma[0], 2 * SCENE_TWO);
}

/* To limbo, and, when that is ripe, from there. */
static void other_fills_limbo(void)
{
	void *p;

	scene_free_rcu(spare[2]);
	scene_free_rcu(spare[1]);
	bpf_rcu_poll_state(bpf_rcu_get_state());
	p = scene_alloc();
	if (p)
		scene_free(p);
}

/* When all is ripe nothing is in limbo that could have an alloc refused, whoever was counting. */
static void fork_and_need_room(void)
{
	struct bpf_mem_stats s;

	fork_now();
	bpf_rcu_barrier();
	bpf_mem_alloc_stats(&scene.ma[0], &s);
	MODEL_CHECK(s.objs_waiting_rcu == 0);
	use();
}

/* --- the reclaimer -------------------------------------------------------------------------------------- */

/* Nobody but the reclaimer has something in hand, and a fork waits until it has not. */
static void setup_nothing_lost(void)
{
	setup();
	objs_lost = pieces_lost = 0;
}

static void setup_trim(void)
{
	struct bpf_mem_cache *c;

	setup_nothing_lost();
	c = scene.ma[0].caches;
	bma_reclaim_harvest(scene.ma[0].group, 0);
	c->nr_depot_low = c->nr_depot;
	bma_world.round = 3;
}

static void two_rounds(void)
{
	model_reclaimer(2);
}

static void destroy_and_fork(void)
{
	scene_free_rcu(scene_unlink());
	scene_free(spare[1]);
	scene_destroy(&scene.ma[0]);
	fork_now();
}

/* The reclaimer has not seen it yet, or has. */
static void make_another_and_fork(void)
{
	MODEL_CHECK(bpf_mem_alloc_init(&scene.ma[1], SCENE_TWO, false) == 0);
	MODEL_CHECK(scene_alloc_from(&scene.ma[1]));
	forker();
}

/* --- in a handler ---------------------------------------------------------------------------------------- */

/* It may have come to a thread in the middle of its first section. */
static void fork_and_read(void)
{
	forker();
	scene_reader();
}

static void first_section(void)
{
	bpf_rcu_read_lock();
	ours = scene_find();
	scene_drop(ours);
	ours = NULL;
	bpf_rcu_read_unlock();
	MODEL_CHECK((uint32_t)bpf_rcu_this_reader_->owner == port_thread_id());
	bpf_rcu_synchronize();
}

/* --- a domain that the home drives ------------------------------------------------------------------------ */

static void want_and_fork(void)
{
	uint64_t number = bma_gp_number(port_gp_driven(0));

	bma_gp_want(port_gp_driven(0), number, false);
	fork_now();
	/* The one that was under way has to be run again, as whole, and may be one before ours. */
	while (!bma_gp_number_done(port_gp_driven(0), number))
		model_drive(1);
}

static void drive(void)
{
	model_drive(2);
}

static void flavor_reader(void)
{
	model_flavor_lock();
	model_point("a reader of the flavour");
	model_flavor_unlock();
}

/* --- the end ---------------------------------------------------------------------------------------------- */

/* Of what is out of the slab, objects that nobody has. */
static unsigned int nr_lost(struct bpf_mem_cache *c)
{
	unsigned int out = 0, i;
	bma_handle_t h;
	struct bma_span *span;

	for (h = c->all_spans; h; h = span->all_next) {
		span = bma_piece(h);
		if (!(span->state & BMA_SPAN_DEAD))
			out += c->nr_objs - (unsigned int)__builtin_popcountll(span->map[0]);
	}
	for (i = 0; i < scene.nr; i++)
		out -= scene.obj[i].state == SCENE_OUT && bma_pagemap_cache(scene.obj[i].at) == c;
	return out;
}

/* Counts are off by what was lost at most, and to one side. */
static void check_counts(struct bpf_mem_cache *c)
{
	MODEL_CHECK(nr_lost(c) <= objs_lost);
	MODEL_CHECK(c->nr_depot >= 0 && c->nr_depot <= objs_lost);
	MODEL_CHECK(c->nr_limbo <= 0 && c->nr_limbo >= -(int64_t)objs_lost);
}

/* What has an owner here has none when its allocator has been destroyed. */
static void give_up_objects(void)
{
	unsigned int i;

	for (i = 0; i < scene.nr; i++)
		if (scene.obj[i].state == SCENE_OUT)
			scene.obj[i].state = SCENE_FREED;
}

static void finish(void)
{
	unsigned int i;

	/* The handler that was to do it has not come. */
	if (!forked)
		fork_now();
	model_settle();
	for (i = 0; i < 2; i++)
		if (scene.ma[i].group)
			check_counts(scene.ma[i].caches);
	give_up_objects();
	for (i = 0; i < 2; i++)
		scene_destroy(&scene.ma[i]);
	model_settle();
	MODEL_CHECK(!bma_world.groups);
	MODEL_CHECK(model_pages() == 0);
	MODEL_CHECK(model_pieces() <= (long)(bma_reader_records() - records + pieces_lost));
}

static const struct model_scenario scenarios[] = {
	{
		.name = "a fork while another allocates and frees",
		.setup = setup_full,
		.thread = { other_frees_to_the_depot, forker },
		.finish = finish,
		.nr_cpus = 2,
		.check = { .preemptions = 2 },
		.proof = { .preemptions = MODEL_FREELY, .late = 1 },
	},
	{
		.name = "a fork while another on the same CPU frees with free_rcu",
		.setup = setup,
		.thread = { other_frees_rcu, forker },
		.finish = finish,
		.check = { .preemptions = 2 },
		.proof = { .preemptions = MODEL_FREELY },
	},
	{
		.name = "a fork at the limit of limbo",
		.setup = setup_limit,
		.thread = { other_fills_limbo, fork_and_need_room },
		.finish = finish,
		.check = { .preemptions = 2 },
		.proof = { .preemptions = 4 },
	},
	{
		.name = "a fork where steps have failed",
		.setup = setup_limit,
		.thread = { other_fills_by_rcu, fork_and_need_room },
		.finish = finish,
		.check = { .preemptions = 1, .fails = 1 },
		.proof = { .preemptions = 3, .fails = 1 },
	},
	{
		.name = "a fork while another reads",
		.setup = setup,
		.thread = { other_reads, unlink_fork_and_wait },
		.finish = finish,
		.nr_cpus = 2,
		.check = { .preemptions = 2, .late = 1 },
		.proof = { .preemptions = MODEL_FREELY, .late = 2 },
	},
	{
		.name = "a fork while others begin to read",
		.setup = setup,
		.thread = { other_reads, unlink_fork_and_wait, scene_reader },
		.finish = finish,
		.nr_cpus = 2,
		.strangers = true,
		.check = { .preemptions = 1 },
		.proof = { .preemptions = 3 },
	},
	{
		.name = "a fork against a round of the reclaimer",
		.setup = setup_trim,
		.thread = { two_rounds, forker },
		.finish = finish,
		.nr_cpus = 2,
		.check = { .preemptions = 2 },
		.proof = { .preemptions = MODEL_FREELY, .late = 1 },
	},
	{
		.name = "a fork with a teardown under way, and a reader inside",
		.setup = setup_trim,
		.thread = { two_rounds, destroy_and_fork, other_reads },
		.finish = finish,
		.nr_cpus = 2,
		.check = { .preemptions = 1 },
		.proof = { .preemptions = 3 },
	},
	{
		.name = "a fork just after an allocator was made",
		.setup = setup_nothing_lost,
		.thread = { two_rounds, make_another_and_fork },
		.finish = finish,
		.nr_cpus = 2,
		.check = { .preemptions = 2 },
		.proof = { .preemptions = 4 },
	},
	{
		.name = "a fork in a handler, while another frees",
		.setup = setup,
		.thread = { other_allocs_and_frees, other_frees_rcu },
		.handler = { forker },
		.finish = finish,
		.check = { .preemptions = 1 },
		.proof = { .preemptions = 3 },
	},
	{
		.name = "a fork in a handler that interrupts a first section",
		.setup = setup,
		.thread = { first_section, other_reads },
		.handler = { fork_and_read },
		.finish = finish,
		.nr_cpus = 2,
		.strangers = true,
		.check = { .preemptions = 1 },
		.proof = { .preemptions = 4 },
	},
	{
		.name = "a fork in a handler that does not read",
		.setup = setup,
		.thread = { first_section },
		.handler = { forker },
		.finish = finish,
		.strangers = true,
		.check = { .preemptions = 0 },
		.proof = { .preemptions = 0 },
	},
	{
		.name = "a fork while the home drives a grace period",
		.setup = setup,
		.thread = { drive, want_and_fork, flavor_reader },
		.finish = finish,
		.nr_cpus = 3,
		.flavor = true,
		.check = { .preemptions = 2 },
		.proof = { .preemptions = MODEL_FREELY },
	},
	{ 0 },
};

int main(int argc, char **argv)
{
	return model_main(argc, argv, scenarios);
}
