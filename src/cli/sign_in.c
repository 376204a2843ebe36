/* larder sign-in: a code that stands for the root key once. */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/service.h"

static int run(const struct cli *c, int argc, char **argv)
{
    json_t *answer;
    int rc;

    if (cli_arguments(c, NULL, 0, argc, argv, 0, 0) < 0)
        return CLI_WRONG_USE;
    rc = service_ask(c->state_dir, "sign-in", &answer, NULL);
    if (rc != 0)
        return rc;
    printf("%s\n", json_string_value(json_object_get(answer, "code")));
    json_decref(answer);
    return 0;
}

const struct cli_command cli_sign_in = {
    .name = "sign-in",
    .arguments = "",
    .help = "prints a code that can be exchanged for temporary keys, once and within 10 minutes\n"
            "The exchange is sts AssumeRoleWithWebIdentity, which takes it as WebIdentityToken and is not signed.\n",
    .run = run,
};
