// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * misuse.c - messages of debug mode: what was misused, by whom, and its history
 *
 * A call is shown as a file and an offset, as addr2line takes them.  Which file is mapped where,
 * /proc/self/maps tells, read in pieces by system calls, as dladdr() may not be called in a signal
 * handler.  All is put together on the stack and written in one write(2).
 *
 * Contexts: any.  Held by: tests/process/test_debug.c.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "port.h"
#include "private.h"

/* A line of maps: "from-to perms offset device inode   path". */
struct line {
	char text[320];
	size_t len;
};

struct maps {
	int fd;
	char buf[256];
	ssize_t len, at;
	struct line line;
	uintptr_t base; /* of the file that was last met at its beginning */
};

static int next_char(struct maps *m)
{
	if (m->at == m->len) {
		m->len = syscall(SYS_read, m->fd, m->buf, sizeof(m->buf));
		m->at = 0;
		if (m->len <= 0)
			return m->len = 0, -1;
	}
	return (unsigned char)m->buf[m->at++];
}

/* What does not fit of a line is left out. */
static bool next_line(struct maps *m)
{
	int c;

	m->line.len = 0;
	while ((c = next_char(m)) >= 0 && c != '\n')
		if (m->line.len < sizeof(m->line.text) - 1)
			m->line.text[m->line.len++] = (char)c;
	m->line.text[m->line.len] = 0;
	return c >= 0;
}

static uintptr_t hex(const char **text)
{
	uintptr_t n = 0;
	char c;

	for (; (c = **text); ++*text) {
		if (c >= '0' && c <= '9')
			n = n << 4 | (uintptr_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			n = n << 4 | (uintptr_t)(c - 'a' + 10);
		else
			break;
	}
	return n;
}

/* Code that is not position-independent is where it says; other code counts from the file's beginning. */
static uintptr_t bias(uintptr_t base)
{
	const Elf64_Ehdr *header = (const void *)base;

	return base && header->e_type == ET_EXEC ? 0 : base;
}

/* If @address is in the line's mapping, its file's name; NULL if it is not. */
static const char *file_with(struct maps *m, uintptr_t address)
{
	const char *at = m->line.text;
	uintptr_t from = hex(&at), to, offset;
	bool readable;

	if (*at++ != '-')
		return NULL;
	to = hex(&at);
	readable = at[0] && at[1] == 'r';
	if (m->line.len < (size_t)(at - m->line.text) + 6)
		return NULL;
	at += 6;
	offset = hex(&at);
	while (*at && *at != '/' && *at != '[')
		at++;
	if (*at == '/' && !offset)
		m->base = readable ? from : 0;
	return address >= from && address < to ? at : NULL;
}

static void add_address(struct home_text *t, const char *file, uintptr_t address)
{
	home_add(t, file);
	home_add(t, "+0x");
	home_add_number(t, address, 16);
}

/* Where the call is: @site is where it returns to. */
static void add_site(struct home_text *t, uintptr_t site)
{
	struct maps m = { .base = 0 };
	const char *file = NULL;

	m.fd = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC);
	while (m.fd >= 0 && !file && next_line(&m))
		file = file_with(&m, site - 1);
	if (m.fd >= 0)
		syscall(SYS_close, m.fd);
	if (file && *file == '/')
		add_address(t, file, site - 1 - bias(m.base));
	else
		add_address(t, "", site - 1);
}

static void add_where(struct home_text *t, const struct bma_event *e)
{
	if (e->thread) {
		home_add(t, " thread ");
		home_add_number(t, e->thread, 10);
	}
	if (e->site) {
		home_add(t, e->thread ? " at " : " ");
		add_site(t, e->site);
	}
}

static void add_event(struct home_text *t, const char *what, const struct bma_event *e)
{
	if (!e->func)
		return;
	home_add(t, "\n    ");
	home_add(t, what);
	home_add(t, e->func);
	if (*e->func)
		home_add(t, ",");
	add_where(t, e);
}

static void add_object(struct home_text *t, const struct bma_misuse *m)
{
	home_add(t, ": 0x");
	home_add_number(t, (uintptr_t)m->ptr, 16);
	if (m->offset != BMA_NO_OFFSET) {
		home_add(t, ", byte ");
		home_add_number(t, m->offset, 10);
	}
	if (m->allocator) {
		home_add(t, ", allocator 0x");
		home_add_number(t, (uintptr_t)m->allocator, 16);
	}
	if (m->size) {
		home_add(t, ", objects of ");
		home_add_number(t, m->size, 10);
		home_add(t, " bytes");
	}
}

void port_report_object(const struct bma_misuse *m)
{
	char buf[1500];
	struct home_text t = { buf, sizeof(buf), 0 };
	int saved = errno;

	home_add(&t, m->call.func);
	home_add(&t, ": ");
	home_add(&t, m->what);
	add_object(&t, m);
	if (m->call.site) {
		home_add(&t, "\n    called by");
		add_where(&t, &m->call);
	}
	add_event(&t, "allocated by", &m->alloc);
	add_event(&t, "freed by ", &m->free);
	home_say(&t);
	errno = saved;
	if (m->fatal)
		abort();
}
