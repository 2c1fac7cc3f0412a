// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * contestant.c - what the contestants have in common
 */
#define _GNU_SOURCE
#include "contestant.h"
#include "tool.h"

#include <string.h>

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
	pool->how->drain(pool);
	return pool->how->close(pool);
}

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
