/*
 * Reading configuration: files, standard input, the command line. All are lines of words; the command line is turned
 * into lines by Redis's rules, so that one reader serves them all. What is read takes effect at once in struct config,
 * a later line overriding an earlier one; lines of save add up.
 *
 * Errors are several lines of text for a person at a terminal. Lines that carry secrets are not repeated in them.
 */
#include "engine/server/config.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/server/config_table.h"
#include "engine/server/config_words.h"

#define INCLUDE_DEPTH_MAX 16
#define FILE_BYTES_MAX (16u << 20)
#define LINE_SHOWN_MAX 300
#define LOG_NAMES_MAX 1000 /* bytes of names in one line of the log */

/* Where lines come from, and where an error goes. */
struct source {
    struct config *config;
    const char *from; /* "the configuration file x, at line" */
    unsigned line;
    bool may_include;
    char *err;
    size_t err_size;
};

static struct view trim(struct view v)
{
    while (v.n != 0 && config_words_is_space(v.p[0])) {
        v.p++;
        v.n--;
    }
    while (v.n != 0 && config_words_is_space(v.p[v.n - 1]))
        v.n--;
    return v;
}

static bool carries_secret(struct view line)
{
    static const char *const names[] = {
        "requirepass",       "masterauth", "primaryauth", "user", "tls-key-file-pass", "tls-client-key-file-pass",
        "replication-secret"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (line.n >= strlen(names[i]) && view_equal_case(view_of(line.p, strlen(names[i])), view_str(names[i])))
            return true;
    return false;
}

static int fail(const struct source *s, struct view line, const char *reason)
{
    char shown[LINE_SHOWN_MAX];
    size_t n = 0;

    if (carries_secret(line)) {
        while (n < line.n && !config_words_is_space(line.p[n]))
            n++;
        snprintf(shown, sizeof shown, "%.*s ...", (int)n, line.p);
    } else {
        for (; n < line.n && n < sizeof shown - 1; n++)
            shown[n] = (unsigned char)line.p[n] < ' ' && line.p[n] != '\t' ? '?' : line.p[n];
        shown[n] = '\0';
    }
    snprintf(s->err, s->err_size, "*** FATAL CONFIG FILE ERROR (Larder) ***\nReading %s %u\n>>> '%s'\n%s", s->from,
             s->line, shown, reason);
    return -1;
}

/* ---- directives ---- */

static bool set_row(struct config *c, const struct config_row *row, const struct config_words *words,
                    struct config_reason *why)
{
    struct config_words inner;
    bool ok;

    /* save "900 1 300 10" is save 900 1 300 10. */
    if (!config_row_is_multi(row) || words->n != 2 || words->v[1].n == 0) {
        ok = config_row_set(c, row, words->v + 1, words->n - 1, true, why);
    } else if (config_words_split(words->v[1], &inner)) {
        ok = config_row_set(c, row, inner.v, inner.n, true, why);
        config_words_free(&inner);
    } else {
        ok = config_refuse(why, "Unbalanced quotes in configuration line");
    }
    if (ok)
        c->private->given[config_row_index(row)] = true;
    return ok;
}

static int load_file(struct source *parent, const char *path, struct config_reason *why);

static bool is_pattern(struct view v)
{
    for (size_t i = 0; i < v.n; i++)
        if (v.p[i] == '*' || v.p[i] == '?' || v.p[i] == '[')
            return true;
    return false;
}

/* 0; 1 with a reason for this line; -1 when a file below has already reported its error. */
static int include_files(struct source *s, struct view word, struct config_reason *why)
{
    char path[PATH_MAX];
    glob_t found;
    int rc = 0;

    if (!s->may_include)
        return config_refuse(why, "include is not possible here") + 1;
    if (word.n >= sizeof path || (word.n != 0 && memchr(word.p, '\0', word.n) != NULL))
        return config_refuse(why, "the path is too long") + 1;
    memcpy(path, word.p, word.n);
    path[word.n] = '\0';
    if (!is_pattern(word))
        return load_file(s, path, why);
    rc = glob(path, 0, NULL, &found);
    if (rc == GLOB_NOMATCH)
        return 0;
    if (rc != 0)
        return config_refuse(why, "can't search for config files") + 1;
    for (size_t i = 0; i < found.gl_pathc && rc == 0; i++)
        rc = load_file(s, found.gl_pathv[i], why);
    globfree(&found);
    return rc;
}

/* Directives that set no value. As include_files. */
static int run_directive(struct source *s, const struct config_words *words, struct config_reason *why)
{
    struct config_private *p = s->config->private;
    struct view name = words->v[0];

    if (view_is(name, "include") && words->n == 2)
        return include_files(s, words->v[1], why);
    if (view_is(name, "rename-command") && words->n == 3) {
        p->renames = true;
        return 0;
    }
    if (view_is(name, "user") && words->n >= 2) {
        p->users = true;
        return 0;
    }
    /* Redis itself has long ignored these two. */
    if ((view_is(name, "list-max-ziplist-entries") || view_is(name, "list-max-ziplist-value")) && words->n == 2)
        return 0;
    if (view_is(name, "loadmodule") || view_is(name, "loadmodule-ex"))
        return config_refuse(why, "Modules are not supported") + 1;
    if (view_is(name, "sentinel"))
        return config_refuse(why, "sentinel directive while not in sentinel mode") + 1;
    return config_refuse(why, "Bad directive or wrong number of arguments") + 1;
}

static int load_line(struct source *s, struct view line)
{
    const struct config_row *row;
    struct config_words words;
    struct config_reason why = {""};
    int rc;

    line = trim(line);
    if (line.n == 0 || line.p[0] == '#')
        return 0;
    if (!config_words_split(line, &words))
        return fail(s, line, "Unbalanced quotes in configuration line");
    row = words.n != 0 ? config_row_find(words.v[0]) : NULL;
    if (words.n == 0)
        rc = 0;
    else if (row != NULL)
        rc = set_row(s->config, row, &words, &why) ? 0 : 1;
    else
        rc = run_directive(s, &words, &why);
    config_words_free(&words);
    return rc > 0 ? fail(s, line, why.text) : rc;
}

static int load_lines(struct source *s, struct view text)
{
    while (text.n != 0) {
        const char *end = memchr(text.p, '\n', text.n);
        size_t n = end != NULL ? (size_t)(end - text.p) : text.n;

        s->line++;
        if (load_line(s, view_of(text.p, n)) != 0)
            return -1;
        n += end != NULL;
        text = view_of(text.p + n, text.n - n);
    }
    return 0;
}

/* ---- files ---- */

int config_read_file(const char *path, struct buf *out)
{
    int fd = strcmp(path, "-") == 0 ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC), rc = 0;

    if (fd < 0)
        return errno;
    while (rc == 0) {
        ssize_t n;

        buf_reserve(out, 16384);
        n = read(fd, out->p + out->len, 16384);
        if (n == 0)
            break;
        if (n > 0)
            out->len += (size_t)n;
        else if (errno != EINTR)
            rc = errno;
        if (buf_live(out) > FILE_BYTES_MAX)
            rc = EFBIG;
    }
    if (fd != STDIN_FILENO)
        close(fd);
    return rc;
}

