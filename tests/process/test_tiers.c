// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_tiers.c - the two tiers: what was freed with free_rcu is reused after an RCU grace period, and no
 * memory leaves before both an RCU and a tasks-trace one have passed
 *
 * Each edge with a reader of one kind inside while the other is free; for our own RCU readers, which core
 * polls, and for those of a flavour, which the home drives.
 */
#define _GNU_SOURCE
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

#define SIZE 64
#define NR_OBJS 5000
/* Of the reclaimer's rounds, enough to send away all that need not stay. */
#define SOME_ROUNDS_US 300000

static void *objs[NR_OBJS];

static void fill_all(struct bpf_mem_alloc *ma, const struct rcu_flavor_struct *flavor)
{
	int i;

	assert_int_equal(init_for(ma, SIZE, false, flavor), 0);
	for (i = 0; i < NR_OBJS; i++) {
		objs[i] = bpf_mem_cache_alloc(ma);
		assert_non_null(objs[i]);
		fill(objs[i], SIZE, (uint64_t)i);
	}
}

static bool all_filled(void)
{
	uint64_t i;

	for (i = 0; i < NR_OBJS; i++)
		if (!is_filled(objs[i], SIZE, i))
			return false;
	return true;
}

static void free_all(struct bpf_mem_alloc *ma, bool rcu)
{
	int i;

	for (i = 0; i < NR_OBJS; i++)
		if (rcu)
			bpf_mem_cache_free_rcu(ma, objs[i]);
		else
			bpf_mem_cache_free(ma, objs[i]);
}

static int by_address(const void *a, const void *b)
{
	const uintptr_t x = *(const uintptr_t *)a, y = *(const uintptr_t *)b;

	return (x > y) - (x < y);
}

/* Allocate as many as there were; how many of them are among those, still in objs? */
static int allocate_again(struct bpf_mem_alloc *ma, void **fresh)
{
	void *sorted[NR_OBJS];
	int i, same = 0;

	memcpy(sorted, objs, sizeof(sorted));
	qsort(sorted, NR_OBJS, sizeof(*sorted), by_address);
	for (i = 0; i < NR_OBJS; i++) {
		fresh[i] = bpf_mem_cache_alloc(ma);
		must(fresh[i]);
		same += bsearch(&fresh[i], sorted, NR_OBJS, sizeof(*sorted), by_address) != NULL;
	}
	return same;
}

static void give_back(struct bpf_mem_alloc *ma, void **fresh)
{
	int i;

	for (i = 0; i < NR_OBJS; i++)
		bpf_mem_cache_free(ma, fresh[i]);
}

/* --- an RCU reader alone ------------------------------------------------------------------------ */

/* What was freed with free_rcu is not reused, not written, and does not leave. */
static void test_rcu_reader(void **state)
{
	const struct flavor *f = *state;
	static void *fresh[NR_OBJS];
	struct bpf_mem_alloc ma;
	uint64_t bytes;
	struct sitter s;

	fill_all(&ma, f->ops);
	sitter_begin(&s, f->ops);
	free_all(&ma, true);
	assert_int_equal(allocate_again(&ma, fresh), 0);
	give_back(&ma, fresh);
	bytes = stats_of(&ma).bytes_spans;
	sleep_us(SOME_ROUNDS_US);
	assert_true(all_filled());
	assert_int_equal(stats_of(&ma).objs_waiting_rcu, NR_OBJS);
	assert_int_equal(stats_of(&ma).bytes_spans, bytes);
	sitter_end(&s);
	await(!stats_of(&ma).objs_waiting_rcu);
	await(!stats_of(&ma).bytes_spans);
	bpf_mem_alloc_destroy(&ma);
}

/* What was freed with free may be reused; but it does not leave either. */
static void test_rcu_reader_free(void **state)
{
	const struct flavor *f = *state;
	struct bpf_mem_alloc ma;
	uint64_t bytes;
	struct sitter s;

	/* Debug mode cannot see liburcu's readers, and believes the free (docs/debugging.md). */
	if (in_debug_mode() && !is_own(f->ops))
		skip_because("debug mode does not keep what a freed object held");
	fill_all(&ma, f->ops);
	sitter_begin(&s, f->ops);
	free_all(&ma, false);
	bytes = stats_of(&ma).bytes_spans;
	sleep_us(SOME_ROUNDS_US);
	assert_true(all_filled());
	assert_int_equal(stats_of(&ma).bytes_spans, bytes);
	assert_int_equal(stats_of(&ma).objs_in_use, 0);
	sitter_end(&s);
	await(!stats_of(&ma).bytes_spans);
	bpf_mem_alloc_destroy(&ma);
}

