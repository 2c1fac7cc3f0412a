// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * gnuplot.c - run gnuplot
 *
 * The script goes to gnuplot by a file without a name, not by a pipe: a gnuplot that ends early
 * then needs no SIGPIPE dealt with.  The picture comes back on its standard output, so that the
 * user's file name need not be quoted for gnuplot.
 */
#define _GNU_SOURCE
#include "gnuplot.h"
#include "tool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* What shells say, too. */
#define NO_SUCH_COMMAND 127

static void exec_gnuplot(int script, int picture)
{
	/* Standard input is where gnuplot reads a script from when it is given none by name. */
	if (dup2(script, STDIN_FILENO) >= 0 && dup2(picture, STDOUT_FILENO) >= 0)
		execlp("gnuplot", "gnuplot", (char *)NULL);
	_exit(errno == ENOENT ? NO_SUCH_COMMAND : 126);
}

/* gnuplot's exit code, or -1. */
static int run_gnuplot(int script, int picture)
{
	pid_t pid = fork();
	int status;

	if (!pid)
		exec_gnuplot(script, picture);
	if (pid < 0)
		return -1;
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return -1;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static enum gnuplot_end draw(FILE *script, int picture, const char *path)
{
	struct stat st;
	int code;

	if (fflush(script) || ferror(script) || lseek(fileno(script), 0, SEEK_SET)) {
		complain("cannot write the script for gnuplot: %s", strerror(errno));
		return GNUPLOT_FAILED;
	}
	code = run_gnuplot(fileno(script), picture);
	if (code == NO_SUCH_COMMAND) {
		complain("no plot was made: gnuplot is not installed (Debian: gnuplot-nox)");
		return GNUPLOT_MISSING;
	}
	if (!code && !fstat(picture, &st) && st.st_size > 0)
		return GNUPLOT_DREW;
	complain("no plot was made: gnuplot could not draw %s", path);
	return GNUPLOT_FAILED;
}

static enum gnuplot_end cannot_write(const char *path)
{
	complain("cannot write %s: %s", path, strerror(errno));
	return GNUPLOT_FAILED;
}

/* Draw into @part, then rename it. */
static enum gnuplot_end draw_file(const char *path, const char *part, FILE *script)
{
	int picture = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	enum gnuplot_end end;

	if (picture < 0)
		return cannot_write(path);
	end = draw(script, picture, path);
	if (close(picture) && end == GNUPLOT_DREW)
		end = cannot_write(path);
	if (end == GNUPLOT_DREW && rename(part, path))
		end = cannot_write(path);
	if (end != GNUPLOT_DREW)
		unlink(part);
	return end;
}

enum gnuplot_end gnuplot(const char *path, void (*write_script)(FILE *script, const void *arg),
			 const void *arg)
{
	enum gnuplot_end end = GNUPLOT_FAILED;
	FILE *script = tmpfile();
	char *part = NULL;

	if (script && asprintf(&part, "%s.part", path) > 0) {
		write_script(script, arg);
		end = draw_file(path, part, script);
		free(part);
	} else {
		complain("cannot write the script for gnuplot: %s", strerror(errno));
	}
	if (script)
		fclose(script);
	return end;
}
