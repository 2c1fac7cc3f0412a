// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * torture_run.c - a run: kinds and threads, from the first allocator to the last check
 *
 * The first thread makes everything, ticks while the others work, and ends it in an order:
 * disturbers first, as they send signals to the others; then updaters and readers; then what is
 * still published is freed, allocators are destroyed, and all memory must come back.
 */
#define _GNU_SOURCE
#include "torture.h"

#include <errno.h>
#include <execinfo.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <bma/stats.h>

#if defined(__SANITIZE_ADDRESS__)
#define ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ASAN 1
#endif
#endif
#ifndef ASAN
#define ASAN 0
#endif

#define MAX_TORTURE_THREADS 1024
#define TICK_US 1000
/* Ticks between two looks at the whole process. */
#define LOOK_TICKS 64

/* Each flavour's own header declares one of these, but only the first header included does. */
extern const struct rcu_flavor_struct urcu_memb_flavor, urcu_mb_flavor, urcu_qsbr_flavor,
	urcu_bp_flavor;

const char *const kind_names[NR_KINDS] = {
	[OWN] = "own", [TRACE] = "trace", [MEMB] = "memb",
	[MB] = "mb",   [QSBR] = "qsbr",	  [BP] = "bp",
};

static const struct rcu_flavor_struct *const flavors[NR_KINDS] = {
	[MEMB] = &urcu_memb_flavor,
	[MB] = &urcu_mb_flavor,
	[QSBR] = &urcu_qsbr_flavor,
	[BP] = &urcu_bp_flavor,
};

const char *const disturber_names[NR_DISTURBERS] = {
	[SIGNALS] = "signals", [MIGRATE] = "migrate", [STALL] = "stall",
	[CHURN] = "churn",     [FORK] = "fork",	      [ALLOCATORS] = "allocators",
	[LIMITS] = "limits",   [WAIT] = "wait",	      [SPRINT] = "sprint",
};

static void *(*const disturber_mains[NR_DISTURBERS])(void *) = {
	[SIGNALS] = run_signals, [MIGRATE] = run_migrate, [STALL] = run_stall,
	[CHURN] = run_churn,	 [FORK] = run_fork,	  [ALLOCATORS] = run_allocators,
	[LIMITS] = run_limits,	 [WAIT] = run_wait,	  [SPRINT] = run_sprint,
};

struct torture torture;
struct torture_thread torture_threads[MAX_TORTURE_THREADS];
unsigned int nr_torture_threads;

bool going(const struct torture_thread *t)
{
	int stage = atomic_load_explicit(&torture.phase->stage, memory_order_relaxed);

	return stage == RUNNING || (stage == CALMING && !t->disturbs);
}

void nap_us(unsigned int us)
{
	const struct timespec t = { .tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000L };
	int saved = errno; /* a signal's handler looks at what it makes of errno */

	nanosleep(&t, NULL);
	errno = saved;
}

void count_disturbance(enum disturber which)
{
	count(&torture.phase->disturbances[which], 1);
}

/* The @nr-th stream of random numbers of this seed: splitmix64's step, never 0. */
uint64_t stream(uint64_t nr)
{
	uint64_t z = torture.params->seed + nr * 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return (z ^ z >> 31) | 1;
}

struct kind_state *any_kind(uint64_t *random)
{
	unsigned int kind;

	do
		kind = below(NR_KINDS, random);
	while (!torture.params->kinds[kind]);
	return &torture.kinds[kind];
}

/* ASan and BMA_DEBUG=... mark and fill what is free, so a type-stable look is a failure there. */
static bool is_debug(void)
{
	const char *debug = getenv("BMA_DEBUG");

	return debug && *debug ? strcmp(debug, "0") != 0 : ASAN;
}

static size_t any_size(uint64_t *random)
{
	static const size_t sizes[] = { 64, 72, 96, 128, 200, 256, 512, 1024, 2048, 4000 };

	return torture.params->size ? torture.params->size :
				      sizes[below(ARRAY_SIZE(sizes), random)];
}