/* --- a sleepable reader alone ------------------------------------------------------------------- */

/* All is reusable soon, all reusable is found, and nothing leaves. */
static void test_sleeper(void **state)
{
	const struct flavor *f = *state;
	static void *fresh[NR_OBJS];
	struct bpf_mem_alloc ma;
	uint64_t bytes;
	struct sitter s;

	fill_all(&ma, f->ops);
	bytes = stats_of(&ma).bytes_spans;
	sitter_begin(&s, &trace_readers);
	free_all(&ma, true);
	await(!stats_of(&ma).objs_waiting_rcu);
	assert_true(all_filled());
	/* Most of them: some may be on their way out already, and wait for the sleeper. */
	assert_true(allocate_again(&ma, fresh) > 0);
	give_back(&ma, fresh);
	bytes = stats_of(&ma).bytes_spans > bytes ? stats_of(&ma).bytes_spans : bytes;
	sleep_us(SOME_ROUNDS_US);
	assert_int_equal(stats_of(&ma).bytes_spans, bytes);
	assert_int_equal(stats_of(&ma).objs_in_use, 0);
	sitter_end(&s);
	await(!stats_of(&ma).bytes_spans);
	bpf_mem_alloc_destroy(&ma);
}

/* On its way out, it is not written nor handed out again. */
static void test_sleeper_keeps(void **state)
{
	const struct flavor *f = *state;
	static void *fresh[NR_OBJS];
	struct bpf_mem_alloc ma;
	struct sitter s;

	fill_all(&ma, f->ops);
	sitter_begin(&s, &trace_readers);
	free_all(&ma, true);
	await(stats_of(&ma).objs_waiting_ttrace >= NR_OBJS);
	assert_int_equal(allocate_again(&ma, fresh), 0);
	give_back(&ma, fresh);
	assert_true(all_filled());
	sitter_end(&s);
	await(!stats_of(&ma).bytes_spans);
	bpf_mem_alloc_destroy(&ma);
}

/* A sleeper that stays for long does not make the allocator grow while objects come and go. */
static void test_sleeper_reuse(void **state)
{
	const struct flavor *f = *state;
	unsigned long n = turns(1000000, 20000000), i;
	void *window[256] = { NULL };
	struct bpf_mem_alloc ma;
	uint64_t random = 7;
	struct sitter s;
	size_t bytes;

	assert_int_equal(init_for(&ma, SIZE, false, f->ops), 0);
	sitter_begin(&s, &trace_readers);
	for (i = 0; i < n; i++) {
		void **place = &window[rnd(&random) % 256];

		if (*place)
			bpf_mem_cache_free_rcu(&ma, *place);
		*place = bpf_mem_cache_alloc(&ma);
		must(*place);
	}
	for (i = 0; i < 256; i++)
		if (window[i])
			bpf_mem_cache_free_rcu(&ma, window[i]);
	bytes = stats_of(&ma).bytes_spans;
	printf("# %lu pairs of 64 bytes with a sleeper inside: %zu KiB of spans\n", n, bytes >> 10);
	assert_true(bytes < n * SIZE / (is_plain() ? 4 : 1));
	sitter_end(&s);
	await(!stats_of(&ma).bytes_spans);
	bpf_mem_alloc_destroy(&ma);
}

/* --- both --------------------------------------------------------------------------------------- */

