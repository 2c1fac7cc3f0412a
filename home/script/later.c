// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * later.c - pages that are given back, and stay for a while
 *
 * They go a part at a time, and not at all where core forgets to ask for it: then they are left at the
 * end of the test.
 */
#include "port.h"
#include "private.h"

#define PART 64

static struct {
	void *pages;
	size_t bytes;
} later[SCRIPT_MAX_AREAS];
static size_t nr_later;

void script_later_reset(void)
{
	nr_later = 0;
}

void port_pages_free_later(void *pages, size_t bytes)
{
	NEED(nr_later < SCRIPT_MAX_AREAS);
	later[nr_later].pages = pages;
	later[nr_later++].bytes = bytes;
}

bool port_pages_free_now(void)
{
	unsigned int n;

	for (n = 0; n < PART && nr_later; n++) {
		nr_later--;
		port_pages_free(later[nr_later].pages, later[nr_later].bytes);
	}
	return nr_later;
}
