// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * bench_flood_run.c - one run of flood with one contestant
 *
 * The clock runs from the start of the first updater to the moment when the last one has done its
 * last pair; what an updater then does to have its queue freed is not counted.
 */
#define _GNU_SOURCE
#include "bench_flood.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* A contestant whose resident set is this part of the machine's memory is stopped. */
#define MEMORY_PART 4

bool flood_fault(struct flood *flood, const char *what)
{
	if (!atomic_exchange(&flood->failed, true))
		complain("%s: %s", flood->run->who->name, what);
	return false;
}

static void work(struct flood_thread *t)
{
	while (!atomic_load_explicit(&t->flood->stop, memory_order_relaxed)) {
		if (!t->role->step(t)) {
			atomic_store(&t->flood->stop, true);
			break;
		}
		t->done += FLOOD_BATCH;
	}
}

static void *thread_main(void *arg)
{
	struct flood_thread *t = arg;

	if (t->role->enter && !t->role->enter(t)) {
		atomic_store(&t->flood->stop, true);
		return NULL;
	}
	work(t);
	t->end_ns = now_ns();
	if (t->role->leave)
		t->role->leave(t);
	return NULL;
}

/* Fewer threads would be another benchmark: without one the run is over. */
static void start(struct flood_thread *threads, unsigned long nr)
{
	for (unsigned long i = 0; i < nr; i++) {
		int err = pthread_create(&threads[i].thread, NULL, thread_main, &threads[i]);

		if (!err)
			continue;
		complain("cannot start a thread: %s", strerror(err));
		_exit(EXIT_FAILED);
	}
}

/* What they have done; *@end_ns is when the last of them had. */
static uint64_t join(struct flood_thread *threads, unsigned long nr, uint64_t *end_ns)
{
	uint64_t done = 0;

	for (unsigned long i = 0; i < nr; i++) {
		pthread_join(threads[i].thread, NULL);
		done += threads[i].done;
		if (threads[i].end_ns > *end_ns)
			*end_ns = threads[i].end_ns;
	}
	return done;
}

static void sleep_until_over(struct flood *flood, uint64_t start_ns)
{
	const struct timespec moment = { .tv_nsec = 1000000 };

	while (!atomic_load(&flood->stop) && seconds_since(start_ns) < flood->run->params.seconds)
		nanosleep(&moment, NULL);
	atomic_store(&flood->stop, true);
}

/* Readers are there before the first updater, and after the last pair: updaters wait for them. */
static void run_threads(struct flood *flood, struct flood_thread *updaters,
			struct flood_thread *readers)
{
	const struct bench_params *params = &flood->run->params;
	struct flood_sum *sum = flood->sum;
	uint64_t start_ns, end_ns = 0, readers_end_ns = 0;

	start(readers, params->readers);
	start_ns = now_ns();
	start(updaters, params->threads);
	sleep_until_over(flood, start_ns);
	sum->pairs = join(updaters, params->threads, &end_ns);
	sum->seconds = (double)(end_ns - start_ns) / 1e9;
	sum->sections = join(readers, params->readers, &readers_end_ns);
}

/* From the sampler's thread. */
static void watch_memory(void *arg, double seconds)
{
	struct flood *flood = arg;
	struct bench_result *result = flood->run->result;
	uint64_t memory = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);

	(void)seconds;
	if (result->stopped || result->log.rss_peak < memory / MEMORY_PART)
		return;
	result->stopped = true;
	atomic_store(&flood->stop, true);
}

static bool sample_threads(struct flood *flood, struct flood_thread *updaters,
			   struct flood_thread *readers)
{
	struct sampler sampler = {
		.log = &flood->run->result->log,
		.measure = flood->how->measure,
		.source = flood,
		.tick = watch_memory,
		.tick_arg = flood,
	};
	struct memory_usage usage;

	if (sampler_start(&sampler))
		return false;
	run_threads(flood, updaters, readers);
	flood->how->measure(flood, &usage);
	flood->sum->grace_periods = usage.grace_periods;
	sampler_stop(&sampler);
	return !atomic_load(&flood->failed);
}

static struct flood_thread *make_threads(struct flood *flood, const struct flood_role *role,
					 unsigned long nr)
{
	struct flood_thread *threads = aligned_alloc(CACHE_LINE, (nr + 1) * sizeof(*threads));

	for (unsigned long i = 0; threads && i < nr; i++)
		threads[i] = (struct flood_thread){ .flood = flood, .role = role };
	return threads;
}

static bool run_flood(struct flood *flood)
{
	const struct bench_run *run = flood->run;
	struct flood_thread *updaters =
		make_threads(flood, &flood->how->updater, run->params.threads);
	struct flood_thread *readers =
		make_threads(flood, &flood->how->reader, run->params.readers);
	bool fine = false;

	if (updaters && readers)
		fine = sample_threads(flood, updaters, readers);
	else
		complain("no memory for the threads");
	free(readers);
	free(updaters);
	return fine;
}

enum exit_code flood_run(const struct bench_run *run, struct flood_sum *sum)
{
	static struct flood flood;
	bool fine;

	*sum = (struct flood_sum){ 0 };
	flood.run = run;
	flood.how = run->who->how;
	flood.sum = sum;
	for (unsigned int i = 0; i <= UINT8_MAX; i++)
		flood.ring[i] = (uint8_t)(i + 1);
	if (flood.how->open(&flood))
		return EXIT_FAILED;
	fine = run_flood(&flood);
	fine = !flood.how->close(&flood) && fine;
	return fine ? EXIT_OK : EXIT_FAILED;
}
