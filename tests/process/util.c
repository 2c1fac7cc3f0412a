// SPDX-License-Identifier: MIT OR GPL-2.0-only
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/filter.h>
#include <linux/membarrier.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "util.h"

/*
 * liburcu is not instrumented, so TSan is told what a section's end orders; home/process/flavors.c says the
 * other half, after a grace period.
 */
#if TEST_TSAN
void __tsan_release(void *addr);
#else
#define __tsan_release(addr) ((void)(addr))
#endif

/* liburcu's headers, included together, declare only the flavour of the first. */
extern const struct rcu_flavor_struct urcu_memb_flavor, urcu_mb_flavor, urcu_qsbr_flavor,
	urcu_bp_flavor;

static int own_ongoing(void)
{
	return bpf_rcu_read_lock_held();
}

static int trace_ongoing(void)
{
	return rcu_read_lock_trace_held();
}

static void nothing(void)
{
}

static const struct rcu_flavor_struct own_readers = {
	.read_lock = bpf_rcu_read_lock,
	.read_unlock = bpf_rcu_read_unlock,
	.read_ongoing = own_ongoing,
	.thread_online = nothing,
	.thread_offline = nothing,
	.register_thread = nothing,
	.unregister_thread = nothing,
};

const struct rcu_flavor_struct trace_readers = {
	.read_lock = rcu_read_lock_trace,
	.read_unlock = rcu_read_unlock_trace,
	.read_ongoing = trace_ongoing,
	.thread_online = nothing,
	.thread_offline = nothing,
	.register_thread = nothing,
	.unregister_thread = nothing,
};

const struct flavor flavors[NR_FLAVORS] = {
	[MEMB] = { "memb", &urcu_memb_flavor }, [MB] = { "mb", &urcu_mb_flavor },
	[QSBR] = { "qsbr", &urcu_qsbr_flavor }, [BP] = { "bp", &urcu_bp_flavor },
	[OWN] = { "own", &own_readers },
};

void must_have(const char *file, int line, const char *what)
{
	char buf[512];
	int len = snprintf(buf, sizeof(buf), "%s:%d: must be: %s\n", file, line, what);

	if (len > 0 && write(STDERR_FILENO, buf, (size_t)len) < 0)
		_exit(3);
	abort();
}

double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + 1e-9 * (double)ts.tv_nsec;
}

void sleep_us(unsigned int us)
{
	struct timespec ts = { .tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000L };

	nanosleep(&ts, NULL);
}

static bool is_set(const char *name)
{
	const char *value = getenv(name);

	return value && *value && strcmp(value, "0") != 0;
}

bool under_valgrind(void)
{
	return is_set("BMA_TEST_VALGRIND");
}

bool under_qemu(void)
{
	return is_set("BMA_TEST_QEMU");
}

bool in_debug_mode(void)
{
	return is_set("BMA_DEBUG");
}

bool is_long(void)
{
	return is_set("BMA_TEST_LONG");
}

bool is_plain(void)
{
	return !TEST_ASAN && !TEST_TSAN && !under_valgrind() && !under_qemu() && !in_debug_mode();
}

void skip_because(const char *why)
{
	printf("# skipped: %s\n", why);
	skip();
}

void need_single_steps(void)
{
#ifndef __x86_64__
	skip_because("single steps are known for x86-64 only");
#endif
	if (!is_plain())
		skip_because("no single steps under a sanitizer or an emulator, or in debug mode");
}

unsigned long turns(unsigned long usual, unsigned long full)
{
	unsigned long n = is_long() ? full : usual;

	if (under_valgrind() || in_debug_mode())
		n /= 50;
	else if (TEST_TSAN || under_qemu())
		n /= 20;
	else if (TEST_ASAN)
		n /= 4;
	return n ? n : 1;
}

size_t rss(void)
{
	unsigned long total, resident = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	must(f && fscanf(f, "%lu %lu", &total, &resident) == 2);
	fclose(f);
	return resident * (size_t)sysconf(_SC_PAGESIZE);
}

static cpu_set_t cpus_here;
static pthread_once_t cpus_once = PTHREAD_ONCE_INIT;

static void cpus_init(void)
{
	must(!sched_getaffinity(getpid(), sizeof(cpus_here), &cpus_here));
}

unsigned int nr_cpus_here(void)
{
	pthread_once(&cpus_once, cpus_init);
	return (unsigned int)CPU_COUNT(&cpus_here);
}

int cpu_here(unsigned int nth)
{
	int cpu = -1;

	nth %= nr_cpus_here();
	do
		cpu++;
	while (!CPU_ISSET(cpu, &cpus_here) || nth--);
	return cpu;
}

void pin(unsigned int nth)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(cpu_here(nth), &one);
	must(!sched_setaffinity(0, sizeof(one), &one));
}

void unpin(void)
{
	pthread_once(&cpus_once, cpus_init);
	must(!sched_setaffinity(0, sizeof(cpus_here), &cpus_here));
}

void thread_start(pthread_t *thread, void *(*fn)(void *), void *arg)
{
	must(!pthread_create(thread, NULL, fn, arg));
}

void thread_join(pthread_t thread)
{
	must(!pthread_join(thread, NULL));
}

static bool ended_well(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		must(errno == EINTR);
	return WIFEXITED(status) && !WEXITSTATUS(status);
}

/* Where each of its threads is. */
static void show(pid_t pid)
{
	char cmd[200];

	fprintf(stderr, "child %d hangs\n", (int)pid);
	snprintf(
		cmd, sizeof(cmd),
		"gdb -p %d --batch -nx -ex 'thread apply all bt 12' 2>/dev/null | grep '^[T#]' >&2",
		(int)pid);
	if (system(cmd) < 0)
		perror("system");
}

