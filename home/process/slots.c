// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * slots.c - this CPU's magazines
 *
 * Problem: take from and add to this CPU's magazine in a few nanoseconds, with preemption,
 * migration and signals at any point, and let the reclaimer take a CPU's magazines from outside.
 *
 * Idea: restartable sequences (sequences.h).  A sequence reads cpus[cpu] and makes one store into
 * that block.  The reclaimer swaps the pointer and then has the kernel restart whatever sequence
 * runs on that CPU; after that nobody has the old block.  No state is shown in which a CPU cannot
 * work.
 *
 * Where sequences are not to be had (no kernel support, valgrind, GLIBC_TUNABLES, no membarrier for
 * them, TSan), each block has a try-lock: who finds it taken, be it by another thread or by the
 * context that it interrupted, fails, which callers are made for.
 *
 * Barrier FLUSH: the reclaimer's swap, then membarrier(PRIVATE_EXPEDITED_RSEQ) on that CPU.  It
 * pairs with no barrier: it makes a sequence that read the old pointer start again before its final
 * store. Without it a store could still reach the block after it was harvested: an object in two
 * magazines. In the fallback: the lock, and who locked a block looks again whether it is still the
 * CPU's.
 *
 * Which of the two is chosen once, before the first allocator exists; they do not mix.  The fast paths
 * do not ask which: without sequences they are shown a table in which they find nothing, and sequences
 * that come by all the same, in a call on what was never made an allocator, say, store into words of ours
 * (no_rseq) and not where the thread has something else.
 *
 * Held by: tests/process/test_slots.c.
 */
#define _GNU_SOURCE
#include <linux/membarrier.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "port.h"
#include "private.h"

#if __has_include(<sys/rseq.h>)
#include <sys/rseq.h>
#endif

static unsigned int nr_cpus = 1;
static unsigned int nr_emulated; /* 0: CPUs are the machine's */

#if HOME_RSEQ
static bool sequences;
#else
enum { sequences = false };
#endif

#if HOME_SEQUENCES
/* The kernel's struct rseq, as far as sequences go: on CPU 0, for good, and never restarted. */
static HOME_THREAD_LOCAL struct {
	uint32_t cpu_id_start, cpu_id;
	uint64_t rseq_cs;
} no_rseq;

ptrdiff_t home_rseq_offset, bma_inline_rseq_;

/* For us, and for callers' own code, which may have sequences where TSan keeps us from them. */
static void aim_at(ptrdiff_t rseq)
{
	__atomic_store_n(&home_rseq_offset, rseq, __ATOMIC_RELAXED);
	__atomic_store_n(&bma_inline_rseq_, rseq, __ATOMIC_RELAXED);
}

/*
 * Before any call can come by, as sequences store where this points.  Between a thread that loads us and the
 * next is the loader's lock, which TSan does not see.
 */
__attribute__((constructor)) static void aim_at_nothing(void)
{
	if (!__atomic_load_n(&home_rseq_offset, __ATOMIC_RELAXED))
		aim_at((char *)&no_rseq - rseq_thread_pointer());
}

_Static_assert(PORT_MAGAZINE_BYTES == BMA_MAGAZINE_BYTES_ && PORT_UNIT_SHIFT == BMA_UNIT_SHIFT_ &&
		       PORT_ADDR_BITS == BMA_ADDR_BITS_ && PORT_LEAF_BITS == BMA_LEAF_BITS_,
	       "sizes are as callers' code takes them");
#endif

static int membarrier(int cmd, unsigned int flags, int cpu)
{
	int saved = errno, ret = (int)syscall(__NR_membarrier, cmd, flags, cpu);

	errno = saved;
	return ret;
}

/* One more than the last number in the kernel's list of CPUs, "0-3,8-11"; 0 if there is none. */
static unsigned int listed_cpus(const char *path)
{
	char buf[4096];
	unsigned int number = 0, nr = 0;
	ssize_t len = home_read_file(path, buf, sizeof(buf)), i;

	for (i = 0; i < len; i++) {
		if (buf[i] >= '0' && buf[i] <= '9') {
			number = number * 10 + (unsigned int)(buf[i] - '0');
			nr = number + 1;
		} else {
			number = 0;
		}
	}
	return len < (ssize_t)sizeof(buf) ? nr : 0;
}

