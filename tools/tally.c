// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * tally.c - count words with one thread
 */
#include "tally.h"

#include <stdlib.h>
#include <string.h>

/* The slot that holds @word, or the empty one where it belongs. */
static size_t *find_slot(const struct word_tally *tally, const struct word *word)
{
	size_t mask = tally->nr_slots - 1;
	size_t i = word->hash & mask;

	while (tally->slots[i] && !same_word(&tally->entries[tally->slots[i] - 1].word, word))
		i = (i + 1) & mask;
	return &tally->slots[i];
}

/* Twice the room, a quarter of the slots in use. */
static int grow(struct word_tally *tally)
{
	size_t room = tally->nr ? 2 * tally->nr : 1024;
	struct tally_entry *entries = realloc(tally->entries, room * sizeof(*entries));

	if (!entries)
		return -1;
	tally->entries = entries;
	free(tally->slots);
	tally->nr_slots = 2 * room;
	tally->slots = calloc(tally->nr_slots, sizeof(*tally->slots));
	if (!tally->slots)
		return -1;
	for (size_t i = 0; i < tally->nr; i++)
		*find_slot(tally, &entries[i].word) = i + 1;
	return 0;
}

static int tally_add(struct word_tally *tally, const struct word *word)
{
	size_t *slot;

	if (2 * tally->nr >= tally->nr_slots && grow(tally))
		return -1;
	slot = find_slot(tally, word);
	if (!*slot) {
		tally->entries[tally->nr] = (struct tally_entry){ .word = *word };
		*slot = ++tally->nr;
	}
	tally->entries[*slot - 1].count++;
	tally->total++;
	return 0;
}

int tally_words(struct word_tally *tally, const struct corpus *corpus)
{
	struct word word;

	memset(tally, 0, sizeof(*tally));
	for (size_t i = 0; i < corpus->nr_chunks; i++) {
		struct chunk rest = corpus->chunks[i];

		while (next_word(&rest, &word)) {
			if (tally_add(tally, &word)) {
				tally_free(tally);
				return -1;
			}
		}
	}
	return 0;
}

void tally_free(struct word_tally *tally)
{
	free(tally->entries);
	free(tally->slots);
	memset(tally, 0, sizeof(*tally));
}
