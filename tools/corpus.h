/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * corpus.h - the text of the files to count, cut into chunks, and the words in it
 *
 * A word is a longest run of letters, digits and bytes of 0x80 and up (the letters of other scripts
 * in UTF-8); ASCII capitals are small letters.  Binary files have words too, if not sensible ones.
 */
#ifndef BMA_CORPUS_H
#define BMA_CORPUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A word lies in the corpus and lives as long as that. */
struct word {
	const unsigned char *text;
	size_t length;
	uint64_t hash;
};

/* A piece of one file that no word crosses. */
struct chunk {
	const unsigned char *text;
	size_t length;
};

struct corpus {
	struct chunk *chunks;
	size_t nr_chunks;
	size_t nr_files;
	size_t bytes;
	unsigned char **texts; /* of the files, in the order read */
};

/*
 * Read @nr files; "-" is standard input.  With @nr 0, the licence texts that Debian has.  0, or -1
 * after a message, with nothing held.
 */
int corpus_read(struct corpus *corpus, char *const *files, size_t nr);
void corpus_free(struct corpus *corpus);

/* Take the next word from the front of @rest; false if there is none. */
bool next_word(struct chunk *rest, struct word *word);

bool same_word(const struct word *a, const struct word *b);

#endif /* BMA_CORPUS_H */
