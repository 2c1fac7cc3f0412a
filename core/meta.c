// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * meta.c - memory for bma's own structures, and the lock-free stacks that are made of them
 *
 * Problem: magazines, span descriptors and CPU blocks are wanted and given back in any context, and
 * the stacks that they sit on are popped without a lock, so that a pop may read the link of a piece
 * that someone else has popped, used and freed meanwhile.
 *
 * Idea: pieces of a few sizes (64 to 4096 bytes) cut from pages that are never unmapped.  A late
 * pop then reads a stale number, not a fault, and its compare-and-swap fails because every change
 * of a head moves its tag.  Kin: SLAB_TYPESAFE_BY_RCU; Treiber's stack with IBM's counted pointer.
 *
 * Objects and owners: a chunk is PORT_META_CHUNK bytes, aligned; its first page is the header, all
 * others are each cold (no memory behind it, on meta.cold by a link in the header) or cut into
 * pieces of one size.  A free piece is on meta.free[size class] by the word at its beginning; a
 * piece in use belongs to who allocated it, its first word excepted, which may be read at any time.
 *
 * A trim takes all of a stack and sorts it by page: it goes over the pieces once and links each to its
 * page.  Of a page that has all its pieces then, nothing has to be looked at any more: it is dropped,
 * together with its neighbours.  The pieces of the others go back on their stacks.  Both is done in
 * parts, as a fork may wait for a round; what is in the middle of it is the reclaimer's.
 *
 * Numbers: a handle counts 64-byte steps through all chunks, so 32 bits reach 256 GiB of metadata,
 * and 32 bits of tag stay.  A head would have to change 2^32 times between a pop's load and its
 * compare-and-swap, and then stand at the same piece, to fool it.
 *
 * Ordering: push releases, pop acquires: what the pusher wrote in the piece is there for the
 * popper.
 *
 * Progress: lock-free.  Contexts: any, but bma_meta_trim(), the reclaimer's.
 *
 * Not promised: that address space is given back; a trim gives back memory.
 *
 * Held by: tests/core/test_meta.c.
 */
#include "bma.h"

#define STEP_SHIFT BMA_META_MIN_SHIFT
#define CHUNK_STEPS (PORT_META_CHUNK >> STEP_SHIFT)
#define CHUNK_PAGES (PORT_META_CHUNK / PORT_META_PAGE)

/*
 * @next: on meta.cold; or, trim, on meta.sorted, the pages of which it has found free pieces: nr_free
 * of them, of size_class, linked from @first on.
 */
struct bma_meta_page {
	bma_link_t next;
	bma_handle_t first;
	uint16_t nr_free;
	uint8_t size_class;
};

struct bma_meta_chunk {
	uint32_t nr;
	struct bma_meta_page page[CHUNK_PAGES];
};

_Static_assert(sizeof(struct bma_meta_chunk) <= PORT_META_PAGE, "the header is one page");
_Static_assert((uint64_t)CHUNK_STEPS *BMA_META_CHUNKS <= 1ull << 32, "a handle is 32 bits");

void *bma_piece(bma_handle_t handle)
{
	char *chunk = (char *)port_load(&bma_world.meta.chunk[handle / CHUNK_STEPS], acquire);

	return chunk + ((size_t)(handle % CHUNK_STEPS) << STEP_SHIFT);
}

static struct bma_meta_chunk *chunk_of(const void *piece)
{
	return (struct bma_meta_chunk *)((uintptr_t)piece & ~(uintptr_t)(PORT_META_CHUNK - 1));
}

bma_handle_t bma_handle(void *piece)
{
	struct bma_meta_chunk *chunk = chunk_of(piece);

	return chunk->nr * CHUNK_STEPS + (uint32_t)(((char *)piece - (char *)chunk) >> STEP_SHIFT);
}

static unsigned int page_nr(const void *piece)
{
	return ((uintptr_t)piece & (PORT_META_CHUNK - 1)) / PORT_META_PAGE;
}

/* A piece has its link in itself; a cold page must not be touched and has it in the header. */
static bma_link_t *piece_link(void *piece)
{
	return piece;
}

static bma_link_t *cold_link(void *page)
{
	return &chunk_of(page)->page[page_nr(page)].next;
}

/* A head after a change: another first piece, another tag. */
static uint64_t changed(uint64_t head, bma_handle_t first)
{
	return ((head >> 32) + 1) << 32 | first;
}

