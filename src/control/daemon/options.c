/* Options: see options.h. One table for arguments and the file. */
#include "control/daemon/options.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"

#define FILE_MAX (64 << 10)

static const char usage[] =
    "usage: larderd [OPTION]...\n"
    "\n"
    "A self-hosted ElastiCache: serves its API, and runs the cache nodes.\n"
    "\n"
    "  --state-dir DIR         where everything is kept (./var)\n"
    "  --api ADDRESS:PORT      where the API is served (127.0.0.1:8379 or the next free port, then the same one again)\n"
    "  --dns ADDRESS:PORT      where names are served (the default VPC's .2 address, port 53 or a free one)\n"
    "  --loopback CIDR         the loopback addresses that VPCs are mapped to (127.64.0.0/10)\n"
    "  --region NAME           of a new state directory (ap-northeast-2)\n"
    "  --account ID            of a new state directory: twelve digits (000000000000)\n"
    "  --dns-suffix NAME       what endpoints' names end with (cache.larder.internal)\n"
    "  --access-key-file FILE  the root access key: its id and its secret, one on a line; else one is made\n"
    "  --server PATH           larder-server (the one beside larderd)\n"
    "  --addresses             the API shows endpoints as addresses, not as names\n"
    "  --strict-memory         refuse nodes that the host has no memory for; else only warn\n"
    "  --keep-nodes            nodes go on when larderd ends\n"
    "  --config FILE           a file with these options, one on a line, without the hyphens\n"
    "  --version, --help\n";

const char *options_usage(void)
{
    return usage;
}

struct row {
    const char *name;
    size_t offset;
    bool is_flag;
    const char *initial;
};

static const struct row rows[] = {
    {"state-dir", offsetof(struct options, state_dir), false, "./var"},
    {"api", offsetof(struct options, api), false, NULL},
    {"dns", offsetof(struct options, dns), false, NULL},
    {"loopback", offsetof(struct options, loopback), false, "127.64.0.0/10"},
    {"region", offsetof(struct options, region), false, "ap-northeast-2"},
    {"account", offsetof(struct options, account), false, "000000000000"},
    {"dns-suffix", offsetof(struct options, dns_suffix), false, "cache.larder.internal"},
    {"access-key-file", offsetof(struct options, access_key_file), false, NULL},
    {"server", offsetof(struct options, server), false, NULL},
    {"keep-nodes", offsetof(struct options, keep_nodes), true, NULL},
    {"addresses", offsetof(struct options, plain_addresses), true, NULL},
    {"strict-memory", offsetof(struct options, strict_memory), true, NULL},
};

#define ROWS (sizeof rows / sizeof rows[0])

static char **text_of(struct options *o, const struct row *r)
{
    return (char **)((char *)o + r->offset);
}

static bool *flag_of(struct options *o, const struct row *r)
{
    return (bool *)((char *)o + r->offset);
}

static const struct row *row_named(const char *name, size_t n)
{
    for (size_t i = 0; i < ROWS; i++)
        if (strlen(rows[i].name) == n && memcmp(rows[i].name, name, n) == 0)
            return &rows[i];
    return NULL;
}

/* Sets what is not set yet. */
static void set(struct options *o, const struct row *r, const char *value, size_t n)
{
    if (r->is_flag)
        *flag_of(o, r) = true;
    else if (!*text_of(o, r))
        *text_of(o, r) = mem_strndup(value, n);
}

static int read_line(struct options *o, char *line, const char *path, unsigned number, char error[OPTIONS_ERROR_MAX])
{
    char *name = line + strspn(line, " \t\r"), *value;
    const struct row *r;
    size_t n;

    name[strcspn(name, "#")] = '\0';
    n = strcspn(name, " \t\r");
    if (n == 0)
        return 0;
    value = name + n + strspn(name + n, " \t\r");
    for (size_t end = strlen(value); end > 0 && strchr(" \t\r", value[end - 1]); end--)
        value[end - 1] = '\0';
    r = row_named(name, n);
    if (!r || r->is_flag != (*value == '\0')) {
        snprintf(error, OPTIONS_ERROR_MAX, "%s, line %u: %s%.*s%s", path, number,
                 r ? "the option " : "there is no option ", (int)n, name,
                 !r           ? ""
                 : r->is_flag ? " takes no value"
                              : " needs a value");
        return -1;
    }
    set(o, r, value, strlen(value));
    return 0;
}

static int read_file(struct options *o, const char *path, char error[OPTIONS_ERROR_MAX])
{
    struct buf text = {0};
    unsigned number = 0;
    int rc = file_read_all(path, FILE_MAX, &text);

    if (rc != 0) {
        snprintf(error, OPTIONS_ERROR_MAX, "%s cannot be read: %s", path, strerror(-rc));
        buf_free(&text);
        return -1;
    }
    buf_put_char(&text, '\0');
    for (char *line = text.p, *next; line && rc == 0; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        rc = read_line(o, line, path, ++number, error);
    }
    buf_free(&text);
    return rc;
}

/* Takes "--name value" or "--name=value" off the arguments; *i is then at the last of them. */
static int read_argument(struct options *o, int argc, char **argv, int *i, const char **config,
                         char error[OPTIONS_ERROR_MAX])
{
    const char *name = argv[*i] + 2, *equals, *value = NULL;
    const struct row *r;
    size_t n;

    if (strncmp(argv[*i], "--", 2) != 0) {
        snprintf(error, OPTIONS_ERROR_MAX, "%s is no option", argv[*i]);
        return -1;
    }
    equals = strchr(name, '=');
    n = equals ? (size_t)(equals - name) : strlen(name);
    r = row_named(name, n);
    if (!r && !(n == 6 && memcmp(name, "config", 6) == 0)) {
        snprintf(error, OPTIONS_ERROR_MAX, "there is no option --%.*s", (int)n, name);
        return -1;
    }
    if (equals)
        value = equals + 1;
    else if (!(r && r->is_flag) && *i + 1 < argc)
        value = argv[++*i];
    if (!(r && r->is_flag) == !value) {
        snprintf(error, OPTIONS_ERROR_MAX, "--%.*s %s", (int)n, name, value ? "takes no value" : "needs a value");
        return -1;
    }
    if (!r)
        *config = value;
    else
        set(o, r, value, value ? strlen(value) : 0);
    return 0;
}

enum options_result options_read(struct options *o, int argc, char **argv, char error[OPTIONS_ERROR_MAX])
{
    const char *config = NULL;

    *o = (struct options){0};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return OPTIONS_HELP;
        if (strcmp(argv[i], "--version") == 0)
            return OPTIONS_VERSION;
        if (read_argument(o, argc, argv, &i, &config, error) != 0)
            return OPTIONS_BAD;
    }
    if (config && read_file(o, config, error) != 0)
        return OPTIONS_BAD;
    for (size_t i = 0; i < ROWS; i++)
        if (rows[i].initial)
            set(o, &rows[i], rows[i].initial, strlen(rows[i].initial));
    if (strlen(o->account) != 12 || strspn(o->account, "0123456789") != 12) {
        snprintf(error, OPTIONS_ERROR_MAX, "an account is twelve digits, not %s", o->account);
        return OPTIONS_BAD;
    }
    return OPTIONS_RUN;
}

void options_free(struct options *o)
{
    for (size_t i = 0; i < ROWS; i++)
        if (!rows[i].is_flag) {
            mem_free(*text_of(o, &rows[i]));
            *text_of(o, &rows[i]) = NULL;
        }
}
