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

void pool_measure(const void *arg, struct memory_usage *usage)
{
	const struct pool *pool = arg;

	pool->how->measure(pool, usage);
}
