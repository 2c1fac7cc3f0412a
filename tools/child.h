/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * child.h - run one contestant in a process of its own
 *
 * Memory that one contestant touched, and did not give back, must not be in the next one's resident
 * set.  The parent stays single-threaded and uses no allocator but malloc, and little of that, so
 * that every child starts from the same small image.
 */
#ifndef BMA_CHILD_H
#define BMA_CHILD_H

#include <stddef.h>

#include "tool.h"

/*
 * Memory of @size bytes, zeroed, that a child's writes to are seen by its parent.  NULL after a
 * message.
 */
void *shared_alloc(size_t size);
void shared_free(void *memory, size_t size);

/*
 * Fork, run @body(@arg) in the child, and wait for it.  Return what it returned; EXIT_FAILED after
 * a message if it did not come to its end.  @what names it in messages; NULL: it is a
 * trial, of which nothing is said if it is killed.
 */
enum exit_code run_in_child(const char *what, enum exit_code (*body)(void *arg), void *arg);

#endif /* BMA_CHILD_H */
