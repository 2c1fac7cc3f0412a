/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * home.h - core's home in a Linux process; see port.h for what each entry promises
 *
 *	slots.c		this CPU's magazines: restartable sequences (sequences.h), or a try-lock
 *	pages.c		memory, from mmap
 *	flavors.c	grace periods of liburcu's flavours, each driven by a thread
 *	readers.c	what core's own readers need
 *	reclaimer.c	the reclaimer's thread
 *	thread.c	threads of ours: how they sleep and are woken
 *	lock.c		locks of calls that may block
 *	life.c		fork() and dlclose()
 *	stall.c		readers that hold up a grace period
 *	report.c	messages
 *	misuse.c	messages of debug mode
 *	marks.c		what ASan and valgrind are told
 */
#ifndef BMA_HOME_H
#define BMA_HOME_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PORT_MAGAZINE_BYTES 512
#define PORT_UNIT_SHIFT 16
#define PORT_ADDR_BITS 48
#define PORT_META_CHUNK (1u << 20)
#define PORT_META_PAGE 4096u

#define PORT_EINVAL EINVAL
#define PORT_E2BIG E2BIG
#define PORT_ENOMEM ENOMEM

/* Restartable sequences: where the assembly is written and no sanitizer has to see the accesses. */
#if defined(__SANITIZE_THREAD__)
#define HOME_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HOME_TSAN 1
#endif
#endif

#if defined(__x86_64__) || defined(__aarch64__)
#define HOME_SEQUENCES 1
#include "sequences.h"
#else
#define HOME_SEQUENCES 0
#endif

#if HOME_SEQUENCES && !defined(HOME_TSAN)
#define HOME_RSEQ 1
#else
#define HOME_RSEQ 0
#endif

/*
 * To compilers PREFETCHW is an extension, and they put PREFETCHT0 in its place, which does not take the
 * line away from other CPUs.  Processors for x86-64 that do not have it, all but the first of 2004, take it
 * for a nop.
 */
#ifdef __x86_64__
#define PORT_PREFETCHES true
#define port_prefetch_to_write(p) __asm__ __volatile__("prefetchw (%0)" : : "r"(p))
#endif

void home_slots_init(void);

#if HOME_RSEQ
/*
 * Offset from its thread pointer of the struct rseq that a thread registered; or, where the fallback is in
 * use, of words of ours that tell sequences that they run on CPU 0.
 */
extern __attribute__((visibility("hidden"))) ptrdiff_t home_rseq_offset;

#define port_cpu_fast_pop(cpus, offset) rseq_if_below_top_pop_it(cpus, home_rseq_offset, offset)
#define port_cpu_fast_push(cpus, offset, obj)                                                      \
	rseq_if_not_end_push(cpus, home_rseq_offset, offset, obj)
#else
#define port_cpu_fast_pop(cpus, offset) ((void)(cpus), (void)(offset), NULL)
#define port_cpu_fast_push(cpus, offset, obj) ((void)(cpus), (void)(offset), (void)(obj), false)
#endif

#endif /* BMA_HOME_H */
