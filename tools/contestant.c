// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * contestant.c - what the contestants have in common
 */
#define _GNU_SOURCE
#include "contestant.h"
#include "tool.h"

#include <string.h>
#include <urcu.h>

int pool_open(struct pool *pool, const struct contestant *how, size_t size)
{
	int err;

	memset(pool, 0, sizeof(*pool));
	pool->how = how;
	pool->size = size;
	err = how->open(pool);
	if (err)
		complain("%s cannot make a pool of %zu-byte objects: %s", how->name, size,
			 strerror(-err));
	return err ? -1 : 0;
}

int pool_close(struct pool *pool)
{
	if (pool->how->drain)
		pool->how->drain(pool);
	return pool->how->close(pool);
}

static bool memb_enter(void)
{
	rcu_register_thread();
	return true;
}

static void memb_leave(void)
{
	rcu_unregister_thread();
}

static void memb_lock(void)
{
	rcu_read_lock();
}

static void memb_unlock(void)
{
	rcu_read_unlock();
}

const struct reader_calls *pool_readers(const struct pool *pool)
{
	static const struct reader_calls memb = {
		.enter = memb_enter,
		.leave = memb_leave,
		.lock = memb_lock,
		.unlock = memb_unlock,
	};

	return pool->how->readers ? pool->how->readers : &memb;
}

/* All are registered with liburcu, also those of contestants that have no use for it. */
bool pool_enter(const struct pool *pool)
{
	rcu_register_thread();
	if (!pool->how->enter || !pool->how->enter())
		return true;
	complain("%s: a thread cannot be registered", pool->how->name);
	rcu_unregister_thread();
	return false;
}

void pool_leave(const struct pool *pool)
{
	if (pool->how->leave)
		pool->how->leave();
	rcu_unregister_thread();
}

void pool_measure(const void *arg, struct memory_usage *usage)
{
	const struct pool *pool = arg;

	pool->how->measure(pool, usage);
}
