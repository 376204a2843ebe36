/* The root access key: see root_key.h. */
#include "control/daemon/root_key.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "control/api/keys.h"
#include "control/auth/sigv4.h"
#include "control/state/secrets.h"

#define FILE_MAX 4096

const struct access_key *root_key_find(const struct model *m)
{
    for (size_t i = 0; i < model_count(m, MODEL_ACCESS_KEY); i++)
        if (model_access_key_at(m, i)->root)
            return model_access_key_at(m, i);
    return NULL;
}

int root_key_read(const char *path, char id[ROOT_KEY_MAX], char secret[ROOT_KEY_MAX], char error[ROOT_KEY_ERROR_MAX])
{
    struct buf text = {0};
    int rc = file_read_all(path, FILE_MAX, &text);

    if (rc == 0) {
        buf_put_char(&text, '\0');
        rc = sscanf(text.p, "%128s %128s", id, secret) == 2 ? 0 : -EINVAL;
    }
    secrets_wipe(&text);
    if (rc == 0)
        return 0;
    snprintf(error, ROOT_KEY_ERROR_MAX, "%s: an access key's id and its secret are expected: %s", path, strerror(-rc));
    return -1;
}

void root_key_replace(const struct api *api, struct txn *t, const char *id, const char *secret)
{
    const struct access_key *old = root_key_find(api->model);
    char new_id[KEYS_ID + 1], new_secret[KEYS_SECRET + 1];

    if (old)
        txn_remove(t, MODEL_ACCESS_KEY, old->id);
    if (id) {
        keys_add(api, t, true, clock_wall_ms(), view_str(id), view_str(secret));
        return;
    }
    keys_make(api, t, true, clock_wall_ms(), new_id, new_secret);
    explicit_bzero(new_secret, sizeof new_secret);
}

int root_key_publish(const struct api *api, const char *state_dir, char error[ROOT_KEY_ERROR_MAX])
{
    const struct access_key *k = root_key_find(api->model);
    struct keys_finder finder = {.api = api, .now_ms = clock_wall_ms()};
    struct sigv4_key key;
    struct buf text = {0};
    char path[PATH_MAX];
    mode_t before;
    int rc;

    if (!k || !keys_find(&finder, k->id, &key)) {
        keys_forget(&finder);
        snprintf(error, ROOT_KEY_ERROR_MAX, "the root key cannot be read");
        return -1;
    }
    buf_printf(&text, "[default]\naws_access_key_id = %.*s\naws_secret_access_key = %.*s\n", CALL_TEXT(k->id),
               CALL_TEXT(key.secret));
    keys_forget(&finder);
    snprintf(path, sizeof path, "%s/credentials", state_dir);
    before = umask(077);
    rc = file_write_all(path, text.p, buf_live(&text), NULL);
    umask(before);
    secrets_wipe(&text);
    if (rc == 0)
        return 0;
    snprintf(error, ROOT_KEY_ERROR_MAX, "%s cannot be written: %s", path, strerror(-rc));
    return -1;
}
