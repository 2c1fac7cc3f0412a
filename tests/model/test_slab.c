// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Spans: who takes the last, who puts one back, who takes a span that is all free.
 */
#include "scene.h"

static void *out[4];

static void setup_out(void)
{
	unsigned int i;

	scene_begin();
	for (i = 0; i < 2; i++) {
		out[i] = bma_slab_get(scene.ma[0].caches);
		scene_got(out[i], SCENE_TWO);
	}
}

static void raw_free(void *p);

/* One of a span's two objects is in. */
static void setup_one_in(void)
{
	setup_out();
	raw_free(out[0]);
}

/* Asks for two where there is one. */
static void refill(void)
{
	scene_free(scene_alloc());
}

static void raw_free(void *p)
{
	scene_give(p, false);
	bpf_mem_cache_raw_free(p);
}

static void put_first(void)
{
	raw_free(out[0]);
}

static void put_second(void)
{
	raw_free(out[1]);
}

static void take_and_put(void)
{
	void *p = bma_slab_get(scene.ma[0].caches);

	scene_got(p, SCENE_TWO);
	raw_free(p);
}

/* What the reclaimer does for spans. */
static void slab_step(void)
{
	bma_slab_step(scene.ma[0].caches);
	bma_slab_step(scene.ma[0].caches);
}

static void defer_first(void)
{
	scene_give(out[0], true);
	bma_slab_defer(scene.ma[0].caches, out[0]);
}

static void defer_second(void)
{
	scene_give(out[1], true);
	bma_slab_defer(scene.ma[0].caches, out[1]);
}

static void setup_linked(void)
{
	setup_out();
	scene_publish(out[0]);
}

static void unlink_and_defer(void)
{
	scene_unlink();
	defer_first();
}

/* Two spans, in what is left of others. */
static void take_four(void)
{
	void *p[4];
	unsigned int i;

	for (i = 0; i < 4; i++) {
		p[i] = bma_slab_get(scene.ma[0].caches);
		scene_got(p[i], SCENE_TWO);
	}
	for (i = 0; i < 4; i++)
		raw_free(p[i]);
}

/* A span is on one list at a time. */
static void finish(void)
{
	struct bpf_mem_cache *c = scene.ma[0].caches;
	unsigned int i;

	for (i = 0; i < 2; i++)
		if (scene_obj(out[i])->state == SCENE_OUT)
			raw_free(out[i]);
	scene_check_spans(c);
	model_settle();
	MODEL_CHECK(!c->nr_deferred && !c->nr_from_slab && !c->nr_spans);
	take_four();
	scene_check_spans(c);
	scene_end();
}

static const struct model_scenario scenarios[] = {
	{
		.name = "two puts",
		.setup = setup_out,
		.thread = { put_first, put_second },
		.finish = finish,
		.nr_cpus = 2,
		.check = { .preemptions = MODEL_FREELY, .late = 1 },
		.proof = { .preemptions = MODEL_FREELY, .late = 2 },
	},
	{
		.name = "a put against a take",
		.setup = setup_out,
		.thread = { take_and_put, put_first },
		.finish = finish,
		.nr_cpus = 2,
		.check = { .preemptions = 2, .late = 1 },
		.proof = { .preemptions = MODEL_FREELY, .late = 1 },
	},
	{
		.name = "a refill that takes the last against a put",
		.setup = setup_one_in,
		.thread = { refill, put_second },
		.finish = finish,
		.nr_cpus = 2,
		.check = { .preemptions = 2 },
		.proof = { .preemptions = MODEL_FREELY, .late = 1 },
	},
	{
		.name = "two puts, a take, and the reclaimer",
		.setup = setup_out,
		.thread = { put_first, take_and_put, slab_step },
		.finish = finish,
		.nr_cpus = 3,
		.check = { .preemptions = 1 },
		.proof = { .preemptions = 3 },
	},
	{
		.name = "spans that are all free against a take",
		.setup = setup_out,
		.thread = { put_first, put_second, slab_step },
		.finish = finish,
		.nr_cpus = 3,
		.check = { .preemptions = 2 },
		.proof = { .preemptions = 4, .late = 1 },
	},
	{
		.name = "deferred frees against the reclaimer",
		.setup = setup_out,
		.thread = { defer_first, defer_second, slab_step },
		.finish = finish,
		.nr_cpus = 3,
		.check = { .preemptions = 2 },
		.proof = { .preemptions = 4, .late = 1 },
	},
	{
		.name = "a deferred free, a reader, and the reclaimer",
		.setup = setup_linked,
		.thread = { unlink_and_defer, scene_reader, slab_step },
		.finish = finish,
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
