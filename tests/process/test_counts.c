// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_counts.c - instructions, atomic read-modify-writes and system calls of each fast path, and of work
 * that goes over the edges of magazines
 *
 * A child goes through the paths of count_rows.c and stops before and after a call; the parent steps
 * through it.  Counted is what the calling thread does from the call's target to its return.  Of
 * instructions only the program's own: what libc and the vDSO take differs from one system to the next.
 * Calls that are not at a magazine's edge take the fast path.  They are not stepped through, but for a
 * sample of them, which must all be alike.
 *
 * counts.golden says what the counts must be.  Less than that fails too, or what was won could be lost
 * again and nobody would see it.  With BMA_TEST_GOLDEN=write the program writes what it counted there.
 *
 * Another compiler, or other options, have other counts.  What is checked with any: fast paths have no
 * system call, and with restartable sequences no atomic read-modify-write and no call either.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "count.h"
#include "tracer.h"

/* meson.build defines it where compiler and options are those of the file; some systems' gcc adds to them. */
#if defined(COUNTS_GOLDEN) && !defined(__CET__) && !defined(__SSP_STRONG__)
static const char *const golden = COUNTS_GOLDEN;
#else
static const char *const golden = NULL;
#endif

#ifdef __x86_64__

struct counts {
	unsigned long instructions, rmws, syscalls, calls;
};

/* --- counting ----------------------------------------------------------------------------------- */

extern const char __executable_start[], etext[];

static bool is_of_program(uint64_t pc)
{
	return pc >= (uintptr_t)__executable_start && pc < (uintptr_t)etext;
}

static const uint8_t *behind_prefixes(const uint8_t *p, bool *lock)
{
	static const char prefixes[] = "\xf0\x66\xf2\xf3\x26\x2e\x36\x3e\x64\x65";

	*lock = false;
	for (; memchr(prefixes, *p, sizeof(prefixes) - 1); p++)
		*lock |= *p == 0xf0;
	return (*p & 0xf0) == 0x40 ? p + 1 : p; /* REX */
}

static void count_instruction(struct counts *c, uint64_t pc)
{
	bool lock;
	const uint8_t *p = behind_prefixes((const uint8_t *)pc, &lock);
	bool xchg_memory = (p[0] | 1) == 0x87 && p[1] >> 6 != 3;

	c->instructions += is_of_program(pc);
	c->rmws += lock || xchg_memory;
	c->syscalls += p[0] == 0x0f && p[1] == 0x05;
	c->calls += p[0] == 0xe8 || (p[0] == 0xff && (p[1] >> 3 & 7) == 2);
}

static bool is_at_stop(void)
{
	return *(const uint8_t *)tracee.regs.rip == INT3;
}

/* Up to the stop behind the call.  @nth: which of the row's calls it is. */
static struct counts count_call(const struct row *row, unsigned int *nth)
{
	struct counts c = { 0 };
	uint64_t back = 0, last = 0, pc; /* back: where the call returns to */

	while ((pc = tracee.regs.rip) != back && !is_at_stop()) {
		if (!back && (pc == (uintptr_t)row->calls[0] || pc == (uintptr_t)row->calls[1])) {
			back = trace_read(tracee.regs.rsp);
			*nth = pc != (uintptr_t)row->calls[0];
		}
		/* An instruction that repeats itself stops each time. */
		if (back && pc != last)
			count_instruction(&c, pc);
		if (sequence_at(pc))
			trace_forget_sequence();
		trace_step();
		last = pc;
	}
	must(back);
	while (!is_at_stop())
		trace_step();
	return c;
}

/* A call of a fast path as an earlier row has it. */
static const struct counts *counts_of(void *fn, const struct counts *counts)
{
	unsigned int i;

	for (i = 0; i < nr_rows && rows[i].ops == 1; i++)
		if (rows[i].calls[0] == fn)
			return &counts[i];
	must(!"counted already");
	return NULL;
}

static void add(struct counts *to, const struct counts *c, unsigned long times)
{
	to->instructions += c->instructions * times;
	to->rmws += c->rmws * times;
	to->syscalls += c->syscalls * times;
	to->calls += c->calls * times;
}

