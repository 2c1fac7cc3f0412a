/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * linux_bpf.h - what the program in the kernel and who loads it tell each other
 */
#ifndef BMA_LINUX_BPF_H
#define BMA_LINUX_BPF_H

/* Times round a program's loop each time that it is run. */
#define LINUX_LOOPS 65536

/* Types are made when the program is compiled: one for each of these sizes. */
#define LINUX_EACH_SIZE(f) f(16) f(32) f(64) f(128) f(256) f(512) f(1024) f(2048)

#endif /* BMA_LINUX_BPF_H */
