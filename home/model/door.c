// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * door.c - the rest of what port.h asks for
 *
 * A step on a CPU's magazines is one step of the model, or (sequences) two, as in a restartable sequence:
 * it reads, others may go on, it makes its final store, unless it has been restarted.  Restarted by: another
 * thread that runs on its CPU, a signal, and whoever detaches the block (barrier FLUSH).
 *
 * The reclaimer sleeps until woken, exactly: a wake that core forgets is a thread that sleeps for ever, or
 * memory that is not back in the end.
 */
#include "private.h"

/* --- this CPU's magazines ----------------------------------------------------------------------- */

unsigned int port_nr_cpus(void)
{
	return model.nr_cpus;
}

/* The system switches threads, which is a barrier, when one comes to another CPU. */
static void migrate(void)
{
	struct model_thread *t = self();
	unsigned int by = choose(model.nr_cpus, &model.migrations);

	if (!by)
		return;
	late_all_go(t);
	t->cpu = (t->cpu + by) % model.nr_cpus;
}

unsigned int port_cpu(void)
{
	return model.self < 0 ? 0 : self()->cpu;
}

/* The step begins: where, and whether at all. */
static bool step(const char *what)
{
	if (model.self < 0)
		return true;
	model_point(what);
	migrate();
	return !choose(2, &model.fails);
}

static bma_top_t *top_at(bma_cpu_ptr_t *cpus, size_t offset)
{
	return bma_top_at(cpus[port_cpu()], offset);
}

/* Between a sequence's loads and its final store; false if it has to begin again. */
static bool still_ours(const char *what)
{
	struct model_thread *t;

	if (model.self < 0 || !model.sequences)
		return true;
	t = self();
	t->restart = false;
	t->in_sequence = true;
	model_point(what);
	t->in_sequence = false;
	return !t->restart;
}

bool port_cpu_fast(void)
{
	return true;
}

void *port_cpu_pop(bma_cpu_ptr_t *cpus, size_t offset)
{
	bma_top_t *top;
	bma_obj_t *at, obj;

	if (!step("port_cpu_pop"))
		return NULL;
	do {
		top = top_at(cpus, offset);
		at = *top;
		obj = at[-1];
		if (!obj)
			return NULL;
	} while (!still_ours("final store of port_cpu_pop"));
	*top = at - 1;
	return obj;
}

bool port_cpu_push(bma_cpu_ptr_t *cpus, size_t offset, void *obj)
{
	bma_top_t *top;
	bma_obj_t *at;

	if (!step("port_cpu_push"))
		return false;
	do {
		top = top_at(cpus, offset);
		at = *top;
		if (bma_top_is_end(at))
			return false;
	} while (!still_ours("final stores of port_cpu_push"));
	*at = obj;
	*top = at + 1;
	return true;
}

bool port_cpu_replace(bma_cpu_ptr_t *cpus, struct bma_cpu *block, size_t offset, bma_obj_t *old,
		      bma_obj_t *new)
{
	bma_top_t *top;

	if (!step("port_cpu_replace"))
		return false;
	do {
		top = top_at(cpus, offset);
		if (cpus[port_cpu()] != block || *top != old)
			return false;
	} while (!still_ours("final store of port_cpu_replace"));
	*top = new;
	return true;
}

struct bma_cpu *port_cpu_block(bma_cpu_ptr_t *cpus, unsigned int *index)
{
	step("port_cpu_block");
	*index = port_cpu();
	return cpus[*index];
}

/* Interrupt a CPU: what runs there has seen all, and starts its sequence again. */
static void interrupt(unsigned int cpu)
{
	unsigned int i;

	for (i = 0; i < model.nr_threads; i++) {
		if (model.thread[i].cpu != cpu)
			continue;
		late_all_go(&model.thread[i]);
		model.thread[i].restart = true;
	}
}

struct bma_cpu *port_cpu_detach(bma_cpu_ptr_t *cpus, unsigned int index, struct bma_cpu *fresh)
{
	struct bma_cpu *block;

	model_point("port_cpu_detach");
	if (choose(2, &model.fails))
		return NULL;
	if (model.self >= 0)
		late_all_go(self());
	block = cpus[index];
	cpus[index] = fresh;
	interrupt(index); /* FLUSH */
	return block;
}

/* --- readers, and sleep ------------------------------------------------------------------------- */

