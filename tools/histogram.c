// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * histogram.c - percentiles
 */
#include "histogram.h"

static double lower_end(size_t bucket)
{
	size_t log = bucket / HISTOGRAM_PARTS;

	if (!log)
		return (double)bucket;
	return (double)((uint64_t)(HISTOGRAM_PARTS + bucket % HISTOGRAM_PARTS) << (log - 1));
}

double histogram_bucket_ns(const struct histogram *h, size_t bucket)
{
	return lower_end(bucket) * h->ns_per_tick;
}

/* A bucket that is one tick wide is that tick. */
static double middle(size_t bucket)
{
	double low = lower_end(bucket);

	return low + (lower_end(bucket + 1) - low - 1) / 2;
}

double histogram_percentile(const struct histogram *h, double part)
{
	double wanted = part * (double)h->nr;
	uint64_t sum = 0;

	for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
		sum += h->counts[i];
		if (h->counts[i] && (double)sum >= wanted)
			return middle(i) * h->ns_per_tick;
	}
	return 0;
}

double histogram_max_ns(const struct histogram *h)
{
	return (double)h->max * h->ns_per_tick;
}
