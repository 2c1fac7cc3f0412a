/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * every_access.h - before a core file: each of its shared accesses becomes a point for script_interrupt()
 *
 * A test that includes this, then "../../core/x.c", has that file's code to itself: what else it needs of
 * core comes from the library, which is built without.
 */
#ifndef BMA_EVERY_ACCESS_H
#define BMA_EVERY_ACCESS_H

#include <stdatomic.h>

#include "script.h"

#define PORT_ATOMIC(type) _Atomic(type)
#define port_load(p, mo) (script_access(), atomic_load_explicit((p), memory_order_##mo))
#define port_store(p, v, mo) (script_access(), atomic_store_explicit((p), (v), memory_order_##mo))
#define port_xchg(p, v, mo) (script_access(), atomic_exchange_explicit((p), (v), memory_order_##mo))
#define port_add(p, v, mo) (script_access(), atomic_fetch_add_explicit((p), (v), memory_order_##mo))
#define port_sub(p, v, mo) (script_access(), atomic_fetch_sub_explicit((p), (v), memory_order_##mo))
#define port_or(p, v, mo) (script_access(), atomic_fetch_or_explicit((p), (v), memory_order_##mo))
#define port_and(p, v, mo) (script_access(), atomic_fetch_and_explicit((p), (v), memory_order_##mo))
#define port_cas(p, old, v, mo)                                                                    \
	(script_access(), atomic_compare_exchange_strong_explicit(                                 \
				  (p), (old), (v), memory_order_##mo, memory_order_relaxed))

/* The accesses of a reader, too: what interrupts there is a handler in its thread, or another thread. */
#define BPF_RCU_LOAD_(p, mo) (script_access(), __atomic_load_n((p), __ATOMIC_##mo))
#define BPF_RCU_STORE_(p, v, mo) (script_access(), __atomic_store_n((p), (v), __ATOMIC_##mo))

#endif /* BMA_EVERY_ACCESS_H */
