// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * bench_htab_run.c - one use case of htab-mem with one contestant
 */
#define _GNU_SOURCE
#include "bench_htab.h"
#include "tool.h"
#include "work.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* As many as Linux's benchmark asks for: 8192, or 64 for each CPU where that is more. */
#define MIN_BUCKETS 8192

struct reader {
	struct htab_race *race;
	const struct reader_calls *calls;
	pthread_t thread;
	uint64_t random;
	uint64_t reads;
	uint64_t reused;
};

static void *producer_main(void *arg)
{
	struct producer *p = arg;
	struct htab_race *race = p->race;
	const struct use_case *use_case = race->use_case;

	/* They stay there, as the third use case is about frees on another CPU. */
	pin_to_cpu(p->id);
	if (!pool_enter(&race->pool))
		_exit(EXIT_FAILED);
	/* One step at least, so that it is known what is left; a pair's adding half ends both. */
	while (use_case->step(p) &&
	       (use_case->pairs || !atomic_load_explicit(&race->stop, memory_order_relaxed)))
		;
	pool_leave(&race->pool);
	return NULL;
}

static void reader_fault(struct htab_race *race, uint32_t key)
{
	atomic_store(&race->stop, true);
	if (!atomic_exchange(&race->failed, true))
		complain("%s, %s: a reader held the element of key %u when it was reused",
			 race->run->at->name, race->run->who->name, key);
}

/*
 * Find an element, read its value, and look whether it still is the key's.  Where a freed element
 * is reused at once it need not be, and the reader has to live with that; elsewhere it has to be.
 */
static void read_once(struct reader *r, uint32_t key)
{
	const struct htab_element *element;
	uint64_t value;

	r->calls->lock();
	element = htab_find(&r->race->htab, key);
	if (element) {
		value = atomic_load_explicit(&element->value, memory_order_acquire);
		if (value != key ||
		    atomic_load_explicit(&element->key, memory_order_relaxed) != key)
			r->reused++;
	}
	r->calls->unlock();
	r->reads++;
	if (r->reused && !r->race->pool.how->reuses_at_once)
		reader_fault(r->race, key);
}

static void *reader_main(void *arg)
{
	struct reader *r = arg;
	uint64_t nr_keys = r->race->run->params.threads * BATCH;

	if (!r->calls->enter())
		_exit(EXIT_FAILED);
	while (!atomic_load_explicit(&r->race->stop, memory_order_relaxed))
		read_once(r, (uint32_t)(next_random(&r->random) % nr_keys));
	r->calls->leave();
	return NULL;
}

/* A producer without its partner would wait for ever: without a thread the run is over. */
static void start(pthread_t *thread, void *(*main)(void *), void *arg)
{
	int err = pthread_create(thread, NULL, main, arg);

	if (!err)
		return;
	complain("cannot start a thread: %s", strerror(err));
	_exit(EXIT_FAILED);
}

static void sleep_seconds(double seconds)
{
	struct timespec left = { .tv_sec = (time_t)seconds };

	left.tv_nsec = (long)((seconds - (double)left.tv_sec) * 1e9);
	while (nanosleep(&left, &left))
		;
}

static void run_threads(struct htab_race *race, struct producer *producers, struct reader *readers)
{
	const struct bench_params *params = &race->run->params;
	struct htab_sum *sum = race->sum;
	uint64_t start_ns;

	for (unsigned long i = 0; i < params->readers; i++)
		start(&readers[i].thread, reader_main, &readers[i]);
	start_ns = now_ns();
	for (unsigned long i = 0; i < params->threads; i++)
		start(&producers[i].thread, producer_main, &producers[i]);
	sleep_seconds(params->seconds);
	atomic_store(&race->stop, true);
	for (unsigned long i = 0; i < params->threads; i++) {
		pthread_join(producers[i].thread, NULL);
		sum->operations += producers[i].operations;
	}
	sum->seconds = seconds_since(start_ns);
	for (unsigned long i = 0; i < params->readers; i++) {
		pthread_join(readers[i].thread, NULL);
		sum->reads += readers[i].reads;
		sum->reused_reads += readers[i].reused;
	}
}

/* The mean is of the time in which producers work, without the drain. */
static bool sample_threads(struct htab_race *race, struct producer *producers,
			   struct reader *readers)
{
	struct sampler sampler = {
		.log = &race->run->result->log,
		.measure = pool_measure,
		.source = &race->pool,
	};

	if (sampler_start(&sampler))
		return false;
	run_threads(race, producers, readers);
	sampler_stop(&sampler);
	return !atomic_load(&race->failed);
}

static struct producer *make_producers(struct htab_race *race, struct rendezvous *pairs)
{
	unsigned long nr = race->run->params.threads;
	struct producer *producers = aligned_alloc(CACHE_LINE, nr * sizeof(*producers));

	for (unsigned long i = 0; producers && i < nr; i++)
		producers[i] = (struct producer){
			.race = race,
			.id = (unsigned int)i,
			.pair = &pairs[i / 2],
		};
	return producers;
}

static struct reader *make_readers(struct htab_race *race)
{
	unsigned long nr = race->run->params.readers;
	struct reader *readers = calloc(nr + 1, sizeof(*readers));

	for (unsigned long i = 0; readers && i < nr; i++) {
		readers[i].race = race;
		readers[i].calls = pool_readers(&race->pool);
		readers[i].random = i + 1;
	}
	return readers;
}

static struct rendezvous *make_pairs(unsigned long nr)
{
	struct rendezvous *pairs = calloc(nr, sizeof(*pairs));

	for (unsigned long i = 0; pairs && i < nr; i++) {
		sem_init(&pairs[i].added, 0, 0);
		sem_init(&pairs[i].deleted, 0, 0);
	}
	return pairs;
}

static bool run_race(struct htab_race *race)
{
	struct rendezvous *pairs = make_pairs(race->run->params.threads / 2 + 1);
	struct producer *producers = make_producers(race, pairs);
	struct reader *readers = make_readers(race);
	bool fine = false;

	if (pairs && producers && readers)
		fine = sample_threads(race, producers, readers);
	else
		complain("no memory for the threads");
	free(readers);
	free(producers);
	free(pairs);
	return fine;
}

static bool check_left(const struct htab_race *race, size_t nr)
{
	size_t expected = race->run->params.threads * race->use_case->left;

	if (nr == expected)
		return true;
	complain("%s, %s: %zu elements are left in the table, not %zu", race->run->at->name,
		 race->run->who->name, nr, expected);
	return false;
}

static size_t nr_buckets(void)
{
	size_t nr = MIN_BUCKETS;

	while (nr < 64 * (size_t)usable_cpus())
		nr *= 2;
	return nr;
}

enum exit_code htab_run(const struct bench_run *run, struct htab_sum *sum)
{
	struct htab_race race = { .run = run, .use_case = run->at->how, .sum = sum };
	size_t value_size = run->params.size;
	bool fine = false;

	*sum = (struct htab_sum){ 0 };
	if (pool_open(&race.pool, run->who->how, htab_element_size(value_size)))
		return EXIT_FAILED;
	if (!pool_enter(&race.pool))
		return EXIT_FAILED;
	if (!htab_new(&race.htab, &race.pool, nr_buckets(), value_size)) {
		fine = run_race(&race);
		fine = check_left(&race, htab_free(&race.htab)) && fine;
	}
	pool_leave(&race.pool);
	fine = !pool_close(&race.pool) && fine;
	return fine ? EXIT_OK : EXIT_FAILED;
}