bool child_ended_well(pid_t pid)
{
	double give_up = now() + WAIT_S;
	int status, us = 20;
	pid_t ended;

	must(pid > 0);
	while (!(ended = waitpid(pid, &status, WNOHANG)) && now() < give_up) {
		sleep_us((unsigned int)us);
		us += us < 2000 ? us / 4 : 0;
	}
	must(ended >= 0);
	if (ended)
		return WIFEXITED(status) && !WEXITSTATUS(status);
	show(pid);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	return false;
}

bool in_child(void (*fn)(void *arg), void *arg)
{
	pid_t pid;

	fflush(NULL);
	pid = fork();
	must(pid >= 0);
	if (!pid) {
		fn(arg);
		fflush(NULL);
		_exit(0);
	}
	return ended_well(pid);
}

/* On this machine's own calls only; another architecture's number may mean anything. */
void deny_membarrier(int err)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_membarrier, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned int)err),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = { sizeof(code) / sizeof(code[0]), code };

	must(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	must(!syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &filter));
	must(syscall(__NR_membarrier, MEMBARRIER_CMD_QUERY, 0, 0) < 0 && errno == err);
}

bool run_without_membarrier(int err, const char *arg, char *env)
{
	pid_t pid;

	fflush(NULL);
	pid = fork();
	must(pid >= 0);
	if (!pid) {
		if (err)
			deny_membarrier(err);
		must(!env || !putenv(env));
		execl("/proc/self/exe", "again", arg, (char *)NULL);
		_exit(4);
	}
	return ended_well(pid);
}

void need_filters(void)
{
	if (under_qemu() || under_valgrind())
		skip_because("what runs us has no filters of system calls, and starts no program");
}

static int stderr_saved = -1, stderr_pipe[2];
static char stderr_text[1 << 16];

void stderr_begin(void)
{
	must(stderr_saved < 0);
	fflush(stderr);
	must(!pipe2(stderr_pipe, O_CLOEXEC | O_NONBLOCK));
	stderr_saved = dup(STDERR_FILENO);
	must(stderr_saved >= 0 && dup2(stderr_pipe[1], STDERR_FILENO) >= 0);
}

const char *stderr_end(void)
{
	ssize_t len;

	fflush(stderr);
	must(dup2(stderr_saved, STDERR_FILENO) >= 0);
	close(stderr_saved);
	stderr_saved = -1;
	close(stderr_pipe[1]);
	len = read(stderr_pipe[0], stderr_text, sizeof(stderr_text) - 1);
	close(stderr_pipe[0]);
	stderr_text[len > 0 ? len : 0] = 0;
	return stderr_text;
}

bool is_qsbr(const struct rcu_flavor_struct *flavor)
{
	return flavor == &urcu_qsbr_flavor;
}

bool is_own(const struct rcu_flavor_struct *flavor)
{
	return flavor == &own_readers;
}

void reader_enter(const struct rcu_flavor_struct *flavor)
{
	if (is_qsbr(flavor))
		flavor->thread_online();
	flavor->read_lock();
}

void reader_leave(const struct rcu_flavor_struct *flavor)
{
	__tsan_release((void *)(uintptr_t)flavor);
	flavor->read_unlock();
	if (is_qsbr(flavor))
		flavor->thread_offline();
}

static void *sit(void *arg)
{
	struct sitter *s = arg;

	atomic_store(&s->tid, (int)syscall(SYS_gettid));
	s->flavor->register_thread();
	reader_enter(s->flavor);
	atomic_store(&s->in, true);
	while (!atomic_load(&s->leave))
		sleep_us(200);
	reader_leave(s->flavor);
	s->flavor->unregister_thread();
	return NULL;
}

void sitter_begin(struct sitter *s, const struct rcu_flavor_struct *flavor)
{
	*s = (struct sitter){ .flavor = flavor };
	thread_start(&s->thread, sit, s);
	await(atomic_load(&s->in));
}

void sitter_end(struct sitter *s)
{
	atomic_store(&s->leave, true);
	thread_join(s->thread);
}

static uint64_t word_of(uint64_t seed, size_t i)
{
	return (seed + i) * 0x9e3779b97f4a7c15u;
}

void fill(void *obj, size_t bytes, uint64_t seed)
{
	uint64_t word;
	size_t i;

	for (i = 0; i < bytes; i += sizeof(word)) {
		word = word_of(seed, i);
		memcpy((char *)obj + i, &word, bytes - i < sizeof(word) ? bytes - i : sizeof(word));
	}
}

bool is_filled(const void *obj, size_t bytes, uint64_t seed)
{
	uint64_t word;
	size_t i;

	for (i = 0; i < bytes; i += sizeof(word)) {
		word = word_of(seed, i);
		if (memcmp((const char *)obj + i, &word,
			   bytes - i < sizeof(word) ? bytes - i : sizeof(word)) != 0)
			return false;
	}
	return true;
}

bool is_mapped(void *p)
{
	unsigned char there;

	return !mincore(p, 4096, &there);
}

bool is_zero(const void *obj, size_t bytes)
{
	const char *p = obj;

	return !bytes || (!*p && !memcmp(p, p + 1, bytes - 1));
}

static int compare(const void *a, const void *b)
{
	const uintptr_t x = *(const uintptr_t *)a, y = *(const uintptr_t *)b;

	return (x > y) - (x < y);
}

bool has_twins(void **objs, size_t n)
{
	size_t i;

	qsort(objs, n, sizeof(*objs), compare);
	for (i = 1; i < n; i++)
		if (objs[i] == objs[i - 1])
			return true;
	return false;
}
