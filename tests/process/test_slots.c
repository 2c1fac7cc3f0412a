// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_slots.c - home/process/slots.c and the restartable sequences: one indivisible step each
 *
 * Tokens instead of objects: what is popped here must be what was pushed, each once.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "port.h"
#include "util.h"

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

#define ENTRIES (PORT_MAGAZINE_BYTES / sizeof(void *) - 2)
#define OFFSET BMA_TOP_OFFSET(0, BMA_LOADED)
#define TOKENS 40

/* A magazine: a word that is NULL, then ENTRIES. */
struct magazine {
	uint64_t header;
	void *null;
	bma_obj_t entry[ENTRIES];
} __attribute__((aligned(PORT_MAGAZINE_BYTES)));

static bma_cpu_ptr_t *cpus;
static struct magazine empty_and_full;

#define NO_TOP ((bma_obj_t *)(&empty_and_full + 1))

static struct bma_cpu *block_new(void)
{
	struct bma_cpu *block = calloc(1, sizeof(*block) + sizeof(struct bma_slot));
	int i;

	block->nr_slots = 1;
	for (i = 0; i < BMA_NR_TOPS; i++)
		port_store(&block->slot[0].top[i], NO_TOP, relaxed);
	return block;
}

static void block_show(struct bma_cpu *block, bma_obj_t *top)
{
	port_store(bma_top_at(block, OFFSET), top, release);
}

static bma_obj_t *block_top(struct bma_cpu *block)
{
	return port_load(bma_top_at(block, OFFSET), relaxed);
}

static void *token(uintptr_t nr)
{
	return (void *)(nr + 1);
}

static int begin(void **state)
{
	unsigned int i;

	(void)state;
	cpus = calloc(port_nr_cpus(), sizeof(*cpus));
	for (i = 0; i < port_nr_cpus(); i++)
		port_store(&cpus[i], block_new(), release);
	pin(0);
	return 0;
}

static int end(void **state)
{
	unsigned int i;

	(void)state;
	unpin();
	for (i = 0; i < port_nr_cpus(); i++)
		free(port_load(&cpus[i], relaxed));
	free(cpus);
	return 0;
}

static void test_cpu(void **state)
{
	unsigned int i, index;
	struct bma_cpu *block;

	(void)state;
	for (i = 0; i < nr_cpus_here(); i++) {
		pin(i);
		assert_int_equal(port_cpu(), cpu_here(i));
		assert_true(port_cpu() < port_nr_cpus());
		block = port_cpu_block(cpus, &index);
		assert_int_equal(index, cpu_here(i));
		assert_ptr_equal(block, port_load(&cpus[index], relaxed));
	}
}

/* Nothing to pop, no room to push. */
static void test_no_magazine(void **state)
{
	(void)state;
	assert_null(port_cpu_pop(cpus, OFFSET));
	assert_false(port_cpu_push(cpus, OFFSET, token(0)));
	assert_null(port_cpu_pop(cpus, OFFSET));
	assert_ptr_equal(block_top(port_load(&cpus[cpu_here(0)], relaxed)), NO_TOP);
}

static void test_push_pop(void **state)
{
	static struct magazine m;
	struct bma_cpu *block = port_load(&cpus[cpu_here(0)], relaxed);
	uintptr_t i;

	(void)state;
	block_show(block, m.entry);
	assert_null(port_cpu_pop(cpus, OFFSET));
	for (i = 0; i < ENTRIES; i++) {
		assert_true(port_cpu_push(cpus, OFFSET, token(i)));
		assert_ptr_equal(block_top(block), &m.entry[i + 1]);
		assert_ptr_equal(m.entry[i], token(i));
	}
	assert_false(port_cpu_push(cpus, OFFSET, token(i)));
	for (; i > 0; i--)
		assert_ptr_equal(port_cpu_pop(cpus, OFFSET), token(i - 1));
	assert_null(port_cpu_pop(cpus, OFFSET));
	/* Other tops are not touched. */
	assert_ptr_equal(port_load(&block->slot[0].top[BMA_BY_RCU], relaxed), NO_TOP);
	assert_ptr_equal(port_load(&block->slot[0].top[BMA_PREVIOUS], relaxed), NO_TOP);
}

