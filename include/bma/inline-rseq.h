/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * inline-rseq.h - what inline.h knows of the library: its restartable sequences, and where things are
 *
 * Private, and the library's own, too: there are the same instructions in callers' code and in the
 * library's.  Where things are (core/bma.h, core/port.h) is checked where the library is compiled.  It changes
 * with the number in bma_inline_1_, so that a program that knows it otherwise does not start,
 * instead of writing where it should not.
 */
#ifndef BMA_INLINE_RSEQ_H
#define BMA_INLINE_RSEQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Never a function of the caller's: who asks for an address gets the library's. */
#define BMA_INLINE_ extern inline __attribute__((gnu_inline, always_inline))

/* --- restartable sequences; home/process/sequences.h says what they are, and has the proof ------ */

/*
 * A descriptor of the sequence from 1 to 2 with abort label 4; and where else it can be left: a debugger
 * that steps over it must know, lest each step restart it.  All goes where the code does ("?"), as an inline
 * function of C++ that is there twice is dropped once.
 */
#define BMA_RSEQ_TABLE_                                                                            \
	".pushsection __rseq_cs, \"aw?\"\n\t"                                                      \
	".balign 32\n\t"                                                                           \
	"3:\n\t"                                                                                   \
	".long 0, 0\n\t"                                                                           \
	".quad 1f, 2f - 1f, 4f\n\t"                                                                \
	".popsection\n\t"                                                                          \
	".pushsection __rseq_cs_ptr_array, \"aw?\"\n\t"                                            \
	".quad 3b\n\t"                                                                             \
	".popsection\n\t"
#define BMA_RSEQ_EXIT_(label)                                                                      \
	".pushsection __rseq_exit_point_array, \"aw?\"\n\t"                                        \
	".quad 1f, %l[" #label "]\n\t"                                                             \
	".popsection\n\t"

#define BMA_MAGAZINE_BYTES_ 512

#ifdef __x86_64__

#define BMA_RSEQ_BEGIN_                                                                            \
	"5:\n\t"                                                                                   \
	"lea 3b(%%rip), %[tmp]\n\t"                                                                \
	"mov %[tmp], %%fs:8(%[rseq])\n\t"                                                          \
	"1:\n\t"                                                                                   \
	"movl %%fs:4(%[rseq]), %k[tmp]\n\t"                                                        \
	"mov (%[cpus], %[tmp], 8), %[tmp]\n\t" /* block = cpus[cpu_id] */

/* The abort label must follow the signature that the thread registered with (ud1). */
#define BMA_RSEQ_ABORT_                                                                            \
	".pushsection __rseq_failure, \"ax?\"\n\t"                                                 \
	".byte 0x0f, 0xb9, 0x3d\n\t"                                                               \
	".long 0x53053053\n\t"                                                                     \
	"4:\n\t"                                                                                   \
	"jmp 5b\n\t"                                                                               \
	".popsection\n\t"

/*
 * The kernel looks at the descriptor of a thread's last sequence when it next interrupts the thread, be
 * the code that it was in gone by then.  So code that may be unloaded forgets it; the library, which stays
 * (home/process/life.c), does not, and is where all go that leave by an exit.
 */
#if defined(__PIC__) && !defined(__PIE__) && !defined(BMA_STAYS_LOADED_)
#define BMA_RSEQ_FORGET_ "movq $0, %%fs:8(%[rseq])\n\t"
#else
#define BMA_RSEQ_FORGET_ ""
#endif

/* top = block->top; if (!top[-1]) return NULL; obj = top[-1]; block->top = top - 1 */
BMA_INLINE_ void *bma_rseq_if_below_top_pop_it_(void *cpus, ptrdiff_t rseq, size_t offset)
{
	void *tmp, *top, *obj;

	__asm__ __volatile__ goto(BMA_RSEQ_TABLE_ BMA_RSEQ_EXIT_(empty) BMA_RSEQ_BEGIN_
				  "mov (%[tmp], %[offset]), %[top]\n\t"
				  "mov -8(%[top]), %[obj]\n\t"
				  "test %[obj], %[obj]\n\t"
				  "jz %l[empty]\n\t"
				  "sub $8, %[top]\n\t"
				  "mov %[top], (%[tmp], %[offset])\n\t" /* final store */
				  "2:\n\t" BMA_RSEQ_FORGET_ BMA_RSEQ_ABORT_
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
BMA_INLINE_ bool bma_rseq_if_not_end_push_(void *cpus, ptrdiff_t rseq, size_t offset, void *obj)
{
	void *tmp, *top;

	__asm__ __volatile__ goto(BMA_RSEQ_TABLE_ BMA_RSEQ_EXIT_(end) BMA_RSEQ_BEGIN_
				  "mov (%[tmp], %[offset]), %[top]\n\t"
				  "test %[mask], %[top]\n\t"
				  "jz %l[end]\n\t"
				  "mov %[obj], (%[top])\n\t"
				  "add $8, %[top]\n\t"
				  "mov %[top], (%[tmp], %[offset])\n\t" /* final store */
				  "2:\n\t" BMA_RSEQ_FORGET_ BMA_RSEQ_ABORT_
				  : [tmp] "=&r"(tmp), [top] "=&r"(top)
				  : [cpus] "r"(cpus), [rseq] "r"(rseq), [offset] "r"(offset),
				    [obj] "r"(obj), [mask] "i"(BMA_MAGAZINE_BYTES_ - 1)
				  : "memory", "cc"
				  : end);
	return true;
end:
	return false;
}

#endif /* __x86_64__ */

/* --- what the library's structures look like ---------------------------------------------------- */

#define BMA_NR_SIZES_ 256
#define BMA_ADDR_BITS_ 48
#define BMA_LEAF_BITS_ 32
#define BMA_UNIT_SHIFT_ 16

/* In a CPU's block: of a cache's three tops, from its slot's offset on; and those of a fixed-size allocator. */
#define BMA_BY_RCU_ 16
#define BMA_FIRST_SLOT_ 16

#define BMA_CACHE_BYTES_ 320 /* with more, an allocator has several */

/*
 * @leaf: the page map's root.
 * @class_offset: of a size's slot in a block, by (size - 1) / 16.
 */
struct bma_inline_ {
	void *const *const *leaf;
	uint16_t class_offset[BMA_NR_SIZES_];
};

/* The library's own: const, so that a loop need not load it again.  The second is not. */
extern const struct bma_inline_ bma_inline_1_;
/*
 * The offset from its thread pointer of a thread's struct rseq or, where sequences cannot be, of one that is the
 * library's.
 */
extern ptrdiff_t bma_inline_rseq_;

/* How a cache begins. */
struct bma_cache_ {
	uint32_t others[3];
	uint32_t slot;
	uint64_t inverse, bound;
	uint32_t span_mask;
};

#ifdef __cplusplus
}
#endif

#endif /* BMA_INLINE_RSEQ_H */
