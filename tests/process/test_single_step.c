// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_single_step.c - a handler that allocates, frees and reads at every instruction of every path
 *
 * A child runs scenes, each of which leads through one path.  The parent traces it: it steps through
 * the path, and at each instruction has a signal delivered; when the handler has returned to exactly
 * where it was, it goes on.  First all instructions in one pass, the handler with allocators of its
 * own, so that the path stays what it is; then one instruction in each pass, the handler with the very
 * allocator, which it leaves in another state: its magazine empty, full or another one.
 *
 * A restartable sequence never ends under single steps, as each stop restarts it.  There a breakpoint
 * goes on each instruction in turn, and the sequence runs into it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "step.h"

#ifdef __x86_64__

/* --- restartable sequences ---------------------------------------------------------------------- */

struct descriptor {
	uint32_t version, flags;
	uint64_t start, length, abort;
};

extern const struct descriptor *const __start___rseq_cs_ptr_array[] __attribute__((weak));
extern const struct descriptor *const __stop___rseq_cs_ptr_array[] __attribute__((weak));

#define NR_SEQUENCES 64
#define NR_PLACES 16

static struct sequence {
	uint64_t start, end, abort;
	uint64_t at[NR_PLACES], out[NR_PLACES]; /* its instructions; where it can be left to */
	bool visited[NR_PLACES];
	unsigned int nr_at, nr_out;
} sequences[NR_SEQUENCES];

static unsigned int nr_sequences;

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

static void sequences_read(void)
{
	const struct descriptor *const *d;

	for (d = __start___rseq_cs_ptr_array; d != __stop___rseq_cs_ptr_array; d++) {
		must(nr_sequences < NR_SEQUENCES);
		sequence_read(&sequences[nr_sequences++], *d);
	}
}

static struct sequence *sequence_at(uint64_t pc)
{
	unsigned int i;

	for (i = 0; i < nr_sequences; i++)
		if (sequences[i].start == pc)
			return &sequences[i];
	return NULL;
}

/* --- the parent: the tracer --------------------------------------------------------------------- */

/* A pass over a path: which of its places, counted from 0, has a signal; or all. */
#define ALL_PLACES (-1L)

static struct {
	pid_t pid;
	struct user_regs_struct regs;
	long chosen, place;
	bool passed, avoided;
	uint64_t sp, deepest;
	unsigned long signals, steps, passed_over;
} t;

static void resume(enum __ptrace_request how, int sig)
{
	int status;

	do {
		must(!ptrace(how, t.pid, NULL, (void *)(uintptr_t)sig));
		must(waitpid(t.pid, &status, __WALL) == t.pid);
		/* Behind a system call a signal is first sent, and then asked about. */
	} while (sig && WIFSTOPPED(status) && WSTOPSIG(status) == sig);
	if (!WIFSTOPPED(status) || WSTOPSIG(status) != SIGTRAP) {
		fprintf(stderr, "scene \"%s\", place %ld: the child has status %x\n",
			scenes[shared->scene].name, t.place, (unsigned int)status);
		must(!"stopped by a trap");
	}
	must(!ptrace(PTRACE_GETREGS, t.pid, NULL, &t.regs));
}

static void step(void)
{
	t.steps++;
	resume(PTRACE_SINGLESTEP, 0);
}

/* Did the child stop by the breakpoint in mark(), which says @what? */
static bool is_at(enum mark what)
{
	siginfo_t info;

	if (shared->mark != what)
		return false;
	must(!ptrace(PTRACE_GETSIGINFO, t.pid, NULL, &info));
	return info.si_code == SI_KERNEL;
}

static void go_to(uint64_t pc)
{
	t.regs.rip = pc;
	must(!ptrace(PTRACE_SETREGS, t.pid, NULL, &t.regs));
}

/* Have the handler run here, and return to @back with all registers as they are. */
static void deliver(uint64_t back)
{
	struct user_regs_struct before = t.regs;
	enum mark was = shared->mark;

	t.signals++;
	resume(PTRACE_CONT, SIGUSR1);
	must(is_at(HANDLED));
	shared->mark = was;
	resume(PTRACE_SINGLESTEP, 0);
	before.rip = back;
	before.orig_rax = t.regs.orig_rax;
	must(!memcmp(&before, &t.regs, sizeof(before)));
}

static bool is_chosen(void)
{
	return t.chosen == ALL_PLACES || t.chosen == t.place;
}

static long poke(uint64_t at, uint8_t byte)
{
	long word, old;

	errno = 0;
	old = ptrace(PTRACE_PEEKTEXT, t.pid, (void *)at, NULL);
	must(!errno);
	word = (old & ~0xffl) | byte;
	must(!ptrace(PTRACE_POKETEXT, t.pid, (void *)at, (void *)word));
	return old;
}

#define INT3 0xcc

/* Run on until @at, if it is not 0, or out of the sequence; where that is. */
static uint64_t run_to(const struct sequence *s, uint64_t at)
{
	unsigned int i;

	for (i = 0; i < s->nr_out; i++)
		poke(s->out[i], INT3);
	if (at)
		poke(at, INT3);
	resume(PTRACE_CONT, 0);
	/* The parent has the same text. */
	for (i = 0; i < s->nr_out; i++)
		poke(s->out[i], *(const uint8_t *)s->out[i]);
	if (at)
		poke(at, *(const uint8_t *)at);
	go_to(t.regs.rip - 1);
	return t.regs.rip;
}

