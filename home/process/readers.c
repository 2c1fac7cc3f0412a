// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * readers.c - what core's own readers need of the system
 *
 * Barrier SCAN (core/rcu.c) is membarrier(PRIVATE_EXPEDITED): a full barrier on every CPU that runs
 * a thread of this process, so that readers need a compiler barrier only.  Where it cannot be had
 * (old kernel, filtered by seccomp) readers use real barriers.  Which of the two is decided once,
 * before main: bpf_rcu_readers_fence_ begins as true, which is safe with either, and becomes false
 * only when the command is registered and has been seen to work.  MEMBARRIER_CMD_GLOBAL is no
 * substitute: it fails or does nothing under nohz_full and with one CPU online.
 *
 * A filter that is installed later makes the command fail for good.  Then no grace period of our
 * own readers can be shown to be over: that is reported, and what waits for them stays.
 */
#define _GNU_SOURCE
#include <linux/membarrier.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "port.h"
#include "private.h"

#include <bma/rcu.h>

bool bpf_rcu_readers_fence_ = true;
__thread struct bpf_rcu_reader_ *bpf_rcu_this_reader_;

static bool membarrier(int cmd)
{
	int saved = errno;
	bool done = !syscall(__NR_membarrier, cmd, 0, 0);

	errno = saved;
	return done;
}

__attribute__((constructor)) static void choose(void)
{
	if (membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) &&
	    membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED))
		__atomic_store_n(&bpf_rcu_readers_fence_, false, __ATOMIC_RELAXED);
}

bool port_readers_fence(void)
{
	static _Atomic bool reported;

	if (__atomic_load_n(&bpf_rcu_readers_fence_, __ATOMIC_RELAXED)) {
		port_barrier_full();
		return true;
	}
	if (membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED))
		return true;
	if (!port_xchg(&reported, true, relaxed))
		port_report("bma",
			    "membarrier() fails now: grace periods of bpf_rcu readers cannot end",
			    NULL, 0, 0);
	return false;
}

uint32_t port_thread_id(void)
{
	return (uint32_t)syscall(SYS_gettid);
}

/* The first thread's number lives as long as the process; whether it does, its state says. */
static bool first_thread_dead(void)
{
	char stat[512];
	ssize_t len = home_read_file("/proc/self/stat", stat, sizeof(stat));

	/* "pid (name) state": the name may have anything in it, so look from behind. */
	while (len > 0 && stat[len - 1] != ')')
		len--;
	return len > 0 && len + 1 < (ssize_t)sizeof(stat) &&
	       (stat[len + 1] == 'Z' || stat[len + 1] == 'X');
}

bool port_thread_dead(uint32_t id)
{
	int saved = errno;
	bool dead = syscall(SYS_tgkill, getpid(), id, 0) && errno == ESRCH;

	errno = saved;
	return dead || (id == (uint32_t)getpid() && first_thread_dead());
}

void port_yield(void)
{
	sched_yield();
}
