/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * htab.h - a hash table as Linux's BPF hash map is one: a lock for each bucket, readers without
 *
 * Elements come from a pool, whatever its contestant, also from one that hands a freed element out
 * again while a reader still stands on it.  Such an element has moved to another bucket, or to this
 * one's front, and the reader walks on from there.  Each list therefore ends in a mark that names
 * its bucket, and a reader that arrives at another's mark starts again (Linux's hlist_nulls).  This
 * needs memory that stays an element for as long as readers may stand on it, which every contestant
 * gives.
 */
#ifndef BMA_HTAB_H
#define BMA_HTAB_H

#include <stdatomic.h>

#include "contestant.h"

struct htab_bucket {
	/* The first element, or the end mark; written under the lock. */
	_Atomic uintptr_t first;
	_Atomic bool locked;
};

/*
 * Readers look at elements that are being filled again, so that what they read is atomic.  The
 * value is its first eight bytes; the rest is there to be copied.
 */
struct htab_element {
	_Atomic uintptr_t next;
	_Atomic uint32_t key;
	_Atomic uint64_t value;
	unsigned char rest[];
};

struct htab {
	struct pool *pool;
	struct htab_bucket *buckets;
	size_t nr_buckets;
	size_t value_size; /* at least 8 */
};

/* The size of the objects that the table asks its pool for. */
size_t htab_element_size(size_t value_size);

/* A table of @nr_buckets, a power of two; 0, or -1 after a message. */
int htab_new(struct htab *htab, struct pool *pool, size_t nr_buckets, size_t value_size);

/* Retire all elements, free the table, with no other thread at work; how many there were. */
size_t htab_free(struct htab *htab);

/*
 * Give @key a value of @value and as many zeros as fill the size: in a new element, which takes the
 * old one's place as an update in Linux's map does.  0, -EEXIST if @exclusive and @key has a value,
 * or -ENOMEM.
 */
int htab_update(struct htab *htab, uint32_t key, uint64_t value, bool exclusive);

/* 0, or -ENOENT. */
int htab_delete(struct htab *htab, uint32_t key);

/*
 * The element of @key, or NULL; inside a read-side critical section, and only there to be used. 
 * With a contestant that reuses at once it may be another key's the next moment.
 */
const struct htab_element *htab_find(const struct htab *htab, uint32_t key);

#endif /* BMA_HTAB_H */
