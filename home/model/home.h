/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * home.h - core's home in a model checker; see port.h for what each entry promises
 *
 *	explore.c	which thread goes next: every choice in turn, or by chance
 *	state.c		a state of the whole program: kept, restored, recognized
 *	thread.c	threads as coroutines, and the points at which they can be interrupted
 *	memory.c	shared memory: each access is a point; stores may be late
 *	heap.c		pages, and which pieces of metadata are in use
 *	door.c		the rest of port.h
 *	main.c		the program that runs scenarios (model.h)
 *
 * Everything is as small as core allows: a state is copied at each branch.
 */
#ifndef BMA_HOME_H
#define BMA_HOME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PORT_MAGAZINE_BYTES 32
#define PORT_UNIT_SHIFT 8
#define PORT_ADDR_BITS 20
#define PORT_META_CHUNK (1u << 15)
#define PORT_META_PAGE 4096u

#define PORT_LEAF_BITS 14
#define PORT_META_CHUNKS 2
#define PORT_RESERVE 4
#define PORT_MAGAZINE_OBJ_BYTES 256

#define PORT_EINVAL 22
#define PORT_E2BIG 7
#define PORT_ENOMEM 12

/* Memory orders, weakest first but for the two in the middle; by the names that port.h uses. */
enum model_order { MODEL_relaxed, MODEL_acquire, MODEL_release, MODEL_acq_rel, MODEL_seq_cst };

#define MODEL_RELAXED MODEL_relaxed
#define MODEL_ACQUIRE MODEL_acquire
#define MODEL_RELEASE MODEL_release

enum model_rmw { MODEL_XCHG, MODEL_ADD, MODEL_SUB, MODEL_OR, MODEL_AND };

/* Who says what, in a trace. */
struct model_site {
	const char *func, *what;
};

#define MODEL_SITE(text)                                                                           \
	({                                                                                         \
		static const struct model_site site_ = { __func__, text };                         \
		&site_;                                                                            \
	})

uint64_t model_load(const struct model_site *site, const void *p, size_t size,
		    enum model_order order);
void model_store(const struct model_site *site, void *p, size_t size, uint64_t v,
		 enum model_order order);
uint64_t model_rmw(const struct model_site *site, void *p, size_t size, enum model_rmw rmw,
		   uint64_t v, enum model_order order);
bool model_cas(const struct model_site *site, void *p, size_t size, void *old, uint64_t v,
	       enum model_order order);
void model_fence(const struct model_site *site);

#define PORT_ATOMIC(type) __typeof__(type)

/* Hints would make states differ. */
#define PORT_PREFETCHES false
#define port_prefetch_to_write(p) ((void)sizeof(p))

#define MODEL_RMW(p, v, rmw, mo, name)                                                             \
	({                                                                                         \
		__typeof__(*(p)) was_ =                                                            \
			(__typeof__(*(p)))model_rmw(MODEL_SITE(name " " #p ", " #v ", " #mo), (p), \
						    sizeof(*(p)), rmw, (uint64_t)(v), MODEL_##mo); \
		was_;                                                                              \
	})

#define port_load(p, mo)                                                                           \
	((__typeof__(*(p)))model_load(MODEL_SITE("load " #p ", " #mo), (p), sizeof(*(p)),          \
				      MODEL_##mo))
#define port_store(p, v, mo)                                                                       \
	model_store(MODEL_SITE("store " #p ", " #v ", " #mo), (p), sizeof(*(p)), (uint64_t)(v),    \
		    MODEL_##mo)
#define port_xchg(p, v, mo) MODEL_RMW(p, v, MODEL_XCHG, mo, "exchange")
#define port_add(p, v, mo) MODEL_RMW(p, v, MODEL_ADD, mo, "add")
#define port_sub(p, v, mo) MODEL_RMW(p, v, MODEL_SUB, mo, "sub")
#define port_or(p, v, mo) MODEL_RMW(p, v, MODEL_OR, mo, "or")
#define port_and(p, v, mo) MODEL_RMW(p, v, MODEL_AND, mo, "and")
#define port_cas(p, old, v, mo)                                                                    \
	model_cas(MODEL_SITE("cas " #p ", " #v ", " #mo), (p), sizeof(*(p)), (old), (uint64_t)(v), \
		  MODEL_##mo)
#define port_barrier_full() model_fence(MODEL_SITE("full barrier"))

#define BPF_RCU_LOAD_(p, mo)                                                                       \
	((__typeof__(*(p)))model_load(MODEL_SITE("load " #p ", " #mo), (p), sizeof(*(p)),          \
				      MODEL_##mo))
#define BPF_RCU_STORE_(p, v, mo)                                                                   \
	model_store(MODEL_SITE("store " #p ", " #v ", " #mo), (p), sizeof(*(p)), (uint64_t)(v),    \
		    MODEL_##mo)
#define BPF_RCU_FENCE_() port_barrier_full()

#endif /* BMA_HOME_H */
