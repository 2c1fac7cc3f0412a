// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * state.c - a state of the whole program: kept, restored, recognized
 *
 * A state is the program's .data and .bss (core's, the scenario's, this home's), the model's memory as far
 * as it was ever used, and the stack of each thread as far as it is in use.  What the search itself knows is
 * in memory that it has from the system, and not in a state.
 *
 * Two states with the same hash are taken for one.  With 64 bits and ten million states, the chance that
 * any two of them collide is below 1 in 300,000.
 */
#include <stdlib.h>
#include <string.h>

#include "private.h"

/* The linker's: where .data begins and .bss ends. */
extern char __data_start[], _end[];

struct region {
	char *at;
	size_t bytes;
};

#define MAX_REGIONS (MODEL_THREADS + 2)

struct state {
	struct region region[MAX_REGIONS];
	unsigned int nr;
	char *copy;
	size_t room;
};

static size_t regions(struct region *r)
{
	size_t bytes = 0;
	unsigned int i, nr = 0;

	r[nr++] = (struct region){ __data_start, (size_t)(_end - __data_start) };
	r[nr++] = (struct region){ ARENA_BASE, (size_t)(model.arena_next - ARENA_BASE) };
	for (i = 0; i < MODEL_THREADS; i++, nr++) {
		r[nr].at = i < model.nr_threads ? model.thread[i].sp : NULL;
		r[nr].bytes = r[nr].at ? (size_t)(thread_stack_top(i) - r[nr].at) : 0;
	}
	for (i = 0; i < nr; i++)
		bytes += r[i].bytes;
	return bytes;
}

struct state *state_new(void)
{
	return calloc(1, sizeof(struct state));
}

void state_free(struct state *s)
{
	free(s->copy);
	free(s);
}

void state_keep(struct state *s)
{
	size_t bytes = regions(s->region);
	unsigned int i;
	char *at;

	if (bytes > s->room) {
		s->room = bytes + 4096;
		s->copy = realloc(s->copy, s->room);
		if (!s->copy)
			abort();
	}
	for (i = 0, at = s->copy; i < MAX_REGIONS; at += s->region[i++].bytes)
		if (s->region[i].bytes)
			memcpy(at, s->region[i].at, s->region[i].bytes);
}

void state_restore(const struct state *s)
{
	const char *at = s->copy;
	unsigned int i;

	for (i = 0; i < MAX_REGIONS; at += s->region[i++].bytes)
		if (s->region[i].bytes)
			memcpy(s->region[i].at, at, s->region[i].bytes);
}

#define LANES 8
#define PRIME 0x9e3779b97f4a7c15ull

static uint64_t mixed(uint64_t h)
{
	h ^= h >> 32;
	h *= 0xd6e8feb86659fd93ull;
	return h ^ h >> 29;
}

struct lanes {
	uint64_t h[LANES];
};

static inline struct lanes absorb_words(struct lanes lane, const uint64_t *word)
{
	unsigned int i;

	for (i = 0; i < LANES; i++) {
		lane.h[i] = (lane.h[i] ^ word[i]) * PRIME;
		lane.h[i] ^= lane.h[i] >> 31;
	}
	return lane;
}

static struct lanes absorb(struct lanes lane, const char *at, size_t bytes)
{
	uint64_t word[LANES] = { 0 };
	const char *end = at + bytes / sizeof(word) * sizeof(word);

	for (; at < end; at += sizeof(word)) {
		memcpy(word, at, sizeof(word));
		lane = absorb_words(lane, word);
	}
	memset(word, 0, sizeof(word));
	memcpy(word, at, bytes % sizeof(word));
	return absorb_words(lane, word);
}

uint64_t state_hash(void)
{
	struct region r[MAX_REGIONS];
	struct lanes lane = { { 1, 2, 3, 4, 5, 6, 7, 8 } };
	uint64_t h = 0;
	unsigned int i;

	model.last = 0;
	regions(r);
	for (i = 0; i < MAX_REGIONS; i++)
		lane = absorb(lane, r[i].at, r[i].bytes);
	for (i = 0; i < LANES; i++)
		h = mixed(h * PRIME + lane.h[i]);
	return h ? h : 1;
}

/* --- states that have been seen, each with how many preemptions were left ------------------------- */

static struct seen {
	uint64_t *hash;
	uint8_t *left;
	size_t size, used;
} * seen;

static size_t slot_of(const struct seen *t, uint64_t hash)
{
	size_t i = hash & (t->size - 1);

	while (t->hash[i] && t->hash[i] != hash)
		i = (i + 1) & (t->size - 1);
	return i;
}

static void table_new(struct seen *t, size_t size)
{
	t->size = size;
	t->used = 0;
	t->hash = calloc(size, sizeof(*t->hash));
	t->left = calloc(size, 1);
	if (!t->hash || !t->left)
		abort();
}

static void table_free(struct seen *t)
{
	free(t->hash);
	free(t->left);
}

static void grow(void)
{
	struct seen old = *seen;
	size_t i, to;

	table_new(seen, old.size * 2);
	for (i = 0; i < old.size; i++) {
		if (!old.hash[i])
			continue;
		to = slot_of(seen, old.hash[i]);
		seen->hash[to] = old.hash[i];
		seen->left[to] = old.left[i];
		seen->used++;
	}
	table_free(&old);
}

void states_forget(void)
{
	if (!seen)
		seen = calloc(1, sizeof(*seen));
	else
		table_free(seen);
	table_new(seen, 1u << 12);
}

/* Has all that can follow from here, with so many preemptions, been looked at?  If not, it will be. */
bool state_seen(uint64_t hash, unsigned int preemptions)
{
	size_t at = slot_of(seen, hash);

	if (seen->hash[at]) {
		if (seen->left[at] >= preemptions)
			return true;
		seen->left[at] = (uint8_t)preemptions;
		return false;
	}
	explorer->states++;
	seen->hash[at] = hash;
	seen->left[at] = (uint8_t)preemptions;
	if (++seen->used * 4 > seen->size * 3)
		grow();
	return false;
}