static void scale(struct counts *c, unsigned long ops)
{
	c->instructions = c->instructions * 1000000 / ops;
	c->rmws = c->rmws * 1000000 / ops;
	c->syscalls = c->syscalls * 1000000 / ops;
}

static bool goes_on(void)
{
	trace_step();
	trace_resume(PTRACE_CONT, 0);
	return !trace_read((uintptr_t)&count_over);
}

/* A call that is not at an edge has taken the fast path. */
static void check_sample(void *fn, const struct counts *c, const struct counts *counts)
{
	const struct counts *fast = counts_of(fn, counts);

	if (!memcmp(c, fast, sizeof(*c)))
		return;
	fprintf(stderr, "\"%s\": a call between edges has %lu instructions, not %lu\n",
		tracee.doing, c->instructions, fast->instructions);
	must(!"the fast path");
}

/* The child is at the first stop of row @r. */
static void count_row(unsigned int r, struct counts *counts)
{
	const struct row *row = &rows[r];
	unsigned long traced[2] = { 0 };
	struct counts c;
	unsigned int nth;

	do {
		c = count_call(row, &nth);
		traced[nth]++;
		if (row->ops > 1 && trace_read((uintptr_t)&count_sample))
			check_sample(row->calls[nth], &c, counts);
		add(&counts[r], &c, 1);
	} while (goes_on());
	if (row->ops == 1) {
		must(traced[0] == 1);
		return;
	}
	for (nth = 0; nth < 2; nth++) {
		must(traced[nth] > row->ops / 2 / 100 && traced[nth] < row->ops / 2 / 10);
		add(&counts[r], counts_of(row->calls[nth], counts), row->ops / 2 - traced[nth]);
	}
	scale(&counts[r], row->ops);
}

/* --- the golden file ---------------------------------------------------------------------------- */

struct line {
	char text[160];
	char mode[16], name[80]; /* empty: a comment */
	struct counts counts;
};

static struct line lines[200];
static unsigned int nr_lines;

static void line_read(struct line *l)
{
	l->mode[0] = l->name[0] = 0;
	if (l->text[0] == '#' || l->text[0] == '\n')
		return;
	must(sscanf(l->text, "%15s %lu %lu %lu %79[^\n]", l->mode, &l->counts.instructions,
		    &l->counts.rmws, &l->counts.syscalls, l->name) == 5);
}

static void golden_read(void)
{
	FILE *f = fopen(golden, "r");

	must(f);
	for (nr_lines = 0; fgets(lines[nr_lines].text, sizeof(lines->text), f); nr_lines++) {
		must(nr_lines < sizeof(lines) / sizeof(*lines) - 1);
		line_read(&lines[nr_lines]);
	}
	must(!ferror(f) && !fclose(f));
}

static void print_counts(FILE *f, const char *mode, const char *name, const struct counts *c)
{
	fprintf(f, "%-9s %9lu %9lu %9lu  %s\n", mode, c->instructions, c->rmws, c->syscalls, name);
}

/* What is there of this mode goes, all else stays. */
static void golden_write(const char *mode, const struct counts *counts)
{
	unsigned int i;
	FILE *f;

	golden_read();
	f = fopen(golden, "w");
	must(f);
	for (i = 0; i < nr_lines; i++)
		if (strcmp(lines[i].mode, mode) != 0)
			fputs(lines[i].text, f);
	for (i = 0; i < nr_rows; i++)
		print_counts(f, mode, rows[i].name, &counts[i]);
	must(!ferror(f) && !fclose(f));
}

static const struct counts *golden_counts(const char *mode, const char *name)
{
	unsigned int i;

	for (i = 0; i < nr_lines; i++)
		if (!strcmp(lines[i].mode, mode) && !strcmp(lines[i].name, name))
			return &lines[i].counts;
	return NULL;
}

static bool is_as_golden(const char *mode, const char *name, const struct counts *c)
{
	const struct counts *g = golden_counts(mode, name);

	if (g && g->instructions == c->instructions && g->rmws == c->rmws &&
	    g->syscalls == c->syscalls)
		return true;
	printf("Not as in counts.golden, which has %s\n", g ? "the second:" : "no such line:");
	print_counts(stdout, mode, name, c);
	if (g)
		print_counts(stdout, mode, name, g);
	return false;
}

