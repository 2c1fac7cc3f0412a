// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * torture_report.c - what torture prints: torture.c says how to read it
 */
#define _GNU_SOURCE
#include "torture.h"

#include <stdio.h>
#include <string.h>

/* Of all phases. */
struct sums {
	uint64_t updates, private, sections, refusals, ended;
	uint64_t pipe[NR_KINDS][PIPE_LEN + 1];
	uint64_t disturbances[NR_DISTURBERS];
	uint64_t faults[NR_FAULTS];
};

static void add_kind(struct sums *sums, struct torture_kind_counts *counts, enum kind kind)
{
	sums->updates += peek(&counts->updates);
	sums->private += peek(&counts->private);
	sums->sections += peek(&counts->sections);
	sums->refusals += peek(&counts->refusals);
	sums->ended += peek(&counts->ended);
	for (unsigned int i = 0; i <= PIPE_LEN; i++)
		sums->pipe[kind][i] += peek(&counts->pipe[i]);
}

static struct sums sum_up(const struct torture_shared *shared)
{
	struct sums sums = { 0 };
	unsigned int i, j;

	for (i = 0; i < shared->nr_phases; i++) {
		struct torture_phase *p = (struct torture_phase *)&shared->phases[i];

		for (j = 0; j < NR_KINDS; j++)
			add_kind(&sums, &p->kinds[j], j);
		for (j = 0; j < NR_DISTURBERS; j++)
			sums.disturbances[j] += peek(&p->disturbances[j]);
		for (j = 0; j < NR_FAULTS; j++)
			sums.faults[j] += peek(&p->faults[j]);
	}
	return sums;
}

typedef unsigned long long ull;

void torture_print_heading(const struct torture_shared *shared)
{
	const struct torture_params *p = &shared->params;
	unsigned int i;

	if (p->json)
		return;
	printf("torture: seed %llu, %g s; %lu updaters and %lu readers of each kind:", (ull)p->seed,
	       p->seconds, p->updaters, p->readers);
	for (i = 0; i < NR_KINDS; i++)
		if (p->kinds[i])
			printf(" %s", kind_names[i]);
	printf("\n  disturbers:");
	for (i = 0; i < NR_DISTURBERS; i++)
		if (p->disturbers[i])
			printf(" %s %lu", disturber_names[i], p->disturbers[i]);
	printf("\n  faults:");
	for (i = 0; i < NR_FAULTS; i++)
		if (p->faults[i])
			printf(" %s", fault_names[i]);
	printf("\n  phases:");
	for (i = 0; i < shared->nr_phases; i++)
		printf(" %s, %g s;", shared->phases[i].name, shared->phases[i].seconds);
	printf("\n");
	fflush(stdout);
}

/* With --json standard output is for that. */
void torture_print_progress(const struct torture_shared *shared, double seconds)
{
	FILE *out = shared->params.json ? stderr : stdout;
	struct sums s = sum_up(shared);

	fprintf(out,
		"%6.0f s: %llu updates, %llu own objects, %llu sections, %llu grace periods, "
		"%llu refusals%s\n",
		seconds, (ull)s.updates, (ull)s.private, (ull)s.sections, (ull)s.ended,
		(ull)s.refusals, torture_found(shared) ? "; FAILURES" : "");
	fflush(out);
}

static void print_pipe(const struct torture_shared *shared, const struct sums *s)
{
	unsigned int i, j;

	printf("Reader Pipe: %12d %10d", 0, 1);
	for (j = 2; j <= PIPE_LEN; j++)
		printf(" %5u", j);
	printf("\n");
	for (i = 0; i < NR_KINDS; i++) {
		if (!shared->params.kinds[i])
			continue;
		printf("  %-10s %12llu %10llu", kind_names[i], (ull)s->pipe[i][0],
		       (ull)s->pipe[i][1]);
		for (j = 2; j <= PIPE_LEN; j++)
			printf(" %5llu", (ull)s->pipe[i][j]);
		printf("\n");
	}
}

static void print_disturbances(const struct torture_shared *shared, const struct sums *s)
{
	unsigned int i;

	printf("Disturbed:");
	for (i = 0; i < NR_DISTURBERS; i++)
		if (shared->params.disturbers[i])
			printf(" %s %llu", disturber_names[i], (ull)s->disturbances[i]);
	printf("\nFailed on purpose:");
	for (i = 0; i < FAULT_MEMBARRIER; i++)
		if (shared->params.faults[i])
			printf(" %s %llu", fault_names[i], (ull)s->faults[i]);
	printf("\n");
}

