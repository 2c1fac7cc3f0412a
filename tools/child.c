// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * child.c - run one contestant in a process of its own
 */
#define _GNU_SOURCE
#include "child.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

void *shared_alloc(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p != MAP_FAILED)
		return p;
	complain("no memory for the results: %s", strerror(errno));
	return NULL;
}

void shared_free(void *memory, size_t size)
{
	munmap(memory, size);
}

static void child_main(pid_t parent, enum exit_code (*body)(void *arg), void *arg)
{
	/* A parent that is killed must not leave a benchmark running. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(EXIT_FAILED);
	exit(body(arg));
}

/* That a trial is killed is no news. */
static enum exit_code wait_for_child(const char *what, pid_t child)
{
	int status;

	while (waitpid(child, &status, 0) < 0) {
		if (errno == EINTR)
			continue;
		complain("lost the %s run: %s", what ? what : "trial", strerror(errno));
		return EXIT_FAILED;
	}
	if (WIFEXITED(status))
		return WEXITSTATUS(status) == EXIT_OK ? EXIT_OK : EXIT_FAILED;
	if (what)
		complain("the %s run was killed: %s", what, strsignal(WTERMSIG(status)));
	return EXIT_FAILED;
}

enum exit_code run_in_child(const char *what, enum exit_code (*body)(void *arg), void *arg)
{
	pid_t parent = getpid();
	pid_t child;

	/* What is still buffered would be written twice. */
	fflush(NULL);
	child = fork();
	if (child < 0) {
		complain("cannot start the %s run: %s", what ? what : "trial", strerror(errno));
		return EXIT_FAILED;
	}
	if (!child)
		child_main(parent, body, arg);
	return wait_for_child(what, child);
}
