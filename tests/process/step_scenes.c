// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * step_scenes.c - the child of test_single_step.c: scenes, each of which leads through one path
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "inlined.h"
#include "step.h"
#include "tracer.h"

#ifdef __x86_64__

struct shared *shared;

static void mark(enum mark what)
{
	shared->mark = what;
	trace_stop();
}

/* --- the child: scenes -------------------------------------------------------------------------- */

#define OBJS 400
#define KEEP 80

static struct bpf_mem_alloc ma, own[3];
static void *objs[OBJS], *got, *given[KEEP];
static unsigned int nr_objs, nr_given;
static unsigned long handled;
static struct bpf_rcu_head head;
static _Atomic unsigned long callbacks, queued;

static int size_of_ma;

static void *take(struct bpf_mem_alloc *from, int size)
{
	void *obj = size ? bpf_mem_cache_alloc(from) : bpf_mem_alloc(from, 100);

	must(obj);
	fill(obj, size ? (size_t)size : 100, (uintptr_t)obj);
	return obj;
}

static void give(struct bpf_mem_alloc *to, void *obj, int size, bool rcu)
{
	must(is_filled(obj, size ? (size_t)size : 100, (uintptr_t)obj));
	if (size)
		rcu ? bpf_mem_cache_free_rcu(to, obj) : bpf_mem_cache_free(to, obj);
	else
		rcu ? bpf_mem_free_rcu(to, obj) : bpf_mem_free(to, obj);
}

static void read_both(void)
{
	bool rcu = bpf_rcu_read_lock_held(), trace = rcu_read_lock_trace_held();

	bpf_rcu_read_lock();
	rcu_read_lock_trace();
	must(bpf_rcu_read_lock_held() && rcu_read_lock_trace_held());
	bpf_rcu_read_unlock();
	rcu_read_unlock_trace();
	must(bpf_rcu_read_lock_held() == rcu && rcu_read_lock_trace_held() == trace);
}

static void use_own(void)
{
	static const int size[] = { 64, 0, 16 };
	unsigned int i;

	for (i = 0; i < 3; i++)
		give(&own[i], take(&own[i], size[i]), size[i], (handled + i) % 2);
}

/* Leave its magazine with more, with less, or another in its place. */
static void use_same(void)
{
	unsigned int n = (unsigned int[]){ 1, 3, KEEP }[handled / 4 % 3], i;

	if (handled % 4 < 2) {
		for (i = 0; i < n; i++)
			if (nr_given < KEEP)
				given[nr_given++] = take(&ma, size_of_ma);
		if (handled % 4 == 1)
			return;
	}
	while (nr_given)
		give(&ma, given[--nr_given], size_of_ma, handled % 4 == 3);
}

/* Return from the handler whose frame has @context as the C library does, with a stop before. */
static void handler_end(void *context)
{
	shared->mark = HANDLED;
	__asm__ __volatile__("mov %0, %%rsp\n\t"
			     "mov %1, %%eax\n\t"
			     "int3\n\t"
			     "syscall"
			     :
			     : "r"(context), "i"(SYS_rt_sigreturn)
			     : "rax", "memory");
	__builtin_unreachable();
}

static void on_signal(int sig, siginfo_t *info, void *context)
{
	int saved = errno;

	(void)sig;
	(void)info;
	handled++;
	errno = 4242;
	if (shared->same)
		use_same();
	else
		use_own();
	read_both();
	must(errno == 4242);
	errno = saved;
	handler_end(context);
}

static struct bpf_mem_cache *cache(void)
{
	return &ma.group->caches[ma.group->nr_caches == 1 ? 0 : 4];
}

/* How many objects this CPU's magazine has, of those that free or free_rcu work on. */
static uint64_t count(enum bma_top which)
{
	struct bma_cpu *block = ma.group->cpus[port_cpu()];
	struct bpf_mem_cache *c = cache();

	return bma_top_count(c, port_load(&bma_slot(c, block)->top[which], relaxed));
}

static void have(unsigned int n)
{
	while (nr_objs < n)
		objs[nr_objs++] = take(&ma, size_of_ma);
}

static void drop(bool rcu)
{
	give(&ma, objs[--nr_objs], size_of_ma, rcu);
}

static void till_empty(void)
{
	while (count(BMA_LOADED))
		have(nr_objs + 1);
}

