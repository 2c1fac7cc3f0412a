// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_meta.c - memory for core's own structures, and their stacks
 */
#include "every_access.h"
#include "../../core/meta.c"
#include "unit.h"

#define PER_PAGE (PORT_META_PAGE / 64)

static uint64_t nr_pages(void)
{
	return port_load(&bma_world.meta.nr_pages, relaxed);
}

static uint32_t nr_chunks(void)
{
	return port_load(&bma_world.meta.nr_chunks, relaxed);
}

static void the_class_is_the_smallest_that_holds(void)
{
	size_t bytes;

	for (bytes = 1; bytes <= 1u << BMA_META_MAX_SHIFT; bytes++) {
		unsigned int class = bma_meta_class(bytes);

		assert_true(bytes_of(class) >= bytes);
		assert_true(!class || bytes_of(class - 1) < bytes);
		assert_true(class < BMA_META_MAGAZINE);
	}
	assert_true(bytes_of(BMA_META_MAGAZINE) >= sizeof(struct bma_magazine));
}

/* Mark @piece, so that an overlap shows. */
static void mark(void *piece, size_t bytes, uint32_t nr)
{
	uint32_t *word = piece, *end = word + bytes / sizeof(*word);

	for (; word < end; word++)
		*word = nr;
}

static bool is_marked(const void *piece, size_t bytes, uint32_t nr)
{
	const uint32_t *word = piece, *end = word + bytes / sizeof(*word);

	for (; word < end; word++)
		if (*word != nr)
			return false;
	return true;
}

static void pieces_are_aligned_and_apart(void)
{
	void *piece[BMA_META_CLASSES][80];
	unsigned int class, i;
	uint32_t nr = 1;

	/* 80 of each: several pages, several chunks. */
	for (i = 0; i < 80; i++) {
		for (class = 0; class < BMA_META_CLASSES; class ++) {
			void *p = piece[class][i] = bma_meta_alloc(class);

			assert_non_null(p);
			assert_int_equal((uintptr_t)p % bytes_of(class), 0);
			assert_int_not_equal(bma_handle(p), 0);
			assert_ptr_equal(bma_piece(bma_handle(p)), p);
			mark(p, bytes_of(class), nr++);
		}
	}
	assert_true(nr_chunks() > 2);
	for (i = 0, nr = 1; i < 80; i++) {
		for (class = 0; class < BMA_META_CLASSES; class ++) {
			assert_true(is_marked(piece[class][i], bytes_of(class), nr++));
			bma_meta_free(piece[class][i], class);
		}
	}
}

static void a_freed_piece_is_the_next_of_its_class_only(void)
{
	void *small = bma_meta_alloc(0), *magazine = bma_meta_alloc(BMA_META_MAGAZINE);

	assert_int_equal(bytes_of(0), bytes_of(BMA_META_MAGAZINE));
	bma_meta_free(small, 0);
	bma_meta_free(magazine, BMA_META_MAGAZINE);
	assert_ptr_equal(bma_meta_alloc(0), small);
	assert_ptr_equal(bma_meta_alloc(BMA_META_MAGAZINE), magazine);
	bma_meta_free(small, 0);
	bma_meta_free(magazine, BMA_META_MAGAZINE);
}

static void without_memory_it_says_so_and_keeps_what_it_has(void)
{
	void *first, *piece[CHUNK_PAGES], *p;
	unsigned int n = 0;

	script_fail(SCRIPT_PAGES_ALLOC, 1, SCRIPT_EVER);
	assert_null(bma_meta_alloc(0));
	assert_int_equal(nr_pages(), 0);
	assert_int_equal(nr_chunks(), 0);
	script_fail(SCRIPT_PAGES_ALLOC, 1, 0);
	first = bma_meta_alloc(6);
	script_fail(SCRIPT_PAGES_ALLOC, 1, SCRIPT_EVER);
	/* All of the chunk but its header can be used. */
	while ((p = bma_meta_alloc(6)))
		piece[n++] = p;
	assert_int_equal(n, CHUNK_PAGES - 2);
	assert_null(bma_meta_alloc(0));
	bma_meta_free(first, 6);
	assert_ptr_equal(bma_meta_alloc(6), first);
	bma_meta_free(first, 6);
	while (n)
		bma_meta_free(piece[--n], 6);
	assert_int_equal(script_pages_out(), PORT_META_CHUNK);
}