static inline void push(struct bma_stack *stack, bma_handle_t first, bma_link_t *last_link)
{
	uint64_t head = port_load(&stack->head, relaxed);

	do
		port_store(last_link, (bma_handle_t)head, relaxed);
	while (!port_cas(&stack->head, &head, changed(head, first), release));
}

/* @bytes of the piece will be used at once. */
static inline void *pop(struct bma_stack *stack, bma_link_t *(*link)(void *), size_t bytes)
{
	uint64_t head = port_load(&stack->head, acquire);
	bma_handle_t next;
	void *piece;

	while ((bma_handle_t)head) {
		piece = bma_piece((bma_handle_t)head);
		bma_fetch(piece, bytes);
		next = port_load(link(piece), relaxed);
		if (port_cas(&stack->head, &head, changed(head, next), acquire))
			return piece;
	}
	return NULL;
}

/* Push the pieces from @first to @last, already linked, in one step. */
void bma_stack_push(struct bma_stack *stack, void *first, void *last)
{
	push(stack, bma_handle(first), piece_link(last));
}

void *bma_stack_pop(struct bma_stack *stack)
{
	return pop(stack, piece_link, 0);
}

struct bma_magazine *bma_stack_pop_magazine(struct bma_stack *stack)
{
	return pop(stack, piece_link, sizeof(struct bma_magazine));
}

/* All of it, linked, in one step. */
bma_handle_t bma_stack_take(struct bma_stack *stack)
{
	uint64_t head = port_load(&stack->head, relaxed);

	while ((bma_handle_t)head && !port_cas(&stack->head, &head, changed(head, 0), acquire))
		;
	return (bma_handle_t)head;
}

unsigned int bma_meta_class(size_t bytes)
{
	unsigned int size_class = 0;

	while (((size_t)1 << (size_class + BMA_META_MIN_SHIFT)) < bytes)
		size_class++;
	return size_class;
}

static uint32_t bytes_of(unsigned int size_class)
{
	if (size_class == BMA_META_MAGAZINE)
		return sizeof(struct bma_magazine) > 64 ? sizeof(struct bma_magazine) : 64;
	return 1u << (size_class + BMA_META_MIN_SHIFT);
}

static void push_cold(struct bma_meta *meta, char *page)
{
	push(&meta->cold, bma_handle(page), cold_link(page));
}

/* Number a new chunk; its second page is the caller's, the others go cold. */
static char *chunk_publish(struct bma_meta *meta, struct bma_meta_chunk *chunk)
{
	uint32_t nr = port_load(&meta->nr_chunks, relaxed);
	unsigned int i;

	do {
		if (nr == BMA_META_CHUNKS)
			return NULL;
	} while (!port_cas(&meta->nr_chunks, &nr, nr + 1, relaxed));
	chunk->nr = nr;
	port_store(&meta->chunk[nr], chunk, release);
	for (i = CHUNK_PAGES - 1; i > 1; i--)
		push_cold(meta, (char *)chunk + (size_t)i * PORT_META_PAGE);
	port_add(&meta->nr_pages, 1, relaxed);
	return (char *)chunk + PORT_META_PAGE;
}

static char *page_get(struct bma_meta *meta)
{
	char *page = pop(&meta->cold, cold_link, 0);
	void *chunk;

	if (!page) {
		chunk = port_pages_alloc(PORT_META_CHUNK, PORT_META_CHUNK, 0);
		if (!chunk)
			return NULL;
		page = chunk_publish(meta, chunk);
		if (!page) {
			port_pages_free(chunk, PORT_META_CHUNK);
			return NULL;
		}
	}
	port_add(&meta->nr_pages, 1, relaxed);
	return page;
}

/* Keep the first piece of @page, put the others on @stack. */
static void *page_cut(struct bma_stack *stack, char *page, size_t bytes)
{
	size_t at;

	for (at = bytes; at + bytes < PORT_META_PAGE; at += bytes)
		port_store(piece_link(page + at), bma_handle(page + at + bytes), relaxed);
	if (bytes < PORT_META_PAGE)
		bma_stack_push(stack, page + bytes, page + PORT_META_PAGE - bytes);
	return page;
}

/*
 * A piece of the size that @size_class is of, aligned to it, or NULL.  Its content is whatever it
 * was, but for its first word.
 */
void *bma_meta_alloc(unsigned int size_class)
{
	struct bma_meta *meta = &bma_world.meta;
	void *piece = pop(&meta->free[size_class], piece_link, bytes_of(size_class));
	char *page;

	if (bma_likely(piece))
		return piece;
	page = page_get(meta);
	if (!page)
		return NULL;
	return page_cut(&meta->free[size_class], page, bytes_of(size_class));
}

