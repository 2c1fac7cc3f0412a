// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * tool.c - messages, numbers from the command line, the clock, the CPUs
 */
#define _GNU_SOURCE
#include "tool.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static const char *name_shown = "bma";

void set_tool_name(const char *name)
{
	name_shown = name;
}

const char *tool_name(void)
{
	return name_shown;
}

static void say(const char *format, va_list args, const char *tail)
{
	/* Progress is drawn without a newline, and may be on the line that the message gets. */
	const char *wipe = isatty(STDERR_FILENO) ? "\r\033[K" : "";

	flockfile(stderr);
	fprintf(stderr, "%s%s: ", wipe, name_shown);
	vfprintf(stderr, format, args);
	fprintf(stderr, "%s\n", tail);
	funlockfile(stderr);
}

void complain(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say(format, args, "");
	va_end(args);
}

enum exit_code usage_error(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say(format, args, "");
	va_end(args);
	fprintf(stderr, "Try '%s --help'.\n", name_shown);
	return EXIT_USAGE;
}

int parse_count(const char *option, const char *text, unsigned long min, unsigned long max,
		unsigned long *value)
{
	char *end = NULL;
	unsigned long n = 0;

	errno = 0;
	if (isdigit((unsigned char)text[0]))
		n = strtoul(text, &end, 10);
	if (!end || *end || errno || n < min || n > max) {
		complain("%s takes a whole number from %lu to %lu, not '%s'", option, min, max,
			 text);
		return -1;
	}
	*value = n;
	return 0;
}

int parse_seconds(const char *option, const char *text, double min, double max, double *value)
{
	char *end = NULL;
	double s = strtod(text, &end);

	if (end == text || *end || !isfinite(s) || s < min || s > max) {
		complain("%s takes a number of seconds from %g to %g, not '%s'", option, min, max,
			 text);
		return -1;
	}
	*value = s;
	return 0;
}

uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

double seconds_since(uint64_t start_ns)
{
	return (double)(now_ns() - start_ns) / 1e9;
}

/*
 * The affinity mask, which also knows of cpusets, in a set as large as the kernel wants: a fixed
 * cpu_set_t fails on machines of more than 1024 CPUs.  NULL if it cannot be had.
 */
static cpu_set_t *affinity(size_t *bytes)
{
	for (int cpus = 1024; cpus <= 1 << 20; cpus *= 4) {
		cpu_set_t *set = CPU_ALLOC(cpus);

		*bytes = CPU_ALLOC_SIZE(cpus);
		if (!set)
			return NULL;
		if (!sched_getaffinity(0, *bytes, set))
			return set;
		CPU_FREE(set);
		if (errno != EINVAL)
			return NULL;
	}
	return NULL;
}

unsigned int usable_cpus(void)
{
	size_t bytes;
	cpu_set_t *set = affinity(&bytes);
	int n = set ? CPU_COUNT_S(bytes, set) : (int)sysconf(_SC_NPROCESSORS_ONLN);

	CPU_FREE(set);
	return n > 0 ? (unsigned int)n : 1;
}

unsigned int usable_cpu(unsigned int index)
{
	size_t bytes;
	cpu_set_t *set = affinity(&bytes);
	unsigned int skip = index % usable_cpus();
	unsigned int cpu = 0;

	if (!set)
		return index % usable_cpus();
	while (cpu < bytes * 8 && (!CPU_ISSET_S(cpu, bytes, set) || skip--))
		cpu++;
	CPU_FREE(set);
	return cpu;
}
