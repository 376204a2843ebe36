/* Shards at run time: see shard.h. Each function of the step does what can be done now, and says whether all is as it ought
 * to be. */
#include "control/reconcile/shard.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "control/model/cidr.h"
#include "control/model/events.h"
#include "control/model/rules.h"
#include "control/reconcile/operation.h"
#include "control/reconcile/reconciler.h"

#define SETTLED_US 1000000 /* until a shard is looked at again when nothing happens */
#define UNSETTLED_US 20000
#define FRESH_WAIT_US 300000   /* for replicas to say how far they are, after a primary was lost */
#define OTHERS_WAIT_US 3000000 /* for other members that may have more data */
#define RULES_WORDS 250

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct runtime *r = arg;

    (void)fd;
    (void)what;
    if (!reconciler_is_stopping(r->reconciler) && !runtime_step(r))
        reconciler_drop(r->reconciler, r);
}

struct runtime *runtime_new(struct reconciler *reconciler, struct view shard_id)
{
    struct runtime *r = mem_zalloc(sizeof *r);

    r->reconciler = reconciler;
    snprintf(r->id, sizeof r->id, "%.*s", (int)shard_id.n, shard_id.p);
    TAILQ_INIT(&r->members);
    r->timer = evtimer_new(reconciler_base(reconciler), on_timer, r);
    return r;
}

void runtime_free(struct runtime *r)
{
    struct member *m;

    if (!r)
        return;
    while ((m = TAILQ_FIRST(&r->members))) {
        TAILQ_REMOVE(&r->members, m, link);
        member_free(m);
    }
    endpoint_free(r->primary_endpoint);
    event_free(r->timer);
    mem_free(r);
}

void runtime_kick(struct runtime *r, int64_t in_us)
{
    const struct timeval in = {in_us / 1000000, in_us % 1000000};
    struct timeval due, now;

    if (event_pending(r->timer, EV_TIMEOUT, &due)) {
        evutil_gettimeofday(&now, NULL);
        timersub(&due, &now, &due);
        if (due.tv_sec < in.tv_sec || (due.tv_sec == in.tv_sec && due.tv_usec <= in.tv_usec))
            return;
    }
    event_add(r->timer, &in);
}

struct member *runtime_member(struct runtime *r, struct view id)
{
    struct member *m;

    TAILQ_FOREACH(m, &r->members, link)
        if (view_equal(view_str(m->id), id))
            return m;
    return NULL;
}

static struct model *model_of(const struct runtime *r)
{
    return reconciler_model(r->reconciler);
}

/* Is it the process that the switchover began with? Another one knows nothing of it. */
static bool is_still(struct runtime *r, unsigned i)
{
    const struct member *m = runtime_member(r, view_str(r->switching[i].id));

    return m && m->life == MEMBER_UP && !m->hung && m->state.pid == r->switching[i].pid;
}

bool runtime_is_switching(struct runtime *r)
{
    const struct shard *s = model_shard(model_of(r), view_str(r->id));

    return r->target[0] != '\0' && s && !view_equal(s->primary, view_str(r->target)) && is_still(r, 0) &&
           is_still(r, 1);
}

/* ---- looks ---- */

static const struct cache_cluster *record_of(const struct runtime *r, const struct member *m)
{
    return model_cache_cluster(model_of(r), view_str(m->id));
}

/* Says it once. */
static void complain(struct runtime *r, const char *text)
{
    if (strcmp(r->complaint, text) == 0)
        return;
    snprintf(r->complaint, sizeof r->complaint, "%s", text);
    log_warning("%s: %s", r->id, text);
}

static bool is_ready(const struct member *m)
{
    return m->life == MEMBER_UP && m->regained && !m->hung && !m->leaving;
}

static bool is_primary(const struct member *m)
{
    return is_ready(m) && m->state.is_granted && m->state.role == NODE_PRIMARY;
}

/* Asks for a hello unless one came just now. */
static void poll(struct member *m)
{
    if (member_is_free(m) && clock_mono_us() - m->seen_us >= UNSETTLED_US / 2)
        member_ask_hello(m);
}

