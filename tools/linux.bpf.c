// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * linux.bpf.c - Linux's bpf_mem_alloc and hash map, as a program in the kernel meets them
 *
 * bpf_obj_new() is bpf_mem_alloc(), and bpf_obj_drop() is bpf_mem_free_rcu(), which free for the
 * kernel what our free_rcu frees.  Each program goes round a loop LINUX_LOOPS times; "empty" is the
 * loop alone.  They return how many times they did.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#include "linux_bpf.h"

extern void *bpf_obj_new_impl(__u64 type, void *meta) __ksym;
extern void bpf_obj_drop_impl(void *object, void *meta) __ksym;

#define PAIR_OF(size)                                                                              \
	struct object_##size {                                                                     \
		unsigned char bytes[size];                                                         \
	};                                                                                         \
	static long pair_##size(__u32 i, void *arg)                                                \
	{                                                                                          \
		struct object_##size *object;                                                      \
                                                                                                   \
		object = bpf_obj_new_impl(bpf_core_type_id_local(struct object_##size), NULL);     \
		if (!object)                                                                       \
			return 1;                                                                  \
		object->bytes[0] = 1;                                                              \
		bpf_obj_drop_impl(object, NULL);                                                   \
		return 0;                                                                          \
	}                                                                                          \
	SEC("tc") int objects_##size(struct __sk_buff *skb)                                        \
	{                                                                                          \
		return bpf_loop(LINUX_LOOPS, pair_##size, NULL, 0);                                \
	}

#ifndef NULL
#define NULL ((void *)0)
#endif

LINUX_EACH_SIZE(PAIR_OF)

/* The loader sets the size of the value. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1024);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, 64);
} map SEC(".maps");

/* A value is read by the map in full. */
static unsigned char value[2048];

static long change(__u32 i, void *arg)
{
	__u32 key = i % 64;

	if (bpf_map_update_elem(&map, &key, value, BPF_NOEXIST))
		return 1;
	return bpf_map_delete_elem(&map, &key) ? 1 : 0;
}

SEC("tc") int map_changes(struct __sk_buff *skb)
{
	return bpf_loop(LINUX_LOOPS, change, NULL, 0);
}

static long nothing(__u32 i, void *arg)
{
	return 0;
}

SEC("tc") int empty(struct __sk_buff *skb)
{
	return bpf_loop(LINUX_LOOPS, nothing, NULL, 0);
}

char program_license[] SEC("license") = "Dual MIT/GPL";
