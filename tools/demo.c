// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * demo.c - `bma demo`: count the words of real files, with bma and with malloc + call_rcu
 */
#define _GNU_SOURCE
#include "demo.h"
#include "child.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#define DEFAULT_PLOT "bma-demo.png"

/* Without --rounds the text is counted so often that two CPUs take a few seconds. */
#define DEFAULT_UPDATES 10000000u
#define MAX_ROUNDS 1000000000u

struct demo_options {
	unsigned long threads;
	unsigned long readers;
	unsigned long rounds; /* 0: as DEFAULT_UPDATES says */
	const char *plot; /* NULL: none */
	char *const *files;
	size_t nr_files;
};

enum parsed {
	PARSED,
	PARSED_HELP,
	PARSED_WRONG,
};

static const struct option long_options[] = {
	{ "threads", required_argument, NULL, 't' },
	{ "readers", required_argument, NULL, 'r' },
	{ "rounds", required_argument, NULL, 'n' },
	{ "plot", required_argument, NULL, 'p' },
	{ "no-plot", no_argument, NULL, 'P' },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

static enum exit_code print_help(void)
{
	printf("Usage: bma demo [OPTION...] [FILE...]\n"
	       "\n"
	       "Count the words of FILEs in a table that readers search without a lock; each\n"
	       "count is a read-copy-update whose node comes from bma.  Then do the same with\n"
	       "malloc + call_rcu, and compare.\n"
	       "'-' is standard input.  Without a FILE, the licence texts that Debian has.\n"
	       "\n"
	       "  --threads N   threads that count (default: the CPUs, here %u)\n"
	       "  --readers N   threads that look words up meanwhile (default: half as many)\n"
	       "  --rounds N    count the text N times (default: about %u million words in all)\n"
	       "  --plot FILE   draw memory over time into this PNG (default: %s)\n"
	       "  --no-plot     draw nothing\n"
	       "  --help        show this text\n",
	       usable_cpus(), DEFAULT_UPDATES / 1000000, DEFAULT_PLOT);
	return EXIT_OK;
}

static enum parsed parse_option(struct demo_options *options, int option)
{
	int err = 0;

	switch (option) {
	case 't':
		err = parse_count("--threads", optarg, 1, MAX_THREADS, &options->threads);
		break;
	case 'r':
		err = parse_count("--readers", optarg, 0, MAX_THREADS, &options->readers);
		break;
	case 'n':
		err = parse_count("--rounds", optarg, 1, MAX_ROUNDS, &options->rounds);
		break;
	case 'p':
		options->plot = optarg;
		break;
	case 'P':
		options->plot = NULL;
		break;
	case 'h':
		return PARSED_HELP;
	default:
		return PARSED_WRONG;
	}
	return err ? PARSED_WRONG : PARSED;
}

static enum parsed parse(struct demo_options *options, int argc, char **argv)
{
	enum parsed parsed = PARSED;
	int option;

	*options = (struct demo_options){
		.threads = usable_cpus(),
		.readers = MAX_THREADS + 1,
		.plot = DEFAULT_PLOT,
	};
	while (parsed == PARSED &&
	       (option = getopt_long(argc, argv, "h", long_options, NULL)) != -1)
		parsed = parse_option(options, option);
	if (options->threads > MAX_THREADS)
		options->threads = MAX_THREADS;
	if (options->readers > MAX_THREADS)
		options->readers = (options->threads + 1) / 2;
	options->files = argv + optind;
	options->nr_files = (size_t)(argc - optind);
	return parsed;
}

/* Read the text and count it once, with one thread and nothing clever. */
static int prepare(struct demo_work *work, const struct demo_options *options)
{
	if (corpus_read(&work->corpus, options->files, options->nr_files))
		return -1;
	if (tally_words(&work->expected, &work->corpus)) {
		complain("no memory for the words");
		corpus_free(&work->corpus);
		return -1;
	}
	work->threads = options->threads;
	work->readers = options->readers;
	work->rounds = options->rounds;
	if (work->expected.total)
		return 0;
	complain("there is no word in the text");
	tally_free(&work->expected);
	corpus_free(&work->corpus);
	return -1;
}

static const char *plural(size_t nr)
{
	return nr == 1 ? "" : "s";
}

/* Say what is done, and choose the rounds if nobody did. */
static void describe(struct demo_work *work)
{
	bool chosen = work->rounds;

	if (!chosen)
		work->rounds = (DEFAULT_UPDATES - 1) / work->expected.total + 1;
	printf("%zu file%s of %.1f KiB: %llu word%s, %zu distinct; ", work->corpus.nr_files,
	       plural(work->corpus.nr_files), (double)work->corpus.bytes / 1024,
	       (unsigned long long)work->expected.total, plural(work->expected.total),
	       work->expected.nr);
	printf("%lu updating thread%s, %lu reading\n", work->threads, plural(work->threads),
	       work->readers);
	printf("The text is counted %lu time%s over%s.\n\n", work->rounds, plural(work->rounds),
	       chosen ? "" : ", so that a run takes a few seconds");
	fflush(stdout);
}

/* In a column 12 wide. */
static void print_rate(uint64_t events, double seconds)
{
	double rate = (double)events / seconds;

	if (!events)
		printf("  %12s", "-");
	else if (rate < 1e6)
		printf("  %10.2f k", rate / 1e3);
	else
		printf("  %10.2f M", rate / 1e6);
}

static void print_row(const struct demo_run *run)
{
	const struct demo_result *r = run->result;

	printf("%-18s", run->name);
	print_rate(r->updates, r->update_seconds);
	print_rate(r->reads, r->read_seconds);
	printf("  %10.2f MiB  %8.2f MiB", (double)r->log.limbo_peak / (1 << 20),
	       (double)r->log.rss_peak / (1 << 20));
	if (run->how->counts_grace_periods)
		printf("  %13llu\n", (unsigned long long)r->grace_periods);
	else
		printf("  %13s\n", "-");
}

static void print_table(const struct demo_run *runs, size_t nr)
{
	printf("%-18s  %12s  %12s  %14s  %12s  %13s\n", "", "updates/s", "reads/s", "peak in limbo",
	       "peak RSS", "grace periods");
	for (size_t i = 0; i < nr; i++)
		print_row(&runs[i]);
	printf("\nAll totals are those of a single-threaded count");
	printf(runs[0].work->readers ? ", and no reader saw a torn node.\n" : ".\n");
}

static enum exit_code run_all(const struct demo_run *runs, size_t nr)
{
	for (size_t i = 0; i < nr; i++) {
		if (run_in_child(runs[i].name, demo_run, (void *)&runs[i]) != EXIT_OK) {
			complain("the %s run failed", runs[i].name);
			return EXIT_FAILED;
		}
	}
	print_table(runs, nr);
	return EXIT_OK;
}

/* Without gnuplot the table is still a result. */
static enum exit_code draw(const char *path, const struct demo_run *runs, size_t nr)
{
	fflush(stdout);
	switch (demo_plot(path, runs, nr)) {
	case GNUPLOT_DREW:
		printf("Memory over time is drawn in %s.\n", path);
		return EXIT_OK;
	case GNUPLOT_MISSING:
		return EXIT_OK;
	default:
		return EXIT_FAILED;
	}
}

static enum exit_code race(const struct demo_work *work, const char *plot)
{
	struct demo_result *results = shared_alloc(2 * sizeof(*results));
	const struct demo_run runs[] = {
		{ "bma", &bma_free_rcu_contestant, work, results },
		{ "malloc + call_rcu", &malloc_call_rcu_contestant, work, results + 1 },
	};
	enum exit_code code;

	if (!results)
		return EXIT_FAILED;
	code = run_all(runs, ARRAY_SIZE(runs));
	if (code == EXIT_OK && plot)
		code = draw(plot, runs, ARRAY_SIZE(runs));
	shared_free(results, 2 * sizeof(*results));
	return code;
}

static enum exit_code demo(int argc, char **argv)
{
	struct demo_options options;
	struct demo_work work;
	enum exit_code code;

	switch (parse(&options, argc, argv)) {
	case PARSED_HELP:
		return print_help();
	case PARSED_WRONG:
		fprintf(stderr, "Try 'bma demo --help'.\n");
		return EXIT_USAGE;
	case PARSED:
		break;
	}
	if (prepare(&work, &options))
		return EXIT_FAILED;
	describe(&work);
	code = race(&work, options.plot);
	tally_free(&work.expected);
	corpus_free(&work.corpus);
	return code;
}

const struct command demo_command = {
	.name = "demo",
	.summary = "count the words of real files, with bma and with malloc + call_rcu",
	.run = demo,
};
