// SPDX-License-Identifier: MIT OR GPL-2.0-only
#define _GNU_SOURCE
#include <signal.h>
#include <ucontext.h>

#include "ends_at.h"
#include "util.h"

#ifdef __x86_64__

static struct {
	void (*fn)(void);
	unsigned int left; /* until it ends */
} it;

/* The processor traps behind each instruction while this flag is set; who raises SIGTRAP turns it. */
#define TRAP_FLAG 0x100

static void step(int sig, siginfo_t *info, void *ucontext)
{
	ucontext_t *uc = ucontext;

	(void)sig;
	if (info->si_code != TRAP_TRACE)
		uc->uc_mcontext.gregs[REG_EFL] ^= TRAP_FLAG;
	else if (!--it.left)
		pthread_exit(NULL);
}

static void *call(void *arg)
{
	bool *returned = arg;

	raise(SIGTRAP);
	it.fn();
	*returned = true;
	raise(SIGTRAP);
	return NULL;
}

bool thread_ends_at(void (*fn)(void), unsigned int nth)
{
	struct sigaction action = { .sa_sigaction = step, .sa_flags = SA_SIGINFO };
	bool returned = false;
	pthread_t thread;

	must(!sigaction(SIGTRAP, &action, NULL));
	it.fn = fn;
	it.left = nth;
	thread_start(&thread, call, &returned);
	thread_join(thread);
	return !returned;
}

#else

bool thread_ends_at(void (*fn)(void), unsigned int nth)
{
	(void)fn;
	(void)nth;
	return false;
}

#endif
