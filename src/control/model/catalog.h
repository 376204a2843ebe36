/*
 * The catalog: which node types, engine versions and parameters there are, as ElastiCache has them. The tables are
 * generated from spec/catalog by tools/gen_catalog.py and never change while larderd runs, so everything that is found
 * here may be kept.
 *
 * Parameter groups are answered here as well, because what a group holds is the catalog's defaults with few changes: the
 * default groups ("default.redis7", "default.redis7.cluster.on") exist without a record, and others store only the values
 * that differ.
 */
#ifndef CONTROL_MODEL_CATALOG_H
#define CONTROL_MODEL_CATALOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/view.h"

struct model;
struct parameter_group;

enum catalog_engine { CATALOG_REDIS, CATALOG_VALKEY, CATALOG_MEMCACHED, CATALOG_ENGINES };

/* The engine's name in the API, and back; CATALOG_ENGINES when there is none of that name (lower case). */
struct view catalog_engine_name(enum catalog_engine engine);
enum catalog_engine catalog_engine(struct view name);

/* ---- node types ---- */

struct catalog_node_type {
    struct view name; /* "cache.t4g.micro" */
    unsigned engines; /* that run on it: a bit for each enum catalog_engine */
    unsigned vcpus;
    uint64_t memory;         /* bytes that it is sold with */
    uint64_t maxmemory;      /* bytes of the parameter maxmemory, before the reserve goes off */
    uint64_t replica_buffer; /* bytes: both limits of a replica's output buffer */
    unsigned maxclients;
    uint64_t memcached_mb; /* MiB of max_cache_memory, and threads; 0 where Memcached does not run */
    unsigned memcached_threads;
    struct view min_redis; /* the first version of Redis that runs on it; p == NULL: all */
    bool previous;         /* of a previous generation */
    bool retired;          /* cannot be created at AWS any more */
    bool data_tiering;
    bool burstable;
};

/* The type of that name; NULL when there is none. And the i-th of the list, which is ordered by family and size; NULL behind
 * the last. */
const struct catalog_node_type *catalog_node_type(struct view name);
const struct catalog_node_type *catalog_node_type_at(size_t i);

/* ---- engine versions ---- */

struct catalog_family;

struct catalog_version {
    enum catalog_engine engine;
    struct view name; /* as requests and lists have it: "7.1", "5.0.6" */
    struct view full; /* as clusters show it: "7.1.0" */
    struct view also; /* another name in requests: "6.x"; p == NULL: none */
    const struct catalog_family *family;
    struct view title; /* the engine's, for descriptions: "Redis" */
    bool initial;      /* the engine's default */
};

/* The version that a request means: by its name, its full form, its other name, or, when the text is absent or empty, the
 * engine's default. NULL when there is none. */
const struct catalog_version *catalog_engine_version(enum catalog_engine engine, struct view text);

/* The i-th version, engine by engine from the oldest to the newest; NULL behind the last. */
const struct catalog_version *catalog_engine_version_at(size_t i);

/* Is a newer than b, a version of the same engine? */
bool catalog_version_newer(const struct catalog_version *a, const struct catalog_version *b);

/* Does that version run on nodes of that type? */
bool catalog_node_type_runs(const struct catalog_node_type *t, const struct catalog_version *v);

/* May a node that runs this version change from one type to another? What its data needs is not looked at. */
bool catalog_node_type_scales(const struct catalog_node_type *from, const struct catalog_node_type *to,
                              const struct catalog_version *v);

/* ---- families of parameters ---- */

/* Parameters whose value depends on the type of the node, and where it is there. */
enum catalog_node_value {
    CATALOG_NODE_NONE,
    CATALOG_NODE_MAXMEMORY,
    CATALOG_NODE_REPLICA_BUFFER,
    CATALOG_NODE_MEMCACHED_MEMORY,
    CATALOG_NODE_MEMCACHED_THREADS,
};

/* Values that no list of words and ranges describes. */
enum catalog_form {
    CATALOG_PLAIN,
    CATALOG_RENAMES,       /* pairs of a command and its new name, separated by spaces */
    CATALOG_EVENT_LETTERS, /* of notify-keyspace-events */
};

