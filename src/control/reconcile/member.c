/* Members: see member.h. */
#include "control/reconcile/member.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "control/model/catalog.h"
#include "control/model/cidr.h"
#include "control/model/model.h"
#include "control/reconcile/reconciler.h"
#include "control/reconcile/shard.h"

#define ASK_MS 5000
#define RETRY_US 500000
#define START_RETRY_MIN_US 100000
#define START_RETRY_MAX_US 10000000
#define WORDS_MAX 256
#define SETTINGS_MAX 128

/* What was asked of a node. It outlives the member if need be. */
struct asking {
    struct member *member; /* NULL: it is gone */
    struct node *node;
    unsigned outstanding;
    bool failed;
    bool *serves; /* to be set when all went well */
    bool becomes;
    char what[96];
};

struct member *member_new(struct runtime *r, struct view id)
{
    struct member *m = mem_zalloc(sizeof *m);

    m->runtime = r;
    snprintf(m->id, sizeof m->id, "%.*s", (int)id.n, id.p);
    return m;
}

/* Forgets the process and what it served. */
static void forget_node(struct member *m)
{
    node_free(m->node);
    m->node = NULL;
    m->life = MEMBER_DOWN;
    m->busy = m->hung = m->adopted = m->killed = m->regained = m->paused = false;
    m->serves_own = m->serves_reader = m->serves_primary = false;
    m->state = (struct node_state){0};
    m->follows[0] = '\0';
    buf_clear(&m->rules);
    buf_clear(&m->settings);
    endpoint_free(m->reader);
    m->reader = NULL;
}

void member_free(struct member *m)
{
    if (!m)
        return;
    forget_node(m);
    endpoint_free(m->own);
    buf_free(&m->rules);
    buf_free(&m->settings);
    mem_free(m);
}

bool member_is_free(const struct member *m)
{
    return m->life == MEMBER_UP && !m->busy && !m->hung && clock_mono_us() >= m->retry_us;
}

/* ---- asking ---- */

static void take_state(struct member *m, const struct node_state *state)
{
    m->state = *state;
    m->seen_us = clock_mono_us();
}

static void finish(struct asking *a, const struct node_state *state)
{
    struct member *m = a->member;

    if (m && m->node == a->node) {
        m->busy = false;
        m->ask_failed = a->failed || !state;
        if (state)
            take_state(m, state);
        if (a->failed || !state)
            m->retry_us = clock_mono_us() + RETRY_US;
        runtime_kick(m->runtime, 0);
    }
    mem_free(a);
}

static void on_hello(void *arg, const struct redisReply *reply, int descriptor, const char *error)
{
    struct asking *a = arg;
    struct node_state state;

    (void)descriptor;
    if (!error && hello_parse(reply, &state) == NULL) {
        finish(a, &state);
        return;
    }
    a->failed = true;
    finish(a, NULL);
}

static void ask_hello(struct asking *a)
{
    if (node_command_words(a->node, ASK_MS, on_hello, a, NODE_WORDS("LARDER", "HELLO")) != 0) {
        a->failed = true;
        finish(a, NULL);
    }
}

/* The last of what was asked is over. */
static void conclude(struct asking *a)
{
    if (!a->member || a->member->node != a->node) {
        mem_free(a);
        return;
    }
    if (a->serves && !a->failed)
        *a->serves = a->becomes;
    ask_hello(a);
}

static void note_failure(struct asking *a, const char *error)
{
    a->failed = true;
    if (a->member && a->member->node == a->node)
        log_warning("%s: %s: %s", a->member->id, a->what, error);
}

static void on_reply(void *arg, const struct redisReply *reply, int descriptor, const char *error)
{
    struct asking *a = arg;

    (void)reply;
    (void)descriptor;
    if (error)
        note_failure(a, error);
    if (--a->outstanding == 0)
        conclude(a);
}

static struct asking *asking_new(struct member *m, const char *what)
{
    struct asking *a = mem_zalloc(sizeof *a);

    a->member = m;
    a->node = m->node;
    snprintf(a->what, sizeof a->what, "%s", what);
    m->busy = true;
    return a;
}

/* Sends one command of several; n words. */
static void send_one(struct asking *a, const char *const *words, size_t n)
{
    struct view argv[WORDS_MAX];
    struct command c = {.argc = n, .argv = argv, .timeout_ms = ASK_MS, .descriptor = -1};

    for (size_t i = 0; i < n; i++)
        argv[i] = view_str(words[i]);
    a->outstanding++;
    if (node_command(a->node, &c, on_reply, a) != 0) {
        a->failed = true;
        a->outstanding--;
    }
}

