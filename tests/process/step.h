/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * step.h - what the tracer (test_single_step.c) and the child that it traces (step_scenes.c) share
 */
#ifndef BMA_TEST_STEP_H
#define BMA_TEST_STEP_H

#include "bma.h"
#include "util.h"

enum mark { NONE, BEGIN, END, HANDLED };

/* What the two processes tell each other. */
struct shared {
	volatile enum mark mark;
	volatile unsigned int scene;
	volatile bool same; /* has the handler use the allocator that it interrupts? */
	volatile bool again;
	volatile bool rseq; /* does the child use restartable sequences? */
};

extern struct shared *shared;

/* Which functions say that the path was taken, and which that it was another. */
struct scene {
	const char *name;
	int size;
	bool percpu;
	void (*before)(void);
	void (*path)(void);
	void *passes, *avoids;
	bool late; /* the handler would spoil the path before that */
};

extern const struct scene scenes[];
extern const unsigned int nr_scenes;

/* Be the child: does not return. */
void step_child(void) __attribute__((noreturn));

#endif /* BMA_TEST_STEP_H */
