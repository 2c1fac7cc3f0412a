// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * memory.c - shared memory in which stores may be late
 *
 * Each access is a point, and then one indivisible step.  Loads see memory as it is, or the thread's own
 * late store.  A store may be late: it waits in a list of its thread's, and the search says when it goes.
 *
 *   relaxed store	may pass other late stores, but not those of the same word
 *   release store	goes after all that the thread stored before (PSO with release; TSO is a part of it)
 *   seq_cst store	the same, and before the thread's next seq_cst load
 *   read-modify-write	on memory, at once; with release in it, after all late stores
 *   full barrier	after all late stores
 *
 * A store that reaches memory is there for every thread at once (multi-copy atomic: x86, ARMv8, RISC-V).
 * Not modelled: a load that is done before another load, or before an older one's control dependency; so an
 * acquire that is left out is not seen.  Nor plain accesses, which have to be free of races for that.
 *
 * Threads that are on one CPU run in turn, and the system's switch from one to the other is a barrier.
 */
#include <string.h>

#include "private.h"

static bool overlaps(const struct late *l, const void *p, size_t size)
{
	const char *a = l->p, *b = p;

	return a < b + size && b < a + l->size;
}

static bool same_word(const struct late *l, const void *p, size_t size)
{
	return l->p == p && l->size == size;
}

static void put(void *p, size_t size, uint64_t v)
{
	switch (size) {
	case 8:
		*(uint64_t *)p = v;
		break;
	case 4:
		*(uint32_t *)p = (uint32_t)v;
		break;
	default:
		memcpy(p, &v, size);
	}
}

static uint64_t get(const void *p, size_t size)
{
	uint64_t v = 0;

	switch (size) {
	case 8:
		return *(const uint64_t *)p;
	case 4:
		return *(const uint32_t *)p;
	default:
		memcpy(&v, p, size);
		return v;
	}
}

static bool (*on_late_store)(unsigned int thread, void *p);

void model_on_late_store(bool (*fn)(unsigned int thread, void *p))
{
	on_late_store = fn;
}

/* May the @n-th late store of @t go before those that are older? */
bool late_can_go(const struct model_thread *t, unsigned int n)
{
	const struct late *l = &t->late[n];
	unsigned int i;

	if (l->release)
		return n == 0;
	for (i = 0; i < n; i++)
		if (overlaps(&t->late[i], l->p, l->size))
			return false;
	return true;
}

void late_go(struct model_thread *t, unsigned int n)
{
	struct late l = t->late[n];

	t->nr_late--;
	memmove(&t->late[n], &t->late[n + 1], (t->nr_late - n) * sizeof(l));
	memset(&t->late[t->nr_late], 0, sizeof(l));
	heap_check_access(l.p);
	if (on_late_store && !on_late_store((unsigned int)(t - model.thread), l.p))
		model_fail("a late store reaches what is another's now");
	put(l.p, l.size, l.v);
}

void late_all_go(struct model_thread *t)
{
	while (t->nr_late)
		late_go(t, 0);
}

/* All up to the last late store that @p overlaps. */
static void overlapping_go(struct model_thread *t, const void *p, size_t size)
{
	unsigned int n;

	for (n = t->nr_late; n && !overlaps(&t->late[n - 1], p, size); n--)
		;
	while (n--)
		late_go(t, 0);
}

static bool has_seq_cst(const struct model_thread *t)
{
	unsigned int i;

	for (i = 0; i < t->nr_late; i++)
		if (t->late[i].seq_cst)
			return true;
	return false;
}

static const struct late *own(const struct model_thread *t, const void *p, size_t size)
{
	unsigned int i;

	for (i = t->nr_late; i--;)
		if (overlaps(&t->late[i], p, size))
			return &t->late[i];
	return NULL;
}

/* Alone there are no points, and so no other end to a loop. */
static void count_alone(void)
{
	if (model.self >= 0 || ++explorer->alone < MAX_ALONE)
		return;
	model_fail("what runs alone does not come to an end");
	longjmp(explorer->fault, 1);
}

static void access_begins(const struct model_site *site, const void *p)
{
	point(site);
	count_alone();
	heap_check_access(p);
}

static uint64_t done(uint64_t v)
{
	model.last = v;
	return v;
}

uint64_t model_load(const struct model_site *site, const void *p, size_t size,
		    enum model_order order)
{
	const struct late *l;

	access_begins(site, p);
	if (model.self < 0)
		return get(p, size);
	if (order == MODEL_seq_cst && has_seq_cst(self()))
		late_all_go(self());
	l = own(self(), p, size);
	if (l && same_word(l, p, size))
		return done(l->v);
	if (l)
		overlapping_go(self(), p, size);
	return done(get(p, size));
}

static bool releases(enum model_order order)
{
	return order >= MODEL_release;
}

/* Must it wait for what is late already? */
static bool must_be_late(struct model_thread *t, const void *p, size_t size, enum model_order order)
{
	return (releases(order) && t->nr_late) || own(t, p, size);
}

/*
 * The word below a magazine's first object is also its count, a plain field that its owner writes, and
 * plain accesses do not see late stores.
 */
static bool may_be_late(const void *p)
{
	if (model.late_at)
		return p == model.late_at;
	return !heap_is_magazine(p) || ((uintptr_t)p & (PORT_MAGAZINE_BYTES - 1)) != 8;
}

static void late_add(struct model_thread *t, struct late l)
{
	if (t->nr_late == MAX_LATE)
		late_go(t, 0);
	t->late[t->nr_late++] = l;
}

void model_store(const struct model_site *site, void *p, size_t size, uint64_t v,
		 enum model_order order)
{
	struct late l = { p, v, site, (uint8_t)size, releases(order), order == MODEL_seq_cst };

	access_begins(site, p);
	done(v);
	if (model.self >= 0 &&
	    (must_be_late(self(), p, size, order) || (may_be_late(p) && choose(2, &model.late))))
		late_add(self(), l);
	else
		put(p, size, v);
}

static void before_rmw(const void *p, size_t size, enum model_order order)
{
	if (model.self < 0)
		return;
	if (releases(order))
		late_all_go(self());
	else
		overlapping_go(self(), p, size);
}

static uint64_t applied(enum model_rmw rmw, uint64_t old, uint64_t v)
{
	switch (rmw) {
	case MODEL_ADD:
		return old + v;
	case MODEL_SUB:
		return old - v;
	case MODEL_OR:
		return old | v;
	case MODEL_AND:
		return old & v;
	default:
		return v;
	}
}

uint64_t model_rmw(const struct model_site *site, void *p, size_t size, enum model_rmw rmw,
		   uint64_t v, enum model_order order)
{
	uint64_t old;

	access_begins(site, p);
	before_rmw(p, size, order);
	old = get(p, size);
	put(p, size, applied(rmw, old, v));
	return done(old);
}

bool model_cas(const struct model_site *site, void *p, size_t size, void *old, uint64_t v,
	       enum model_order order)
{
	bool same;

	access_begins(site, p);
	before_rmw(p, size, order);
	same = !memcmp(p, old, size);
	if (same)
		put(p, size, v);
	else
		memcpy(old, p, size);
	done(same);
	return same;
}

void model_fence(const struct model_site *site)
{
	point(site);
	if (model.self >= 0)
		late_all_go(self());
}
