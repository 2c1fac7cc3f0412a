// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * torture_disturb.c - signals, migration, threads that come and go
 *
 * The handler of the signal does what threads do, but for what may block: allocates, frees, replaces
 * elements, reads; so it nests in any of these, in liburcu, and in itself.  It has random numbers of
 * its own, and sets errno, which the library must keep.
 */
#define _GNU_SOURCE
#include "torture.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAX_NESTING 3
#define ODD_ERRNO 4711
#define SHORT_LIVES 64

static __thread unsigned int nesting;
static _Atomic uint64_t signal_nr;

static void on_signal(int sig)
{
	uint64_t random = stream(1000000 + atomic_fetch_add(&signal_nr, 1));
	int saved = errno;
	struct kind_state *kind = any_kind(&random);

	(void)sig;
	if (nesting == MAX_NESTING)
		return;
	nesting++;
	errno = ODD_ERRNO;
	if (one_in(2, &random))
		use_own(kind, &random, false);
	if (one_in(2, &random))
		update(kind, &random, false);
	if (!kind->flavor && one_in(2, &random))
		read_section(kind, &random, 1);
	if (errno != ODD_ERRNO)
		torture_fail(F_ERRNO, "kind %s: it is %d", kind_names[kind->kind], errno);
	errno = saved;
	nesting--;
}

void catch_signals(void)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART | SA_NODEFER };

	sigemptyset(&action.sa_mask);
	sigaction(SIGUSR1, &action, NULL);
}

/* A thread that stays until this one has ended; NULL if it has not begun. */
static struct torture_thread *any_thread(uint64_t *random)
{
	struct torture_thread *t = &torture_threads[below(nr_torture_threads, random)];

	return !t->disturbs && atomic_load(&t->started) ? t : NULL;
}

void *run_signals(void *arg)
{
	struct torture_thread *t = arg, *whom;

	while (going(t)) {
		whom = any_thread(&t->random);
		if (whom && !pthread_kill(whom->thread, SIGUSR1))
			count_disturbance(SIGNALS);
		if (one_in(4, &t->random))
			nap_us(below(200, &t->random));
	}
	return NULL;
}

/* The affinity of who disturbs is the one that the process was given. */
static void move(pid_t tid, uint64_t *random)
{
	unsigned int i, nr = usable_cpus();
	cpu_set_t set;

	CPU_ZERO(&set);
	for (i = 0; i < nr; i++)
		CPU_SET(usable_cpu(i), &set);
	if (!one_in(4, random)) {
		CPU_ZERO(&set);
		CPU_SET(usable_cpu(below(nr, random)), &set);
	}
	sched_setaffinity(tid, sizeof(set), &set);
}

void *run_migrate(void *arg)
{
	struct torture_thread *t = arg, *whom;

	while (going(t)) {
		whom = any_thread(&t->random);
		if (whom) {
			move(atomic_load(&whom->tid), &t->random);
			count_disturbance(MIGRATE);
		}
		nap_us(below(2000, &t->random));
	}
	return NULL;
}

struct short_life {
	pthread_t thread;
	uint64_t random;
};

/* Our own readers need not register, and may exit without a word, even inside a section. */
static void *live_shortly(void *arg)
{
	struct short_life *life = arg;
	struct kind_state *kind = any_kind(&life->random);

	update(kind, &life->random, false);
	kind_register(kind);
	read_section(kind, &life->random, 100);
	kind_unregister(kind);
	use_own(kind, &life->random, false);
	if (!kind->flavor && one_in(16, &life->random))
		section_enter(kind);
	return NULL;
}

static unsigned int start_some(struct short_life *lives, uint64_t *random)
{
	unsigned int n, nr = 1 + below(one_in(16, random) ? SHORT_LIVES : 4, random);

	for (n = 0; n < nr; n++) {
		lives[n].random = next_random(random);
		if (thread_create(&lives[n].thread, live_shortly, &lives[n]))
			break;
	}
	return n;
}

void *run_churn(void *arg)
{
	struct short_life lives[SHORT_LIVES];
	struct torture_thread *t = arg;
	unsigned int n;

	while (going(t)) {
		n = start_some(lives, &t->random);
		while (n--) {
			pthread_join(lives[n].thread, NULL);
			count_disturbance(CHURN);
		}
		nap_us(below(5000, &t->random));
	}
	return NULL;
}