/* The child is at the start of @s, and leaves it. */
static void pass_sequence(struct sequence *s)
{
	unsigned int i;

	for (i = 0; i < s->nr_at; i++, t.place++) {
		if (!is_chosen())
			continue;
		if (run_to(s, s->at[i]) != s->at[i]) {
			/* It is left by a branch before that one. */
			t.passed_over += s->nr_at - i;
			t.place += s->nr_at - i;
			return;
		}
		s->visited[i] = true;
		deliver(s->abort);
	}
	run_to(s, 0);
}

static void look(const struct scene *s)
{
	t.passed |= t.regs.rip == (uintptr_t)s->passes || !s->passes;
	t.avoided &= !s->avoids || t.regs.rip != (uintptr_t)s->avoids;
	if (t.sp - t.regs.rsp > t.deepest && t.regs.rsp < t.sp)
		t.deepest = t.sp - t.regs.rsp;
}

/* From BEGIN to END, with a signal at the chosen place or at all. */
static void trace_pass(const struct scene *s, long chosen)
{
	struct sequence *sequence;

	t.chosen = chosen;
	t.place = 0;
	t.passed = false;
	t.avoided = true;
	t.sp = t.regs.rsp;
	while (!is_at(END)) {
		look(s);
		/* In the fallback they are come by too, but nothing restarts them. */
		sequence = shared->rseq ? sequence_at(t.regs.rip) : NULL;
		if (sequence) {
			pass_sequence(sequence);
			continue;
		}
		if (is_chosen() && (t.passed || !s->late || chosen != ALL_PLACES))
			deliver(t.regs.rip);
		else
			t.passed_over++;
		t.place++;
		if (chosen != ALL_PLACES && t.place > chosen)
			resume(PTRACE_CONT, 0);
		else
			step();
	}
	shared->mark = NONE;
}

static void next_pass(bool again)
{
	shared->again = again;
	resume(PTRACE_CONT, 0);
	if (again)
		must(is_at(BEGIN));
	shared->mark = NONE;
}

/* The reclaimer may come in between and have the path be another. */
#define TRIES 50

static void trace_scene(const struct scene *s)
{
	unsigned long before = t.signals;
	long places, place, stride, passes;
	int tries;

	t.passed_over = 0;
	shared->same = false;
	for (tries = 0; tries < TRIES; tries++) {
		trace_pass(s, ALL_PLACES);
		if (t.passed && t.avoided)
			break;
		next_pass(true);
	}
	places = t.place;
	printf("# %-26s %5ld instructions, ", s->name, places);
	must(tries < TRIES);
	must(places >= 8 && t.signals - before + t.passed_over >= (unsigned long)places);
	shared->same = true;
	passes = 30000 / places;
	passes = passes > 30 ? 30 : passes < 10 ? 10 : passes;
	stride = is_long() ? 1 : places / passes + 1;
	for (place = shared->scene % stride; place < places; place += stride) {
		next_pass(true);
		trace_pass(s, place);
	}
	printf("%5lu signals\n", t.signals - before);
	fflush(stdout);
}

/* false: may not be traced. */
static bool trace_begin(void)
{
	int status;

	fflush(NULL);
	t.pid = fork();
	must(t.pid >= 0);
	if (!t.pid)
		step_child();
	must(waitpid(t.pid, &status, __WALL) == t.pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		return false;
	must(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
	must(!ptrace(PTRACE_SETOPTIONS, t.pid, NULL, PTRACE_O_EXITKILL));
	resume(PTRACE_CONT, 0);
	return true;
}

static void check_sequences(void)
{
	unsigned int i, j, seen = 0, places = 0, entered = 0;

	for (i = 0; i < nr_sequences; i++) {
		if (!sequences[i].visited[0])
			continue;
		entered++;
		for (j = 0; j < sequences[i].nr_at; j++) {
			places++;
			seen += sequences[i].visited[j];
		}
	}
	printf("# %u of %u instructions of %u restartable sequences, of %u that there are\n", seen,
	       places, entered, nr_sequences);
	must(entered >= (shared->rseq ? 6 : 0));
	must(places >= 8 * entered / 2 && seen == places);
	/* docs/contexts.md says so. */
	must(t.deepest < 4096);
}

static void test_each_instruction(void **state)
{
	int status;
	unsigned int i;

	(void)state;
	if (!is_plain()) {
		print_message("no single steps under a sanitizer or an emulator\n");
		skip();
	}
	/* Parent and child take turns, which is quickest on one CPU. */
	pin(0);
	sequences_read();
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	assert_ptr_not_equal(shared, MAP_FAILED);
	if (!trace_begin()) {
		print_message("ptrace is refused here\n");
		skip();
	}
	for (i = 0; i < nr_scenes; i++) {
		must(is_at(BEGIN) && shared->scene == i);
		shared->mark = NONE;
		trace_scene(&scenes[i]);
		shared->again = false;
		if (i + 1 < nr_scenes)
			resume(PTRACE_CONT, 0);
	}
	must(!ptrace(PTRACE_CONT, t.pid, NULL, NULL));
	must(waitpid(t.pid, &status, __WALL) == t.pid);
	assert_true(WIFEXITED(status) && !WEXITSTATUS(status));
	check_sequences();
	printf("# %lu signals, %lu steps, %lu bytes of stack at most\n", t.signals, t.steps,
	       t.deepest);
}

#else

static void test_each_instruction(void **state)
{
	(void)state;
	print_message("single steps are known for x86-64 only\n");
	skip();
}

#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_instruction),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
