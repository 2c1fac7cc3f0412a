// SPDX-License-Identifier: MIT OR GPL-2.0-only
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#if __has_include(<sys/rseq.h>)
#include <sys/rseq.h>
#endif

#include "tracer.h"
#include "util.h"

#ifdef __x86_64__

/* --- restartable sequences ---------------------------------------------------------------------- */

struct descriptor {
	uint32_t version, flags;
	uint64_t start, length, abort;
};

extern const struct descriptor *const __start___rseq_cs_ptr_array[] __attribute__((weak));
extern const struct descriptor *const __stop___rseq_cs_ptr_array[] __attribute__((weak));

struct sequence sequences[NR_SEQUENCES];
unsigned int nr_sequences;

/*
 * The length of one of the instructions that sequences are made of.  @out: where it may jump to, or 0.
 * Only what is known is let pass, and the last instruction must end where the sequence does.
 */
static unsigned int decode(const uint8_t *p, uint64_t *out)
{
	const uint8_t *begin = p;
	unsigned int mod, rm, imm = 0;
	uint8_t op;
	int32_t far;

	*out = 0;
	if (*p == 0x64)
		p++;
	if ((*p & 0xf0) == 0x40)
		p++;
	op = *p++;
	if (op >= 0x70 && op <= 0x7f) {
		*out = (uintptr_t)(p + 1) + (uint64_t)(int64_t)(int8_t)*p;
		return (unsigned int)(p + 1 - begin);
	}
	if (op == 0x0f) {
		must(*p >= 0x80 && *p <= 0x8f);
		memcpy(&far, p + 1, sizeof(far));
		*out = (uintptr_t)(p + 5) + (uint64_t)(int64_t)far;
		return (unsigned int)(p + 5 - begin);
	}
	if (op == 0xa9)
		return (unsigned int)(p + 4 - begin);
	mod = *p >> 6;
	rm = *p & 7;
	/* mov, cmp, test, with no immediate, and group 1 and test with one. */
	must(op == 0x89 || op == 0x8b || op == 0x39 || op == 0x3b || op == 0x85 || op == 0x83 ||
	     op == 0x81 || op == 0xf7);
	if (op == 0x83)
		imm = 1;
	else if (op == 0x81 || op == 0xf7)
		imm = 4;
	p++;
	if (mod != 3 && rm == 4) {
		if (!mod && (*p & 7) == 5)
			imm += 4;
		p++;
	}
	must(mod || rm != 5);
	return (unsigned int)(p - begin) + imm + (mod == 1 ? 1 : mod == 2 ? 4 : 0);
}

static void sequence_read(struct sequence *s, const struct descriptor *d)
{
	uint64_t at, out;

	*s = (struct sequence){ .start = d->start, .end = d->start + d->length, .abort = d->abort };
	s->out[s->nr_out++] = s->end;
	for (at = s->start; at < s->end; at += decode((const uint8_t *)at, &out)) {
		must(s->nr_at < NR_PLACES - 1);
		s->at[s->nr_at++] = at;
		decode((const uint8_t *)at, &out);
		if (out && (out < s->start || out > s->end))
			s->out[s->nr_out++] = out;
	}
	must(at == s->end);
}

void sequences_read(void)
{
	const struct descriptor *const *d;

	for (d = __start___rseq_cs_ptr_array; d != __stop___rseq_cs_ptr_array; d++) {
		must(nr_sequences < NR_SEQUENCES);
		sequence_read(&sequences[nr_sequences++], *d);
	}
}

struct sequence *sequence_at(uint64_t pc)
{
	unsigned int i;

	for (i = 0; i < nr_sequences; i++)
		if (sequences[i].start == pc)
			return &sequences[i];
	return NULL;
}

/* --- the child ---------------------------------------------------------------------------------- */

struct tracee tracee;

#define MAY_NOT 77

void trace_me(void)
{
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
		_exit(MAY_NOT);
	raise(SIGSTOP);
}