bool runtime_address(const struct runtime *r, const struct member *m, char *out)
{
    const struct cache_cluster *c = record_of(r, m);
    uint32_t address;

    if (!c || !r->has_shadow || !cidr_parse_address(c->address, &address))
        return false;
    cidr_format_address(out, r->shadow | (address & 0xffff));
    return true;
}

/* ---- members ---- */

static void sync_members(struct runtime *r, const struct shard *s)
{
    struct member *m;

    for (size_t i = 0; s && i < s->members.count; i++)
        if (model_cache_cluster(model_of(r), s->members.items[i]) && !runtime_member(r, s->members.items[i])) {
            m = member_new(r, s->members.items[i]);
            TAILQ_INSERT_TAIL(&r->members, m, link);
        }
    TAILQ_FOREACH(m, &r->members, link) {
        const struct cache_cluster *c = record_of(r, m);
        m->leaving |= !c || view_equal(c->status, VIEW("deleting"));
    }
}

static bool claim_shadow(struct runtime *r, const struct shard *s)
{
    const struct cache_cluster *c =
        s && s->members.count > 0 ? model_cache_cluster(model_of(r), s->members.items[0]) : NULL;
    const struct subnet *subnet = c ? model_subnet(model_of(r), c->subnet_id) : NULL;

    if (r->has_shadow || !subnet)
        return r->has_shadow;
    if (reconciler_shadow(r->reconciler, subnet->vpc_id, &r->shadow) != 0) {
        complain(r, "there is no free block of loopback addresses for its VPC");
        return false;
    }
    r->has_shadow = true;
    return true;
}

/* One that is to go. A process that this service has not met may still be there: it is adopted, to be killed. */
static bool end_member(struct member *m, const struct cache_cluster *c)
{
    if (m->life == MEMBER_DOWN && !m->met && c) {
        member_start(m, c, "");
        return false;
    }
    if (m->node && !m->killed) {
        node_kill(m->node);
        m->killed = true;
    }
    return m->life == MEMBER_DOWN;
}

static void start_member(struct runtime *r, const struct shard *s, struct member *m, const struct cache_cluster *c)
{
    struct buf secret = {0};

    if (reconciler_secret(r->reconciler, s, &secret) != 0) {
        complain(r, "its secret cannot be read");
        return;
    }
    buf_put_char(&secret, '\0');
    member_start(m, c, secret.p);
    explicit_bzero(secret.p, secret.len);
    buf_free(&secret);
}

static bool run_member(struct runtime *r, const struct shard *s, struct member *m)
{
    const struct cache_cluster *c = record_of(r, m);

    if (m->leaving)
        return end_member(m, c);
    if (m->life == MEMBER_DOWN)
        start_member(r, s, m, c);
    if ((m->life == MEMBER_UP || m->life == MEMBER_STARTING) && m->hung && !m->killed) {
        node_kill(m->node);
        m->killed = true;
    }
    if (m->life == MEMBER_UP && view_equal(c->status, VIEW("rebooting cluster nodes")) && !m->reboots) {
        m->reboots = true;
        m->life = MEMBER_STOPPING;
        node_stop(m->node, MEMBER_STOP_MS);
    }
    return m->life == MEMBER_UP && !m->hung;
}

static bool run_members(struct runtime *r, const struct shard *s)
{
    bool settled = true;
    struct member *m;

    TAILQ_FOREACH(m, &r->members, link)
        settled &= run_member(r, s, m);
    return settled;
}

/* ---- roles ---- */

static void note_primary(struct runtime *r, const struct shard *s, const struct member *m)
{
    struct txn *t = txn_begin(model_of(r));
    struct shard *edited = txn_edit_shard(t, s->id);
    struct cache_cluster *c = txn_edit_cache_cluster(t, view_str(m->id));
    bool replaced = s->epoch > 0 && !view_equal(s->primary, view_str(m->id));
    char text[256];

    if (replaced) {
        snprintf(text, sizeof text, "Failover from primary node %.*s to replica node %s completed", (int)s->primary.n,
                 s->primary.p, m->id);
        events_add(t, model_of(r), "cache-cluster", view_str(m->id), view_str(text), clock_wall_ms());
        if (s->grouped)
            events_add(t, model_of(r), "replication-group", s->owner, view_str(text), clock_wall_ms());
        log_notice("%s: %s", r->id, text);
    }
    edited->primary = txn_text(t, edited, view_str(m->id));
    edited->epoch = m->state.epoch;
    c->had_data = true;
    txn_commit(t, NULL, NULL);
}

