/*
 * The manifest of an append-only file: which files it consists of, in Redis 7's text form. One line a file:
 *
 *     file appendonly.aof.1.base.rdb seq 1 type b
 *
 * in any order of the pairs, the words case-insensitive, a name in quotes where it needs them; '#' in the first column
 * is a comment. Pairs with other keys are skipped, as Redis does: later versions of it write some.
 *
 * Invariants of a manifest in memory: one base at most; the sequences of the incremental files rise strictly; no name
 * twice, none with '/'; the entries stand in the order of the text: base, history, incremental files.
 *
 * Stricter than Redis 7.0 on purpose, because none of this is ever written and guessing costs data: a key twice in a
 * line, a type or a number with something behind it, a name twice (as history it would have a file deleted that is in
 * use).
 */
#ifndef PERSIST_AOF_MANIFEST_H
#define PERSIST_AOF_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/view.h"

#define AOF_MANIFEST_MAX ((size_t)1 << 20) /* bytes of text; Redis has no limit but that of a line */
#define AOF_MANIFEST_LINE_MAX 1023         /* bytes of a line without its end: Redis reads no longer ones */

enum aof_type {
    AOF_TYPE_BASE = 'b',
    AOF_TYPE_INCR = 'i',
    AOF_TYPE_HISTORY = 'h', /* no longer part of the data, to be deleted */
};

struct aof_entry {
    char *name;  /* below the directory of the append-only file */
    int64_t seq; /* from 1 */
    enum aof_type type;
};

/* All zero is an empty manifest. */
struct aof_manifest {
    struct aof_entry *entries;
    size_t count, cap;
};

/* Where and why a text is no manifest. */
struct aof_manifest_error {
    unsigned line; /* from 1; 0 when it is about the whole */
    const char *reason;
};

/* Parses a whole text into *out, which is overwritten. 0, or -1 with *out empty and *error filled. */
int aof_manifest_parse(struct aof_manifest *out, struct view text, struct aof_manifest_error *error);

/* Appends the text. */
void aof_manifest_format(const struct aof_manifest *m, struct buf *out);

/* Adds a file; NULL, or why it cannot be in this manifest, which is then unchanged. */
const char *aof_manifest_add(struct aof_manifest *m, struct view name, int64_t seq, enum aof_type type);

/* The base, or NULL; the incremental files are the entries from aof_manifest_first_incr on. */
const struct aof_entry *aof_manifest_base(const struct aof_manifest *m);
size_t aof_manifest_first_incr(const struct aof_manifest *m);

/* The highest sequence of this type or of history, whose files may still be there, base or not; 0 without any. */
int64_t aof_manifest_last_seq(const struct aof_manifest *m, enum aof_type type);

/* Makes history of the base and of the incremental files with sequences below seq. */
void aof_manifest_retire(struct aof_manifest *m, int64_t seq);

/* Drops the entry at this place. */
void aof_manifest_remove(struct aof_manifest *m, size_t at);

/* The manifest becomes a copy of `from`; what it held is freed. */
void aof_manifest_copy(struct aof_manifest *m, const struct aof_manifest *from);

void aof_manifest_free(struct aof_manifest *m);

#endif
