// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * percpu.c - objects with a copy for each CPU
 *
 * A span of per-CPU objects is as many copies of a span in a row as there are possible CPUs; the
 * object's pointer is that of CPU 0's copy, CPU n's lies n span sizes above.  The system gives a
 * page when it is first touched, so a copy that no CPU uses costs address space only.
 */
#include "bma.h"

void *bpf_per_cpu_ptr(void *ptr, int cpu)
{
	struct bpf_mem_cache *c = bma_pagemap_cache(ptr);

	if (!c || !c->percpu || cpu < 0 || (unsigned int)cpu >= c->nr_copies)
		return NULL;
	return (char *)ptr + (size_t)cpu * c->span_bytes;
}

void *bpf_this_cpu_ptr(void *ptr)
{
	return bpf_per_cpu_ptr(ptr, (int)port_cpu());
}
