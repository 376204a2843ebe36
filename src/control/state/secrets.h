/*
 * Secrets at rest: passwords and keys that the service has to give out again, and so cannot hash, are sealed before they
 * go into a record. The key is a file of its own beside the store, so that copies of the store leak nothing.
 *
 * A sealed secret is bound to its place, the record and the field that it belongs to: whoever can change the store cannot
 * move a secret to where it would be given to somebody else.
 *
 * The form: AES-256-GCM (NIST SP 800-38D) with a random nonce; base64 (RFC 4648) of
 *     1 byte version (1), 12 bytes nonce, ciphertext, 16 bytes tag
 * The place is the additional data. The length of a secret shows.
 */
#ifndef CONTROL_STATE_SECRETS_H
#define CONTROL_STATE_SECRETS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/view.h"

#define SECRETS_ERROR_MAX 512   /* bytes of an error's text, its NUL included */
#define SECRETS_PLAIN_MAX 65536 /* bytes of one secret */
#define SECRETS_PLACE_MAX 2048  /* bytes of a place's three texts together */

enum secrets_status {
    SECRETS_OK,
    SECRETS_FAILED,  /* the key file: see the text */
    SECRETS_TOO_BIG, /* the secret or the texts of its place */
    SECRETS_INVALID, /* nothing that was sealed here, or cut */
    SECRETS_DENIED,  /* sealed with another key or for another place, or changed since */
};

struct secrets;

/* Where a secret belongs. */
struct secrets_place {
    struct view kind, id; /* of the record */
    struct view field;
};

/* Reads the key file: 32 bytes, a regular file of the process's user that nobody else may read or write. When there is
 * none, one with a random key is made, durably, mode 0600, and *created (may be NULL) is true: a key that is made while the
 * store has sealed secrets opens none of them. After an error *out is NULL, and `error` has a text with the path in it. */
enum secrets_status secrets_open(const char *path, struct secrets **out, bool *created, char error[SECRETS_ERROR_MAX]);

/* Wipes the key. Accepts NULL. */
void secrets_close(struct secrets *s);

/* Appends the sealed form of `plain` to *out. On an error *out is as it was. */
enum secrets_status secrets_seal(const struct secrets *s, const struct secrets_place *place, struct view plain,
                                 struct buf *out);

/* Appends the secret to *out; on an error *out is as it was. The caller wipes it (secrets_wipe) when it is done. */
enum secrets_status secrets_unseal(const struct secrets *s, const struct secrets_place *place, struct view sealed,
                                   struct buf *out);

/* Overwrites all memory of the buffer and frees it. */
void secrets_wipe(struct buf *b);

#endif
