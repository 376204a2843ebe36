/*
 * larder run: a program for which the names of endpoints resolve, by a library that is preloaded into it (preload/names.c). The
 * library lies at ../lib/larder, seen from this program, in the build as well as where it is installed.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/service.h"

#define LIBRARY "lib/larder/liblarder-names.so"

static int find_library(char out[PATH_MAX])
{
    ssize_t n = readlink("/proc/self/exe", out, PATH_MAX - sizeof LIBRARY);

    if (n <= 0)
        return cli_fail("where larder is cannot be read: %s", strerror(errno));
    out[n] = '\0';
    for (int up = 0; up < 2; up++) {
        char *slash = strrchr(out, '/');
        if (slash)
            *slash = '\0';
    }
    strcat(out, "/" LIBRARY);
    if (access(out, R_OK) != 0)
        return cli_fail("%s: %s", out, strerror(errno));
    if (strpbrk(out, " :"))
        return cli_fail("%s: the dynamic linker preloads nothing whose path has a space or a colon", out);
    return 0;
}

static int run(const struct cli *c, int argc, char **argv)
{
    char library[PATH_MAX], preload[2 * PATH_MAX];
    const char *before = getenv("LD_PRELOAD");
    struct service s;
    int rc, error;

    if (argc > 0 && strcmp(argv[0], "--") == 0) {
        argv++;
        argc--;
    } else if (argc > 0 && argv[0][0] == '-') {
        return cli_misused(c, "there is no option %s", argv[0]);
    }
    if (argc == 0)
        return cli_misused(c, "a program is missing");
    rc = service_load(&s, c->state_dir);
    if (rc == 0)
        rc = find_library(library);
    if (rc != 0)
        return rc;
    if (snprintf(preload, sizeof preload, "%s%s%s", library, before && *before ? ":" : "", before ? before : "") >=
        (int)sizeof preload)
        return cli_fail("LD_PRELOAD is too long");
    setenv("LD_PRELOAD", preload, 1);
    setenv("LARDER_NAMES_SERVER", s.dns_address, 1);
    setenv("LARDER_NAMES_SUFFIX", s.dns_suffix, 1);
    execvp(argv[0], argv);
    error = errno;
    cli_fail("%s: %s", argv[0], strerror(error));
    return error == ENOENT ? 127 : 126;
}

const struct cli_command cli_run = {
    .name = "run",
    .arguments = "-- PROGRAM [ARGUMENT]...",
    .help =
        "runs a program in which the names of endpoints resolve, without any privilege\n"
        "It works for programs that are linked dynamically and resolve names through the C library. For others\n"
        "there are `larder dns install`, and larderd --addresses. It ends as the program does; with 127 when there\n"
        "is no such program, 126 when it cannot be run.\n",
    .run = run,
};
