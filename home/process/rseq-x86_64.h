/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * rseq-x86_64.h - those of sequences.h for x86-64, where the thread pointer is %fs
 */
#ifndef BMA_HOME_RSEQ_X86_64_H
#define BMA_HOME_RSEQ_X86_64_H

/* As a constant, for tests: what precedes an abort label, as a thread registers it. */
#define RSEQ_SIGNATURE 0x53053053u

#define RSEQ_BEGIN                                                                                 \
	"5:\n\t"                                                                                   \
	"lea 3b(%%rip), %[tmp]\n\t"                                                                \
	"mov %[tmp], %%fs:8(%[rseq])\n\t"                                                          \
	"1:\n\t"                                                                                   \
	"movl %%fs:4(%[rseq]), %k[tmp]\n\t"                                                        \
	"mov (%[cpus], %[tmp], 8), %[tmp]\n\t" /* block = cpus[cpu_id] */

/* The abort label must follow the signature that the thread registered with (ud1). */
#define RSEQ_ABORT                                                                                 \
	".pushsection __rseq_failure, \"ax\"\n\t"                                                  \
	".byte 0x0f, 0xb9, 0x3d\n\t"                                                               \
	".long 0x53053053\n\t"                                                                     \
	"4:\n\t"                                                                                   \
	"jmp 5b\n\t"                                                                               \
	".popsection\n\t"

/* top = block->top; if (!top[-1]) return NULL; obj = top[-1]; block->top = top - 1 */
static inline void *rseq_if_below_top_pop_it(void *cpus, ptrdiff_t rseq, size_t offset)
{
	void *tmp, *top, *obj;

	__asm__ __volatile__ goto(RSEQ_TABLE RSEQ_EXIT(empty) RSEQ_BEGIN
				  "mov (%[tmp], %[offset]), %[top]\n\t"
				  "mov -8(%[top]), %[obj]\n\t"
				  "test %[obj], %[obj]\n\t"
				  "jz %l[empty]\n\t"
				  "sub $8, %[top]\n\t"
				  "mov %[top], (%[tmp], %[offset])\n\t" /* final store */
				  "2:\n\t" RSEQ_ABORT
				  : [tmp] "=&r"(tmp), [top] "=&r"(top), [obj] "=&r"(obj)
				  : [cpus] "r"(cpus), [rseq] "r"(rseq), [offset] "r"(offset)
				  : "memory", "cc"
				  : empty);
	if (!obj)
		__builtin_unreachable();
	return obj;
empty:
	return NULL;
}

/* top = block->top; if (top % magazine == 0) return false; *top = obj; block->top = top + 1 */
static inline bool rseq_if_not_end_push(void *cpus, ptrdiff_t rseq, size_t offset, void *obj)
{
	void *tmp, *top;

	__asm__ __volatile__ goto(RSEQ_TABLE RSEQ_EXIT(end) RSEQ_BEGIN
				  "mov (%[tmp], %[offset]), %[top]\n\t"
				  "test %[mask], %[top]\n\t"
				  "jz %l[end]\n\t"
				  "mov %[obj], (%[top])\n\t"
				  "add $8, %[top]\n\t"
				  "mov %[top], (%[tmp], %[offset])\n\t" /* final store */
				  "2:\n\t" RSEQ_ABORT
				  : [tmp] "=&r"(tmp), [top] "=&r"(top)
				  : [cpus] "r"(cpus), [rseq] "r"(rseq), [offset] "r"(offset),
				    [obj] "r"(obj), [mask] "i"(PORT_MAGAZINE_BYTES - 1)
				  : "memory", "cc"
				  : end);
	return true;
end:
	return false;
}

/* if (cpus[cpu_id] != block || block->top != old) return false; block->top = new */
static inline bool rseq_if_ours_and_equal_store(void *cpus, ptrdiff_t rseq, void *block,
						size_t offset, void *old, void *new)
{
	void *tmp;

	__asm__ __volatile__ goto(RSEQ_TABLE RSEQ_EXIT(fail) RSEQ_BEGIN
				  "cmp %[tmp], %[block]\n\t"
				  "jne %l[fail]\n\t"
				  "cmp %[old], (%[tmp], %[offset])\n\t"
				  "jne %l[fail]\n\t"
				  "mov %[new], (%[tmp], %[offset])\n\t" /* final store */
				  "2:\n\t" RSEQ_ABORT
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
