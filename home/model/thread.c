// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * thread.c - threads as coroutines
 *
 * A thread runs from one point to the next: the search resumes it, it does what it stood before, and
 * goes on to the next point.  All points are in the home: shared accesses, steps on a CPU, pages, sleeps.
 *
 * A signal handler runs on its thread's stack, from a point of it to its own end; it has points, too, so
 * other threads may go on meanwhile.
 *
 * Stacks lie at fixed places, so that a copy of what is in use of one is all there is to keep.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "private.h"

#ifndef __x86_64__
#error "the switch of stacks is written for x86-64"
#endif

struct model model;
struct explorer *explorer;

bool bpf_rcu_readers_fence_;
__thread struct bpf_rcu_reader_ *bpf_rcu_this_reader_;

static char *stacks;

/* Keep what a call must leave alone, and the stack; go on where @to did the same. */
void model_switch(void **from, void *to);
__asm__(".text\n"
	".globl model_switch\n"
	".type model_switch, @function\n"
	"model_switch:\n"
	"	push %rbp\n"
	"	push %rbx\n"
	"	push %r12\n"
	"	push %r13\n"
	"	push %r14\n"
	"	push %r15\n"
	"	mov %rsp, (%rdi)\n"
	"	mov %rsi, %rsp\n"
	"	pop %r15\n"
	"	pop %r14\n"
	"	pop %r13\n"
	"	pop %r12\n"
	"	pop %rbx\n"
	"	pop %rbp\n"
	"	ret\n"
	".size model_switch, . - model_switch\n");

void threads_map(void)
{
	stacks = mmap(NULL, MODEL_THREADS * STACK_BYTES, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (stacks == MAP_FAILED)
		abort();
}

char *thread_stack_top(unsigned int nr)
{
	return stacks + (nr + 1) * STACK_BYTES;
}

int model_self(void)
{
	return model.self;
}

/* Can no thread but @nr go on?  Two that ask this about each other both can. */
bool others_stand(unsigned int nr)
{
	const struct model_thread *t;
	unsigned int i;

	for (i = 0; i < model.nr_threads; i++) {
		t = &model.thread[i];
		if (i == nr || t->done)
			continue;
		if (model.asked & 1u << i)
			continue;
		model.asked |= 1u << nr;
		if (!t->ready || t->ready(t->ready_arg)) {
			model.asked &= ~(1u << nr);
			return false;
		}
		model.asked &= ~(1u << nr);
	}
	return true;
}

/* To the search; back when that resumes this thread. */
static void leave(void)
{
	struct model_thread *t = self();

	model_switch(&t->sp, explorer->sp);
}

void point(const struct model_site *site)
{
	struct model_thread *t;
	void (*handler)(void);

	if (model.self < 0)
		return;
	t = self();
	t->site = site;
	leave();
	while (t->deliver) {
		handler = t->handler;
		t->handler = NULL; /* it comes once */
		t->deliver = false;
		handler();
		t->site = site;
		leave();
	}
}

void model_point(const char *what)
{
	struct model_site site = { what, "" };

	point(&site);
}

void model_wait(const char *what, bool (*ready)(void *arg), void *arg)
{
	struct model_site site = { what, "sleeps" };
	struct model_thread *t;

	if (model.self < 0) {
		if (!ready(arg))
			model_fail("sleeps for ever, alone");
		return;
	}
	t = self();
	/* The system switches it away, which is a barrier. */
	late_all_go(t);
	t->ready = ready;
	t->ready_arg = arg;
	point(&site);
	t->ready = NULL;
}

/* One of @n, each in turn while there is some of @budget left; any but 0 takes one of it. */
unsigned int choose(unsigned int n, unsigned int *budget)
{
	struct model_thread *t;

	if (model.self < 0 || !*budget)
		return 0;
	t = self();
	t->choices = n;
	leave();
	t->choices = 0;
	if (t->choice)
		--*budget;
	return t->choice;
}

void model_fail(const char *what)
{
	if (!explorer->failure)
		explorer->failure = what;
	if (model.self >= 0)
		leave();
}

void model_daemon(void)
{
	self()->daemon = true;
}

void model_end(void)
{
	self()->done = true;
	leave();
}

static void begin(void)
{
	static const struct model_site site = { "thread", "begins" };

	point(&site);
	self()->fn();
	model_end();
}

void thread_start(unsigned int nr, void (*fn)(void), void (*handler)(void))
{
	struct model_thread *t = &model.thread[nr];
	void **sp = (void **)thread_stack_top(nr);

	memset(sp - STACK_BYTES / sizeof(*sp), 0, STACK_BYTES);
	t->fn = fn;
	t->handler = handler;
	t->cpu = nr % model.nr_cpus;
	/* What model_switch() pops, with the stack as a call leaves it. */
	*--sp = NULL;
	*--sp = (void *)begin;
	t->sp = sp - 6;
}

/* What is below the stack is left from calls that are over; it must not tell states apart. */
static void wipe_below(struct model_thread *t)
{
	char *low = (char *)t->sp - 1024;

	memset(low, 0, 1024);
}

void thread_resume(unsigned int nr)
{
	struct model_thread *t = &model.thread[nr];

	model.self = (int)nr;
	model.current = (int)nr;
	bpf_rcu_this_reader_ = t->reader;
	model_switch(&explorer->sp, t->sp);
	t->reader = bpf_rcu_this_reader_;
	model.self = -1;
	wipe_below(t);
}
