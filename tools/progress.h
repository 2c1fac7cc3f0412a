/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * progress.h - how far a run is: a line that is drawn again on a terminal, else one now and then
 */
#ifndef BMA_PROGRESS_H
#define BMA_PROGRESS_H

#include <stdbool.h>

struct progress {
	const char *what;
	bool terminal;
	double last; /* seconds into the run when something was last shown */
};

void progress_start(struct progress *progress, const char *what);

/* @part is from 0 to 1. */
void progress_show(struct progress *progress, double part, double seconds);

/* Wipe the line. */
void progress_end(const struct progress *progress);

#endif /* BMA_PROGRESS_H */
