/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * ends_at.h - a thread that ends at a chosen instruction of a call
 */
#ifndef BMA_TEST_ENDS_AT_H
#define BMA_TEST_ENDS_AT_H

#include <stdbool.h>

/*
 * Have a thread call @fn, and end (pthread_exit() in a handler) before its @nth instruction, from 1; false
 * if it has returned before.
 */
bool thread_ends_at(void (*fn)(void), unsigned int nth);

#endif
