/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * histogram.h - how often each time was taken, to a sixteenth of it
 *
 * Times are whole ticks of whatever clock.  Each power of two is cut into 16 buckets, so that a
 * fixed array holds anything from one tick to hours.
 */
#ifndef BMA_HISTOGRAM_H
#define BMA_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

#define HISTOGRAM_PARTS 16
#define HISTOGRAM_BUCKETS (HISTOGRAM_PARTS * 48)

struct histogram {
	uint64_t counts[HISTOGRAM_BUCKETS];
	uint64_t nr;
	uint64_t max;
	double ns_per_tick;
};

/* Below 16 a bucket is one tick. */
static inline size_t histogram_bucket(uint64_t ticks)
{
	unsigned int log = 63 - (unsigned int)__builtin_clzll(ticks | HISTOGRAM_PARTS);
	size_t bucket = (log - 4) * HISTOGRAM_PARTS + (size_t)(ticks >> (log - 4));

	return bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1;
}

static inline void histogram_add(struct histogram *h, uint64_t ticks)
{
	h->counts[histogram_bucket(ticks)]++;
	h->nr++;
	if (ticks > h->max)
		h->max = ticks;
}

/* The least and, but for the last bucket, the most of a bucket are @bucket's and the next one's. */
double histogram_bucket_ns(const struct histogram *h, size_t bucket);

/* The time, in ns, that @part of all did not exceed; of the bucket the middle. */
double histogram_percentile(const struct histogram *h, double part);
double histogram_max_ns(const struct histogram *h);

#endif /* BMA_HISTOGRAM_H */
