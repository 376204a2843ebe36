/* Loading the data at start: the append-only file when there is one, else the snapshot. */
#ifndef REPL_LOAD_H
#define REPL_LOAD_H

#include <stdbool.h>
#include <stdint.h>

struct executor;

struct load_result {
    uint32_t stream_db; /* of the history that the data belongs to */
};

/* Loads, and says in the log what and how long, or why not: then it returns false, and the server must not serve. ex: of
 * the thread that it runs on. */
bool load_data(struct executor *ex, struct load_result *out);

#endif
