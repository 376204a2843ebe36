/* What larderd is told: by its arguments, or by a file with the same names. */
#ifndef CONTROL_DAEMON_OPTIONS_H
#define CONTROL_DAEMON_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

/* Texts are never NULL but where it is said; they belong to the options. */
struct options {
    char *state_dir;
    char *api;        /* ADDRESS:PORT; NULL: the port of last time, or the first free one from OPTIONS_API_PORT on */
    char *dns;        /* ADDRESS:PORT; NULL: the default VPC's .2 address */
    char *loopback;   /* CIDR out of which VPCs get their shadows */
    char *region;     /* for a new state directory */
    char *account;    /* the same */
    char *dns_suffix; /* of endpoints' names */
    char *access_key_file; /* NULL: a key is made */
    char *server;          /* the path of larder-server; NULL: beside larderd */
    bool keep_nodes;       /* when larderd ends, its nodes go on */
    bool plain_addresses;  /* the API shows addresses in place of names */
    bool strict_memory;    /* refuse nodes that the host has no memory for */
};

#define OPTIONS_API_PORT 8379
#define OPTIONS_ERROR_MAX 512

enum options_result { OPTIONS_RUN, OPTIONS_HELP, OPTIONS_VERSION, OPTIONS_BAD };

/* Reads argv, and the file that --config names, whose lines are "name value" or "name" ('#' begins a comment); arguments go
 * before the file. OPTIONS_BAD: `error` has a line for people. *o is to be freed in any case. */
enum options_result options_read(struct options *o, int argc, char **argv, char error[OPTIONS_ERROR_MAX]);

void options_free(struct options *o);

/* The text of --help. */
const char *options_usage(void);

#endif
