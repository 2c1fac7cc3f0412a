/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * ticks.h - the finest clock there is, for calls that take nanoseconds
 *
 * On x86 the time stamp counter, with what keeps the call measured between its two readings;
 * elsewhere the system's clock.
 */
#ifndef BMA_TICKS_H
#define BMA_TICKS_H

#include <stdint.h>

#include "tool.h"

#if defined(__x86_64__) || defined(__i386__)
#include <x86intrin.h>

static inline uint64_t ticks_before(void)
{
	uint64_t now;

	_mm_lfence();
	now = __rdtsc();
	_mm_lfence();
	return now;
}

static inline uint64_t ticks_after(void)
{
	unsigned int cpu;
	uint64_t now = __rdtscp(&cpu);

	_mm_lfence();
	return now;
}
#else
static inline uint64_t ticks_before(void)
{
	return now_ns();
}

static inline uint64_t ticks_after(void)
{
	return now_ns();
}
#endif

/* What two readings with nothing between them differ by, at the least. */
static inline uint64_t ticks_overhead(void)
{
	uint64_t least = UINT64_MAX;

	for (int i = 0; i < 10000; i++) {
		uint64_t before = ticks_before(), took = ticks_after() - before;

		if (took < least)
			least = took;
	}
	return least;
}

/* The time from @before to now, less @overhead. */
static inline uint64_t ticks_since(uint64_t before, uint64_t overhead)
{
	uint64_t took = ticks_after() - before;

	return took > overhead ? took - overhead : 0;
}

#endif /* BMA_TICKS_H */
