/*
 * A change of text files of the system, as a whole: first all of it is worked out, then it is shown, then made. With a root
 * directory, which stands for "/", nothing outside of it is touched.
 */
#ifndef CLI_EDIT_H
#define CLI_EDIT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/view.h"

struct edit;

/* A change without files yet. `root` is "" for the system's own. It stays where it is. */
struct edit *edit_new(const char *root);
void edit_free(struct edit *e);

/* The path of a system's file below the root, which lives as long as the change. */
const char *edit_path(struct edit *e, const char *path);

/* Reads a file of the system; false, and *out empty, when there is none. Aborts the program when it cannot be read. */
bool edit_read(struct edit *e, const char *path, struct buf *out);

/* Has the file become `text`, or go away when text.p is NULL. A file that has that text already is no change. */
void edit_file(struct edit *e, const char *path, struct view text);

/* Has a program run when the files are written: words, NULL behind the last. It is not run below a root. */
void edit_command(struct edit *e, const char *const *words);

/* Is there anything to do? */
bool edit_is_empty(const struct edit *e);

/* Prints what will change: of each file the lines that differ, and the commands. */
void edit_show(const struct edit *e);

/* Makes the change; each file whole or not at all. Returns 0, or the exit status 1 after it has said what failed. */
int edit_make(struct edit *e);

#endif