bool port_readers_fence(void)
{
	unsigned int i;

	model_point("port_readers_fence");
	if (model.self >= 0)
		late_all_go(self());
	if (model.fences)
		return true;
	for (i = 0; i < model.nr_threads; i++)
		late_all_go(&model.thread[i]); /* SCAN */
	return true;
}

/* In the child of a fork the one that is left has a number that no thread of the parent had. */
uint32_t port_thread_id(void)
{
	return (uint32_t)(model.self < 0 ? model.played : model.self) + 2 +
	       (model.forked ? 2 * MODEL_THREADS : 0);
}

bool port_thread_dead(uint32_t id)
{
	struct model_thread *t;

	model_point("port_thread_dead");
	/* The numbers of those that are gone come again there: for all that we know, they are alive. */
	if (model.forked || id < 2 || id - 2 >= model.nr_threads)
		return false;
	t = &model.thread[id - 2];
	if (!t->done)
		return false;
	/* The system has switched it away for good. */
	late_all_go(t);
	return true;
}

void port_yield(void)
{
	model_point("port_yield");
}

struct sleep {
	struct bma_gp *gp;
	uint64_t completed;
	uint64_t changes;
	unsigned int thread;
};

/* What changes when a reader leaves. */
static uint64_t changes(void)
{
	uint64_t sum = 0;
	unsigned int i;

	for (i = 0; i < model.nr_threads; i++)
		if (model.thread[i].reader)
			sum += model.thread[i].reader->word[0] + model.thread[i].reader->word[1];
	return sum;
}

/* A moment is over when no other can go on; after two that brought nothing there is no other. */
static unsigned int moments[MODEL_THREADS];

static bool may_go_on(void *arg)
{
	struct sleep *s = arg;

	if (s->gp->completed != s->completed)
		return true;
	return !s->gp->driven &&
	       (changes() != s->changes || (moments[s->thread] < 2 && others_stand(s->thread)));
}

void port_gp_sleep(struct bma_gp *gp, uint64_t completed)
{
	struct sleep s = { gp, completed, changes(), (unsigned int)model.self };

	model_wait("port_gp_sleep", may_go_on, &s);
	if (model.self < 0)
		return;
	moments[model.self] =
		gp->completed == completed && changes() == s.changes ? moments[model.self] + 1 : 0;
}

void port_gp_ended(struct bma_gp *gp)
{
	(void)gp;
}

/* --- a domain that the home drives -------------------------------------------------------------- */

static struct bma_gp driven = { .driven = true, .started = &driven.started_if_driven };
static uint64_t inside[MODEL_THREADS]; /* odd: in a section */

const struct rcu_flavor_struct *model_flavor(void)
{
	return (const struct rcu_flavor_struct *)&driven;
}

struct bma_gp *port_gp_of_flavor(const struct rcu_flavor_struct *flavor)
{
	return (struct bma_gp *)flavor;
}

struct bma_gp *port_gp_driven(unsigned int n)
{
	return n == 0 && model.flavor ? &driven : NULL;
}

void port_gp_kick(struct bma_gp *gp, bool hurry)
{
	(void)gp;
	(void)hurry;
}

bool port_gp_wait_begin(struct bma_gp *gp, bool *online)
{
	(void)gp;
	*online = false;
	return model.self < 0 || !(inside[model.self] & 1);
}

void port_gp_wait_end(struct bma_gp *gp, bool online)
{
	(void)gp;
	(void)online;
}

void model_flavor_lock(void)
{
	port_store(&inside[model.self], inside[model.self] + 1, relaxed);
	port_barrier_full();
}

void model_flavor_unlock(void)
{
	port_store(&inside[model.self], inside[model.self] + 1, release);
}

static bool is_wanted(void *arg)
{
	return bma_gp_wanted(arg);
}

static bool has_left(void *arg)
{
	return !(*(uint64_t *)arg & 1);
}

static void wait_for_readers(void)
{
	unsigned int i;

	for (i = 0; i < model.nr_threads; i++)
		if (port_load(&inside[i], acquire) & 1)
			model_wait("a reader", has_left, &inside[i]);
}

static void drive(void)
{
	bma_gp_begin(&driven);
	wait_for_readers();
	bma_gp_end(&driven);
}

void model_drive(unsigned int n)
{
	model_daemon();
	while (n--) {
		model_wait("until a grace period is wanted", is_wanted, &driven);
		drive();
	}
}

