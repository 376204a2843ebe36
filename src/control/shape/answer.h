/* Answers of the Query and EC2 protocols: a result, or an error, in its envelope. */
#ifndef CONTROL_SHAPE_ANSWER_H
#define CONTROL_SHAPE_ANSWER_H

#include "base/view.h"

struct buf;
struct service;
struct service_action;

#define ANSWER_TYPE "text/xml;charset=UTF-8" /* the Content-Type of both */

/* Appends the answer to a call that succeeded. result: a structure of action->result, or NULL when that is NULL. */
void answer_write_result(const struct service *service, const struct service_action *action, const void *result,
                         struct view request_id, struct buf *out);

/* Appends the answer to a call that failed, and returns the HTTP status that goes with it. error: one of the service
 * (enum service_error, or its own). */
int answer_write_error(const struct service *service, int error, struct view message, struct view request_id,
                       struct buf *out);

#endif
