/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * home.h - core's home in a unit test; see port.h for what each entry promises
 *
 * One thread, and nothing happens that the test does not ask for: it sets the CPU and which thread it
 * plays, moves grace periods, runs the reclaimer's rounds, and says which call fails and what comes in
 * between two steps (script.h).  What is rare elsewhere is common here: a magazine holds two objects, a
 * span few, and the numbers of grace periods begin just before their low byte wraps.
 */
#ifndef BMA_HOME_H
#define BMA_HOME_H

#define PORT_MAGAZINE_BYTES 32
#define PORT_UNIT_SHIFT 12
#define PORT_ADDR_BITS 48
#define PORT_META_CHUNK (1u << 16)
#define PORT_META_PAGE 4096u

#define PORT_EINVAL 22
#define PORT_E2BIG 7
#define PORT_ENOMEM 12

/*
 * Shared memory is C11's.  A named barrier is also a call of the door (SCRIPT_BARRIER), so that a test can
 * come in between it and what follows.
 */
#include <stdatomic.h>

void script_barrier(void);
#define port_barrier_full() (atomic_thread_fence(memory_order_seq_cst), script_barrier())

/* The home has these two of <bma/rcu.h>: bpf_rcu_this_reader_, bpf_rcu_readers_fence_. */

#endif /* BMA_HOME_H */
