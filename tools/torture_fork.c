// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * torture_fork.c - forks, with everything else going on
 *
 * The child has one thread.  It uses what its parent made, makes an allocator of its own, waits for
 * grace periods, and exits.  What it finds it writes where the parent's findings are.
 *
 * liburcu does not allow that where other threads are registered with it: its list of them lies in
 * their memory, and while a grace period runs, on the stack of who runs it.  So where kinds of liburcu
 * take part the child does only what is allowed in any context, which starts no thread that
 * would go on with a grace period; own and trace alone (--kinds) have it all.
 */
#define _GNU_SOURCE
#include "torture.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

/* A child that has not come to its end by then hangs. */
#define CHILD_SECONDS 20

static void use_allocator(uint64_t *random)
{
	struct element *e;
	struct pool pool;

	if (pool_init(&pool, OWN, 0, MIN_SIZE + 8 * below(100, random), false))
		return;
	e = element_get(&pool, GFP_KERNEL);
	if (e)
		element_free_rcu(&pool, e);
	bpf_mem_alloc_destroy(&pool.ma);
}

static bool is_liburcu_used(void)
{
	for (unsigned int i = 0; i < NR_KINDS; i++)
		if (torture.params->kinds[i] && torture.kinds[i].flavor)
			return true;
	return false;
}

/* Polling alone ends a grace period of our own readers. */
static void poll(uint64_t *random)
{
	bpf_rcu_cookie cookie = bpf_rcu_get_state();

	while (!bpf_rcu_poll_state(cookie))
		nap_us(below(500, random));
}

static void child_main(uint64_t *random)
{
	unsigned int i;

	for (i = 0; i < 8; i++) {
		update(any_kind(random), random, false);
		use_own(any_kind(random), random, false);
	}
	if (torture.params->kinds[OWN])
		read_section(&torture.kinds[OWN], random, 10);
	poll(random);
	if (is_liburcu_used())
		return;
	bpf_rcu_synchronize();
	if (one_in(4, random))
		synchronize_rcu_tasks_trace();
	use_allocator(random);
	if (one_in(4, random))
		bpf_rcu_synchronize();
}

static bool wait_for(pid_t child, int *status)
{
	uint64_t start = now_ns();
	pid_t done;

	while (!(done = waitpid(child, status, WNOHANG)) && seconds_since(start) < CHILD_SECONDS)
		nap_us(500);
	return done == child;
}

static void watch(pid_t child)
{
	int status = 0;

	if (!wait_for(child, &status)) {
		torture_fail(F_CHILD, "it hangs");
		kill(child, SIGKILL);
		waitpid(child, &status, 0);
	} else if (WIFSIGNALED(status)) {
		torture_fail(F_CHILD, "it was killed by signal %d", WTERMSIG(status));
	} else if (WEXITSTATUS(status)) {
		torture_fail(F_CHILD, "its exit status is %d", WEXITSTATUS(status));
	}
}

void *run_fork(void *arg)
{
	struct torture_thread *t = arg;
	pid_t child;

	while (going(t)) {
		uint64_t random = next_random(&t->random);

		child = fork();
		if (!child) {
			child_main(&random);
			_exit(EXIT_OK);
		}
		if (child > 0) {
			watch(child);
			count_disturbance(FORK);
		}
		nap_us(below(20000, &t->random));
	}
	return NULL;
}