void bma_meta_free(void *piece, unsigned int size_class)
{
	bma_stack_push(&bma_world.meta.free[size_class], piece, piece);
}

/* Free the pieces from @first to @last, linked, in one step. */
void bma_meta_free_list(void *first, void *last, unsigned int size_class)
{
	bma_stack_push(&bma_world.meta.free[size_class], first, last);
}

static struct bma_meta_page *page_of(void *piece)
{
	return &chunk_of(piece)->page[page_nr(piece)];
}

static char *page_at(void *piece)
{
	return (char *)((uintptr_t)piece & ~(uintptr_t)(PORT_META_PAGE - 1));
}

static bma_handle_t next_of(bma_handle_t piece)
{
	return port_load(piece_link(bma_piece(piece)), relaxed);
}

/* A trim looks at so many pieces, then at so many pages, at a time. */
#define PART_PIECES 8192
#define PART_PAGES 2048

static void sort_piece(struct bma_meta *meta, bma_handle_t h, unsigned int size_class)
{
	void *piece = bma_piece(h);
	struct bma_meta_page *page = page_of(piece);

	if (!page->nr_free++) {
		page->size_class = (uint8_t)size_class;
		page->first = 0;
		port_store(&page->next, meta->sorted, relaxed);
		meta->sorted = bma_handle(page_at(piece));
	}
	port_store(piece_link(piece), page->first, relaxed);
	page->first = h;
}

/* True: there are more to sort. */
static bool sort(struct bma_meta *meta)
{
	unsigned int n = PART_PIECES;
	bma_handle_t h;

	for (;;) {
		while (!meta->unsorted) {
			if (meta->size_class == BMA_META_CLASSES)
				return false;
			meta->unsorted = bma_stack_take(&meta->free[meta->size_class++]);
		}
		if (!n--)
			return true;
		h = meta->unsorted;
		meta->unsorted = next_of(h);
		sort_piece(meta, h, meta->size_class - 1);
	}
}

/* Pages with nothing in them, in a row. */
struct row {
	char *at;
	size_t bytes;
};

static void drop(struct bma_meta *meta, struct row *row)
{
	if (!row->bytes)
		return;
	port_pages_drop(row->at, row->bytes);
	port_sub(&meta->nr_pages, row->bytes / PORT_META_PAGE, relaxed);
	for (; row->bytes; row->bytes -= PORT_META_PAGE, row->at += PORT_META_PAGE)
		push_cold(meta, row->at);
}

/* Have @page dropped, with its neighbours if they come next. */
static void drop_soon(struct bma_meta *meta, struct row *row, char *page)
{
	if (page + PORT_META_PAGE == row->at) {
		row->at = page;
	} else if (page != row->at + row->bytes) {
		drop(meta, row);
		row->at = page;
	}
	row->bytes += PORT_META_PAGE;
}

/* Put the free pieces of a page that stays back on their stack. */
static void put_back(struct bma_meta *meta, struct bma_meta_page *page)
{
	bma_handle_t last = page->first;

	while (next_of(last))
		last = next_of(last);
	bma_stack_push(&meta->free[page->size_class], bma_piece(page->first), bma_piece(last));
}

/* True: there are more pages. */
static bool settle(struct bma_meta *meta)
{
	struct row row = { 0 };
	struct bma_meta_page *page;
	unsigned int n;
	char *at;

	for (n = 0; n < PART_PAGES && meta->sorted; n++) {
		at = bma_piece(meta->sorted);
		page = page_of(at);
		meta->sorted = port_load(&page->next, relaxed);
		if (page->nr_free == PORT_META_PAGE / bytes_of(page->size_class))
			drop_soon(meta, &row, at);
		else
			put_back(meta, page);
		page->nr_free = 0;
	}
	drop(meta, &row);
	return meta->sorted;
}

/*
 * Give back the pages that hold free pieces only, a part at a time; true: there is more.  Meanwhile
 * others find the stacks empty and cut new pages; at most a trim's time of them, which the next trim
 * takes.
 */
bool bma_meta_trim(struct bma_meta *meta)
{
	meta->trimming = sort(meta) || settle(meta);
	if (!meta->trimming) {
		meta->size_class = 0;
		meta->returned = 0;
	}
	return meta->trimming;
}
