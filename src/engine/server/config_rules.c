/*
 * Rules of the directives that are more than a number, a word of a list or any string: each checks its arguments and
 * says what text is kept, the one that CONFIG GET answers. The reasons are Redis's words, because tools match them.
 */
#include "engine/server/config_table.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/num.h"
#include "engine/server/config_words.h"

#define BIND_MAX 16
#define HOSTNAME_MAX 255

static bool is_only_empty(const struct config_input *in)
{
    return in->n == 0 || (in->n == 1 && in->args[0].n == 0);
}

static void put_separated(struct buf *out, size_t start, struct view word)
{
    if (out->len != start)
        buf_put_char(out, ' ');
    buf_put_view(out, word);
}

/* An integer within [min, max]? */
static bool parse_within(struct view v, int64_t min, int64_t max, int64_t *out)
{
    return num_parse_int(v, out) && *out >= min && *out <= max;
}

/* ---- lists ---- */

bool config_rule_save(const struct config_input *in, struct buf *out, struct config_reason *why)
{
    size_t start = out->len;
    int64_t n;

    if (is_only_empty(in))
        return true;
    if (in->n % 2 != 0)
        return config_refuse(why, "Invalid save parameters");
    buf_put_view(out, in->old);
    for (size_t i = 0; i < in->n; i++) {
        if (!parse_within(in->args[i], i % 2 == 0 ? 1 : 0, INT64_MAX, &n))
            return config_refuse(why, "Invalid save parameters");
        put_separated(out, start, in->args[i]);
    }
    return true;
}

bool config_rule_bind(const struct config_input *in, struct buf *out, struct config_reason *why)
{
    size_t start = out->len, count = 0;

    for (size_t i = 0; i < in->n; i++) {
        struct view v = in->args[i];

        if (v.n == 0)
            continue;
        if (++count > BIND_MAX)
            return config_refuse(why, "Too many bind addresses specified.");
        for (size_t k = 0; k < v.n; k++)
            if (v.p[k] <= ' ' || v.p[k] > '~' || v.n == (v.p[0] == '-'))
                return config_refuse(why, "Invalid bind address");
        put_separated(out, start, v);
    }
    return true;
}

bool config_parse_cidr(struct view v, struct config_cidr *out)
{
    char text[INET6_ADDRSTRLEN];
    const char *slash = v.n != 0 ? memchr(v.p, '/', v.n) : NULL;
    size_t n = slash != NULL ? (size_t)(slash - v.p) : v.n;
    unsigned width;
    int64_t bits;

    if (n == 0 || n >= sizeof text || memchr(v.p, '\0', n) != NULL)
        return false;
    memcpy(text, v.p, n);
    text[n] = '\0';
    *out = (struct config_cidr){.family = memchr(text, ':', n) != NULL ? AF_INET6 : AF_INET};
    width = out->family == AF_INET6 ? 128 : 32;
    if (inet_pton(out->family, text, out->addr) != 1)
        return false;
    bits = width;
    if (slash != NULL && !parse_within(view_of(slash + 1, v.n - n - 1), 0, width, &bits))
        return false;
    out->bits = (unsigned)bits;
    for (unsigned i = out->bits; i < width; i++)
        out->addr[i / 8] &= (uint8_t) ~(0x80u >> i % 8);
    return true;
}

bool config_rule_allow_from(const struct config_input *in, struct buf *out, struct config_reason *why)
{
    size_t start = out->len;
    struct config_cidr cidr;

    for (size_t i = 0; i < in->n; i++) {
        struct view v = in->args[i];

        if (v.n == 0)
            continue;
        if (!config_parse_cidr(v, &cidr))
            return config_refuse(why, "'%.*s' is not an address block such as 10.0.0.0/8 or fd00::/8",
                                 (int)(v.n < 100 ? v.n : 100), v.p);
        put_separated(out, start, v);
    }
    return true;
}

/* The shortest decimal text that reads back as the same number, which is at most 100. */
static void put_double(struct buf *out, double d)
{
    char text[40];

    if (d == (int)d) {
        buf_printf(out, "%d", (int)d);
        return;
    }
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, d);
        if (strtod(text, NULL) == d)
            break;
    }
    buf_put(out, text, strlen(text));
}

bool config_rule_percentiles(const struct config_input *in, struct buf *out, struct config_reason *why)
{
    size_t start = out->len;
    double d;

    if (is_only_empty(in))
        return true;
    for (size_t i = 0; i < in->n; i++) {
        if (!num_parse_double(in->args[i], &d))
            return config_refuse(why, "Invalid latency-tracking-info-percentiles parameters");
        if (d < 0 || d > 100)
            return config_refuse(why, "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]");
        put_separated(out, start, view_of("", 0));
        put_double(out, d);
    }
    return true;
}