static void there_are_so_many_chunks_and_no_more(void)
{
	port_store(&bma_world.meta.nr_chunks, BMA_META_CHUNKS - 1, relaxed);
	void *piece = bma_meta_alloc(6), *more[CHUNK_PAGES];
	unsigned int n = 0;

	assert_non_null(piece);
	assert_ptr_equal(bma_piece(bma_handle(piece)), piece);
	assert_int_equal(bma_handle(piece) / CHUNK_STEPS, BMA_META_CHUNKS - 1);
	while ((more[n] = bma_meta_alloc(6)))
		n++;
	assert_int_equal(n, CHUNK_PAGES - 2);
	assert_int_equal(nr_chunks(), BMA_META_CHUNKS);
	/* The chunk that got no number went back. */
	assert_int_equal(script_pages_out(), PORT_META_CHUNK);
	assert_int_equal(script_calls(SCRIPT_PAGES_FREE), 1);
	unit_begin();
}

static void trim_gives_back_all_that_is_free(void)
{
	void *piece[3 * PER_PAGE];
	unsigned int i, drops;

	for (i = 0; i < 3 * PER_PAGE; i++)
		piece[i] = bma_meta_alloc(0);
	assert_int_equal(nr_pages(), 4);
	for (i = 0; i < 3 * PER_PAGE; i++)
		bma_meta_free(piece[i], 0);
	bma_meta_trim(&bma_world.meta);
	assert_int_equal(nr_pages(), 1);
	/* Neighbours go together. */
	assert_int_equal(script_calls(SCRIPT_PAGES_DROP), 1);
	/* A second one finds nothing to do. */
	drops = script_calls(SCRIPT_PAGES_DROP);
	bma_meta_trim(&bma_world.meta);
	assert_int_equal(script_calls(SCRIPT_PAGES_DROP), drops);
	/* And the pages are used again, for anything. */
	script_fail(SCRIPT_PAGES_ALLOC, 1, SCRIPT_EVER);
	for (i = 0; i < CHUNK_PAGES - 1; i++)
		assert_non_null(piece[i] = bma_meta_alloc(6));
	while (i)
		bma_meta_free(piece[--i], 6);
}

static void trim_keeps_what_is_in_use(void)
{
	void *piece[4 * PER_PAGE], *again[4 * PER_PAGE];
	unsigned int i, n = 0;

	for (i = 0; i < 4 * PER_PAGE; i++) {
		piece[i] = bma_meta_alloc(0);
		mark(piece[i], 64, i);
	}
	/* A page all free, one with one in use, one with one free, one all in use. */
	for (i = 0; i < 2 * PER_PAGE + 1; i++)
		if (i != PER_PAGE + 7)
			bma_meta_free(piece[i], 0);
	bma_meta_trim(&bma_world.meta);
	assert_int_equal(nr_pages(), 1 + 3);
	assert_true(is_marked(piece[PER_PAGE + 7], 64, PER_PAGE + 7));
	for (i = 2 * PER_PAGE + 1; i < 4 * PER_PAGE; i++)
		assert_true(is_marked(piece[i], 64, i));
	/* Each free piece of a page that stayed is there exactly once. */
	for (; nr_pages() == 4; n++)
		mark(again[n] = bma_meta_alloc(0), 64, 1000 + n);
	assert_int_equal(n, PER_PAGE - 1 + 1 + 1); /* the last one of a new page */
	for (i = 0; i < n; i++)
		assert_true(is_marked(again[i], 64, 1000 + i));
	for (i = 0; i < n; i++)
		bma_meta_free(again[i], 0);
	bma_meta_free(piece[PER_PAGE + 7], 0);
	for (i = 2 * PER_PAGE + 1; i < 4 * PER_PAGE; i++)
		bma_meta_free(piece[i], 0);
}