static void both(const struct rcu_flavor_struct *flavor, bool sleeper_first)
{
	static void *fresh[NR_OBJS];
	struct sitter reader, sleeper;
	struct bpf_mem_alloc ma;
	uint64_t bytes;

	fill_all(&ma, flavor);
	sitter_begin(&sleeper, &trace_readers);
	sitter_begin(&reader, flavor);
	free_all(&ma, true);
	if (sleeper_first) {
		sitter_end(&sleeper);
		assert_int_equal(allocate_again(&ma, fresh), 0);
		give_back(&ma, fresh);
	} else {
		sitter_end(&reader);
		await(!stats_of(&ma).objs_waiting_rcu);
	}
	bytes = stats_of(&ma).bytes_spans;
	sleep_us(SOME_ROUNDS_US / 2);
	assert_true(all_filled());
	assert_int_equal(stats_of(&ma).bytes_spans, bytes);
	assert_int_equal(stats_of(&ma).objs_waiting_rcu, sleeper_first ? NR_OBJS : 0);
	sitter_end(sleeper_first ? &reader : &sleeper);
	await(!stats_of(&ma).bytes_spans);
	bpf_mem_alloc_destroy(&ma);
}

static void test_both(void **state)
{
	const struct flavor *f = *state;

	both(f->ops, false);
	both(f->ops, true);
}

/* --- neither ------------------------------------------------------------------------------------ */

/* Nothing is waited for: all leaves by itself, and soon. */
static void test_neither(void **state)
{
	const struct flavor *f = *state;
	double start, idle = 1e9, destroyed = 1e9;
	struct bpf_mem_alloc ma;
	int i;

	for (i = 0; i < 3; i++) {
		fill_all(&ma, f->ops);
		start = now();
		free_all(&ma, i % 2);
		await(!stats_of(&ma).bytes_spans);
		idle = now() - start < idle ? now() - start : idle;
		bpf_mem_alloc_destroy(&ma);
		fill_all(&ma, f->ops);
		free_all(&ma, i % 2);
		start = now();
		bpf_mem_alloc_destroy(&ma);
		await_nothing_left();
		destroyed = now() - start < destroyed ? now() - start : destroyed;
	}
	printf("# %s: all back %.0f ms after the frees, %.1f ms after destroy\n", f->name,
	       1e3 * idle, 1e3 * destroyed);
	assert_true(!is_plain() || (idle < 1 && destroyed < 0.2));
}

/* --- destroy ------------------------------------------------------------------------------------ */

static void on_leaving(void *obj, void *ctx)
{
	(void)obj;
	atomic_fetch_add((_Atomic int *)ctx, 1);
}

/* The memory of a destroyed allocator waits for the sleeper, and so do its destructors. */
static void test_destroy(void **state)
{
	const struct flavor *f = *state;
	static _Atomic int left;
	struct bpf_mem_alloc ma;
	struct sitter s;
	uint64_t bytes;
	int i;

	atomic_store(&left, 0);
	assert_int_equal(init_for(&ma, SIZE, false, f->ops), 0);
	bpf_mem_alloc_set_dtor(&ma, on_leaving, NULL, &left);
	for (i = 0; i < NR_OBJS; i++) {
		objs[i] = bpf_mem_cache_alloc(&ma);
		fill(objs[i], SIZE, (uint64_t)i);
	}
	sitter_begin(&s, &trace_readers);
	free_all(&ma, true);
	bytes = stats_of(&ma).bytes_spans;
	bpf_mem_alloc_destroy(&ma);
	sleep_us(SOME_ROUNDS_US / 2);
	assert_int_equal(process_stats().dying, 1);
	assert_int_equal(process_stats().bytes_spans, bytes);
	assert_int_equal(atomic_load(&left), 0);
	assert_true(all_filled());
	sitter_end(&s);
	await_nothing_left();
	assert_int_equal(atomic_load(&left), NR_OBJS);
}

#define DRIVEN_AND_OWN(test)                                                                       \
	CASE(test, #test "(memb)", NULL, check_nothing_left, MEMB),                                \
		CASE(test, #test "(own)", NULL, check_nothing_left, OWN)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ALL_FLAVORS(test_neither, NULL, check_nothing_left),
		DRIVEN_AND_OWN(test_rcu_reader),
		DRIVEN_AND_OWN(test_rcu_reader_free),
		DRIVEN_AND_OWN(test_sleeper),
		DRIVEN_AND_OWN(test_sleeper_keeps),
		DRIVEN_AND_OWN(test_sleeper_reuse),
		DRIVEN_AND_OWN(test_both),
		DRIVEN_AND_OWN(test_destroy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
