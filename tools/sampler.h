/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * sampler.h - a thread that measures memory every few milliseconds
 *
 * A long run is kept in as few samples as a short one: when the array is full, neighbours are
 * merged (the larger of each value stays, so that peaks do) and samples are taken half as often.
 */
#ifndef BMA_SAMPLER_H
#define BMA_SAMPLER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "contestant.h"

#define SAMPLES_MAX 2048
#define SAMPLE_FIRST_NS 2000000u

struct sample {
	double seconds; /* since the sampler was started */
	uint64_t limbo;
	uint64_t held;
	uint64_t rss;
};

/* Lies in memory that the parent shares. */
struct memory_log {
	unsigned int nr;
	struct sample samples[SAMPLES_MAX];
	/* Of every measurement, merged or not. */
	double seconds;
	double held_seconds; /* held memory, integrated over time */
	uint64_t limbo_peak, held_peak;
	uint64_t rss_before, rss_peak;
};

struct sampler {
	struct memory_log *log;
	const struct pool *pool;
	/* Called after each sample, from the sampler's thread; may be NULL. */
	void (*tick)(void *arg, double seconds);
	void *tick_arg;
	uint64_t start_ns;
	uint64_t interval_ns;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stop;
};

/* Start sampling @pool into @sampler->log; 0, or -1 after a message. */
int sampler_start(struct sampler *sampler);

/* Take a last sample and end the thread; the log's peaks are final. */
void sampler_stop(struct sampler *sampler);

#endif /* BMA_SAMPLER_H */
