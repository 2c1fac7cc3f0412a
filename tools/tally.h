/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * tally.h - the same words counted by one thread in a plain table: what the demo's totals must be
 *
 * It shares no code with what it checks but the cutting of text into words.
 */
#ifndef BMA_TALLY_H
#define BMA_TALLY_H

#include "corpus.h"

struct tally_entry {
	struct word word;
	uint64_t count;
};

/* The distinct words in the order in which they first occur, and how often each does. */
struct word_tally {
	struct tally_entry *entries;
	size_t nr;
	uint64_t total;
	/* Private: an open-addressing table of 1 + indices into entries, 0 where empty. */
	size_t *slots;
	size_t nr_slots;
};

/* 0, or -1 if there is no memory, with nothing held. */
int tally_words(struct word_tally *tally, const struct corpus *corpus);
void tally_free(struct word_tally *tally);

#endif /* BMA_TALLY_H */
