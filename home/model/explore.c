// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * explore.c - which thread goes next
 *
 * All: depth first.  Where more than one action is possible the state is kept, and restored when what
 * follows from one action has been looked at; a state that was met before, with as many preemptions left, is
 * not looked at again.  Without bound that is every interleaving; with one, every interleaving with at most
 * so many preemptions (CHESS).
 *
 * By chance (PCT): threads have priorities, the highest that can goes on, and at a few random steps
 * the one that runs becomes the lowest.  An error that takes d such orderings is found in one execution with
 * a probability of at least 1 / (threads * steps^(d - 1)).
 *
 * An execution is over when no thread can go on.  Then every thread must have come to its end, but for the
 * home's own that sleep; what sleeps else sleeps for ever: a lost wake-up.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "private.h"

struct node {
	struct state *state;
	action_t action[MAX_ACTIONS];
	unsigned int nr, next;
	unsigned int preemptions, steps;
};

static bool can_run(const struct model_thread *t)
{
	return !t->done && (!t->ready || t->ready(t->ready_arg));
}

struct actions {
	action_t *action;
	unsigned int nr;
};

static void add(struct actions *a, action_t action)
{
	if (a->nr < MAX_ACTIONS)
		a->action[a->nr++] = action;
}

static void add_thread(struct actions *a, unsigned int nr)
{
	const struct model_thread *t = &model.thread[nr];

	if (!can_run(t))
		return;
	add(a, ACTION(RUN, nr, 0));
	if (t->handler && !t->ready)
		add(a, ACTION(DELIVER, nr, 0));
}

static void add_stores(struct actions *a, unsigned int nr)
{
	const struct model_thread *t = &model.thread[nr];
	unsigned int i;

	for (i = 0; i < t->nr_late; i++)
		if (late_can_go(t, i))
			add(a, ACTION(STORE, nr, i));
}

/* All that can be done now, the current thread's first, so that the first execution has no preemption. */
static unsigned int possible(action_t *action, unsigned int preemptions)
{
	struct actions a = { action, 0 };
	const struct model_thread *t = model.current < 0 ? NULL : &model.thread[model.current];
	bool may_switch = preemptions || !t || !can_run(t);
	unsigned int i;

	if (t && t->choices) {
		for (i = 0; i < t->choices; i++)
			add(&a, ACTION(CHOOSE, model.current, i));
		return a.nr;
	}
	if (t)
		add_thread(&a, (unsigned int)model.current);
	for (i = 0; may_switch && i < model.nr_threads; i++)
		if ((int)i != model.current)
			add_thread(&a, i);
	/* Nobody sees a store before there is a switch, and until then it can be done as well later. */
	for (i = 0; i < model.nr_threads; i++)
		if ((int)i != model.current || may_switch)
			add_stores(&a, i);
	return a.nr;
}

static unsigned int kind_of(action_t action)
{
	return action >> 12;
}

static unsigned int thread_of(action_t action)
{
	return action >> 8 & 15;
}

/* Another thread's turn: on one CPU, that takes the system's switch. */
static void switch_to(unsigned int nr)
{
	struct model_thread *t = &model.thread[nr];
	unsigned int i;

	if ((int)nr == model.current || model.current < 0)
		return;
	if (explorer->preemptions != MODEL_FREELY && can_run(&model.thread[model.current]))
		explorer->preemptions--;
	for (i = 0; i < model.nr_threads; i++) {
		if (i == nr || model.thread[i].cpu != t->cpu)
			continue;
		late_all_go(&model.thread[i]);
		model.thread[i].restart = true;
	}
}

static void trace(action_t action)
{
	static const char *const kinds[] = { "", "chooses", "signal", "late store reaches memory" };
	const struct model_thread *t = &model.thread[thread_of(action)];
	const char *func = t->site ? t->site->func : "", *what = t->site ? t->site->what : "";

	printf("%5u  T%u cpu%u  ", explorer->steps, thread_of(action), t->cpu);
	if (kind_of(action) == STORE)
		printf("%s: %s\n", kinds[STORE], t->late[action & 255].site->what);
	else if (kind_of(action) == CHOOSE)
		printf("chooses %u\n", action & 255);
	else
		printf("%s%s%s: %s", kinds[kind_of(action)], *kinds[kind_of(action)] ? " at " : "",
		       func, what);
}

static void do_action(action_t action)
{
	unsigned int nr = thread_of(action);
	struct model_thread *t = &model.thread[nr];

	switch (kind_of(action)) {
	case STORE:
		late_go(t, action & 255);
		return;
	case CHOOSE:
		t->choice = action & 255;
		break;
	case DELIVER:
		switch_to(nr);
		t->deliver = true;
		t->restart = true;
		break;
	default:
		switch_to(nr);
	}
	thread_resume(nr);
}

