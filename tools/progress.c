// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * progress.c - how far a run is
 */
#include "progress.h"

#include <stdio.h>
#include <unistd.h>

#include "tool.h"

/* A log does not want to see more than a sign of life. */
#define TERMINAL_SECONDS 0.1
#define LOG_SECONDS 5.0

void progress_start(struct progress *progress, const char *what)
{
	*progress = (struct progress){ .what = what, .terminal = isatty(STDERR_FILENO) };
}

void progress_show(struct progress *progress, double part, double seconds)
{
	if (seconds - progress->last < (progress->terminal ? TERMINAL_SECONDS : LOG_SECONDS))
		return;
	progress->last = seconds;
	fprintf(stderr, "%s%s: %s: %3.0f%% after %.1f s%s", progress->terminal ? "\r\033[K" : "",
		tool_name(), progress->what, 100 * part, seconds, progress->terminal ? "" : "\n");
}

void progress_end(const struct progress *progress)
{
	if (progress->terminal)
		fputs("\r\033[K", stderr);
}
