// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * use_after_free.c CASE - a program with one mistake, for test_asan.sh and test_valgrind.sh
 */
#include <string.h>
#include <unistd.h>

#include <bma/bpf_mem_alloc.h>
#include <bma/rcu.h>

static struct bpf_mem_alloc fixed, sized, percpu;
static volatile char seen;

/* Readers are in the section; then they are not, and the object's grace period passes. */
static void wait_and_read(char *obj, int in_section)
{
	bpf_rcu_read_lock();
	bpf_mem_cache_free_rcu(&fixed, obj);
	usleep(100000);
	if (in_section)
		seen = obj[3];
	bpf_rcu_read_unlock();
	bpf_rcu_barrier();
	if (!in_section)
		seen = obj[3]; /* LINE: waited */
}

static void run(const char *name, char *obj, char *small, char *each)
{
	if (!strcmp(name, "freed")) {
		bpf_mem_cache_free(&fixed, obj);
		seen = obj[3]; /* LINE: freed */
	} else if (!strcmp(name, "waited")) {
		wait_and_read(obj, 0);
	} else if (!strcmp(name, "section")) {
		wait_and_read(obj, 1);
	} else if (!strcmp(name, "tail")) {
		obj[60] = 1; /* LINE: tail */
	} else if (!strcmp(name, "class_tail")) {
		small[24] = 1; /* LINE: class_tail */
	} else if (!strcmp(name, "percpu")) {
		each = bpf_this_cpu_ptr(each);
		each[30] = 1; /* LINE: percpu */
	} else {
		bpf_mem_cache_free(&fixed, obj);
	}
}

int main(int argc, char **argv)
{
	char *obj, *small, *each;

	if (argc != 2 || bpf_mem_alloc_init(&fixed, 60, false) ||
	    bpf_mem_alloc_init(&sized, 0, false) || bpf_mem_alloc_init(&percpu, 30, true))
		return 1;
	obj = bpf_mem_cache_alloc(&fixed);
	small = bpf_mem_alloc(&sized, 20);
	each = bpf_mem_cache_alloc(&percpu);
	memset(obj, 1, 60);
	memset(small, 1, 20);
	memset(each, 1, 30);
	run(argv[1], obj, small, each);
	bpf_mem_free(&sized, small);
	bpf_mem_cache_free(&percpu, each);
	if (!strcmp(argv[1], "tail") || !strcmp(argv[1], "class_tail"))
		bpf_mem_cache_free(&fixed, obj);
	return 0;
}
