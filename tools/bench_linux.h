/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * bench_linux.h - contestants from the kernel: its own bpf_mem_alloc, and the hash map on top of it
 *
 *   bench_linux.c      loads the programs and times them
 *   linux.bpf.c        what runs in the kernel
 *   linux_bpf.h        what both know
 */
#ifndef BMA_BENCH_LINUX_H
#define BMA_BENCH_LINUX_H

#include "bench.h"

#ifdef BMA_HAVE_BPF
#define LINUX_MISSING NULL
#else
#define LINUX_MISSING "bma was built without libbpf or a clang for BPF (Debian: libbpf-dev, clang)"
#endif

/* What a contestant's how points to. */
struct linux_work {
	const char *program;
};

extern const struct linux_work linux_objects;
extern const struct linux_work linux_map;

/* Nanoseconds and CPU nanoseconds as figures 0 and 1 of pair-rcu, the others not known. */
enum exit_code linux_run(const struct bench_run *run);

#endif /* BMA_BENCH_LINUX_H */