static void trim_of_every_class(void)
{
	void *piece[BMA_META_CLASSES][PER_PAGE];
	unsigned int class, i;

	for (class = 0; class < BMA_META_CLASSES; class ++)
		for (i = 0; i < PORT_META_PAGE / bytes_of(class); i++)
			assert_non_null(piece[class][i] = bma_meta_alloc(class));
	assert_int_equal(nr_pages(), nr_chunks() + BMA_META_CLASSES);
	for (class = 0; class < BMA_META_CLASSES; class ++)
		for (i = 0; i < PORT_META_PAGE / bytes_of(class); i++)
			bma_meta_free(piece[class][i], class);
	bma_world.meta.returned = 7;
	bma_meta_trim(&bma_world.meta);
	assert_int_equal(nr_pages(), nr_chunks());
	assert_int_equal(bma_world.meta.returned, 0);
}

/* Twice as much as it looks at in one go, of every other page one piece in use. */
static void trim_goes_in_parts(void)
{
	enum { N = 2 * PART_PIECES };
	static void *piece[N];
	unsigned int i, parts = 1;
	uint64_t pages;

	for (i = 0; i < N; i++)
		piece[i] = bma_meta_alloc(0);
	for (i = 0; i < N; i++)
		if (i % (2 * PER_PAGE))
			bma_meta_free(piece[i], 0);
	pages = nr_pages();
	while (bma_meta_trim(&bma_world.meta)) {
		assert_int_equal(bma_world.meta.trimming, true);
		parts++;
		/* What it has in hand is nobody else's; what comes meanwhile is left alone. */
		if (parts == 2)
			bma_meta_free(piece[0], 0);
	}
	assert_int_equal(parts, 2);
	assert_int_equal(bma_world.meta.trimming, false);
	assert_int_equal(nr_pages(), pages - N / PER_PAGE / 2);
	assert_int_equal(unit_free_pieces(0), N / 2 - N / PER_PAGE / 2 + 1);
	for (i = 2 * PER_PAGE; i < N; i += 2 * PER_PAGE)
		bma_meta_free(piece[i], 0);
	assert_false(bma_meta_trim(&bma_world.meta));
	assert_int_equal(nr_pages(), nr_chunks());
}

/* Pages too: half as many again as go in one go, each with a piece as large as itself. */
static void pages_go_in_parts(void)
{
	enum { N = PART_PAGES * 3 / 2, CLASS = BMA_META_MAX_SHIFT - BMA_META_MIN_SHIFT };
	static void *piece[N];
	unsigned int i;

	for (i = 0; i < N; i++)
		piece[i] = bma_meta_alloc(CLASS);
	for (i = 0; i < N; i++)
		bma_meta_free(piece[i], CLASS);
	assert_true(bma_meta_trim(&bma_world.meta));
	assert_int_equal(nr_pages(), nr_chunks() + N - PART_PAGES);
	assert_false(bma_meta_trim(&bma_world.meta));
	assert_int_equal(nr_pages(), nr_chunks());
}

/* --- stacks ------------------------------------------------------------------------------------- */

static struct bma_stack stack;
static void *piece[4];

static uint32_t tag(void)
{
	return (uint32_t)(port_load(&stack.head, relaxed) >> 32);
}

static void stack_of(unsigned int n)
{
	unsigned int i;

	stack = (struct bma_stack){ 0 };
	for (i = 0; i < 4; i++)
		piece[i] = bma_meta_alloc(0);
	for (i = n; i--;)
		bma_stack_push(&stack, piece[i], piece[i]);
}

static void give_back_pieces(void)
{
	unsigned int i;

	for (i = 0; i < 4; i++)
		bma_meta_free(piece[i], 0);
}

