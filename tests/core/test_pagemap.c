// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_pagemap.c - from any address to its owner, and from there to the object's number
 */
#include "every_access.h"
#include "../../core/pagemap.c"
#include "unit.h"

#define UNIT ((uintptr_t)1 << PORT_UNIT_SHIFT)

/* Only compared, never followed. */
static struct bpf_mem_cache one, two;
static struct bma_span *const span = (struct bma_span *)&one;

static char *at(uintptr_t address)
{
	return (char *)address;
}

static void any_pointer_is_safe(void)
{
	struct bpf_mem_alloc *ma = unit_ma(64, false);
	char *obj = unit_alloc(ma);
	uint64_t x = 88172645463325252ull;
	int i;

	assert_null(bma_pagemap_cache(NULL));
	assert_null(bma_pagemap_cache(at(~(uintptr_t)0)));
	assert_null(bma_pagemap_cache(at((uintptr_t)1 << 63)));
	assert_null(bma_pagemap_cache(at((uintptr_t)1 << PORT_ADDR_BITS)));
	assert_null(bma_pagemap_cache(at(((uintptr_t)1 << PORT_ADDR_BITS) - 1)));
	for (i = 0; i < 64; i++) {
		assert_null(bma_pagemap_cache(at((uintptr_t)1 << i)));
		/* One bit beside a real object. */
		if (i >= PORT_UNIT_SHIFT)
			assert_null(bma_pagemap_cache(at((uintptr_t)obj ^ (uintptr_t)1 << i)));
	}
	for (i = 0; i < 1000000; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		if ((x & ~(UNIT - 1)) != ((uintptr_t)obj & ~(UNIT - 1)))
			assert_null(bma_pagemap_cache(at(x)));
	}
	for (i = 0; i < (int)UNIT; i++)
		assert_ptr_equal(bma_pagemap_cache(at(((uintptr_t)obj & ~(UNIT - 1)) + i)),
				 ma->caches);
	unit_free(ma, obj);
}

static void set_and_clear_are_exact(void)
{
	char *base = at(5 * UNIT);

	assert_true(bma_pagemap_set(base, 3 * UNIT, &one, span));
	assert_true(bma_pagemap_set(base + 3 * UNIT, UNIT, &two, NULL));
	assert_null(bma_pagemap_cache(base - 1));
	assert_ptr_equal(bma_pagemap_cache(base), &one);
	assert_ptr_equal(bma_pagemap_cache(base + 3 * UNIT - 1), &one);
	assert_ptr_equal(bma_pagemap_span(base + 2 * UNIT), span);
	assert_ptr_equal(bma_pagemap_cache(base + 3 * UNIT), &two);
	assert_null(bma_pagemap_cache(base + 4 * UNIT));
	/* To clear needs no memory. */
	script_fail(SCRIPT_PAGES_ALLOC, 1, SCRIPT_EVER);
	assert_true(bma_pagemap_set(base, 3 * UNIT, NULL, NULL));
	assert_null(bma_pagemap_cache(base));
	assert_null(bma_pagemap_cache(base + 3 * UNIT - 1));
	assert_ptr_equal(bma_pagemap_cache(base + 3 * UNIT), &two);
}

/* The two ends of the address space, and of a leaf. */
static void the_edges_are_as_good_as_the_middle(void)
{
	static const uintptr_t end = (uintptr_t)1 << PORT_ADDR_BITS;
	static const uintptr_t leaf = (uintptr_t)1 << BMA_LEAF_BITS;
	const uintptr_t base[] = { UNIT, leaf - UNIT, leaf, end - UNIT };
	unsigned int i;

	for (i = 0; i < 4; i++)
		assert_true(bma_pagemap_set(at(base[i]), UNIT, &one, span));
	assert_int_equal(script_calls(SCRIPT_PAGES_ALLOC), 3);
	for (i = 0; i < 4; i++) {
		assert_ptr_equal(bma_pagemap_cache(at(base[i])), &one);
		assert_ptr_equal(bma_pagemap_cache(at(base[i] + UNIT - 1)), &one);
	}
	assert_null(bma_pagemap_cache(at(leaf + UNIT)));
	assert_null(bma_pagemap_cache(at(leaf - UNIT - 1)));
	assert_null(bma_pagemap_cache(at(end)));
}

static void no_memory_for_a_leaf_sets_nothing(void)
{
	char *base = at(7 * UNIT);

	script_fail(SCRIPT_PAGES_ALLOC, 1, 1);
	assert_false(bma_pagemap_set(base, UNIT, &one, span));
	assert_null(bma_pagemap_cache(base));
	assert_int_equal(script_pages_out(), 0);
	assert_true(bma_pagemap_set(base, UNIT, &one, span));
	assert_ptr_equal(bma_pagemap_cache(base), &one);
}

/* Two contexts that need the same leaf: one leaf stays, with what both have set. */
static void run_set(void)
{
	assert_true(bma_pagemap_set(at(UNIT), UNIT, &one, span));
}

static void nested_set(void *arg)
{
	(void)arg;
	assert_true(bma_pagemap_set(at(2 * UNIT), UNIT, &two, span));
	assert_ptr_equal(bma_pagemap_cache(at(2 * UNIT)), &two);
}

