// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_readers.c - what a reader inside its section keeps, for each of liburcu's four flavours and our own readers
 *
 * A reader finds an object and stays inside; the object is unlinked and freed with free_rcu; two threads
 * on different CPUs allocate and free as if there were no tomorrow.  None of them gets the object, and
 * no byte of it changes, until the reader leaves; then somebody gets it.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

#define SIZE 64

/* --- the three kinds of allocator, as one ------------------------------------------------------ */

enum kind { FIXED, SIZED, PERCPU, NR_KINDS };

struct target {
	enum kind kind;
	const struct rcu_flavor_struct *flavor;
	struct bpf_mem_alloc ma;
};

static void target_init(struct target *t, enum kind kind, const struct rcu_flavor_struct *flavor)
{
	t->kind = kind;
	t->flavor = flavor;
	must(!init_for(&t->ma, kind == SIZED ? 0 : SIZE, kind == PERCPU, flavor));
}

static void *target_alloc(struct target *t)
{
	return t->kind == SIZED ? bpf_mem_alloc(&t->ma, SIZE) : bpf_mem_cache_alloc(&t->ma);
}

static void target_free(struct target *t, void *obj)
{
	if (t->kind == SIZED)
		bpf_mem_free(&t->ma, obj);
	else
		bpf_mem_cache_free(&t->ma, obj);
}

static void target_free_rcu(struct target *t, void *obj)
{
	if (t->kind == SIZED)
		bpf_mem_free_rcu(&t->ma, obj);
	else
		bpf_mem_cache_free_rcu(&t->ma, obj);
}

/* The last copy, which is the object itself where it has but one. */
static void *last_copy(struct target *t, void *obj)
{
	int cpu = 0;

	if (t->kind != PERCPU)
		return obj;
	while (bpf_per_cpu_ptr(obj, cpu + 1))
		cpu++;
	return bpf_per_cpu_ptr(obj, cpu);
}

/* --- a reader that stays ----------------------------------------------------------------------- */

struct stay {
	struct target *t;
	void *_Atomic published;
	_Atomic bool inside, leave, left;
	pthread_t thread;
};

static void look(struct stay *s, void *obj)
{
	must(is_filled(obj, SIZE, 1));
	must(is_filled(last_copy(s->t, obj), SIZE, 1));
}

static void *stay(void *arg)
{
	struct stay *s = arg;
	const struct rcu_flavor_struct *flavor = s->t->flavor;
	void *obj;

	flavor->register_thread();
	reader_enter(flavor);
	obj = atomic_load(&s->published);
	look(s, obj);
	atomic_store(&s->inside, true);
	while (!atomic_load(&s->leave)) {
		look(s, obj);
		sleep_us(500);
	}
	look(s, obj);
	reader_leave(flavor);
	atomic_store(&s->left, true);
	flavor->unregister_thread();
	return NULL;
}

static void stay_begin(struct stay *s, struct target *t, void *obj)
{
	fill(obj, SIZE, 1);
	fill(last_copy(t, obj), SIZE, 1);
	s->t = t;
	atomic_init(&s->published, obj);
	atomic_init(&s->inside, false);
	atomic_init(&s->leave, false);
	atomic_init(&s->left, false);
	thread_start(&s->thread, stay, s);
	await(atomic_load(&s->inside));
	atomic_store(&s->published, NULL);
}

static void stay_end(struct stay *s)
{
	atomic_store(&s->leave, true);
	thread_join(s->thread);
}

/* --- others that allocate ---------------------------------------------------------------------- */

#define WINDOW 512

struct churn {
	struct target *t;
	void *forbidden;
	unsigned int nth;
	unsigned long times;
	pthread_t thread;
};

static void churn_one(struct churn *c, void **place, uint64_t random)
{
	void *obj = target_alloc(c->t);

	must(obj && obj != c->forbidden);
	memset(obj, 0x77, SIZE);
	memset(last_copy(c->t, obj), 0x77, SIZE);
	if (*place && random % 3)
		target_free_rcu(c->t, *place);
	else if (*place)
		target_free(c->t, *place);
	*place = obj;
}

static void *churn(void *arg)
{
	struct churn *c = arg;
	void *window[WINDOW] = { NULL };
	uint64_t random = 88172645463325252u + c->nth;
	double until = now() + 0.12;
	unsigned long i;

	pin(c->nth);
	/* So many, and for so long that the reclaimer passes by. */
	for (i = 0; i < c->times || now() < until; i++)
		churn_one(c, &window[rnd(&random) % WINDOW], rnd(&random));
	for (i = 0; i < WINDOW; i++)
		if (window[i])
			target_free_rcu(c->t, window[i]);
	return NULL;
}

static void churn_beside(struct target *t, void *forbidden)
{
	struct churn c[2];
	unsigned int i;

	for (i = 0; i < 2; i++) {
		c[i] = (struct churn){ t, forbidden, i, turns(100000, 2000000), 0 };
		thread_start(&c[i].thread, churn, &c[i]);
	}
	for (i = 0; i < 2; i++)
		thread_join(c[i].thread);
}

/* Allocate all there is until @wanted comes; false if it does not. */
static bool comes_again(struct target *t, void *wanted)
{
	size_t max = stats_of(&t->ma).bytes_spans / SIZE + 4096, n = 0, i;
	void **objs = calloc(max, sizeof(*objs));
	uint64_t spans = stats_of(&t->ma).spans;
	bool found = false;

	must(objs);
	/* Beyond what was there it is not to be looked for. */
	while (!found && n < max && stats_of(&t->ma).spans <= spans) {
		objs[n] = target_alloc(t);
		must(objs[n]);
		found = objs[n++] == wanted;
	}
	for (i = 0; i < n; i++)
		target_free(t, objs[i]);
	free(objs);
	return found;
}

