/*
 * See node_config.h. A later line replaces an earlier one, except that lines of `save` add up: an empty one clears them. So
 * the file begins with defaults, goes on with what was asked for, and ends with what the agent needs to find its node.
 */
#include "control/agent/node_config.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"

#define REPLICA_USER "larder-replica" /* the engine's name for whoever logs in with replication-secret */

static bool is_name(const char *name)
{
    return *name != '\0' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == strlen(name);
}

/* In double quotes, as the engine's configuration has them. */
static void put_word(struct buf *out, const char *word, size_t n)
{
    buf_put(out, LIT(" \""));
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)word[i];
        if (c == '"' || c == '\\')
            buf_printf(out, "\\%c", c);
        else if (c < ' ' || c > '~')
            buf_printf(out, "\\x%02x", c);
        else
            buf_put_char(out, (char)c);
    }
    buf_put_char(out, '"');
}

static void put_line(struct buf *out, const char *name, const char *value)
{
    buf_put(out, name, strlen(name));
    put_word(out, value, strlen(value));
    buf_put_char(out, '\n');
}

static void put_list(struct buf *out, const char *name, const char *value)
{
    buf_put(out, name, strlen(name));
    for (;;) {
        size_t n = strcspn(value, " ");
        put_word(out, value, n);
        if (value[n] == '\0')
            break;
        value += n + 1;
    }
    buf_put_char(out, '\n');
}

int node_config_write(const struct node_config *c, const char *id, struct buf *out, const char **wrong)
{
    put_line(out, "save", "");
    put_line(out, "client-commands", c->client_commands != NULL ? c->client_commands : "managed");
    buf_printf(out, "maxmemory %llu\n", (unsigned long long)c->maxmemory);
    for (size_t i = 0; i < c->setting_count; i++) {
        const struct node_setting *s = &c->settings[i];
        if (s->name == NULL || s->value == NULL || !is_name(s->name)) {
            *wrong = s->name != NULL ? s->name : "";
            return -EINVAL;
        }
        (s->is_list ? put_list : put_line)(out, s->name, s->value);
    }
    if (c->replication_secret != NULL && c->replication_secret[0] != '\0') {
        put_line(out, "replication-secret", c->replication_secret);
        put_line(out, "masteruser", REPLICA_USER);
        put_line(out, "masterauth", c->replication_secret);
    }
    put_line(out, "node-id", id);
    put_line(out, "node-lock", NODE_LOCK_FILE);
    put_line(out, "admin-socket", NODE_ADMIN_SOCKET);
    put_line(out, "grant-required", "yes");
    put_line(out, "port", "0");
    put_line(out, "unixsocket", "");
    put_line(out, "dir", "./");
    put_line(out, "dbfilename", "dump.rdb");
    put_line(out, "shutdown-on-sigterm", "save");
    put_line(out, "daemonize", "no");
    put_line(out, "pidfile", "");
    put_line(out, "logfile", "");
    return 0;
}
