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
 * Inside a restartable sequence, which single steps would restart, each instruction has a breakpoint in
 * its turn (tracer.h).
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "step.h"
#include "tracer.h"

#ifdef __x86_64__

/* A pass over a path: which of its places, counted from 0, has a signal; or all. */
#define ALL_PLACES (-1L)

static struct {
	long chosen;
	bool passed, avoided;
	uint64_t sp, deepest;
	unsigned long signals, passed_over;
} t;

static bool visited[NR_SEQUENCES][NR_PLACES];

/* Did the child stop by the breakpoint in mark(), which says @what? */
static bool is_at(enum mark what)
{
	return shared->mark == what && trace_at_breakpoint();
}

/* Have the handler run here, and return to @back with all registers as they are. */
static void deliver(uint64_t back)
{
	struct user_regs_struct before = tracee.regs;
	enum mark was = shared->mark;

	t.signals++;
	trace_resume(PTRACE_CONT, SIGUSR1);
	must(is_at(HANDLED));
	shared->mark = was;
	trace_resume(PTRACE_SINGLESTEP, 0);
	before.rip = back;
	before.orig_rax = tracee.regs.orig_rax;
	must(!memcmp(&before, &tracee.regs, sizeof(before)));
}

static bool is_chosen(void)
{
	return t.chosen == ALL_PLACES || t.chosen == tracee.place;
}

/* The child is at the start of @s, and leaves it. */
static void pass_sequence(struct sequence *s)
{
	unsigned int i;

	for (i = 0; i < s->nr_at; i++, tracee.place++) {
		if (!is_chosen())
			continue;
		if (trace_run_to(s, s->at[i]) != s->at[i]) {
			/* It is left by a branch before that one. */
			t.passed_over += s->nr_at - i;
			tracee.place += s->nr_at - i;
			return;
		}
		visited[s - sequences][i] = true;
		deliver(s->abort);
	}
	trace_run_to(s, 0);
}

static void look(const struct scene *s)
{
	t.passed |= tracee.regs.rip == (uintptr_t)s->passes || !s->passes;
	t.avoided &= !s->avoids || tracee.regs.rip != (uintptr_t)s->avoids;
	if (t.sp - tracee.regs.rsp > t.deepest && tracee.regs.rsp < t.sp)
		t.deepest = t.sp - tracee.regs.rsp;
}

/* From BEGIN to END, with a signal at the chosen place or at all. */
static void trace_pass(const struct scene *s, long chosen)
{
	struct sequence *sequence;

	t.chosen = chosen;
	tracee.place = 0;
	t.passed = false;
	t.avoided = true;
	t.sp = tracee.regs.rsp;
	while (!is_at(END)) {
		look(s);
		/* In the fallback they are come by too, but nothing restarts them. */
		sequence = shared->rseq ? sequence_at(tracee.regs.rip) : NULL;
		if (sequence) {
			pass_sequence(sequence);
			continue;
		}
		if (is_chosen() && (t.passed || !s->late || chosen != ALL_PLACES))
			deliver(tracee.regs.rip);
		else
			t.passed_over++;
		tracee.place++;
		if (chosen != ALL_PLACES && tracee.place > chosen)
			trace_resume(PTRACE_CONT, 0);
		else
			trace_step();
	}
	shared->mark = NONE;
}

static void next_pass(bool again)
{
	shared->again = again;
	trace_resume(PTRACE_CONT, 0);
	if (again)
		must(is_at(BEGIN));
	shared->mark = NONE;
}

/* The reclaimer, where it is not held, may come in between and have the path be another. */
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
	places = tracee.place;
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

static void check_sequences(void)
{
	unsigned int i, j, seen = 0, places = 0, entered = 0;

	for (i = 0; i < nr_sequences; i++) {
		if (!visited[i][0])
			continue;
		entered++;
		for (j = 0; j < sequences[i].nr_at; j++) {
			places++;
			seen += visited[i][j];
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
	unsigned int i;

	(void)state;
	need_single_steps();
	/* Parent and child take turns, which is quickest on one CPU. */
	pin(0);
	sequences_read();
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	assert_ptr_not_equal(shared, MAP_FAILED);
	if (!trace_begin(step_child)) {
		print_message("ptrace is refused here\n");
		skip();
	}
	for (i = 0; i < nr_scenes; i++) {
		must(is_at(BEGIN) && shared->scene == i);
		shared->mark = NONE;
		tracee.doing = scenes[i].name;
		trace_scene(&scenes[i]);
		shared->again = false;
		if (i + 1 < nr_scenes)
			trace_resume(PTRACE_CONT, 0);
	}
	trace_end();
	check_sequences();
	printf("# %lu signals, %lu steps, %lu bytes of stack at most\n", t.signals, tracee.steps,
	       t.deepest);
}

#else

static void test_each_instruction(void **state)
{
	(void)state;
	need_single_steps();
}

#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_instruction),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