static void be_traced(void *arg)
{
	(void)arg;
	_exit(ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0);
}

bool may_trace(void)
{
	return in_child(be_traced, NULL);
}

bool trace_begin(void (*fn)(void))
{
	int status;

	fflush(NULL);
	tracee.pid = fork();
	must(tracee.pid >= 0);
	if (!tracee.pid) {
		fn();
		_exit(1);
	}
	must(waitpid(tracee.pid, &status, __WALL) == tracee.pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == MAY_NOT)
		return false;
	must(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
	must(!ptrace(PTRACE_SETOPTIONS, tracee.pid, NULL, PTRACE_O_EXITKILL));
	trace_resume(PTRACE_CONT, 0);
	return true;
}

void trace_end(void)
{
	int status;

	must(!ptrace(PTRACE_CONT, tracee.pid, NULL, NULL));
	must(waitpid(tracee.pid, &status, __WALL) == tracee.pid);
	must(WIFEXITED(status) && !WEXITSTATUS(status));
}

void trace_resume(enum __ptrace_request how, int sig)
{
	int status;

	do {
		must(!ptrace(how, tracee.pid, NULL, (void *)(uintptr_t)sig));
		must(waitpid(tracee.pid, &status, __WALL) == tracee.pid);
		/* Behind a system call a signal is first sent, and then asked about. */
	} while (sig && WIFSTOPPED(status) && WSTOPSIG(status) == sig);
	if (!WIFSTOPPED(status) || WSTOPSIG(status) != SIGTRAP) {
		fprintf(stderr, "\"%s\", place %ld: the child has status %x\n",
			tracee.doing ? tracee.doing : "begin", tracee.place, (unsigned int)status);
		must(!"stopped by a trap");
	}
	must(!ptrace(PTRACE_GETREGS, tracee.pid, NULL, &tracee.regs));
}

void trace_step(void)
{
	tracee.steps++;
	trace_resume(PTRACE_SINGLESTEP, 0);
}

bool trace_at_breakpoint(void)
{
	siginfo_t info;

	must(!ptrace(PTRACE_GETSIGINFO, tracee.pid, NULL, &info));
	return info.si_code == SI_KERNEL;
}

void trace_go_to(uint64_t pc)
{
	tracee.regs.rip = pc;
	must(!ptrace(PTRACE_SETREGS, tracee.pid, NULL, &tracee.regs));
}

uint64_t trace_read(uint64_t at)
{
	long word;

	errno = 0;
	word = ptrace(PTRACE_PEEKTEXT, tracee.pid, (void *)at, NULL);
	must(!errno);
	return (uint64_t)word;
}

void trace_forget_sequence(void)
{
#if __has_include(<sys/rseq.h>)
	/* As sequences.h: rseq_cs at 8. */
	uint64_t rseq_cs = tracee.regs.fs_base + (uint64_t)__rseq_offset + 8;

	if (__rseq_size)
		must(!ptrace(PTRACE_POKEDATA, tracee.pid, (void *)rseq_cs, NULL));
#endif
}

static void poke(uint64_t at, uint8_t byte)
{
	uint64_t word = (trace_read(at) & ~0xfful) | byte;

	must(!ptrace(PTRACE_POKETEXT, tracee.pid, (void *)at, (void *)word));
}

uint64_t trace_run_to(const struct sequence *s, uint64_t at)
{
	unsigned int i;

	for (i = 0; i < s->nr_out; i++)
		poke(s->out[i], INT3);
	if (at)
		poke(at, INT3);
	trace_resume(PTRACE_CONT, 0);
	for (i = 0; i < s->nr_out; i++)
		poke(s->out[i], *(const uint8_t *)s->out[i]);
	if (at)
		poke(at, *(const uint8_t *)at);
	trace_go_to(tracee.regs.rip - 1);
	return tracee.regs.rip;
}

#endif /* __x86_64__ */