/*
 * For how many CPUs the kernel's masks have room, which glibc does not tell, and in *@last the
 * highest that this thread may use; 0 if the kernel does not say.
 */
static unsigned int mask_cpus(unsigned int *last)
{
	unsigned long mask[512];
	int saved = errno;
	long len = syscall(SYS_sched_getaffinity, 0, sizeof(mask), mask), i;

	errno = saved;
	*last = 0;
	for (i = 0; i < len * 8; i++)
		if (mask[i / 64] >> i % 64 & 1)
			*last = (unsigned int)i;
	return len > 0 ? (unsigned int)len * 8 : 0;
}

/*
 * Above every CPU's number, as sequences do not look; 0 if that is not to be had.  The list is exact,
 * but there may be none, or a container's own: then what the kernel has room for, which is more.
 */
unsigned int home_possible_cpus(const char *path)
{
	unsigned int listed = listed_cpus(path), last, room = mask_cpus(&last);

	return listed > last ? listed : room;
}

#define MAX_EMULATED 4096
#define EMULATED_STAY 256 /* looks of a thread at where it is, one or two for each call */

/* So many CPUs are emulated if the user asks for it, for tests and measurements. */
static unsigned int emulated_cpus(void)
{
	const char *asked = secure_getenv("BMA_CPUS");
	long nr = asked ? atol(asked) : 0;

	return nr > 0 && nr <= MAX_EMULATED ? (unsigned int)nr : 0;
}

/*
 * A thread stays for some magazines on one and goes on to the next, where others come after it and find
 * what it has freed.  A nested context's turn may be lost, which does no harm.
 */
static unsigned int emulated_cpu(void)
{
	static HOME_THREAD_LOCAL uint32_t turn;

	if (!turn)
		turn = port_thread_id() * EMULATED_STAY;
	return turn++ / EMULATED_STAY % nr_emulated;
}

void home_slots_init(void)
{
	unsigned int possible = home_possible_cpus("/sys/devices/system/cpu/possible");

#if HOME_SEQUENCES
	aim_at_nothing();
#endif
	/* Else all are taken for one CPU, which the fallback can. */
	if (possible)
		nr_cpus = possible;
	nr_emulated = emulated_cpus();
	if (nr_emulated > nr_cpus)
		nr_cpus = nr_emulated;
	if (!possible || nr_emulated)
		return;
#if HOME_RSEQ && __has_include(<sys/rseq.h>)
	if (!__rseq_size)
		return;
	if (membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ, 0, 0) ||
	    membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ, MEMBARRIER_CMD_FLAG_CPU, 0))
		return;
	aim_at(__rseq_offset);
	sequences = true;
#endif
}

unsigned int port_nr_cpus(void)
{
	return nr_cpus;
}

unsigned int port_cpu(void)
{
	if (nr_emulated)
		return emulated_cpu();
#if HOME_RSEQ
	int cpu = sequences ? rseq_cpu_id(home_rseq_offset) : sched_getcpu();
#else
	int cpu = sched_getcpu();
#endif

	return cpu < 0 || (unsigned int)cpu >= nr_cpus ? 0 : (unsigned int)cpu;
}

/*
 * Who has a block's lock: a thread's number, kept from its first use on, also in the child of a fork,
 * which may be in the middle of a step.
 */
static uint32_t locker(void)
{
	static HOME_THREAD_LOCAL uint32_t self;

	if (!self)
		self = port_thread_id();
	return self;
}

/* In the child of a fork: the number by which the one thread that is left is known here. */
static _Atomic uint32_t survivor;

void home_slots_forked(void)
{
	port_store(&survivor, locker(), relaxed);
}

/* This CPU's block with its lock held, or NULL. */
static struct bma_cpu *block_lock(bma_cpu_ptr_t *cpus)
{
	unsigned int cpu = port_cpu();
	struct bma_cpu *block = port_load(&cpus[cpu], acquire);
	uint32_t nobody = 0;

	if (!port_cas(&block->busy, &nobody, locker(), acquire))
		return NULL;
	if (port_load(&cpus[cpu], acquire) == block)
		return block;
	port_store(&block->busy, 0, release);
	return NULL;
}

