// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * marks.c - what tools that watch the memory are told in debug mode
 *
 * ASan: its two functions are declared weak, so that the library that is installed works in a program
 * that was built with it.  It knows bytes that may be touched and bytes that may not.
 *
 * valgrind: client requests, a few instructions that do nothing anywhere else.  An object is a block
 * like one of malloc's, so that memcheck tells where it was allocated and freed, and finds those lost;
 * while readers may still look, the block is freed but its memory is not closed.
 *
 * Contexts: any.  Held by: tests/process/test_asan.sh, tests/process/test_valgrind.sh.
 */
#define _GNU_SOURCE
#include <stdlib.h>

#include "port.h"
#include "private.h"

#if __has_include(<valgrind/memcheck.h>)
#include <valgrind/memcheck.h>
#else
#define RUNNING_ON_VALGRIND 0
#define VALGRIND_MALLOCLIKE_BLOCK(mem, size, redzone, zeroed) ((void)(mem), (void)(size))
#define VALGRIND_FREELIKE_BLOCK(mem, redzone) ((void)(mem))
#define VALGRIND_MAKE_MEM_NOACCESS(mem, size) ((void)(mem), (void)(size))
#define VALGRIND_MAKE_MEM_DEFINED(mem, size) ((void)(mem), (void)(size))
#endif

void __asan_poison_memory_region(void const volatile *mem, size_t size) __attribute__((weak));
void __asan_unpoison_memory_region(void const volatile *mem, size_t size) __attribute__((weak));

static void close_to_asan(void *mem, size_t size)
{
	if (__asan_poison_memory_region)
		__asan_poison_memory_region(mem, size);
}

static void open_to_asan(void *mem, size_t size)
{
	if (__asan_unpoison_memory_region)
		__asan_unpoison_memory_region(mem, size);
}

void port_mark_out(void *obj, size_t bytes, size_t size)
{
	close_to_asan(obj, size);
	open_to_asan(obj, bytes);
	VALGRIND_MAKE_MEM_NOACCESS(obj, size);
	VALGRIND_MALLOCLIKE_BLOCK(obj, bytes, 0, 1);
}

void port_mark_waiting(void *obj, size_t size)
{
	VALGRIND_FREELIKE_BLOCK(obj, 0);
	VALGRIND_MAKE_MEM_DEFINED(obj, size);
}

void port_mark_gone(void *mem, size_t size)
{
	close_to_asan(mem, size);
	VALGRIND_MAKE_MEM_NOACCESS(mem, size);
}

void port_mark_ours(void *mem, size_t size)
{
	open_to_asan(mem, size);
	VALGRIND_MAKE_MEM_DEFINED(mem, size);
}

/* Process: on by itself under a tool that can make use of it. */
const char *port_debug_options(bool *on)
{
	*on = __asan_poison_memory_region || RUNNING_ON_VALGRIND;
	return secure_getenv("BMA_DEBUG");
}
