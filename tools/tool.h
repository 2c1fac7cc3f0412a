/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * tool.h - what every part of the bma command shares: exit codes, messages, numbers, the clock
 */
#ifndef BMA_TOOL_H
#define BMA_TOOL_H

#include <stddef.h>
#include <stdint.h>

/* The build names the version it builds. */
#ifndef BMA_VERSION
#define BMA_VERSION "0.1.0"
#endif

enum exit_code {
	EXIT_OK = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
};

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define CACHE_LINE 64

#define MAX_THREADS 1024

/* A subcommand; @argv[0] is the name to show in messages ("bma demo"). */
struct command {
	const char *name;
	const char *summary;
	enum exit_code (*run)(int argc, char **argv);
};

extern const struct command demo_command;
extern const struct command bench_command;
extern const struct command torture_command;

/* The name that complain() puts first; kept, not copied. */
void set_tool_name(const char *name);
const char *tool_name(void);

/* One sentence on stderr, after the command's name; a progress line in the way is wiped. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* "TOOL: ...; try 'TOOL --help'", and the exit code for it. */
enum exit_code usage_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * Read the whole of @text as a number from @min to @max.  Return 0, or -1 after a message that
 * names @option.
 */
int parse_count(const char *option, const char *text, unsigned long min, unsigned long max,
		unsigned long *value);
int parse_seconds(const char *option, const char *text, double min, double max, double *value);

/* Monotonic time. */
uint64_t now_ns(void);
double seconds_since(uint64_t start_ns);

/* CPUs that this process may run on, and the @index-th of them (@index may be larger: it wraps). */
unsigned int usable_cpus(void);
unsigned int usable_cpu(unsigned int index);

/* A small fast generator for choosing keys (xorshift64*); @state is never 0. */
static inline uint64_t next_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1dULL;
}

#endif /* BMA_TOOL_H */
