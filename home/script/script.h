/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * script.h - what a test can make of its home
 *
 * A call of the door counts, may be told to fail, and is a place where the test can have something else
 * happen, to completion: what a signal handler, or a thread on another CPU, may do there.
 */
#ifndef BMA_SCRIPT_H
#define BMA_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bma_gp;

/* As at the beginning of the program: all pages are gone, one CPU, no grace period, nothing armed. */
void script_reset(void);

/* The entries of the door, and (SCRIPT_ACCESS) each shared access of a file built for it. */
enum script_op {
	SCRIPT_ANY,
	SCRIPT_POP,
	SCRIPT_PUSH,
	SCRIPT_REPLACE,
	SCRIPT_BLOCK,
	SCRIPT_DETACH,
	SCRIPT_PAGES_ALLOC,
	SCRIPT_PAGES_FREE,
	SCRIPT_PAGES_DROP,
	SCRIPT_FLAVOR,
	SCRIPT_SNAPSHOT,
	SCRIPT_DONE,
	SCRIPT_REQUEST,
	SCRIPT_HURRY, /* the requests that hurry */
	SCRIPT_WAIT,
	SCRIPT_YIELD,
	SCRIPT_WAKE,
	SCRIPT_ROUND,
	SCRIPT_ACCESS,
	SCRIPT_NR_OPS
};

#define SCRIPT_EVER (~0u)

/* How often @op was called since reset. */
unsigned int script_calls(enum script_op op);

/*
 * Let the @nth call of @op from now on (1: the next one) fail, and so many as @count in all.  Those that
 * can: pop, push, replace, detach, pages_alloc, flavor, wait.  A @count of 0 ends it.
 */
void script_fail(enum script_op op, unsigned int nth, unsigned int count);

/*
 * Run @fn(@arg) at the @nth point from now on, once.  Each call of @op, or of any, has a point before
 * and one after it; an access has one, before.  script_interrupted(): has it run?  NULL ends it.
 */
void script_interrupt(enum script_op op, unsigned int nth, void (*fn)(void *arg), void *arg);
bool script_interrupted(void);

/* What interrupts is not a signal handler but another thread: it may make calls for process context. */
void script_as_thread(bool on);

/* Where a file built to show its shared accesses calls. */
void script_access(void);

/* The CPU that runs, and how many there are (to be said before there is any allocator). */
void script_cpu(unsigned int cpu);
void script_nr_cpus(unsigned int nr);

/*
 * Pages.  Addresses are never used again until reset, and what was freed faults.  @fn is called with
 * pages before they go.
 */
size_t script_pages_out(void);
void script_on_pages_free(void (*fn)(void *pages, size_t bytes));

/*
 * Grace periods.  @which: 0 for the default flavour's domain, 1 for that of any other one, 2 for the
 * trace domain, which is absent after reset.  A cookie is pending if it is the number of the running
 * one or of one of the next, one or two ahead of what has ended; the first to begin has number
 * SCRIPT_GP_FIRST.
 */
#define SCRIPT_NR_GPS 3
#define SCRIPT_TRACE 2
#define SCRIPT_GP_FIRST 252

struct bma_gp *script_gp(unsigned int which);
void script_trace(bool present);
void script_gp_begin(struct bma_gp *gp);
void script_gp_end(struct bma_gp *gp);
void script_gp_pass(struct bma_gp *gp, unsigned int n); /* begin and end @n of them */
uint64_t script_gp_begun(const struct bma_gp *gp); /* number of the last that has */
uint64_t script_gp_ended(const struct bma_gp *gp);
uint64_t script_gp_wanted(const struct bma_gp *gp); /* highest number asked for */

/* Reports, oldest first; the first SCRIPT_REPORTS of them are kept. */
#define SCRIPT_REPORTS 16

struct script_report {
	const char *func, *what;
	const void *ptr;
	uint64_t count, size;
};

unsigned int script_nr_reports(void);
const struct script_report *script_report(unsigned int nr);

#endif /* BMA_SCRIPT_H */
