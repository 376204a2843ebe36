/* Arguments and complaints: see cli.h. */
#include "cli/cli.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int cli_fail(const char *fmt, ...)
{
    va_list ap;

    fputs("larder: ", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    return 1;
}

int cli_misused(const struct cli *c, const char *fmt, ...)
{
    va_list ap;

    fprintf(stderr, "larder %s: ", c->command->name);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, "\nusage: larder [--state-dir DIR] %s%s%s\n", c->command->name, *c->command->arguments ? " " : "",
            c->command->arguments);
    return CLI_WRONG_USE;
}

static const struct cli_option *option_named(const struct cli_option *options, size_t n, const char *name,
                                             size_t length)
{
    for (size_t i = 0; i < n; i++)
        if (strlen(options[i].name) == length && memcmp(options[i].name, name, length) == 0)
            return &options[i];
    return NULL;
}

/* Takes the option at argv[*i]; *i is then at the last word of it. */
static int take(const struct cli *c, const struct cli_option *options, size_t n, int argc, char **argv, int *i)
{
    const char *name = argv[*i] + 2, *equals = strchr(name, '=');
    int length = (int)(equals ? equals - name : (ptrdiff_t)strlen(name));
    const struct cli_option *o = option_named(options, n, name, (size_t)length);

    if (!o)
        return cli_misused(c, "there is no option %s", argv[*i]);
    if (o->flag) {
        *o->flag = true;
        return equals ? cli_misused(c, "--%s takes no value", o->name) : 0;
    }
    if (!equals && *i + 1 == argc)
        return cli_misused(c, "--%s needs a value", o->name);
    *o->value = equals ? equals + 1 : argv[++*i];
    return 0;
}

int cli_arguments(const struct cli *c, const struct cli_option *options, size_t n, int argc, char **argv, int least,
                  int most)
{
    int words = 0;
    bool only_words = false;

    for (int i = 0; i < argc; i++) {
        if (!only_words && strcmp(argv[i], "--") == 0) {
            only_words = true;
        } else if (only_words || argv[i][0] != '-' || argv[i][1] == '\0') {
            argv[words++] = argv[i];
        } else if (argv[i][1] != '-') {
            cli_misused(c, "there is no option %s", argv[i]);
            return -1;
        } else if (take(c, options, n, argc, argv, &i) != 0) {
            return -1;
        }
    }
    if (words < least) {
        cli_misused(c, words == 0 ? "an argument is missing" : "an argument is missing behind %s",
                    argv[words - (words > 0)]);
        return -1;
    }
    if (words > most) {
        cli_misused(c, "%s is one argument too many", argv[most]);
        return -1;
    }
    return words;
}
