/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * nth.h - a thread that at a chosen instruction of a call ends, or calls something else
 */
#ifndef BMA_TEST_NTH_H
#define BMA_TEST_NTH_H

#include <stdbool.h>

/*
 * Have a thread call @fn, and before its @nth instruction, from 1, call @there in a handler, in which other
 * threads may be stepped; false if it has returned before.
 */
bool thread_calls_at(void (*fn)(void), unsigned int nth, void (*there)(void));

/* As that, but it ends there (pthread_exit() in the handler). */
bool thread_ends_at(void (*fn)(void), unsigned int nth);

#endif
