/*
 * The root access key: one of the model's, which the service also writes into the file `credentials` of its state directory,
 * for people's tools. The model is what counts; the file is written again at every start.
 */
#ifndef CONTROL_DAEMON_ROOT_KEY_H
#define CONTROL_DAEMON_ROOT_KEY_H

#include <limits.h>

#define ROOT_KEY_MAX 129 /* bytes of a key's id, and of its secret, with the NUL */
#define ROOT_KEY_ERROR_MAX (PATH_MAX + 256)

struct access_key;
struct api;
struct model;
struct txn;

/* The root key's record, or NULL. */
const struct access_key *root_key_find(const struct model *m);

/* Reads a key that is given as a file of two words. Returns 0; or -1 with a line for people in `error`. */
int root_key_read(const char *path, char id[ROOT_KEY_MAX], char secret[ROOT_KEY_MAX], char error[ROOT_KEY_ERROR_MAX]);

/* Puts that key, or a new one when `id` is NULL, in the place of the present root key, within the transaction. */
void root_key_replace(const struct api *api, struct txn *t, const char *id, const char *secret);

/* Writes `credentials`, mode 0600, in the format that AWS's tools read. Returns 0; or -1 with a line in `error`. */
int root_key_publish(const struct api *api, const char *state_dir, char error[ROOT_KEY_ERROR_MAX]);

#endif
