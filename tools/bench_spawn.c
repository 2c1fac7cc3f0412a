// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * bench_spawn.c - one run in a program of its own
 *
 * malloc can be replaced, and bma be the shared library, only from a program's start.  So the run
 * is written into a file without a name that the new program has as a descriptor, and maps; the
 * result is in there too.
 */
#define _GNU_SOURCE
#include "bench.h"
#include "child.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SHARED_PROGRAM "bma-shared"

/* Where it is installed; the build says. */
#ifndef BMA_LIBEXECDIR
#define BMA_LIBEXECDIR "/usr/local/libexec/bma"
#endif

/* Both programs are built of the same tables, so places in them mean the same. */
struct job {
	size_t bench, at, who;
	bool probe; /* only say whether malloc is what it should be */
	struct bench_params params;
	struct bench_result result;
};

struct spawn {
	const struct bench_run *run;
	const char *program;
	int fd;
	bool quiet;
};

static bool is_there(const char *path)
{
	return !access(path, X_OK);
}

/* Beside this program, as in the build directory, or where it is installed. */
static bool find_shared(char *path, size_t size)
{
	ssize_t got = readlink("/proc/self/exe", path, size - 1);
	char *slash;

	if (got > 0) {
		path[got] = '\0';
		slash = strrchr(path, '/');
		snprintf(slash + 1, size - (size_t)(slash + 1 - path), "%s", SHARED_PROGRAM);
		if (is_there(path))
			return true;
	}
	snprintf(path, size, "%s/%s", BMA_LIBEXECDIR, SHARED_PROGRAM);
	return is_there(path);
}

static enum exit_code exec_worker(void *arg)
{
	const struct spawn *spawn = arg;
	char fd[16];
	char *argv[] = { (char *)"bma", (char *)"bench", (char *)"--worker", fd, NULL };

	snprintf(fd, sizeof(fd), "%d", spawn->fd);
	if (spawn->run->who->preload)
		setenv("LD_PRELOAD", spawn->run->who->preload, 1);
	if (spawn->run->who->environment)
		putenv((char *)spawn->run->who->environment);
	/* A library that cannot be preloaded is the linker's complaint, and the row's. */
	if (spawn->quiet)
		dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
	execv(spawn->program, argv);
	complain("cannot run %s: %s", spawn->program, strerror(errno));
	_exit(EXIT_FAILED);
}

static struct job *map_job(int fd)
{
	void *p = mmap(NULL, sizeof(struct job), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	return p == MAP_FAILED ? NULL : p;
}

static struct job *new_job(int *fd)
{
	struct job *job = NULL;

	*fd = memfd_create("bma bench", 0);
	if (*fd >= 0 && !ftruncate(*fd, sizeof(*job)))
		job = map_job(*fd);
	if (!job)
		complain("no memory for the results: %s", strerror(errno));
	return job;
}

/* Each library is asked for once. */
static bool can_preload(struct spawn *spawn, struct job *job)
{
	static const char *asked[16];
	static bool answer[16];
	const char *preload = spawn->run->who->preload;
	size_t i = 0;

	while (i < ARRAY_SIZE(asked) - 1 && asked[i] && strcmp(asked[i], preload))
		i++;
	if (!asked[i]) {
		asked[i] = preload;
		job->probe = spawn->quiet = true;
		answer[i] = run_in_child(NULL, exec_worker, spawn) == EXIT_OK;
		job->probe = spawn->quiet = false;
	}
	return answer[i];
}

static enum exit_code spawn_job(struct spawn *spawn, struct job *job)
{
	const struct bench_run *run = spawn->run;

	if (run->who->preload && !can_preload(spawn, job))
		return bench_cannot(run, "%s cannot be preloaded (is it installed?)",
				    run->who->preload);
	return run_in_child(run->who->name, exec_worker, spawn);
}

enum exit_code bench_spawn(const struct bench_run *run)
{
	char path[PATH_MAX] = "/proc/self/exe";
	struct spawn spawn = { .run = run, .program = path };
	enum exit_code code;
	struct job *job;

	if (run->who->program == PROGRAM_SHARED && !find_shared(path, sizeof(path)))
		return bench_cannot(run, "%s, which is linked with libbma.so, is not there",
				    SHARED_PROGRAM);
	job = new_job(&spawn.fd);
	if (!job)
		return EXIT_FAILED;
	job->bench = bench_index(run->bench);
	job->at = (size_t)(run->at - run->bench->cases);
	job->who = (size_t)(run->who - run->bench->contestants);
	job->params = run->params;
	code = spawn_job(&spawn, job);
	if (!run->result->why[0])
		*run->result = job->result;
	munmap(job, sizeof(*job));
	close(spawn.fd);
	return code;
}

/* Is it malloc's library, and not only named so in the environment? */
static bool is_preloaded(const char *library)
{
	void *handle = dlopen(library, RTLD_LAZY | RTLD_NOLOAD);

	if (handle)
		dlclose(handle);
	return handle;
}

enum exit_code bench_worker(const char *fd)
{
	struct job *job = map_job(atoi(fd));
	const struct bench *bench = job ? bench_by_index(job->bench) : NULL;
	struct bench_run run;
	static char name[64];

	if (!bench || job->at >= bench->nr_cases || job->who >= bench->nr_contestants)
		return usage_error("--worker is for bma itself");
	run = (struct bench_run){ bench, &bench->cases[job->at], &bench->contestants[job->who],
				  job->params, &job->result };
	snprintf(name, sizeof(name), "bma bench %s", bench->name);
	set_tool_name(name);
	if (run.who->preload && !is_preloaded(run.who->preload))
		return EXIT_FAILED;
	if (job->probe)
		return EXIT_OK;
	return run.who->run ? run.who->run(&run) : bench->run(&run);
}
