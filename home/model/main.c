// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * main.c - the program that runs scenarios
 *
 * Each scenario is explored in a child, which begins with the program's memory as it was loaded.  What a
 * search finds is in memory that parent and child share, so that the parent can have another child go
 * through the failing schedule, step by step.
 *
 * Output, a line for each scenario:
 *
 *	ok: NAME: EXECUTIONS, STATES, BOUND: VERDICT	("all" within the bound, "out of time", "found")
 *	NOT ok: NAME: what fails
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "private.h"

static struct options {
	const char *scenario, *replay;
	struct limits limits;
	bool proof, list, bound, deepen;
} options = { .limits = { .depth = 4, .seed = 1 } };

static void on_fault(int sig)
{
	(void)sig;
	if (!explorer->failure)
		explorer->failure = "a memory fault";
	longjmp(explorer->fault, 1);
}

static void faults_catch(void)
{
	stack_t alt = { .ss_sp = malloc(1 << 16), .ss_size = 1 << 16 };
	struct sigaction sa = { .sa_handler = on_fault, .sa_flags = SA_ONSTACK | SA_NODEFER };

	sigaltstack(&alt, NULL);
	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGBUS, &sa, NULL);
	sigaction(SIGFPE, &sa, NULL);
}

/* Whether @child came to an end by itself. */
static int child_status(pid_t child)
{
	int status;

	fflush(stdout);
	if (waitpid(child, &status, 0) != child || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

static void print_number(unsigned int n, const char *what)
{
	if (n == MODEL_FREELY)
		printf(" any %s,", what);
	else if (n)
		printf(" %u %s,", n, what);
}

static void print_bound(const struct model_scenario *s, const struct model_bound *b)
{
	print_number(b->preemptions, "preemptions");
	if (!b->preemptions)
		printf(" no preemption,");
	print_number(b->late, "late");
	print_number(b->migrations, "migrations");
	print_number(b->fails, "fails");
	printf(" %u CPU%s", s->nr_cpus ? s->nr_cpus : 1, s->nr_cpus > 1 ? "s" : "");
}

/* --- schedules, as r0*12 c0.1 s1.0 d0 --------------------------------------------------------------- */

/* With the bound, which says where a thread has a choice at all. */
static void print_schedule(const struct model_bound *b)
{
	unsigned int i, n;
	action_t a;

	printf("    --bound %u,%u,%u,%u --replay '", b->preemptions, b->late, b->migrations,
	       b->fails);
	for (i = 0; i < explorer->steps; i += n) {
		a = explorer->schedule[i];
		for (n = 1; i + n < explorer->steps && explorer->schedule[i + n] == a; n++)
			;
		printf("%s%c%u", i ? " " : "", "rcds"[a >> 12], a >> 8 & 15);
		if (a & 255)
			printf(".%u", a & 255);
		if (n > 1)
			printf("*%u", n);
	}
	printf("' '%s'\n", explorer->scenario->name);
}

/* One word of a schedule; what is behind it, or NULL. */
static const char *word_read(const char *at, action_t *action, unsigned int *times)
{
	const char *kind = strchr("rcds", *at);
	unsigned int thread, n = 0;
	char *end;

	if (!*at || !kind)
		return NULL;
	thread = (unsigned int)strtoul(at + 1, &end, 10);
	if (*end == '.')
		n = (unsigned int)strtoul(end + 1, &end, 10);
	*times = *end == '*' ? (unsigned int)strtoul(end + 1, &end, 10) : 1;
	*action = ACTION((unsigned int)(kind - "rcds"), thread, n);
	while (*end == ' ')
		end++;
	return end;
}

static unsigned int schedule_read(const char *at, action_t *schedule)
{
	unsigned int steps = 0, times;
	action_t action;

	while ((at = word_read(at, &action, &times)))
		while (times-- && steps < MAX_STEPS)
			schedule[steps++] = action;
	return steps;
}

/* --- scenarios -------------------------------------------------------------------------------------- */

static int search(const struct model_scenario *s, const struct limits *limits)
{
	static const char *const verdicts[] = { "all", "out of time" };
	enum verdict verdict;

	faults_catch();
	verdict = explore(s, limits);
	explorer->out_of_time = verdict == OUT_OF_TIME;
	explorer->seconds = cpu_seconds();
	if ((verdict == FAILED) != s->must_fail)
		return 1;
	printf("ok: %s: %lu executions, %lu states,", s->name, (unsigned long)explorer->executions,
	       (unsigned long)explorer->states);
	if (limits->random)
		printf(" by chance, depth %u,", limits->depth);
	print_bound(s, &limits->bound);
	if (s->must_fail)
		printf(": found, %s\n", explorer->failure);
	else
		printf(": %s\n", limits->random ? "none fails" : verdicts[verdict]);
	return 0;
}

static int go_through(const struct model_scenario *s, const struct model_bound *bound)
{
	action_t *schedule = malloc(sizeof(explorer->schedule));
	unsigned int steps = explorer->steps;

	memcpy(schedule, explorer->schedule, sizeof(explorer->schedule));
	if (options.replay)
		steps = schedule_read(options.replay, schedule);
	explorer->steps = 0;
	explorer->failure = NULL;
	faults_catch();
	if (replay(s, bound, schedule, steps))
		printf("       %s\n", explorer->failure);
	else
		printf("       nothing fails\n");
	return 0;
}

static void begin_anew(void)
{
	explorer->failure = NULL;
	explorer->steps = 0;
	explorer->executions = explorer->states = explorer->pruned = 0;
	explorer->tracing = explorer->out_of_time = false;
	fflush(stdout);
}

static void in_child(int (*fn)(const struct model_scenario *s, const struct limits *limits),
		     const struct model_scenario *s, const struct limits *limits, int *status)
{
	pid_t child = fork();
	int code;

	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		code = fn(s, limits);
		fflush(stdout);
		_exit(code);
	}
	*status = child_status(child);
}

static int go_through_in_child(const struct model_scenario *s, const struct limits *limits)
{
	return go_through(s, &limits->bound);
}

static bool run_within(const struct model_scenario *s, struct limits limits)
{
	int status;

	begin_anew();
	explorer->scenario = s;
	if (!options.replay) {
		in_child(search, s, &limits, &status);
		if (status == 0)
			return true;
		printf("NOT ok: %s: %s (execution %lu,", s->name,
		       explorer->failure ? explorer->failure :
		       s->must_fail	 ? "does not fail" :
					   "the search itself fails",
		       (unsigned long)explorer->executions + 1);
		print_bound(s, &limits.bound);
		printf(")\n");
		print_schedule(&limits.bound);
		fflush(stdout);
	}
	in_child(go_through_in_child, s, &limits, &status);
	return options.replay && status == 0;
}

/*
 * Bound after bound until one fails, or takes more time than is left: the shortest way to a failure is in
 * the smallest, and where there is none the output says how far it was whole.
 */
static bool run_deeper(const struct model_scenario *s, struct limits limits)
{
	const struct model_bound most = limits.bound;
	unsigned int i;

	for (i = 0; i < 5 && i < most.preemptions; i++) {
		limits.bound.preemptions = i;
		for (limits.bound.late = 0; limits.bound.late <= most.late; limits.bound.late++) {
			if (!run_within(s, limits))
				return false;
			if (explorer->out_of_time)
				return true;
			/* At least a little, as none at all is no limit. */
			if (limits.seconds > 0)
				limits.seconds = limits.seconds > explorer->seconds + 0.1 ?
							 limits.seconds - explorer->seconds :
							 0.1;
		}
	}
	limits.bound = most;
	return run_within(s, limits);
}

static bool run(const struct model_scenario *s)
{
	struct limits limits = options.limits;

	if (!options.bound)
		limits.bound = options.proof ? s->proof : s->check;
	if (limits.random)
		limits.bound.preemptions = MODEL_FREELY;
	return options.deepen ? run_deeper(s, limits) : run_within(s, limits);
}

static void usage(const char *name)
{
	printf("usage: %s [--list] [--proof] [--deepen] [--bound PREEMPTIONS,LATE,MIGRATIONS,FAILS] [--seconds N]\n"
	       "       [--random EXECUTIONS [--depth N] [--seed N]] [--replay SCHEDULE] [SCENARIO]\n",
	       name);
	exit(2);
}

static void bound_read(const char *text)
{
	struct model_bound *b = &options.limits.bound;

	options.bound = true;
	if (sscanf(text, "%u,%u,%u,%u", &b->preemptions, &b->late, &b->migrations, &b->fails) < 1)
		usage("model");
}

static void option_with_value(const char *name, const char *value, const char *program)
{
	if (!strcmp(name, "--bound"))
		bound_read(value);
	else if (!strcmp(name, "--seconds"))
		options.limits.seconds = atof(value);
	else if (!strcmp(name, "--random"))
		options.limits.random = strtoul(value, NULL, 10);
	else if (!strcmp(name, "--depth"))
		options.limits.depth = (unsigned int)strtoul(value, NULL, 10);
	else if (!strcmp(name, "--seed"))
		options.limits.seed = strtoul(value, NULL, 10);
	else if (!strcmp(name, "--replay"))
		options.replay = value;
	else
		usage(program);
}

static void options_read(int argc, char **argv)
{
	int i;

	for (i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--list"))
			options.list = true;
		else if (!strcmp(argv[i], "--deepen"))
			options.deepen = true;
		else if (!strcmp(argv[i], "--proof"))
			options.proof = true;
		else if (argv[i][0] != '-')
			options.scenario = argv[i];
		else if (i + 1 < argc)
			option_with_value(argv[i], argv[i + 1], argv[0]), i++;
		else
			usage(argv[0]);
	}
}

int model_main(int argc, char **argv, const struct model_scenario *s)
{
	bool good = true, found = false;

	options_read(argc, argv);
	explorer = mmap(NULL, sizeof(*explorer), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			-1, 0);
	if (explorer == MAP_FAILED)
		abort();
	for (; s->name; s++) {
		if (options.scenario && strcmp(options.scenario, s->name))
			continue;
		found = true;
		if (options.list)
			printf("%s\n", s->name);
		else
			good &= run(s);
	}
	return good && found ? 0 : 1;
}
