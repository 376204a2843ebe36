/* What a new account has: the default VPC 172.31.0.0/16 with a subnet in each zone, its default security group, and the
 * cache subnet group "default". */
#ifndef CONTROL_MODEL_DEFAULTS_H
#define CONTROL_MODEL_DEFAULTS_H

#include <stdint.h>

#include "base/view.h"

struct model;
struct txn;

#define DEFAULTS_ZONES 4 /* a, b, c, d of the region */

/* Fills an empty model, which has no account. region and id as AWS has them ("ap-northeast-2", twelve digits). */
void defaults_make(struct txn *t, struct view id, struct view region, int64_t now_ms);

/* The default security group of a VPC, which is made with it: lets in what comes from the group itself, and everything
 * out. */
struct view defaults_security_group(struct txn *t, struct view vpc_id);

/* A rule's id, or that of something else: prefix and 17 random hexadecimal digits, with a NUL. */
#define DEFAULTS_ID_MAX 32
void defaults_new_id(char out[DEFAULTS_ID_MAX], const char *prefix);

#endif
