/* The manifest's text and its invariants; see aof_manifest.h. Words are split by the rules of redis.conf. */
#include "engine/persist/aof_manifest.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "engine/server/config_words.h"

/* ---- entries ----------------------------------------------------------------------------------------------------- */

static unsigned rank(enum aof_type type)
{
    return type == AOF_TYPE_BASE ? 0 : type == AOF_TYPE_HISTORY ? 1 : 2;
}

static const char *check_name(struct view name)
{
    if (name.n == 0)
        return "the file has no name";
    if (memchr(name.p, '/', name.n) != NULL || view_equal(name, VIEW(".")) || view_equal(name, VIEW("..")))
        return "the file's name is a path";
    for (size_t i = 0; i < name.n; i++)
        if (name.p[i] == '\0')
            return "the file's name has a NUL byte";
    return NULL;
}

static void put_line(struct buf *out, struct view name, int64_t seq, enum aof_type type)
{
    buf_put(out, LIT("file "));
    config_words_put(out, name);
    buf_printf(out, " seq %lld type %c\n", (long long)seq, (char)type);
}

static bool fits_line(struct view name, int64_t seq, enum aof_type type)
{
    struct buf line = {0};
    bool fits;

    put_line(&line, name, seq, type);
    fits = line.len <= AOF_MANIFEST_LINE_MAX + 1;
    buf_free(&line);
    return fits;
}

/* Everything but that no name comes twice. */
static const char *add(struct aof_manifest *m, struct view name, int64_t seq, enum aof_type type)
{
    const char *reason = check_name(name);
    size_t at = m->count;

    if (reason != NULL)
        return reason;
    if (seq <= 0)
        return "the sequence is not above 0";
    if (type == AOF_TYPE_BASE && aof_manifest_base(m) != NULL)
        return "there is more than one base";
    if (type == AOF_TYPE_INCR && m->count > 0 && m->entries[m->count - 1].type == type &&
        seq <= m->entries[m->count - 1].seq)
        return "the sequences of the incremental files do not rise";
    if (!fits_line(name, seq, type))
        return "the line would be too long";
    if (m->count == m->cap) {
        m->cap = m->cap != 0 ? 2 * m->cap : 8;
        m->entries = mem_realloc(m->entries, m->cap * sizeof *m->entries);
    }
    while (at > 0 && rank(m->entries[at - 1].type) > rank(type))
        at--;
    memmove(&m->entries[at + 1], &m->entries[at], (m->count - at) * sizeof *m->entries);
    m->entries[at] = (struct aof_entry){mem_strndup(name.p, name.n), seq, type};
    m->count++;
    return NULL;
}

const char *aof_manifest_add(struct aof_manifest *m, struct view name, int64_t seq, enum aof_type type)
{
    for (size_t i = 0; i < m->count; i++)
        if (view_equal(view_str(m->entries[i].name), name))
            return "a file is named twice";
    return add(m, name, seq, type);
}

const struct aof_entry *aof_manifest_base(const struct aof_manifest *m)
{
    return m->count > 0 && m->entries[0].type == AOF_TYPE_BASE ? &m->entries[0] : NULL;
}

size_t aof_manifest_first_incr(const struct aof_manifest *m)
{
    size_t at = m->count;

    while (at > 0 && m->entries[at - 1].type == AOF_TYPE_INCR)
        at--;
    return at;
}

int64_t aof_manifest_last_seq(const struct aof_manifest *m, enum aof_type type)
{
    int64_t last = 0;

    for (size_t i = 0; i < m->count; i++)
        if ((m->entries[i].type == type || m->entries[i].type == AOF_TYPE_HISTORY) && m->entries[i].seq > last)
            last = m->entries[i].seq;
    return last;
}

void aof_manifest_retire(struct aof_manifest *m, int64_t seq)
{
    /* What is retired stands at the beginning of its kind, so the order of the entries stays as it must be. */
    for (size_t i = 0; i < m->count; i++)
        if (m->entries[i].type == AOF_TYPE_BASE || m->entries[i].seq < seq)
            m->entries[i].type = AOF_TYPE_HISTORY;
}

void aof_manifest_remove(struct aof_manifest *m, size_t at)
{
    mem_free(m->entries[at].name);
    m->count--;
    memmove(&m->entries[at], &m->entries[at + 1], (m->count - at) * sizeof *m->entries);
}

