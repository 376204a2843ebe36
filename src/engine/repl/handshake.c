/* The words between connecting and the stream: see handshake.h. They are Redis's, so that either side may be a redis-server. */
#include "engine/repl/handshake.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/num.h"
#include "engine/log/oplog.h"
#include "engine/repl/peer.h"
#include "engine/server/config.h"
#include "engine/server/server.h"

#define OFFSET_MAX ((uint64_t)INT64_MAX / 2) /* that there can be; a stream never reaches the numbers beyond */

static int64_t setting(const config_number *n)
{
    return atomic_load_explicit((config_number *)n, memory_order_relaxed);
}

/* Sends words and reads the line that answers; -1 when the connection broke, or when it is an error that `allowed` is not the
 * beginning of. */
static int ask(struct peer *p, const struct view *words, size_t n, const char *allowed, const char *what)
{
    char line[PEER_LINE_MAX];

    if (peer_send_words(p, words, n) != 0 || peer_line(p, line, sizeof line) != 0) {
        log_warning("Handshake with the primary: %s: %s", what, peer_error(p));
        return -1;
    }
    if (line[0] != '-' || (allowed && strncmp(line, allowed, strlen(allowed)) == 0))
        return 0;
    log_warning("Handshake with the primary: %s: %s", what, line);
    return -1;
}

static int authenticate(struct peer *p, const struct server *s)
{
    const struct config *c = s->config;
    char user[512], password[512];
    struct view words[3] = {VIEW("AUTH")};
    size_t n = 1;

    config_read_lock(c);
    snprintf(user, sizeof user, "%s", c->masteruser);
    snprintf(password, sizeof password, "%s", c->masterauth);
    config_read_unlock(c);
    if (!password[0])
        return 0;
    if (user[0])
        words[n++] = view_str(user);
    words[n++] = view_str(password);
    return ask(p, words, n, NULL, "AUTH");
}

static int introduce(struct peer *p, const struct server *s)
{
    const struct config *c = s->config;
    char port[NUM_INT_MAX], address[256];
    int64_t announced = setting(&c->replica_announce_port);
    struct view listening[] = {VIEW("REPLCONF"), VIEW("listening-port"), {port, 0}};
    struct view ip[] = {VIEW("REPLCONF"), VIEW("ip-address"), {address, 0}};
    struct view capa[] = {VIEW("REPLCONF"), VIEW("capa"), VIEW("eof"), VIEW("capa"), VIEW("psync2")};

    config_read_lock(c);
    snprintf(address, sizeof address, "%s", c->replica_announce_ip);
    config_read_unlock(c);
    listening[2].n = num_format_int(port, announced ? announced : (int64_t)s->port);
    ip[2].n = strlen(address);
    if (ask(p, listening, 3, "-", "REPLCONF listening-port") != 0)
        return -1;
    if (ip[2].n > 0 && ask(p, ip, 3, "-", "REPLCONF ip-address") != 0)
        return -1;
    return ask(p, capa, 5, "-", "REPLCONF capa");
}

int handshake_introduce(struct peer *p, struct server *s)
{
    static const struct view ping[] = {VIEW("PING")};

    return ask(p, ping, 1, "-NOAUTH", "PING") != 0 || authenticate(p, s) != 0 || introduce(p, s) != 0 ? -1 : 0;
}

/* Reads "FULLRESYNC id offset" or "CONTINUE [id]". */
static enum handshake_answer read_answer(struct server *s, const char *line, char id[REPLICATION_ID + 1],
                                         uint64_t *offset)
{
    unsigned handing_over = FAILOVER_IN_PROGRESS;
    unsigned long long at;

    id[0] = '\0';
    if (sscanf(line, "+FULLRESYNC %40s %llu", id, &at) == 2 && strlen(id) == REPLICATION_ID && at <= OFFSET_MAX) {
        *offset = at;
        return HANDSHAKE_FULL;
    }
    if (strncmp(line, "+CONTINUE", strlen("+CONTINUE")) == 0) {
        if (sscanf(line, "+CONTINUE %40s", id) == 1 && strlen(id) != REPLICATION_ID)
            return HANDSHAKE_BROKEN;
        return HANDSHAKE_CONTINUE;
    }
    log_warning("The primary answers PSYNC with: %s", line);
    atomic_compare_exchange_strong(&s->replication->failover, &handing_over, FAILOVER_ABORTING);
    return strncmp(line, "-NOMASTERLINK", strlen("-NOMASTERLINK")) == 0 || strncmp(line, "-LOADING", 8) == 0
               ? HANDSHAKE_LATER
               : HANDSHAKE_BROKEN;
}

enum handshake_answer handshake_psync(struct peer *p, struct server *s, char id[REPLICATION_ID + 1], uint64_t *offset)
{
    struct replication *r = s->replication;
    char own_id[REPLICATION_ID + 1] = "?", own_offset[NUM_INT_MAX] = "-1", line[PEER_LINE_MAX];
    struct view words[] = {VIEW("PSYNC"), {own_id, 1}, {own_offset, 2}, VIEW("FAILOVER")};
    bool failover = atomic_load(&r->failover) == FAILOVER_IN_PROGRESS;

    pthread_mutex_lock(&r->lock);
    if (r->resumable) {
        memcpy(own_id, r->id, sizeof own_id);
        words[1].n = REPLICATION_ID;
        words[2].n = num_format_uint(own_offset, oplog_head(s->log) + 1);
    }
    pthread_mutex_unlock(&r->lock);
    if (peer_send_words(p, words, failover ? 4 : 3) != 0)
        return HANDSHAKE_BROKEN;
    do { /* empty lines say that it is still there */
        if (peer_line(p, line, sizeof line) != 0) {
            log_warning("PSYNC: %s", peer_error(p));
            return HANDSHAKE_BROKEN;
        }
    } while (line[0] == '\0');
    return read_answer(s, line, id, offset);
}