/* What nodes that were there before this service serve, and who of all is the primary in truth. */
static bool learn(struct runtime *r, const struct shard *s)
{
    struct member *m, *best = NULL;
    bool settled = true;

    TAILQ_FOREACH(m, &r->members, link) {
        if (m->life == MEMBER_UP && !m->regained) {
            if (member_is_free(m))
                member_regain(m);
            settled = false;
        }
        if (is_primary(m) && (!best || m->state.epoch > best->state.epoch))
            best = m;
    }
    if (best && best->state.epoch > s->epoch)
        note_primary(r, s, best);
    return settled;
}

/* Makes it the primary of a new epoch. */
static void promote(struct member *m, const struct shard *s)
{
    char epoch[24];
    int64_t last = s->epoch > m->state.epoch ? s->epoch : m->state.epoch;
    const char *words[] = {"REPLICAOF", "NO", "ONE", "", "LARDER", "GRANT", epoch, NULL};

    if (!member_is_free(m))
        return;
    snprintf(epoch, sizeof epoch, "%" PRId64, last + 1);
    m->follows[0] = '\0';
    member_ask_all(m, words);
}

/* Has it follow another member; grants: as a replica that serves. */
static void attach(struct runtime *r, const struct shard *s, struct member *m, const struct member *to, bool grants)
{
    const struct cache_cluster *c = record_of(r, to);
    char address[CIDR_TEXT_MAX], port[8], epoch[24];
    const char *words[] = {"REPLICAOF", address, port, "", "CLIENT", "UNPAUSE", "", "LARDER", "GRANT", epoch, NULL};

    if (!member_is_free(m) || !runtime_address(r, to, address))
        return;
    snprintf(port, sizeof port, "%d", (int)c->port);
    snprintf(epoch, sizeof epoch, "%" PRId64, s->epoch > m->state.epoch ? s->epoch : m->state.epoch);
    snprintf(m->follows, sizeof m->follows, "%s", to->id);
    if (!grants)
        words[3] = NULL;
    m->paused = false;
    member_ask_all(m, words);
}

/* Has it stand still, so that another can have all that it has: nobody is followed, and no write is carried out. */
static void hold(struct member *m)
{
    static const char *const words[] = {"CLIENT", "PAUSE", "60000", "WRITE", "", "REPLICAOF", "NO", "ONE", NULL};

    if (!member_is_free(m))
        return;
    m->paused = true;
    m->follows[0] = '\0';
    member_ask_all(m, words);
}

/* Has it said how far it is since the primary was lost? */
static bool is_fresh(const struct runtime *r, const struct member *m)
{
    return m->seen_us > r->lost_us;
}

static bool all_fresh(struct runtime *r)
{
    bool fresh = true;
    struct member *m;

    TAILQ_FOREACH(m, &r->members, link)
        if (is_ready(m) && !is_fresh(r, m)) {
            poll(m);
            fresh = false;
        }
    return fresh;
}

/* For a failover those who are slow to say it are not waited for, and not chosen. */
static bool enough_fresh(struct runtime *r)
{
    return all_fresh(r) || clock_mono_us() - r->lost_us > FRESH_WAIT_US;
}

/* Who has served since the beginning, and has most of the stream. */
static struct member *most_advanced(struct runtime *r, const struct member *but)
{
    struct member *m, *best = NULL;

    TAILQ_FOREACH(m, &r->members, link)
        if (m != but && is_ready(m) && is_fresh(r, m) && m->state.is_granted && m->state.offset > 0 &&
            (!best || m->state.offset > best->state.offset))
            best = m;
    return best;
}

/* Somebody who restarted with more data than this one, and has not served since. */
static struct member *better_restarted(struct runtime *r, const struct member *than)
{
    struct member *m, *best = NULL;

    TAILQ_FOREACH(m, &r->members, link)
        if (m != than && is_ready(m) && !m->state.is_granted && m->state.keys > 0 &&
            m->state.offset > (best ? best : than)->state.offset)
            best = m;
    return best;
}

static bool others_are_up(const struct runtime *r, const struct member *but)
{
    const struct member *m;

    TAILQ_FOREACH(m, &r->members, link)
        if (m != but && !m->leaving && !(is_ready(m) && !m->state.is_loading))
            return false;
    return true;
}

