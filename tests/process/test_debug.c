// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_debug.c - debug mode as its user sees it: each misuse in a child of its own, and what it says
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util.h"

#define PATTERN 0x6b

static struct bpf_mem_alloc ma;
static int status;

static void begin(void)
{
	must(!bpf_mem_alloc_init(&ma, 60, false));
}

static char *get(void)
{
	char *obj = bpf_mem_cache_alloc(&ma);

	must(obj);
	return obj;
}

/* What @fn says in a child with these options; it says first where its allocator is, then its pointer. */
static const char *said(const char *options, void (*fn)(void))
{
	pid_t pid;

	stderr_begin();
	pid = fork();
	must(pid >= 0);
	if (!pid) {
		must(!setenv("BMA_DEBUG", options, 1));
		fn();
		_exit(0);
	}
	must(waitpid(pid, &status, 0) == pid);
	return stderr_end();
}

static void tell(const void *ptr)
{
	fprintf(stderr, "PTR 0x%lx\n", (unsigned long)(uintptr_t)ptr);
}

static bool has(const char *text, const char *part)
{
	if (strstr(text, part))
		return true;
	print_error("no \"%s\" in:\n%s", part, text);
	return false;
}

/* The report names function, pointer, allocator, size and this program. */
static void assert_names(const char *text, const char *func, const char *what)
{
	char want[200], ptr[32];

	assert_true(WIFEXITED(status) && !WEXITSTATUS(status));
	assert_int_equal(sscanf(text, "PTR %30s", ptr), 1);
	snprintf(want, sizeof(want), "%s: %s: %s", func, what, ptr);
	assert_true(has(text, want));
	snprintf(want, sizeof(want), "allocator 0x%lx, objects of 60 bytes",
		 (unsigned long)(uintptr_t)&ma);
	assert_true(has(text, want));
	if (strstr(text, "allocated by"))
		assert_true(has(text, "process_debug+0x"));
}

static void free_twice(void)
{
	char *obj;

	begin();
	obj = get();
	tell(obj);
	bpf_mem_cache_free_rcu(&ma, obj);
	bpf_mem_cache_free(&ma, obj);
	must(stats_of(&ma).bad_frees == 1 && !stats_of(&ma).objs_in_use);
}

static void test_double_free(void **state)
{
	const char *text = said("1", free_twice);

	(void)state;
	assert_names(text, "bpf_mem_cache_free", "the object is freed already");
	assert_true(has(text, "\n    called by thread "));
	assert_true(has(text, "\n    allocated by thread "));
	assert_true(has(text, "\n    freed by bpf_mem_cache_free_rcu, thread "));
}

static void *racers_obj[500];
static pthread_barrier_t at_once;

static void *free_all(void *arg)
{
	int i;

	(void)arg;
	for (i = 0; i < 500; i++) {
		pthread_barrier_wait(&at_once);
		bpf_mem_cache_free(&ma, racers_obj[i]);
	}
	return NULL;
}

static void free_by_two(void)
{
	pthread_t threads[2];
	int i;

	begin();
	for (i = 0; i < 500; i++)
		racers_obj[i] = get();
	must(!pthread_barrier_init(&at_once, NULL, 2));
	for (i = 0; i < 2; i++)
		thread_start(&threads[i], free_all, NULL);
	for (i = 0; i < 2; i++)
		thread_join(threads[i]);
	must(stats_of(&ma).bad_frees == 500 && !stats_of(&ma).objs_in_use);
	for (i = 0; i < 500; i++)
		racers_obj[i] = get();
	must(!has_twins(racers_obj, 500));
}

static void test_double_free_by_two_threads(void **state)
{
	(void)state;
	assert_true(has(said("1", free_by_two), "the object is freed already"));
	assert_int_equal(status, 0);
}

static void free_interior(void)
{
	char *obj;

	begin();
	obj = get();
	tell(obj + 9);
	bpf_mem_free(&ma, obj + 9);
	must(stats_of(&ma).bad_frees == 1);
}

static void free_to_another(void)
{
	struct bpf_mem_alloc other;
	char *obj;

	begin();
	must(!bpf_mem_alloc_init(&other, 0, false));
	obj = get();
	tell(obj);
	bpf_mem_free(&other, obj);
	must(stats_of(&other).bad_frees == 1 && stats_of(&ma).objs_in_use == 1);
}

static void free_foreign(void)
{
	begin();
	tell(&ma);
	bpf_mem_free_rcu(&ma, &ma.group);
}

static void test_wrong_pointers(void **state)
{
	const char *text;

	(void)state;
	assert_names(said("1", free_interior), "bpf_mem_free",
		     "a pointer into an object, not to its beginning");
	text = said("1", free_to_another);
	assert_names(text, "bpf_mem_free", "an object of another allocator");
	assert_true(has(text, "allocated by"));
	text = said("1", free_foreign);
	assert_true(has(text, "bpf_mem_free_rcu: no object of this allocator: 0x"));
	assert_int_equal(status, 0);
}

static void use_after_destroy(void)
{
	char *obj;

	begin();
	obj = get();
	bpf_mem_cache_free(&ma, obj);
	bpf_mem_alloc_destroy(&ma);
	must(!bpf_mem_cache_alloc(&ma));
	bpf_mem_cache_free(&ma, obj);
}

