/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * bench.h - the parts of `bma bench`
 *
 *   bench.c             the command: find the benchmark, or run all
 *   bench_htab.c        htab-mem: options and rounds
 *   bench_htab_report.c htab-mem: tables and JSON
 *   bench_htab_run.c    htab-mem: one use case with one contestant, in a child process
 *   bench_htab_cases.c  htab-mem: what the producers of each use case do
 *   bench_flood.c       flood: options and rounds; bench_flood.h has the other parts
 */
#ifndef BMA_BENCH_H
#define BMA_BENCH_H

#include "tool.h"

struct bench {
	const char *name;
	const char *summary;
	/* @argv[0] is the name to show in messages ("bma bench htab-mem"). */
	enum exit_code (*run)(int argc, char **argv);
};

extern const struct bench htab_mem_bench;
extern const struct bench flood_bench;

#define MAX_ROUNDS 99

#endif /* BMA_BENCH_H */
