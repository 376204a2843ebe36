/* Connections: reading, running batches, writing. A turn reads at most READ_MAX bytes of one connection, and ends at a
 * time that all connections of the worker share: who has more to run goes on in the next turn, behind the others. */
#include "engine/net/conn.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "engine/cmd/rights.h"
#include "engine/cmd/transaction.h"
#include "engine/log/oplog.h"
#include "engine/net/feed.h"
#include "engine/net/worker.h"
#include "engine/proto/resp_plain.h"
#include "engine/server/clients.h"
#include "engine/server/config.h"
#include "engine/server/replication.h"
#include "engine/server/server.h"
#include "handlers.h"
#include "engine/server/stats.h"

#define READ_MAX 65536
#define READ_MIN 16384
#define FLUSH_MAX 262144
#define BATCH_MAX 64
#define IOV_BATCH 64
#define LOGIN_INPUT 16384
#define LOGIN_OUTPUT 4096
#define BACK_OFF_MS 50 /* doubled by each failed login in a row, BACK_OFF_STEPS times at most */
#define BACK_OFF_STEPS 6

static struct server *server_of(struct worker *w)
{
    return w->ex.shared->server;
}

static int64_t setting(const config_number *n)
{
    return atomic_load_explicit((config_number *)n, memory_order_relaxed);
}

static void watch_events(struct worker *w, struct conn *c, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.ptr = c};

    if (c->events == events)
        return;
    c->events = events;
    epoll_ctl(w->epoll, EPOLL_CTL_MOD, c->fd, &ev);
}

/* What epoll should watch in the state that the connection is in now. */
static void settle_events(struct worker *w, struct conn *c)
{
    uint32_t events = 0;

    if (c->state == CONN_READY && !c->flushing && !c->peer_done && !c->later && !c->hands_off && !c->withheld)
        events |= EPOLLIN;
    if (c->state != CONN_LANE && !c->hands_off && !c->withheld && resp_pending(&c->out) > 0)
        events |= EPOLLOUT;
    c->blocked_out = c->fed && feed_pending(w, c);
    if (c->blocked_out)
        events |= EPOLLOUT;
    watch_events(w, c, events);
}

void conn_init(struct conn *c, struct server *s, int fd)
{
    c->fd = fd;
    resp_writer_init(&c->out);
    c->out.base.on_error = server_stats_error;
    c->out.base.on_error_arg = s;
    c->client.reply = &c->out.base;
    c->client.session.resp = 2;
}

/* It has logged in, or goes. */
static void forget_stranger(struct worker *w, struct conn *c)
{
    if (c->stranger)
        atomic_fetch_sub(&server_of(w)->strangers, 1);
    c->stranger = false;
}

void conn_close(struct worker *w, struct conn *c)
{
    if (c->state == CONN_LANE) {
        if (!c->closing) /* epoll tells of a reset whatever it is asked for */
            epoll_ctl(w->epoll, EPOLL_CTL_DEL, c->fd, NULL);
        c->closing = true;
        return;
    }
    if (c->state == CONN_CLOSED)
        return;
    if (c->state == CONN_HELD)
        w->held--;
    if (c->queued)
        atomic_fetch_sub(&server_of(w)->waiters, 1);
    feed_leave(w, c);
    c->state = CONN_CLOSED;
    epoll_ctl(w->epoll, EPOLL_CTL_DEL, c->fd, NULL);
    close(c->fd);
    forget_stranger(w, c);
    w->conns[c->slot] = NULL;
    w->conn_used--;
    atomic_fetch_sub(&w->load, 1);
    c->next_closed = w->closed;
    w->closed = c;
}

void conn_bury(struct worker *w)
{
    struct conn *c;

    while ((c = w->closed)) {
        w->closed = c->next_closed;
        transaction_free(&c->client.session);
        clients_remove(server_of(w)->clients, c->client.session.card);
        resp_writer_free(&c->out);
        resp_partial_free(&c->partial);
        buf_free(&c->in);
        listener_release(w->listeners, c->listener);
        mem_free(c);
    }
}

static void show_buffers(struct conn *c)
{
    struct card *card = c->client.session.card;
    const struct transaction *t = c->client.session.transaction;
    size_t bytes = c->in.cap + c->out.buf.cap + c->out.shared_bytes + sizeof *c + (t ? t->bytes : 0);

    atomic_store_explicit(&card->query_len, buf_live(&c->in), memory_order_relaxed);
    atomic_store_explicit(&card->query_free, c->in.cap - c->in.len, memory_order_relaxed);
    atomic_store_explicit(&card->out_mem, resp_pending(&c->out), memory_order_relaxed);
    atomic_store_explicit(&card->total_mem, bytes, memory_order_relaxed);
}

