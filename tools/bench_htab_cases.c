// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * bench_htab_cases.c - what the producers of each use case of htab-mem do
 *
 * Each producer has BATCH keys of its own, or shares them with its partner alone: producers meet in
 * the allocator, hardly ever in the table.
 */
#define _GNU_SOURCE
#include "bench_htab.h"
#include "tool.h"

#include <errno.h>
#include <string.h>

static bool fault(struct producer *p, const char *what, uint32_t key, int err)
{
	if (!atomic_exchange(&p->race->failed, true))
		complain("%s, %s: cannot %s key %u: %s", p->race->run->at->name,
			 p->race->run->who->name, what, key, strerror(-err));
	return false;
}

static bool add_batch(struct producer *p, uint32_t first_key, bool exclusive)
{
	for (uint32_t key = first_key; key < first_key + BATCH; key++) {
		int err = htab_update(&p->race->htab, key, key, exclusive);

		if (err)
			return fault(p, "add", key, err);
	}
	p->operations++;
	return true;
}

static bool delete_batch(struct producer *p, uint32_t first_key)
{
	for (uint32_t key = first_key; key < first_key + BATCH; key++) {
		int err = htab_delete(&p->race->htab, key);

		if (err)
			return fault(p, "delete", key, err);
	}
	p->operations++;
	return true;
}

static bool overwrite_step(struct producer *p)
{
	return add_batch(p, p->id * BATCH, false);
}

static bool batch_step(struct producer *p)
{
	return add_batch(p, p->id * BATCH, false) && delete_batch(p, p->id * BATCH);
}

static void wait_for(sem_t *semaphore)
{
	while (sem_wait(semaphore) && errno == EINTR)
		;
}

/* The adding half decides when it is over, so that the deleting one is never left waiting. */
static bool add_step(struct producer *p)
{
	bool fine = add_batch(p, p->id / 2 * BATCH, true);

	p->pair->over = !fine || atomic_load_explicit(&p->race->stop, memory_order_relaxed);
	sem_post(&p->pair->added);
	wait_for(&p->pair->deleted);
	return fine && !p->pair->over;
}

static bool delete_step(struct producer *p)
{
	bool over;

	wait_for(&p->pair->added);
	over = p->pair->over;
	if (!atomic_load_explicit(&p->race->failed, memory_order_relaxed) &&
	    !delete_batch(p, p->id / 2 * BATCH))
		atomic_store_explicit(&p->race->stop, true, memory_order_relaxed);
	sem_post(&p->pair->deleted);
	return !over;
}

static bool pair_step(struct producer *p)
{
	return p->id % 2 ? delete_step(p) : add_step(p);
}

const struct use_case overwrite_use_case = { .step = overwrite_step, .left = BATCH };
const struct use_case batch_use_case = { .step = batch_step };
const struct use_case diff_cpu_use_case = { .step = pair_step, .pairs = true };
