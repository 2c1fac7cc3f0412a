/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * private.h - what this home's files offer each other
 */
#ifndef BMA_HOME_PRIVATE_H
#define BMA_HOME_PRIVATE_H

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#include "port.h"

/* lock.c: while it is held the thread takes no signal and is not cancelled; it may be taken again */
struct home_lock {
	pthread_mutex_t mutex;
	/* Of its holder: how often; and what was before. */
	unsigned int depth;
	int cancel;
	sigset_t signals;
};

#define HOME_LOCK_INIT                                                                             \
	{                                                                                          \
		.mutex = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP                                    \
	}

void home_lock(struct home_lock *lock);
bool home_trylock(struct home_lock *lock);
void home_unlock(struct home_lock *lock);
void home_lock_forked(struct home_lock *lock, bool ours);

/* life.c */
void home_stay_loaded(void);

/* A thread-local of ours: where it is must be known, as finding out may allocate. */
#define HOME_THREAD_LOCAL __thread __attribute__((tls_model("initial-exec")))

/* report.c: no library call behind them that is not async-signal-safe; errno is kept */
ssize_t home_read_file(const char *path, char *buf, size_t size);
void home_write(const char *text);

struct home_text {
	char *buf;
	size_t size, len;
};
void home_add(struct home_text *t, const char *s);
void home_add_number(struct home_text *t, uint64_t n, unsigned int base);
void home_say(struct home_text *t); /* on a line of its own */

/* slots.c */
unsigned int home_possible_cpus(const char *path);

/* thread.c: a detached thread with all signals masked; false if there is none to be had now */
bool home_thread_start(const char *name, void *(*fn)(void *), void *arg);
void home_sleep_us(unsigned int us);

/* Sleep while *word is @value, at most @ms (0: for ever); wake all who do. */
typedef PORT_ATOMIC(uint32_t) home_futex_t;
void home_futex_wait(home_futex_t *word, uint32_t value, unsigned int ms);
void home_futex_wake(home_futex_t *word);

/*
 * A round of the reclaimer comes each tick while there is work.  Who waits for a thread of ours looks again as
 * often: a fork, in a handler on top of it, may have left it without that thread.
 */
#define HOME_TICK_MS 25

/* What one thread sleeps on until there is work for it. */
struct home_sleeper {
	home_futex_t how;
};
enum { HOME_AWAKE, HOME_DOZING, HOME_ASLEEP };

/* Sleep as @how, at most @ms (0: for ever), unless it is @wanted(@arg), which reads seq_cst. */
void home_sleep(struct home_sleeper *s, uint32_t how, unsigned int ms, bool (*wanted)(void *arg),
		void *arg);
void home_set_awake_and_wake(struct home_sleeper *s);

/* The caller's work is written seq_cst, or before a full barrier.  Who dozes wakes only if there is a @hurry. */
static inline void home_wake(struct home_sleeper *s, bool hurry)
{
	uint32_t how = port_load(&s->how, seq_cst); /* WAKE */

	if (how == HOME_ASLEEP || (how == HOME_DOZING && hurry))
		home_set_awake_and_wake(s);
}

/* stall.c: under the reclaimer's lock */
void home_stall_check(void);

/* reclaimer.c */
void home_reclaimer_start(void);
/* Around a fork: have its locks; and begin anew in the child. */
void home_reclaimer_hold(void);
void home_reclaimer_release(void);
void home_reclaimer_forked(void);

/* flavors.c: try again for threads that could not be created */
void home_flavors_start(void);
void home_flavors_hold(void);
void home_flavors_release(void);
void home_flavors_forked(void);

/* slots.c: in the child of a fork */
void home_slots_forked(void);

#endif /* BMA_HOME_PRIVATE_H */