/* Cuts the list off after `most` bytes; returns its new length. */
static int clip(struct iovec *iov, int count, size_t most)
{
    for (int i = 0; i < count; i++) {
        if (iov[i].iov_len >= most) {
            iov[i].iov_len = most;
            return i + 1;
        }
        most -= iov[i].iov_len;
    }
    return count;
}

/* Sends what waits, FLUSH_MAX bytes at most: the rest when the socket asks for it, in a later turn. False when the
 * connection was closed. */
static bool conn_flush(struct worker *w, struct conn *c)
{
    struct iovec iov[IOV_BATCH];
    size_t left = FLUSH_MAX;
    ssize_t n;

    if (c->state == CONN_CLOSED)
        return false;
    if (c->withheld || c->hands_off)
        return true;
    while (resp_pending(&c->out) > 0 && left > 0) {
        int count = clip(iov, resp_gather(&c->out, iov, IOV_BATCH), left);
        n = count == 1 ? send(c->fd, iov[0].iov_base, iov[0].iov_len, MSG_NOSIGNAL) : writev(c->fd, iov, count);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0) {
            conn_close(w, c);
            return false;
        }
        tally_add(&w->ex.thread->net_out, n);
        if (!c->client.session.authenticated)
            c->login_sent += n;
        atomic_store_explicit(&c->client.session.card->last_active_ms, w->now_ms, memory_order_relaxed);
        tally_add(&w->ex.thread->writes, 1);
        left -= (size_t)n;
        resp_sent(&c->out, (size_t)n);
    }
    if (resp_pending(&c->out) == 0 && c->out.buf.cap > READ_MAX)
        buf_free(&c->out.buf);
    if (c->fed && !feed_send(w, c))
        return false;
    if (c->flushing && resp_pending(&c->out) == 0) {
        conn_close(w, c);
        return false;
    }
    return true;
}

/* Too much waits to be sent: the connection goes. */
static bool over_output_limit(struct worker *w, struct conn *c)
{
    const struct config *cfg = server_of(w)->config;
    int64_t pending = (int64_t)resp_pending(&c->out), hard = setting(&cfg->output_normal.hard);
    int64_t soft = setting(&cfg->output_normal.soft), now;

    if (c->client.session.admin)
        return false;
    if (!c->client.session.authenticated && c->login_sent + pending > LOGIN_OUTPUT)
        return true;
    if (hard > 0 && pending > hard)
        return true;
    if (soft <= 0 || pending <= soft) {
        c->soft_since_ms = 0;
        return false;
    }
    now = clock_mono_us() / 1000;
    if (c->soft_since_ms == 0)
        c->soft_since_ms = now;
    return now - c->soft_since_ms > 1000 * setting(&cfg->output_normal.soft_seconds);
}

void conn_check(struct worker *w, struct conn *c)
{
    if (c->client.session.replica && c->state != CONN_LANE) {
        feed_check(w, c);
        return;
    }
    if (c->state != CONN_LANE && over_output_limit(w, c))
        conn_close(w, c);
}

static void protocol_error(struct conn *c, const char *text)
{
    reply_error_text(&c->out.base, text);
    c->flushing = true;
}

/* CLIENT REPLY OFF and SKIP: takes back what a command wrote. */
static void apply_reply_mode(struct conn *c, size_t mark, unsigned shares)
{
    struct session *s = &c->client.session;

    switch (s->reply_mode) {
    case SESSION_REPLY_ON:
        return;
    case SESSION_REPLY_SKIP_NEXT:
        s->reply_mode = SESSION_REPLY_SKIP;
        break;
    case SESSION_REPLY_SKIP:
        s->reply_mode = SESSION_REPLY_ON;
        break;
    default:
        break;
    }
    resp_writer_cut(&c->out, mark, shares);
}

/* What the client has no right to is a name that nobody knows, and so may be its container's. */
static void withhold_command(struct exec_request *r, struct rights rights)
{
    if (__builtin_expect(r->command && rights_cover(rights, r->command), 1))
        return;
    if (r->container && !rights_cover(rights, r->container))
        r->container = NULL;
    r->command = NULL;
    r->key_count = 0;
}

