/* What a node says of itself: the reply to LARDER HELLO, checked and in numbers. */
#ifndef CONTROL_AGENT_HELLO_H
#define CONTROL_AGENT_HELLO_H

#include <stdbool.h>
#include <stdint.h>

#define HELLO_TEXT_MAX 64
#define HELLO_ID_MAX 41 /* 40 hexadecimal digits and a NUL */

struct redisReply;

enum node_role { NODE_PRIMARY, NODE_REPLICA };

/* Replication's link to the primary. */
enum node_link { NODE_LINK_NONE, NODE_LINK_CONNECTING, NODE_LINK_SYNCING, NODE_LINK_UP };

struct node_state {
    char node_id[HELLO_TEXT_MAX];
    char version[HELLO_TEXT_MAX];
    int64_t protocol; /* of the commands LARDER */
    int64_t pid;
    enum node_role role;
    int64_t epoch; /* of the last grant or revocation */
    bool is_granted;
    char replication_id[HELLO_ID_MAX];
    int64_t offset; /* of replication: bytes */
    enum node_link link;
    bool is_loading;
    int64_t keys;
    int64_t rules; /* version of the rules about peers */
    int64_t uptime_s;
};

/* Reads a reply. Names that are not known are passed over, as a later node may say more; one that is missing is an error.
 * Returns NULL, or what is wrong with it, *state then being undefined. */
const char *hello_parse(const struct redisReply *reply, struct node_state *state);

#endif
