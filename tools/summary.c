// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * summary.c - the median of a few rounds
 */
#include "summary.h"

#include <stdlib.h>

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

struct summary summarize(double *values, size_t nr)
{
	qsort(values, nr, sizeof(*values), compare);
	return (struct summary){
		.median = (values[(nr - 1) / 2] + values[nr / 2]) / 2,
		.min = values[0],
		.max = values[nr - 1],
	};
}