/* Parses up to BATCH_MAX requests; ends[i] is how much of the input the first i + 1 take. */
static unsigned parse_batch(struct worker *w, struct conn *c, struct exec_request *requests, size_t *ends, bool *is_bad,
                            char *error)
{
    const struct config *cfg = server_of(w)->config;
    struct resp_limits limits = {setting(&cfg->proto_max_bulk_len), INT32_MAX, c->client.session.authenticated};
    size_t at = 0, live = buf_live(&c->in);
    const struct rights rights = rights_of(cfg, &c->client.session);
    const char *head = buf_head(&c->in);
    unsigned n = 0;

    *is_bad = false;
    while (n < BATCH_MAX && at < live) {
        struct resp_request r;
        const char *p = head + at;
        bool begun = at == 0 && c->partial.count > 0;
        if (begun || !resp_parse_plain(p, live - at, &limits, &w->ex.arena, &r)) {
            enum resp_parsed rc = resp_parse(p, live - at, &limits, &w->ex.arena, at == 0 ? &c->partial : NULL, &r);
            if (rc == RESP_MORE) {
                c->need = n == 0 ? r.need : 0;
                break;
            }
            if (rc == RESP_BAD) {
                *is_bad = n == 0; /* what came before is answered first */
                memcpy(error, r.error, sizeof r.error);
                break;
            }
        }
        at += r.consumed;
        if (r.argc == 0) {
            if (n > 0)
                ends[n - 1] = at;
            else
                buf_consume(&c->in, at), head = buf_head(&c->in), live -= at, at = 0;
            continue;
        }
        exec_prepare(&w->ex, r.argv, r.argc, &requests[n]);
        if (rights.mask != 0)
            withhold_command(&requests[n], rights);
        if (*p == '*')
            requests[n].raw = p;
        ends[n++] = at;
        if (!limits.authenticated)
            break; /* one command at a time until it has logged in */
    }
    return n;
}

/* Puts it among those that conn_progress looks at; until_ms: monotonic, 0 for ever. */
static void wait_for_progress(struct worker *w, struct conn *c, int64_t until_ms)
{
    if (until_ms != 0 && until_ms < w->wait_due_ms)
        w->wait_due_ms = until_ms;
    if (c->queued)
        return;
    c->queued = true;
    atomic_fetch_add(&server_of(w)->waiters, 1);
    w->look_again = true; /* what it waits for may have come before anybody knew that it waits */
    if (w->waiting_count == w->waiting_cap) {
        w->waiting_cap = w->waiting_cap ? 2 * w->waiting_cap : 16;
        w->waiting = mem_realloc(w->waiting, w->waiting_cap * sizeof *w->waiting);
    }
    w->waiting[w->waiting_count++] = c->client.handle;
}

/* The command at the head of the input cannot go on now. */
static void suspend(struct worker *w, struct conn *c, enum exec_status status)
{
    if (status == EXEC_PARKED) {
        c->state = CONN_PARKED;
    } else if (status == EXEC_HELD) {
        c->state = CONN_HELD;
        w->held++;
    } else if (status == EXEC_WAITS) {
        wait_for_progress(w, c, c->client.session.wait_until_ms);
        c->state = CONN_WAITS;
    } else {
        c->state = CONN_LANE;
    }
}

/* After a command of a stranger: has it failed to log in, and must wait for its next try, the longer the more often? */
static bool let_on(struct worker *w, struct conn *c)
{
    unsigned failures = c->client.session.auth_failures;

    if (c->client.session.authenticated) {
        forget_stranger(w, c);
        return true;
    }
    if (failures == c->failures_seen && failures < UINT8_MAX)
        return true;
    c->failures_seen = (uint8_t)failures;
    c->held_until_ms =
        clock_mono_us() / 1000 + (BACK_OFF_MS << (failures < BACK_OFF_STEPS ? failures : BACK_OFF_STEPS));
    return false;
}

/* Is it a replica whose stream has begun, or waits to? Then nothing else may be said to it. */
static __attribute__((noinline)) bool is_fed(const struct conn *c)
{
    return atomic_load(&c->client.session.replica->state) != REPLICA_NEW;
}

/* What a replica may say from then on. */
static bool replicas_say(const struct exec_request *r)
{
    return r->command && (r->command->run == cmd_replconf || r->command->run == cmd_psync);
}

