// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * fixed_size.c - objects of one size that liburcu readers use without a lock
 *
 *	cc fixed_size.c $(pkg-config --cflags --libs bma liburcu) -o fixed_size
 */
#include <stdatomic.h>
#include <stdio.h>
#include <urcu.h> /* before bma: bpf_mem_alloc_init() takes its readers for this flavour's */
#include <bma/bpf_mem_alloc.h>

struct route {
	unsigned long version, hops, check;
};

static struct route *current_route; /* what readers see; never changed, only replaced */
static atomic_int stop;

/* Count the routes that are not as they were published. */
static void *reader(void *torn)
{
	rcu_register_thread();
	while (!atomic_load(&stop)) {
		rcu_read_lock();
		struct route *r = rcu_dereference(current_route);
		*(unsigned long *)torn += r && r->check != (r->version ^ r->hops);
		rcu_read_unlock();
	}
	rcu_unregister_thread();
	return NULL;
}

int main(void)
{
	struct bpf_mem_alloc ma;
	pthread_t thread;
	unsigned long torn = 0, version;

	if (bpf_mem_alloc_init(&ma, sizeof(struct route), false))
		return 1;
	rcu_register_thread();
	if (pthread_create(&thread, NULL, reader, &torn))
		return 1;
	for (version = 1; version <= 1000000; version++) {
		struct route *fresh = bpf_mem_cache_alloc(&ma), *old = current_route;

		if (!fresh)
			return 1;
		*fresh = (struct route){ version, version % 16, version ^ version % 16 };
		rcu_assign_pointer(current_route, fresh);
		/* The reader may still look at the old one: it is reused after a grace period. */
		bpf_mem_cache_free_rcu(&ma, old);
	}
	atomic_store(&stop, 1);
	pthread_join(thread, NULL);
	printf("route replaced %lu times, torn routes seen: %lu\n", version - 1, torn);
	bpf_mem_cache_free_rcu(&ma, current_route);
	bpf_mem_alloc_destroy(&ma); /* at once, whatever still waits for readers */
	rcu_unregister_thread();
	return torn != 0;
}
