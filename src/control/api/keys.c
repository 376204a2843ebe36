/* Access keys: see keys.h. */
#include "control/api/keys.h"

#include <assert.h>
#include <string.h>

#include "base/random.h"
#include "control/api/session.h"
#include "control/auth/sigv4.h"
#include "control/state/secrets.h"

static struct secrets_place place_of(struct view id)
{
    return (struct secrets_place){VIEW("access_key"), id, VIEW("Secret")};
}

static bool find_session(const struct api *api, struct view access_key, struct sigv4_key *key)
{
    const struct session_key *s = sessions_find(api->sessions, access_key);

    if (!s)
        return false;
    *key = (struct sigv4_key){view_str(s->secret), view_str(s->token), s->end_ms / 1000};
    return true;
}

bool keys_find(void *arg, struct view access_key, struct sigv4_key *key)
{
    struct keys_finder *f = arg;
    const struct access_key *k = model_access_key(f->api->model, access_key);
    struct secrets_place place;

    if (!k)
        return find_session(f->api, access_key, key);
    place = place_of(k->id);
    buf_clear(&f->secret);
    if (secrets_unseal(f->api->secrets, &place, k->secret, &f->secret) != SECRETS_OK)
        return false;
    *key = (struct sigv4_key){.secret = buf_view(&f->secret), .token = VIEW("")};
    return true;
}

void keys_forget(struct keys_finder *f)
{
    secrets_wipe(&f->secret);
}

void keys_add(const struct api *api, struct txn *t, bool root, int64_t now_ms, struct view id, struct view secret)
{
    struct access_key *k = txn_add_access_key(t, id);
    struct secrets_place place = place_of(id);
    struct buf sealed = {0};
    enum secrets_status status = secrets_seal(api->secrets, &place, secret, &sealed);

    assert(status == SECRETS_OK);
    (void)status;
    k->id = txn_text(t, k, id);
    k->secret = txn_text(t, k, buf_view(&sealed));
    k->root = root;
    k->create_time = now_ms;
    buf_free(&sealed);
}

/* n characters of an alphabet of 2^bits, and a NUL. */
static void pick(char *out, size_t n, const char *alphabet, unsigned mask)
{
    unsigned char bytes[KEYS_SECRET];

    random_bytes(bytes, n);
    for (size_t i = 0; i < n; i++)
        out[i] = alphabet[bytes[i] & mask];
    out[n] = '\0';
}

void keys_random(char id[KEYS_ID + 1], char secret[KEYS_SECRET + 1], bool lasting)
{
    memcpy(id, lasting ? "AKIA" : "ASIA", 4);
    pick(id + 4, KEYS_ID - 4, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 31);
    pick(secret, KEYS_SECRET, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", 63);
}

void keys_make(const struct api *api, struct txn *t, bool root, int64_t now_ms, char id[KEYS_ID + 1],
               char secret[KEYS_SECRET + 1])
{
    keys_random(id, secret, true);
    keys_add(api, t, root, now_ms, view_str(id), view_str(secret));
}