/* Runs the batch. Returns how much of the input it took; *status tells why it stopped. */
static size_t run_batch(struct worker *w, struct conn *c, struct exec_request *requests, const size_t *ends, unsigned n,
                        enum exec_status *status)
{
    struct exec_shared *sh = w->ex.shared;
    unsigned thread = w->ex.thread->index, i = 0;

    *status = EXEC_DONE;
    if (!gate_enter(&sh->gate, thread)) {
        *status = EXEC_HELD;
        return 0;
    }
    if (n > 1)
        exec_prefetch(&w->ex, &c->client, requests, n);
    exec_begin(&w->ex);
    while (i < n && !c->flushing) {
        size_t mark = c->out.buf.len;
        unsigned shares = c->out.share_count;
        uint64_t began = w->ex.since;
        bool fed = __builtin_expect(c->client.session.replica != NULL, 0) && is_fed(c);
        if (__builtin_expect(fed, 0) && !replicas_say(&requests[i])) {
            c->flushing = true;
            break;
        }
        *status = exec_run(&w->ex, &c->client, &requests[i]);
        if (*status == EXEC_AGAIN)
            continue;
        if (*status == EXEC_LANE) {
            c->lane_len = ends[i] - (i > 0 ? ends[i - 1] : 0);
            c->lane_mark = mark;
            c->lane_shares = shares;
        }
        if (*status != EXEC_DONE)
            break;
        if (__builtin_expect(c->client.session.reply_mode != SESSION_REPLY_ON, 0))
            apply_reply_mode(c, mark, shares);
        i++;
        if (__builtin_expect(fed, 0) && c->out.buf.len != mark) {
            resp_writer_cut(&c->out, mark, shares);
            c->flushing = true;
        }
        if (c->client.session.close_after_reply)
            c->flushing = true;
        if (__builtin_expect(c->stranger, 0) && !let_on(w, c)) {
            *status = EXEC_HELD;
            break;
        }
        if (i < n && gate_closing(&sh->gate)) {
            *status = EXEC_HELD;
            break;
        }
        if (__builtin_expect(w->ex.since > began + w->slow_ticks, 0) && w->ex.since > w->turn_end)
            break; /* the rest is parsed again, which only pays behind slow ones */
    }
    gate_leave(&sh->gate, thread);
    if (oplog_appended(sh->server->log, thread)) {
        c->client.session.write_offset = oplog_end(sh->server->log, thread);
        c->wrote = true;
        oplog_wake(sh->server->log, thread);
    }
    return i > 0 ? ends[i - 1] : 0;
}

/* Sends what is ready, then leaves session and writer to the slow lane. conn_close only marks it until it is back. */
static void to_lane(struct worker *w, struct conn *c)
{
    if (c->out.buf.len == c->lane_mark) { /* not the beginning of an EXEC's reply, which CLIENT REPLY may take back */
        conn_flush(w, c);
        c->lane_mark = c->out.buf.len;
        c->lane_shares = c->out.share_count;
    }
    show_buffers(c);
    settle_events(w, c);
    exec_submit(&w->ex, &c->client);
}

/* An empty input buffer serves the next one who reads. */
static void give_input_back(struct worker *w, struct conn *c)
{
    if (buf_live(&c->in) > 0 || c->in.cap == 0)
        return;
    if (w->spare.cap == 0 && c->in.cap <= 2 * READ_MAX) {
        w->spare = c->in;
        buf_clear(&w->spare);
        c->in = (struct buf){0};
    } else {
        buf_free(&c->in);
    }
}

/* Has it requests to run, as far as is known? */
static bool may_run(const struct conn *c)
{
    return c->state == CONN_READY && !c->flushing && !c->hands_off && !c->withheld && buf_live(&c->in) > 0 &&
           buf_live(&c->in) >= c->need;
}

/* Puts it into the queue of those that go on in the next turn. */
static void go_on_later(struct worker *w, struct conn *c)
{
    c->later = true;
    if (w->later_count == w->later_cap) {
        w->later_cap = w->later_cap ? 2 * w->later_cap : 16;
        w->later = mem_realloc(w->later, w->later_cap * sizeof *w->later);
    }
    w->later[w->later_count++] = c->client.handle;
}

bool conn_go_on(struct worker *w)
{
    unsigned n = w->later_count, i = 0;

    if (n == 0)
        return false;
    for (; i < n && (i == 0 || w->ex.since <= w->turn_end); i++) {
        struct handle h = w->later[i];
        struct conn *c = w->conns[h.worker >> 8];
        if (!c || c->client.handle.id != h.id)
            continue;
        c->later = false;
        conn_process(w, c);
    }
    w->later_count -= i;
    memmove(w->later, w->later + i, w->later_count * sizeof *w->later);
    return w->later_count > 0;
}

