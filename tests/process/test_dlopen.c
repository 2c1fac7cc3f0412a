// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_dlopen.c - a user of the library that is itself loaded and unloaded
 *
 * The plugin comes twice: linked to libbma.so, and with libbma.a inside.  This program has nothing of
 * the library; each case runs in a process of its own, which has not loaded it yet.  The plugin goes with
 * objects in limbo, grace periods under way and the reclaimer at work.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "plugin.h"

#define LIMIT_S 60

static const char *path;

#define must(cond)                                                                                 \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			fprintf(stderr, "%s:%d: must be: %s\n", __FILE__, __LINE__, #cond);        \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

static void sleep_us(long us)
{
	struct timespec ts = { .tv_nsec = us * 1000 };

	nanosleep(&ts, NULL);
}

static unsigned long turns(unsigned long usual)
{
	const char *is_long = getenv("BMA_TEST_LONG");

	return is_long && *is_long == '1' ? usual * 20 : usual;
}

static void *load(void)
{
	void *plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL);

	if (!plugin)
		fprintf(stderr, "%s\n", dlerror());
	must(plugin);
	return plugin;
}

/* The loader has a lock of its own, which TSan does not see: it would report the loader's memory. */
static void unload(void *plugin)
{
	static pthread_mutex_t loader = PTHREAD_MUTEX_INITIALIZER;

	pthread_mutex_lock(&loader);
	must(!dlclose(plugin));
	pthread_mutex_unlock(&loader);
}

static void run(void *plugin, unsigned int flags)
{
	int (*fn)(unsigned int flags) = (int (*)(unsigned int))dlsym(plugin, "plugin_run");

	must(fn && !fn(flags));
}

static struct plugin_left left(void *plugin)
{
	void (*fn)(struct plugin_left * left) =
		(void (*)(struct plugin_left *))dlsym(plugin, "plugin_left");
	struct plugin_left left;

	must(fn);
	fn(&left);
	return left;
}

/* Loaded, used and unloaded, at once or a little later. */
static void come_and_go(unsigned int nth, unsigned int flags)
{
	void *plugin = load();

	run(plugin, flags);
	if (nth % 3 == 0)
		sleep_us(nth % 7 * 1000);
	unload(plugin);
}

static size_t mappings(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	size_t n = 0;
	int c;

	must(maps);
	while ((c = getc(maps)) != EOF)
		n += c == '\n';
	fclose(maps);
	return n;
}

/* All is back, but @allocators that were never destroyed. */
static void check_left(unsigned long allocators)
{
	void *plugin = load();
	int tries;

	for (tries = 0; tries < 3000 && left(plugin).dying; tries++)
		sleep_us(10000);
	must(!left(plugin).dying);
	must(left(plugin).allocators == allocators);
	if (!allocators)
		must(!left(plugin).spans);
	unload(plugin);
}

static void again_and_again(void)
{
	unsigned long n = turns(200), i;
	size_t before = 0;

	for (i = 0; i < n; i++) {
		come_and_go((unsigned int)i, (unsigned int)i % 4 & (i % 8 ? ~0u : ~PLUGIN_WAIT));
		if (i == n / 2)
			before = mappings();
	}
	must(mappings() <= before + 8);
	check_left(0);
}

static void undestroyed(void)
{
	unsigned long i;

	for (i = 0; i < 20; i++)
		come_and_go((unsigned int)i, (unsigned int)i % 4 | PLUGIN_LEAVE);
	sleep_us(300000);
	check_left(20);
}

static void *come_and_go_in_thread(void *arg)
{
	unsigned long n = turns(50), i;

	for (i = 0; i < n; i++)
		come_and_go((unsigned int)(i + (uintptr_t)arg), (unsigned int)i % 4);
	return NULL;
}

/* Who ends after the plugin is gone was a reader of it, and ran its sequences. */
static void in_threads(void)
{
	pthread_t threads[4];
	uintptr_t i;

	for (i = 0; i < 4; i++)
		must(!pthread_create(&threads[i], NULL, come_and_go_in_thread, (void *)i));
	for (i = 0; i < 4; i++)
		must(!pthread_join(threads[i], NULL));
	check_left(0);
}

/* A fork after the plugin is gone runs its handlers. */
static void then_fork(void)
{
	int i, status;
	pid_t pid;

	for (i = 0; i < 20; i++) {
		come_and_go((unsigned int)i, 0);
		pid = fork();
		must(pid >= 0);
		if (!pid) {
			come_and_go((unsigned int)i, PLUGIN_THREAD | PLUGIN_WAIT);
			check_left(0);
			_exit(0);
		}
		must(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && !WEXITSTATUS(status));
	}
	check_left(0);
}

/* Without an allocator nothing of it stays, and so nothing of it may be called later. */
static void unused(void)
{
	int i, status;
	pid_t pid;

	for (i = 0; i < 20; i++)
		unload(load());
	must(!dlopen(path, RTLD_NOW | RTLD_NOLOAD));
	pid = fork();
	must(pid >= 0);
	if (!pid)
		_exit(0);
	must(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
	come_and_go(0, 0);
}

/* Statistics, too, start the reclaimer. */
static void only_asked(void)
{
	void *plugin = load();

	must(!left(plugin).allocators);
	unload(plugin);
	sleep_us(100000);
	come_and_go(0, PLUGIN_THREAD | PLUGIN_WAIT);
	check_left(0);
}

static void in_process_of_its_own(void **state)
{
	void (*fn)(void) = (void (*)(void)) * state;
	int status;
	pid_t pid;

	if (fn == then_fork && getenv("BMA_TEST_QEMU")) {
		puts("# skipped: what runs us is not made for children of several threads");
		skip();
	}
	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		alarm(LIMIT_S);
		fn();
		/* By way of all that stays loaded. */
		exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

#define OWN_PROCESS(fn)                                                                            \
	{                                                                                          \
#fn, in_process_of_its_own, NULL, NULL, (void *)(uintptr_t)(fn)                    \
	}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		OWN_PROCESS(again_and_again), OWN_PROCESS(undestroyed), OWN_PROCESS(in_threads),
		OWN_PROCESS(then_fork),	      OWN_PROCESS(unused),	OWN_PROCESS(only_asked),
	};

	must(argc == 2);
	path = argv[1];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
