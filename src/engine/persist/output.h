/* Where the bytes of a snapshot go: a file, or the connections of replicas. Sums up the checksum on the way. */
#ifndef PERSIST_OUTPUT_H
#define PERSIST_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/view.h"

struct blob;
struct snapshot_piece;

struct output {
    /* Takes all n bytes; 0 or a negative errno value. Called by one thread; may wait. */
    int (*write)(struct output *o, const void *p, size_t n);
    bool checksum;
    uint64_t crc, bytes;
    int fd;               /* of a file */
    uint64_t written_out; /* bytes of the file whose way to the disk has begun */
};

/* A file that is open for writing. What is written goes to the disk on the way, so that the end does not wait for all. */
void output_file(struct output *o, int fd, bool checksum);

int output_put(struct output *o, struct view v);

/* A piece of a snapshot; compress: as rdb_put_string has it. */
int output_piece(struct output *o, const struct snapshot_piece *p, bool compress);

/* The last opcode and the checksum. */
int output_end(struct output *o);

#endif