static void block_unlock(struct bma_cpu *block)
{
	port_store(&block->busy, 0, release);
}

static void *fallback_pop(bma_cpu_ptr_t *cpus, size_t offset)
{
	struct bma_cpu *block = block_lock(cpus);
	bma_obj_t *top, obj;

	if (!block)
		return NULL;
	top = port_load(bma_top_at(block, offset), relaxed);
	obj = top[-1];
	if (obj)
		port_store(bma_top_at(block, offset), top - 1, relaxed);
	block_unlock(block);
	return obj;
}

static bool fallback_push(bma_cpu_ptr_t *cpus, size_t offset, void *obj)
{
	struct bma_cpu *block = block_lock(cpus);
	bma_obj_t *top;
	bool room;

	if (!block)
		return false;
	top = port_load(bma_top_at(block, offset), relaxed);
	room = !bma_top_is_end(top);
	if (room) {
		*top = obj;
		port_store(bma_top_at(block, offset), top + 1, relaxed);
	}
	block_unlock(block);
	return room;
}

static bool fallback_replace(bma_cpu_ptr_t *cpus, struct bma_cpu *block, size_t offset,
			     bma_obj_t *old, bma_obj_t *new)
{
	struct bma_cpu *locked = block_lock(cpus);
	bool same;

	if (!locked)
		return false;
	same = locked == block && port_load(bma_top_at(block, offset), relaxed) == old;
	if (same)
		port_store(bma_top_at(block, offset), new, relaxed);
	block_unlock(locked);
	return same;
}

bool port_cpu_fast(void)
{
	return sequences;
}

void *port_cpu_pop(bma_cpu_ptr_t *cpus, size_t offset)
{
#if HOME_RSEQ
	if (sequences)
		return rseq_if_below_top_pop_it(cpus, home_rseq_offset, offset);
#endif
	return fallback_pop(cpus, offset);
}

bool port_cpu_push(bma_cpu_ptr_t *cpus, size_t offset, void *obj)
{
#if HOME_RSEQ
	if (sequences)
		return rseq_if_not_end_push(cpus, home_rseq_offset, offset, obj);
#endif
	return fallback_push(cpus, offset, obj);
}

bool port_cpu_replace(bma_cpu_ptr_t *cpus, struct bma_cpu *block, size_t offset, bma_obj_t *old,
		      bma_obj_t *new)
{
#if HOME_RSEQ
	if (sequences)
		return rseq_if_ours_and_equal_store(cpus, home_rseq_offset, block, offset, old,
						    new);
#endif
	return fallback_replace(cpus, block, offset, old, new);
}

struct bma_cpu *port_cpu_block(bma_cpu_ptr_t *cpus, unsigned int *index)
{
	*index = port_cpu();
	return port_load(&cpus[*index], acquire);
}

/*
 * Take a block's lock, also from a thread that died with it (in a handler that interrupted a step, or
 * by being in another process now): whatever it had done of its step, the block is as before or
 * after.
 */
static bool lock_or_inherit(struct bma_cpu *block)
{
	uint32_t owner = 0;

	if (port_cas(&block->busy, &owner, locker(), acquire))
		return true;
	return owner != port_load(&survivor, relaxed) && port_thread_dead(owner) &&
	       port_cas(&block->busy, &owner, locker(), acquire);
}

static struct bma_cpu *fallback_detach(bma_cpu_ptr_t *cpus, unsigned int index,
				       struct bma_cpu *fresh)
{
	struct bma_cpu *block = port_load(&cpus[index], acquire);

	if (!lock_or_inherit(block))
		return NULL;
	port_store(&cpus[index], fresh, release);
	block_unlock(block);
	return block;
}

static bool flush(unsigned int cpu)
{
	return !membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ, MEMBARRIER_CMD_FLAG_CPU,
			   (int)cpu);
}

struct bma_cpu *port_cpu_detach(bma_cpu_ptr_t *cpus, unsigned int index, struct bma_cpu *fresh)
{
	struct bma_cpu *block;

	if (!sequences)
		return fallback_detach(cpus, index, fresh);
	/* A filter may have been installed since; then there is no way to have the block. */
	if (!flush(index))
		return NULL;
	block = port_xchg(&cpus[index], fresh, acq_rel);
	flush(index); /* FLUSH */
	return block;
}