static void take(action_t action)
{
	bool values = kind_of(action) == RUN;

	if (explorer->tracing)
		trace(action);
	if (explorer->steps == MAX_STEPS) {
		model_fail("an execution that does not come to an end");
		return;
	}
	explorer->schedule[explorer->steps++] = action;
	if (setjmp(explorer->fault) == 0)
		do_action(action);
	else
		model.self = -1;
	if (explorer->tracing && kind_of(action) != CHOOSE && kind_of(action) != STORE)
		printf(values ? "  [%#lx]\n" : "\n", (unsigned long)model.last);
}

static void finish(void)
{
	unsigned int i;

	explorer->executions++;
	explorer->alone = 0;
	for (i = 0; i < model.nr_threads; i++) {
		late_all_go(&model.thread[i]);
		if (!model.thread[i].done && !model.thread[i].daemon)
			model_fail("nothing can move, and a thread waits");
	}
	model.self = -1;
	bpf_rcu_this_reader_ = NULL;
	if (!explorer->failure && setjmp(explorer->fault) == 0) {
		if (explorer->scenario->finish)
			explorer->scenario->finish();
		heap_check_end();
	}
}

/* --- the beginning of an execution ---------------------------------------------------------------- */

static void records_make(const struct model_scenario *s)
{
	unsigned int i;

	for (i = 0; i < model.nr_threads && !s->strangers; i++) {
		model.played = (int)i;
		bpf_rcu_this_reader_ = NULL;
		model.thread[i].reader = bpf_rcu_reader_new_();
	}
	model.played = -1;
	bpf_rcu_this_reader_ = NULL;
}

static void begin(const struct model_scenario *s, const struct model_bound *bound)
{
	unsigned int i;

	explorer->alone = 0;
	model.self = model.played = -1;
	model.nr_cpus = s->nr_cpus ? s->nr_cpus : 1;
	model.fences = bpf_rcu_readers_fence_ = s->fences;
	model.sequences = s->sequences;
	model.flavor = s->flavor;
	model.late_at = s->late_at;
	for (i = 0; i < MODEL_THREADS && s->thread[i]; i++)
		model.nr_threads++;
	heap_map();
	threads_map();
	records_make(s);
	if (s->setup)
		s->setup();
	for (i = 0; i < model.nr_threads; i++) {
		thread_start(i, s->thread[i], s->handler[i]);
		thread_resume(i);
	}
	model.current = -1;
	model.late = bound->late;
	model.migrations = bound->migrations;
	model.fails = bound->fails;
}

/* Seconds of our own, so that a busy machine finds what an idle one does. */
double cpu_seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (double)ts.tv_sec + 1e-9 * (double)ts.tv_nsec;
}

/* --- all ------------------------------------------------------------------------------------------ */

struct search {
	struct node *node;
	unsigned int depth, room;
};

static struct node *node_push(struct search *s)
{
	if (s->depth == s->room) {
		s->room += 256;
		s->node = realloc(s->node, s->room * sizeof(*s->node));
		if (!s->node)
			abort();
		memset(s->node + s->depth, 0, 256 * sizeof(*s->node));
	}
	return &s->node[s->depth++];
}

static void branch(struct search *s, const action_t *action, unsigned int nr)
{
	struct node *node = node_push(s);

	if (!node->state)
		node->state = state_new();
	state_keep(node->state);
	memcpy(node->action, action, nr * sizeof(*action));
	node->nr = nr;
	node->next = 0;
	node->preemptions = explorer->preemptions;
	node->steps = explorer->steps;
}

/* From here to an end, or to where others have been. */
static void go_down(struct search *s)
{
	action_t action[MAX_ACTIONS];
	unsigned int nr;

	while (!explorer->failure) {
		nr = possible(action, explorer->preemptions);
		if (!nr) {
			finish();
			return;
		}
		if (nr > 1) {
			if (state_seen(state_hash(), explorer->preemptions)) {
				explorer->pruned++;
				return;
			}
			branch(s, action, nr);
			s->node[s->depth - 1].next = 1;
		}
		take(action[0]);
	}
}

/* To the latest branch that has an action left, and take it; false if there is none. */
static bool go_back(struct search *s)
{
	struct node *node;

	while (s->depth && s->node[s->depth - 1].next == s->node[s->depth - 1].nr)
		s->depth--;
	if (!s->depth)
		return false;
	node = &s->node[s->depth - 1];
	state_restore(node->state);
	explorer->preemptions = node->preemptions;
	explorer->steps = node->steps;
	take(node->action[node->next++]);
	return true;
}

