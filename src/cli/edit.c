/* Changes of system files: see edit.h. */
#include "cli/edit.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "cli/cli.h"

#define FILES_MAX 4
#define COMMANDS_MAX 2
#define FILE_MAX (8 << 20)

struct change {
    char path[PATH_MAX];
    bool existed, removed;
    struct buf before, after;
};

struct edit {
    const char *root;
    struct change files[FILES_MAX];
    unsigned count;
    const char *const *commands[COMMANDS_MAX];
    unsigned command_count;
    char path[PATH_MAX];
};

struct edit *edit_new(const char *root)
{
    struct edit *e = mem_zalloc(sizeof *e);

    e->root = root;
    return e;
}

void edit_free(struct edit *e)
{
    if (!e)
        return;
    for (unsigned i = 0; i < e->count; i++) {
        buf_free(&e->files[i].before);
        buf_free(&e->files[i].after);
    }
    mem_free(e);
}

const char *edit_path(struct edit *e, const char *path)
{
    if (snprintf(e->path, sizeof e->path, "%s%s", e->root, path) >= (int)sizeof e->path)
        exit(cli_fail("%s%s: the path is too long", e->root, path));
    return e->path;
}

bool edit_read(struct edit *e, const char *path, struct buf *out)
{
    int rc = file_read_all(edit_path(e, path), FILE_MAX, out);

    if (rc != 0 && rc != -ENOENT && rc != -ENOTDIR)
        exit(cli_fail("%s: %s", e->path, strerror(-rc)));
    return rc == 0;
}

void edit_file(struct edit *e, const char *path, struct view text)
{
    struct change *c = &e->files[e->count];

    *c = (struct change){0};
    c->existed = edit_read(e, path, &c->before);
    c->removed = text.p == NULL;
    strcpy(c->path, e->path);
    buf_put_view(&c->after, text);
    if (c->existed == !c->removed && view_equal(buf_view(&c->before), text)) {
        buf_free(&c->before);
        buf_free(&c->after);
        return;
    }
    e->count++;
}

void edit_command(struct edit *e, const char *const *words)
{
    e->commands[e->command_count++] = words;
}

bool edit_is_empty(const struct edit *e)
{
    return e->count == 0;
}

static void print_lines(struct view v, char sign)
{
    while (v.n > 0) {
        const char *end = memchr(v.p, '\n', v.n);
        size_t n = end ? (size_t)(end - v.p) : v.n;
        printf("  %c %.*s\n", sign, (int)n, v.p);
        n += end != NULL;
        v = view_of(v.p + n, v.n - n);
    }
}

/* Whole lines that both begin with; then that both end with. */
static void cut_common(struct view *a, struct view *b)
{
    size_t same = 0, n = a->n < b->n ? a->n : b->n;

    for (size_t i = 0; i < n && a->p[i] == b->p[i]; i++)
        if (a->p[i] == '\n')
            same = i + 1;
    *a = view_of(a->p + same, a->n - same);
    *b = view_of(b->p + same, b->n - same);
    n = a->n < b->n ? a->n : b->n;
    same = 0;
    for (size_t i = 0; i < n && a->p[a->n - 1 - i] == b->p[b->n - 1 - i]; i++)
        if (i + 1 == n || a->p[a->n - 2 - i] == '\n')
            same = i + 1;
    a->n -= same;
    b->n -= same;
}

void edit_show(const struct edit *e)
{
    for (unsigned i = 0; i < e->count; i++) {
        const struct change *c = &e->files[i];
        struct view before = buf_view(&c->before), after = buf_view(&c->after);
        printf("%s%s\n", c->path, !c->existed ? " (a new file)" : c->removed ? " (is removed)" : "");
        if (before.n > 0 && after.n > 0)
            cut_common(&before, &after);
        print_lines(before, '-');
        print_lines(after, '+');
    }
    for (unsigned i = 0; i < e->command_count; i++) {
        fputs(*e->root ? "not run below --root:" : "and then:", stdout);
        for (const char *const *word = e->commands[i]; *word; word++)
            printf(" %s", *word);
        putchar('\n');
    }
}

/* The file that a name leads to is what is replaced; one that is a mount point of its own, as containers have /etc/hosts,
 * cannot be replaced, and is written in place. */
static int write_file(const struct change *c)
{
    struct view text = buf_view(&c->after);
    char path[PATH_MAX];
    int rc, fd;

    if (!realpath(c->path, path))
        strcpy(path, c->path);
    rc = file_write_all(path, text.p, text.n, NULL);
    if (rc != -EBUSY)
        return rc;
    rc = file_create(path, &fd);
    if (rc == 0)
        rc = file_write(fd, text.p, text.n);
    if (rc == 0)
        rc = file_sync(fd);
    file_close(fd);
    return rc;
}

static int make_file(const struct change *c)
{
    char parent[PATH_MAX];
    int rc = 0;

    if (c->removed)
        return file_remove(c->path);
    strcpy(parent, c->path);
    for (char *slash = strchr(parent + 1, '/'); slash && rc == 0; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (access(parent, F_OK) != 0)
            rc = file_make_directory(parent);
        *slash = '/';
    }
    return rc == 0 ? write_file(c) : rc;
}

static int run(const char *const *words)
{
    pid_t child = fork();
    int status = 0;

    if (child == 0) {
        execvp(words[0], (char *const *)(uintptr_t)words);
        _exit(127);
    }
    if (child < 0 || waitpid(child, &status, 0) < 0)
        return cli_fail("%s: %s", words[0], strerror(errno));
    return status == 0 ? 0 : cli_fail("%s %s failed", words[0], words[1]);
}

int edit_make(struct edit *e)
{
    int rc;

    umask(022);
    for (unsigned i = 0; i < e->count; i++) {
        rc = make_file(&e->files[i]);
        if (rc != 0)
            return cli_fail("%s: %s%s", e->files[i].path, strerror(-rc),
                            rc == -EACCES ? "; as root (sudo) it works" : "");
    }
    for (unsigned i = 0; i < e->command_count && *e->root == '\0'; i++)
        if (run(e->commands[i]) != 0)
            return 1;
    return 0;
}