/* Brings the primary's data back from somebody who still has it, and then makes it the primary again. It has no grant
 * meanwhile, so nobody can have its empty memory for a copy. */
static void bring_back(struct runtime *r, const struct shard *s, struct member *p, struct member *source)
{
    if (source->state.role == NODE_REPLICA)
        hold(source);
    else if (strcmp(p->follows, source->id) != 0)
        attach(r, s, p, source, false);
    else if (p->state.link == NODE_LINK_UP && p->state.offset >= source->state.offset)
        promote(p, s);
    else {
        poll(p);
        poll(source);
    }
}

/* The primary has lost its grant, and perhaps its memory. */
static void restore(struct runtime *r, const struct shard *s, struct member *p)
{
    struct member *source, *other;

    if (!all_fresh(r))
        return;
    if (s->epoch > 0 && !others_are_up(r, p) && clock_mono_us() - r->lost_us < OTHERS_WAIT_US)
        return;
    source = most_advanced(r, p);
    if (source && source->state.keys > 0 && !p->state.is_granted &&
        (strcmp(p->follows, source->id) == 0 || source->state.offset > p->state.offset)) {
        bring_back(r, s, p, source);
        return;
    }
    other = better_restarted(r, p);
    promote(other ? other : p, s);
}

static bool has_failover(const struct runtime *r, const struct shard *s)
{
    const struct replication_group *g = s->grouped ? model_replication_group(model_of(r), s->owner) : NULL;

    return g && g->automatic_failover && s->epoch > 0;
}

/* Is it known what every process that was there serves? Before that no address is free for certain, and nobody
 * may be made a primary. */
static bool all_known(const struct runtime *r)
{
    const struct member *m;

    TAILQ_FOREACH(m, &r->members, link)
        if ((!m->met && m->failed_starts < SHARD_STARTS_MAX) || (m->life == MEMBER_UP && !m->regained))
            return false;
    return true;
}

/* Sees to it that there is a primary. */
static bool lead(struct runtime *r, const struct shard *s)
{
    struct member *p = runtime_member(r, s->primary), *best;

    if (p && is_primary(p) && p->state.epoch == s->epoch) {
        r->lost_us = 0;
        return true;
    }
    if (r->lost_us == 0)
        r->lost_us = clock_mono_us();
    if (!all_known(r) || (p && !p->met))
        return false; /* one that is not adopted yet may be the primary, whatever the others and the record say */
    if (runtime_is_switching(r))
        return false; /* operation.c sees to it */
    if (p && is_ready(p) && p->state.is_loading) {
        poll(p);
        return false;
    }
    if (has_failover(r, s) && !(p && is_ready(p) && p->state.is_granted) && enough_fresh(r) &&
        (best = most_advanced(r, p)) && (!p || p->life != MEMBER_UP || !p->state.is_granted)) {
        promote(best, s);
        return false;
    }
    if (p && is_ready(p))
        restore(r, s, p);
    return false;
}

/* Replicas follow the primary. */
static bool follow(struct runtime *r, const struct shard *s)
{
    struct member *p = runtime_member(r, s->primary), *m;
    bool settled = true;

    if (!p->serves_own || runtime_is_switching(r))
        return false; /* in a switchover the nodes see to it: the target may be the primary, and nobody here know it yet */
    TAILQ_FOREACH(m, &r->members, link) {
        if (m == p || m->leaving)
            continue;
        if (!is_ready(m)) {
            settled = false;
        } else if (strcmp(m->follows, p->id) != 0 || m->state.role == NODE_PRIMARY || !m->state.is_granted) {
            attach(r, s, m, p, true);
            settled = false;
        } else if (m->state.link != NODE_LINK_UP) {
            poll(m);
            settled = false;
        }
    }
    return settled;
}

/* ---- endpoints ---- */

/* The other members may come as replicas, whatever the rules say. */
static void put_replicas(struct runtime *r, const struct member *but, struct buf *out)
{
    char address[CIDR_TEXT_MAX];
    const struct member *m;

    buf_put(out, LIT("replicas "));
    TAILQ_FOREACH(m, &r->members, link)
        if (m != but && runtime_address(r, m, address))
            buf_printf(out, "%s/32 ", address);
}