static void till_full(enum bma_top which)
{
	while (nr_objs > 1 && count(which) < cache()->capacity)
		drop(which == BMA_BY_RCU);
}

/* A callback that stays in the reclaimer's thread, so that it does not change what a scene needs. */
static _Atomic bool held, release;
static struct bpf_rcu_head hold_head;

static void hold(struct bpf_rcu_head *h)
{
	(void)h;
	atomic_store(&held, true);
	while (!atomic_load(&release))
		sleep_us(100);
	atomic_store(&held, false);
}

static void hold_reclaimer(void)
{
	if (shared->same)
		return;
	atomic_store(&release, false);
	bpf_call_rcu(&hold_head, hold);
	await(atomic_load(&held));
}

static void release_reclaimer(void)
{
	atomic_store(&release, true);
	await(!atomic_load(&held));
}

static void one_in_hand(void)
{
	have(2);
	drop(true);
	have(3);
	drop(false);
}

/* As where there are no fast paths. */
static void one_in_hand_slow(void)
{
	one_in_hand();
	ma.cpus = (struct bma_cpu **)bma_world.no_cpus;
}

static void loaded_is_empty(void)
{
	have(1);
	till_empty();
}

static void loaded_is_full(void)
{
	have(100);
	till_full(BMA_LOADED);
}

static void previous_is_full(void)
{
	loaded_is_full();
	drop(false);
	till_empty();
}

static void depot_is_full(void)
{
	have(300);
	while (nr_objs > 1)
		drop(false);
	till_empty();
	have(nr_objs + 1);
	till_empty();
}

static void by_rcu_is_full(void)
{
	have(100);
	drop(true);
	till_full(BMA_BY_RCU);
}

/* Of objects of 4096 bytes, limbo polls at each sixth magazine. */
static void poll_is_due(void)
{
	int magazines;

	have(60);
	for (magazines = 0; magazines < 6; magazines++) {
		drop(true);
		till_full(BMA_BY_RCU);
	}
}

static void limbo_is_ripe(void)
{
	have(200);
	till_empty();
	while (nr_objs > 60)
		drop(true);
	must(bpf_rcu_poll_state(bpf_rcu_get_state()));
}

static void nothing(void)
{
}

static void no_record(void)
{
	have(1);
	bpf_rcu_this_reader_ = NULL;
}

static void alloc_fixed(void)
{
	got = bpf_mem_cache_alloc(&ma);
}

static void alloc_flags(void)
{
	got = bpf_mem_cache_alloc_flags(&ma, GFP_NOWAIT);
}

static void alloc_sized(void)
{
	got = bpf_mem_alloc(&ma, 100);
}

static void free_fixed(void)
{
	bpf_mem_cache_free(&ma, objs[--nr_objs]);
}

static void free_rcu_fixed(void)
{
	bpf_mem_cache_free_rcu(&ma, objs[--nr_objs]);
}

static void free_sized(void)
{
	bpf_mem_free(&ma, objs[--nr_objs]);
}

static void free_rcu_sized(void)
{
	bpf_mem_free_rcu(&ma, objs[--nr_objs]);
}

static void alloc_inlined(void)
{
	got = inlined_cache_alloc(&ma);
}

static void free_inlined(void)
{
	inlined_cache_free(&ma, objs[--nr_objs]);
}

static void free_rcu_inlined(void)
{
	inlined_cache_free_rcu(&ma, objs[--nr_objs]);
}

static void alloc_sized_inlined(void)
{
	got = inlined_alloc(&ma, 100);
}

static void free_sized_inlined(void)
{
	inlined_free(&ma, objs[--nr_objs]);
}

static void raw_free(void)
{
	bpf_mem_cache_raw_free(objs[--nr_objs]);
}

static void read_nested(void)
{
	bpf_rcu_read_lock();
	rcu_read_lock_trace();
	bpf_rcu_read_lock();
	must(bpf_rcu_read_lock_held() && rcu_read_lock_trace_held());
	bpf_rcu_read_unlock();
	rcu_read_unlock_trace();
	bpf_rcu_read_unlock();
	must(!bpf_rcu_read_lock_held() && !rcu_read_lock_trace_held());
}

static void poll_rcu(void)
{
	must(bpf_rcu_poll_state(bpf_rcu_get_state()) || !bpf_rcu_readers_fence_);
}

static void poll_trace(void)
{
	must(rcu_tasks_trace_poll_state(rcu_tasks_trace_get_state()) || !bpf_rcu_readers_fence_);
}

