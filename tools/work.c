// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * work.c - threads that allocate, free and read, from one source, for a time
 */
#define _GNU_SOURCE
#include "work.h"
#include "source.h"

#include <dirent.h>
#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const struct timespec moment = { .tv_nsec = 1000000 };

/* The part of a run's time that comes before it. */
#define WARM_UP 0.2

/* A source whose resident set is this part of the machine's memory is stopped. */
#define MEMORY_PART 4

static uint64_t cpu_ns(clockid_t clock)
{
	struct timespec ts = { 0 };

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

void work_fault(struct work *work, const char *what)
{
	atomic_store(&work->phase, WORK_IS_OVER);
	if (!atomic_exchange(&work->failed, true))
		bench_fault(work->run, "%s", what);
}

void pin_to_cpu(unsigned int index)
{
	unsigned int cpu = usable_cpu(index);
	cpu_set_t *set = CPU_ALLOC(cpu + 1);
	size_t bytes = CPU_ALLOC_SIZE(cpu + 1);

	if (!set)
		return;
	CPU_ZERO_S(bytes, set);
	CPU_SET_S(cpu, bytes, set);
	/* Where it is not allowed the scheduler does about the same. */
	pthread_setaffinity_np(pthread_self(), bytes, set);
	CPU_FREE(set);
}

static void start_counting(struct worker *t)
{
	t->start_ns = now_ns();
	t->start_cpu_ns = cpu_ns(CLOCK_THREAD_CPUTIME_ID);
	t->done = 0;
	if (t->allocs) {
		memset(t->allocs, 0, sizeof(*t->allocs));
		memset(t->retires, 0, sizeof(*t->retires));
	}
}

static void work(struct worker *t)
{
	unsigned int phase;

	while ((phase = atomic_load_explicit(&t->work->phase, memory_order_relaxed)) !=
	       WORK_IS_OVER) {
		if (phase == WORK_COUNTS && !t->start_ns)
			start_counting(t);
		t->done += t->role->step(t);
	}
	/* On a busy machine the whole run may pass while a thread waits for the CPU. */
	if (!t->start_ns && !atomic_load(&t->work->failed)) {
		start_counting(t);
		t->done += t->role->step(t);
	}
	t->end_ns = now_ns();
	t->cpu_ns = cpu_ns(CLOCK_THREAD_CPUTIME_ID) - t->start_cpu_ns;
}

static void give_back(struct worker *t)
{
	for (size_t i = 0; i < t->nr; i++) {
		if (t->objects[i])
			t->work->source->retire(t, t->objects[i]);
	}
}

static void *worker_main(void *arg)
{
	struct worker *t = arg;
	const struct source *source = t->work->source;

	t->tid = gettid();
	if (t->role->pinned)
		pin_to_cpu(t->id);
	if (source->enter && !source->enter(t)) {
		complain("a thread cannot be one of the source's");
		_exit(EXIT_FAILED);
	}
	atomic_fetch_add(&t->work->entered, 1);
	work(t);
	if (t->role->finish)
		t->role->finish(t);
	if (!t->role->reads)
		give_back(t);
	if (source->leave)
		source->leave(t);
	return NULL;
}

static void shuffle(uint32_t *order, size_t nr)
{
	uint64_t random = 1;

	for (size_t i = 0; i < nr; i++) {
		size_t other = next_random(&random) % (i + 1);

		order[i] = order[other];
		order[other] = (uint32_t)i;
	}
}

static void free_workers(struct worker *workers, size_t nr)
{
	for (size_t i = 0; workers && i < nr; i++) {
		free(workers[i].objects);
		free(workers[i].order);
	}
	free(workers);
}

static bool make_worker(struct worker *t, struct work *work, const struct role *role,
			unsigned int id)
{
	*t = (struct worker){
		.work = work,
		.role = role,
		.size = work->run->params.size,
		.objects = calloc(work->nr, sizeof(*t->objects)),
		.order = calloc(work->nr, sizeof(*t->order)),
		.nr = work->nr,
		.channel = work->channels ? &work->channels[id / 2] : NULL,
		.allocs = work->allocs,
		.retires = work->retires,
		.overhead = work->allocs ? ticks_overhead() : 0,
		.id = id,
	};
	if (!t->objects || !t->order)
		return false;
	shuffle(t->order, t->nr);
	return true;
}

/* Fewer threads would be another benchmark: without one the run is over. */
static void start(struct worker *t)
{
	int err = pthread_create(&t->thread, NULL, worker_main, t);

	if (!err)
		return;
	complain("cannot start a thread: %s", strerror(err));
	_exit(EXIT_FAILED);
}

static bool took_too_much(void)
{
	uint64_t memory = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);

	return rss_now() > memory / MEMORY_PART;
}

