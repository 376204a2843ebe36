/* The configuration file of a node: what every node has, and what it is told. */
#ifndef CONTROL_AGENT_NODE_CONFIG_H
#define CONTROL_AGENT_NODE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NODE_CONFIG_FILE "larder.conf"
#define NODE_ADMIN_SOCKET "admin"
#define NODE_LOCK_FILE "lock"

struct buf;

/* A directive. */
struct node_setting {
    const char *name;
    const char *value; /* one word, whatever is in it; or, */
    bool is_list;      /* ... words with single spaces between them */
};

struct node_config {
    uint64_t maxmemory;                  /* bytes; 0: no limit */
    const char *replication_secret;      /* that replicas of the group log in with; NULL or "": none */
    const char *client_commands;         /* NULL: "managed" */
    const struct node_setting *settings; /* beside them: over the defaults, but not over what the agent lives from */
    size_t setting_count;
};

/* Appends the text. Returns 0, or -EINVAL when a setting's name is not of letters, digits, '-' and '_', or its value is
 * missing; *wrong is its name then. The text may hold secrets. */
int node_config_write(const struct node_config *c, const char *id, struct buf *out, const char **wrong);

#endif
