// SPDX-License-Identifier: MIT OR GPL-2.0-only
#define _GNU_SOURCE
#include <signal.h>
#include <ucontext.h>

#include "nth.h"
#include "util.h"

#ifdef __x86_64__

struct stepped {
	void (*fn)(void);
	void (*there)(void);
	unsigned int left; /* until it is there */
	volatile bool returned;
};

static __thread struct stepped *self;

/* The processor traps behind each instruction while this flag is set; who raises SIGTRAP turns it. */
#define TRAP_FLAG 0x100

static void step(int sig, siginfo_t *info, void *ucontext)
{
	ucontext_t *uc = ucontext;

	(void)sig;
	if (info->si_code != TRAP_TRACE)
		uc->uc_mcontext.gregs[REG_EFL] ^= TRAP_FLAG;
	else if (!self->returned && self->left && !--self->left)
		self->there();
}

static void *call(void *arg)
{
	self = arg;
	raise(SIGTRAP);
	self->fn();
	self->returned = true;
	raise(SIGTRAP);
	return NULL;
}

bool thread_calls_at(void (*fn)(void), unsigned int nth, void (*there)(void))
{
	/* A thread that starts in a handler has what is blocked there blocked as well. */
	struct sigaction action = { .sa_sigaction = step, .sa_flags = SA_SIGINFO | SA_NODEFER };
	struct stepped it = { fn, there, nth, false };
	pthread_t thread;

	must(!sigaction(SIGTRAP, &action, NULL));
	thread_start(&thread, call, &it);
	thread_join(thread);
	return !it.left;
}

static void end(void)
{
	pthread_exit(NULL);
}

bool thread_ends_at(void (*fn)(void), unsigned int nth)
{
	return thread_calls_at(fn, nth, end);
}

#else

bool thread_calls_at(void (*fn)(void), unsigned int nth, void (*there)(void))
{
	(void)fn;
	(void)nth;
	(void)there;
	return false;
}

bool thread_ends_at(void (*fn)(void), unsigned int nth)
{
	return thread_calls_at(fn, nth, NULL);
}

#endif