static void last_in_first_out(void)
{
	stack_of(3);
	assert_int_equal(bma_stack_first(&stack), bma_handle(piece[0]));
	assert_ptr_equal(bma_stack_pop(&stack), piece[0]);
	assert_ptr_equal(bma_stack_pop(&stack), piece[1]);
	bma_stack_push(&stack, piece[0], piece[0]);
	assert_ptr_equal(bma_stack_pop(&stack), piece[0]);
	assert_ptr_equal(bma_stack_pop(&stack), piece[2]);
	assert_null(bma_stack_pop(&stack));
	assert_null(bma_stack_pop(&stack));
	give_back_pieces();
}

static void take_takes_all_in_order(void)
{
	bma_handle_t h;

	stack_of(3);
	h = bma_stack_take(&stack);
	assert_int_equal(h, bma_handle(piece[0]));
	assert_int_equal(next_of(h), bma_handle(piece[1]));
	assert_int_equal(next_of(next_of(h)), bma_handle(piece[2]));
	assert_int_equal(next_of(next_of(next_of(h))), 0);
	assert_int_equal(bma_stack_take(&stack), 0);
	/* And put back in one step, above another. */
	bma_stack_push(&stack, piece[3], piece[3]);
	bma_stack_push(&stack, piece[0], piece[2]);
	assert_ptr_equal(bma_stack_pop(&stack), piece[0]);
	assert_ptr_equal(bma_stack_pop(&stack), piece[1]);
	assert_ptr_equal(bma_stack_pop(&stack), piece[2]);
	assert_ptr_equal(bma_stack_pop(&stack), piece[3]);
	give_back_pieces();
}

static void every_change_moves_the_tag(void)
{
	uint32_t before;

	stack_of(2);
	before = tag();
	bma_stack_push(&stack, piece[2], piece[2]);
	assert_int_not_equal(tag(), before);
	before = tag();
	bma_stack_pop(&stack);
	assert_int_not_equal(tag(), before);
	before = tag();
	bma_stack_take(&stack);
	assert_int_not_equal(tag(), before);
	/* It wraps, and that harms nothing. */
	port_store(&stack.head, 0xffffffffull << 32, relaxed);
	bma_stack_push(&stack, piece[0], piece[0]);
	assert_int_equal(tag(), 0);
	assert_ptr_equal(bma_stack_pop(&stack), piece[0]);
	give_back_pieces();
}

/* What the run and what interrupts it have got. */
static void *got[8];
static unsigned int nr_got;

static void get(void *p)
{
	unsigned int i;

	for (i = 0; i < nr_got; i++)
		assert_ptr_not_equal(got[i], p);
	if (p)
		got[nr_got++] = p;
}

static void prepare_stack(void)
{
	stack_of(3);
	nr_got = 0;
}

static void run_pop(void)
{
	get(bma_stack_pop(&stack));
}

static void run_push(void)
{
	bma_stack_push(&stack, piece[3], piece[3]);
}

static void run_take(void)
{
	bma_handle_t h, next;

	for (h = bma_stack_take(&stack); h; h = next) {
		next = next_of(h);
		get(bma_piece(h));
	}
}

/* The first comes back with another below it: ABA. */
static void nested_aba(void *arg)
{
	void *first = bma_stack_pop(&stack), *second = bma_stack_pop(&stack);

	(void)arg;
	if (second)
		get(second);
	if (first)
		bma_stack_push(&stack, first, first);
}

static void nested_take_all(void *arg)
{
	(void)arg;
	run_take();
}

static void nested_pop(void *arg)
{
	(void)arg;
	run_pop();
}

static void check_stack(unsigned int n)
{
	void *p;

	while ((p = bma_stack_pop(&stack)))
		get(p);
	assert_int_equal(nr_got, n);
	give_back_pieces();
}

static void check_3(void)
{
	check_stack(3);
}

static void check_4(void)
{
	check_stack(4);
}

