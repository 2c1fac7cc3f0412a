// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * htab.c - a hash table as Linux's BPF hash map is one
 *
 * Ordering.  Links are stored with release and loaded with acquire, those inside an element too: a
 * reader on a reused element follows a link that was never the front of its own list, and must see
 * what it leads to as it was filled.
 *
 * Why a lookup does not miss an element that stays: elements are added at the front only.  A reader
 * on an element that was moved to the front of its own list sees the whole list from there; on one
 * that was moved to another list it arrives at a foreign mark, and starts again; an element that
 * was removed and not reused still leads into the list it was in.
 *
 * Not promised, as in Linux: a lookup that runs while its key's element is replaced may have passed
 * the front before the new one was there, reach the old one's place after that has gone, and find
 * neither.  To put the new element in the old one's place would mend that, and break the above.
 */
#define _GNU_SOURCE
#include "htab.h"
#include "tool.h"

#include <errno.h>
#include <sched.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define load_link(link) atomic_load_explicit(link, memory_order_acquire)
#define store_link(link, value) atomic_store_explicit(link, value, memory_order_release)

/* Odd, as no element's address is. */
static uintptr_t end_mark(size_t bucket)
{
	return (uintptr_t)bucket << 1 | 1;
}

static bool is_end_mark(uintptr_t link)
{
	return link & 1;
}

static struct htab_element *element_at(uintptr_t link)
{
	return (struct htab_element *)link;
}

static uint32_t key_of(const struct htab_element *element)
{
	return atomic_load_explicit(&element->key, memory_order_relaxed);
}

static size_t bucket_of(const struct htab *htab, uint32_t key)
{
	uint64_t hash = (key + 1) * 0x9e3779b97f4a7c15u;

	return (hash >> 32) & (htab->nr_buckets - 1);
}

/* Held for a few loads and stores; a holder that was preempted is waited for by giving way. */
static void lock_bucket(struct htab_bucket *bucket)
{
	while (atomic_exchange_explicit(&bucket->locked, true, memory_order_acquire))
		sched_yield();
}

static void unlock_bucket(struct htab_bucket *bucket)
{
	atomic_store_explicit(&bucket->locked, false, memory_order_release);
}

size_t htab_element_size(size_t value_size)
{
	return offsetof(struct htab_element, value) + value_size;
}

int htab_new(struct htab *htab, struct pool *pool, size_t nr_buckets, size_t value_size)
{
	struct htab_bucket *buckets = malloc(nr_buckets * sizeof(*buckets));

	if (!buckets) {
		complain("no memory for a table of %zu buckets", nr_buckets);
		return -1;
	}
	for (size_t i = 0; i < nr_buckets; i++) {
		atomic_init(&buckets[i].first, end_mark(i));
		atomic_init(&buckets[i].locked, false);
	}
	*htab = (struct htab){ pool, buckets, nr_buckets, value_size };
	return 0;
}

static size_t empty_bucket(struct htab *htab, struct htab_bucket *bucket)
{
	uintptr_t link = load_link(&bucket->first);
	size_t nr = 0;

	while (!is_end_mark(link)) {
		struct htab_element *element = element_at(link);

		link = load_link(&element->next);
		htab->pool->how->retire(htab->pool, element);
		nr++;
	}
	return nr;
}

size_t htab_free(struct htab *htab)
{
	size_t nr = 0;

	for (size_t i = 0; i < htab->nr_buckets; i++)
		nr += empty_bucket(htab, &htab->buckets[i]);
	free(htab->buckets);
	return nr;
}

/* The link that leads to @key's element, or to the end mark; with the bucket locked. */
static _Atomic uintptr_t *find_link(struct htab_bucket *bucket, uint32_t key)
{
	_Atomic uintptr_t *link = &bucket->first;
	uintptr_t to;

	while (to = load_link(link), !is_end_mark(to) && key_of(element_at(to)) != key)
		link = &element_at(to)->next;
	return link;
}

/* Take out the element that @link leads to, if there is one. */
static struct htab_element *unlink_element(_Atomic uintptr_t *link)
{
	uintptr_t to = load_link(link);

	if (is_end_mark(to))
		return NULL;
	store_link(link, load_link(&element_at(to)->next));
	return element_at(to);
}

static struct htab_element *make_element(struct htab *htab, uint32_t key, uint64_t value)
{
	struct htab_element *element = htab->pool->how->alloc(htab->pool);

	if (!element)
		return NULL;
	atomic_store_explicit(&element->key, key, memory_order_relaxed);
	atomic_store_explicit(&element->value, value, memory_order_relaxed);
	memset(element->rest, 0, htab->value_size - sizeof(element->value));
	return element;
}

/*
 * Put @fresh in front, then take the old element out: who starts at the front finds one or the
 * other. The old one's link is looked for first, as a search from the new front would end at
 * @fresh.
 */
static int swap_elements(struct htab_bucket *bucket, struct htab_element *fresh, bool exclusive,
			 struct htab_element **old)
{
	_Atomic uintptr_t *link;
	int err = 0;

	lock_bucket(bucket);
	link = find_link(bucket, key_of(fresh));
	if (exclusive && !is_end_mark(load_link(link))) {
		err = -EEXIST;
	} else {
		store_link(&fresh->next, load_link(&bucket->first));
		store_link(&bucket->first, (uintptr_t)fresh);
		*old = unlink_element(link == &bucket->first ? &fresh->next : link);
	}
	unlock_bucket(bucket);
	return err;
}

int htab_update(struct htab *htab, uint32_t key, uint64_t value, bool exclusive)
{
	const struct contestant *how = htab->pool->how;
	struct htab_element *fresh = make_element(htab, key, value);
	struct htab_element *old = NULL;
	int err;

	if (!fresh)
		return -ENOMEM;
	err = swap_elements(&htab->buckets[bucket_of(htab, key)], fresh, exclusive, &old);
	if (err)
		how->discard(htab->pool, fresh);
	if (old)
		how->retire(htab->pool, old);
	return err;
}

int htab_delete(struct htab *htab, uint32_t key)
{
	struct htab_bucket *bucket = &htab->buckets[bucket_of(htab, key)];
	struct htab_element *old;

	lock_bucket(bucket);
	old = unlink_element(find_link(bucket, key));
	unlock_bucket(bucket);
	if (!old)
		return -ENOENT;
	htab->pool->how->retire(htab->pool, old);
	return 0;
}

const struct htab_element *htab_find(const struct htab *htab, uint32_t key)
{
	size_t index = bucket_of(htab, key);
	uintptr_t link;

	do {
		link = load_link(&htab->buckets[index].first);
		while (!is_end_mark(link)) {
			struct htab_element *element = element_at(link);

			if (key_of(element) == key)
				return element;
			link = load_link(&element->next);
		}
	} while (link != end_mark(index));
	return NULL;
}