void aof_manifest_copy(struct aof_manifest *m, const struct aof_manifest *from)
{
    aof_manifest_free(m);
    if (from->count == 0)
        return;
    m->entries = mem_alloc(from->count * sizeof *m->entries);
    m->count = m->cap = from->count;
    for (size_t i = 0; i < from->count; i++) {
        m->entries[i] = from->entries[i];
        m->entries[i].name = mem_strndup(from->entries[i].name, strlen(from->entries[i].name));
    }
}

void aof_manifest_free(struct aof_manifest *m)
{
    for (size_t i = 0; i < m->count; i++)
        mem_free(m->entries[i].name);
    mem_free(m->entries);
    *m = (struct aof_manifest){0};
}

/* ---- text -------------------------------------------------------------------------------------------------------- */

void aof_manifest_format(const struct aof_manifest *m, struct buf *out)
{
    for (size_t i = 0; i < m->count; i++)
        put_line(out, view_str(m->entries[i].name), m->entries[i].seq, m->entries[i].type);
}

/* The values of a line, by key; NULL where the key is not there. */
struct fields {
    const struct view *file, *seq, *type;
};

static const char *find_fields(const struct config_words *words, struct fields *out)
{
    *out = (struct fields){0};
    if (words->n % 2 != 0)
        return "a key has no value";
    for (size_t i = 0; i < words->n; i += 2) {
        const struct view **field = view_is(words->v[i], "file")   ? &out->file
                                    : view_is(words->v[i], "seq")  ? &out->seq
                                    : view_is(words->v[i], "type") ? &out->type
                                                                   : NULL;
        if (field == NULL)
            continue;
        if (*field != NULL)
            return "a key comes twice";
        *field = &words->v[i + 1];
    }
    return out->file != NULL && out->seq != NULL && out->type != NULL ? NULL : "file, seq or type is missing";
}

static const char *parse_words(struct aof_manifest *m, const struct config_words *words)
{
    struct fields fields;
    const char *reason = find_fields(words, &fields);
    int64_t seq;

    if (reason != NULL)
        return reason;
    if (!num_parse_int(*fields.seq, &seq))
        return "the sequence is not a number";
    if (fields.type->n != 1 || memchr("bih", *fields.type->p, 3) == NULL)
        return "the type is none of b, i and h";
    return add(m, *fields.file, seq, (enum aof_type) * fields.type->p);
}

static const char *parse_line(struct aof_manifest *m, struct view line)
{
    struct config_words words;
    const char *reason;

    if (line.n > AOF_MANIFEST_LINE_MAX)
        return "the line is too long";
    if (line.n > 0 && line.p[0] == '#')
        return NULL;
    if (line.n > 0 && memchr(line.p, '\0', line.n) != NULL)
        return "the line has a NUL byte";
    if (!config_words_split(line, &words))
        return "the quotes are not balanced";
    reason = parse_words(m, &words);
    config_words_free(&words);
    return reason;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorted, because comparing each with each takes seconds when the text is as long as it may be. */
static bool has_name_twice(const struct aof_manifest *m)
{
    const char **names = mem_alloc((m->count + 1) * sizeof *names);
    bool twice = false;

    for (size_t i = 0; i < m->count; i++)
        names[i] = m->entries[i].name;
    qsort(names, m->count, sizeof *names, compare_names);
    for (size_t i = 1; i < m->count && !twice; i++)
        twice = strcmp(names[i - 1], names[i]) == 0;
    mem_free(names);
    return twice;
}

int aof_manifest_parse(struct aof_manifest *out, struct view text, struct aof_manifest_error *error)
{
    const char *p = text.p, *end = text.p + text.n;

    *out = (struct aof_manifest){0};
    *error = (struct aof_manifest_error){0};
    if (text.n == 0)
        error->reason = "the manifest is empty";
    else if (text.n > AOF_MANIFEST_MAX)
        error->reason = "the manifest is too big";
    while (error->reason == NULL && p < end) {
        const char *line_end = memchr(p, '\n', (size_t)(end - p));

        error->line++;
        /* A manifest that was cut must not pass for one with fewer files. A comment tells nothing, whole or not. */
        if (line_end == NULL && *p != '#') {
            error->reason = "the last line has no end";
            break;
        }
        if (line_end == NULL)
            line_end = end;
        error->reason = parse_line(out, view_of(p, (size_t)(line_end - p)));
        p = line_end < end ? line_end + 1 : end;
    }
    if (error->reason == NULL && has_name_twice(out))
        *error = (struct aof_manifest_error){0, "a file is named twice"};
    if (error->reason == NULL)
        return 0;
    aof_manifest_free(out);
    return -1;
}
