/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * private.h - what this home's files offer each other
 */
#ifndef BMA_HOME_PRIVATE_H
#define BMA_HOME_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

/* report.c: no library call behind them that is not async-signal-safe; errno is kept */
ssize_t home_read_file(const char *path, char *buf, size_t size);
void home_write(const char *text);

/* Sleep while *word is @value, at most @ms (0: for ever); wake all who do. */
void home_futex_wait(_Atomic uint32_t *word, uint32_t value, unsigned int ms);
void home_futex_wake(_Atomic uint32_t *word);

/* stall.c: under the reclaimer's lock */
void home_stall_check(void);

/* reclaimer.c: a detached thread with all signals masked; false if there is none to be had now */
bool home_thread_start(const char *name, void *(*fn)(void *), void *arg);
void home_reclaimer_start(void);

/* flavors.c: try again for threads that could not be created */
void home_flavors_start(void);

#endif /* BMA_HOME_PRIVATE_H */
