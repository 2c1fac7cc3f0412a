// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * bench_destroy.c - `bma bench destroy`: how long it takes to be rid of an allocator
 *
 * A reader stays inside while objects are freed after readers, so that all of them are in limbo.
 * Then comes the teardown.  Of bma that is bpf_mem_alloc_destroy(), called with the reader still
 * inside, and what its reclaimer does when the reader has left.  With malloc one has to wait until
 * every callback has run, before the code or the data that they need may go: urcu's barrier, or
 * ck_epoch_barrier(), called when the reader has left, as it would wait for it.
 */
#define _GNU_SOURCE
#include "source.h"

#include <errno.h>
#include <semaphore.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <urcu/urcu-memb.h>

#include <bma/rcu.h>
#include <bma/stats.h>

#include "bench_destroy.h"

enum { CALLER, UNTIL_BACK, CPU, LEFT };

static const struct bench_figure figures[] = {
	[CALLER] = { "caller ms", "caller_ns", 1e6, 0, true },
	[UNTIL_BACK] = { "until all is back ms", "until_back_ns", 1e6, 0, true },
	[CPU] = { "CPU ms", "cpu_ns", 1e6, 0, false },
	[LEFT] = { "RSS left MiB", "rss_left_bytes", 1 << 20, 0, false },
};

/* A thread that stays inside a read section until it is told to leave. */
struct holder {
	const struct destroyer *how;
	sem_t inside, leave;
	pthread_t thread;
};

static void wait_for(sem_t *semaphore)
{
	while (sem_wait(semaphore) && errno == EINTR)
		;
}

static void *holder_main(void *arg)
{
	struct holder *holder = arg;

	holder->how->hold();
	sem_post(&holder->inside);
	wait_for(&holder->leave);
	holder->how->let_go();
	return NULL;
}

static void start_holder(struct holder *holder, const struct destroyer *how)
{
	holder->how = how;
	sem_init(&holder->inside, 0, 0);
	sem_init(&holder->leave, 0, 0);
	if (pthread_create(&holder->thread, NULL, holder_main, holder)) {
		complain("cannot start a thread");
		_exit(EXIT_FAILED);
	}
	wait_for(&holder->inside);
}

/* Returns when it has left. */
static void end_holder(struct holder *holder)
{
	sem_post(&holder->leave);
	pthread_join(holder->thread, NULL);
}

static uint64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void tear_down(struct worker *t, struct holder *holder, double *values)
{
	const struct destroyer *how = holder->how;
	uint64_t start_ns, start_cpu_ns;

	if (!how->returns_at_once)
		end_holder(holder);
	start_ns = now_ns();
	start_cpu_ns = cpu_ns();
	how->destroy(t);
	values[CALLER] = (double)(now_ns() - start_ns);
	if (how->returns_at_once) {
		end_holder(holder);
		how->wait_until_back();
	}
	values[UNTIL_BACK] = (double)(now_ns() - start_ns);
	values[CPU] = (double)(cpu_ns() - start_cpu_ns);
}

static bool fill(struct worker *t, unsigned long nr)
{
	const struct source *source = t->work->source;

	for (unsigned long i = 0; i < nr; i++) {
		void *object = source->alloc(t);

		if (!object)
			return no_memory(t);
		touch(object);
		source->retire(t, object);
	}
	return true;
}

static enum exit_code run_destroy(const struct bench_run *run)
{
	const struct destroyer *how = run->who->how;
	struct work work = { .run = run, .source = how->source };
	struct role role = { .reads = false };
	struct worker t = { .work = &work, .role = &role, .size = run->params.size };
	uint64_t memory = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t before = rss_exact(), left;
	struct holder holder;

	/* With its headers, an object of malloc's may take 32 bytes more. */
	if (run->at->n * (run->params.size + 32) > memory / 4)
		return bench_cannot(run, "it would take too much memory");
	if (how->source->open && !how->source->open(&work))
		return EXIT_FAILED;
	if (how->source->enter && !how->source->enter(&t))
		return bench_fault(run, "no memory for a thread's record");
	start_holder(&holder, how);
	if (!fill(&t, run->at->n))
		return EXIT_FAILED;
	tear_down(&t, &holder, run->result->values);
	left = rss_exact();
	run->result->values[LEFT] = left > before ? (double)(left - before) : 0;
	return EXIT_OK;
}

/* --- how each is torn down -------------------------------------------------------------------- */

static void bma_destroy(struct worker *t)
{
	(void)t;
	bpf_mem_alloc_destroy(&source_ma);
}

static void bma_wait_until_back(void)
{
	const struct timespec pause = { .tv_nsec = 200000 };
	struct bpf_mem_stats stats;

	for (bpf_mem_process_stats(&stats); stats.dying; bpf_mem_process_stats(&stats))
		nanosleep(&pause, NULL);
}

static void bma_hold(void)
{
	bpf_rcu_read_lock();
}

static void bma_let_go(void)
{
	bpf_rcu_read_unlock();
}

static const struct destroyer destroy_bma = {
	.source = &source_bma_free_rcu,
	.returns_at_once = true,
	.hold = bma_hold,
	.let_go = bma_let_go,
	.destroy = bma_destroy,
	.wait_until_back = bma_wait_until_back,
};

static void memb_hold(void)
{
	urcu_memb_register_thread();
	urcu_memb_read_lock();
}

static void memb_let_go(void)
{
	urcu_memb_read_unlock();
	urcu_memb_unregister_thread();
}

static void memb_destroy(struct worker *t)
{
	(void)t;
	urcu_memb_barrier();
}

static const struct destroyer destroy_call_rcu = {
	.source = &source_call_rcu,
	.hold = memb_hold,
	.let_go = memb_let_go,
	.destroy = memb_destroy,
};

static const struct bench_case cases[] = {
	{ .name = "nothing in limbo", .n = 0 },
	{ .name = "10^4 objects in limbo", .n = 10000 },
	{ .name = "10^6 objects in limbo", .n = 1000000 },
	{ .name = "10^7 objects in limbo", .n = 10000000 },
};

static const struct bench_contestant contestants[] = {
	{ .name = "bma", .program = PROGRAM_SHARED, .how = &destroy_bma },
	EACH_MALLOC(" + call_rcu", &destroy_call_rcu),
	EACH_MALLOC_UNLESS(CK_MISSING, " + ck_epoch_call", &destroy_ck_epoch),
};

const struct bench destroy_bench = {
	.name = "destroy",
	.summary = "be rid of an allocator, with objects in limbo",
	.explain =
		"\"caller\" is the time in which the caller cannot go on; the others are until all "
		"memory is back.\nA run takes as long as it does, whatever --seconds.",
	BENCH_TABLES(figures, cases, contestants),
	.defaults = { .threads = 1, .readers = 1, .size = DEFAULT_SIZE, .rounds = 3, .seconds = 1 },
	.size_min = 1,
	.size_max = BPF_MEM_ALLOC_SIZE_MAX,
	.run = run_destroy,
};
