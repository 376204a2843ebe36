/* Outputs: see output.h. */
#include "engine/persist/output.h"

#include "base/buf.h"
#include "base/crc64.h"
#include "base/file.h"
#include "engine/persist/rdb_write.h"
#include "engine/persist/snapshot.h"
#include "engine/store/item.h"

#define STEP ((size_t)1 << 20) /* of a big value */

static int write_file(struct output *o, const void *p, size_t n)
{
    int rc = file_write(o->fd, p, n);

    for (; rc == 0 && o->bytes + n - o->written_out >= FILE_WRITE_OUT; o->written_out += FILE_WRITE_OUT)
        file_write_out(o->fd, o->written_out, FILE_WRITE_OUT);
    return rc;
}

void output_file(struct output *o, int fd, bool checksum)
{
    *o = (struct output){.write = write_file, .checksum = checksum, .fd = fd};
}

int output_put(struct output *o, struct view v)
{
    int rc;

    if (v.n == 0)
        return 0;
    if (o->checksum)
        o->crc = crc64(o->crc, v.p, v.n);
    rc = o->write(o, v.p, v.n);
    o->bytes += v.n;
    return rc;
}

/* A long string goes in steps; one that is to be compressed has to be made first. */
static int put_string(struct output *o, struct view v, bool compress)
{
    struct buf b = {0};
    int rc;

    if (compress) {
        rdb_put_string(&b, v, true);
        v = VIEW("");
    } else {
        rdb_put_length(&b, v.n);
    }
    rc = output_put(o, buf_view(&b));
    buf_free(&b);
    for (size_t n; rc == 0 && v.n > 0; v = view_of(v.p + n, v.n - n)) {
        n = v.n < STEP ? v.n : STEP;
        rc = output_put(o, view_of(v.p, n));
    }
    return rc;
}

int output_piece(struct output *o, const struct snapshot_piece *p, bool compress)
{
    int rc = output_put(o, buf_view(&p->bytes));

    if (rc == 0 && p->big)
        rc = put_string(o, view_of(p->big->bytes, p->big->len), compress);
    return rc;
}

int output_end(struct output *o)
{
    struct buf b = {0};
    int rc;

    rdb_put_end(&b);
    rc = output_put(o, buf_view(&b));
    buf_clear(&b);
    rdb_put_checksum(&b, o->checksum ? o->crc : 0);
    if (rc == 0)
        rc = o->write(o, b.p, buf_live(&b));
    buf_free(&b);
    return rc;
}
