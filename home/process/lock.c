// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * lock.c - locks of calls that may block
 *
 * Problem: a thread may be ended by a signal handler (pthread_exit) or by cancellation, and a
 * process forks, at any instruction; no lock may be held for ever because of that.
 *
 * Idea: who holds a lock takes no signal and is not cancelled.  So no handler runs on top of a
 * holder, and none can end the thread or fork there.  A fork takes the locks that guard state
 * (life.c), so that in the child that state is whole; there they begin anew, as the system knows
 * the one thread that is left by another number.
 *
 * A lock may be taken again by its holder, as a callback or a destructor, which run under the
 * reclaimer's lock, may ask for statistics, or fork.
 *
 * Order: the reclaimer's lock, then any other.
 */
#define _GNU_SOURCE
#include <signal.h>

#include "port.h"
#include "private.h"

/* All signals but those of a fault of the thread's own, which must end it where it is. */
static void block_signals(sigset_t *before)
{
	static const int faults[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS };
	sigset_t set;
	size_t i;

	sigfillset(&set);
	for (i = 0; i < sizeof(faults) / sizeof(*faults); i++)
		sigdelset(&set, faults[i]);
	pthread_sigmask(SIG_SETMASK, &set, before);
}

static bool lock_by(struct home_lock *lock, int (*how)(pthread_mutex_t *mutex))
{
	sigset_t signals;
	int cancel;

	block_signals(&signals);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
	if (how(&lock->mutex)) {
		pthread_setcancelstate(cancel, &cancel);
		pthread_sigmask(SIG_SETMASK, &signals, NULL);
		return false;
	}
	if (!lock->depth++) {
		lock->signals = signals;
		lock->cancel = cancel;
	}
	return true;
}

void home_lock(struct home_lock *lock)
{
	lock_by(lock, pthread_mutex_lock);
}

bool home_trylock(struct home_lock *lock)
{
	return lock_by(lock, pthread_mutex_trylock);
}

void home_unlock(struct home_lock *lock)
{
	sigset_t signals = lock->signals;
	int cancel = lock->cancel;
	bool last = !--lock->depth;

	pthread_mutex_unlock(&lock->mutex);
	if (!last)
		return;
	pthread_setcancelstate(cancel, &cancel);
	pthread_sigmask(SIG_SETMASK, &signals, NULL);
}

/* In the child of a fork: nobody has it, but the caller if it took it before. */
void home_lock_forked(struct home_lock *lock, bool ours)
{
	static const struct home_lock fresh = HOME_LOCK_INIT;
	unsigned int i;

	if (!ours)
		lock->depth = 0;
	/* It fails, as the mutex knows us by the other number; but TSan keeps a book of its own. */
	for (i = 0; i < lock->depth; i++)
		pthread_mutex_unlock(&lock->mutex);
	lock->mutex = fresh.mutex;
	/* Nobody else is there: it is to be had, and the order of locks does not matter. */
	for (i = 0; i < lock->depth; i++)
		(void)pthread_mutex_trylock(&lock->mutex);
}