static bool kinds_open(void)
{
	uint64_t random = stream(0);
	struct kind_state *kind;
	int err;

	for (unsigned int i = 0; i < NR_KINDS; i++) {
		kind = &torture.kinds[i];
		kind->kind = i;
		kind->flavor = flavors[i];
		kind->counts = &torture.phase->kinds[i];
		if (!torture.params->kinds[i])
			continue;
		err = pool_init(&kind->pool, i, 0, any_size(&random), false);
		if (!err)
			continue;
		complain("cannot make an allocator: %s", strerror(-err));
		return false;
	}
	return true;
}

static void *thread_main(void *arg)
{
	struct torture_thread *t = arg;

	atomic_store(&t->tid, (pid_t)syscall(SYS_gettid));
	atomic_store(&t->started, true);
	/* Not before all are there to be disturbed. */
	while (atomic_load(&torture.phase->stage) == STARTING)
		nap_us(TICK_US);
	return t->main(t);
}

static bool start(struct kind_state *kind, void *(*fn)(void *), unsigned long nr)
{
	struct torture_thread *t;
	int err;

	while (nr--) {
		t = &torture_threads[nr_torture_threads];
		*t = (struct torture_thread){ .main = fn,
					      .kind = kind,
					      .disturbs = !kind,
					      .nr = nr_torture_threads,
					      .random = stream(1 + nr_torture_threads) };
		err = thread_create(&t->thread, thread_main, t);
		if (err) {
			complain("cannot start a thread: %s", strerror(err));
			return false;
		}
		nr_torture_threads++;
	}
	return true;
}

static bool start_all(void)
{
	const struct torture_params *p = torture.params;
	unsigned int i;

	for (i = 0; i < NR_KINDS; i++)
		if (p->kinds[i] && !(start(&torture.kinds[i], run_reader, p->readers) &&
				     start(&torture.kinds[i], run_updater, p->updaters)))
			return false;
	for (i = 0; i < NR_DISTURBERS; i++)
		if (!start(NULL, disturber_mains[i], p->disturbers[i]))
			return false;
	return true;
}

static void join(bool disturbers)
{
	for (unsigned int i = 0; i < nr_torture_threads; i++)
		if (torture_threads[i].disturbs == disturbers)
			pthread_join(torture_threads[i].thread, NULL);
}

static void enter_stage(enum torture_stage stage)
{
	atomic_store(&torture.phase->stage, stage);
}

static void on_fault(int sig, siginfo_t *info, void *context)
{
	void *trace[32];

	(void)context;
	torture_fail(F_UNMAPPED, "signal %d at address %p", sig, info->si_addr);
	backtrace_symbols_fd(trace, backtrace(trace, ARRAY_SIZE(trace)), STDERR_FILENO);
	/* Back to where it happened, and then it ends the process. */
	signal(sig, SIG_DFL);
}

static void catch_faults(void)
{
	struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };

	sigemptyset(&action.sa_mask);
	/* ASan says more about it than we can. */
	if (ASAN)
		return;
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
}

/* Nothing to say: stalls are ours, and those that do not end are the parent's to find. */
static void on_stall(const struct bpf_rcu_stall *stall, void *ctx)
{
	(void)stall;
	(void)ctx;
}

static void count_grace_periods(void)
{
	struct bpf_mem_stats stats;

	for (unsigned int i = 0; i < NR_KINDS; i++) {
		if (!torture.params->kinds[i])
			continue;
		bpf_mem_alloc_stats(&torture.kinds[i].pool.ma, &stats);
		poke(&torture.phase->kinds[i].ended, stats.grace_periods);
	}
}

static void look_at_process(void)
{
	struct bpf_mem_stats stats;

	bpf_mem_process_stats(&stats);
	if (stats.bad_frees)
		torture_fail(F_FREE, "the library did not know %llu freed objects",
			     (unsigned long long)stats.bad_frees);
}

/* Now and then, up to so many ticks in which the system has no memory. */
static void spell(uint64_t *random)
{
	static unsigned int left;

	if (left)
		left--;
	else if (one_in(100, random))
		left = 1 + below(20, random);
	faults_spell(left);
}

