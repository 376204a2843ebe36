/*
 * Names of endpoints, in ElastiCache's patterns. h is the account's hash, r the region's code (apn2), S the suffix:
 *
 *     primary of a group       ID.h.ng.0001.r.S
 *     readers of a group       ID-ro.h.ng.0001.r.S
 *     a member of a group      ID.h.0001.r.S
 *     a cluster by itself      ID.h.0001.r.S
 */
#ifndef CONTROL_MODEL_NAMES_H
#define CONTROL_MODEL_NAMES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/view.h"

struct account;
struct model;

#define NAMES_MAX 256

/* Write the name and a NUL. */
void names_primary(char out[NAMES_MAX], const struct account *a, struct view suffix, struct view group_id);
void names_reader(char out[NAMES_MAX], const struct account *a, struct view suffix, struct view group_id);
void names_node(char out[NAMES_MAX], const struct account *a, struct view suffix, struct view cluster_id);

/* The code of a region in names: "apn2" for "ap-northeast-2"; the region itself when it is not known. */
struct view names_region_code(struct view region);

/* What a name leads to. */
struct names_found {
    struct view vpc_id;
    struct view address; /* in the VPC; p == NULL: the name is only a part of others */
};

/* Looks a name up, whatever its case, without a dot at its end. False: there is no such name, nor one below it. */
bool names_find(const struct model *m, struct view suffix, struct view name, struct names_found *out);

#endif