/* It said something as a replica; while a snapshot is made for it, it is left alone. */
static void settle_replica(struct worker *w, struct conn *c)
{
    unsigned state = atomic_load(&c->client.session.replica->state);

    c->hands_off = state == REPLICA_WAITING || state == REPLICA_RECEIVING;
    if (state == REPLICA_ONLINE && !c->fed)
        feed_enlist(w, c);
}

/* Keeps the replies back if what they promise is not safe yet. With appendfsync always that goes for reads too: they may
 * have seen what is not. */
static void withhold(struct worker *w, struct conn *c)
{
    struct server *s = server_of(w);
    const struct config *cfg = s->config;
    bool always = setting(&cfg->appendonly) && setting(&cfg->appendfsync) == FSYNC_ALWAYS;
    uint64_t need = always ? oplog_head(s->log) : c->wrote ? c->client.session.write_offset : 0;
    int64_t until_ms = 0;

    if (c->withheld || resp_pending(&c->out) == 0 || c->client.session.replica || need <= server_safe(s))
        return;
    if (setting(&cfg->durability) != DURABILITY_ASYNC)
        until_ms = w->mono_ms + setting(&cfg->durability_timeout);
    wait_for_progress(w, c, until_ms);
    c->withheld = true;
    c->withheld_offset = need;
    c->withheld_until_ms = until_ms;
    if (setting(&cfg->durability) != DURABILITY_ASYNC)
        atomic_store(&s->replication->want_acks, true);
}

void conn_process(struct worker *w, struct conn *c)
{
    struct exec_request requests[BATCH_MAX];
    size_t ends[BATCH_MAX], taken;
    enum exec_status status = EXEC_DONE;
    char error[80];
    bool is_bad;

    while (may_run(c)) {
        unsigned n;
        c->need = 0;
        n = parse_batch(w, c, requests, ends, &is_bad, error);
        if (n == 0) {
            if (is_bad)
                protocol_error(c, error);
            arena_reset(&w->ex.arena);
            break;
        }
        c->single = n == 1 && resp_pending(&c->out) == 0;
        c->wrote = false;
        taken = run_batch(w, c, requests, ends, n, &status);
        buf_consume(&c->in, taken);
        if (status != EXEC_DONE)
            suspend(w, c, status);
        arena_reset(&w->ex.arena);
        if (c->client.session.replica)
            settle_replica(w, c);
        if (server_holds_replies(server_of(w)))
            withhold(w, c);
        if (w->ex.since > w->turn_end && may_run(c)) {
            go_on_later(w, c);
            break;
        }
        if (over_output_limit(w, c)) {
            bool in_lane = c->state == CONN_LANE; /* then it is only marked */
            conn_close(w, c);
            if (!in_lane)
                return;
        }
    }
    if (c->state == CONN_LANE) {
        to_lane(w, c);
        return;
    }
    if (c->peer_done && c->state == CONN_READY && !c->later && !c->hands_off && !c->withheld)
        c->flushing = true;
    if (!conn_flush(w, c))
        return;
    give_input_back(w, c);
    show_buffers(c);
    settle_events(w, c);
}

void conn_settle(struct worker *w, struct conn *c)
{
    if (c->state != CONN_LANE && conn_flush(w, c))
        settle_events(w, c);
}

/* The replies were not safe in time. Nobody knows whether they will be: their connection says so, and ends unless it was only one. */
static void give_up(struct conn *c)
{
    resp_writer_cut(&c->out, c->out.buf.off, 0);
    reply_error(&c->out.base, ERROR_UNKNOWN_FATE);
    c->flushing = !c->single;
}

/* Does it have to wait still? *due is then lowered to its end. */
static bool must_wait(struct worker *w, const struct conn *c, uint64_t safe, int64_t *due)
{
    int64_t until = c->withheld_until_ms;

    if (!c->withheld || c->withheld_offset <= safe || (until != 0 && w->mono_ms >= until))
        return false;
    *due = until != 0 && until < *due ? until : *due;
    return true;
}