/* Who may connect; before anything is served. */
static bool give_rules(struct runtime *r, struct member *m, const struct cache_cluster *c)
{
    const char *words[RULES_WORDS + 4] = {"LARDER", "ALLOW"};
    struct buf wanted = {0};
    char version[24], *copy, *rest;
    size_t n = 3;
    bool is_same;

    rules_write(model_of(r), c, r->shadow, &wanted);
    if (buf_live(&wanted) == 0)
        buf_put(&wanted, LIT("none "));
    put_replicas(r, m, &wanted);
    is_same = view_equal(buf_view(&wanted), buf_view(&m->rules));
    if (is_same || !member_is_free(m)) {
        buf_free(&wanted);
        return is_same;
    }
    buf_put_char(&wanted, '\0');
    copy = mem_strndup(wanted.p, wanted.len);
    for (char *word = strtok_r(copy, " ", &rest); word && n < RULES_WORDS + 3; word = strtok_r(NULL, " ", &rest))
        words[n++] = word;
    snprintf(version, sizeof version, "%" PRId64, m->state.rules + 1);
    words[2] = version;
    words[n] = NULL;
    member_ask(m, words);
    mem_free(copy);
    wanted.len--; /* the NUL */
    buf_free(&m->rules);
    m->rules = wanted;
    return false;
}

static struct endpoint *open_at(struct runtime *r, struct view address, int64_t port, bool is_shared)
{
    char text[CIDR_TEXT_MAX], error[ENDPOINT_ERROR_MAX];
    struct endpoint *e;
    uint32_t a;

    if (!cidr_parse_address(address, &a))
        return NULL;
    cidr_format_address(text, r->shadow | (a & 0xffff));
    if (endpoint_open(text, (uint16_t)port, is_shared, &e, error) == 0) {
        r->failed_opens = 0;
        return e;
    }
    complain(r, error);
    r->failed_opens++;
    return NULL;
}

static bool serve_own(struct runtime *r, struct member *m, const struct cache_cluster *c)
{
    if (m->serves_own)
        return true;
    if (!member_is_free(m))
        return false;
    if (!m->own)
        m->own = open_at(r, c->address, c->port, false);
    if (m->own)
        member_give(m, m->own, "node", &m->serves_own);
    return false;
}

static bool wants_reader(struct runtime *r, const struct shard *s, const struct member *m)
{
    const struct member *other;

    if (!view_equal(view_str(m->id), s->primary))
        return m->state.role == NODE_REPLICA && m->state.link == NODE_LINK_UP;
    TAILQ_FOREACH(other, &r->members, link)
        if (other != m && other->serves_reader)
            return false;
    return true;
}

static bool serve_reader(struct runtime *r, const struct shard *s, struct member *m, const struct cache_cluster *c)
{
    bool wanted = wants_reader(r, s, m);

    if (m->serves_reader && m->reader && !m->busy) {
        /* The node's alone, so that the kernel sends nobody to it any more once it is dead. */
        endpoint_free(m->reader);
        m->reader = NULL;
    }
    if (!s->grouped || m->serves_reader == wanted) {
        if (!wanted && m->reader) {
            endpoint_free(m->reader);
            m->reader = NULL;
        }
        return true;
    }
    if (!member_is_free(m))
        return false;
    if (!wanted) {
        member_take(m, "reader", false, &m->serves_reader);
        return false;
    }
    if (!m->reader)
        m->reader = open_at(r, s->reader_address, c->port, true);
    if (m->reader)
        member_give(m, m->reader, "reader", &m->serves_reader);
    return false;
}

/* The primary endpoint moves: away from whoever had it, with all connections that came through it, then to the primary. */
static bool serve_primary(struct runtime *r, const struct shard *s)
{
    struct member *p = runtime_member(r, s->primary), *m;
    const struct cache_cluster *c = p ? record_of(r, p) : NULL;

    if (!s->grouped || !c)
        return !s->grouped;
    TAILQ_FOREACH(m, &r->members, link)
        if (m != p && m->serves_primary) {
            if (member_is_free(m))
                member_take(m, "primary", true, &m->serves_primary);
            if (m->life == MEMBER_UP && !m->hung)
                return false;
        }
    if (p->serves_primary)
        return true;
    if (!member_is_free(p))
        return false;
    if (!r->primary_endpoint)
        r->primary_endpoint = open_at(r, s->primary_address, c->port, false);
    if (r->primary_endpoint)
        member_give(p, r->primary_endpoint, "primary", &p->serves_primary);
    return false;
}

