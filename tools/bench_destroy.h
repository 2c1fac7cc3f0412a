/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * bench_destroy.h - how a source's memory is given up, as a whole
 */
#ifndef BMA_BENCH_DESTROY_H
#define BMA_BENCH_DESTROY_H

#include "source.h"

struct destroyer {
	const struct source *source;
	/* destroy may be called with readers inside, and does not wait for them. */
	bool returns_at_once;
	/* A reader enters, and leaves: in a thread of its own. */
	void (*hold)(void);
	void (*let_go)(void);
	/* Be rid of all that @t retired. */
	void (*destroy)(struct worker *t);
	/* Only where destroy returns at once. */
	void (*wait_until_back)(void);
};

extern const struct destroyer destroy_ck_epoch; /* source_ck.c */

#endif /* BMA_BENCH_DESTROY_H */