struct catalog_parameter {
    struct view name;
    struct view description;
    struct view type;        /* "string", "integer", "boolean", "float" */
    struct view value;       /* the default; p == NULL: none */
    struct view allowed;     /* see catalog_allows; p == NULL: not stated */
    struct view min_version; /* of the engine */
    enum catalog_form form;
    enum catalog_node_value node_value;
    bool modifiable;       /* by users, as the engine's defaults state it */
    bool while_unused;     /* may be set just as long as no cluster uses the group */
    bool reboot;           /* nodes take a new value when they start */
    struct view directive; /* of larder-server; p == NULL: it has none, the value is stored and shown */
    uint64_t most;         /* the largest number that the directive takes; 0: not stated */
    unsigned buffer_slot; /* one of nine numbers of the directive client-output-buffer-limit, from 1 on; 0: it is not */
};

struct catalog_family {
    struct view name;          /* "redis7" */
    struct view default_group; /* "default.redis7" */
    struct view cluster_group; /* "default.redis7.cluster.on"; p == NULL: there is none */
    enum catalog_engine engine;
    const struct catalog_parameter *parameters;
    size_t count; /* ordered by name */
};

/* The family of that name, NULL when there is none; the i-th, ordered by name, NULL behind the last; and its parameter of
 * that name, NULL when it has none. */
const struct catalog_family *catalog_family(struct view name);
const struct catalog_family *catalog_family_at(size_t i);
const struct catalog_parameter *catalog_parameter(const struct catalog_family *f, struct view name);

/*
 * May the parameter have that value? What is allowed is written as ElastiCache does: words and ranges between commas, "a-b"
 * with both ends, "a-" without an upper bound, "-" for any number. Numbers have no superfluous zeros. A value has at most
 * CATALOG_VALUE_MAX bytes.
 */
bool catalog_allows(const struct catalog_parameter *p, struct view value);

#define CATALOG_VALUE_MAX 8192

/* The value of a parameter whose node_value is not CATALOG_NODE_NONE. */
uint64_t catalog_node_value(const struct catalog_parameter *p, const struct catalog_node_type *t);

/* ---- parameter groups ---- */

struct catalog_group {
    struct view name;
    const struct catalog_family *family;
    bool cluster_on;                      /* a default group with cluster mode on */
    const struct parameter_group *stored; /* NULL: a default group */
    int64_t version; /* of its values, from 1 on: what CacheCluster.ParameterVersion is compared with */
};

/* Finds a group, a default one or one of the model, whose record stays valid as model.h says. False when there is none. */
bool catalog_group(const struct model *m, struct view name, struct catalog_group *out);

/* The i-th default group, ordered by name; false behind the last. */
bool catalog_default_group_at(size_t i, struct catalog_group *out);

/* The value that a parameter has in the group, p == NULL when it has none; *user (may be NULL) says whether it was set
 * there. Not for those that depend on the node. */
struct view catalog_group_value(const struct catalog_group *g, const struct catalog_parameter *p, bool *user);

/* Do nodes of this group form a cluster with slots? */
bool catalog_group_cluster_mode(const struct catalog_group *g);

/* The bytes that a node of that type has for data: its maxmemory, less what the group reserves. */
uint64_t catalog_group_maxmemory(const struct catalog_group *g, const struct catalog_node_type *t);

/*
 * Calls emit for each directive of larder-server that the group determines on nodes of that type, with its value as CONFIG
 * SET takes it, defaults included. reboot says that ElastiCache applies a change at the node's next start only. Parameters
 * without a directive are left out. The views live until emit returns.
 */
typedef void catalog_emit(void *arg, struct view directive, struct view value, bool reboot);
void catalog_directives(const struct catalog_group *g, const struct catalog_node_type *t, catalog_emit *emit,
                        void *arg);

/* ---- what is generated ---- */

struct catalog_tables {
    const struct catalog_family *families; /* ordered by name */
    size_t family_count;
    const struct catalog_version *versions; /* by engine, the newest last */
    size_t version_count;
    const struct catalog_node_type *node_types;
    size_t node_type_count;
};

extern const struct catalog_tables catalog_tables;

#endif
