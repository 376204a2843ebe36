/* STS: who calls, and temporary keys for the console. */
#include "api_handlers.h"
#include "control/api/call.h"
#include "control/api/session.h"

#define SESSION_S 43200 /* of a session, when nobody says otherwise */

int sts_get_caller_identity(struct api_call *c, const struct get_caller_identity_request *in,
                            struct get_caller_identity_result *out)
{
    (void)in;
    out->user_id = c->account->id;
    out->account = c->account->id;
    out->arn = call_text(c, "arn:%.*s:iam::%.*s:root", CALL_TEXT(c->api->partition), CALL_TEXT(c->account->id));
    return 0;
}

/* The token is a single-use code that the service gave out itself; the role is what AWS's clients must name, and any will
 * do. */
int sts_assume_role_with_web_identity(struct api_call *c, const struct assume_role_with_web_identity_request *in,
                                      struct assume_role_with_web_identity_result *out)
{
    int64_t seconds = in->duration_seconds.set ? in->duration_seconds.value : SESSION_S;
    const struct session_key *k;

    switch (sessions_exchange(c->api->sessions, in->web_identity_token, c->now_ms, seconds * 1000, &k)) {
    case SESSION_OK:
        break;
    case SESSION_EXPIRED:
        return call_fail(c, STS_EXPIRED_WEB_IDENTITY_TOKEN, "The sign-in code has expired. Ask for another one.");
    default:
        return call_fail(c, STS_INVALID_IDENTITY_TOKEN, "The sign-in code is not known, or was used before.");
    }
    out->credentials = call_zalloc(c, sizeof *out->credentials);
    out->credentials->access_key_id = call_text(c, "%s", k->id);
    out->credentials->secret_access_key = call_text(c, "%s", k->secret);
    out->credentials->session_token = call_text(c, "%s", k->token);
    out->credentials->expiration = k->end_ms;
    out->assumed_role_user = call_zalloc(c, sizeof *out->assumed_role_user);
    out->assumed_role_user->assumed_role_id = call_text(c, "%s:%.*s", k->id, CALL_TEXT(in->role_session_name));
    out->assumed_role_user->arn =
        call_text(c, "arn:%.*s:sts::%.*s:assumed-role/console/%.*s", CALL_TEXT(c->api->partition),
                  CALL_TEXT(c->account->id), CALL_TEXT(in->role_session_name));
    out->provider = VIEW("larder");
    return 0;
}