/* As include_files. */
static int load_file(struct source *parent, const char *path, struct config_reason *why)
{
    char from[PATH_MAX + 64];
    struct source s = *parent;
    struct buf text = {0};
    int rc;

    if (s.config->private->depth >= INCLUDE_DEPTH_MAX)
        return config_refuse(why, "files include each other too deeply") + 1;
    if ((rc = config_read_file(path, &text)) != 0) {
        buf_free(&text);
        return config_refuse(why, "can't open config file '%.100s': %s", path, strerror(rc)) + 1;
    }
    if (strcmp(path, "-") == 0)
        snprintf(from, sizeof from, "the configuration from standard input, at line");
    else
        snprintf(from, sizeof from, "the configuration file %s, at line", path);
    s.from = from;
    s.line = 0;
    s.config->private->depth++;
    rc = load_lines(&s, config_text(&text));
    s.config->private->depth--;
    buf_free(&text);
    return rc;
}

static void remember_path(struct config *c, const char *path)
{
    char absolute[PATH_MAX * 2], cwd[PATH_MAX];

    if (path[0] == '/' || getcwd(cwd, sizeof cwd) == NULL)
        snprintf(absolute, sizeof absolute, "%s", path);
    else
        snprintf(absolute, sizeof absolute, "%s/%s", cwd, path);
    mem_free(c->private->path);
    c->private->path = mem_strndup(absolute, strlen(absolute));
}

