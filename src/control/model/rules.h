/*
 * Security groups as a node needs them: the blocks of addresses that may connect to it, in the loopback addresses that
 * stand for its VPC.
 *
 * The host itself is a network interface of the default VPC, whose groups the account holds; it is the fourth address of
 * each VPC. A process of the host that binds no address of a VPC comes from HOST_BLOCK.
 */
#ifndef CONTROL_MODEL_RULES_H
#define CONTROL_MODEL_RULES_H

#include <stdint.h>

#include "base/buf.h"
#include "control/model/cidr.h"

struct cache_cluster;
struct model;

#define RULES_HOST_BLOCK "127.0.0.0/10"
#define RULES_HOST_ADDRESS 4 /* of each VPC's block */

/* Appends the blocks that may connect to the cluster's node, each with a space behind it, sorted and once; nothing when
 * nobody may. shadow: the first address of the block that stands for its VPC. */
void rules_write(const struct model *m, const struct cache_cluster *c, uint32_t shadow, struct buf *out);

#endif
