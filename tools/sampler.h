/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * sampler.h - a thread that measures memory every millisecond
 *
 * A long run is kept in as few samples as a short one: when the array is full, neighbours are
 * merged (the larger of each value stays, so that peaks do), and each sample then stands for twice
 * as many measurements.
 */
#ifndef BMA_SAMPLER_H
#define BMA_SAMPLER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define SAMPLES_MAX 2048
#define SAMPLE_NS 1000000u

/* What there is at one moment, in bytes. */
struct memory_usage {
	uint64_t limbo; /* retired, waiting for readers */
	uint64_t held; /* what that is, is up to who measures */
	uint64_t grace_periods; /* so far */
};

struct sample {
	double seconds; /* since the sampler was started */
	uint64_t limbo;
	uint64_t held;
	uint64_t rss;
};

/* Lies in memory that the parent shares. */
struct memory_log {
	unsigned int nr;
	unsigned int per_sample; /* measurements that each stands for */
	unsigned int in_last; /* and the last one so far */
	struct sample samples[SAMPLES_MAX];
	/* Of every measurement, merged or not. */
	double seconds;
	double held_seconds; /* held memory, integrated over time */
	uint64_t limbo_peak, held_peak;
	uint64_t rss_before, rss_peak;
};

struct sampler {
	struct memory_log *log;
	void (*measure)(const void *source, struct memory_usage *usage);
	const void *source;
	/* Called after each sample, from the sampler's thread; may be NULL. */
	void (*tick)(void *arg, double seconds);
	void *tick_arg;
	uint64_t start_ns;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stop;
};

/* Start sampling @source into @sampler->log; 0, or -1 after a message. */
int sampler_start(struct sampler *sampler);

/* Take a last sample and end the thread; the log's peaks are final. */
void sampler_stop(struct sampler *sampler);

/* The resident set now, and at its peak so far; 0 if it cannot be known. */
uint64_t rss_now(void);
uint64_t rss_high_water(void);
/* The same as rss_now() to the page, which takes time: the kernel's own count is a rough one. */
uint64_t rss_exact(void);

#endif /* BMA_SAMPLER_H */
