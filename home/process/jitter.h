/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * jitter.h - a random delay at every shared access
 *
 * With the option `jitter` of meson.build every file of the library and of its tests is compiled with
 * this in front (-include), so that core/port.h and <bma/rcu.h> find their accesses defined.  Each is the
 * usual one, in the usual order, with delays before it and, if it writes, after it: what can come in
 * between two accesses then does, on real threads, also where a window is a few instructions wide.
 *
 * It stands in front of each file's own feature macros, so it may include nothing of the C library; and it
 * is called in signal handlers.  The inside of a restartable sequence has no delays.
 */
#ifndef BMA_HOME_JITTER_H
#define BMA_HOME_JITTER_H

/* As hits are compiled into their callers there is nothing to see between accesses. */
#define BMA_NO_INLINE

/* <sched.h>'s. */
int sched_yield(void);

/* Not zero; each thread's own, in each file.  Lazily allocated, it could not be used in a handler. */
static __thread unsigned long long jitter_state __attribute__((tls_model("initial-exec")));

static inline void jitter_pause(unsigned int n)
{
	while (n--) {
#if defined(__x86_64__)
		__asm__ __volatile__("pause");
#elif defined(__aarch64__)
		__asm__ __volatile__("yield");
#else
		__asm__ __volatile__("");
#endif
	}
}

/*
 * A handler may come in between and draw the same number; no harm.  Seeded by where the thread has its
 * variables, and by when it first came here, so that no two runs are the same.
 */
static inline unsigned int jitter_draw(void)
{
	unsigned long long x = jitter_state;

	if (!x) {
		x = (unsigned long long)(unsigned long)&jitter_state * 0x9e3779b97f4a7c15u;
#if defined(__x86_64__)
		x ^= __builtin_ia32_rdtsc();
#endif
		x |= 1;
	}
	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	jitter_state = x;
	return (unsigned int)(x >> 32);
}

/* Mostly nothing; sometimes from one pause to many microseconds of them, rarely another thread's turn. */
static inline void jitter(void)
{
	unsigned int x = jitter_draw();

	if (x & 7)
		return;
	if (x >> 3 & 63)
		jitter_pause(1u << (x >> 9) % 10);
	else
		sched_yield();
}

#define JITTER_BEFORE(access) (jitter(), (access))
#define JITTER_AROUND(access)                                                                      \
	({                                                                                         \
		jitter();                                                                          \
		__auto_type jitter_was_ = (access);                                                \
		jitter();                                                                          \
		jitter_was_;                                                                       \
	})

/* core/port.h includes <stdatomic.h>, for its barrier. */
#define PORT_ATOMIC(type) _Atomic(type)
#define port_load(p, mo) JITTER_BEFORE(atomic_load_explicit((p), memory_order_##mo))
#define port_store(p, v, mo)                                                                       \
	(jitter(), atomic_store_explicit((p), (v), memory_order_##mo), jitter())
#define port_xchg(p, v, mo) JITTER_AROUND(atomic_exchange_explicit((p), (v), memory_order_##mo))
#define port_add(p, v, mo) JITTER_AROUND(atomic_fetch_add_explicit((p), (v), memory_order_##mo))
#define port_sub(p, v, mo) JITTER_AROUND(atomic_fetch_sub_explicit((p), (v), memory_order_##mo))
#define port_or(p, v, mo) JITTER_AROUND(atomic_fetch_or_explicit((p), (v), memory_order_##mo))
#define port_and(p, v, mo) JITTER_AROUND(atomic_fetch_and_explicit((p), (v), memory_order_##mo))
#define port_cas(p, old, v, mo)                                                                    \
	JITTER_AROUND(atomic_compare_exchange_strong_explicit((p), (old), (v), memory_order_##mo,  \
							      memory_order_relaxed))

#define BPF_RCU_LOAD_(p, mo) JITTER_BEFORE(__atomic_load_n((p), __ATOMIC_##mo))
#define BPF_RCU_STORE_(p, v, mo) (jitter(), __atomic_store_n((p), (v), __ATOMIC_##mo), jitter())

#endif /* BMA_HOME_JITTER_H */
