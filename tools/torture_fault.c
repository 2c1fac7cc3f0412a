// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * torture_fault.c - calls to the system that fail
 *
 * This command is linked so that calls of mmap() and pthread_create(), the library's above all, come
 * here first (--wrap; mmap() is mmap64() to the linker where offsets have 64 bits).  Nothing fails but in a run that asks for it: mmap() in spells that
 * run_limits() begins and ends, pthread_create() for the first few calls of the library, which
 * tries again.  The tool's own threads are made by thread_create(), which goes past that.
 *
 * membarrier() fails by a filter, from before the library looks for it; so the process runs
 * itself again with the filter in place.
 */
#define _GNU_SOURCE
#include "torture.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/membarrier.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

void *__real_mmap64(void *addr, size_t length, int prot, int flags, int fd, off_t offset);
void *__wrap_mmap64(void *addr, size_t length, int prot, int flags, int fd, off_t offset);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *),
			  void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *),
			  void *arg);

const char *const fault_names[NR_FAULTS] = {
	[FAULT_MMAP] = "mmap",
	[FAULT_THREAD] = "thread",
	[FAULT_MEMBARRIER] = "membarrier",
};

/* The library makes a thread for itself and for each flavour: fail up to so many calls. */
#define MAX_THREAD_FAULTS 8

enum { NEVER, SOMETIMES, ALWAYS };

static _Atomic int mmap_fails;
static _Atomic int thread_faults;

static void faulted(enum fault which)
{
	if (torture.phase)
		count(&torture.phase->faults[which], 1);
}

/* Any context; its random numbers come from how many calls there have been. */
static bool mmap_shall_fail(void)
{
	static _Atomic uint64_t calls;
	uint64_t random;

	if (peek(&mmap_fails) != SOMETIMES)
		return peek(&mmap_fails) == ALWAYS;
	random = stream(2000000 + atomic_fetch_add(&calls, 1));
	return one_in(4, &random);
}

void *__wrap_mmap64(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
	if (!mmap_shall_fail())
		return __real_mmap64(addr, length, prot, flags, fd, offset);
	faulted(FAULT_MMAP);
	errno = ENOMEM;
	return MAP_FAILED;
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *),
			  void *arg)
{
	int left = peek(&thread_faults);

	while (left > 0)
		if (atomic_compare_exchange_weak(&thread_faults, &left, left - 1)) {
			faulted(FAULT_THREAD);
			return EAGAIN;
		}
	return __real_pthread_create(thread, attr, fn, arg);
}

int thread_create(pthread_t *thread, void *(*fn)(void *), void *arg)
{
	return __real_pthread_create(thread, NULL, fn, arg);
}

void faults_begin(uint64_t seed)
{
	if (torture.params->faults[FAULT_THREAD])
		poke(&thread_faults, 1 + (int)below(MAX_THREAD_FAULTS, &seed));
}

void faults_spell(bool on)
{
	if (torture.params->faults[FAULT_MMAP])
		poke(&mmap_fails, on ? ALWAYS : SOMETIMES);
}

void faults_end(void)
{
	poke(&mmap_fails, NEVER);
	poke(&thread_faults, 0);
}

bool membarrier_works(void)
{
	return syscall(__NR_membarrier, MEMBARRIER_CMD_QUERY, 0, 0) > 0;
}

/* On this machine's own calls only; another architecture's number may mean anything. */
bool deny_membarrier(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_membarrier, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = { ARRAY_SIZE(code), code };

	return !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) &&
	       !syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) && !membarrier_works();
}
