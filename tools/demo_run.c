// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * demo_run.c - one contestant counts all words
 *
 * Rounds and chunks are turns that threads take one by one, so that each contestant does exactly
 * the same work, and each word's final count is known: that of one round, times the rounds.
 */
#define _GNU_SOURCE
#include "demo.h"

#include <stdlib.h>
#include <string.h>

/* One word at a time, so that a failure elsewhere is noticed between words. */
static bool count_chunk(struct race *race, struct chunk rest)
{
	struct word word;

	while (next_word(&rest, &word)) {
		if (!words_count(&race->words, &word))
			continue;
		if (!atomic_exchange(&race->failed, true))
			complain("%s: no memory for a node", race->run->name);
		return false;
	}
	return true;
}

static void *updater_main(void *arg)
{
	struct race *race = arg;
	const struct corpus *corpus = &race->run->work->corpus;
	uint64_t turn;

	rcu_register_thread();
	while (!atomic_load_explicit(&race->failed, memory_order_relaxed)) {
		turn = atomic_fetch_add_explicit(&race->next_turn, 1, memory_order_relaxed);
		if (turn >= race->nr_turns ||
		    !count_chunk(race, corpus->chunks[turn % corpus->nr_chunks]))
			break;
	}
	rcu_unregister_thread();
	return NULL;
}

static void show_progress(void *arg, double seconds)
{
	struct race *race = arg;
	uint64_t turn = atomic_load_explicit(&race->next_turn, memory_order_relaxed);

	if (turn < race->nr_turns)
		progress_show(&race->progress, (double)turn / (double)race->nr_turns, seconds);
}

/* Start a thread, or have all others end. */
static bool start(struct race *race, pthread_t *thread, void *(*main)(void *), void *arg)
{
	int err = pthread_create(thread, NULL, main, arg);

	if (!err)
		return true;
	if (!atomic_exchange(&race->failed, true))
		complain("%s: cannot start a thread: %s", race->run->name, strerror(err));
	return false;
}

/* Count with all threads, and time it; readers are at work already. */
static void run_updaters(struct race *race, pthread_t *threads)
{
	unsigned long nr = 0;
	uint64_t start_ns = now_ns();

	while (nr < race->run->work->threads && start(race, &threads[nr], updater_main, race))
		nr++;
	while (nr)
		pthread_join(threads[--nr], NULL);
	race->run->result->update_seconds = seconds_since(start_ns);
	race->run->result->updates = race->run->work->expected.total * race->run->work->rounds;
}

static void run_threads(struct race *race, pthread_t *threads, struct reader *readers)
{
	uint64_t start_ns = now_ns();
	unsigned long nr = 0;

	while (nr < race->run->work->readers &&
	       start(race, &readers[nr].thread, reader_main, &readers[nr]))
		nr++;
	run_updaters(race, threads);
	atomic_store(&race->counted, true);
	while (nr) {
		pthread_join(readers[--nr].thread, NULL);
		race->run->result->reads += readers[nr].reads;
	}
	race->run->result->read_seconds = seconds_since(start_ns);
}

static bool wrong_total(const struct race *race, const struct tally_entry *entry, uint64_t count)
{
	uint64_t expected = entry->count * race->run->work->rounds;

	if (count == expected)
		return false;
	complain("%s: wrong total: '%.*s' was counted %llu times and occurs %llu times",
		 race->run->name, (int)(entry->word.length < 40 ? entry->word.length : 40),
		 entry->word.text, (unsigned long long)count, (unsigned long long)expected);
	return true;
}

/* Every word has its count, and (as they are as many) there is no other word. */
static bool check_totals(struct race *race)
{
	const struct word_tally *expected = &race->run->work->expected;
	bool wrong = false;

	rcu_read_lock();
	for (size_t i = 0; i < expected->nr && !wrong; i++) {
		const struct word_node *node = words_find(&race->words, &expected->entries[i].word);

		wrong = wrong_total(race, &expected->entries[i], node ? node->count : 0);
	}
	rcu_read_unlock();
	return !wrong;
}

static bool empty_table(struct race *race)
{
	size_t expected = race->run->work->expected.nr;
	size_t nr = words_empty(&race->words);

	/* After a failure the table is as it was when that was noticed. */
	if (nr == expected || atomic_load(&race->failed))
		return true;
	complain("%s: the table held %zu words and the text has %zu", race->run->name, nr,
		 expected);
	return false;
}

static void free_readers(struct reader *readers, unsigned long nr)
{
	for (unsigned long i = 0; readers && i < nr; i++)
		free(readers[i].seen);
	free(readers);
}

static struct reader *make_readers(struct race *race)
{
	unsigned long nr = race->run->work->readers;
	struct reader *readers = calloc(nr + 1, sizeof(*readers));

	for (unsigned long i = 0; readers && i < nr; i++) {
		readers[i].race = race;
		readers[i].random = i + 1;
		readers[i].seen = calloc(race->run->work->expected.nr, sizeof(*readers[i].seen));
		if (readers[i].seen)
			continue;
		free_readers(readers, nr);
		return NULL;
	}
	return readers;
}

/* Memory is watched until the last node in limbo has left it. */
static bool count_and_check(struct race *race, pthread_t *threads, struct reader *readers)
{
	struct demo_result *result = race->run->result;
	struct sampler sampler = {
		.log = &result->log,
		.measure = pool_measure,
		.source = &race->pool,
		.tick = show_progress,
		.tick_arg = race,
	};
	struct memory_usage usage;
	bool fine;

	progress_start(&race->progress, race->run->name);
	if (sampler_start(&sampler))
		return false;
	run_threads(race, threads, readers);
	fine = !atomic_load(&race->failed) && check_totals(race);
	if (!empty_table(race))
		fine = false;
	race->pool.how->drain(&race->pool);
	sampler_stop(&sampler);
	progress_end(&race->progress);
	race->pool.how->measure(&race->pool, &usage);
	result->grace_periods = usage.grace_periods;
	return fine;
}

static bool run_race(struct race *race)
{
	unsigned long nr_readers = race->run->work->readers;
	pthread_t *threads = calloc(race->run->work->threads, sizeof(*threads));
	struct reader *readers = make_readers(race);
	bool fine = false;

	if (threads && readers)
		fine = count_and_check(race, threads, readers);
	else
		complain("no memory for the threads");
	free_readers(readers, nr_readers);
	free(threads);
	return fine;
}

enum exit_code demo_run(void *arg)
{
	const struct demo_run *run = arg;
	struct race race = {
		.run = run,
		.nr_turns = (uint64_t)run->work->corpus.nr_chunks * run->work->rounds,
	};
	bool fine = false;

	rcu_register_thread();
	if (!pool_open(&race.pool, run->how, sizeof(struct word_node))) {
		if (!words_new(&race.words, &race.pool, run->work->expected.nr)) {
			fine = run_race(&race);
			words_free(&race.words);
		}
		fine = !pool_close(&race.pool) && fine;
	}
	rcu_unregister_thread();
	return fine ? EXIT_OK : EXIT_FAILED;
}
