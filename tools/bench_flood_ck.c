// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * bench_flood_ck.c - flood's contestant from malloc with Concurrency Kit's epochs
 *
 * An entry before each object; each updater polls after a batch, which advances the epoch if
 * readers allow it and frees what it queued itself two epochs ago.  Limbo is counted as in
 * bench_flood_urcu.c.
 *
 * The build defines BMA_HAVE_CK where it has found the library.
 */
#define _GNU_SOURCE
#include "bench_flood.h"

#ifdef BMA_HAVE_CK

#include <ck_epoch.h>
#include <stdlib.h>

#include "ledger.h"

static ck_epoch_t epoch;

/* Records stay in the epoch's list for good. */
static bool ck_enter(struct flood_thread *t)
{
	ck_epoch_record_t *record = aligned_alloc(CACHE_LINE, sizeof(*record));

	if (!record)
		return flood_fault(t->flood, "no memory for a thread's record");
	ck_epoch_register(&epoch, record, NULL);
	t->own = record;
	return true;
}

static bool ck_read(struct flood_thread *t)
{
	for (int i = 0; i < FLOOD_BATCH; i++) {
		ck_epoch_begin(t->own, NULL);
		flood_look(t);
		ck_epoch_end(t->own, NULL);
	}
	return true;
}

static void free_entry(ck_epoch_entry_t *entry)
{
	ledger_count(&ledger_mine()->freed_after_rcu, 1);
	free(entry);
}

static bool ck_update(struct flood_thread *t)
{
	size_t size = sizeof(ck_epoch_entry_t) + t->flood->run->params.size;
	struct ledger *ledger = ledger_mine();

	for (int i = 0; i < FLOOD_BATCH; i++) {
		ck_epoch_entry_t *entry = malloc(size);

		if (!entry)
			return flood_fault(t->flood, "an allocation failed");
		flood_touch(entry + 1);
		ledger_count(&ledger->queued, 1);
		ck_epoch_call(t->own, entry, free_entry);
	}
	ck_epoch_poll(t->own);
	return true;
}

static void ck_updater_leave(struct flood_thread *t)
{
	ck_epoch_barrier(t->own);
	ck_epoch_unregister(t->own);
}

static void ck_reader_leave(struct flood_thread *t)
{
	ck_epoch_unregister(t->own);
}

static int ck_open(struct flood *flood)
{
	ck_epoch_init(&epoch);
	return flood_malloc_open(flood, sizeof(ck_epoch_entry_t));
}

const struct flood_contestant flood_ck_epoch = {
	.updater = { ck_enter, ck_update, ck_updater_leave },
	.reader = { ck_enter, ck_read, ck_reader_leave },
	.open = ck_open,
	.close = flood_malloc_close,
	.measure = flood_malloc_measure,
};

#else

/* Its contestants are missing; their table names it all the same. */
const struct flood_contestant flood_ck_epoch = { 0 };

#endif
