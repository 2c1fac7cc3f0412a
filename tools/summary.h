/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * summary.h - the median of a few rounds, with the least and the most
 */
#ifndef BMA_SUMMARY_H
#define BMA_SUMMARY_H

#include <stddef.h>

struct summary {
	double median;
	double min;
	double max;
};

/* Of @nr values, at least one; they are sorted on the way. */
struct summary summarize(double *values, size_t nr);

#endif /* BMA_SUMMARY_H */
