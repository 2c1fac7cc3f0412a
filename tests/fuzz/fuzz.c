// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * fuzz.c - any sequence of calls, in the script home, against the shadow of tests/core/unit.h
 *
 * Two bytes are an operation and its argument.  After the last, everything must be back.  libFuzzer makes
 * the sequences (`make fuzz`); without it this is a program that replays files of them: fuzz FILE...
 */
#include "unit.h"

#include <stdio.h>

#define MAX_OPS 400
#define NR_SLOTS 64
#define NR_CPUS 3

enum {
	NARROW, /* a flavour's readers */
	WIDE, /* our own */
	EVERY_SIZE,
	PERCPU,
	NR_KINDS
};

static struct {
	struct bpf_mem_alloc *ma[NR_KINDS];
	struct {
		void *obj;
		unsigned int kind;
	} slot[NR_SLOTS];
	unsigned int cpu;
	bool held[SCRIPT_NR_GPS];
	uint8_t nested; /* what an interrupt does */
} fuzz;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* There may be no memory, as the sequence may have it so. */
static void fuzz_alloc(uint8_t arg)
{
	unsigned int i = arg % NR_SLOTS, kind = arg / NR_SLOTS;
	struct bpf_mem_alloc *ma = fuzz.ma[kind];
	void *obj;

	if (fuzz.slot[i].obj || !ma)
		return;
	obj = kind == EVERY_SIZE ? bpf_mem_alloc(ma, 8 + 24 * (i % 8)) : bpf_mem_cache_alloc(ma);
	if (!obj)
		return;
	unit_got(bma_pagemap_cache(obj), obj);
	/* An interrupt may have taken the place. */
	if (fuzz.slot[i].obj) {
		unit_gave(obj, UNIT_FREED);
		bpf_mem_free(ma, obj);
		return;
	}
	fuzz.slot[i].obj = obj;
	fuzz.slot[i].kind = kind;
}

static void fuzz_free(uint8_t arg, bool rcu)
{
	unsigned int i = arg % NR_SLOTS, kind = fuzz.slot[i].kind;
	void *obj = fuzz.slot[i].obj;

	if (!obj)
		return;
	fuzz.slot[i].obj = NULL;
	unit_gave(obj, rcu ? UNIT_FREED_RCU : UNIT_FREED);
	if (kind == EVERY_SIZE && rcu)
		bpf_mem_free_rcu(fuzz.ma[kind], obj);
	else if (kind == EVERY_SIZE)
		bpf_mem_free(fuzz.ma[kind], obj);
	else if (rcu)
		bpf_mem_cache_free_rcu(fuzz.ma[kind], obj);
	else
		bpf_mem_cache_free(fuzz.ma[kind], obj);
}

/* On this CPU or on another, and then back. */
static void fuzz_nested(void *arg)
{
	uint8_t what = fuzz.nested;
	unsigned int cpu = fuzz.cpu;

	(void)arg;
	script_cpu((cpu + (what & 1)) % NR_CPUS);
	if (what & 2)
		fuzz_alloc(what >> 2);
	else
		fuzz_free(what >> 3, what & 4);
	script_cpu(cpu);
}

static void fuzz_grace_period(uint8_t arg)
{
	struct bma_gp *gp = unit_rcu();

	if (arg & 1)
		unit_pass(1);
	else if (unit_running(gp))
		script_gp_end(gp);
	else
		script_gp_begin(gp);
}

/* A reader of our own comes, or goes. */
static void fuzz_reader(uint8_t arg)
{
	unsigned int which = arg & 1 ? SCRIPT_TRACE : SCRIPT_RCU;

	fuzz.held[which] = !fuzz.held[which];
	script_hold(script_gp(which), fuzz.held[which]);
}

static void fuzz_fail(uint8_t arg)
{
	static const enum script_op ops[] = { SCRIPT_POP,    SCRIPT_PUSH,	 SCRIPT_REPLACE,
					      SCRIPT_DETACH, SCRIPT_PAGES_ALLOC, SCRIPT_FENCE };

	script_fail(ops[arg % 6], 1 + arg / 6 % 8, 1 + arg / 48);
}

/* No call is failing by then, and nobody inside, so that it can be seen to end. */
static void fuzz_calm(void)
{
	static const enum script_op ops[] = { SCRIPT_POP,    SCRIPT_PUSH,	 SCRIPT_REPLACE,
					      SCRIPT_DETACH, SCRIPT_PAGES_ALLOC, SCRIPT_FENCE };
	unsigned int i;

	for (i = 0; i < 6; i++)
		script_fail(ops[i], 1, 0);
	script_interrupt(SCRIPT_ANY, 0, NULL, NULL);
	for (i = 0; i < SCRIPT_NR_GPS; i++)
		if (fuzz.held[i])
			script_hold(script_gp(i), false);
}

/* With what is out of it, which is reported. */
static void fuzz_destroy(uint8_t arg)
{
	unsigned int kind = arg % NR_KINDS, i;

	if (!fuzz.ma[kind] || !(arg & 0x80))
		return;
	for (i = 0; i < NR_SLOTS; i++)
		if (fuzz.slot[i].kind == kind)
			fuzz.slot[i].obj = NULL;
	script_interrupt(SCRIPT_ANY, 0, NULL, NULL);
	unit_destroy(fuzz.ma[kind]);
	fuzz.ma[kind] = NULL;
}

static void fuzz_op(uint8_t op, uint8_t arg)
{
	switch (op % 16) {
	case 0 ... 4:
		fuzz_alloc(arg);
		break;
	case 5 ... 6:
		fuzz_free(arg, false);
		break;
	case 7 ... 8:
		fuzz_free(arg, true);
		break;
	case 9:
		fuzz.cpu = arg % NR_CPUS;
		script_cpu(fuzz.cpu);
		break;
	case 10:
		fuzz_grace_period(arg);
		break;
	case 11:
		unit_rounds(1 + arg % 4);
		break;
	case 12:
		fuzz_reader(arg);
		break;
	case 13:
		fuzz_fail(arg);
		break;
	case 14:
		fuzz.nested = arg;
		script_interrupt(SCRIPT_ANY, 1 + op / 16, fuzz_nested, NULL);
		break;
	case 15:
		fuzz_destroy(arg);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t i;

	/* cmocka's assertions, outside a test of its own. */
	setenv("CMOCKA_TEST_ABORT", "1", 1);
	unit_begin();
	memset(&fuzz, 0, sizeof(fuzz));
	script_nr_cpus(NR_CPUS);
	fuzz.ma[NARROW] = unit_ma(16, false);
	fuzz.ma[WIDE] = unit_own_ma(200, false);
	fuzz.ma[EVERY_SIZE] = unit_ma(0, false);
	fuzz.ma[PERCPU] = unit_ma(24, true);
	for (i = 0; i + 1 < size && i < 2 * MAX_OPS; i += 2)
		fuzz_op(data[i], data[i + 1]);
	fuzz_calm();
	unit_end();
	return 0;
}

#ifndef FUZZ_LIBFUZZER
static uint8_t input[2 * MAX_OPS];

int main(int argc, char **argv)
{
	size_t size;
	FILE *f;
	int i;

	for (i = 1; i < argc; i++) {
		f = fopen(argv[i], "rb");
		if (!f) {
			perror(argv[i]);
			return 1;
		}
		size = fread(input, 1, sizeof(input), f);
		fclose(f);
		LLVMFuzzerTestOneInput(input, size);
	}
	printf("ok: %d sequences\n", argc - 1);
	return argc < 2;
}
#endif