/* --- tests ------------------------------------------------------------------------------------- */

#define NEIGHBOURS 16

static void kept_while_inside(const struct rcu_flavor_struct *flavor, enum kind kind)
{
	void *neighbour[NEIGHBOURS], *obj;
	struct target t;
	struct stay s;
	int i;

	target_init(&t, kind, flavor);
	/* They stay, so that the object's span does. */
	for (i = 0; i < NEIGHBOURS; i++)
		neighbour[i] = target_alloc(&t);
	obj = target_alloc(&t);
	stay_begin(&s, &t, obj);
	target_free_rcu(&t, obj);
	churn_beside(&t, obj);
	assert_true(stats_of(&t.ma).objs_waiting_rcu > 0);
	stay_end(&s);
	await(comes_again(&t, obj));
	for (i = 0; i < NEIGHBOURS; i++)
		target_free(&t, neighbour[i]);
	bpf_mem_alloc_destroy(&t.ma);
}

static void test_kept_while_inside(void **state)
{
	const struct flavor *f = *state;
	enum kind kind;

	for (kind = 0; kind < NR_KINDS; kind++)
		kept_while_inside(f->ops, kind);
}

/* With free, a reader inside or not, the next to ask gets it. */
static void test_free_is_at_once(void **state)
{
	const struct flavor *f = *state;
	enum kind kind;
	struct target t;
	struct stay s;
	void *obj, *objs[64];
	int i, n;

	/* Debug mode cannot see liburcu's readers, and believes the free (docs/debugging.md). */
	if (in_debug_mode() && !is_own(f->ops))
		skip_because("debug mode does not keep what a freed object held");
	for (kind = 0; kind < NR_KINDS; kind++) {
		target_init(&t, kind, f->ops);
		pin(0);
		obj = target_alloc(&t);
		stay_begin(&s, &t, obj);
		target_free(&t, obj);
		n = 0;
		do
			objs[n] = target_alloc(&t);
		while (objs[n++] != obj && n < 64);
		assert_ptr_equal(objs[n - 1], obj);
		unpin();
		stay_end(&s);
		for (i = 0; i < n; i++)
			target_free(&t, objs[i]);
		bpf_mem_alloc_destroy(&t.ma);
	}
}

/* A reader of one flavour keeps nothing of another's. */
static void test_other_flavor(void **state)
{
	const struct flavor *f = *state;
	struct target mine, other;
	void *obj, *others;
	struct stay s;
	int i;

	target_init(&mine, FIXED, f->ops);
	obj = target_alloc(&mine);
	stay_begin(&s, &mine, obj);
	for (i = 0; i < NR_FLAVORS; i++) {
		if (flavors[i].ops == f->ops)
			continue;
		target_init(&other, FIXED, flavors[i].ops);
		others = target_alloc(&other);
		target_free_rcu(&other, others);
		await(!stats_of(&other.ma).objs_waiting_rcu);
		bpf_mem_alloc_destroy(&other.ma);
	}
	target_free_rcu(&mine, obj);
	assert_int_equal(stats_of(&mine.ma).objs_waiting_rcu, 1);
	await(process_stats().dying == 0);
	assert_int_equal(stats_of(&mine.ma).objs_waiting_rcu, 1);
	stay_end(&s);
	bpf_mem_alloc_destroy(&mine.ma);
}

/* Readers come and go all the time, so that some grace period always is on. */
struct list {
	struct target *t;
	void *_Atomic head;
	_Atomic bool stop;
	_Atomic unsigned long reads;
};

static void *read_all_the_time(void *arg)
{
	struct list *l = arg;
	const struct rcu_flavor_struct *flavor = l->t->flavor;
	uint64_t *obj, seed;
	int i;

	flavor->register_thread();
	while (!atomic_load(&l->stop)) {
		reader_enter(flavor);
		obj = atomic_load_explicit(&l->head, memory_order_acquire);
		seed = obj[0];
		for (i = 0; i < 3; i++)
			must(obj[0] == seed && is_filled(obj + 1, SIZE - 8, seed));
		reader_leave(flavor);
		atomic_fetch_add_explicit(&l->reads, 1, memory_order_relaxed);
	}
	flavor->unregister_thread();
	return NULL;
}

static void replace(struct list *l, uint64_t seed)
{
	uint64_t *obj = target_alloc(l->t), *old;

	must(obj);
	obj[0] = seed;
	fill(obj + 1, SIZE - 8, seed);
	old = atomic_exchange_explicit(&l->head, obj, memory_order_acq_rel);
	if (old)
		target_free_rcu(l->t, old);
}

static void test_read_copy_update(void **state)
{
	const struct flavor *f = *state;
	unsigned long n = turns(200000, 20000000), i;
	pthread_t readers[2];
	struct target t;
	struct list l = { .t = &t };

	target_init(&t, FIXED, f->ops);
	replace(&l, 0);
	for (i = 0; i < 2; i++)
		thread_start(&readers[i], read_all_the_time, &l);
	for (i = 1; i < n || atomic_load(&l.reads) < 100; i++)
		replace(&l, i);
	atomic_store(&l.stop, true);
	for (i = 0; i < 2; i++)
		thread_join(readers[i]);
	target_free_rcu(&t, l.head);
	assert_int_equal(stats_of(&t.ma).objs_in_use, 0);
	bpf_mem_alloc_destroy(&t.ma);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ALL_FLAVORS(test_kept_while_inside, NULL, check_nothing_left),
		ALL_FLAVORS(test_free_is_at_once, NULL, check_nothing_left),
		ALL_FLAVORS(test_other_flavor, NULL, check_nothing_left),
		ALL_FLAVORS(test_read_copy_update, NULL, check_nothing_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