/* Its wait may be over: sends what was withheld, and runs its command (again), which may wait again. */
static void go_on(struct worker *w, struct conn *c, uint64_t safe)
{
    if (c->withheld && c->withheld_offset > safe)
        give_up(c);
    c->withheld = false;
    if (c->state == CONN_WAITS)
        c->state = CONN_READY;
    if (c->state == CONN_READY)
        conn_process(w, c);
    else
        conn_settle(w, c);
}

void conn_progress(struct worker *w)
{
    unsigned n = w->waiting_count, left = 0;
    uint64_t safe = n > 0 ? server_safe(server_of(w)) : 0;
    int64_t due = INT64_MAX;

    w->look_again = false;
    w->wait_due_ms = INT64_MAX;
    for (unsigned i = 0; i < n; i++) {
        struct handle h = w->waiting[i];
        struct conn *c = worker_conn(w, h.worker >> 8, h.id);
        if (!c || !c->queued)
            continue;
        if (must_wait(w, c, safe, &due)) {
            w->waiting[left++] = h;
            continue;
        }
        go_on(w, c, safe); /* counted among the waiters meanwhile, or it could miss what comes */
        c = worker_conn(w, h.worker >> 8, h.id);
        if (!c)
            continue;
        if (c->state == CONN_WAITS || c->withheld) {
            w->waiting[left++] = h;
            continue;
        }
        c->queued = false;
        atomic_fetch_sub(&server_of(w)->waiters, 1);
    }
    if (w->waiting_count > n)
        memmove(w->waiting + left, w->waiting + n, (w->waiting_count - n) * sizeof *w->waiting);
    w->waiting_count -= n - left;
    if (due < w->wait_due_ms)
        w->wait_due_ms = due;
}

/* False when the input limit is passed. */
static bool input_allowed(struct worker *w, struct conn *c)
{
    const struct config *cfg = server_of(w)->config;
    int64_t limit = setting(&cfg->client_query_buffer_limit);
    size_t queued = c->client.session.transaction ? c->client.session.transaction->bytes : 0;

    if (!c->client.session.authenticated && buf_live(&c->in) > LOGIN_INPUT)
        return false;
    return (int64_t)(buf_live(&c->in) + queued) <= limit;
}

void conn_readable(struct worker *w, struct conn *c)
{
    size_t want = READ_MIN;
    ssize_t n;

    if (c->state != CONN_READY || c->flushing || c->later || c->hands_off || c->withheld)
        return;
    if (c->in.cap == 0) {
        c->in = w->spare;
        w->spare = (struct buf){0};
    }
    if (c->in.off > 0)
        buf_compact(&c->in);
    if (c->need > buf_live(&c->in))
        want = c->need - buf_live(&c->in);
    want = want < READ_MIN ? READ_MIN : want > READ_MAX ? READ_MAX : want;
    if (buf_try_reserve(&c->in, want) != 0) {
        conn_close(w, c);
        return;
    }
    n = recv(c->fd, c->in.p + c->in.len, c->in.cap - c->in.len < READ_MAX ? c->in.cap - c->in.len : READ_MAX, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n < 0) {
        conn_close(w, c);
        return;
    }
    c->peer_done = n == 0;
    c->in.len += (size_t)n;
    tally_add(&w->ex.thread->net_in, n);
    tally_add(&w->ex.thread->reads, 1);
    atomic_store_explicit(&c->client.session.card->last_active_ms, w->now_ms, memory_order_relaxed);
    if (!input_allowed(w, c)) {
        conn_close(w, c);
        return;
    }
    conn_process(w, c);
}

void conn_writable(struct worker *w, struct conn *c)
{
    if (c->state == CONN_LANE || !conn_flush(w, c))
        return;
    settle_events(w, c);
}

void conn_lane_done(struct worker *w, struct conn *c)
{
    c->state = CONN_READY;
    if (c->closing) {
        conn_close(w, c);
        return;
    }
    if (c->client.held) {
        c->client.held = false;
        suspend(w, c, EXEC_HELD);
        return;
    }
    buf_consume(&c->in, c->lane_len);
    apply_reply_mode(c, c->lane_mark, c->lane_shares);
    if (c->client.session.close_after_reply)
        c->flushing = true;
    if (server_holds_replies(server_of(w)))
        withhold(w, c);
    if (over_output_limit(w, c))
        conn_close(w, c);
    else
        conn_process(w, c);
}

void conn_resume(struct worker *w, struct conn *c)
{
    if (c->state == CONN_HELD)
        w->held--;
    c->state = CONN_READY;
    conn_process(w, c);
}
