/* Tags of EC2's resources: between requests, records and answers. */
#ifndef CONTROL_API_EC2_TAGS_H
#define CONTROL_API_EC2_TAGS_H

#include "api_ec2.h"
#include "control/api/call.h"

#define EC2_TAGS_MAX 50 /* of a resource */

/* Checks the tags that an action gives to something new of that type, and puts them together. Returns 0 or an error. */
int ec2_tags_of_new(struct api_call *c, const struct ec2_tag_specification_list *specifications, struct view type,
                    struct ec2_tag_list *out);

/* Writes them into the record, whose list *to is. */
void ec2_tags_store(struct api_call *c, const void *record, const struct ec2_tag_list *from, struct tag_list *to);

/* The same as an answer has them. It refers to the record's texts. */
struct ec2_tag_list ec2_tags_show(struct api_call *c, const struct tag_list *tags);

#endif
