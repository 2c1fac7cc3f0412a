/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * model.h - what a scenario has of the model checker
 *
 * A scenario is two or three threads over core's real code.  The program runs it again and again, each time
 * with other choices of who goes next, until all have been made (or as many as its bounds allow), and fails
 * with the schedule of the first execution that model_fail() was called in.
 *
 * All that a program has in .data and .bss belongs to the state: it begins anew with each execution.
 */
#ifndef BMA_MODEL_H
#define BMA_MODEL_H

#include "port.h"

#define MODEL_THREADS 4

/*
 * What there is a bounded number of.  MODEL_FREELY is without bound; for preemptions only.
 *
 *	preemptions	a thread goes on though the one that ran could
 *	late		stores that do not reach memory at once
 *	migrations	a thread finds itself on the next CPU
 *	fails		steps on a CPU's magazines, and requests for pages, that fail for no reason
 */
#define MODEL_FREELY 255

struct model_bound {
	unsigned int preemptions, late, migrations, fails;
};

struct model_scenario {
	const char *name;
	void (*setup)(void); /* alone, before the threads */
	void (*thread[MODEL_THREADS])(void);
	void (*handler[MODEL_THREADS])(void); /* comes once, at any point of that thread */
	void (*finish)(void); /* alone, after the threads */
	unsigned int nr_cpus; /* thread i begins on CPU i modulo this; 0 is 1 */
	bool must_fail; /* what is not ours, and is wrong */
	bool fences; /* readers have real barriers, and there is no membarrier */
	bool sequences; /* pop and push are two steps each, restarted as rseq is */
	bool strangers; /* threads have no records of readers yet */
	bool flavor; /* the home drives a domain; model_drive() is in a thread */
	const void *late_at; /* only stores to this word may be late; NULL: all */
	struct model_bound check, proof; /* what is explored by default, and with --proof */
};

/* Scenarios end with one that has no name. */
int model_main(int argc, char **argv, const struct model_scenario *scenarios);

/* Fails this execution; does not return from a thread. */
void model_fail(const char *what);

static inline void model_check(bool good, const char *what)
{
	if (!good)
		model_fail(what);
}

#define MODEL_CHECK(good) model_check((good), #good)

/* A point: others may go on here, and only here and at shared accesses. */
void model_point(const char *what);

/* Sleep until @ready(@arg), which may not change anything. */
void model_wait(const char *what, bool (*ready)(void *arg), void *arg);

/* The calling thread, from 0 on; -1 in setup and finish. */
int model_self(void);

/* The calling thread may sleep when the others have come to their ends. */
void model_daemon(void);

/* The calling thread ends; for a handler, after which nothing comes. */
void model_end(void);

/*
 * The reclaimer, as a thread of the scenario: it sleeps until woken, and runs rounds as long as core says
 * so, at most @rounds and what port_reclaim_round() asks for.
 */
void model_reclaimer(unsigned int rounds);

/* In finish: rounds for as long as the reclaimer would run them. */
void model_settle(void);

/*
 * The process forks, and what goes on is the child: the calling thread is all that it has.  Of the others
 * nothing is left but what they have written.
 */
void model_fork(void);

/* The domain that the home drives: its readers; and @n grace periods, driven by the calling thread. */
const struct rcu_flavor_struct *model_flavor(void);
void model_flavor_lock(void);
void model_flavor_unlock(void);
void model_drive(unsigned int n);

/* Pieces of metadata in use, and bytes of pages, since the last model_baseline(). */
void model_baseline(void);
long model_pieces(void);
long model_pages(void);

/* Called before pages go. */
void model_on_pages_free(void (*fn)(void *pages, size_t bytes));
/* Called when a late store of @thread reaches memory; false if it must not. */
void model_on_late_store(bool (*fn)(unsigned int thread, void *p));

#endif /* BMA_MODEL_H */
