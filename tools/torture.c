// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * torture.c - `bma torture`: everything at once, at random, until something breaks
 *
 * In the manner of Linux's rcutorture.  For each kind of readers (own: bma's own; trace: its sleepable
 * ones; and liburcu's memb, mb, qsbr and bp) there is an allocator, and an array of pointers to
 * elements.  Updaters put new elements in the place of old ones and free these with free_rcu; readers
 * hold elements for a while and verify that what they hold stays what it was.  Disturbers send
 * signals whose handlers do the same, move threads between CPUs, stay inside sections, start threads
 * that end at once, fork, make and destroy allocators, set limits, wait for grace periods, and race.
 * Calls of the system fail.
 *
 * How to read the output.
 *
 *	torture: seed 42, 60 s; 1 updaters and 1 readers of each kind: own trace memb mb qsbr bp
 *
 *   is what runs.  The same seed gives every thread the same random numbers; how threads meet is the
 *   machine's choice, so a failure comes back often, not always.  A phase is a part of the time in a
 *   process of its own; in the second one the system refuses membarrier().
 *
 *	    10 s: 1 updates, 2 own objects, 3 sections, 4 grace periods, 5 refusals
 *
 *   comes each ten seconds.  Own objects are those that no reader sees, allocated and freed.  A
 *   refusal is an allocation that returned NULL because of a limit, or of an mmap() made to fail.
 *
 *	Reader Pipe:            0          1     2     3 ...
 *	  own             4711222       1893     0     0
 *
 *   has, for each kind, how many elements readers held at a section's end, by age: published still
 *   (0), unlinked meanwhile (1), unlinked so long ago that one grace period (2), two (3) and so on
 *   that began later have ended.  From 2 on it is a failure: that grace period did not wait for the
 *   reader.
 *
 *	FAILURE: memory reused under a reader: 3 times, first: kind own, slot 5: 0x7f..., ...
 *
 *   names each kind of failure once.  The run ends with the first failure, and more are of the
 *   moment after it; the one with the most to say is mostly the earliest in this list:
 *     memory reused     a reader's element got another owner: free_rcu or a grace period was early
 *     a grace period ago  the same, before the memory was reused
 *     contents changed  somebody wrote what is not his: two owners, or reuse
 *     of no allocator   memory left its allocator under a reader, sleepable ones above all
 *     unmapped          the same, further on; or bma's own structures are broken
 *     two owners        an object was handed out twice: a magazine, a stack, a span
 *     freed by others   the same, seen at the free
 *     no progress       updates, sections or grace periods of a kind stand still (--hang)
 *     left, or lost     at the end not everything came back
 *   The last line is the verdict.  The exit status is 0 if there was no failure, else 1.
 *
 * Found by it: scripts/torture-fail breaks the library in several ways, and sees each found.
 */
#define _GNU_SOURCE
#include "torture.h"

#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MAX_OF_A_KIND 64
#define MAX_DISTURBERS 16
#define MAX_SIZE 65536

enum { OPTION_DISTURBER = 256, OPTION_PHASE = OPTION_DISTURBER + NR_DISTURBERS };

static const struct option long_options[] = {
	{ "duration", required_argument, NULL, 'd' },
	{ "seed", required_argument, NULL, 's' },
	{ "kinds", required_argument, NULL, 'k' },
	{ "updaters", required_argument, NULL, 'u' },
	{ "readers", required_argument, NULL, 'r' },
	{ "size", required_argument, NULL, 'b' },
	{ "only", required_argument, NULL, 'o' },
	{ "faults", required_argument, NULL, 'f' },
	{ "hang", required_argument, NULL, 'g' },
	{ "json", no_argument, NULL, 'j' },
	{ "help", no_argument, NULL, 'h' },
	{ "signals", required_argument, NULL, OPTION_DISTURBER + SIGNALS },
	{ "migrate", required_argument, NULL, OPTION_DISTURBER + MIGRATE },
	{ "stall", required_argument, NULL, OPTION_DISTURBER + STALL },
	{ "churn", required_argument, NULL, OPTION_DISTURBER + CHURN },
	{ "fork", required_argument, NULL, OPTION_DISTURBER + FORK },
	{ "allocators", required_argument, NULL, OPTION_DISTURBER + ALLOCATORS },
	{ "limits", required_argument, NULL, OPTION_DISTURBER + LIMITS },
	{ "wait", required_argument, NULL, OPTION_DISTURBER + WAIT },
	{ "sprint", required_argument, NULL, OPTION_DISTURBER + SPRINT },
	{ "phase", required_argument, NULL, OPTION_PHASE },
	{ NULL, 0, NULL, 0 },
};

