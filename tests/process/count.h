/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * count.h - what the tracer (test_counts.c) and the child that it traces (count_rows.c) share
 */
#ifndef BMA_TEST_COUNT_H
#define BMA_TEST_COUNT_H

#include "bma.h"
#include "util.h"

/*
 * A path makes as many calls of each of @calls.  One: a fast path.  More: work that goes over the edges
 * of magazines, counted by the million.
 */
struct row {
	const char *name;
	int size; /* of objects; 0: a kmalloc-like allocator */
	void (*before)(void);
	void (*path)(void);
	void *calls[2];
	unsigned long ops; /* of both */
};

extern const struct row rows[];
extern const unsigned int nr_rows;

/*
 * The child stops before and after each call that is to be counted, and once behind each path.  What it
 * says when it stops:
 *
 * @count_over: the path is behind it.
 * @count_sample: the call is not at an edge, and so takes the fast path.
 */
extern volatile uint64_t count_over, count_sample;

void count_child(void) __attribute__((noreturn));

#endif /* BMA_TEST_COUNT_H */
