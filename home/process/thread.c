// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * thread.c - our own threads: how they begin, sleep and are woken
 *
 * Problem: a thread that looks for work, finds none and goes to sleep, and others, in any context, that
 * have work for it, cost next to nothing when it is awake, and may end between any two instructions
 * (pthread_exit() in a signal handler).
 *
 * Idea: the sleeper says in one word how it sleeps: dozing, until a while is over or somebody is in a hurry;
 * asleep, until somebody has work.  The word is what it waits on.
 *
 * Ordering (WAKE): who wakes makes the work visible, then reads the word.  The sleeper writes the word, then
 * looks for work.  Both seq_cst, so one of them sees the other.  Nothing is claimed: who wakes changes the
 * word and wakes in one system call, and whoever comes between does so, too.
 *
 * Contexts: home_wake() and the futex's calls any, with errno kept.  System calls are made directly, as libc's
 * functions for some of them are points of cancellation.
 *
 * Held by: tests/process/test_reclaimer.c, tests/process/test_gp.c, tests/model/test_wake.c.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "port.h"
#include "private.h"

bool home_thread_start(const char *name, void *(*fn)(void *), void *arg)
{
	sigset_t all, before;
	pthread_t thread;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&thread, NULL, fn, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (err)
		return false;
	pthread_setname_np(thread, name);
	pthread_detach(thread);
	return true;
}

void home_sleep_us(unsigned int us)
{
	struct timespec time = { .tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000L };
	int saved = errno;

	syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &time, NULL);
	errno = saved;
}

void home_futex_wait(home_futex_t *word, uint32_t value, unsigned int ms)
{
	struct timespec timeout = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L };
	int saved = errno;

	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, ms ? &timeout : NULL);
	errno = saved;
}

void home_futex_wake(home_futex_t *word)
{
	int saved = errno;

	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX);
	errno = saved;
}

void home_sleep(struct home_sleeper *s, uint32_t how, unsigned int ms, bool (*wanted)(void *arg),
		void *arg)
{
	port_store(&s->how, how, seq_cst); /* WAKE */
	if (!wanted(arg))
		home_futex_wait(&s->how, how, ms);
	port_store(&s->how, HOME_AWAKE, relaxed);
}

/*
 * In one system call: a thread that ended between the two would leave the sleeper asleep, and everybody else
 * in the belief that it has been woken.
 */
void home_set_awake_and_wake(struct home_sleeper *s)
{
	uint32_t set = FUTEX_OP(FUTEX_OP_SET, HOME_AWAKE, FUTEX_OP_CMP_NE, HOME_AWAKE);
	int saved = errno;

	syscall(SYS_futex, &s->how, FUTEX_WAKE_OP_PRIVATE, INT_MAX, (void *)0, &s->how, set);
	errno = saved;
}
