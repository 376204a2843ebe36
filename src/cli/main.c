/*
 * larder: the command line tool of people who run a service. It finds the service by its state directory, and needs neither
 * configuration nor the AWS tools.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

#define VERSION "0.1.0"

static const char intro[] =
    "usage: larder [--state-dir DIR] COMMAND [ARGUMENT]...\n"
    "\n"
    "For those who run a larderd: points tools at it, shows what it runs, finds what is wrong with it.\n"
    "\n"
    "  --state-dir DIR  the service's state directory ($LARDER_STATE_DIR, else ./var)\n"
    "  --version\n"
    "  --help           this; larder COMMAND --help tells of one command\n";

static const struct cli_command *const commands[] = {
    &cli_env, &cli_status, &cli_doctor, &cli_dns, &cli_run, &cli_backup, &cli_rotate_key, &cli_sign_in,
};

#define COMMANDS (sizeof commands / sizeof *commands)

/* A command and its text, indented. */
static void print_command(const struct cli_command *c, const char *indent)
{
    printf("%s%s%s%s\n", indent, c->name, *c->arguments ? " " : "", c->arguments);
    for (const char *line = c->help; *line != '\0';) {
        size_t n = strcspn(line, "\n");
        printf(n > 0 ? "%s    %.*s\n" : "\n", n > 0 ? indent : "", (int)n, line);
        line += n + (line[n] == '\n');
    }
}

static int print_help(void)
{
    fputs(intro, stdout);
    for (size_t i = 0; i < COMMANDS; i++) {
        putchar('\n');
        print_command(commands[i], "  ");
    }
    puts("\nExit status: 0; 1 when something failed or is wrong; 2 for wrong use. run ends as its program does.");
    return 0;
}

static const struct cli_command *command_named(const char *name)
{
    for (size_t i = 0; i < COMMANDS; i++)
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    return NULL;
}

static int misused(const char *what, const char *word)
{
    fprintf(stderr, "larder: %s%s\ncommands: ", what, word);
    for (size_t i = 0; i < COMMANDS; i++)
        fprintf(stderr, "%s%s", commands[i]->name, i + 1 < COMMANDS ? ", " : "; larder --help tells of them\n");
    return CLI_WRONG_USE;
}

/* Is one of the words "--help", before those that are for another program? */
static bool asks_for_help(int argc, char **argv)
{
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    return false;
}

static int run(struct cli *c, int argc, char **argv)
{
    c->command = command_named(argv[0]);
    if (!c->command)
        return misused("there is no command ", argv[0]);
    if (asks_for_help(argc - 1, argv + 1) && (c->command != &cli_run || argv[1][0] == '-')) {
        fputs("usage: larder [--state-dir DIR] ", stdout);
        print_command(c->command, "");
        return 0;
    }
    return c->command->run(c, argc - 1, argv + 1);
}

int main(int argc, char **argv)
{
    const char *given = getenv("LARDER_STATE_DIR");
    struct cli c = {.state_dir = given && *given ? given : "var"};

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return print_help();
        if (strcmp(argv[i], "--version") == 0) {
            puts("larder " VERSION);
            return 0;
        }
        if (strncmp(argv[i], "--state-dir=", 12) == 0)
            c.state_dir = argv[i] + 12;
        else if (strcmp(argv[i], "--state-dir") == 0 && i + 1 < argc)
            c.state_dir = argv[++i];
        else if (strcmp(argv[i], "--state-dir") == 0)
            return misused("--state-dir needs a value", "");
        else if (argv[i][0] == '-')
            return misused("there is no option ", argv[i]);
        else
            return run(&c, argc - i, argv + i);
    }
    return misused("a command is missing", "");
}