static void check_both_set(void)
{
	assert_ptr_equal(bma_pagemap_cache(at(UNIT)), &one);
	assert_ptr_equal(bma_pagemap_cache(at(2 * UNIT)), &two);
	assert_int_equal(script_pages_out(), sizeof(struct bma_leaf));
}

static void two_may_make_a_leaf_at_once(void)
{
	const struct unit_scene scene = { .run = run_set,
					  .nested = nested_set,
					  .check = check_both_set };

	assert_true(unit_explore(&scene) >= 6);
}

/* Whoever reads a span's owner while it is being set sees nobody, or the owner with its span. */
static void nested_look(void *arg)
{
	struct bpf_mem_cache *c = bma_pagemap_cache(at(UNIT));

	(void)arg;
	if (c)
		assert_ptr_equal(bma_pagemap_span(at(UNIT)), span);
}

static void an_owner_is_never_without_its_span(void)
{
	const struct unit_scene scene = { .run = run_set, .nested = nested_look };

	assert_true(unit_explore(&scene) >= 4);
}

/* --- bma_is_obj(), bma_obj_nr() -------------------------------------------------------------------------------- */

static void check_offset(const struct bpf_mem_cache *c, uintptr_t base, size_t offset)
{
	bool begins = offset % c->size == 0 && offset / c->size < c->nr_objs;

	if (bma_is_obj(c, at(base + offset)) != begins)
		fail_msg("size %u: offset %zu", c->size, offset);
	if (begins)
		assert_int_equal(bma_obj_nr(c, at(base + offset)), offset / c->size);
}

/* What init chose for @size: does it hold, lose little, and map back? */
static void check_size(int size, bool all_offsets)
{
	struct bpf_mem_alloc ma;
	const struct bpf_mem_cache *c;
	uintptr_t base;
	size_t offset;
	uint64_t x = (uint64_t)size * 2654435761u | 1;
	int i;

	assert_int_equal(bpf_mem_alloc_init(&ma, size, false), 0);
	c = ma.caches;
	base = 3 * (c->span_mask + 1);
	assert_true(c->size >= (uint32_t)size && c->size - (uint32_t)size < 16);
	assert_int_equal(c->size % (size < 16 ? 8 : 16), 0);
	assert_true(c->nr_objs >= 1 && (size_t)c->nr_objs * c->size <= c->span_bytes);
	assert_true(c->span_bytes - (size_t)c->nr_objs * c->size <= c->span_bytes / 8 ||
		    c->span_bytes == BPF_MEM_CACHE_SIZE_MAX);
	assert_true(c->span_bytes <= c->span_mask + 1 && c->span_bytes % UNIT == 0);
	assert_true(c->map_words * 64 >= c->nr_objs && (c->map_words - 1) * 64 < c->nr_objs);
	assert_true(c->capacity >= 1 && c->capacity <= BMA_MAGAZINE_ENTRIES);
	for (offset = 0; all_offsets && offset < c->span_bytes; offset++)
		check_offset(c, base, offset);
	for (offset = 0; offset <= c->span_bytes; offset += c->size) {
		for (i = -9; i <= 9; i++)
			if (offset + i < c->span_bytes)
				check_offset(c, base, offset + i);
	}
	for (i = 0; i < 200; i++, x = x * 6364136223846793005ull + 1442695040888963407ull)
		check_offset(c, base, (x >> 33) % c->span_bytes);
	bpf_mem_alloc_destroy(&ma);
	bma_reclaim();
	unit_pass(2);
	bma_reclaim();
}

/* Every stride up to 4096, with every offset of its span. */
static void exactly_the_objects_are_objects(void)
{
	int size;

	check_size(1, true);
	for (size = 8; size < 16; size += 8)
		check_size(size, true);
	for (size = 16; size <= 4096; size += 16)
		check_size(size, true);
}

static void and_of_every_size(void)
{
	int size;

	for (size = 1; size <= 4096; size++)
		check_size(size, false);
}

static void and_of_large_sizes(void)
{
	int size, i;

	for (size = 4097; size < BPF_MEM_CACHE_SIZE_MAX; size += 4099)
		check_size(size, false);
	for (i = 12; i <= 20; i++) {
		check_size(1 << i, false);
		check_size((1 << i) - 1, false);
		if (i < 20)
			check_size((1 << i) + 1, i < 17);
	}
	check_size(BPF_MEM_CACHE_SIZE_MAX / 3, true);
	check_size(BPF_MEM_CACHE_SIZE_MAX - 16, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT_TEST(any_pointer_is_safe),
		UNIT_TEST(set_and_clear_are_exact),
		UNIT_TEST(the_edges_are_as_good_as_the_middle),
		UNIT_TEST(no_memory_for_a_leaf_sets_nothing),
		UNIT_TEST(two_may_make_a_leaf_at_once),
		UNIT_TEST(an_owner_is_never_without_its_span),
		UNIT_TEST(exactly_the_objects_are_objects),
		UNIT_TEST(and_of_every_size),
		UNIT_TEST(and_of_large_sizes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