void member_ask_all(struct member *m, const char *const *words)
{
    struct asking *a = asking_new(m, words[0]);

    while (*words) {
        size_t n = 0;
        while (n < WORDS_MAX && words[n] && words[n][0] != '\0')
            n++;
        send_one(a, words, n);
        words += words[n] ? n + 1 : n;
    }
    if (a->outstanding == 0)
        conclude(a);
}

void member_ask(struct member *m, const char *const *words)
{
    member_ask_all(m, words);
}

void member_ask_hello(struct member *m)
{
    ask_hello(asking_new(m, "LARDER HELLO"));
}

static void on_moved(void *arg, const char *error)
{
    struct asking *a = arg;

    if (error)
        note_failure(a, error);
    conclude(a);
}

void member_give(struct member *m, struct endpoint *e, const char *name, bool *serves)
{
    struct asking *a = asking_new(m, "LARDER LISTEN");

    a->serves = serves;
    a->becomes = true;
    if (endpoint_give(e, m->node, name, on_moved, a) != 0)
        on_moved(a, "it cannot be asked");
}

void member_take(struct member *m, const char *name, bool closes, bool *serves)
{
    struct asking *a = asking_new(m, "LARDER UNLISTEN");

    a->serves = serves;
    if (endpoint_take(m->node, name, closes, on_moved, a) != 0)
        on_moved(a, "it cannot be asked");
}

/* ---- what an adopted node serves ---- */

struct regaining {
    struct asking *asking;
    struct endpoint **place;
    bool *serves;
};

static void on_regained(void *arg, struct endpoint *e, const char *error)
{
    struct regaining *g = arg;
    struct asking *a = g->asking;
    bool is_there = a->member && a->member->node == a->node;

    if (is_there && e && !*g->place) {
        *g->place = e;
        *g->serves = !error;
    } else {
        endpoint_free(e);
    }
    mem_free(g);
    if (--a->outstanding > 0)
        return;
    if (is_there)
        a->member->regained = true;
    conclude(a);
}

static void regain(struct asking *a, const char *name, struct endpoint **place, bool *serves)
{
    struct regaining *g = mem_zalloc(sizeof *g);

    *g = (struct regaining){a, place, serves};
    a->outstanding++;
    if (endpoint_regain(a->node, name, on_regained, g) != 0)
        on_regained(g, NULL, "it cannot be asked");
}

void member_regain(struct member *m)
{
    struct asking *a = asking_new(m, "LARDER HANDBACK");

    a->outstanding++; /* until all are asked for */
    regain(a, "node", &m->own, &m->serves_own);
    regain(a, "reader", &m->reader, &m->serves_reader);
    regain(a, "primary", &m->runtime->primary_endpoint, &m->serves_primary);
    if (--a->outstanding == 0)
        conclude(a);
}

/* ---- settings ---- */

/* Is that line in the text? */
static bool has_line(const struct buf *text, const char *line, size_t n)
{
    const char *p = text->p, *end = buf_live(text) > 0 ? text->p + text->len : text->p;

    for (; p && p < end; p = memchr(p, '\n', (size_t)(end - p)), p = p ? p + 1 : end)
        if ((size_t)(end - p) > n && memcmp(p, line, n) == 0 && p[n] == '\n')
            return true;
    return false;
}

void member_set(struct member *m, const struct buf *wanted)
{
    struct asking *a = asking_new(m, "CONFIG SET");
    char *text = mem_strndup(wanted->p, buf_live(wanted));

    for (char *line = text, *next; *line; line = next) {
        const char *words[] = {"CONFIG", "SET", line, NULL, NULL};
        char *space = strchr(line, ' ');
        next = strchr(line, '\n');
        if (!next)
            break;
        *next++ = '\0';
        if (!space || has_line(&m->settings, line, strlen(line)))
            continue;
        *space = '\0';
        words[3] = space + 1;
        send_one(a, words, 4);
    }
    buf_clear(&m->settings);
    buf_put_view(&m->settings, buf_view(wanted));
    if (a->outstanding == 0)
        conclude(a);
    mem_free(text);
}

/* ---- the process ---- */

