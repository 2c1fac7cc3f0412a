/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * rseq-aarch64.h - those of sequences.h for AArch64, where the thread pointer is tpidr_el0
 *
 * The jump back from an abort label is to another section.  Should that be too far, the linker puts
 * a veneer between, which may use x16 and x17: so nothing lives there.
 */
#ifndef BMA_HOME_RSEQ_AARCH64_H
#define BMA_HOME_RSEQ_AARCH64_H

/* As a constant, for tests: what precedes an abort label, as an instruction (brk). */
#define RSEQ_SIGNATURE 0xd428bc00u

static inline char *rseq_thread_pointer(void)
{
	return __builtin_thread_pointer();
}

/* This thread's struct rseq. */
static inline void *rseq_area(ptrdiff_t rseq)
{
	return rseq_thread_pointer() + rseq;
}

#define RSEQ_BEGIN                                                                                 \
	"5:\n\t"                                                                                   \
	"adrp %[tmp], 3b\n\t"                                                                      \
	"add %[tmp], %[tmp], :lo12:3b\n\t"                                                         \
	"str %[tmp], [%[area], #8]\n\t"                                                            \
	"1:\n\t"                                                                                   \
	"ldr %w[tmp], [%[area], #4]\n\t"                                                           \
	"ldr %[tmp], [%[cpus], %[tmp], lsl #3]\n\t" /* block = cpus[cpu_id] */

/* The abort label must follow the signature that the thread registered with. */
#define RSEQ_ABORT                                                                                 \
	".pushsection __rseq_failure, \"ax\"\n\t"                                                  \
	".balign 4\n\t"                                                                            \
	".inst 0xd428bc00\n\t"                                                                     \
	"4:\n\t"                                                                                   \
	"b 5b\n\t"                                                                                 \
	".popsection\n\t"

/* top = block->top; if (!top[-1]) return NULL; obj = top[-1]; block->top = top - 1 */
static inline void *rseq_if_below_top_pop_it(void *cpus, ptrdiff_t rseq, size_t offset)
{
	void *tmp, *top, *obj;

	__asm__ __volatile__ goto(
		BMA_RSEQ_TABLE_ BMA_RSEQ_EXIT_(empty) RSEQ_BEGIN
		"ldr %[top], [%[tmp], %[offset]]\n\t"
		"ldr %[obj], [%[top], #-8]\n\t"
		"cbz %[obj], %l[empty]\n\t"
		"sub %[top], %[top], #8\n\t"
		"str %[top], [%[tmp], %[offset]]\n\t" /* final store */
		"2:\n\t" RSEQ_ABORT
		: [tmp] "=&r"(tmp), [top] "=&r"(top), [obj] "=&r"(obj)
		: [cpus] "r"(cpus), [area] "r"(rseq_area(rseq)), [offset] "r"(offset)
		: "memory", "x16", "x17"
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

	__asm__ __volatile__ goto(
		BMA_RSEQ_TABLE_ BMA_RSEQ_EXIT_(end) RSEQ_BEGIN
		"ldr %[top], [%[tmp], %[offset]]\n\t"
		"tst %[top], %[mask]\n\t"
		"b.eq %l[end]\n\t"
		"str %[obj], [%[top]], #8\n\t" /* and top = top + 1 */
		"str %[top], [%[tmp], %[offset]]\n\t" /* final store */
		"2:\n\t" RSEQ_ABORT
		: [tmp] "=&r"(tmp), [top] "=&r"(top)
		: [cpus] "r"(cpus), [area] "r"(rseq_area(rseq)), [offset] "r"(offset),
		  [obj] "r"(obj), [mask] "i"(PORT_MAGAZINE_BYTES - 1)
		: "memory", "cc", "x16", "x17"
		: end);
	return true;
end:
	return false;
}

/* if (cpus[cpu_id] != block || block->top != old) return false; block->top = new */
static inline bool rseq_if_ours_and_equal_store(void *cpus, ptrdiff_t rseq, void *block,
						size_t offset, void *old, void *new)
{
	void *tmp, *top;

	__asm__ __volatile__ goto(
		BMA_RSEQ_TABLE_ BMA_RSEQ_EXIT_(fail) RSEQ_BEGIN
		"cmp %[tmp], %[block]\n\t"
		"b.ne %l[fail]\n\t"
		"ldr %[top], [%[tmp], %[offset]]\n\t"
		"cmp %[top], %[old]\n\t"
		"b.ne %l[fail]\n\t"
		"str %[new], [%[tmp], %[offset]]\n\t" /* final store */
		"2:\n\t" RSEQ_ABORT
		: [tmp] "=&r"(tmp), [top] "=&r"(top)
		: [cpus] "r"(cpus), [area] "r"(rseq_area(rseq)), [block] "r"(block),
		  [offset] "r"(offset), [old] "r"(old), [new] "r"(new)
		: "memory", "cc", "x16", "x17"
		: fail);
	return true;
fail:
	return false;
}

/* The CPU of this thread, as the kernel keeps it; negative if the thread is not registered. */
static inline int rseq_cpu_id(ptrdiff_t rseq)
{
	return *(volatile int *)((char *)rseq_area(rseq) + 4);
}

#endif /* BMA_HOME_RSEQ_AARCH64_H */