static void test_replace(void **state)
{
	static struct magazine m;
	struct bma_cpu *block = port_load(&cpus[cpu_here(0)], relaxed), *other = block_new();

	(void)state;
	assert_false(port_cpu_replace(cpus, block, OFFSET, m.entry, m.entry));
	assert_ptr_equal(block_top(block), NO_TOP);
	/* Not this CPU's block. */
	assert_false(port_cpu_replace(cpus, other, OFFSET, NO_TOP, m.entry));
	assert_ptr_equal(block_top(other), NO_TOP);
	if (nr_cpus_here() > 1) {
		pin(1);
		assert_false(port_cpu_replace(cpus, block, OFFSET, NO_TOP, m.entry));
		pin(0);
	}
	assert_true(port_cpu_replace(cpus, block, OFFSET, NO_TOP, m.entry));
	assert_ptr_equal(block_top(block), m.entry);
	free(other);
}

static void test_detach(void **state)
{
	struct bma_cpu *block = port_load(&cpus[cpu_here(0)], relaxed), *fresh = block_new();
	static struct magazine m;

	(void)state;
	block_show(block, m.entry);
	assert_true(port_cpu_push(cpus, OFFSET, token(5)));
	assert_ptr_equal(port_cpu_detach(cpus, (unsigned int)cpu_here(0), fresh), block);
	assert_ptr_equal(port_load(&cpus[cpu_here(0)], relaxed), fresh);
	assert_false(port_cpu_push(cpus, OFFSET, token(6)));
	assert_null(port_cpu_pop(cpus, OFFSET));
	assert_false(port_cpu_replace(cpus, block, OFFSET, m.entry + 1, m.entry));
	assert_ptr_equal(block_top(block), m.entry + 1);
	assert_ptr_equal(m.entry[0], token(5));
	free(block);
}

/* --- somebody on the CPU, somebody from outside ------------------------------------------------ */

/* Tokens that a context has in hand. */
struct hand {
	void *token[TOKENS];
	unsigned int n;
};

struct play {
	unsigned int nth; /* CPU */
	bool signals;
	_Atomic bool stop;
	_Atomic unsigned long steps;
	struct hand hand, handler;
};

static __thread struct play *playing;

static void pop_one(struct hand *h)
{
	void *t = port_cpu_pop(cpus, OFFSET);

	if (t) {
		must(h->n < TOKENS);
		h->token[h->n++] = t;
	}
}

static void push_one(struct hand *h)
{
	if (h->n && port_cpu_push(cpus, OFFSET, h->token[h->n - 1]))
		h->n--;
}

static void on_signal(int sig)
{
	(void)sig;
	pop_one(&playing->handler);
	pop_one(&playing->handler);
	push_one(&playing->handler);
	push_one(&playing->handler);
	push_one(&playing->handler);
}

static timer_t timer_begin(void)
{
	struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1 };
	struct itimerspec often = { .it_interval.tv_nsec = 20000, .it_value.tv_nsec = 20000 };
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	timer_t timer;

	must(!sigaction(SIGUSR1, &action, NULL));
	event.sigev_notify_thread_id = (pid_t)syscall(SYS_gettid);
	must(!timer_create(CLOCK_MONOTONIC, &event, &timer));
	must(!timer_settime(timer, 0, &often, NULL));
	return timer;
}

static void *play(void *arg)
{
	struct play *p = arg;
	uint64_t random = p->nth + 1;
	timer_t timer = NULL;
	int i, n;

	playing = p;
	pin(p->nth);
	if (p->signals)
		timer = timer_begin();
	while (!atomic_load_explicit(&p->stop, memory_order_relaxed)) {
		n = (int)(rnd(&random) % 8);
		for (i = 0; i < n; i++)
			pop_one(&p->hand);
		n = (int)(rnd(&random) % 8);
		for (i = 0; i < n; i++)
			push_one(&p->hand);
		atomic_fetch_add_explicit(&p->steps, 1, memory_order_relaxed);
	}
	if (p->signals)
		must(!timer_delete(timer));
	return NULL;
}

/* Take a CPU's block, see that nobody writes to it any more, and put its tokens in @spare. */
static struct bma_cpu *turn_over(int cpu, struct bma_cpu *fresh)
{
	struct bma_cpu *old = port_cpu_detach(cpus, (unsigned int)cpu, fresh);
	bma_obj_t *top, entries[ENTRIES];
	struct magazine *m;
	int i;