static void restart_later(struct member *m)
{
    int64_t wait = START_RETRY_MIN_US;

    for (unsigned i = 1; i < m->failed_starts && wait < START_RETRY_MAX_US; i++)
        wait *= 2;
    m->start_us = clock_mono_us() + (m->failed_starts > 0 ? wait : 0);
    runtime_kick(m->runtime, m->failed_starts > 0 ? wait : 0);
}

static void on_event(void *arg, struct node *n, const struct node_event *e)
{
    struct member *m = arg;

    (void)n;
    switch (e->what) {
    case NODE_READY:
        m->life = m->life == MEMBER_STOPPING ? MEMBER_STOPPING : MEMBER_UP;
        m->adopted = e->was_adopted;
        m->regained = !e->was_adopted;
        m->met = true;
        m->failed_starts = 0;
        m->hung = false;
        take_state(m, e->state);
        log_notice("%s is up, process %d%s", m->id, (int)e->state->pid, e->was_adopted ? ", adopted" : "");
        break;
    case NODE_STATE:
        m->hung = false;
        if (!m->busy)
            take_state(m, e->state);
        break;
    case NODE_HUNG:
        log_warning("%s hangs: %s", m->id, e->text);
        m->hung = true;
        break;
    case NODE_DIED:
        log_warning("%s: %s", m->id, e->text);
        m->met = true;
        forget_node(m);
        restart_later(m);
        break;
    case NODE_FAILED:
        log_warning("%s does not start: %s", m->id, e->text);
        snprintf(m->failure, sizeof m->failure, "%s", e->text);
        m->failed_starts++;
        m->met |= !e->was_adopted;
        forget_node(m);
        restart_later(m);
        break;
    }
    runtime_kick(m->runtime, 0);
}

static void put_setting(void *arg, struct view name, struct view value, bool reboot)
{
    struct buf *out = arg;

    (void)reboot;
    buf_printf(out, "%.*s %.*s\n", (int)name.n, name.p, (int)value.n, value.p);
}

void member_settings(const struct member *m, const struct cache_cluster *c, struct buf *out)
{
    const struct catalog_node_type *type = catalog_node_type(c->node_type);
    struct catalog_group group;

    if (type && catalog_group(reconciler_model(m->runtime->reconciler), c->parameter_group, &group))
        catalog_directives(&group, type, put_setting, out);
}

/* Lines "name value" as the agent takes them; they live in the text. */
static size_t split_settings(char *text, struct node_setting *out, size_t max)
{
    size_t n = 0;

    for (char *line = text, *next; *line && n < max; line = next) {
        char *space = strchr(line, ' ');
        next = strchr(line, '\n');
        if (!next || !space || space > next)
            break;
        *space = *next++ = '\0';
        out[n++] = (struct node_setting){line, space + 1, true};
    }
    return n;
}

void member_start(struct member *m, const struct cache_cluster *c, const char *secret)
{
    struct node_setting settings[SETTINGS_MAX];
    char directory[MEMBER_ID_MAX + 8], error[NODE_ERROR_MAX], address[CIDR_TEXT_MAX], port[8], *text;
    struct node_spec spec = {.id = m->id, .directory = directory};

    if (clock_mono_us() < m->start_us)
        return;
    buf_clear(&m->settings);
    member_settings(m, c, &m->settings);
    text = mem_strndup(buf_live(&m->settings) > 0 ? m->settings.p : "", buf_live(&m->settings));
    spec.config.settings = settings;
    spec.config.setting_count = split_settings(text, settings, SETTINGS_MAX - 3);
    if (runtime_address(m->runtime, m, address)) {
        /* it has no port of its own that others could be told of */
        snprintf(port, sizeof port, "%d", (int)c->port);
        settings[spec.config.setting_count++] = (struct node_setting){"replica-announce-ip", address, false};
        settings[spec.config.setting_count++] = (struct node_setting){"replica-announce-port", port, false};
        settings[spec.config.setting_count++] = (struct node_setting){"bind-source-addr", address, false};
    }
    spec.config.replication_secret = secret;
    snprintf(directory, sizeof directory, "%s", m->id);
    if (node_start(reconciler_agent(m->runtime->reconciler), &spec, on_event, m, &m->node, error) != 0) {
        log_warning("%s cannot be started: %s", m->id, error);
        snprintf(m->failure, sizeof m->failure, "%s", error);
        m->failed_starts++;
        restart_later(m);
    } else {
        m->life = MEMBER_STARTING;
    }
    mem_free(text);
}
