// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * plugin.c - what test_dlopen.c loads: a user of the library that comes and goes with it
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <bma/bpf_mem_alloc.h>
#include <bma/rcu.h>
#include <bma/stats.h>

#include "plugin.h"

#define OBJS 200
#define SIZE 100

/* Read, and leave what was allocated to its grace period. */
static void *work(void *arg)
{
	struct bpf_mem_alloc *ma = arg;
	char *obj;
	int i;

	for (i = 0; i < OBJS; i++) {
		bpf_rcu_read_lock();
		obj = bpf_mem_cache_alloc(ma);
		if (!obj)
			return NULL;
		memset(obj, i, SIZE);
		bpf_mem_cache_free_rcu(ma, obj);
		bpf_rcu_read_unlock();
	}
	return arg;
}

static bool work_in_a_thread(struct bpf_mem_alloc *ma)
{
	pthread_t thread;
	void *result;

	return !pthread_create(&thread, NULL, work, ma) && !pthread_join(thread, &result) && result;
}

/* With limbo full, grace periods to come and, as @flags say, the allocator left as it is. */
int plugin_run(unsigned int flags)
{
	struct bpf_mem_alloc ma;
	struct bpf_mem_stats s;

	if (bpf_mem_alloc_init(&ma, SIZE, false))
		return -1;
	if (!work(&ma) || (flags & PLUGIN_THREAD && !work_in_a_thread(&ma)))
		return -2;
	if (flags & PLUGIN_WAIT) {
		bpf_rcu_synchronize();
		bpf_rcu_barrier();
	}
	bpf_mem_alloc_stats(&ma, &s);
	if (s.objs_in_use || (flags & PLUGIN_WAIT && s.objs_waiting_rcu))
		return -3;
	if (!(flags & PLUGIN_LEAVE))
		bpf_mem_alloc_destroy(&ma);
	return 0;
}

/* What all that ran so far left behind. */
void plugin_left(struct plugin_left *left)
{
	struct bpf_mem_stats s;

	bpf_mem_process_stats(&s);
	*left = (struct plugin_left){ .allocators = s.allocators,
				      .dying = s.dying,
				      .spans = s.spans };
}
