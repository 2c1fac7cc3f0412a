// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * bench_linux.c - load the programs of linux.bpf.c, and time them
 *
 * The program and an empty loop take turns until the time is over; what the loop takes is
 * subtracted.  Needs root, or what else lets bpf() be called, and a kernel that has bpf_obj_new();
 * the row says what is not there.
 *
 * The build defines BMA_HAVE_BPF where it could compile the programs and has libbpf.
 */
#define _GNU_SOURCE
#include "bench_linux.h"

#include <math.h>

const struct linux_work linux_objects = { .program = "objects_" };
const struct linux_work linux_map = { .program = "map_changes" };

#ifdef BMA_HAVE_BPF

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#include "linux_bpf.h"
#include <linux_object.h> /* the build makes it of linux.bpf.c */

struct timing {
	double ns, cpu_ns, loops;
};

static uint64_t thread_cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static int say_nothing(enum libbpf_print_level level, const char *format, va_list args)
{
	(void)level;
	(void)format;
	(void)args;
	return 0;
}

/* The program of a run; NULL if there is none of that size. */
static const char *program_name(const struct bench_run *run)
{
	const struct linux_work *work = run->who->how;
	static char name[32];

	if (work != &linux_objects)
		return run->params.size <= 2048 ? work->program : NULL;
#define IF_SIZE(bytes)                                                                             \
	if (run->params.size == (bytes)) {                                                         \
		snprintf(name, sizeof(name), "%s%d", work->program, bytes);                        \
		return name;                                                                       \
	}
	LINUX_EACH_SIZE(IF_SIZE)
	return NULL;
}

/* Run a program once; 0 or a negative error number. */
static int run_program(const struct bpf_program *program, struct timing *timing)
{
	unsigned char packet[64] = { 0 };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet, .data_size_in = sizeof(packet));
	uint64_t start_ns = now_ns(), start_cpu_ns = thread_cpu_ns();
	int err = bpf_prog_test_run_opts(bpf_program__fd(program), &opts);

	timing->ns += (double)(now_ns() - start_ns);
	timing->cpu_ns += (double)(thread_cpu_ns() - start_cpu_ns);
	timing->loops += opts.retval;
	return err;
}

static enum exit_code time_programs(const struct bench_run *run, const struct bpf_program *program,
				    const struct bpf_program *empty)
{
	struct timing whole = { 0 }, loop = { 0 };
	double *values = run->result->values;
	uint64_t start_ns = now_ns();

	do {
		int err = run_program(program, &whole);

		if (!err)
			err = run_program(empty, &loop);
		if (err)
			return bench_cannot(run, "cannot run a BPF program: %s", strerror(-err));
	} while (seconds_since(start_ns) < run->params.seconds);
	if (!whole.loops || !loop.loops)
		return bench_cannot(run, "the kernel's allocator returned nothing");
	values[0] = whole.ns / whole.loops - loop.ns / loop.loops;
	values[1] = whole.cpu_ns / whole.loops - loop.cpu_ns / loop.loops;
	values[2] = values[3] = NAN;
	return EXIT_OK;
}

/* Only what is run is loaded: the map needs no bpf_obj_new(), and the other no map. */
static int load(struct bpf_object *object, const char *name, unsigned long size)
{
	struct bpf_map *map = bpf_object__find_map_by_name(object, "map");
	struct bpf_program *program;

	bpf_object__for_each_program(program, object)
	{
		const char *its = bpf_program__name(program);

		bpf_program__set_autoload(program, !strcmp(its, name) || !strcmp(its, "empty"));
	}
	if (bpf_map__set_value_size(map, (uint32_t)size))
		return -EINVAL;
	return bpf_object__load(object);
}

static enum exit_code run_loaded(const struct bench_run *run, struct bpf_object *object,
				 const char *name)
{
	int err = load(object, name, run->params.size);

	if (err == -EPERM || err == -EACCES)
		return bench_cannot(run, "this machine does not let us load BPF programs: %s",
				    strerror(-err));
	if (err)
		return bench_cannot(run, "this kernel does not take the BPF program: %s",
				    strerror(-err));
	return time_programs(run, bpf_object__find_program_by_name(object, name),
			     bpf_object__find_program_by_name(object, "empty"));
}

enum exit_code linux_run(const struct bench_run *run)
{
	const char *name = program_name(run);
	struct bpf_object *object;
	enum exit_code code;

	if (run->at->n)
		return bench_cannot(run, "there is no reader of ours in the kernel");
	if (!name)
		return bench_cannot(run, "there is no BPF program for objects of %lu bytes",
				    run->params.size);
	libbpf_set_print(say_nothing);
	object = bpf_object__open_mem(linux_object, sizeof(linux_object), NULL);
	if (!object)
		return bench_cannot(run, "libbpf does not take the BPF program: %s",
				    strerror(errno));
	code = run_loaded(run, object, name);
	bpf_object__close(object);
	return code;
}

#else

/* Never called, as LINUX_MISSING says why not. */
enum exit_code linux_run(const struct bench_run *run)
{
	return bench_cannot(run, "%s", LINUX_MISSING);
}

#endif
