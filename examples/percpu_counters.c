// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * percpu_counters.c - a counter with a copy for each CPU, which threads raise without contention
 *
 *	cc percpu_counters.c $(pkg-config --cflags --libs bma) -o percpu_counters
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <bma/bpf_mem_alloc.h>

#define THREADS 4
#define EVENTS 250000

struct counters {
	_Atomic unsigned long events, bytes;
};

static struct counters *percpu; /* not to be dereferenced: bpf_this_cpu_ptr() finds a copy */

static void *count(void *arg)
{
	for (int i = 0; i < EVENTS; i++) {
		struct counters *c = bpf_this_cpu_ptr(percpu);

		/*
		 * The thread may be moved to another CPU between these lines, and meet the thread
		 * that runs here then: adding must be atomic, but it is hardly ever contended.
		 */
		atomic_fetch_add_explicit(&c->events, 1, memory_order_relaxed);
		atomic_fetch_add_explicit(&c->bytes, 64, memory_order_relaxed);
	}
	return arg;
}

int main(void)
{
	unsigned long events = 0, bytes = 0;
	pthread_t threads[THREADS];
	struct bpf_mem_alloc ma;
	struct counters *c;

	if (bpf_mem_alloc_init(&ma, sizeof(struct counters), true))
		return 1;
	percpu = bpf_mem_cache_alloc(&ma); /* fresh from the slab, every copy is zero */
	for (int i = 0; i < THREADS; i++)
		if (!percpu || pthread_create(&threads[i], NULL, count, NULL))
			return 1;
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (int cpu = 0; (c = bpf_per_cpu_ptr(percpu, cpu)); cpu++) {
		events += c->events;
		bytes += c->bytes;
	}
	printf("%lu events, %lu bytes\n", events, bytes);
	bpf_mem_cache_free(&ma, percpu);
	bpf_mem_alloc_destroy(&ma);
	return events != THREADS * EVENTS || bytes != 64 * events;
}