bool config_rule_oom_values(const struct config_input *in, struct buf *out, struct config_reason *why)
{
    size_t start = out->len;
    int64_t n;

    if (in->n != 3)
        return config_refuse(why, "wrong number of arguments");
    for (size_t i = 0; i < in->n; i++) {
        if (!parse_within(in->args[i], -2000, 2000, &n))
            return config_refuse(why, "Invalid oom-score-adj-values, elements must be between -2000 and 2000.");
        put_separated(out, start, in->args[i]);
    }
    return true;
}

bool config_rule_replicaof(const struct config_input *in, struct buf *out, struct config_reason *why)
{
    int64_t port;

    if (in->n != 2)
        return config_refuse(why, "wrong number of arguments");
    if (view_is(in->args[0], "no") && view_is(in->args[1], "one"))
        return true;
    if (!parse_within(in->args[1], 0, 65535, &port))
        return config_refuse(why, "Invalid master port");
    for (size_t i = 0; i < in->args[0].n; i++)
        if (in->args[0].p[i] <= ' ' || in->args[0].p[i] > '~')
            return config_refuse(why, "Invalid master host");
    buf_put_view(out, in->args[0]);
    buf_printf(out, " %d", (int)port);
    return true;
}

bool config_rule_shutdown(const struct config_input *in, struct buf *out, struct config_reason *why)
{
    enum { SAVE = 1, NOSAVE = 2 };
    size_t start = out->len;
    int bits = 0;

    for (size_t i = 0; i < in->n; i++) {
        const struct config_name *name = config_name_find(in->row->names, in->args[i]);

        if (name == NULL)
            return config_refuse_name(why, in->row->names);
        bits |= name->value;
    }
    if (in->n == 0)
        return config_refuse_name(why, in->row->names);
    if ((bits & SAVE) && (bits & NOSAVE))
        return config_refuse(why, "shutdown options SAVE and NOSAVE can't be used simultaneously");
    for (const struct config_name *name = in->row->names; name->name != NULL; name++)
        if (bits != 0 ? (bits & name->value) != 0 : name->value == 0)
            put_separated(out, start, view_str(name->name));
    return true;
}

/* ---- strings ---- */

/* Letters of events; 'A' stands for the first nine. */
bool config_rule_notify(const struct config_input *in, struct buf *out, struct config_reason *why)
{
    static const char letters[] = "g$lshzxetdnKEm";
    const unsigned all = (1u << 10) - 1;
    struct view v = in->args[0];
    unsigned bits = 0;

    for (size_t i = 0; i < v.n; i++) {
        const char *at = v.p[i] != '\0' ? strchr(letters, v.p[i]) : NULL;

        if (v.p[i] == 'A')
            bits |= all;
        else if (at != NULL)
            bits |= 1u << (at - letters);
        else
            return config_refuse(why, "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.");
    }
    if ((bits & all) == all) {
        buf_put_char(out, 'A');
        bits &= ~all;
    }
    for (size_t i = 0; letters[i] != '\0'; i++)
        if (bits & 1u << i)
            buf_put_char(out, letters[i]);
    return true;
}

bool config_rule_filename(const struct config_input *in, struct buf *out, struct config_reason *why)
{
    struct view v = in->args[0];
    const char *name = in->row->name;
    bool is_snapshot = strcmp(name, "dbfilename") == 0;

    if (v.n == 0 && !is_snapshot)
        return config_refuse(why, "%s can't be empty", name);
    for (size_t i = 0; i < v.n; i++)
        if (v.p[i] == '/' || v.p[i] == '\\')
            return config_refuse(why, "%s can't be a path, just a %s", name,
                                 strcmp(name, "appenddirname") == 0 ? "dirname" : "filename");
    buf_put_view(out, v);
    return true;
}

