// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_depot.c - magazines that are on no CPU
 */
#include "every_access.h"
#include "../../core/depot.c"
#include "unit.h"

/* Objects for magazines that never meet an allocator's fast path: any address but NULL does. */
static char objs[8];

static struct bpf_mem_cache *cache(int size)
{
	return unit_ma(size, false)->caches;
}

static struct bma_magazine *magazine(struct bpf_mem_cache *c, unsigned int n)
{
	struct bma_magazine *m = bma_magazine_new();
	unsigned int i;

	assert_non_null(m);
	assert_int_equal(m->count, 0);
	for (i = 0; i < n; i++)
		bma_magazine_push(c, m, &objs[i]);
	return m;
}

static int64_t nr_depot(struct bpf_mem_cache *c)
{
	return port_load(&c->nr_depot, relaxed);
}

static void an_empty_magazine_is_not_kept(void)
{
	struct bpf_mem_cache *c = cache(64);
	struct bma_magazine *m = magazine(c, 0);

	bma_depot_put(c, m);
	assert_int_equal(nr_depot(c), 0);
	assert_null(bma_depot_get(c));
	assert_ptr_equal(bma_magazine_new(), m);
	bma_magazine_free(m);
}

static void full_and_partial_are_told_apart(void)
{
	struct bpf_mem_cache *c = cache(64);
	struct bma_magazine *full = magazine(c, 2), *some = magazine(c, 1);

	assert_int_equal(c->capacity, 2);
	bma_depot_put(c, full);
	assert_null(bma_depot_get_partial(c));
	bma_depot_put(c, some);
	assert_int_equal(nr_depot(c), 3);
	assert_ptr_equal(bma_depot_get_partial(c), some);
	assert_int_equal(nr_depot(c), 2);
	bma_depot_put(c, some);
	/* The partial one first, so that there are never many. */
	assert_ptr_equal(bma_depot_get(c), some);
	assert_ptr_equal(bma_depot_get(c), full);
	assert_int_equal(nr_depot(c), 0);
	assert_null(bma_depot_get(c));
	assert_null(bma_depot_get_partial(c));
	assert_ptr_equal(bma_magazine_pop(c, full), &objs[1]);
	assert_ptr_equal(bma_magazine_pop(c, full), &objs[0]);
	bma_magazine_free(full);
	bma_magazine_free(some);
}

static void capacity_one_knows_no_partial(void)
{
	struct bpf_mem_cache *c = cache(20000);
	struct bma_magazine *m = magazine(c, 1);
	bma_obj_t *top;

	assert_int_equal(c->capacity, 1);
	bma_depot_put(c, m);
	assert_null(bma_depot_get_partial(c));
	assert_ptr_equal(bma_depot_get(c), m);
	top = bma_magazine_load(c, m);
	assert_true(bma_top_is_end(top));
	assert_ptr_equal(top[-1], &objs[0]);
	assert_null(top[-2]);
	assert_int_equal(bma_top_count(c, top), 1);
	assert_int_equal(bma_top_count(c, top - 1), 0);
	assert_ptr_equal(bma_magazine_of(c, top - 1), m);
	assert_int_equal(m->count, 0);
	bma_magazine_free(m);
}

/* A slot shows a magazine as its top alone; the count comes back from that. */
static void a_loaded_magazine_comes_back_whole(void)
{
	struct bpf_mem_cache *c = cache(64);
	struct bma_magazine *m;
	unsigned int n, i;
	bma_obj_t *top;

	for (n = 0; n <= c->capacity; n++) {
		m = magazine(c, n);
		top = bma_magazine_load(c, m);
		assert_int_equal(bma_top_count(c, top), n);
		assert_int_equal(bma_top_is_end(top), n == c->capacity);
		/* A pop of the last finds NULL below. */
		for (i = 1; i <= n; i++)
			assert_non_null(top[-(int)i]);
		assert_null(top[-(int)i]);
		assert_ptr_equal(bma_magazine_of(c, top), m);
		assert_int_equal(m->count, n);
		bma_magazine_free(m);
	}
}

