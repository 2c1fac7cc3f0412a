// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * source_ck.c - malloc with Concurrency Kit's epochs
 *
 * An entry before each object; each thread polls after every 64, which advances the epoch if
 * readers allow it and frees what it queued itself two epochs ago.
 *
 * The build defines BMA_HAVE_CK where it has found the library.
 */
#define _GNU_SOURCE
#include "bench_destroy.h"

#ifdef BMA_HAVE_CK

#include <ck_epoch.h>
#include <stdlib.h>

#define POLL_EVERY 64

static ck_epoch_t epoch;

static bool ck_open(struct work *work)
{
	(void)work;
	ck_epoch_init(&epoch);
	return true;
}

/* Records stay in the epoch's list for good. */
static bool ck_enter(struct worker *t)
{
	ck_epoch_record_t *record = aligned_alloc(CACHE_LINE, sizeof(*record));

	if (record)
		ck_epoch_register(&epoch, record, NULL);
	t->own = record;
	return record;
}

static void ck_leave(struct worker *t)
{
	if (!t->role->reads)
		ck_epoch_barrier(t->own);
	ck_epoch_unregister(t->own);
}

static size_t ck_read(struct worker *t)
{
	for (int i = 0; i < WORK_STEP; i++) {
		ck_epoch_begin(t->own, NULL);
		__asm__ volatile("" ::: "memory");
		ck_epoch_end(t->own, NULL);
	}
	return WORK_STEP;
}

static void ck_synchronize(struct worker *t)
{
	ck_epoch_synchronize(t->own);
}

static void free_entry(ck_epoch_entry_t *entry)
{
	free(entry);
}

static ALWAYS_INLINE void *entry_alloc(struct worker *t)
{
	ck_epoch_entry_t *entry = malloc(sizeof(*entry) + t->size);

	return entry ? entry + 1 : NULL;
}

static ALWAYS_INLINE void entry_retire(struct worker *t, void *object)
{
	ck_epoch_call(t->own, (ck_epoch_entry_t *)object - 1, free_entry);
	if (++t->unpolled < POLL_EVERY)
		return;
	t->unpolled = 0;
	ck_epoch_poll(t->own);
}

DEFINE_LOOPS(ck_epoch, entry_alloc, entry_retire)

const struct source source_ck_epoch = {
	.waits = true,
	.open = ck_open,
	.enter = ck_enter,
	.leave = ck_leave,
	.read = ck_read,
	.synchronize = ck_synchronize,
	LOOPS(ck_epoch, entry_alloc, entry_retire),
};

/* The one thread that holds; records outlive their threads. */
static _Alignas(CACHE_LINE) ck_epoch_record_t holder;

static void ck_hold(void)
{
	ck_epoch_register(&epoch, &holder, NULL);
	ck_epoch_begin(&holder, NULL);
}

static void ck_let_go(void)
{
	ck_epoch_end(&holder, NULL);
	ck_epoch_unregister(&holder);
}

static void ck_destroy(struct worker *t)
{
	ck_epoch_barrier(t->own);
}

const struct destroyer destroy_ck_epoch = {
	.source = &source_ck_epoch,
	.hold = ck_hold,
	.let_go = ck_let_go,
	.destroy = ck_destroy,
};

#else

/* Its contestants are missing; their tables name it all the same. */
const struct source source_ck_epoch = { .waits = true };
const struct destroyer destroy_ck_epoch = { .source = &source_ck_epoch };

#endif
