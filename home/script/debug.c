// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * debug.c - debug mode's part of the door for unit tests, and reports
 *
 * A shadow has what each eight bytes of the arena are marked as.  Only the steps that port.h names are
 * let through; pages that are given back must be ours.  Reports are kept for the test to look at.
 */
#define _GNU_SOURCE
#include <sys/mman.h>

#include "port.h"
#include "private.h"
#include "script.h"

enum mark { OURS, OUT, WAITING, GONE };

static const char *arena;
static size_t arena_bytes;
static unsigned char *shadow;

static struct {
	const char *options;
	bool on;
	unsigned int nr_reports;
	struct script_report report[SCRIPT_REPORTS];
	unsigned int nr_misuses;
	struct bma_misuse misuse[SCRIPT_REPORTS];
} debug;

void script_debug_map(const char *base, size_t bytes)
{
	arena = base;
	arena_bytes = bytes;
	shadow = mmap(NULL, bytes / 8, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	NEED(shadow != MAP_FAILED);
}

void script_debug_reset(size_t used)
{
	__builtin_memset(&debug, 0, sizeof(debug));
	if (used)
		NEED(!madvise(shadow, used / 8, MADV_DONTNEED));
}

static bool is_marked(const void *mem, size_t size, enum mark as)
{
	size_t at = (size_t)((const char *)mem - arena) / 8, end = at + (size + 7) / 8;

	while (at < end && shadow[at] == as)
		at++;
	return at == end;
}

static void mark(const void *mem, size_t size, enum mark as)
{
	NEED((const char *)mem >= arena && (const char *)mem + size <= arena + arena_bytes);
	__builtin_memset(shadow + ((const char *)mem - arena) / 8, as, (size + 7) / 8);
}

void port_mark_out(void *obj, size_t bytes, size_t size)
{
	NEED(bytes && bytes <= size && is_marked(obj, size, OURS));
	script_mark();
	mark(obj, size, OUT);
}

void port_mark_waiting(void *obj, size_t size)
{
	NEED(is_marked(obj, size, OUT));
	script_mark();
	mark(obj, size, WAITING);
}

void port_mark_gone(void *mem, size_t size)
{
	NEED(is_marked(mem, size, OURS));
	script_mark();
	mark(mem, size, GONE);
}

void port_mark_ours(void *mem, size_t size)
{
	script_mark();
	mark(mem, size, OURS);
}

bool script_is_gone(const void *mem, size_t size)
{
	return is_marked(mem, size, GONE);
}

bool script_is_out(const void *mem, size_t size)
{
	return is_marked(mem, size, OUT);
}

bool script_is_ours(const void *mem, size_t size)
{
	return is_marked(mem, size, OURS);
}

const char *port_debug_options(bool *on)
{
	*on = debug.on;
	return debug.options;
}

void script_debug(const char *options, bool on)
{
	debug.options = options;
	debug.on = on;
}

void port_report_object(const struct bma_misuse *m)
{
	NEED(m->call.func && m->what);
	if (debug.nr_misuses < SCRIPT_REPORTS)
		debug.misuse[debug.nr_misuses] = *m;
	debug.nr_misuses++;
}

unsigned int script_nr_misuses(void)
{
	return debug.nr_misuses;
}

const struct bma_misuse *script_misuse(unsigned int nr)
{
	NEED(nr < debug.nr_misuses && nr < SCRIPT_REPORTS);
	return &debug.misuse[nr];
}

void port_report(const char *func, const char *what, const void *ptr, uint64_t count, uint64_t size)
{
	if (debug.nr_reports < SCRIPT_REPORTS)
		debug.report[debug.nr_reports] =
			(struct script_report){ func, what, ptr, count, size };
	debug.nr_reports++;
}

unsigned int script_nr_reports(void)
{
	return debug.nr_reports;
}

const struct script_report *script_report(unsigned int nr)
{
	NEED(nr < debug.nr_reports && nr < SCRIPT_REPORTS);
	return &debug.report[nr];
}
