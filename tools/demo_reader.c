// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * demo_reader.c - threads that look words up while they are counted, and check what they see
 *
 * In one read-side critical section a reader looks up several words and keeps their nodes; at the
 * section's end it reads the nodes once more.  Inside the section each node must
 *   - be whole and be of the word that was asked for, and
 *   - still say the same at the end: an allocator that hands a node out again, or gives its memory
 *     away, before the readers that were there have left, is caught here.
 * From section to section a word's count never falls, a word that was there stays, and no count is
 * larger than the text warrants.
 */
#define _GNU_SOURCE
#include "demo.h"

#include <string.h>

/* Nodes held at a time: enough for updates to overtake, few enough to let grace periods end. */
#define NODES_HELD 8

struct sight {
	const struct word_node *node;
	struct word_view view;
	size_t index; /* of the word in the expected tally */
};

static const struct tally_entry *entry_of(const struct reader *r, size_t index)
{
	return &r->race->run->work->expected.entries[index];
}

static bool fault(const struct reader *r, size_t index, const char *what)
{
	const struct word *word = &entry_of(r, index)->word;

	/* One is enough, and the first is the most telling. */
	if (!atomic_exchange(&r->race->failed, true))
		complain("%s: a reader looked up '%.*s' and %s", r->race->run->name,
			 (int)(word->length < 40 ? word->length : 40), word->text, what);
	return false;
}

static bool check_count(struct reader *r, const struct sight *s)
{
	const struct demo_work *work = r->race->run->work;
	uint64_t count = s->view.count;

	if (count < r->seen[s->index])
		return fault(r, s->index, "saw its count fall");
	if (!count || count > entry_of(r, s->index)->count * work->rounds)
		return fault(r, s->index, "saw a count that the text does not warrant");
	r->seen[s->index] = count;
	return true;
}

static bool look(struct reader *r, struct sight *s)
{
	const struct word_tally *expected = &r->race->run->work->expected;

	s->index = next_random(&r->random) % expected->nr;
	s->node = words_find(&r->race->words, &entry_of(r, s->index)->word);
	r->reads++;
	if (!s->node)
		return !r->seen[s->index] || fault(r, s->index, "missed a word that was there");
	s->view = words_view(s->node);
	if (!words_view_whole(&s->view) || !same_word(&s->view.word, &entry_of(r, s->index)->word))
		return fault(r, s->index, "got a torn node");
	return check_count(r, s);
}

static bool look_again(struct reader *r, const struct sight *s)
{
	struct word_view now;

	if (!s->node)
		return true;
	now = words_view(s->node);
	if (memcmp(&now, &s->view, sizeof(now)))
		return fault(r, s->index, "held a node that was reused under its eyes");
	return true;
}

static bool read_section(struct reader *r)
{
	struct sight sights[NODES_HELD];
	bool fine = true;

	rcu_read_lock();
	for (int i = 0; i < NODES_HELD && fine; i++)
		fine = look(r, &sights[i]);
	for (int i = 0; i < NODES_HELD && fine; i++)
		fine = look_again(r, &sights[i]);
	rcu_read_unlock();
	return fine;
}

void *reader_main(void *arg)
{
	struct reader *r = arg;

	rcu_register_thread();
	while (read_section(r) && !atomic_load_explicit(&r->race->counted, memory_order_relaxed))
		;
	rcu_unregister_thread();
	return NULL;
}
