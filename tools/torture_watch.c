// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * torture_watch.c - the parent: starts the runs, shows progress, sees what hangs or dies
 *
 * Runs are phases, one after the other, each in a process of its own: first with all that the
 * system has; then, with the fault membarrier, without that call, for a part of the time.  The second
 * runs this program again, as the library looks for the call before main.
 */
#define _GNU_SOURCE
#include "torture.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOOK_US 20000
#define PROGRESS_SECONDS 10
/* How long a run may go on after it has found something. */
#define GRACE_SECONDS 5
#define WITHOUT_MEMBARRIER_PART 0.25

/* A number that must move. */
struct watched {
	uint64_t value;
	uint64_t since_ns;
};

struct watch {
	struct torture_shared *shared;
	struct torture_phase *phase;
	pid_t child;
	int fd;
	uint64_t start_ns, found_ns;
	double next_progress;
	struct watched stage, beats, updates[NR_KINDS], sections[NR_KINDS], ended[NR_KINDS];
};

bool torture_found(const struct torture_shared *shared)
{
	for (unsigned int i = 0; i < NR_FAILURES; i++)
		if (atomic_load(&shared->findings[i].count))
			return true;
	return false;
}

static void found(struct watch *w, enum failure what, const char *text)
{
	struct torture_finding *f = &w->shared->findings[what];

	atomic_fetch_add(&f->count, 1);
	if (!atomic_exchange(&f->described, true))
		snprintf(f->first, sizeof(f->first), "%s", text);
}

static bool stands_still(struct watch *w, struct watched *number, uint64_t value)
{
	if (value != number->value || !number->since_ns)
		*number = (struct watched){ value, now_ns() };
	return seconds_since(number->since_ns) > w->shared->params.hang_seconds;
}

static void look_at_number(struct watch *w, struct watched *number, uint64_t value,
			   const char *kind, const char *what)
{
	char text[120];

	if (!stands_still(w, number, value))
		return;
	snprintf(text, sizeof(text), "%s%s %s in %g s, stage %d", kind, what, "did not move",
		 w->shared->params.hang_seconds, atomic_load(&w->phase->stage));
	found(w, F_HANG, text);
}

static void look_at_kind(struct watch *w, enum kind kind)
{
	const struct torture_params *p = &w->shared->params;
	struct torture_kind_counts *counts = &w->phase->kinds[kind];

	if (!p->kinds[kind])
		return;
	if (p->updaters)
		look_at_number(w, &w->updates[kind], peek(&counts->updates), kind_names[kind],
			       ": updates");
	if (p->readers)
		look_at_number(w, &w->sections[kind], peek(&counts->sections), kind_names[kind],
			       ": sections");
	if (p->updaters)
		look_at_number(w, &w->ended[kind], peek(&counts->ended), kind_names[kind],
			       ": grace periods");
}

/* A run that is over but for its end is given the same time for each stage of that. */
static void look(struct watch *w)
{
	int stage = atomic_load(&w->phase->stage);

	if (stage == RUNNING) {
		for (unsigned int i = 0; i < NR_KINDS; i++)
			look_at_kind(w, i);
		look_at_number(w, &w->beats, peek(&w->phase->beats), "", "the first thread");
	} else {
		look_at_number(w, &w->stage, (uint64_t)stage + peek(&w->phase->beats), "",
			       "the run");
	}
}

static void show_progress(struct watch *w)
{
	double seconds = seconds_since(w->start_ns);

	if (seconds < w->next_progress)
		return;
	w->next_progress += PROGRESS_SECONDS;
	torture_print_progress(w->shared, seconds);
}

/* True if the run is not to go on. */
static bool is_done_for(struct watch *w)
{
	if (!torture_found(w->shared))
		return false;
	if (!w->found_ns)
		w->found_ns = now_ns();
	return seconds_since(w->found_ns) > GRACE_SECONDS ||
	       atomic_load(&w->shared->findings[F_HANG].count);
}

static void say_how_it_ended(struct watch *w, int status)
{
	char text[120];

	if (WIFSIGNALED(status))
		snprintf(text, sizeof(text), "killed by signal %d, %s", WTERMSIG(status),
			 strsignal(WTERMSIG(status)));
	else
		snprintf(text, sizeof(text), "exit status %d, stage %d", WEXITSTATUS(status),
			 atomic_load(&w->phase->stage));
	if (WIFSIGNALED(status) && atomic_load(&w->shared->findings[F_UNMAPPED].count))
		return;
	if (status || atomic_load(&w->phase->stage) != OVER)
		found(w, F_DIED, text);
}