static void tick(uint64_t nr, uint64_t *random)
{
	count_grace_periods();
	if (nr % LOOK_TICKS == 0)
		look_at_process();
	spell(random);
	count(&torture.phase->beats, 1);
	nap_us(TICK_US);
}

static void work(void)
{
	uint64_t start_ns = now_ns(), random = stream(2 * MAX_TORTURE_THREADS), nr = 0;

	while (seconds_since(start_ns) < torture.phase->seconds && !torture_found(torture.shared))
		tick(++nr, &random);
	torture.phase->ran = seconds_since(start_ns);
}

/* What is still published or in transit. */
static void empty(struct kind_state *kind)
{
	struct element *e;
	unsigned int i;

	for (i = 0; i < NR_SLOTS; i++) {
		e = element_publish(&kind->slots[i], NULL);
		if (e)
			element_free_rcu(&kind->pool, e);
	}
	for (i = 0; i < NR_PARCELS; i++) {
		e = element_publish(&kind->parcels[i], NULL);
		if (e)
			element_free(&kind->pool, e);
	}
}

static void close_kind(struct kind_state *kind)
{
	struct bpf_mem_stats stats;

	empty(kind);
	bpf_mem_alloc_stats(&kind->pool.ma, &stats);
	if (stats.objs_in_use)
		torture_fail(F_LEFT, "kind %s: %llu objects in use, and nobody has them",
			     kind_names[kind->kind], (unsigned long long)stats.objs_in_use);
	bpf_mem_alloc_destroy(&kind->pool.ma);
}

static bool all_is_back(void)
{
	struct bpf_mem_stats s;

	bpf_mem_process_stats(&s);
	return !(s.allocators | s.dying | s.spans | s.bytes_spans | s.objs_in_use | s.objs_free |
		 s.objs_waiting_rcu | s.objs_waiting_ttrace);
}

static void await(bool (*cond)(void))
{
	uint64_t start_ns = now_ns();

	while (!cond() && seconds_since(start_ns) < torture.params->hang_seconds) {
		count(&torture.phase->beats, 1);
		nap_us(TICK_US);
	}
}

static void say_what_is_left(void)
{
	struct bpf_mem_stats s;

	bpf_mem_process_stats(&s);
	if (s.never_freed)
		torture_fail(F_LEFT, "%llu objects were never freed",
			     (unsigned long long)s.never_freed);
	if (!all_is_back())
		torture_fail(F_LEFT,
			     "%llu allocators, %llu being destroyed, %llu spans, %llu objects in "
			     "use, %llu free, %llu and %llu waiting",
			     (unsigned long long)s.allocators, (unsigned long long)s.dying,
			     (unsigned long long)s.spans, (unsigned long long)s.objs_in_use,
			     (unsigned long long)s.objs_free,
			     (unsigned long long)s.objs_waiting_rcu,
			     (unsigned long long)s.objs_waiting_ttrace);
}

static void end(void)
{
	enter_stage(ENDING);
	bpf_rcu_barrier();
	await(callbacks_done);
	if (!callbacks_done())
		torture_fail(F_LEFT, "callbacks that are not called");
	for (unsigned int i = 0; i < NR_KINDS; i++)
		if (torture.params->kinds[i])
			close_kind(&torture.kinds[i]);
	await(all_is_back);
	look_at_process();
	say_what_is_left();
}

static void run_threads(void)
{
	enter_stage(RUNNING);
	work();
	faults_end();
	enter_stage(CALMING);
	join(true);
	enter_stage(STOPPING);
	join(false);
}

enum exit_code torture_run(struct torture_shared *shared, unsigned int nr)
{
	torture.shared = shared;
	torture.phase = &shared->phases[nr];
	torture.params = &shared->params;
	torture.debug = is_debug();
	catch_faults();
	catch_signals();
	faults_begin(stream(3 * MAX_TORTURE_THREADS));
	bpf_rcu_set_stall_report(on_stall, NULL);
	if (!kinds_open())
		return EXIT_FAILED;
	if (!start_all())
		_exit(EXIT_FAILED);
	run_threads();
	/* Where something was found, more would follow from it. */
	if (!torture_found(shared))
		end();
	enter_stage(OVER);
	return EXIT_OK;
}