static void print_help(void)
{
	printf("Usage: bma torture [OPTION...]\n"
	       "\n"
	       "Update, read and disturb at random, and verify that no reader ever holds memory that\n"
	       "was reused, changed or given back, that nothing hangs, and that nothing is lost.\n"
	       "\n"
	       "  --duration S   seconds (default: 60)\n"
	       "  --seed N       of all random numbers (default: another one each time)\n"
	       "  --kinds LIST   of readers: own,trace,memb,mb,qsbr,bp (default: all)\n"
	       "  --updaters N   threads of each kind that update (default: 1)\n"
	       "  --readers N    threads of each kind that read (default: 1)\n"
	       "  --size B       bytes of an element, %zu to %d (default: other ones for each kind)\n"
	       "  --faults LIST  calls that fail: mmap,thread,membarrier or none (default: all)\n"
	       "  --only LIST    of the disturbers below, or none (default: all)\n"
	       "  --hang S       what has not moved for so long hangs (default: 30)\n"
	       "  --json         print one JSON object\n"
	       "  --help         show this text\n"
	       "\n"
	       "Threads that disturb; each takes a number, 0 to %d (default: 1):\n"
	       "  --signals N    send signals whose handlers update and read\n"
	       "  --migrate N    move threads between CPUs\n"
	       "  --stall N      stay in read sections for long\n"
	       "  --churn N      start threads that end soon, some inside a section\n"
	       "  --fork N       fork\n"
	       "  --allocators N make allocators, and destroy them with readers inside\n"
	       "  --limits N     change limits of what may wait for readers\n"
	       "  --wait N       wait for grace periods, in every way, and for callbacks\n"
	       "  --sprint N     race without pause, two threads each\n",
	       MIN_SIZE, MAX_SIZE, MAX_DISTURBERS);
}

static int find_name(const char *const *names, int nr, const char *name, size_t length)
{
	for (int i = 0; i < nr; i++)
		if (strlen(names[i]) == length && !strncmp(names[i], name, length))
			return i;
	return -1;
}

/* Set @chosen to what @text names: "a,b", or "none". */
static int parse_list(const char *option, const char *text, const char *const *names, int nr,
		      bool *chosen)
{
	const char *list = text;
	size_t length;
	int i;

	memset(chosen, 0, (size_t)nr * sizeof(*chosen));
	if (!strcmp(text, "none"))
		return 0;
	for (;; list += length + 1) {
		length = strcspn(list, ",");
		i = find_name(names, nr, list, length);
		if (i < 0) {
			complain("%s does not know '%.*s'", option, (int)length, list);
			return -1;
		}
		chosen[i] = true;
		if (!list[length])
			return 0;
	}
}

static int parse_only(struct torture_params *p)
{
	bool chosen[NR_DISTURBERS];

	if (parse_list("--only", optarg, disturber_names, NR_DISTURBERS, chosen))
		return -1;
	for (int i = 0; i < NR_DISTURBERS; i++)
		p->disturbers[i] = chosen[i];
	return 0;
}

static int parse_kinds(struct torture_params *p)
{
	if (parse_list("--kinds", optarg, kind_names, NR_KINDS, p->kinds))
		return -1;
	if (!memchr(p->kinds, true, sizeof(p->kinds))) {
		complain("--kinds needs one at least");
		return -1;
	}
	return 0;
}

static int parse_disturber(struct torture_params *p, int option)
{
	char name[20];

	snprintf(name, sizeof(name), "--%s", disturber_names[option]);
	return parse_count(name, optarg, 0, MAX_DISTURBERS, &p->disturbers[option]);
}

static int parse_option(struct torture_params *p, int option)
{
	switch (option) {
	case 'd':
		return parse_seconds("--duration", optarg, 0.1, 1e7, &p->seconds);
	case 's':
		return parse_count("--seed", optarg, 0, ULONG_MAX, &p->seed);
	case 'k':
		return parse_kinds(p);
	case 'u':
		return parse_count("--updaters", optarg, 0, MAX_OF_A_KIND, &p->updaters);
	case 'r':
		return parse_count("--readers", optarg, 0, MAX_OF_A_KIND, &p->readers);
	case 'b':
		return parse_count("--size", optarg, MIN_SIZE, MAX_SIZE, &p->size);
	case 'o':
		return parse_only(p);
	case 'f':
		return parse_list("--faults", optarg, fault_names, NR_FAULTS, p->faults);
	case 'g':
		return parse_seconds("--hang", optarg, 1, 1e6, &p->hang_seconds);
	case 'j':
		p->json = true;
		return 0;
	case 'h':
		p->help = true;
		return 0;
	default:
		return option >= OPTION_DISTURBER ? parse_disturber(p, option - OPTION_DISTURBER) :
						    -1;
	}
}

static struct torture_params defaults(void)
{
	struct torture_params p = { .seconds = 60, .hang_seconds = 30, .updaters = 1, .readers = 1 };
	int i;

	/* Below a second of nanoseconds; the rest of 64 bits would be a burden to type. */
	p.seed = (now_ns() ^ (uint64_t)getpid()) % 1000000000;
	for (i = 0; i < NR_KINDS; i++)
		p.kinds[i] = true;
	for (i = 0; i < NR_DISTURBERS; i++)
		p.disturbers[i] = i != FORK || !TORTURE_TSAN;
	for (i = 0; i < NR_FAULTS; i++)
		p.faults[i] = true;
	return p;
}

static enum exit_code torture_main(int argc, char **argv)
{
	struct torture_params p = defaults();
	int option;

	while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		if (option == OPTION_PHASE)
			return torture_phase_on_fd(optarg);
		if (parse_option(&p, option)) {
			fprintf(stderr, "Try '%s --help'.\n", tool_name());
			return EXIT_USAGE;
		}
	}
	if (!p.help && optind < argc)
		return usage_error("what is '%s'?", argv[optind]);
	if (!p.help)
		return torture_watch(&p);
	print_help();
	return EXIT_OK;
}

const struct command torture_command = {
	.name = "torture",
	.summary = "update, read and disturb at random, and verify what readers see",
	.run = torture_main,
};