/* --- the reclaimer ------------------------------------------------------------------------------ */

static struct {
	bool woken, again, locked;
	unsigned int begun, ended, asked;
	bool exists;
} reclaimer = { .woken = true };

static bool not_locked(void *arg)
{
	(void)arg;
	return !reclaimer.locked;
}

void port_reclaim_lock(void)
{
	model_wait("port_reclaim_lock", not_locked, NULL);
	reclaimer.locked = true;
}

void port_reclaim_unlock(void)
{
	reclaimer.locked = false;
}

static void reclaim(void)
{
	port_reclaim_lock();
	reclaimer.woken = false;
	reclaimer.begun++;
	reclaimer.again = bma_reclaim();
	reclaimer.ended = reclaimer.begun;
	port_reclaim_unlock();
}

void port_reclaim_wake(void)
{
	model_point("port_reclaim_wake");
	if (model.self >= 0)
		late_all_go(self());
	reclaimer.woken = true;
}

static bool has_ended(void *arg)
{
	return reclaimer.ended > *(unsigned int *)arg;
}

void port_reclaim_round(void)
{
	unsigned int after = reclaimer.begun;

	model_point("port_reclaim_round");
	if (!reclaimer.exists) {
		reclaim();
		return;
	}
	reclaimer.woken = true;
	reclaimer.asked++;
	model_wait("port_reclaim_round", has_ended, &after);
}

static bool is_due(void *arg)
{
	unsigned int *left = arg;

	return (*left && (reclaimer.woken || reclaimer.again)) || reclaimer.asked;
}

void model_reclaimer(unsigned int rounds)
{
	model_daemon();
	reclaimer.exists = true;
	for (;;) {
		model_wait("until it is woken", is_due, &rounds);
		if (reclaimer.asked)
			reclaimer.asked--;
		else
			rounds--;
		reclaim();
	}
}

void model_settle(void)
{
	unsigned int rounds;

	for (rounds = 0; rounds < 64 && (reclaimer.woken || reclaimer.again); rounds++) {
		reclaim();
		if (model.flavor && bma_gp_wanted(&driven))
			drive();
	}
	if (rounds == 64)
		model_fail("the reclaimer never comes to an end");
}

/* --- fork --------------------------------------------------------------------------------------- */

/* What they had stored is in the child's memory, as the system interrupts every CPU of a fork. */
static void others_are_gone(void)
{
	struct model_thread *t;
	unsigned int i;

	for (i = 0; i < model.nr_threads; i++) {
		t = &model.thread[i];
		late_all_go(t);
		if ((int)i == model.self)
			continue;
		t->done = true;
		t->ready = NULL;
		t->handler = NULL;
		t->reader = NULL;
		inside[i] = 0;
		/* What they were at tells no states apart any more. */
		t->sp = thread_stack_top(i);
	}
}

/* As home/process/life.c has it. */
void model_fork(void)
{
	uint32_t before = port_thread_id();

	port_reclaim_lock(); /* ROUND */
	model_point("fork");
	others_are_gone();
	model.forked = true;
	reclaimer.exists = false;
	reclaimer.asked = 0;
	reclaimer.woken = true;
	bma_forked(before);
	port_reclaim_unlock();
}

void port_init(void)
{
}

void port_report(const char *func, const char *what, const void *ptr, uint64_t count, uint64_t size)
{
	(void)func;
	(void)ptr;
	(void)count;
	(void)size;
	model_fail(what);
}

/* Debug mode is not explored: it is off, and so nothing of it is ever called. */
const char *port_debug_options(bool *on)
{
	*on = false;
	return NULL;
}

void port_report_object(const struct bma_misuse *m)
{
	model_fail(m->what);
}

static void mark(void)
{
	model_fail("a mark, though debug mode is off");
}

void port_mark_out(void *obj, size_t bytes, size_t size)
{
	(void)obj;
	(void)bytes;
	(void)size;
	mark();
}

void port_mark_waiting(void *obj, size_t size)
{
	(void)obj;
	(void)size;
	mark();
}

void port_mark_gone(void *mem, size_t size)
{
	(void)mem;
	(void)size;
	mark();
}

void port_mark_ours(void *mem, size_t size)
{
	(void)mem;
	(void)size;
	mark();
}