static bool serve_member(struct runtime *r, const struct shard *s, struct member *m)
{
    const struct cache_cluster *c = record_of(r, m);

    if (!is_ready(m) || !c)
        return m->leaving;
    if (!give_rules(r, m, c))
        return false;
    if (!m->state.is_granted)
        return false;
    return serve_own(r, m, c) && serve_reader(r, s, m, c);
}

static bool serve(struct runtime *r, const struct shard *s, bool led)
{
    bool settled = true;
    struct member *m;

    if (!all_known(r))
        return false;
    TAILQ_FOREACH(m, &r->members, link)
        settled &= serve_member(r, s, m);
    return led && serve_primary(r, s) && settled;
}

/* ---- settings ---- */

/* The node has its group's parameters as they are now. */
static void note_parameters(struct runtime *r, const struct cache_cluster *c)
{
    const struct parameter_group *g = model_parameter_group(model_of(r), c->parameter_group);
    struct txn *t;

    if (!g || g->version == c->parameter_version)
        return;
    t = txn_begin(model_of(r));
    txn_edit_cache_cluster(t, c->id)->parameter_version = g->version;
    txn_commit(t, NULL, NULL);
}

static bool configure(struct runtime *r, struct member *m)
{
    const struct cache_cluster *c = record_of(r, m);
    struct buf wanted = {0};
    bool settled;

    if (!is_ready(m) || !c)
        return m->leaving;
    member_settings(m, c, &wanted);
    settled = view_equal(buf_view(&wanted), buf_view(&m->settings));
    if (!settled && member_is_free(m))
        member_set(m, &wanted);
    buf_free(&wanted);
    if (settled && !m->busy)
        note_parameters(r, c);
    return settled;
}

static bool configure_all(struct runtime *r)
{
    bool settled = true;
    struct member *m;

    TAILQ_FOREACH(m, &r->members, link)
        settled &= configure(r, m);
    return settled;
}

/* ---- what could not be made ---- */

static bool has_failed(const struct runtime *r, const struct shard *s)
{
    const struct replication_group *g = s->grouped ? model_replication_group(model_of(r), s->owner) : NULL;
    const struct cache_cluster *c = s->grouped ? NULL : model_cache_cluster(model_of(r), s->owner);

    return (g && view_equal(g->status, VIEW("create-failed"))) ||
           (c && view_equal(c->status, VIEW("incompatible-network")));
}

/* Nothing of it runs any more, and no address is held; it waits to be deleted. */
static void give_up(struct runtime *r)
{
    struct member *m;

    TAILQ_FOREACH(m, &r->members, link)
        if (end_member(m, record_of(r, m))) {
            endpoint_free(m->own);
            m->own = NULL;
        }
    endpoint_free(r->primary_endpoint);
    r->primary_endpoint = NULL;
    r->failed_opens = 0;
}

/* ---- the step ---- */

bool runtime_step(struct runtime *r)
{
    const struct shard *s = model_shard(model_of(r), view_str(r->id));
    bool settled, led;

    sync_members(r, s);
    if (!s) {
        run_members(r, NULL);
        operation_remove_gone(r, NULL);
        runtime_kick(r, UNSETTLED_US);
        return !TAILQ_EMPTY(&r->members);
    }
    if (s->members.count > 0 && !claim_shadow(r, s)) {
        runtime_kick(r, SETTLED_US);
        return true;
    }
    if (has_failed(r, s)) {
        give_up(r);
        runtime_kick(r, SETTLED_US);
        return true;
    }
    settled = run_members(r, s);
    settled &= learn(r, s);
    s = model_shard(model_of(r), view_str(r->id));
    led = lead(r, s);
    settled &= serve(r, s, led);
    settled &= led && follow(r, s);
    settled &= configure_all(r);
    if (!operation_step(r, settled))
        return false;
    runtime_kick(r, settled ? SETTLED_US : UNSETTLED_US);
    return true;
}
