/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * tracer.h - a child, run instruction by instruction (x86-64)
 *
 * A restartable sequence never ends under single steps, as each stop restarts it.  There, a breakpoint
 * goes where the child is to stop next, and the sequence runs into it; or, where nothing but the child
 * can come by its magazines, the kernel is made to forget that it is in a sequence.
 *
 * The child is a fork and executes no other program, so what it has in its text is read from our own.
 */
#ifndef BMA_TEST_TRACER_H
#define BMA_TEST_TRACER_H

#ifdef __x86_64__

#include <stdbool.h>
#include <stdint.h>
#include <sys/ptrace.h>
#include <sys/user.h>

#define NR_SEQUENCES 64
#define NR_PLACES 16

struct sequence {
	uint64_t start, end, abort;
	uint64_t at[NR_PLACES], out[NR_PLACES]; /* its instructions; where it can be left to */
	unsigned int nr_at, nr_out;
};

extern struct sequence sequences[NR_SEQUENCES];
extern unsigned int nr_sequences;

void sequences_read(void);
/* The one that starts at @pc, or NULL. */
struct sequence *sequence_at(uint64_t pc);

/*
 * The child, stopped.
 *
 * @doing, @place: the user's own, and said when the child does not do what it is to do.
 */
extern struct tracee {
	pid_t pid;
	struct user_regs_struct regs;
	unsigned long steps;
	const char *doing;
	long place;
} tracee;

#define INT3 0xcc

/* May processes be traced here at all? */
bool may_trace(void);
/*
 * Fork a child that runs @fn, which does not return, up to its first trace_stop(); false if it may not
 * be traced.
 */
bool trace_begin(void (*fn)(void));
/* Let it run to its end, which must be a good one. */
void trace_end(void);

/* In the child: be traced from now on; ends the process if that is refused.  Stop here. */
void trace_me(void);
static inline void trace_stop(void)
{
	__asm__ __volatile__("int3" ::: "memory");
}

/* Go on as @how, with @sig delivered, up to the next trap. */
void trace_resume(enum __ptrace_request how, int sig);
void trace_step(void);
/* Was the stop by a breakpoint, its own or ours? */
bool trace_at_breakpoint(void);
void trace_go_to(uint64_t pc);
/* In sequence @s, run on until @at, if it is not 0, or out of the sequence; where that is. */
uint64_t trace_run_to(const struct sequence *s, uint64_t at);
/* At the start of a sequence, once: have steps go through it. */
void trace_forget_sequence(void);
uint64_t trace_read(uint64_t at);

#endif /* __x86_64__ */

#endif /* BMA_TEST_TRACER_H */