static void no_magazine_is_empty_and_full(void)
{
	struct bpf_mem_cache *c = cache(64);

	assert_true(bma_top_is_end(BMA_NO_TOP));
	assert_null(BMA_NO_TOP[-1]);
	assert_int_equal(bma_top_count(c, BMA_NO_TOP), 0);
	assert_null(bma_magazine_of(c, BMA_NO_TOP));
}

static void a_chain_is_counted_and_freed(void)
{
	struct bpf_mem_cache *c = cache(64);
	struct bma_chain chain = { 0 };

	assert_int_equal(bma_chain_free(&chain, 10), 0);
	bma_chain_add(&chain, magazine(c, 2));
	bma_chain_add(&chain, magazine(c, 1));
	bma_chain_add(&chain, magazine(c, 0));
	assert_int_equal(chain.objs, 3);
	assert_int_equal(bma_chain_free(&chain, 10), 3);
	assert_int_equal(chain.first, 0);
	assert_int_equal(chain.objs, 0);
}

static void a_splice_counts_all_and_goes_on_top(void)
{
	struct bpf_mem_cache *c = cache(64);
	struct bma_magazine *old = magazine(c, 2), *a = magazine(c, 2), *b = magazine(c, 1);

	bma_depot_put(c, old);
	port_store(&a->next, bma_handle(b), relaxed);
	port_store(&a->tail, bma_handle(b), relaxed);
	port_store(&a->total, 3, relaxed);
	bma_depot_splice(c, a);
	assert_int_equal(nr_depot(c), 5);
	assert_ptr_equal(bma_depot_get(c), a);
	assert_ptr_equal(bma_depot_get(c), b);
	assert_ptr_equal(bma_depot_get(c), old);
	assert_int_equal(nr_depot(c), 0);
	bma_magazine_free(old);
	bma_magazine_free(a);
	bma_magazine_free(b);
}

static void the_low_mark_follows_down_only(void)
{
	struct bpf_mem_cache *c = cache(64);
	struct bma_magazine *m[3];
	unsigned int i;

	for (i = 0; i < 3; i++)
		bma_depot_put(c, magazine(c, 2));
	port_store(&c->nr_depot_low, 6, relaxed);
	for (i = 0; i < 2; i++)
		m[i] = bma_depot_get(c);
	assert_int_equal(port_load(&c->nr_depot_low, relaxed), 2);
	for (i = 0; i < 2; i++)
		bma_depot_put(c, m[i]);
	assert_int_equal(port_load(&c->nr_depot_low, relaxed), 2);
	for (i = 0; i < 3; i++)
		bma_magazine_free(bma_depot_get(c));
	assert_int_equal(port_load(&c->nr_depot_low, relaxed), 0);
}

static void out_of_memory_is_said(void)
{
	struct bma_magazine *m[64];
	unsigned int n = 0;

	m[n++] = bma_magazine_new();
	script_fail(SCRIPT_PAGES_ALLOC, 1, SCRIPT_EVER);
	/* What has been got already can be cut up and used. */
	while (n < 64 && (m[n] = bma_magazine_new()))
		n++;
	assert_int_equal(n, 64);
	script_fail(SCRIPT_PAGES_ALLOC, 1, 0);
	while (n)
		bma_magazine_free(m[--n]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT_TEST(an_empty_magazine_is_not_kept),
		UNIT_TEST(full_and_partial_are_told_apart),
		UNIT_TEST(capacity_one_knows_no_partial),
		UNIT_TEST(a_loaded_magazine_comes_back_whole),
		UNIT_TEST(no_magazine_is_empty_and_full),
		UNIT_TEST(a_chain_is_counted_and_freed),
		UNIT_TEST(a_splice_counts_all_and_goes_on_top),
		UNIT_TEST(the_low_mark_follows_down_only),
		UNIT_TEST(out_of_memory_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
