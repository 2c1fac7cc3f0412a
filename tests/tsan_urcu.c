// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * tsan_urcu.c - what liburcu's calls order, for TSan, which does not see into them
 *
 * The linker puts these around a program's calls (--wrap).  They claim what liburcu promises, no more:
 *
 *	rcu_assign_pointer(p, obj)	before	rcu_dereference(p) that returns obj
 *	rcu_read_unlock()		before	a grace period of the flavour that ends later; its side is in
 *						home/process/flavors.c
 *
 * tests/process/util.c does the latter for tests, which call through a flavour's table.
 */
#include <stdint.h>
#include <urcu/flavor.h>

extern const struct rcu_flavor_struct urcu_memb_flavor;

void __tsan_acquire(void *addr);
void __tsan_release(void *addr);

void *__real_rcu_dereference_sym(void *obj);
void *__wrap_rcu_dereference_sym(void *obj);
void *__real_rcu_set_pointer_sym(void **p, void *obj);
void *__wrap_rcu_set_pointer_sym(void **p, void *obj);
void __real_urcu_memb_read_unlock(void);
void __wrap_urcu_memb_read_unlock(void);

void *__wrap_rcu_dereference_sym(void *obj)
{
	if (obj)
		__tsan_acquire(obj);
	return __real_rcu_dereference_sym(obj);
}

void *__wrap_rcu_set_pointer_sym(void **p, void *obj)
{
	if (obj)
		__tsan_release(obj);
	return __real_rcu_set_pointer_sym(p, obj);
}

void __wrap_urcu_memb_read_unlock(void)
{
	__tsan_release((void *)(uintptr_t)&urcu_memb_flavor);
	__real_urcu_memb_read_unlock();
}
