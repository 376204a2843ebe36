/*
 * The front of the API: from an HTTP request to an answer in XML.
 *
 *     who calls (auth/sigv4.h) -> which service, action and version -> the request's structure (shape/query.h)
 *     -> the handler -> the answer; if something was changed, when the store has it
 *
 * The service is the one that the signature is for; an unsigned call belongs to the service that has an action of that
 * name. GET /health says that the process answers, GET /ready that it serves; both need no signature.
 */
#ifndef CONTROL_API_FRONT_H
#define CONTROL_API_FRONT_H

#include "control/api/call.h"

struct front;
struct http_exchange;

/* api stays where it is. */
struct front *front_new(const struct api *api);
void front_free(struct front *f);

/* An http_handler_fn; arg is the front. */
void front_handle(void *arg, struct http_exchange *x);

/* Until then, /ready answers 503. */
void front_set_ready(struct front *f);

#endif