/* A look at memory every millisecond, but only where the benchmark is about that. */
static void look(struct work *work, struct work_sum *sum)
{
	double limbo;

	if (!work->watches_limbo)
		return;
	if (work->source->limbo) {
		limbo = (double)work->source->limbo(work);
		if (isnan(sum->limbo_peak) || limbo > sum->limbo_peak)
			sum->limbo_peak = limbo;
	}
	if (took_too_much())
		work->run->result->stopped = true;
}

static void wait_for(struct work *work, double seconds, struct work_sum *sum)
{
	uint64_t start_ns = now_ns();

	while (atomic_load(&work->phase) != WORK_IS_OVER && !work->run->result->stopped &&
	       seconds_since(start_ns) < seconds) {
		nanosleep(&moment, NULL);
		look(work, sum);
	}
}

static void add_up(struct worker *workers, size_t nr, struct work_sum *sum)
{
	uint64_t first = UINT64_MAX, last = 0;

	for (size_t i = 0; i < nr; i++) {
		const struct worker *t = &workers[i];

		if (t->role->reads) {
			sum->reads += t->done;
			continue;
		}
		sum->cpu_seconds += (double)t->cpu_ns / 1e9;
		sum->operations += (double)t->done;
		first = t->start_ns < first ? t->start_ns : first;
		last = t->end_ns > last ? t->end_ns : last;
	}
	sum->seconds = (double)(last - first) / 1e9;
}

static bool is_worker(const struct worker *workers, size_t nr, pid_t thread)
{
	for (size_t i = 0; i < nr; i++) {
		if (workers[i].tid == thread)
			return true;
	}
	return false;
}

/* As glibc makes it for a thread of its own; that of the process is behind by as much as a tick. */
static clockid_t clock_of(pid_t thread)
{
	return (clockid_t)(~(unsigned int)thread << 3 | 6);
}

/* CPU time so far of the threads that are the source's: not of workers, and not of this one. */
static double background_cpu(const struct worker *workers, size_t nr)
{
	DIR *threads = opendir("/proc/self/task");
	const struct dirent *entry;
	uint64_t ns = 0;

	while (threads && (entry = readdir(threads))) {
		pid_t thread = (pid_t)atoi(entry->d_name);

		if (thread && thread != gettid() && !is_worker(workers, nr, thread))
			ns += cpu_ns(clock_of(thread));
	}
	if (threads)
		closedir(threads);
	return (double)ns / 1e9;
}

static void run_workers(struct work *work, struct worker *workers, size_t nr, struct work_sum *sum)
{
	double seconds = work->run->params.seconds;
	double cpu;

	*sum = (struct work_sum){ .limbo_peak = NAN, .rss_before = rss_now() };
	for (size_t i = 0; i < nr; i++)
		start(&workers[i]);
	while (atomic_load(&work->entered) < nr)
		nanosleep(&moment, NULL);
	wait_for(work, seconds * WARM_UP, sum);
	cpu = background_cpu(workers, nr);
	/* A worker that has failed must not be told to go on. */
	atomic_compare_exchange_strong(&work->phase, &(unsigned int){ WORK_WARMS_UP }, WORK_COUNTS);
	wait_for(work, seconds, sum);
	sum->cpu_seconds = background_cpu(workers, nr) - cpu;
	atomic_store(&work->phase, WORK_IS_OVER);
	for (size_t i = 0; i < nr; i++)
		pthread_join(workers[i].thread, NULL);
	sum->rss_peak = rss_high_water();
	add_up(workers, nr, sum);
}

static enum exit_code run_open(struct work *work, struct worker *workers, size_t nr,
			       struct work_sum *sum)
{
	const struct source *source = work->source;

	if (source->open && !source->open(work))
		return EXIT_FAILED;
	run_workers(work, workers, nr, sum);
	if (source->close)
		source->close(work);
	if (atomic_load(&work->failed))
		return EXIT_FAILED;
	if (!sum->operations)
		return bench_fault(work->run, "nothing was done in %g s",
				   work->run->params.seconds);
	return EXIT_OK;
}

enum exit_code work_run(struct work *work, const struct role *roles, size_t nr_roles,
			struct work_sum *sum)
{
	enum exit_code code = EXIT_OK;
	struct worker *workers;
	size_t nr = 0, i = 0;

	for (size_t r = 0; r < nr_roles; r++)
		nr += roles[r].nr;
	workers = aligned_alloc(CACHE_LINE, nr * sizeof(*workers));
	for (size_t r = 0; workers && r < nr_roles; r++) {
		for (unsigned int id = 0; id < roles[r].nr; id++) {
			if (!make_worker(&workers[i++], work, &roles[r], id))
				code = EXIT_FAILED;
		}
	}
	if (workers && code == EXIT_OK)
		code = run_open(work, workers, nr, sum);
	else
		code = bench_fault(work->run, "no memory for the threads");
	free_workers(workers, i);
	return code;
}
