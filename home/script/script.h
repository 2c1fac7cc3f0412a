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
struct rcu_flavor_struct;

/* As at the beginning of the program: all pages are gone, one CPU, no reader, nothing armed. */
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
	SCRIPT_BARRIER, /* SNAPSHOT, and GP_START of a domain that is driven */
	SCRIPT_KICK,
	SCRIPT_HURRY, /* the kicks that hurry */
	SCRIPT_ENDED,
	SCRIPT_WAIT, /* wait_begin */
	SCRIPT_WAIT_END,
	SCRIPT_SLEEP,
	SCRIPT_YIELD,
	SCRIPT_FENCE,
	SCRIPT_THREAD_DEAD,
	SCRIPT_INIT,
	SCRIPT_WAKE,
	SCRIPT_ROUND,
	SCRIPT_MARK,
	SCRIPT_ACCESS,
	SCRIPT_NR_OPS
};

#define SCRIPT_EVER (~0u)

/* How often @op was called since reset. */
unsigned int script_calls(enum script_op op);

/*
 * Let the @nth call of @op from now on (1: the next one) fail, and so many as @count in all.  Those that
 * can: pop, push, replace, detach, pages_alloc, flavor, wait, fence.  A @count of 0 ends it.
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

/* Allocators that are made from now on have no fast paths; until reset. */
void script_slow(bool on);

/*
 * Pages.  Addresses are never used again until reset, and what was freed faults.  @fn is called with
 * pages before they go.
 */
size_t script_pages_out(void);
void script_on_pages_free(void (*fn)(void *pages, size_t bytes));

/*
 * Threads, for core's own readers: numbers from 1 to SCRIPT_THREADS, of which 1 runs after reset.  A
 * thread that dies leaves its record as it is; another of the same number may begin, as a new one.
 */
#define SCRIPT_THREADS 16

void script_thread(unsigned int nr);
void script_thread_dies(unsigned int nr);

/*
 * Domains.  @which: 0 and 1 are driven by hand, 0 for script_flavor()'s and 1 for that of any other
 * flavour; SCRIPT_TRACE and SCRIPT_RCU are core's own.  In each the first to begin has number SCRIPT_GP_FIRST.
 *
 * Those that are driven do what the test says, and one that sleeps until a grace period has ended has it
 * ended at once; that nobody asked for it before is a lost wake-up, and ends the program.  Core's own go
 * on whenever core polls, unless they are held: then a reader is inside from before each grace period
 * on, until script_gp_end() relieves it by another, who came after that one began.
 *
 * script_gp_end() of core's own returns false, and does nothing, if some other reader is inside.
 */
#define SCRIPT_NR_GPS 4
#define SCRIPT_TRACE 2
#define SCRIPT_RCU 3
#define SCRIPT_GP_FIRST 252

const struct rcu_flavor_struct *script_flavor(void);
struct bma_gp *script_gp(unsigned int which);
void script_hold(struct bma_gp *gp, bool on);
void script_gp_begin(struct bma_gp *gp);
bool script_gp_end(struct bma_gp *gp);
void script_gp_pass(struct bma_gp *gp,
		    unsigned int n); /* begin (but one that runs) and end @n of them */
uint64_t script_gp_begun(struct bma_gp *gp); /* number of the last that has */
uint64_t script_gp_ended(struct bma_gp *gp);
uint64_t script_gp_wanted(struct bma_gp *gp); /* highest number asked for */
uint64_t script_gp_hurried(struct bma_gp *gp);

/* Called in place of a sleep until something has ended, or NULL: the readers that it waits for leave. */
void script_on_sleep(void (*fn)(struct bma_gp *gp));

/* Reports, oldest first; the first SCRIPT_REPORTS of them are kept. */
#define SCRIPT_REPORTS 16

struct script_report {
	const char *func, *what;
	const void *ptr;
	uint64_t count, size;
};

unsigned int script_nr_reports(void);
const struct script_report *script_report(unsigned int nr);

/* Debug mode: what the user asks for; misuses, kept as reports are; is all of it marked so? */
struct bma_misuse;

void script_debug(const char *options, bool on);
unsigned int script_nr_misuses(void);
const struct bma_misuse *script_misuse(unsigned int nr);
bool script_is_gone(const void *mem, size_t size);
bool script_is_out(const void *mem, size_t size);

#endif /* BMA_SCRIPT_H */
