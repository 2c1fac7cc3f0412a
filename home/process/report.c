// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * report.c - messages to the user, and files of the system's to read
 *
 * A report may come from a signal handler: it is put together here and written in one write(2), so
 * that reports of several threads do not mix.  System calls are made directly, as libc's functions
 * for some of these are points of cancellation.
 *
 * Held by: tests/process/test_bad_input.c.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "port.h"
#include "private.h"

void home_add(struct home_text *t, const char *s)
{
	while (*s && t->len < t->size - 2)
		t->buf[t->len++] = *s++;
}

void home_add_number(struct home_text *t, uint64_t n, unsigned int base)
{
	char digits[24], *d = digits + sizeof(digits);

	*--d = 0;
	do
		*--d = "0123456789abcdef"[n % base];
	while (n /= base);
	home_add(t, d);
}

/* In one write; a text that was too long still ends its line. */
void home_say(struct home_text *t)
{
	t->buf[t->len++] = '\n';
	t->buf[t->len] = 0;
	home_write(t->buf);
}

void port_report(const char *func, const char *what, const void *ptr, uint64_t count, uint64_t size)
{
	char buf[256];
	struct home_text t = { buf, sizeof(buf), 0 };

	home_add(&t, func);
	home_add(&t, ": ");
	if (count) {
		home_add_number(&t, count, 10);
		home_add(&t, " ");
	}
	home_add(&t, what);
	if (ptr) {
		home_add(&t, ": 0x");
		home_add_number(&t, (uintptr_t)ptr, 16);
	}
	if (size) {
		home_add(&t, ", of ");
		home_add_number(&t, size, 10);
		home_add(&t, " bytes each");
	}
	home_say(&t);
}

void home_write(const char *text)
{
	int saved = errno;

	syscall(SYS_write, STDERR_FILENO, text, strlen(text));
	errno = saved;
}

ssize_t home_read_file(const char *path, char *buf, size_t size)
{
	int saved = errno, fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
	ssize_t len = -1;

	if (fd >= 0) {
		len = syscall(SYS_read, fd, buf, size);
		syscall(SYS_close, fd);
	}
	errno = saved;
	return len;
}