static void watch_child(struct watch *w)
{
	const struct timespec moment = { .tv_nsec = LOOK_US * 1000L };
	int status;
	pid_t done;

	while (!(done = waitpid(w->child, &status, WNOHANG))) {
		look(w);
		show_progress(w);
		if (is_done_for(w)) {
			kill(w->child, SIGKILL);
			waitpid(w->child, &status, 0);
			return;
		}
		nanosleep(&moment, NULL);
	}
	if (done == w->child)
		say_how_it_ended(w, status);
}

static void run_again(const struct watch *w, unsigned int nr)
{
	char on_fd[40];

	snprintf(on_fd, sizeof(on_fd), "--phase=%d,%u", w->fd, nr);
	if (w->phase->without_membarrier && !deny_membarrier()) {
		complain("membarrier() cannot be made to fail here: try --faults mmap,thread");
		_exit(EXIT_FAILED);
	}
	execl("/proc/self/exe", "bma", "torture", on_fd, (char *)NULL);
	complain("cannot run itself: %s", strerror(errno));
	_exit(EXIT_FAILED);
}

static void child_main(pid_t parent, struct watch *w)
{
	unsigned int nr = (unsigned int)(w->phase - w->shared->phases);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(EXIT_FAILED);
	/* What a thread sanitizer knows of locks does not outlive a fork either. */
	if (w->phase->without_membarrier || TORTURE_TSAN)
		run_again(w, nr);
	exit(torture_run(w->shared, nr));
}

static enum exit_code run_phase(struct watch *w)
{
	pid_t parent = getpid();

	fflush(NULL);
	w->child = fork();
	if (w->child < 0) {
		complain("cannot start the run: %s", strerror(errno));
		return EXIT_FAILED;
	}
	if (!w->child)
		child_main(parent, w);
	watch_child(w);
	return EXIT_OK;
}

static void plan(struct torture_shared *shared)
{
	struct torture_phase *p = shared->phases;

	p[0].name = membarrier_works() ? "as it is" : "no membarrier here";
	p[0].seconds = shared->params.seconds;
	shared->nr_phases = 1;
	if (!shared->params.faults[FAULT_MEMBARRIER] || !membarrier_works())
		return;
	p[1].name = "membarrier refused";
	p[1].without_membarrier = true;
	p[1].seconds = shared->params.seconds * WITHOUT_MEMBARRIER_PART;
	p[0].seconds -= p[1].seconds;
	shared->nr_phases = 2;
}

static struct torture_shared *map_shared(int fd)
{
	struct torture_shared *shared =
		mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	return shared == MAP_FAILED ? NULL : shared;
}

static enum exit_code run_phases(struct torture_shared *shared, int fd)
{
	uint64_t start_ns = now_ns();
	enum exit_code code = EXIT_OK;

	for (unsigned int i = 0; i < shared->nr_phases && code == EXIT_OK; i++) {
		struct watch w = { .shared = shared,
				   .phase = &shared->phases[i],
				   .fd = fd,
				   .start_ns = start_ns,
				   .next_progress = seconds_since(start_ns) + PROGRESS_SECONDS };

		code = run_phase(&w);
		if (torture_found(shared))
			shared->nr_phases = i + 1;
	}
	shared->seconds = seconds_since(start_ns);
	return code;
}

enum exit_code torture_watch(const struct torture_params *params)
{
	int fd = memfd_create("bma-torture", 0);
	struct torture_shared *shared = NULL;
	enum exit_code code;

	if (fd >= 0 && !ftruncate(fd, sizeof(*shared)))
		shared = map_shared(fd);
	if (!shared) {
		complain("no memory for the results: %s", strerror(errno));
		return EXIT_FAILED;
	}
	shared->params = *params;
	plan(shared);
	torture_print_heading(shared);
	code = run_phases(shared, fd);
	if (code == EXIT_OK)
		code = torture_print_result(shared);
	munmap(shared, sizeof(*shared));
	close(fd);
	return code;
}

/* What run_again() starts. */
enum exit_code torture_phase_on_fd(const char *text)
{
	struct torture_shared *shared = NULL;
	unsigned int nr;
	int fd;

	if (sscanf(text, "%d,%u", &fd, &nr) == 2 && nr < MAX_PHASES)
		shared = map_shared(fd);
	if (!shared)
		return usage_error("--phase is for its own use");
	return torture_run(shared, nr);
}
