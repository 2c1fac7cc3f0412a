/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * sequences.h - the three restartable sequences: what they are, and what all architectures share
 *
 * The name of each is its pseudo-code; rseq-<architecture>.h has the instructions, but for the two of x86-64
 * that callers' own code has, too: they are in <bma/inline-rseq.h>.  The kernel
 * restarts a sequence (jumps to its abort label) when the thread was preempted, migrated or given a
 * signal between label 1, behind which rseq_cs is set, and label 2, behind the final store.  So the
 * sequence runs as a whole on one CPU, or its final store is not made.  What it stores before the
 * final store must do no harm: push writes an entry above the top.
 *
 * No other CPU writes a block, but for the reclaimer, which first swaps the block's pointer and
 * then has membarrier restart the sequences that may have read the old one (slots.c).
 *
 * Ordering: loads and stores are plain, on CPUs that reorder them too.
 *
 * - What a sequence reads, another on the same CPU has written, or a context on that CPU before it.
 *   A CPU sees its own stores in program order whichever thread made them, and what a thread saw
 *   elsewhere (a magazine that it popped from the depot, with acquire) it has behind it when it
 *   goes on here: to migrate is a full barrier.
 * - A block that comes from outside (a fresh one, released by whoever put it in cpus[]) is reached
 *   through its pointer: address dependencies order pointer, top and entry, on all that Linux runs on.
 * - Push's two stores may become visible to other CPUs in any order.  Who looks from there for more
 *   than a number is the reclaimer, behind FLUSH, which is a full barrier on this CPU too; and who
 *   gets the magazine from the depot, behind the release of a context that took it from this CPU.
 * - The entry that a restarted push leaves above the top is by the same two older than whatever is
 *   written there next: on this CPU, or wherever the magazine goes.
 *
 * @rseq is the offset of the thread's struct rseq from its thread pointer (cpu_id at 4, rseq_cs at
 * 8).  All labels are local to the asm; the tables are where debuggers look for them.
 */
#ifndef BMA_HOME_SEQUENCES_H
#define BMA_HOME_SEQUENCES_H

#define BMA_STAYS_LOADED_
#include <bma/inline-rseq.h>

#if defined(__x86_64__)
#include "rseq-x86_64.h"
#elif defined(__aarch64__)
#include "rseq-aarch64.h"
#endif

#endif /* BMA_HOME_SEQUENCES_H */
