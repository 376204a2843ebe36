/* Sessions: see session.h. */
#include "control/api/session.h"

#include <openssl/crypto.h>
#include <string.h>

#include "base/mem.h"
#include "base/random.h"
#include "control/api/keys.h"

struct code {
    char text[SESSION_CODE + 1];
    int64_t end_ms; /* 0: free */
};

struct sessions {
    struct session_key keys[SESSIONS_MAX]; /* end_ms 0: free */
    struct code codes[SESSION_CODES_MAX];
};

struct sessions *sessions_new(void)
{
    return mem_zalloc(sizeof(struct sessions));
}

void sessions_clear(struct sessions *s)
{
    explicit_bzero(s, sizeof *s);
}

void sessions_free(struct sessions *s)
{
    if (!s)
        return;
    sessions_clear(s);
    mem_free(s);
}

void sessions_make_code(struct sessions *s, int64_t now_ms, char out[SESSION_CODE + 1])
{
    struct code *c = &s->codes[0];

    for (unsigned i = 1; i < SESSION_CODES_MAX; i++)
        if (s->codes[i].end_ms < c->end_ms)
            c = &s->codes[i];
    random_hex(c->text, SESSION_CODE);
    c->end_ms = now_ms + SESSION_CODE_MS;
    memcpy(out, c->text, sizeof c->text);
}

/* Every code is compared, in constant time, so that time tells nothing about them. */
static struct code *find_code(struct sessions *s, struct view text)
{
    struct code *found = NULL;

    if (text.n != SESSION_CODE)
        return NULL;
    for (unsigned i = 0; i < SESSION_CODES_MAX; i++)
        if (CRYPTO_memcmp(s->codes[i].text, text.p, SESSION_CODE) == 0 && s->codes[i].end_ms != 0)
            found = &s->codes[i];
    return found;
}

enum session_result sessions_exchange(struct sessions *s, struct view code, int64_t now_ms, int64_t duration_ms,
                                      const struct session_key **out)
{
    struct code *c = find_code(s, code);
    struct session_key *k = &s->keys[0];
    bool in_time;

    *out = NULL;
    if (!c)
        return SESSION_UNKNOWN;
    in_time = now_ms < c->end_ms;
    explicit_bzero(c, sizeof *c);
    if (!in_time)
        return SESSION_EXPIRED;
    for (unsigned i = 1; i < SESSIONS_MAX; i++)
        if (s->keys[i].end_ms < k->end_ms)
            k = &s->keys[i];
    keys_random(k->id, k->secret, false);
    random_hex(k->token, SESSION_TOKEN);
    k->end_ms = now_ms + duration_ms;
    *out = k;
    return SESSION_OK;
}

const struct session_key *sessions_find(const struct sessions *s, struct view id)
{
    for (unsigned i = 0; i < SESSIONS_MAX; i++)
        if (s->keys[i].end_ms != 0 && view_equal(view_of(s->keys[i].id, SESSION_ID), id))
            return &s->keys[i];
    return NULL;
}
