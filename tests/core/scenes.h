/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * scenes.h - an operation interrupted everywhere by others, on an allocator in each of its states
 *
 * With magazines of two, every state of a CPU's three magazines, of the depot and of limbo is a few
 * objects away: scene_freed and scene_freed_rcu say how many are freed before the operation.
 */
#ifndef BMA_SCENES_H
#define BMA_SCENES_H

#include "unit.h"

#define SCENE_MAX_HELD 80

static struct bpf_mem_alloc *scene_ma;
static void *scene_held[SCENE_MAX_HELD];
static unsigned int scene_nr_held, scene_freed, scene_freed_rcu;
static int scene_size = 1024; /* four in a span */

static inline void scene_alloc(void)
{
	void *obj = unit_alloc(scene_ma);

	assert_true(scene_nr_held < SCENE_MAX_HELD);
	scene_held[scene_nr_held++] = obj;
}

static inline void scene_free(void)
{
	assert_true(scene_nr_held > 0);
	unit_free(scene_ma, scene_held[--scene_nr_held]);
}

static inline void scene_free_rcu(void)
{
	assert_true(scene_nr_held > 0);
	unit_free_rcu(scene_ma, scene_held[--scene_nr_held]);
}

static inline void scene_prepare(void)
{
	unsigned int i;

	script_nr_cpus(2);
	script_hold(unit_trace(), true);
	scene_ma = unit_ma(scene_size, false);
	scene_nr_held = 0;
	for (i = 0; i < scene_freed + scene_freed_rcu + 12; i++)
		scene_alloc();
	for (i = 0; i < scene_freed_rcu; i++)
		scene_free_rcu();
	for (i = 0; i < scene_freed; i++)
		scene_free();
}

/* --- what interrupts ---------------------------------------------------------------------------- */

static inline void scene_nested_alloc(void *arg)
{
	(void)arg;
	scene_alloc();
	scene_alloc();
	scene_alloc();
}

static inline void scene_nested_free(void *arg)
{
	(void)arg;
	scene_free();
	scene_free();
	scene_free();
}

static inline void scene_nested_free_rcu(void *arg)
{
	(void)arg;
	scene_free_rcu();
	scene_free_rcu();
	scene_free_rcu();
}

/* The same magazine goes out and comes in again. */
static inline void scene_nested_to_and_fro(void *arg)
{
	(void)arg;
	scene_free();
	scene_alloc();
	scene_alloc();
	scene_free();
	scene_free_rcu();
}

static inline void scene_nested_migration(void *arg)
{
	(void)arg;
	script_cpu(1);
	scene_free();
	scene_alloc();
}

static inline void scene_nested_other_cpu(void *arg)
{
	script_cpu(1);
	scene_nested_to_and_fro(arg);
	script_cpu(0);
}

/* All readers leave, and the reclaimer comes by. */
static inline void scene_nested_grace_period(void *arg)
{
	(void)arg;
	unit_pass(2);
	scene_alloc();
	scene_alloc();
}

static inline void scene_nested_reclaim(void *arg)
{
	unsigned int i;

	(void)arg;
	for (i = 0; i < 3; i++) {
		bma_reclaim();
		unit_pass(1);
	}
}

static inline void scene_nested_flush(void *arg)
{
	port_store(&scene_ma->group->want_flush, true, relaxed);
	scene_nested_reclaim(arg);
	bma_reclaim();
	unit_pass(2);
	bma_reclaim();
}

/* A handler that is interrupted itself. */
static inline void scene_nested_deeper(void *arg)
{
	script_interrupt(SCRIPT_ANY, 5, scene_nested_to_and_fro, arg);
	scene_nested_free(arg);
	script_interrupt(SCRIPT_ANY, 7, scene_nested_alloc, arg);
	scene_nested_alloc(arg);
}

static void (*const scene_nested[])(void *) = {
	scene_nested_alloc,	   scene_nested_free,	   scene_nested_free_rcu,
	scene_nested_to_and_fro,   scene_nested_migration, scene_nested_other_cpu,
	scene_nested_grace_period, scene_nested_reclaim,   scene_nested_flush,
	scene_nested_deeper,
};

#define SCENE_NR_NESTED (sizeof(scene_nested) / sizeof(scene_nested[0]))

/* Nothing is lost, nothing is there twice, and all of it can be had again. */
static inline void scene_check(void)
{
	struct bpf_mem_stats s = unit_stats(scene_ma);
	uint64_t all = s.objs_in_use + s.objs_free + s.objs_waiting_rcu + s.objs_waiting_ttrace;

	assert_int_equal(s.objs_in_use, unit.out);
	assert_int_equal(s.objs_in_use, scene_nr_held);
	assert_int_equal(all, port_load(&scene_ma->caches->nr_from_slab, relaxed));
	unit_check_freed();
	unit_settle();
	unit_check_freed();
	assert_int_equal(unit_stats(scene_ma).objs_in_use, scene_nr_held);
	while (scene_nr_held)
		scene_free();
}

/* @run, at every point of it, by everything, in every state; returns how many points there were. */
static inline unsigned int scene_explore(void (*run)(void))
{
	struct unit_scene scene = { .prepare = scene_prepare, .run = run, .check = scene_check };
	unsigned int i, points = 0;

	for (scene_freed = 0; scene_freed <= 5; scene_freed++) {
		for (scene_freed_rcu = 0; scene_freed_rcu <= 5; scene_freed_rcu++) {
			for (i = 0; i < SCENE_NR_NESTED; i++) {
				scene.nested = scene_nested[i];
				points += unit_explore(&scene);
			}
		}
	}
	print_message("    (%u points)\n", points);
	return points;
}

#endif /* BMA_SCENES_H */
