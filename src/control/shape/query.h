/*
 * Requests of the Query protocol, and of EC2's variant of it, as structures.
 *
 * Names are paths: "Tags.Tag.1.Key" is the member Key of the first item of the list Tags. Between a list and an index
 * may stand the name of its items, "member", or nothing (as EC2 has it); each spelling is taken for every service.
 * Indices order the items; gaps between them mean nothing. "Tags=" is a list that is empty. What the declaration does
 * not know is an error, and so is a parameter that is there twice (form.h).
 */
#ifndef CONTROL_SHAPE_QUERY_H
#define CONTROL_SHAPE_QUERY_H

#include "base/view.h"
#include "control/shape/service.h"

struct arena;
struct form;
struct shape;

#define QUERY_MESSAGE_MAX 800

/* Why a request is refused: an error that every service has, and the message for the client, which is clean text. */
struct query_problem {
    int error; /* enum service_error */
    char message[QUERY_MESSAGE_MAX];
};

/*
 * Fills *out, a structure of that shape, from the parameters: defaults are set, every rule is checked, and all strings
 * are clean text (text.h). Returns 0; or -1 with *problem set and *out undefined. What *out refers to lives in the
 * arena and in the parameters. Parameters that belong to the protocol or to the signature (Action, Version, X-Amz-...)
 * are passed over.
 */
int query_parse(const struct service *service, const struct shape *shape, const struct form *form, struct arena *a,
                void *out, struct query_problem *problem);

#endif
