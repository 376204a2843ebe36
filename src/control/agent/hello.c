/* See hello.h. The table has every name with its place in struct node_state; "link" has the words of ROLE. */
#include "control/agent/hello.h"

#include <hiredis/hiredis.h>
#include <stddef.h>
#include <string.h>

#include "base/view.h"

enum kind { KIND_TEXT, KIND_NUMBER, KIND_YES, KIND_ROLE, KIND_LINK };

#define FIELD(title, type, place)                                                                                      \
    {                                                                                                                  \
        title, type, offsetof(struct node_state, place), sizeof(((struct node_state *)0)->place)                       \
    }

static const struct {
    const char *name;
    enum kind kind;
    size_t at, size;
} fields[] = {
    FIELD("node-id", KIND_TEXT, node_id),     FIELD("version", KIND_TEXT, version),
    FIELD("protocol", KIND_NUMBER, protocol), FIELD("pid", KIND_NUMBER, pid),
    FIELD("role", KIND_ROLE, role),           FIELD("epoch", KIND_NUMBER, epoch),
    FIELD("granted", KIND_YES, is_granted),   FIELD("replication-id", KIND_TEXT, replication_id),
    FIELD("offset", KIND_NUMBER, offset),     FIELD("link", KIND_LINK, link),
    FIELD("loading", KIND_YES, is_loading),   FIELD("keys", KIND_NUMBER, keys),
    FIELD("rules", KIND_NUMBER, rules),       FIELD("uptime", KIND_NUMBER, uptime_s),
};

#define FIELDS (sizeof fields / sizeof *fields)

static bool set_text(char *out, size_t size, struct view v)
{
    if (v.n >= size || memchr(v.p, '\0', v.n) != NULL)
        return false;
    memcpy(out, v.p, v.n);
    out[v.n] = '\0';
    return true;
}

static bool set_yes(bool *out, struct view v)
{
    *out = view_is(v, "yes");
    return *out || view_is(v, "no");
}

static bool set_role(enum node_role *out, struct view v)
{
    *out = view_is(v, "slave") ? NODE_REPLICA : NODE_PRIMARY;
    return view_is(v, "slave") || view_is(v, "master");
}

static bool set_link(enum node_link *out, struct view v)
{
    if (view_is(v, "connected"))
        *out = NODE_LINK_UP;
    else if (view_is(v, "sync"))
        *out = NODE_LINK_SYNCING;
    else if (view_is(v, "connect") || view_is(v, "connecting") || view_is(v, "handshake"))
        *out = NODE_LINK_CONNECTING;
    else if (view_is(v, "none"))
        *out = NODE_LINK_NONE;
    else
        return false;
    return true;
}

static bool set_field(struct node_state *state, size_t i, const struct redisReply *value)
{
    void *out = (char *)state + fields[i].at;
    bool is_number = value->type == REDIS_REPLY_INTEGER;
    struct view v;

    if (is_number != (fields[i].kind == KIND_NUMBER))
        return false;
    if (is_number) {
        *(int64_t *)out = value->integer;
        return true;
    }
    if (value->type != REDIS_REPLY_STRING)
        return false;
    v = view_of(value->str, value->len);
    switch (fields[i].kind) {
    case KIND_TEXT:
        return set_text(out, fields[i].size, v);
    case KIND_YES:
        return set_yes(out, v);
    case KIND_ROLE:
        return set_role(out, v);
    default:
        return set_link(out, v);
    }
}

/* The field of that name, or FIELDS. */
static size_t find_field(const struct redisReply *name)
{
    size_t i = 0;

    if (name->type != REDIS_REPLY_STRING)
        return FIELDS;
    while (i < FIELDS && !view_equal(view_of(name->str, name->len), view_str(fields[i].name)))
        i++;
    return i;
}

const char *hello_parse(const struct redisReply *reply, struct node_state *state)
{
    unsigned seen = 0;

    memset(state, 0, sizeof *state);
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements % 2 != 0)
        return "it is no list of names and values";
    for (size_t at = 0; at < reply->elements; at += 2) {
        size_t i = find_field(reply->element[at]);
        if (i == FIELDS)
            continue;
        if (!set_field(state, i, reply->element[at + 1]))
            return fields[i].name;
        seen |= 1u << i;
    }
    for (size_t i = 0; i < FIELDS; i++)
        if (!(seen & 1u << i))
            return fields[i].name;
    return NULL;
}
