/*
 * The files of an append-only file, as Redis 7 keeps them: in a directory of their own a base, incremental files, and a
 * manifest that names them (aof_manifest.h). What the manifest names is the data; the manifest only ever changes as a
 * whole, by replacing it. So a crash, wherever it comes, leaves the state before a step or the one behind it.
 *
 *     <dir>/<dirname>/<filename>.manifest
 *                     <filename>.<seq>.base.rdb    or .base.aof
 *                     <filename>.<seq>.incr.aof
 *                     temp-<filename>.manifest     of use to nobody after a crash, and removed by aof_files_open
 *                     temp-<filename>.base
 *                     temp-<filename>.incr
 *
 * A rewrite takes three steps, and what a crash between them leaves is all of the data:
 *
 *     begin   a new incremental file is made, and the manifest names it too: base, incr 1, incr 2
 *     (the caller appends to incr 2, and writes into temp-<filename>.base what base and incr 1 come to)
 *     commit  the temporary base gets its name; the manifest becomes: new base, incr 2, the old ones as history
 *             the history is deleted; the manifest becomes: new base, incr 2
 *
 * When the append-only file is switched on while running, its first incremental file means nothing without the base. So
 * there it stays under a temporary name, too, and the manifest names neither before both are whole: a crash in between
 * leaves what was there before, never half an append-only file.
 *
 * One thread at a time. Functions return 0 or a negative errno value, and then aof_files_error says more. After an
 * error the state in memory is as before the call, and so is the one on disk, with two exceptions: empty files that
 * nothing names; and when it was the last sync of a manifest's directory that failed, and putting the old manifest back
 * failed as well, the disk may have the state behind the call. Both states are whole then, nothing of either is deleted
 * and the next manifest that gets to the disk settles it. A commit that fails may have given files their names already.
 *
 * Differences from Redis: temporary bases live in the same directory, so that one sync makes a rename durable; the
 * incremental file that a new one follows is synced before; an incremental file that nothing names, but that has
 * contents, is left alone and its sequence skipped (Redis empties it, or appends to it).
 */
#ifndef PERSIST_AOF_FILES_H
#define PERSIST_AOF_FILES_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct aof_files;

/* Reads the manifest, removes what a crash left, and deletes history. No directory, or nothing in it, is fine: there is
 * nothing to load, then, and the directory comes with the first file. On error *out is NULL and `err` says why. */
int aof_files_open(struct aof_files **out, const char *dir, const char *dirname, const char *filename, char *err,
                   size_t err_size);

/* Before loading: moves an append-only file of the old kind (<dir>/<filename>, from before Redis 7) in as the base, and
 * checks that all files are there. Not called when the data does not come from here. */
int aof_files_prepare(struct aof_files *f);

/* Aborts a rewrite that is under way. Accepts NULL. */
void aof_files_free(struct aof_files *f);

/* Why the last call failed, or what it could not do though it succeeded (a file that could not be deleted); else "". */
const char *aof_files_error(const struct aof_files *f);

/* A file to load. is_last: nothing of what follows has contents, so that an unfinished command at its end may be cut
 * off (with file_truncate). For all others that is damage: something that came later is there. */
struct aof_part {
    char path[PATH_MAX];
    int64_t size;
    bool is_base, is_rdb, is_last; /* is_rdb: it begins as an RDB does; commands may follow that */
};

/* The parts in the order of loading: 0, 1, ... until false. Reads sizes and first bytes anew; a file that is not there
 * any more has size -1. */
bool aof_files_part(const struct aof_files *f, size_t number, struct aof_part *out);

/* Bytes of the base when it was found or made; 0 without one. */
int64_t aof_files_base_size(const struct aof_files *f);

/* How many incremental files the manifest names: rewrites that fail, over and over, make more of them. */
size_t aof_files_incr_count(const struct aof_files *f);

/* Opens the last incremental file to go on appending, -ENOENT when there is none. The caller closes *fd. */
int aof_files_open_incr(struct aof_files *f, int *fd);

/* Adds the next incremental file. Everything must be written to the one before, which is synced here; its descriptor
 * stays open, and is the caller's like the new one (O_APPEND). */
int aof_files_start_incr(struct aof_files *f, int *fd);

/* Begins a rewrite; *fd is the new incremental file. aof_files_temp_base is where the base goes. */
int aof_files_begin_rewrite(struct aof_files *f, bool base_is_rdb, int *fd);

/* Begins an append-only file that replaces what there is, which nothing is appended to any more: the one when it is
 * switched on, at the start as while running. */
int aof_files_begin_first(struct aof_files *f, bool base_is_rdb, int *fd);

/* Has a rewrite begun, by either of the two? */
bool aof_files_rewriting(const struct aof_files *f);

/* Where to write the base of the rewrite that is under way. */
const char *aof_files_temp_base(const struct aof_files *f);

/* The base is written, and is put in place. On error the rewrite is still under way: to be tried again or aborted. The
 * incremental file's descriptor stays what it was. */
int aof_files_commit_rewrite(struct aof_files *f);

/* Gives the rewrite up. Its incremental file stays, unless it was begun by aof_files_begin_first: then it is removed.
 * Nothing happens without a rewrite. */
void aof_files_abort_rewrite(struct aof_files *f);

#endif
