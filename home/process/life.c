// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * life.c - what may become of the process: fork(), and dlclose() of what carries the library
 *
 * fork.  The child has one thread, and of all others what they had written so far.  What core does
 * in any context is built so that a context may stop anywhere and the others go on; so to them the
 * threads that are not there are just threads that do not go on.  What is left:
 *
 *   - The reclaimer's state changes by plain stores.  A fork waits for the end of its round.
 *   - Numbers of threads: the one that is left has a new one, and the others' may come again.  Core
 *     is told (bma_forked()).
 *   - Our threads are not there.  They start again when a call of the child first wants them to, and
 *     not before: most children exec() something, and some must have one thread for what they do
 *     before (unshare(), setns()).
 *   - A grace period of a liburcu flavour that was under way is run again, as whole.
 *
 * _Fork() and clone() do not come by here.  Their children may only do what POSIX allows after them
 * in a process of several threads, that is in our terms: calls whose context is "any".
 *
 * dlclose.  Threads of ours run in the library's code, and each thread's last restartable sequence
 * has its descriptor in its data, where the kernel looks.  So from the first call on that wants one of
 * the two, what carries the library, a plugin or libbma.so, stays.  Who only uses it, and has sequences of
 * its own by <bma/inline.h>, leaves none behind (BMA_RSEQ_FORGET_).
 *
 * Held by: tests/process/test_fork.c, tests/process/test_dlopen.c.
 */
#define _GNU_SOURCE
#include <dlfcn.h>

#include "port.h"
#include "private.h"

/* A program that is linked statically has none of these, and needs none. */
#pragma weak dladdr
#pragma weak dlopen

static uint32_t forker;

static void before_fork(void)
{
	home_reclaimer_hold();
	home_flavors_hold();
	forker = port_thread_id();
}

static void after_fork(void)
{
	home_flavors_release();
	home_reclaimer_release();
}

static void after_fork_in_child(void)
{
	home_slots_forked();
	home_flavors_forked();
	home_reclaimer_forked();
	bma_forked(forker);
	after_fork();
}

__attribute__((constructor)) static void watch_forks(void)
{
	pthread_atfork(before_fork, after_fork, after_fork_in_child);
}

/* With no lock of ours held: a constructor that dlopen() runs, under the loader's, may call us. */
void home_stay_loaded(void)
{
	static _Atomic bool stays;
	Dl_info us;

	if (port_load(&stays, relaxed))
		return;
	if (dladdr && dlopen && dladdr(&forker, &us) && us.dli_fname)
		dlopen(us.dli_fname, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
	port_store(&stays, true, relaxed);
}
