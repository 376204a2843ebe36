/*
 * larder env: lines for a shell that point AWS's tools at the service. Newer SDKs go by AWS_ENDPOINT_URL, older ones
 * (botocore before 1.31, so Debian 12's) by endpoints.json, which AWS_DATA_PATH leads to. What in the environment could send
 * a call elsewhere, or sign it with another key, is unset.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/service.h"

#define VALUE_MAX (PATH_MAX + 64)

static const char *const unset[] = {
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_ROLE_ARN",
    "AWS_ENDPOINT_URL_EC2",
    "AWS_ENDPOINT_URL_STS",
    "AWS_ENDPOINT_URL_ELASTICACHE",
    "AWS_USE_FIPS_ENDPOINT",
    "AWS_USE_DUALSTACK_ENDPOINT",
    "AWS_ENDPOINT_URL_CLOUDWATCH",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
};

/* A word for a POSIX shell: within single quotes only the quote itself means something. */
static void print_quoted(const char *s)
{
    putchar('\'');
    for (; *s != '\0'; s++)
        if (*s == '\'')
            fputs("'\\''", stdout);
        else
            putchar(*s);
    putchar('\'');
}

static void print_lines(json_t *all)
{
    const char *name;
    json_t *value;

    json_object_foreach(all, name, value)
    {
        if (!json_is_string(value))
            continue;
        printf("export %s=", name);
        print_quoted(json_string_value(value));
        putchar('\n');
    }
    fputs("unset", stdout);
    json_object_foreach(all, name, value)
    {
        if (json_is_null(value))
            printf(" %s", name);
    }
    putchar('\n');
}

/* Tools that go through a proxy would ask it for the service. Says in `out` which hosts then need none, in addition to those
 * that the variable has; false when there is no proxy, or they are there. */
static bool extend_no_proxy(const char *variable, char out[VALUE_MAX])
{
    static const char *const proxies[] = {"http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"};
    const char *before = getenv(variable);
    bool used = false;

    for (size_t i = 0; i < sizeof proxies / sizeof *proxies; i++)
        used = used || getenv(proxies[i]);
    if (!used || (before && (strstr(before, "127.0.0.1,localhost") || strlen(before) > PATH_MAX)))
        return false;
    snprintf(out, VALUE_MAX, "%s%s127.0.0.1,localhost", before ? before : "", before && *before ? "," : "");
    return true;
}

static json_t *variables(const struct service *s)
{
    char text[VALUE_MAX];
    json_t *all = json_object();

    snprintf(text, sizeof text, "%s/aws", s->directory);
    json_object_set_new(all, "AWS_ENDPOINT_URL", json_string(s->api_url));
    json_object_set_new(all, "AWS_DATA_PATH", json_string(text));
    json_object_set_new(all, "AWS_ACCESS_KEY_ID", json_string(s->access_key_id));
    json_object_set_new(all, "AWS_SECRET_ACCESS_KEY", json_string(s->secret_access_key));
    json_object_set_new(all, "AWS_DEFAULT_REGION", json_string(s->region));
    json_object_set_new(all, "AWS_REGION", json_string(s->region));
    json_object_set_new(all, "AWS_EC2_METADATA_DISABLED", json_string("true"));
    /* Else botocore has an address of its own for sts in the older regions. */
    json_object_set_new(all, "AWS_STS_REGIONAL_ENDPOINTS", json_string("regional"));
    if (extend_no_proxy("no_proxy", text))
        json_object_set_new(all, "no_proxy", json_string(text));
    if (extend_no_proxy("NO_PROXY", text))
        json_object_set_new(all, "NO_PROXY", json_string(text));
    for (size_t i = 0; i < sizeof unset / sizeof *unset; i++)
        json_object_set_new(all, unset[i], json_null());
    return all;
}

/* Whoever asks through sudo uses what is printed as somebody else. Tools that cannot read endpoints.json, and know nothing of
 * AWS_ENDPOINT_URL, would turn to AWS itself. */
static int check_readable(const struct service *s)
{
    const char *sudo = geteuid() == 0 ? getenv("SUDO_UID") : NULL;
    uid_t user = sudo ? (uid_t)strtoul(sudo, NULL, 10) : geteuid();
    char path[VALUE_MAX];
    bool readable;

    snprintf(path, sizeof path, "%s/aws/endpoints.json", s->directory);
    if (sudo && seteuid(user) != 0)
        return 0;
    readable = faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) == 0;
    if (sudo && seteuid(0) != 0)
        return cli_fail("seteuid: %s", strerror(errno));
    if (readable)
        return 0;
    return cli_fail(
        "%s cannot be read by user %lu, so older AWS tools would turn to AWS itself; chmod 711 %s lets others "
        "through to it",
        path, (unsigned long)user, s->directory);
}

static int run(const struct cli *c, int argc, char **argv)
{
    bool as_json = false;
    const struct cli_option options[] = {{"json", &as_json, NULL}};
    struct service s;
    json_t *all;
    int rc;

    if (cli_arguments(c, options, 1, argc, argv, 0, 0) < 0)
        return CLI_WRONG_USE;
    rc = service_load_with_key(&s, c->state_dir);
    if (rc == 0)
        rc = check_readable(&s);
    if (rc != 0)
        return rc;
    all = variables(&s);
    if (!all)
        return cli_fail("what the service says of itself is no UTF-8");
    if (as_json) {
        json_dumpf(all, stdout, JSON_INDENT(4));
        putchar('\n');
    } else {
        print_lines(all);
    }
    json_decref(all);
    if (!service_is_running(s.directory))
        fprintf(stderr, "larder: larderd does not run at the moment (%s)\n", s.directory);
    return 0;
}

const struct cli_command cli_env = {
    .name = "env",
    .arguments = "[--json]",
    .help = "prints what points the AWS CLI and SDKs at the service: eval \"$(larder env)\"\n"
            "With --json as an object, in which null stands for a variable that is to be unset.\n",
    .run = run,
};