static bool are_as_golden(const char *mode, const struct counts *counts)
{
	unsigned int i, there = 0;
	bool same = true;

	golden_read();
	for (i = 0; i < nr_lines; i++)
		there += !strcmp(lines[i].mode, mode);
	for (i = 0; i < nr_rows; i++)
		same &= is_as_golden(mode, rows[i].name, &counts[i]);
	if (there != nr_rows) {
		printf("counts.golden has %u lines for %s, not %u\n", there, mode, nr_rows);
		same = false;
	}
	if (!same)
		printf("If that is as it should be, run this test once with BMA_TEST_GOLDEN=write and "
		       "commit\n%s\n",
		       golden);
	return same;
}

static bool is_to_be_written(void)
{
	const char *what = getenv("BMA_TEST_GOLDEN");

	return what && !strcmp(what, "write");
}

/* --- the test ----------------------------------------------------------------------------------- */

#define RSEQ "rseq"
#define FALLBACK "fallback"
#define NR_ROWS 32

static bool is_fast(const char *mode, const char *name, const struct counts *c)
{
	bool good = !c->syscalls;

	if (!strcmp(mode, RSEQ)) {
		good &= !c->rmws;
#ifdef __OPTIMIZE__
		good &= !c->calls;
#endif
	}
	if (!good)
		printf("%s, %s: not a fast path, with %lu atomic read-modify-writes, %lu system "
		       "calls, %lu calls\n",
		       name, mode, c->rmws, c->syscalls, c->calls);
	return good;
}

static bool count_all(const char *mode)
{
	static struct counts counts[NR_ROWS];
	unsigned int i;
	bool good = true;

	must(nr_rows <= NR_ROWS);
	for (i = 0; i < nr_rows; i++) {
		tracee.doing = rows[i].name;
		count_row(i, counts);
		print_counts(stdout, mode, rows[i].name, &counts[i]);
		if (rows[i].ops == 1)
			good &= is_fast(mode, rows[i].name, &counts[i]);
		if (i + 1 < nr_rows)
			trace_resume(PTRACE_CONT, 0);
	}
	trace_end();
	printf("# %lu steps\n", tracee.steps);
	if (good && golden && is_to_be_written())
		golden_write(mode, counts);
	return good && (!golden || are_as_golden(mode, counts));
}

/* In a process of that mode. */
static bool run(const char *mode)
{
	sequences_read();
	/* Parent and child take turns, which is quickest on one CPU. */
	pin(0);
	must(trace_begin(count_child));
	return count_all(mode);
}

static void end_well_if_rseq(void *arg)
{
	(void)arg;
	port_init();
	_exit(!port_cpu_fast());
}

/* Skip where it cannot be counted at all. */
static void need_counts(void)
{
	need_single_steps();
#ifdef BMA_HOME_JITTER_H
	skip_because("delays at every shared access");
#endif
	if (bpf_rcu_readers_fence_)
		skip_because("no membarrier here");
	if (!may_trace())
		skip_because("ptrace is refused here");
}

static void need_golden(void)
{
	if (!golden)
		skip_because("counts.golden is of gcc 12 with the default options");
}

static void test_rseq(void **state)
{
	(void)state;
	need_counts();
	if (!in_child(end_well_if_rseq, NULL))
		skip_because("no restartable sequences here");
	assert_true(run(RSEQ));
	need_golden();
}

static void test_fallback(void **state)
{
	char env[] = "GLIBC_TUNABLES=glibc.pthread.rseq=0", mode[] = FALLBACK;

	(void)state;
	need_counts();
	assert_true(run_without_membarrier(0, mode, env));
	need_golden();
}

#else

static bool run(const char *mode)
{
	(void)mode;
	return false;
}

static void test_rseq(void **state)
{
	(void)state;
	(void)golden;
	need_single_steps();
}

static void test_fallback(void **state)
{
	test_rseq(state);
}

#endif

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rseq),
		cmocka_unit_test(test_fallback),
	};

	/* Counted is with the CPUs that there are. */
	unsetenv("BMA_CPUS");
	if (argc > 1)
		return !run(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
