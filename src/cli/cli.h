/*
 * What the commands of `larder` share: how a command is declared, its arguments, and its complaints. One file per command;
 * main.c has the table of them.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>

#define CLI_WRONG_USE 2 /* exit status; 1 is for what failed */

struct cli {
    const char *state_dir; /* as it was given */
    const struct cli_command *command;
};

struct cli_command {
    const char *name;
    const char *arguments;                                  /* behind the name, as the usage line has them */
    const char *help;                                       /* lines without indentation; the first one says it all */
    int (*run)(const struct cli *c, int argc, char **argv); /* the words behind the name; returns the exit status */
};

extern const struct cli_command cli_backup, cli_dns, cli_doctor, cli_env, cli_rotate_key, cli_run, cli_sign_in,
    cli_status;

/* An option of a command: either a flag, or one with a value. */
struct cli_option {
    const char *name; /* without the hyphens */
    bool *flag;
    const char **value;
};

/* Takes "--name", "--name VALUE" and "--name=VALUE" out of the arguments, wherever they stand before "--"; what remains,
 * between `least` and `most` words, is moved to the front of argv. Returns their number, or -1 after it has said what is
 * wrong. */
int cli_arguments(const struct cli *c, const struct cli_option *options, size_t n, int argc, char **argv, int least,
                  int most);

/* A line on standard error, "larder: " before it. Returns the exit status 1. */
int cli_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* The same with the command's usage behind it. Returns CLI_WRONG_USE. */
int cli_misused(const struct cli *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
