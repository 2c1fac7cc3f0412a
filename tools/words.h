/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * words.h - how often each word occurred: a table that readers need no lock for
 *
 * liburcu's cds_lfht, with one node for each word.  A published node never changes: to count a word
 * is to allocate a node with the next count, put it in the old one's place, and retire that.  Two
 * threads that count the same word race for one replacement; the loser starts again from the
 * winner's count, so that no count is lost.
 *
 * All but words_new() and words_free() need a thread that is registered with liburcu.
 */
#ifndef BMA_WORDS_H
#define BMA_WORDS_H

#include "contestant.h"
#include "corpus.h"

#include <urcu.h>
#include <urcu/rculfhash.h>

struct word_node {
	struct cds_lfht_node link;
	struct word word;
	uint64_t count;
	/* Made from all of these: a node half written, or two mixed, does not have it. */
	uint64_t check;
};

struct words {
	struct cds_lfht *table;
	struct pool *pool;
};

/* A table for about @nr words, with nodes from @pool; 0, or -1 after a message. */
int words_new(struct words *words, struct pool *pool, size_t nr);

/* Count one occurrence of @word; 0, or -1 if there is no memory for a node. */
int words_count(struct words *words, const struct word *word);

/* The node of @word, or NULL; inside a read-side critical section, and only there to be used. */
const struct word_node *words_find(const struct words *words, const struct word *word);

/* What @node says, read once, and whether it is whole. */
struct word_view {
	struct word word;
	uint64_t count;
	uint64_t check;
};
struct word_view words_view(const struct word_node *node);
bool words_view_whole(const struct word_view *view);

/* Take out and retire every node, with no other thread at work; returns how many there were. */
size_t words_empty(struct words *words);

/* The table must be empty. */
void words_free(struct words *words);

#endif /* BMA_WORDS_H */
