/*
 * What the operator may ask for on the control socket (control_socket.h):
 *
 *     {"request": "backup"}      -> {}, and a copy of the state as a file, open for reading, that has no name
 *     {"request": "rotate-key"}  -> {"access_key_id": TEXT}, once the new key is durable and `credentials` has it; all
 *                                   sessions have ended
 *     {"request": "sign-in"}     -> {"code": TEXT, "seconds": N}: good for one exchange by sts AssumeRoleWithWebIdentity,
 *                                   for so long
 *
 * A copy is handed over as an open file, so that no path comes from outside, and what becomes of it is written by the user
 * who asked, where that user may write.
 */
#ifndef CONTROL_DAEMON_REQUESTS_H
#define CONTROL_DAEMON_REQUESTS_H

#include <jansson.h>

struct api;
struct control_call;
struct requests;

/* api and the text stay where they are. */
struct requests *requests_new(const struct api *api, const char *state_dir);

/* Only when no request is under way: after model_close. Accepts NULL. */
void requests_free(struct requests *r);

/* A control_handler; arg is what requests_new made. */
void requests_handle(void *arg, struct control_call *call, const json_t *request);

#endif
