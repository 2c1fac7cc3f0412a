// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * corpus.c - read files, cut them into chunks and words
 *
 * Files are read, not mapped: a file that changes while it is counted would make any total wrong.
 */
#define _GNU_SOURCE
#include "corpus.h"
#include "tool.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LICENCES "/usr/share/common-licenses/*"

/* Small enough that threads end at about the same time, and large enough to be cheap to take. */
#define CHUNK_BYTES 16384

static bool in_word(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c >= 0x80;
}

static void fold_case(unsigned char *text, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		if (text[i] >= 'A' && text[i] <= 'Z')
			text[i] += 'a' - 'A';
	}
}

bool next_word(struct chunk *rest, struct word *word)
{
	const unsigned char *p = rest->text, *end = p + rest->length;
	uint64_t hash = 0xcbf29ce484222325u;

	while (p < end && !in_word(*p))
		p++;
	word->text = p;
	for (; p < end && in_word(*p); p++)
		hash = (hash ^ *p) * 0x100000001b3u;
	word->length = (size_t)(p - word->text);
	/* The low bits choose the bucket, and the multiplication left them poor. */
	word->hash = hash ^ hash >> 32;
	rest->text = p;
	rest->length = (size_t)(end - p);
	return word->length > 0;
}

bool same_word(const struct word *a, const struct word *b)
{
	return a->hash == b->hash && a->length == b->length && !memcmp(a->text, b->text, a->length);
}

/* Where to cut a chunk off the front of @length bytes of text: between words. */
static size_t cut(const unsigned char *text, size_t length)
{
	size_t at = CHUNK_BYTES;

	while (at < length && in_word(text[at]))
		at++;
	return at < length ? at : length;
}

static int add_chunks(struct corpus *corpus, const unsigned char *text, size_t length)
{
	size_t room = length / CHUNK_BYTES + 1;
	struct chunk *chunks =
		realloc(corpus->chunks, (corpus->nr_chunks + room) * sizeof(*chunks));

	if (!chunks)
		return -1;
	corpus->chunks = chunks;
	while (length) {
		size_t piece = cut(text, length);

		chunks[corpus->nr_chunks++] = (struct chunk){ text, piece };
		text += piece;
		length -= piece;
	}
	return 0;
}

/* What can be read to its end; -1 after a message. */
static int check_kind(int fd, const char *name, struct stat *st)
{
	if (fstat(fd, st)) {
		complain("cannot read %s: %s", name, strerror(errno));
		return -1;
	}
	if (S_ISREG(st->st_mode) || S_ISFIFO(st->st_mode) || fd == STDIN_FILENO)
		return 0;
	complain("cannot read %s: it is %s", name,
		 S_ISDIR(st->st_mode) ? "a directory" : "no file of text");
	return -1;
}

/* Read @fd to its end into fresh memory, which grows as needed; NULL with errno. */
static unsigned char *read_all(int fd, size_t expected, size_t *length)
{
	size_t room = expected + 1, have = 0;
	unsigned char *text = malloc(room), *larger;
	ssize_t got = 1;

	while (text && got) {
		got = read(fd, text + have, room - have);
		if (got < 0 && errno != EINTR) {
			free(text);
			return NULL;
		}
		have += got > 0 ? (size_t)got : 0;
		if (have < room)
			continue;
		room *= 2;
		larger = realloc(text, room);
		if (!larger)
			free(text);
		text = larger;
	}
	*length = have;
	return text;
}

static int add_text(struct corpus *corpus, unsigned char *text, size_t length)
{
	unsigned char **texts = realloc(corpus->texts, (corpus->nr_files + 1) * sizeof(*texts));

	if (!texts)
		return -1;
	corpus->texts = texts;
	if (add_chunks(corpus, text, length))
		return -1;
	texts[corpus->nr_files++] = text;
	corpus->bytes += length;
	return 0;
}

static int read_fd(struct corpus *corpus, int fd, const char *name)
{
	struct stat st;
	unsigned char *text;
	size_t length;

	if (check_kind(fd, name, &st))
		return -1;
	text = read_all(fd, S_ISREG(st.st_mode) ? (size_t)st.st_size : 0, &length);
	if (!text) {
		complain("cannot read %s: %s", name, strerror(errno));
		return -1;
	}
	fold_case(text, length);
	if (!add_text(corpus, text, length))
		return 0;
	complain("no memory for the text of %s", name);
	free(text);
	return -1;
}

static int read_file(struct corpus *corpus, const char *name)
{
	int fd, ret;

	if (!strcmp(name, "-"))
		return read_fd(corpus, STDIN_FILENO, "standard input");
	fd = open(name, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0) {
		complain("cannot read %s: %s", name, strerror(errno));
		return -1;
	}
	ret = read_fd(corpus, fd, name);
	close(fd);
	return ret;
}

/* Symbolic links there are second names of texts that are read anyway. */
static int read_licences(struct corpus *corpus)
{
	glob_t found;
	struct stat st;
	int ret = 0;

	if (glob(LICENCES, 0, NULL, &found)) {
		complain("there are no licence texts in %s: name the files to count", LICENCES);
		return -1;
	}
	for (size_t i = 0; i < found.gl_pathc && !ret; i++) {
		if (!lstat(found.gl_pathv[i], &st) && S_ISREG(st.st_mode))
			ret = read_file(corpus, found.gl_pathv[i]);
	}
	globfree(&found);
	return ret;
}

int corpus_read(struct corpus *corpus, char *const *files, size_t nr)
{
	int ret = 0;

	memset(corpus, 0, sizeof(*corpus));
	if (!nr)
		ret = read_licences(corpus);
	for (size_t i = 0; i < nr && !ret; i++)
		ret = read_file(corpus, files[i]);
	if (ret)
		corpus_free(corpus);
	return ret;
}

void corpus_free(struct corpus *corpus)
{
	for (size_t i = 0; i < corpus->nr_files; i++)
		free(corpus->texts[i]);
	free(corpus->texts);
	free(corpus->chunks);
	memset(corpus, 0, sizeof(*corpus));
}
