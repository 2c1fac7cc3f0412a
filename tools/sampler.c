// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * sampler.c - a thread that measures memory every millisecond
 *
 * Limbo and held memory are what the source says.  The resident set is the kernel's: sampled from
 * /proc/self/statm, its peak from VmHWM of /proc/self/status, which misses nothing.
 */
#define _GNU_SOURCE
#include "sampler.h"
#include "tool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Read a file of /proc without stdio, which would allocate in the middle of a measurement. */
static int read_proc(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got;

	if (fd < 0)
		return -1;
	got = read(fd, buf, size - 1);
	close(fd);
	if (got < 0)
		return -1;
	buf[got] = '\0';
	return 0;
}

uint64_t rss_now(void)
{
	unsigned long long pages;
	char buf[128];

	if (read_proc("/proc/self/statm", buf, sizeof(buf)))
		return 0;
	if (sscanf(buf, "%*u %llu", &pages) != 1)
		return 0;
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* The value of a line "@name  123 kB", in bytes. */
static uint64_t read_kilobytes(const char *path, const char *name)
{
	char buf[4096];
	const char *line;

	if (read_proc(path, buf, sizeof(buf)))
		return 0;
	line = strstr(buf, name);
	return line ? strtoull(line + strlen(name), NULL, 10) * 1024 : 0;
}

uint64_t rss_high_water(void)
{
	return read_kilobytes("/proc/self/status", "VmHWM:");
}

uint64_t rss_exact(void)
{
	return read_kilobytes("/proc/self/smaps_rollup", "\nRss:");
}

static uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static struct sample merge(const struct sample *a, const struct sample *b)
{
	return (struct sample){
		.seconds = a->seconds,
		.limbo = max_u64(a->limbo, b->limbo),
		.held = max_u64(a->held, b->held),
		.rss = max_u64(a->rss, b->rss),
	};
}

static void merge_neighbours(struct memory_log *log)
{
	for (unsigned int i = 0; i < log->nr / 2; i++)
		log->samples[i] = merge(&log->samples[2 * i], &log->samples[2 * i + 1]);
	log->nr /= 2;
	log->per_sample *= 2;
}

static void keep(struct memory_log *log, const struct sample *sample)
{
	if (log->nr && log->in_last < log->per_sample) {
		log->samples[log->nr - 1] = merge(&log->samples[log->nr - 1], sample);
		log->in_last++;
		return;
	}
	if (log->nr == SAMPLES_MAX)
		merge_neighbours(log);
	log->samples[log->nr++] = *sample;
	log->in_last = 1;
}

static void take_sample(struct sampler *s)
{
	struct memory_log *log = s->log;
	struct memory_usage usage;
	struct sample sample;

	s->measure(s->source, &usage);
	sample = (struct sample){
		.seconds = seconds_since(s->start_ns),
		.limbo = usage.limbo,
		.held = usage.held,
		.rss = rss_now(),
	};
	log->held_seconds += (double)sample.held * (sample.seconds - log->seconds);
	log->seconds = sample.seconds;
	log->limbo_peak = max_u64(log->limbo_peak, sample.limbo);
	log->held_peak = max_u64(log->held_peak, sample.held);
	log->rss_peak = max_u64(log->rss_peak, sample.rss);
	keep(log, &sample);
}

/* Until the next sample is due; true if the sampler is to stop.  Called with the lock held. */
static bool wait_until_due(struct sampler *s)
{
	uint64_t due_ns = now_ns() + SAMPLE_NS;
	const struct timespec due = {
		.tv_sec = (time_t)(due_ns / 1000000000u),
		.tv_nsec = (long)(due_ns % 1000000000u),
	};
	int err = 0;

	while (!s->stop && err != ETIMEDOUT)
		err = pthread_cond_timedwait(&s->wake, &s->lock, &due);
	return s->stop;
}

static void *sampler_main(void *arg)
{
	struct sampler *s = arg;

	pthread_mutex_lock(&s->lock);
	while (!wait_until_due(s)) {
		take_sample(s);
		if (s->tick)
			s->tick(s->tick_arg, seconds_since(s->start_ns));
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

int sampler_start(struct sampler *s)
{
	pthread_condattr_t attr;
	int err;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&s->wake, &attr);
	pthread_condattr_destroy(&attr);
	pthread_mutex_init(&s->lock, NULL);
	s->stop = false;
	s->start_ns = now_ns();
	s->log->per_sample = 1;
	s->log->rss_before = rss_now();
	take_sample(s);
	err = pthread_create(&s->thread, NULL, sampler_main, s);
	if (err)
		complain("cannot start the thread that measures memory: %s", strerror(err));
	return err ? -1 : 0;
}

void sampler_stop(struct sampler *s)
{
	pthread_mutex_lock(&s->lock);
	s->stop = true;
	pthread_cond_signal(&s->wake);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->thread, NULL);
	take_sample(s);
	s->log->rss_peak = max_u64(s->log->rss_peak, rss_high_water());
	pthread_cond_destroy(&s->wake);
	pthread_mutex_destroy(&s->lock);
}
