// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * main.c - the bma command: find the subcommand and run it
 */
#include "tool.h"

#include <stdio.h>
#include <string.h>

static const struct command *const commands[] = {
	&demo_command,
	&bench_command,
	&torture_command,
};

static enum exit_code print_help(void)
{
	printf("Usage: bma COMMAND [OPTION...]\n"
	       "\n"
	       "Try out and measure bma, Linux's BPF memory allocator for processes.\n"
	       "\n"
	       "Commands:\n");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		printf("  %-8s %s\n", commands[i]->name, commands[i]->summary);
	printf("  %-8s %s\n", "help", "show this text, or that of a command");
	printf("\n"
	       "Options:\n"
	       "  --help     show this text\n"
	       "  --version  show the version\n"
	       "\n"
	       "'bma COMMAND --help' shows a command's options; bma(1) has it all.\n");
	return EXIT_OK;
}

static enum exit_code print_version(void)
{
	printf("bma %s\n", BMA_VERSION);
	return EXIT_OK;
}

/* getopt and messages see "bma demo" where the user typed two words. */
static enum exit_code run_command(const struct command *command, int argc, char **argv)
{
	static char full_name[32];

	snprintf(full_name, sizeof(full_name), "bma %s", command->name);
	set_tool_name(full_name);
	argv[0] = full_name;
	return command->run(argc, argv);
}

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (!strcmp(name, commands[i]->name))
			return commands[i];
	}
	return NULL;
}

static enum exit_code help_on(int argc, char **argv)
{
	static char help_option[] = "--help";
	char *help_argv[] = { argv[0], help_option, NULL };
	const struct command *command;

	if (argc < 2)
		return print_help();
	command = find_command(argv[1]);
	if (!command)
		return usage_error("no such command: '%s'", argv[1]);
	return run_command(command, 2, help_argv);
}

static enum exit_code dispatch(int argc, char **argv)
{
	const struct command *command;

	if (argc < 2)
		return usage_error("a command is missing");
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
		return print_help();
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V"))
		return print_version();
	if (!strcmp(argv[1], "help"))
		return help_on(argc - 1, argv + 1);
	command = find_command(argv[1]);
	if (!command)
		return usage_error("no such command: '%s'", argv[1]);
	return run_command(command, argc - 1, argv + 1);
}

int main(int argc, char **argv)
{
	enum exit_code code = dispatch(argc, argv);

	/* A table that did not reach its reader is a failure, whatever it said. */
	if (fflush(stdout) || ferror(stdout)) {
		complain("cannot write to standard output");
		return code == EXIT_OK ? EXIT_FAILED : code;
	}
	return code;
}