static void print_findings(const struct torture_shared *shared)
{
	for (unsigned int i = 0; i < NR_FAILURES; i++) {
		const struct torture_finding *f = &shared->findings[i];
		uint64_t n = atomic_load(&f->count);

		if (n)
			printf("FAILURE: %s: %llu times, first: %s\n", failure_names[i], (ull)n,
			       f->first);
	}
}

static void print_text(const struct torture_shared *shared, const struct sums *s, bool bad)
{
	torture_print_progress(shared, shared->seconds);
	print_pipe(shared, s);
	print_disturbances(shared, s);
	print_findings(shared);
	if (bad)
		printf("bma torture: FAILED after %.1f s; seed %llu\n", shared->seconds,
		       (ull)shared->params.seed);
	else
		printf("bma torture: no failure: %llu sections and %llu updates in %.1f s; seed "
		       "%llu\n",
		       (ull)s->sections, (ull)s->updates, shared->seconds,
		       (ull)shared->params.seed);
}

static void print_json_counts(const char *name, const char *const *names, const uint64_t *values,
			      unsigned int nr)
{
	printf(",\n \"%s\": {", name);
	for (unsigned int i = 0; i < nr; i++)
		printf("%s\"%s\": %llu", i ? ", " : "", names[i], (ull)values[i]);
	printf("}");
}

static void print_json_pipe(const struct torture_shared *shared, const struct sums *s)
{
	const char *comma = "";

	printf(",\n \"reader_pipe\": {");
	for (unsigned int i = 0; i < NR_KINDS; i++) {
		if (!shared->params.kinds[i])
			continue;
		printf("%s\"%s\": [", comma, kind_names[i]);
		for (unsigned int j = 0; j <= PIPE_LEN; j++)
			printf("%s%llu", j ? ", " : "", (ull)s->pipe[i][j]);
		printf("]");
		comma = ", ";
	}
	printf("}");
}

/* What describes a failure may quote anything. */
static void print_json_string(const char *text)
{
	putchar('"');
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			putchar('\\');
		if ((unsigned char)*text >= ' ')
			putchar(*text);
	}
	putchar('"');
}

static void print_json_findings(const struct torture_shared *shared)
{
	const char *comma = "";

	printf(",\n \"failures\": [");
	for (unsigned int i = 0; i < NR_FAILURES; i++) {
		const struct torture_finding *f = &shared->findings[i];
		uint64_t n = atomic_load(&f->count);

		if (!n)
			continue;
		printf("%s\n  {\"what\": \"%s\", \"count\": %llu, \"first\": ", comma,
		       failure_names[i], (ull)n);
		print_json_string(f->first);
		printf("}");
		comma = ",";
	}
	printf("]");
}

static unsigned long threads_at_a_time(const struct torture_params *p)
{
	unsigned long n = 0;
	unsigned int i;

	for (i = 0; i < NR_KINDS; i++)
		n += p->kinds[i] ? p->updaters + p->readers : 0;
	for (i = 0; i < NR_DISTURBERS; i++)
		n += p->disturbers[i];
	return n;
}

static void print_json(const struct torture_shared *shared, const struct sums *s, bool bad)
{
	const struct torture_params *p = &shared->params;

	/* The seed as a string: a number of 64 bits is more than many readers keep. */
	printf("{\"command\": \"torture\", \"version\": \"%s\", \"cpus\": %u, \"seed\": \"%llu\",\n"
	       " \"seconds\": %.3f, \"threads\": %lu, \"updaters\": %lu, \"readers\": %lu,\n"
	       " \"updates\": %llu, \"own_objects\": %llu, \"sections\": %llu,\n"
	       " \"grace_periods\": %llu, \"refusals\": %llu",
	       BMA_VERSION, usable_cpus(), (ull)p->seed, shared->seconds, threads_at_a_time(p),
	       p->updaters, p->readers, (ull)s->updates, (ull)s->private, (ull)s->sections,
	       (ull)s->ended, (ull)s->refusals);
	print_json_counts("disturbances", disturber_names, s->disturbances, NR_DISTURBERS);
	print_json_counts("faults", fault_names, s->faults, FAULT_MEMBARRIER);
	print_json_pipe(shared, s);
	print_json_findings(shared);
	printf(",\n \"failed\": %s}\n", bad ? "true" : "false");
}

enum exit_code torture_print_result(const struct torture_shared *shared)
{
	struct sums sums = sum_up(shared);
	bool bad = torture_found(shared);

	if (shared->params.json)
		print_json(shared, &sums, bad);
	else
		print_text(shared, &sums, bad);
	return bad ? EXIT_FAILED : EXIT_OK;
}