static void stacks_bear_interruption(void)
{
	static const struct {
		void (*run)(void), (*check)(void);
	} runs[] = { { run_pop, check_3 }, { run_push, check_4 }, { run_take, check_3 } };
	static void (*const nested[])(void *) = { nested_aba, nested_take_all, nested_pop };
	unsigned int i, j;

	for (i = 0; i < 3; i++) {
		for (j = 0; j < 3; j++) {
			struct unit_scene scene = { .prepare = prepare_stack,
						    .run = runs[i].run,
						    .nested = nested[j],
						    .check = runs[i].check };

			assert_true(unit_explore(&scene) >= 3);
		}
	}
}

/* --- allocation and trim, interrupted ------------------------------------------------------------ */

static void *in_use[2 * PER_PAGE];
static unsigned int nr_in_use;

static void use_more(unsigned int class)
{
	void *p = bma_meta_alloc(class);

	assert_non_null(p);
	mark(p, 64, nr_in_use + 1);
	in_use[nr_in_use++] = p;
}

static void prepare_none(void)
{
	nr_in_use = 0;
}

/* A page in use but for one piece, a page free but for one, a page all free. */
static void prepare_pages(void)
{
	void *p[3 * PER_PAGE];
	unsigned int i;

	nr_in_use = 0;
	for (i = 0; i < 3 * PER_PAGE; i++)
		p[i] = bma_meta_alloc(0);
	for (i = 0; i < 3 * PER_PAGE; i++) {
		if (i == 0 || (i >= PER_PAGE && i != PER_PAGE + 5)) {
			bma_meta_free(p[i], 0);
		} else {
			mark(p[i], 64, nr_in_use + 1);
			in_use[nr_in_use++] = p[i];
		}
	}
}

static void run_alloc(void)
{
	use_more(0);
}

static void run_trim(void)
{
	bma_meta_trim(&bma_world.meta);
}

static void nested_alloc(void *arg)
{
	(void)arg;
	use_more(0);
	use_more(0);
}

static void nested_alloc_and_free(void *arg)
{
	(void)arg;
	use_more(0);
	use_more(6);
	bma_meta_free(in_use[--nr_in_use], 6);
	bma_meta_free(in_use[0], 0);
	if (--nr_in_use)
		mark(in_use[0] = in_use[nr_in_use], 64, 1);
}

static void check_in_use(void)
{
	while (nr_in_use) {
		nr_in_use--;
		assert_true(is_marked(in_use[nr_in_use], 64, nr_in_use + 1));
		bma_meta_free(in_use[nr_in_use], 0);
	}
}

static void allocation_and_trim_bear_interruption(void)
{
	static void (*const nested[])(void *) = { nested_alloc, nested_alloc_and_free };
	unsigned int i;

	for (i = 0; i < 2; i++) {
		struct unit_scene first = { .prepare = prepare_none,
					    .run = run_alloc,
					    .nested = nested[i],
					    .check = check_in_use };
		struct unit_scene trim = { .prepare = prepare_pages,
					   .run = run_trim,
					   .nested = nested[i],
					   .check = check_in_use };

		assert_true(unit_explore(&first) > 10);
		assert_true(unit_explore(&trim) > 100);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT_TEST(the_class_is_the_smallest_that_holds),
		UNIT_TEST(pieces_are_aligned_and_apart),
		UNIT_TEST(a_freed_piece_is_the_next_of_its_class_only),
		UNIT_TEST(without_memory_it_says_so_and_keeps_what_it_has),
		UNIT_TEST(there_are_so_many_chunks_and_no_more),
		UNIT_TEST(trim_gives_back_all_that_is_free),
		UNIT_TEST(trim_keeps_what_is_in_use),
		UNIT_TEST(trim_of_every_class),
		UNIT_TEST(trim_goes_in_parts),
		UNIT_TEST(pages_go_in_parts),
		UNIT_TEST(last_in_first_out),
		UNIT_TEST(take_takes_all_in_order),
		UNIT_TEST(every_change_moves_the_tag),
		UNIT_TEST(stacks_bear_interruption),
		UNIT_TEST(allocation_and_trim_bear_interruption),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
