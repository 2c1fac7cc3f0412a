// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_histogram.c - buckets and percentiles of the tool's histogram
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "histogram.h"

/* What lies between the ends of a bucket is in it, and the ends leave no gap. */
static void test_buckets_are_where_they_say(void **state)
{
	static struct histogram h = { .ns_per_tick = 1 };

	(void)state;
	for (uint64_t ticks = 0; ticks < 100000; ticks++) {
		size_t bucket = histogram_bucket(ticks);

		assert_true(histogram_bucket_ns(&h, bucket) <= (double)ticks);
		assert_true(histogram_bucket_ns(&h, bucket + 1) > (double)ticks);
	}
}

static void test_small_times_are_exact(void **state)
{
	static struct histogram h;

	(void)state;
	memset(&h, 0, sizeof(h));
	h.ns_per_tick = 0.5;
	for (uint64_t i = 1; i <= 10; i++)
		histogram_add(&h, i);
	assert_true(histogram_percentile(&h, 0.1) == 0.5);
	assert_true(histogram_percentile(&h, 0.5) == 2.5);
	assert_true(histogram_percentile(&h, 1) == 5);
	assert_true(histogram_max_ns(&h) == 5);
}

/* A percentile is within a sixteenth of what it should be; the most is exact. */
static void test_large_times_are_near(void **state)
{
	static struct histogram h;
	double p;

	(void)state;
	memset(&h, 0, sizeof(h));
	h.ns_per_tick = 1;
	for (uint64_t i = 1; i <= 1000; i++)
		histogram_add(&h, i * 1000);
	p = histogram_percentile(&h, 0.99);
	assert_true(p > 990000 * (1 - 1.0 / 16) && p < 990000 * (1 + 1.0 / 16));
	assert_true(histogram_max_ns(&h) == 1000000);
	histogram_add(&h, UINT64_MAX);
	assert_true(h.counts[HISTOGRAM_BUCKETS - 1] == 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_buckets_are_where_they_say),
		cmocka_unit_test(test_small_times_are_exact),
		cmocka_unit_test(test_large_times_are_near),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
