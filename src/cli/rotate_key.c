/* larder rotate-key: another root access key. */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/service.h"

static int run(const struct cli *c, int argc, char **argv)
{
    json_t *answer;
    int rc;

    if (cli_arguments(c, NULL, 0, argc, argv, 0, 0) < 0)
        return CLI_WRONG_USE;
    rc = service_ask(c->state_dir, "rotate-key", &answer, NULL);
    if (rc != 0)
        return rc;
    printf("The root access key is %s; the one before is refused from now on.\n"
           "Its secret is in %s/credentials. Shells that use the service need: eval \"$(larder env)\"\n",
           json_string_value(json_object_get(answer, "access_key_id")), c->state_dir);
    json_decref(answer);
    return 0;
}

const struct cli_command cli_rotate_key = {
    .name = "rotate-key",
    .arguments = "",
    .help = "makes a new root access key, which takes the place of the present one at once; all sessions end\n"
            "A larderd that is started with --access-key-file takes the key of that file again at its next start.\n",
    .run = run,
};