static void called(struct bpf_rcu_head *h)
{
	(void)h;
	atomic_fetch_add(&callbacks, 1);
}

static void call_rcu_both(void)
{
	static struct bpf_rcu_head trace;

	bpf_call_rcu(&head, called);
	call_rcu_tasks_trace(&trace, called);
	queued += 2;
}

static void last_call_is_over(void)
{
	release_reclaimer();
	have(1);
	await(atomic_load(&callbacks) == queued);
}

static void odd_calls(void)
{
	must(!bpf_mem_alloc_check_size(false, 4096));
	bpf_mem_alloc_set_limbo_limit(&ma, 0);
	must(!obj_cgroup_usage(NULL));
	must(bpf_per_cpu_ptr(objs[0], 0) && bpf_this_cpu_ptr(objs[0]));
}

static int stderr_was;

/* Nor may the report fail loudly. */
static void silent(void)
{
	have(1);
	stderr_was = dup(STDERR_FILENO);
	must(stderr_was >= 0 && !close(STDERR_FILENO));
}

static void free_bad(void)
{
	bpf_mem_cache_free(&ma, (char *)objs[0] + 1);
	dup2(stderr_was, STDERR_FILENO);
	close(stderr_was);
}

const struct scene scenes[] = {
	{ "alloc", 64, false, one_in_hand, alloc_fixed, bpf_mem_cache_alloc, bma_cpu_refill,
	  false },
	{ "alloc, flags", 64, false, one_in_hand, alloc_flags, bpf_mem_cache_alloc_flags,
	  bma_cpu_refill, false },
	{ "free", 64, false, one_in_hand, free_fixed, bpf_mem_cache_free, bma_cpu_flush, false },
	{ "free_rcu", 64, false, one_in_hand, free_rcu_fixed, bpf_mem_cache_free_rcu,
	  bma_cpu_flush_rcu, false },
	{ "alloc, sized", 0, false, one_in_hand, alloc_sized, bpf_mem_alloc, bma_cpu_refill,
	  false },
	{ "free, sized", 0, false, one_in_hand, free_sized, bpf_mem_free, bma_cpu_flush, false },
	{ "free_rcu, sized", 0, false, one_in_hand, free_rcu_sized, bpf_mem_free_rcu,
	  bma_cpu_flush_rcu, false },
	{ "alloc, inlined", 64, false, one_in_hand, alloc_inlined, inlined_cache_alloc,
	  bma_cpu_refill, false },
	{ "free, inlined", 64, false, one_in_hand, free_inlined, inlined_cache_free, bma_cpu_flush,
	  false },
	{ "free_rcu, inlined", 64, false, one_in_hand, free_rcu_inlined, inlined_cache_free_rcu,
	  bma_cpu_flush_rcu, false },
	{ "alloc, sized, inlined", 0, false, one_in_hand, alloc_sized_inlined, inlined_alloc,
	  bma_cpu_refill, false },
	{ "free, sized, inlined", 0, false, one_in_hand, free_sized_inlined, inlined_free,
	  bma_cpu_flush, false },
	{ "alloc, per CPU", 16, true, one_in_hand, alloc_fixed, bpf_mem_cache_alloc, bma_cpu_refill,
	  false },
	{ "free, per CPU", 16, true, one_in_hand, free_fixed, bpf_mem_cache_free, bma_cpu_flush,
	  false },
	{ "free_rcu, per CPU", 16, true, one_in_hand, free_rcu_fixed, bpf_mem_cache_free_rcu,
	  bma_cpu_flush_rcu, false },
	{ "alloc, slow", 64, false, one_in_hand_slow, alloc_fixed, bma_cpu_pop, bma_cpu_refill,
	  false },
	{ "free, slow", 64, false, one_in_hand_slow, free_fixed, bma_cpu_push, bma_cpu_flush,
	  false },
	{ "free_rcu, slow", 64, false, one_in_hand_slow, free_rcu_fixed, bma_cpu_push,
	  bma_cpu_flush_rcu, false },
	{ "first on a CPU, new span", 64, false, nothing, alloc_fixed, port_pages_alloc, NULL,
	  false },
	{ "first, sized", 0, false, nothing, alloc_sized, port_pages_alloc, NULL, false },
	{ "first, per CPU", 16, true, nothing, alloc_fixed, port_pages_alloc, NULL, false },
	{ "refill from previous", 64, false, previous_is_full, alloc_fixed, bma_cpu_refill,
	  bma_depot_get, false },
	{ "refill from depot", 64, false, depot_is_full, alloc_fixed, bma_depot_get, bma_limbo_get,
	  false },
	{ "refill from limbo", 64, false, limbo_is_ripe, alloc_fixed, bma_limbo_get, bma_slab_fill,
	  false },
	{ "refill from slab", 64, false, loaded_is_empty, alloc_fixed, bma_slab_fill,
	  port_pages_alloc, false },
	{ "refill, flags", 64, false, loaded_is_empty, alloc_flags, bma_slab_fill, NULL, false },
	{ "flush", 64, false, loaded_is_full, free_fixed, bma_cpu_flush, NULL, false },
	{ "flush, sized", 0, false, loaded_is_full, free_sized, bma_cpu_flush, NULL, false },
	{ "limbo", 64, false, by_rcu_is_full, free_rcu_fixed, bma_limbo_put, NULL, false },
	{ "limbo, with poll", 4096, false, poll_is_due, free_rcu_fixed, bma_gp_poll, NULL, false },
	{ "raw free", 64, false, one_in_hand, raw_free, bma_slab_put, NULL, false },
	{ "readers", 64, false, one_in_hand, read_nested, NULL, bpf_rcu_reader_new_, false },
	{ "a thread's first section", 64, false, no_record, read_nested, bpf_rcu_reader_new_, NULL,
	  true },
	{ "poll, rcu", 64, false, one_in_hand, poll_rcu, bma_gp_poll, NULL, false },
	{ "poll, tasks trace", 64, false, one_in_hand, poll_trace, bma_gp_poll, NULL, false },
	{ "call_rcu", 64, false, last_call_is_over, call_rcu_both, bpf_call_rcu, NULL, false },
	{ "bad free", 64, false, silent, free_bad, port_report, NULL, false },
	{ "odd calls", 16, true, one_in_hand, odd_calls, bpf_per_cpu_ptr, NULL, false },
};

