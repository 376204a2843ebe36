/* larder doctor: looks at everything that the service needs, and says what is wrong and what to do about it. */
#include "cli/doctor.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "cli/cli.h"
#include "cli/service.h"

static const char *const words[] = {[DOCTOR_OK] = "ok", [DOCTOR_NOTE] = "note", [DOCTOR_WRONG] = "wrong"};

static json_t *text_of(const char *fmt, va_list ap)
{
    struct buf b = {0};
    json_t *text;

    buf_vprintf(&b, fmt, ap);
    text = json_stringn(b.p, buf_live(&b));
    buf_free(&b);
    return text ? text : json_string("(a text that is no UTF-8)");
}

void doctor_find(json_t *findings, enum doctor_level level, const char *fmt, ...)
{
    json_t *o = json_object();
    va_list ap;

    va_start(ap, fmt);
    json_object_set_new(o, "level", json_string(words[level]));
    json_object_set_new(o, "finding", text_of(fmt, ap));
    json_array_append_new(findings, o);
    va_end(ap);
}

void doctor_advise(json_t *findings, const char *fmt, ...)
{
    json_t *o = json_array_get(findings, json_array_size(findings) - 1);
    va_list ap;

    va_start(ap, fmt);
    json_object_set_new(o, "advice", text_of(fmt, ap));
    va_end(ap);
}

static size_t count(const json_t *findings, const char *level)
{
    const json_t *o;
    size_t i, n = 0;

    json_array_foreach(findings, i, o)
    {
        n += strcmp(json_string_value(json_object_get(o, "level")), level) == 0;
    }
    return n;
}

static void print(const json_t *findings)
{
    const json_t *o;
    size_t i;

    json_array_foreach(findings, i, o)
    {
        const char *advice = json_string_value(json_object_get(o, "advice"));
        printf("%-6s %s\n", json_string_value(json_object_get(o, "level")),
               json_string_value(json_object_get(o, "finding")));
        if (advice)
            printf("       -> %s\n", advice);
    }
    printf("\n%zu wrong, %zu to note\n", count(findings, "wrong"), count(findings, "note"));
}

static int run(const struct cli *c, int argc, char **argv)
{
    bool as_json = false;
    const struct cli_option options[] = {{"json", &as_json, NULL}};
    json_t *findings = json_array();
    char path[PATH_MAX];
    struct service s;
    bool known, wrong;

    if (cli_arguments(c, options, 1, argc, argv, 0, 0) < 0) {
        json_decref(findings);
        return CLI_WRONG_USE;
    }
    doctor_files(findings, c->state_dir);
    known = snprintf(path, sizeof path, "%s/service.json", c->state_dir) < (int)sizeof path &&
            access(path, R_OK) == 0 && service_load(&s, c->state_dir) == 0;
    doctor_service(findings, known ? &s : NULL);
    doctor_host(findings);
    if (as_json) {
        json_dumpf(findings, stdout, JSON_INDENT(4));
        putchar('\n');
    } else {
        print(findings);
    }
    wrong = count(findings, "wrong") > 0;
    json_decref(findings);
    return wrong ? 1 : 0;
}

const struct cli_command cli_doctor = {
    .name = "doctor",
    .arguments = "[--json]",
    .help =
        "checks what the service needs, and says what is wrong and what to do about it\n"
        "It looks at the state directory's rights, the programs, the API, names, ports, limits and memory, whether\n"
        "larderd runs or not. The exit status is 1 when something is wrong.\n",
    .run = run,
};
