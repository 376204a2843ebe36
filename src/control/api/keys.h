/* Access keys: the root key, and those of sessions. */
#ifndef CONTROL_API_KEYS_H
#define CONTROL_API_KEYS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/view.h"
#include "control/api/call.h"

struct sigv4_key;

/* For one lookup: what is found lives here until keys_forget. */
struct keys_finder {
    const struct api *api;
    int64_t now_ms;
    struct buf secret;
};

/* A sigv4_lookup_fn; arg is a struct keys_finder. */
bool keys_find(void *arg, struct view access_key, struct sigv4_key *key);

/* Wipes what was found. */
void keys_forget(struct keys_finder *f);

#define KEYS_ID 20     /* characters of an access key id */
#define KEYS_SECRET 40 /* and of its secret */

/* Random texts as AWS's keys look, each with a NUL: of a lasting key, or of a session's. */
void keys_random(char id[KEYS_ID + 1], char secret[KEYS_SECRET + 1], bool lasting);

/* Makes a key as AWS's look, and gives both texts, each with a NUL. Within a transaction of the owner's. */
void keys_make(const struct api *api, struct txn *t, bool root, int64_t now_ms, char id[KEYS_ID + 1],
               char secret[KEYS_SECRET + 1]);

/* Adds a key that was given. */
void keys_add(const struct api *api, struct txn *t, bool root, int64_t now_ms, struct view id, struct view secret);

#endif