const unsigned int nr_scenes = sizeof(scenes) / sizeof(*scenes);

/* All that the pass has is intact, and the allocator has counted right. */
static void put_back(const struct scene *s)
{
	struct bpf_mem_stats stats;
	unsigned int i;

	if (got) {
		fill(got, s->size ? (size_t)s->size : 100, (uintptr_t)got);
		must(nr_objs < OBJS);
		objs[nr_objs++] = got;
	}
	got = NULL;
	for (i = 0; i < nr_given; i++)
		objs[nr_objs++] = given[i];
	nr_given = 0;
	release_reclaimer();
	stats = stats_of(&ma);
	must(stats.objs_in_use == nr_objs);
	must(stats.bad_frees == (s->path == free_bad));
	must(!stats.refusals && !stats.never_freed);
	while (nr_objs)
		drop(nr_objs % 2);
	must(!stats_of(&ma).objs_in_use);
	must(!bpf_rcu_read_lock_held() && !rcu_read_lock_trace_held());
	bpf_mem_alloc_destroy(&ma);
}

static void play(const struct scene *s)
{
	do {
		size_of_ma = s->size;
		must(!bpf_mem_alloc_init(&ma, s->size, s->percpu));
		hold_reclaimer();
		s->before();
		mark(BEGIN);
		errno = 4242;
		s->path();
		must(errno == 4242);
		mark(END);
		put_back(s);
	} while (shared->again);
}

void step_child(void)
{
	struct sigaction action = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO };
	unsigned int i;

	pin(0);
	sigaction(SIGUSR1, &action, NULL);
	must(!bpf_mem_alloc_init(&own[0], 64, false) && !bpf_mem_alloc_init(&own[1], 0, false) &&
	     !bpf_mem_alloc_init(&own[2], 16, true));
	shared->rseq = port_cpu_fast();
	/* So that the dynamic linker has done what it has to do. */
	for (i = 0; i < 200; i++)
		use_own();
	trace_me();
	for (i = 0; i < nr_scenes; i++) {
		shared->scene = i;
		play(&scenes[i]);
	}
	for (i = 0; i < 3; i++) {
		must(!stats_of(&own[i]).objs_in_use);
		bpf_mem_alloc_destroy(&own[i]);
	}
	bpf_rcu_barrier();
	await_nothing_left();
	_exit(0);
}

#endif /* __x86_64__ */