static void test_use_after_destroy(void **state)
{
	int i;

	(void)state;
	for (i = 0; i < 2; i++) {
		const char *text = said(i ? "1" : "0", use_after_destroy);

		assert_true(has(text, "bpf_mem_cache_alloc: the allocator was destroyed: 0x"));
		assert_true(has(text, "bpf_mem_cache_free: the allocator was destroyed: 0x"));
		assert_int_equal(status, 0);
	}
}

static void write_then_alloc(void)
{
	char *obj;

	begin();
	pin(0);
	obj = get();
	tell(obj);
	bpf_mem_cache_free(&ma, obj);
	obj[13] = 1;
	must(get() == obj);
}

static void write_then_destroy(void)
{
	char *obj;

	begin();
	obj = get();
	tell(obj);
	bpf_mem_cache_free(&ma, obj);
	obj[13] = 1;
	bpf_mem_alloc_destroy(&ma);
	await_nothing_left();
}

static void test_write_after_free(void **state)
{
	const char *text;

	(void)state;
	if (TEST_ASAN || under_valgrind())
		skip_because("the tool that watches finds it first");
	text = said("1", write_then_alloc);
	assert_names(text, "bpf_mem_cache_alloc", "the object was written after it was freed");
	assert_true(has(text, ", byte 13,"));
	assert_true(has(text, "freed by bpf_mem_cache_free, thread "));
	text = said("1", write_then_destroy);
	assert_names(text, "bma", "the object was written after it was freed");
	assert_true(has(text, ", byte 13,"));
}

static void read_outside(void)
{
	char *obj, *other;
	int i;

	begin();
	obj = get();
	memset(obj, 1, 60);
	bpf_rcu_read_lock();
	bpf_mem_cache_free_rcu(&ma, obj);
	sleep_us(20000);
	must(obj[7] == 1);
	bpf_rcu_read_unlock();
	await(obj[7] == PATTERN);
	/* Where nobody is inside, at once. */
	other = get();
	bpf_mem_cache_free_rcu(&ma, other);
	must(other[7] == PATTERN);
	/* It stays so, whatever is allocated. */
	for (i = 0; i < 5000; i++) {
		other = get();
		must(other != obj);
		memset(other, 1, 60);
		bpf_mem_cache_free(&ma, other);
	}
	must(obj[7] == PATTERN);
	bpf_mem_alloc_destroy(&ma);
	await_nothing_left();
}

static void test_quarantine(void **state)
{
	(void)state;
	if (TEST_ASAN || under_valgrind())
		skip_because("the tool that watches finds it first");
	assert_string_equal(said("quarantine=1M", read_outside), "");
	assert_int_equal(status, 0);
}

static void lose(void)
{
	int i;

	begin();
	tell(get());
	for (i = 0; i < 20; i++)
		get();
	bpf_mem_alloc_destroy(&ma);
	await_nothing_left();
}

static void test_leaks(void **state)
{
	const char *text = said("1", lose), *at = text;
	int n = 0;

	(void)state;
	assert_true(has(text, "bpf_mem_alloc_destroy: 21 objects were never freed"));
	for (; (at = strstr(at, "the object was never freed")); at++)
		n++;
	assert_int_equal(n, 8);
	assert_true(has(text, "allocated by thread "));
}

static void test_options(void **state)
{
	(void)state;
	/* Off: the double free of before is not found, and there is nothing to abort for. */
	assert_true(has(said("0", use_after_destroy), "destroyed"));
	assert_true(has(said("shout,1", free_twice), "bma: BMA_DEBUG has an option that is not"));
	assert_int_equal(status, 0);
	assert_true(has(said("abort", free_twice), "freed already"));
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void handler(int sig)
{
	char *obj = get();

	(void)sig;
	bpf_mem_cache_free(&ma, obj);
	bpf_mem_cache_free(&ma, obj);
}

static void misuse_in_handlers(void)
{
	int i;

	begin();
	must(signal(SIGUSR1, handler) != SIG_ERR);
	for (i = 0; i < 50; i++)
		raise(SIGUSR1);
	must(stats_of(&ma).bad_frees == 50);
}

static void test_reports_from_handlers(void **state)
{
	const char *line = said("1", misuse_in_handlers);
	int n = 0;

	(void)state;
	assert_int_equal(status, 0);
	/* Each is whole. */
	while (*line) {
		assert_int_equal(strncmp(line, "bpf_mem_cache_free: the object is freed", 39), 0);
		line = strstr(line, "\n    called by");
		assert_non_null(line);
		line = strstr(line, "\n    allocated by");
		assert_non_null(line);
		line = strstr(line, "\n    freed by");
		assert_non_null(line);
		line = strchr(line + 1, '\n') + 1;
		n++;
	}
	assert_int_equal(n, 50);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_double_free),
		cmocka_unit_test(test_double_free_by_two_threads),
		cmocka_unit_test(test_wrong_pointers),
		cmocka_unit_test(test_use_after_destroy),
		cmocka_unit_test(test_write_after_free),
		cmocka_unit_test(test_quarantine),
		cmocka_unit_test(test_leaks),
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_reports_from_handlers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