static void search_free(struct search *s)
{
	unsigned int i;

	for (i = 0; i < s->room; i++)
		if (s->node[i].state)
			state_free(s->node[i].state);
	free(s->node);
}

static enum verdict explore_all(double end)
{
	struct search *s = calloc(1, sizeof(*s));
	enum verdict verdict = ALL;
	unsigned int turns = 0;

	states_forget();
	do {
		go_down(s);
		if (end != 0 && ++turns % 256 == 0 && cpu_seconds() > end)
			verdict = OUT_OF_TIME;
	} while (!explorer->failure && verdict == ALL && go_back(s));
	search_free(s);
	free(s);
	return explorer->failure ? FAILED : verdict;
}

/* --- by chance ------------------------------------------------------------------------------------ */

static uint64_t random_next(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

struct chance {
	uint64_t x;
	int priority[MODEL_THREADS];
	unsigned int change[8], nr_changes;
	int lowest;
};

static void chance_begin(struct chance *c, unsigned int depth, unsigned int length)
{
	unsigned int i;

	c->lowest = 0;
	c->nr_changes = depth > 1 ? depth - 1 : 0;
	for (i = 0; i < MODEL_THREADS; i++)
		c->priority[i] = 1 + (int)(random_next(&c->x) % 1000);
	for (i = 0; i < c->nr_changes && i < 8; i++)
		c->change[i] = (unsigned int)(random_next(&c->x) % (length + 1));
}

static action_t chosen(struct chance *c, const action_t *action, unsigned int nr)
{
	unsigned int i, best = 0;

	for (i = 0; i < c->nr_changes; i++)
		if (c->change[i] == explorer->steps && model.current >= 0)
			c->priority[model.current] = --c->lowest;
	/* What is not a thread's turn comes by chance. */
	if (kind_of(action[0]) == CHOOSE)
		return action[random_next(&c->x) % 4 ? 0 : random_next(&c->x) % nr];
	for (i = 1; i < nr; i++) {
		if (kind_of(action[i]) != RUN && random_next(&c->x) % 8 == 0)
			return action[i];
		if (kind_of(action[i]) == RUN &&
		    c->priority[thread_of(action[i])] > c->priority[thread_of(action[best])])
			best = i;
	}
	return action[best];
}

static unsigned int run_by_chance(struct chance *c)
{
	action_t action[MAX_ACTIONS];
	unsigned int nr;

	while (!explorer->failure) {
		nr = possible(action, MODEL_FREELY);
		if (!nr) {
			finish();
			break;
		}
		take(nr > 1 ? chosen(c, action, nr) : action[0]);
	}
	return explorer->steps;
}

static enum verdict explore_random(const struct limits *l, const struct state *first, double end)
{
	struct chance *c = calloc(1, sizeof(*c));
	unsigned int length = 100;
	uint64_t i;

	c->x = l->seed * 0x9e3779b97f4a7c15ull + 1;
	for (i = 0; i < l->random && !explorer->failure; i++) {
		if (end != 0 && i % 256 == 255 && cpu_seconds() > end)
			break;
		state_restore(first);
		explorer->steps = 0;
		chance_begin(c, l->depth, length);
		length = run_by_chance(c);
	}
	free(c);
	return explorer->failure ? FAILED : OUT_OF_TIME;
}

enum verdict explore(const struct model_scenario *s, const struct limits *limits)
{
	double end = limits->seconds > 0 ? cpu_seconds() + limits->seconds : 0;
	struct state *first;
	enum verdict verdict;

	explorer->scenario = s;
	begin(s, &limits->bound);
	explorer->preemptions = limits->bound.preemptions;
	if (explorer->failure)
		return FAILED;
	if (!limits->random)
		return explore_all(end);
	first = state_new();
	state_keep(first);
	explorer->preemptions = MODEL_FREELY;
	verdict = explore_random(limits, first, end);
	state_free(first);
	return verdict;
}

/* Once more, with each step said; true if it fails again. */
bool replay(const struct model_scenario *s, const struct model_bound *bound,
	    const action_t *schedule, unsigned int steps)
{
	unsigned int i;

	explorer->scenario = s;
	explorer->preemptions = MODEL_FREELY;
	begin(s, bound);
	explorer->tracing = true;
	for (i = 0; i < steps && !explorer->failure; i++)
		take(schedule[i]);
	if (!explorer->failure)
		finish();
	return explorer->failure;
}
