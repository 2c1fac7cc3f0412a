/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * readers.h - what tests of core's own readers share; for a test that has rcu.c inside
 */
#ifndef BMA_READERS_H
#define BMA_READERS_H

#include "unit.h"

static inline struct bma_gp *rcu(void)
{
	return script_gp(SCRIPT_RCU);
}

static inline uint64_t ended(struct bma_gp *gp)
{
	return script_gp_ended(gp);
}

/* Ask for one more and look, twice, as the cookie may be of the next but one: is it over? */
static inline bool one_passes(struct bma_gp *gp)
{
	uint64_t number = bma_gp_number(gp);

	bma_gp_want(gp, number, false);
	bma_gp_poll(gp, false);
	return bma_gp_number_done(gp, number);
}

/* As when the program begins: no thread has a record. */
static inline void begin(void)
{
	unsigned int i;

	for (i = SCRIPT_THREADS; i; i--) {
		script_thread(i);
		bpf_rcu_this_reader_ = NULL;
	}
	port_store(&bma_world.readers.records, NULL, relaxed);
	port_store(&bma_world.readers.nr_reserved, 0, relaxed);
}

/* The thread that has it, or 0. */
static inline uint32_t owner(const struct bpf_rcu_reader_ *r)
{
	return (uint32_t)r->owner;
}

static inline bool is_reserve(const struct bpf_rcu_reader_ *r)
{
	return r >= bma_world.readers.reserve && r < bma_world.readers.reserve + BMA_NR_RESERVE;
}

/* Records are for good; not so here. */
static inline void end(void)
{
	struct bpf_rcu_reader_ *r = port_load(&bma_world.readers.records, relaxed), *next;

	for (; r; r = next) {
		next = r->next;
		if (!is_reserve(r))
			bma_meta_free(r, bma_meta_class(sizeof(*r)));
	}
	begin();
}

/* Each domain has its own of all this. */
static const struct domain {
	unsigned int which;
	void (*lock)(void);
	void (*unlock)(void);
	bool (*held)(void);
} domains[] = {
	{ SCRIPT_RCU, bpf_rcu_read_lock, bpf_rcu_read_unlock, bpf_rcu_read_lock_held },
	{ SCRIPT_TRACE, rcu_read_lock_trace, rcu_read_unlock_trace, rcu_read_lock_trace_held },
};

/* A thread's first section, or another one. */
static inline void section_of(unsigned int nr)
{
	script_thread(nr);
	bpf_rcu_read_lock();
	bpf_rcu_read_unlock();
}

#endif /* BMA_READERS_H */