int config_load_file(struct config *c, const char *path, char *err, size_t err_size)
{
    struct source s = {.config = c, .may_include = true, .err = err, .err_size = err_size};
    struct config_reason why = {""};
    int rc = load_file(&s, path, &why);

    if (rc > 0)
        snprintf(err, err_size, "Fatal error, %s", why.text);
    if (rc != 0)
        return -1;
    if (strcmp(path, "-") != 0)
        remember_path(c, path);
    return 0;
}

int config_load_text(struct config *c, struct view text, const char *name, char *err, size_t err_size)
{
    char from[PATH_MAX + 64];
    struct source s = {.config = c, .from = from, .err = err, .err_size = err_size};

    snprintf(from, sizeof from, "the configuration file %s, at line", name);
    return load_lines(&s, text);
}

/* ---- the command line ---- */

static bool is_option(const char *arg)
{
    return arg[0] == '-' && arg[1] == '-';
}

/* Starts a line with the option in argv[j]. Does it still want a value? What follows an option's name is a value even
 * when it begins with "--", except that a lone --save means no saves. */
static bool start_option(struct buf *line, int argc, char **argv, int j)
{
    struct config_words words;
    bool alone;

    buf_put(line, argv[j] + 2, strlen(argv[j] + 2));
    buf_put_char(line, ' ');
    alone = config_words_split(view_str(argv[j]), &words) && words.n == 1;
    config_words_free(&words);
    if (!alone)
        return false; /* "--port 6380" in one argument */
    if (view_is(view_str(argv[j]), "--save") && (j == argc - 1 || is_option(argv[j + 1]))) {
        buf_put(line, LIT("\"\""));
        return false;
    }
    return true;
}

int config_load_args(struct config *c, int argc, char **argv, int first, char *err, size_t err_size)
{
    struct source s = {
        .config = c, .from = "the command line, at option", .may_include = true, .err = err, .err_size = err_size};
    bool wants_value = false;
    struct buf line = {0};
    int rc = 0;

    for (int j = first; j < argc && rc == 0; j++) {
        if (is_option(argv[j]) && !wants_value) {
            rc = load_line(&s, config_text(&line));
            buf_clear(&line);
            s.line++;
            wants_value = start_option(&line, argc, argv, j);
        } else {
            config_words_quote(&line, view_str(argv[j]));
            buf_put_char(&line, ' ');
            wants_value = false;
        }
    }
    if (rc == 0)
        rc = load_line(&s, config_text(&line));
    buf_free(&line);
    return rc;
}

/* ---- what was read in vain ---- */

static bool is_initial(const struct config *c, const struct config_row *row)
{
    struct buf text = {0};
    bool same;

    config_row_get(c, row, &text);
    same = view_equal(config_text(&text), view_str(c->private->initial[config_row_index(row)]));
    buf_free(&text);
    return same;
}

static void warn(const char *name)
{
    log_warning("WARNING: '%s' has no effect: this server does not do what it asks for", name);
}

static void log_names(struct buf *names)
{
    if (buf_live(names) != 0)
        log_notice("Directives accepted without effect:%.*s", (int)buf_live(names), buf_head(names));
    buf_clear(names);
}

void config_log_ignored(const struct config *c)
{
    struct buf names = {0};

    for (size_t i = 0; i < config_row_count(); i++) {
        const struct config_row *row = &config_rows()[i];

        if (!c->private->given[i] || row->field != ROW_NO_FIELD || (row->flags & ROW_BY_NAME))
            continue;
        if ((row->flags & ROW_LOUD) && !is_initial(c, row)) {
            warn(row->name);
            continue;
        }
        if (buf_live(&names) > LOG_NAMES_MAX)
            log_names(&names);
        buf_printf(&names, " %s", row->name);
    }
    log_names(&names);
    if (c->private->users)
        warn("user");
    if (c->private->renames)
        warn("rename-command");
    buf_free(&names);
}
