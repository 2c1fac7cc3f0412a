/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * rseq-x86_64.h - those of sequences.h for x86-64, where the thread pointer is %fs; two of them are in
 * <bma/inline-rseq.h>, as callers' code has them, too
 */
#ifndef BMA_HOME_RSEQ_X86_64_H
#define BMA_HOME_RSEQ_X86_64_H

/* As a constant, for tests: what precedes an abort label, as a thread registers it. */
#define RSEQ_SIGNATURE 0x53053053u

#define rseq_if_below_top_pop_it bma_rseq_if_below_top_pop_it_
#define rseq_if_not_end_push bma_rseq_if_not_end_push_

/* if (cpus[cpu_id] != block || block->top != old) return false; block->top = new */
static inline bool rseq_if_ours_and_equal_store(void *cpus, ptrdiff_t rseq, void *block,
						size_t offset, void *old, void *new)
{
	void *tmp;

	__asm__ __volatile__ goto(BMA_RSEQ_TABLE_ BMA_RSEQ_EXIT_(fail) BMA_RSEQ_BEGIN_
				  "cmp %[tmp], %[block]\n\t"
				  "jne %l[fail]\n\t"
				  "cmp %[old], (%[tmp], %[offset])\n\t"
				  "jne %l[fail]\n\t"
				  "mov %[new], (%[tmp], %[offset])\n\t" /* final store */
				  "2:\n\t" BMA_RSEQ_ABORT_
				  : [tmp] "=&r"(tmp)
				  : [cpus] "r"(cpus), [rseq] "r"(rseq), [block] "r"(block),
				    [offset] "r"(offset), [old] "r"(old), [new] "r"(new)
				  : "memory", "cc"
				  : fail);
	return true;
fail:
	return false;
}

static inline char *rseq_thread_pointer(void)
{
	char *tp;

	__asm__("mov %%fs:0, %0" : "=r"(tp));
	return tp;
}

/* The CPU of this thread, as the kernel keeps it; negative if the thread is not registered. */
static inline int rseq_cpu_id(ptrdiff_t rseq)
{
	int cpu;

	__asm__ __volatile__("movl %%fs:4(%1), %0" : "=r"(cpu) : "r"(rseq));
	return cpu;
}

#endif /* BMA_HOME_RSEQ_X86_64_H */
