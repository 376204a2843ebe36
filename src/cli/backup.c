/*
 * larder backup: a copy of the service's state. larderd makes it and hands it over as an open file; it is written here, with
 * the rights of who asked, and whole or not at all.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/service.h"

#define CHUNK (1 << 20)

static int copy_all(int from, int to)
{
    char *chunk = mem_alloc(CHUNK);
    ssize_t n;
    int rc = 0;

    while (rc == 0 && (n = file_read(from, chunk, CHUNK)) != 0)
        rc = n < 0 ? (int)n : file_write(to, chunk, (size_t)n);
    mem_free(chunk);
    return rc;
}

static int write_copy(int from, const char *path)
{
    char temp[PATH_MAX];
    int to = -1, rc = file_temp_path(temp, path);

    if (rc != 0)
        return rc;
    umask(077);
    rc = file_create(temp, &to);
    if (rc != 0)
        return rc;
    rc = copy_all(from, to);
    if (rc == 0)
        rc = file_sync(to);
    if (rc == 0)
        rc = file_replace(temp, path, NULL);
    file_close(to);
    if (rc != 0)
        file_remove(temp);
    return rc;
}

static int run(const struct cli *c, int argc, char **argv)
{
    bool force = false;
    const struct cli_option options[] = {{"force", &force, NULL}};
    json_t *answer;
    int fd = -1, rc;
    struct stat st;

    if (cli_arguments(c, options, 1, argc, argv, 1, 1) < 0)
        return CLI_WRONG_USE;
    if (!force && lstat(argv[0], &st) == 0)
        return cli_fail("%s is there already; --force replaces it", argv[0]);
    rc = service_ask(c->state_dir, "backup", &answer, &fd);
    if (rc != 0)
        return rc;
    json_decref(answer);
    if (fd < 0)
        return cli_fail("larderd handed no copy over");
    rc = write_copy(fd, argv[0]);
    close(fd);
    if (rc != 0)
        return cli_fail("%s cannot be written: %s", argv[0], strerror(-rc));
    printf("The state is in %s. Keep secret.key of the state directory too, in another place.\n", argv[0]);
    return 0;
}

const struct cli_command cli_backup = {
    .name = "backup",
    .arguments = "FILE [--force]",
    .help = "writes a consistent copy of the service's state to FILE, while it goes on\n"
            "The state is what the API knows; the data of the caches is not in it. Passwords in it are sealed with\n"
            "secret.key: without that file they cannot be read. To restore, stop larderd, put FILE into the state\n"
            "directory as state.db (with secret.key beside it), remove state.db-wal, and start larderd.\n",
    .run = run,
};
