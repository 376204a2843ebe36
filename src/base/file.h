/*
 * Files that outlive a crash: writing whole, syncing, and replacing a file in one step. Every function that can fail
 * returns 0 or a negative errno value; none aborts, and errno itself means nothing afterwards.
 *
 * A file is replaced by writing another one beside it (file_temp_path, file_create, file_write, file_sync) and giving
 * that one the name (file_replace). Whoever looks, before or after a crash, finds the old file or the new one, whole.
 */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"

/* The place of a temporary file for `path`: in the same directory, the last part of the name with "temp-" before it.
 * -ENAMETOOLONG when that does not fit. */
int file_temp_path(char out[PATH_MAX], const char *path);

/* Makes an empty file, or empties the one there is, for writing; mode 0644 less the umask. *fd is the caller's to
 * close, and -1 after an error; so with all of these. */
int file_create(const char *path, int *fd);

/* Makes a file that is only appended to (O_APPEND); -EEXIST when there is one. */
int file_create_append(const char *path, int *fd);

/* Opens what there is, for reading or for appending. */
int file_open(const char *path, int *fd);
int file_open_append(const char *path, int *fd);

/* Closes; a negative fd is accepted. What must be on disk was synced before: the result of close(2) tells nobody. */
void file_close(int fd);

/* Writes all n bytes. After an error some of them may be written: the caller knows where it was, and cuts there. */
int file_write(int fd, const void *p, size_t n);

/* Up to n bytes from the descriptor's place; their number, 0 at the end, or a negative errno value. */
ssize_t file_read(int fd, void *p, size_t n);

/* Appends the whole file to *out; -EFBIG when it has more than `limit` bytes. On error *out is as it was. */
int file_read_all(const char *path, size_t limit, struct buf *out);

/* Waits until the file, or only its data and size, is on disk. After an error nobody knows what of the data since the
 * last sync is there: trying again proves nothing (https://lwn.net/Articles/752063/). */
int file_sync(int fd);
int file_sync_data(int fd);

/* Has the kernel begin to write those n bytes out, so that a sync later finds little to do. Promises nothing, and tells of
 * no error: the sync does. */
void file_write_out(int fd, uint64_t offset, size_t n);

/* So many at a time: few, since the kernel queues them in one go and has the core for itself meanwhile; for 32 MiB that was
 * 2 ms in which nobody else ran. */
#define FILE_WRITE_OUT ((size_t)1 << 20)

/* The same for a file or directory by name, whoever wrote it. */
int file_sync_path(const char *path);

/* Makes the names in the directory of `path` durable. */
int file_sync_parent(const char *path);

/* Gives `from` the name `to`, over what had it; both in one file system. Durable after file_sync_parent of both. */
int file_rename(const char *from, const char *to);

/* file_rename within a directory, durable. When it is only the directory's sync that failed, *renamed is true all the
 * same: the new file is what everybody sees, but perhaps not after a crash. renamed may be NULL. */
int file_replace(const char *from, const char *to, bool *renamed);

/* Writes n bytes as the file `path`, durably, over a temporary file. *renamed as above. */
int file_write_all(const char *path, const void *p, size_t n, bool *renamed);

/* Removes a file; one that is not there is fine. */
int file_remove(const char *path);

/* Bytes in a regular file; -ENOENT when there is none, -EISDIR and the like when it is something else. */
int file_size(const char *path, int64_t *size);

/* Makes a directory (mode 0755 less the umask) unless there is one; durable. */
int file_make_directory(const char *path);

/* Cuts or extends an open file; file_truncate by name, and durable. */
int file_resize(int fd, int64_t size);
int file_truncate(const char *path, int64_t size);

/* Tests: the steps of this thread that change or sync something fail with -error from the n-th on (0: the very next),
 * `times` of them, or all when times is negative; a write then does half of its work. All failing is what a crash looks
 * like from the disk. Negative n switches it off. Returns how many steps there were since the last call. */
unsigned file_fail_after(int n, int times, int error);

#endif
