// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * words.c - how often each word occurred: a table that readers need no lock for
 */
#define _GNU_SOURCE
#include "words.h"
#include "tool.h"

#define node_of(link_) caa_container_of(link_, struct word_node, link)

static uint64_t check_word(const struct word *word, uint64_t count)
{
	uint64_t sum = (uintptr_t)word->text;

	sum = (sum ^ word->length) * 0x9e3779b97f4a7c15u;
	sum = (sum ^ word->hash) * 0x9e3779b97f4a7c15u;
	sum = (sum ^ count) * 0x9e3779b97f4a7c15u;
	return sum ^ sum >> 29;
}

/*
 * Published nodes are read with volatile loads, each field once: the compiler must not take a
 * second look for the first one, as the second look is there to find what must not have changed.
 */
struct word_view words_view(const struct word_node *node)
{
	return (struct word_view){
		.word = {
			.text = CMM_LOAD_SHARED(node->word.text),
			.length = CMM_LOAD_SHARED(node->word.length),
			.hash = CMM_LOAD_SHARED(node->word.hash),
		},
		.count = CMM_LOAD_SHARED(node->count),
		.check = CMM_LOAD_SHARED(node->check),
	};
}

bool words_view_whole(const struct word_view *view)
{
	return view->check == check_word(&view->word, view->count);
}

static int match(struct cds_lfht_node *link, const void *key)
{
	return same_word(&node_of(link)->word, key);
}

int words_new(struct words *words, struct pool *pool, size_t nr)
{
	unsigned long buckets = 1024;

	while (buckets < nr)
		buckets *= 2;
	words->pool = pool;
	/* Of a fixed size: the race is to be about nodes, not about growing the table. */
	words->table = cds_lfht_new(buckets, buckets, buckets, 0, NULL);
	if (words->table)
		return 0;
	complain("no memory for a table of %lu buckets", buckets);
	return -1;
}

static struct cds_lfht_node *find(const struct words *words, const struct word *word,
				  struct cds_lfht_iter *iter)
{
	cds_lfht_lookup(words->table, word->hash, match, word, iter);
	return cds_lfht_iter_get_node(iter);
}

const struct word_node *words_find(const struct words *words, const struct word *word)
{
	struct cds_lfht_iter iter;
	struct cds_lfht_node *link = find(words, word, &iter);

	return link ? node_of(link) : NULL;
}

static void fill(struct word_node *node, const struct word *word, uint64_t count)
{
	cds_lfht_node_init(&node->link);
	node->word = *word;
	node->count = count;
	node->check = check_word(word, count);
}

/*
 * Publish @fresh with the next count of @word.  Returns the node it replaced, which the caller must
 * retire, or NULL.  Another thread that counts the same word can come between the lookup and the
 * commit; then the commit fails, and this one starts again.
 */
static struct word_node *publish(struct words *words, const struct word *word,
				 struct word_node *fresh)
{
	struct cds_lfht_iter iter;
	struct cds_lfht_node *old;

	for (;;) {
		old = find(words, word, &iter);
		fill(fresh, word, old ? node_of(old)->count + 1 : 1);
		if (old) {
			if (!cds_lfht_replace(words->table, &iter, word->hash, match, word,
					      &fresh->link))
				return node_of(old);
		} else if (cds_lfht_add_unique(words->table, word->hash, match, word,
					       &fresh->link) == &fresh->link) {
			return NULL;
		}
	}
}

int words_count(struct words *words, const struct word *word)
{
	struct pool *pool = words->pool;
	struct word_node *fresh = pool->how->alloc(pool);
	struct word_node *old;

	if (!fresh)
		return -1;
	rcu_read_lock();
	old = publish(words, word, fresh);
	rcu_read_unlock();
	if (old)
		pool->how->retire(pool, old);
	return 0;
}

size_t words_empty(struct words *words)
{
	struct cds_lfht_iter iter;
	struct cds_lfht_node *link;
	size_t nr = 0;

	rcu_read_lock();
	cds_lfht_for_each(words->table, &iter, link) {
		if (cds_lfht_del(words->table, link))
			continue;
		words->pool->how->retire(words->pool, node_of(link));
		nr++;
	}
	rcu_read_unlock();
	return nr;
}

void words_free(struct words *words)
{
	if (cds_lfht_destroy(words->table, NULL))
		complain("a table of words was not empty in the end");
}
