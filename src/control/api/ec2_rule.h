/*
 * Rules of security groups. A request states permissions, each of which stands for as many rules as it has peers; the
 * model has single rules, each with an id; answers have both.
 *
 * Rules that a request states are read into the model's structure, without ids, in the form that the model keeps: the
 * protocol as "tcp", "udp", "icmp", "icmpv6", "-1" for all, or a number; ports as -1 where the protocol has none;
 * blocks without bits behind their prefix; other groups by id.
 */
#ifndef CONTROL_API_EC2_RULE_H
#define CONTROL_API_EC2_RULE_H

#include "api_ec2.h"
#include "control/api/call.h"

#define EC2_RULES_MAX 60 /* of a group, for each direction and each version of IP */

/* What a request says about rules: permissions, or the parts of a single one. */
struct ec2_rule_request {
    const struct ec2_ip_permission_list *permissions;
    struct view protocol;
    struct maybe_integer from_port, to_port;
    struct view cidr;
    struct view source_name, source_owner; /* a group */
};

/* Does it say anything? */
bool ec2_rule_stated(const struct ec2_rule_request *in);

/* Reads it for that group. No two of the rules are the same. Returns 0 or an error. */
int ec2_rule_read(struct api_call *c, const struct security_group *g, bool egress, const struct ec2_rule_request *in,
                  struct security_group_rule_list *out);

/* Reads one rule that is to take the place of another. */
int ec2_rule_read_update(struct api_call *c, const struct security_group *g, bool egress,
                         const struct ec2_security_group_rule_request *in, struct security_group_rule *out);

/* Do both let the same through? What they are called and described as does not matter. */
bool ec2_rule_same(const struct security_group_rule *a, const struct security_group_rule *b);

/* The place of the same rule in the group; the count of its rules when there is none. */
size_t ec2_rule_find(const struct security_group *g, const struct security_group_rule *r);

/* The rule as messages show it. */
struct view ec2_rule_text(struct api_call *c, const struct security_group_rule *r);

/* Is the text one that AWS takes as a description, or as the name of a group? what is what it is: "security group
 * name". Returns 0 or an error. */
int ec2_rule_check_text(struct api_call *c, const char *what, struct view text);

/* As answers have them: the rules of one direction as permissions, and one rule of a group. */
struct ec2_ip_permission_list ec2_rule_permissions(struct api_call *c, const struct security_group_rule_list *rules,
                                                   bool egress);
struct ec2_security_group_rule ec2_rule_show(struct api_call *c, const struct security_group *g,
                                             const struct security_group_rule *r);

#endif
