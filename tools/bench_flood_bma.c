// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * bench_flood_bma.c - flood's contestants from bma, with its built-in readers and with liburcu's
 *
 * Updaters do nothing but allocate and free: they register with nobody, and no call of theirs
 * waits.
 */
#define _GNU_SOURCE
#include "bench_flood.h"

#include <string.h>
#include <urcu/flavor.h>

#include <bma/rcu.h>
#include <bma/stats.h>

/* Each flavour's own header declares one of these, but only the first header included does. */
extern const struct rcu_flavor_struct urcu_memb_flavor;
extern const struct rcu_flavor_struct urcu_mb_flavor;
extern const struct rcu_flavor_struct urcu_qsbr_flavor;
extern const struct rcu_flavor_struct urcu_bp_flavor;

static int bma_open(struct flood *flood)
{
	const struct rcu_flavor_struct *flavor = flood->how->flavor;
	int size = (int)flood->run->params.size;
	int err = flavor ? bpf_mem_alloc_init_flavor(&flood->ma, size, false, flavor) :
			   bpf_mem_alloc_init(&flood->ma, size, false);

	if (!err)
		return 0;
	complain("%s: cannot make an allocator: %s", flood->run->who->name, strerror(-err));
	return -1;
}

static bool bma_update(struct flood_thread *t)
{
	struct bpf_mem_alloc *ma = &t->flood->ma;

	for (int i = 0; i < FLOOD_BATCH; i++) {
		void *object = bpf_mem_cache_alloc(ma);

		if (!object)
			return flood_fault(t->flood, "an allocation failed");
		flood_touch(object);
		bpf_mem_cache_free_rcu(ma, object);
	}
	return true;
}

static bool bma_read(struct flood_thread *t)
{
	for (int i = 0; i < FLOOD_BATCH; i++) {
		bpf_rcu_read_lock();
		flood_look(t);
		bpf_rcu_read_unlock();
	}
	return true;
}

static void bma_measure(const void *arg, struct memory_usage *usage)
{
	const struct flood *flood = arg;
	struct bpf_mem_stats stats;

	bpf_mem_alloc_stats(&flood->ma, &stats);
	*usage = (struct memory_usage){
		.limbo = stats.bytes_waiting_rcu,
		.held = stats.bytes_spans + stats.bytes_meta,
		.grace_periods = stats.grace_periods,
	};
}

static int bma_close(struct flood *flood)
{
	struct bpf_mem_stats stats;

	bpf_mem_alloc_stats(&flood->ma, &stats);
	bpf_mem_alloc_destroy(&flood->ma);
	if (!stats.objs_in_use && !stats.bad_frees)
		return 0;
	complain("%s: the books do not close: %llu objects in use, %llu bad frees",
		 flood->run->who->name, (unsigned long long)stats.objs_in_use,
		 (unsigned long long)stats.bad_frees);
	return -1;
}

#define BMA_UPDATER                                                                                \
	{                                                                                          \
		.step = bma_update                                                                 \
	}

const struct flood_contestant flood_bma = {
	.counts_grace_periods = true,
	.updater = BMA_UPDATER,
	.reader = { .step = bma_read },
	.open = bma_open,
	.close = bma_close,
	.measure = bma_measure,
};

#define BMA_WITH_FLAVOR(its_flavor)                                                                \
	{                                                                                          \
		.flavor = its_flavor, .counts_grace_periods = true, .updater = BMA_UPDATER,        \
		.reader = FLOOD_FLAVOR_READER, .open = bma_open, .close = bma_close,               \
		.measure = bma_measure,                                                            \
	}

const struct flood_contestant flood_bma_memb = BMA_WITH_FLAVOR(&urcu_memb_flavor);
const struct flood_contestant flood_bma_mb = BMA_WITH_FLAVOR(&urcu_mb_flavor);
const struct flood_contestant flood_bma_qsbr = BMA_WITH_FLAVOR(&urcu_qsbr_flavor);
const struct flood_contestant flood_bma_bp = BMA_WITH_FLAVOR(&urcu_bp_flavor);
