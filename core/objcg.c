// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * objcg.c - accounts for memory
 *
 * An account is a number with a limit that many allocators add to and take from.  A charge is taken
 * before the memory and never exceeds the limit, by a compare-and-swap on one word; what a group
 * has charged is counted in the group as well, so that it can move to another account.
 *
 * Owners: each reference keeps it: the creator's until obj_cgroup_put(), an allocator's until its
 * memory is back.  Ordering: the last put (acq_rel) is after all uncharges.  Contexts: charge and
 * uncharge any.
 *
 * Held by: tests/core/test_objcg.c.
 */
#include "bma.h"

struct obj_cgroup {
	bma_link_t link;
	PORT_ATOMIC(uint32_t) refs;
	PORT_ATOMIC(uint64_t) usage;
	uint64_t limit; /* 0: none */
	char name[32];
};

struct obj_cgroup *obj_cgroup_create(const char *name, size_t limit_bytes)
{
	struct obj_cgroup *objcg = bma_meta_alloc(bma_meta_class(sizeof(*objcg)));
	size_t i = 0;

	if (!objcg)
		return NULL;
	port_store(&objcg->refs, 1, relaxed);
	port_store(&objcg->usage, 0, relaxed);
	objcg->limit = limit_bytes;
	for (; name && name[i] && i < sizeof(objcg->name) - 1; i++)
		objcg->name[i] = name[i];
	objcg->name[i] = 0;
	return objcg;
}

size_t obj_cgroup_usage(const struct obj_cgroup *objcg)
{
	return objcg ? port_load(&objcg->usage, relaxed) : 0;
}

void obj_cgroup_put(struct obj_cgroup *objcg)
{
	if (objcg && port_sub(&objcg->refs, 1, acq_rel) == 1)
		bma_meta_free(objcg, bma_meta_class(sizeof(*objcg)));
}

/* Count @bytes more of @g's memory; false if its account is full. */
bool bma_charge(struct bma_group *g, uint64_t bytes)
{
	struct obj_cgroup *objcg = port_load(&g->objcg, acquire);
	uint64_t usage;

	if (objcg) {
		usage = port_load(&objcg->usage, relaxed);
		do {
			if (objcg->limit && usage + bytes > objcg->limit)
				return false;
		} while (!port_cas(&objcg->usage, &usage, usage + bytes, relaxed));
	}
	port_add(&g->bytes_charged, bytes, relaxed);
	return true;
}

void bma_uncharge(struct bma_group *g, uint64_t bytes)
{
	struct obj_cgroup *objcg = port_load(&g->objcg, acquire);

	port_sub(&g->bytes_charged, bytes, relaxed);
	if (objcg)
		port_sub(&objcg->usage, bytes, relaxed);
}

void bpf_mem_alloc_set_objcg(struct bpf_mem_alloc *ma, struct obj_cgroup *objcg)
{
	struct bma_group *g = ma->group;
	struct obj_cgroup *old;
	uint64_t bytes;

	if (!g) {
		bma_complain(BMA_CALLER, "not an allocator", ma, ma);
		return;
	}
	/* The reclaimer uncharges on its own; it must find all of the charge in one account. */
	port_reclaim_lock();
	bytes = port_load(&g->bytes_charged, relaxed);
	if (objcg) {
		port_add(&objcg->refs, 1, relaxed);
		port_add(&objcg->usage, bytes, relaxed);
	}
	old = port_xchg(&g->objcg, objcg, acq_rel);
	if (old)
		port_sub(&old->usage, bytes, relaxed);
	port_reclaim_unlock();
	obj_cgroup_put(old);
}
