/* STS: who calls. */
#include "api_handlers.h"
#include "control/api/call.h"

int sts_get_caller_identity(struct api_call *c, const struct get_caller_identity_request *in,
                            struct get_caller_identity_result *out)
{
    (void)in;
    out->user_id = c->account->id;
    out->account = c->account->id;
    out->arn = call_text(c, "arn:%.*s:iam::%.*s:root", CALL_TEXT(c->api->partition), CALL_TEXT(c->account->id));
    return 0;
}