	if (!old)
		return fresh;
	top = block_top(old);
	m = (struct magazine *)(((uintptr_t)top - 1) & ~(uintptr_t)(PORT_MAGAZINE_BYTES - 1));
	memcpy(entries, m->entry, sizeof(entries));
	for (i = 0; i < 50; i++)
		must(port_load((_Atomic(uint64_t) *)(void *)bma_top_at(old, OFFSET), relaxed) ==
		     (uintptr_t)top);
	must(!memcmp(entries, m->entry, (size_t)((char *)top - (char *)m->entry)));
	return old;
}

static unsigned int count_hand(struct hand *h, unsigned int *seen)
{
	unsigned int i;

	for (i = 0; i < h->n; i++)
		seen[(uintptr_t)h->token[i] - 1]++;
	return h->n;
}

static void count_block(struct bma_cpu *block, unsigned int *seen)
{
	bma_obj_t *top = block_top(block);
	struct magazine *m;
	bma_obj_t *at;

	if (top == NO_TOP)
		return;
	m = (struct magazine *)(((uintptr_t)top - 1) & ~(uintptr_t)(PORT_MAGAZINE_BYTES - 1));
	for (at = m->entry; at < top; at++)
		seen[(uintptr_t)*at - 1]++;
}

static void count_all(struct play *p, int players, struct bma_cpu *spare, int cpu)
{
	unsigned int seen[TOKENS] = { 0 };
	int i;

	for (i = 0; i < players; i++) {
		count_hand(&p[i].hand, seen);
		count_hand(&p[i].handler, seen);
	}
	count_block(spare, seen);
	count_block(port_load(&cpus[cpu], relaxed), seen);
	for (i = 0; i < TOKENS; i++)
		assert_int_equal(seen[i], 1);
}

/*
 * @players on one CPU pop and push, the main thread turns the CPU's block over all the time: between the two
 * blocks, one on the CPU and one in the reclaimer's hand, no token gets lost nor comes twice.
 */
static void turn_over_under(int players, bool signals)
{
	static struct magazine m[2];
	struct bma_cpu *spare = block_new();
	static struct play p[4];
	double until = now() + (is_long() ? 20 : 0.4);
	int cpu = cpu_here(0), i, turns_made = 0;
	pthread_t threads[4];
	uintptr_t t;

	block_show(port_load(&cpus[cpu], relaxed), m[0].entry);
	for (t = 0; t < TOKENS; t++)
		assert_true(port_cpu_push(cpus, OFFSET, token(t)));
	block_show(spare, m[1].entry);
	unpin();
	for (i = 0; i < players; i++) {
		memset(&p[i], 0, sizeof(p[i]));
		p[i].signals = signals;
		thread_start(&threads[i], play, &p[i]);
	}
	while (now() < until || !turns_made) {
		struct bma_cpu *old = turn_over(cpu, spare);

		turns_made += old != spare;
		spare = old;
		if (turns_made % 7 == 0)
			sched_yield();
	}
	for (i = 0; i < players; i++)
		atomic_store(&p[i].stop, true);
	for (i = 0; i < players; i++)
		thread_join(threads[i]);
	printf("# %d turns, %lu steps of the first thread\n", turns_made, atomic_load(&p[0].steps));
	assert_true(atomic_load(&p[0].steps) > 0);
	count_all(p, players, spare, cpu);
	free(spare);
}

static void test_turn_over(void **state)
{
	(void)state;
	turn_over_under(1, false);
}

static void test_turn_over_shared(void **state)
{
	(void)state;
	turn_over_under(3, false);
}

static void test_turn_over_signals(void **state)
{
	(void)state;
	turn_over_under(2, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_cpu, begin, end),
		cmocka_unit_test_setup_teardown(test_no_magazine, begin, end),
		cmocka_unit_test_setup_teardown(test_push_pop, begin, end),
		cmocka_unit_test_setup_teardown(test_replace, begin, end),
		cmocka_unit_test_setup_teardown(test_detach, begin, end),
		cmocka_unit_test_setup_teardown(test_turn_over, begin, end),
		cmocka_unit_test_setup_teardown(test_turn_over_shared, begin, end),
		cmocka_unit_test_setup_teardown(test_turn_over_signals, begin, end),
	};

	home_slots_init();
	printf("# %s\n", port_cpu_fast() ? "restartable sequences" : "fallback");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