/* Kept absolute, because the process changes to it. */
bool config_rule_dir(const struct config_input *in, struct buf *out, struct config_reason *why)
{
    char path[PATH_MAX], real[PATH_MAX];
    struct view v = in->args[0];
    struct stat st;

    if (v.n >= sizeof path)
        return config_refuse(why, "%s", strerror(ENAMETOOLONG));
    memcpy(path, v.p, v.n);
    path[v.n] = '\0';
    if (realpath(path, real) == NULL || stat(real, &st) != 0)
        return config_refuse(why, "%s", strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return config_refuse(why, "%s", strerror(ENOTDIR));
    if (access(real, X_OK) != 0)
        return config_refuse(why, "%s", strerror(errno));
    buf_put(out, real, strlen(real));
    return true;
}

bool config_rule_socket(const struct config_input *in, struct buf *out, struct config_reason *why)
{
    struct sockaddr_un sa;

    if (in->args[0].n >= sizeof sa.sun_path)
        return config_refuse(why, "the path of a unix socket must be shorter than %zu bytes", sizeof sa.sun_path);
    buf_put_view(out, in->args[0]);
    return true;
}

/* Text with {variables}. */
bool config_rule_title(const struct config_input *in, struct buf *out, struct config_reason *why)
{
    static const char *const variables[] = {
        "{title}", "{listen-addr}", "{server-mode}", "{port}", "{tls-port}", "{unixsocket}", "{config-file}",
    };
    struct view v = in->args[0];
    bool ok = v.n != 0;

    for (size_t i = 0; i < v.n && ok; i++) {
        if (v.p[i] != '{')
            continue;
        ok = false;
        for (size_t k = 0; k < sizeof variables / sizeof *variables && !ok; k++)
            ok = v.n - i >= strlen(variables[k]) && memcmp(v.p + i, variables[k], strlen(variables[k])) == 0;
    }
    if (!ok)
        return config_refuse(why, "template format is invalid or contains unknown variables");
    buf_put_view(out, v);
    return true;
}

bool config_rule_hostname(const struct config_input *in, struct buf *out, struct config_reason *why)
{
    struct view v = in->args[0];

    if (v.n > HOSTNAME_MAX)
        return config_refuse(why, "Hostnames must be less than 256 characters");
    for (size_t i = 0; i < v.n; i++) {
        char ch = ascii_lower(v.p[i]);

        if (!(ch >= 'a' && ch <= 'z') && !(ch >= '0' && ch <= '9') && ch != '-' && ch != '.')
            return config_refuse(why, "Hostnames may only contain alphanumeric characters, hyphens or dots");
    }
    buf_put_view(out, v);
    return true;
}

/* ---- client-output-buffer-limit ---- */

struct limit_values {
    int64_t hard, soft, soft_seconds;
};

const struct config_output_limit *config_output_limit(const struct config *c, size_t i)
{
    const struct config_output_limit *limits[CONFIG_OUTPUT_CLASSES] = {&c->output_normal, &c->output_replica,
                                                                       &c->output_pubsub};

    return limits[i];
}

const char *config_output_class(size_t i)
{
    static const char *const names[CONFIG_OUTPUT_CLASSES] = {"normal", "replica", "pubsub"};

    return names[i];
}

static bool parse_size(struct view v, int64_t *out)
{
    uint64_t u;

    if (!num_parse_memory(v, &u) || u > INT64_MAX)
        return false;
    *out = (int64_t)u;
    return true;
}

/* The class that a word names, CONFIG_OUTPUT_CLASSES for none. */
static size_t class_of(struct view v)
{
    if (view_is(v, "slave"))
        return 1;
    for (size_t i = 0; i < CONFIG_OUTPUT_CLASSES; i++)
        if (view_equal_case(v, view_str(config_output_class(i))))
            return i;
    return CONFIG_OUTPUT_CLASSES;
}

bool config_output_limit_set(struct config *c, const struct view *args, size_t n, struct config_reason *why)
{
    struct limit_values values[CONFIG_OUTPUT_CLASSES];
    bool set[CONFIG_OUTPUT_CLASSES] = {false};

    if (n % 4 != 0)
        return config_refuse(why, "Wrong number of arguments in buffer limit configuration.");
    for (size_t i = 0; i < n; i += 4) {
        size_t class = class_of(args[i]);
        struct limit_values *l = &values[class];

        if (class == CONFIG_OUTPUT_CLASSES)
            return config_refuse(why, "Invalid client class specified in buffer limit configuration.");
        if (!parse_size(args[i + 1], &l->hard) || !parse_size(args[i + 2], &l->soft) ||
            !parse_within(args[i + 3], 0, INT_MAX, &l->soft_seconds))
            return config_refuse(why, "Error in hard, soft or soft_seconds setting in buffer limit configuration.");
        set[class] = true;
    }
    for (size_t i = 0; i < CONFIG_OUTPUT_CLASSES; i++) {
        struct config_output_limit *l = (struct config_output_limit *)config_output_limit(c, i);

        if (!set[i])
            continue;
        atomic_store_explicit(&l->hard, values[i].hard, memory_order_relaxed);
        atomic_store_explicit(&l->soft, values[i].soft, memory_order_relaxed);
        atomic_store_explicit(&l->soft_seconds, values[i].soft_seconds, memory_order_relaxed);
    }
    return true;
}

void config_output_limit_get(const struct config *c, struct buf *out)
{
    for (size_t i = 0; i < CONFIG_OUTPUT_CLASSES; i++) {
        const struct config_output_limit *l = config_output_limit(c, i);

        /* CONFIG GET has kept the old name of the class. */
        buf_printf(out, "%s%s %lld %lld %lld", i != 0 ? " " : "", i == 1 ? "slave" : config_output_class(i),
                   (long long)l->hard, (long long)l->soft, (long long)l->soft_seconds);
    }
}
