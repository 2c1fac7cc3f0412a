// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * stall.c - readers that hold up a grace period
 *
 * The reclaimer comes by after each round, so at least each tick while somebody
 * waits for a grace period. A domain whose same next grace period has been
 * waited for since longer than the stall time is reported, once.
 *
 * Held by: tests/process/test_rcu.c.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <time.h>

#include <bma/rcu.h>
#include <bma/stats.h>

#include "port.h"
#include "private.h"

#define NR_WATCHED 32

static struct {
	uint64_t completed;
	uint64_t since; /* ms; 0: nobody waited when we last looked */
	bool reported;
} watched[NR_WATCHED];

static unsigned int stall_ms = 1000;
static void (*report)(const struct bpf_rcu_stall *stall, void *ctx);
static void *report_ctx;

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void report_on_stderr(const struct bpf_rcu_stall *stall)
{
	char text[200], who[32] = "";

	if (stall->tid)
		snprintf(who, sizeof(who), " of thread %d", stall->tid);
	snprintf(text, sizeof(text),
		 "bma: a reader%s holds up a grace period of %s for %lu ms; %zu "
		 "bytes wait\n",
		 who, stall->domain, stall->ms, stall->limbo_bytes);
	home_write(text);
}

static void tell(unsigned int n, struct bma_gp *gp, uint64_t ms)
{
	static const char *const names[] = { "rcu", "tasks trace" };
	struct bpf_mem_stats stats;
	struct bpf_rcu_stall stall = {
		.domain = n < 2 ? names[n] : "liburcu",
		.ms = ms,
		.tid = (int)bma_gp_holder(gp),
	};

	bpf_mem_process_stats(&stats);
	stall.limbo_bytes = stats.bytes_waiting_rcu + stats.bytes_waiting_ttrace;
	if (report)
		report(&stall, report_ctx);
	else
		report_on_stderr(&stall);
}

static void check(unsigned int n, struct bma_gp *gp, uint64_t now)
{
	uint64_t completed = port_load(&gp->completed, relaxed);

	if (!bma_gp_wanted(gp)) {
		watched[n].since = 0;
	} else if (!watched[n].since || watched[n].completed != completed) {
		watched[n].since = now;
		watched[n].completed = completed;
		watched[n].reported = false;
	} else if (!watched[n].reported && stall_ms && now - watched[n].since >= stall_ms) {
		watched[n].reported = true;
		tell(n, gp, now - watched[n].since);
	}
}

void home_stall_check(void)
{
	uint64_t now = now_ms();
	struct bma_gp *gp;
	unsigned int n;

	for (n = 0; n < NR_WATCHED && (gp = bma_gp_nth(n)); n++)
		check(n, gp, now);
}

void bpf_rcu_set_stall_time(unsigned int ms)
{
	port_reclaim_lock();
	stall_ms = ms;
	port_reclaim_unlock();
}

void bpf_rcu_set_stall_report(void (*fn)(const struct bpf_rcu_stall *stall, void *ctx), void *ctx)
{
	port_reclaim_lock();
	report = fn;
	report_ctx = ctx;
	port_reclaim_unlock();
}
