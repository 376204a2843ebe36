/*
 * One function, advance, takes a connection from one state to the next as far as the bytes that were read lead; it is
 * called for new bytes and once per turn for what is ready. Only enter changes the state, and with it the list, what is
 * awaited, and the deadline. The last answer is followed by a time of lingering: whoever closes while bytes of the peer
 * are unread resets the connection, and the peer may never see why it was refused.
 */
#include "control/http/connection.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#define READ_BYTES 16384
#define DISCARD_MAX (16u << 20) /* bytes that a lingering peer may still send */
#define LOGGED_TARGET_MAX 512

static void on_readable(evutil_socket_t fd, short what, void *arg);
static void on_writable(evutil_socket_t fd, short what, void *arg);
static void on_deadline(evutil_socket_t fd, short what, void *arg);

/* ---- exchanges --------------------------------------------------------------------------------------------------- */

static struct http_exchange *exchange_new(struct connection *c, size_t head_length)
{
    struct http_exchange *x = mem_zalloc(sizeof *x);

    x->server = c->server;
    x->id = c->id;
    x->bytes = mem_alloc(head_length);
    memcpy(x->bytes, buf_head(&c->in), head_length);
    memcpy(x->peer, c->peer, sizeof x->peer);
    TAILQ_INSERT_TAIL(&c->server->exchanges, x, link);
    return x;
}

static void exchange_free(struct http_exchange *x)
{
    if (x == NULL)
        return;
    if (x->server != NULL)
        TAILQ_REMOVE(&x->server->exchanges, x, link);
    buf_free(&x->body);
    mem_free(x->bytes);
    mem_free(x);
}

const struct http_request *http_exchange_request(const struct http_exchange *x)
{
    return &x->head.request;
}

void http_exchange_note(struct http_exchange *x, struct view note)
{
    x->note_size = note.n < HTTP_NOTE_MAX ? note.n : HTTP_NOTE_MAX;
    memcpy(x->note, note.p, x->note_size);
}

/* ---- states ------------------------------------------------------------------------------------------------------ */

static struct connection_list *list_of(struct http_server *s, enum connection_state state)
{
    switch (state) {
    case CONNECTION_IDLE:
    case CONNECTION_LINGERING:
        return &s->idle;
    case CONNECTION_HEAD:
    case CONNECTION_BODY:
        return &s->receiving;
    case CONNECTION_ANSWERING:
    case CONNECTION_WRITING:
        return &s->busy;
    case CONNECTION_DEAD:
        break;
    }
    return &s->dead;
}

static void set_deadline(struct connection *c, int64_t at_us)
{
    int64_t left = at_us - clock_mono_us();
    struct timeval tv = {0, 0};

    if (left > 0)
        tv = (struct timeval){left / 1000000, left % 1000000};
    event_add(&c->deadline, &tv);
}

static void enter(struct connection *c, enum connection_state state)
{
    struct http_server *s = c->server;
    const struct http_limits *limits = &s->limits;
    struct connection_list *from = list_of(s, c->state), *to = list_of(s, state);
    /* A pipeline's next request is looked at first: behind it may be the peer's end. */
    bool reads =
        state == CONNECTION_IDLE ? buf_live(&c->in) == 0 : state <= CONNECTION_BODY || state == CONNECTION_LINGERING;

    if (from != to || state == CONNECTION_IDLE || state == CONNECTION_LINGERING) {
        TAILQ_REMOVE(from, c, link);
        TAILQ_INSERT_TAIL(to, c, link);
    }
    c->state = state;
    if (state == CONNECTION_IDLE || state == CONNECTION_HEAD)
        c->began_us = clock_mono_us();
    if (reads)
        event_add(&c->readable, NULL);
    else
        event_del(&c->readable);
    switch (state) {
    case CONNECTION_IDLE:
        set_deadline(c, c->began_us + limits->idle_ms * 1000);
        break;
    case CONNECTION_HEAD:
        set_deadline(c, c->began_us + limits->head_ms * 1000);
        break;
    case CONNECTION_BODY:
        set_deadline(c, c->began_us + limits->request_ms * 1000);
        break;
    case CONNECTION_WRITING:
        set_deadline(c, clock_mono_us() + limits->write_ms * 1000);
        break;
    case CONNECTION_LINGERING:
        set_deadline(c, clock_mono_us() + limits->linger_ms * 1000);
        break;
    case CONNECTION_ANSWERING:
    case CONNECTION_DEAD:
        event_del(&c->deadline);
        break;
    }
}

void connection_schedule_turn(struct http_server *s)
{
    static const struct timeval at_once = {0, 0};

    if (!event_pending(&s->turn, EV_TIMEOUT, NULL))
        event_add(&s->turn, &at_once);
}

static void make_ready(struct connection *c)
{
    if (c->is_ready)
        return;
    c->is_ready = true;
    TAILQ_INSERT_TAIL(&c->server->ready, c, ready);
    connection_schedule_turn(c->server);
}

void connection_open(struct http_server *s, int fd, const char *peer)
{
    struct connection *c = mem_zalloc(sizeof *c);
    int one = 1;

    assert(s->free_count > 0);
    c->server = s;
    c->fd = fd;
    c->id.place = s->free_places[--s->free_count];
    c->id.generation = s->places[c->id.place].generation;
    s->places[c->id.place].connection = c;
    snprintf(c->peer, sizeof c->peer, "%s", peer);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    event_assign(&c->readable, s->base, fd, EV_READ | EV_PERSIST, on_readable, c);
    event_assign(&c->writable, s->base, fd, EV_WRITE | EV_PERSIST, on_writable, c);
    evtimer_assign(&c->deadline, s->base, on_deadline, c);
    TAILQ_INSERT_TAIL(&s->idle, c, link);
    enter(c, CONNECTION_IDLE);
}

/* ---- the ends of an answer --------------------------------------------------------------------------------------- */

static void report_access(struct connection *c, bool complete)
{
    struct http_server *s = c->server;
    struct http_exchange *x = c->exchange;
    struct buf target = {0};
    struct http_access access = {
        .peer = c->peer,
        .method = VIEW("-"),
        .target = VIEW("-"),
        .status = c->status,
        .bytes = c->sent,
        .micros = clock_mono_us() - c->began_us,
        .complete = complete,
    };

    if (s->access == NULL)
        return;
    if (x != NULL && x->head.request.path.n > 0) {
        http_request_put_target(&target, &x->head.request, LOGGED_TARGET_MAX);
        access.method = x->head.request.method;
        access.target = buf_view(&target);
        access.note = view_of(x->note, x->note_size);
    }
    s->access(s->access_arg, &access);
    buf_free(&target);
}

void connection_close(struct connection *c)
{
    struct http_server *s = c->server;

    if (c->state == CONNECTION_DEAD)
        return;
    if (c->state == CONNECTION_WRITING)
        report_access(c, false);
    if (c->state != CONNECTION_ANSWERING)
        exchange_free(c->exchange);
    c->exchange = NULL;
    event_del(&c->writable);
    enter(c, CONNECTION_DEAD);
    close(c->fd);
    s->places[c->id.place].connection = NULL;
    s->places[c->id.place].generation++;
    s->free_places[s->free_count++] = c->id.place;
    if (c->is_ready) {
        TAILQ_REMOVE(&s->ready, c, ready);
        c->is_ready = false;
    }
    connection_schedule_turn(s);
}

/* Sends what the kernel takes. False: the connection is broken, and closed. */
static bool flush(struct connection *c)
{
    while (buf_live(&c->out) > 0) {
        ssize_t n = send(c->fd, buf_head(&c->out), buf_live(&c->out), MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            break;
        if (n < 0) {
            connection_close(c);
            return false;
        }
        buf_consume(&c->out, (size_t)n);
        c->sent += (size_t)n;
    }
    if (buf_live(&c->out) > 0)
        event_add(&c->writable, NULL);
    else
        event_del(&c->writable);
    return true;
}

/* In WRITING: sends, and when all is sent goes to what follows. */
static void write_answer(struct connection *c)
{
    if (!flush(c) || buf_live(&c->out) > 0)
        return;
    report_access(c, true);
    exchange_free(c->exchange);
    c->exchange = NULL;
    buf_free(&c->out);
    if (c->keep_alive && !c->server->stopping) {
        enter(c, CONNECTION_IDLE);
        if (buf_live(&c->in) > 0)
            make_ready(c);
        else
            buf_free(&c->in);
        return;
    }
    /* Closing with bytes unread would reset the connection, and take the answer from the peer's hands. */
    shutdown(c->fd, SHUT_WR);
    buf_free(&c->in);
    c->discarded = 0;
    enter(c, CONNECTION_LINGERING);
}

static void put_answer(struct connection *c, const struct http_response *r)
{
    const struct http_exchange *x = c->exchange;
    struct http_manner manner = {
        .minor = x == NULL ? 1 : x->head.request.minor,
        .head_only = x != NULL && view_equal(x->head.request.method, VIEW("HEAD")),
        .keep_alive = c->keep_alive,
        .now_s = clock_wall_us() / 1000000,
    };

    c->status = r->status;
    http_response_put(&c->out, r, &manner);
    enter(c, CONNECTION_WRITING);
}

/* Gets the answer ready for what is no request, or one that may not be served; nothing more is read. */
static void refuse(struct connection *c, const struct http_fault *fault)
{
    struct buf text = {0};

    buf_printf(&text, "%u %s\n%s\n", fault->status, http_response_reason(fault->status), fault->why);
    c->keep_alive = false;
    c->sent = 0;
    put_answer(c, &(struct http_response){
                      .status = fault->status,
                      .content_type = VIEW("text/plain; charset=utf-8"),
                      .body = buf_view(&text),
                  });
    buf_free(&text);
}

void http_reply(struct http_exchange *x, const struct http_response *r)
{
    static const struct http_response too_long = {.status = 500};
    struct http_server *s = x->server;
    const struct connection_place *place = s == NULL ? NULL : &s->places[x->id.place];
    struct connection *c;

    assert(!x->replied);
    x->replied = true;
    if (place == NULL || place->connection == NULL || place->generation != x->id.generation) {
        exchange_free(x);
        return;
    }
    c = place->connection;
    assert(c->state == CONNECTION_ANSWERING && c->exchange == x);
    c->keep_alive = c->keep_alive && !s->stopping;
    c->sent = 0;
    if (r->body.n > s->limits.reply) {
        log_warning("http: an answer of %zu bytes is more than the limit of %zu", r->body.n, s->limits.reply);
        r = &too_long;
    }
    put_answer(c, r);
    make_ready(c);
}

void http_reply_text(struct http_exchange *x, unsigned status, struct view content_type, struct view body)
{
    http_reply(x, &(struct http_response){.status = status, .content_type = content_type, .body = body});
}

/* ---- requests ---------------------------------------------------------------------------------------------------- */

static bool host_allowed(const struct http_server *s, struct view host)
{
    for (size_t i = 0; i < s->host_count; i++)
        if (view_equal_case(host, view_str(s->hosts[i])))
            return true;
    return false;
}

/* The head is whole. HTTP_DONE: its body may be read. */
static enum http_parsed take_head(struct connection *c, struct http_fault *fault)
{
    struct http_server *s = c->server;
    struct http_exchange *x = exchange_new(c, c->scan.at);
    struct http_head *head = &x->head;

    c->exchange = x;
    buf_consume(&c->in, c->scan.at);
    if (!http_head_parse(x->bytes, c->scan.at, head, fault))
        return HTTP_BAD;
    head->request.peer = x->peer;
    head->request.received_us = clock_wall_us() - (clock_mono_us() - c->began_us);
    c->keep_alive = head->keep_alive;
    c->chunked = (struct http_chunked){0};
    if ((head->request.minor > 0 || head->host.n > 0) && !host_allowed(s, head->host)) {
        *fault = (struct http_fault){421, "This server does not serve the host that the request names."};
        return HTTP_BAD;
    }
    if (head->content_length > s->limits.body) {
        *fault = (struct http_fault){413, "The request's body is too long."};
        return HTTP_BAD;
    }
    if (head->expect_continue && (head->chunked || head->content_length > 0) && buf_live(&c->in) == 0)
        buf_put(&c->out, LIT("HTTP/1.1 100 Continue\r\n\r\n"));
    return HTTP_DONE;
}

static enum http_parsed keep_body(struct connection *c, struct view data, struct http_fault *fault)
{
    struct buf *body = &c->exchange->body;

    if (buf_try_reserve(body, data.n) != 0) {
        *fault = (struct http_fault){503, "There is no memory for the request's body."};
        return HTTP_BAD;
    }
    buf_put_view(body, data);
    return HTTP_MORE;
}

/* Takes what there is of the body. */
static enum http_parsed take_body(struct connection *c, struct http_fault *fault)
{
    struct http_exchange *x = c->exchange;

    if (!x->head.chunked) {
        size_t left = (size_t)x->head.content_length - buf_live(&x->body);
        size_t n = buf_live(&c->in) < left ? buf_live(&c->in) : left;
        enum http_parsed rc = keep_body(c, view_of(buf_head(&c->in), n), fault);

        if (rc != HTTP_MORE)
            return rc;
        buf_consume(&c->in, n);
        return n == left ? HTTP_DONE : HTTP_MORE;
    }
    for (;;) {
        size_t taken;
        struct view data;
        enum http_parsed rc = http_chunked_take(&c->chunked, buf_head(&c->in), buf_live(&c->in), c->server->limits.body,
                                                &taken, &data, fault);

        if (rc == HTTP_MORE)
            rc = keep_body(c, data, fault);
        if (rc == HTTP_BAD)
            return rc;
        buf_consume(&c->in, taken);
        if (rc == HTTP_DONE || buf_live(&c->in) == 0)
            return rc;
    }
}

static void dispatch(struct connection *c)
{
    struct http_exchange *x = c->exchange;

    x->head.request.body = buf_view(&x->body);
    buf_compact(&c->in);
    enter(c, CONNECTION_ANSWERING);
    c->server->handler(c->server->handler_arg, x);
}

/* Goes on as far as what was read leads. */
static void advance(struct connection *c)
{
    struct http_fault fault;
    enum http_parsed rc = HTTP_MORE;

    if (c->state == CONNECTION_IDLE && buf_live(&c->in) > 0) {
        c->scan = (struct http_scan){0};
        enter(c, CONNECTION_HEAD);
    }
    if (c->state == CONNECTION_HEAD) {
        rc = http_head_scan(&c->scan, buf_head(&c->in), buf_live(&c->in), &fault);
        if (rc == HTTP_DONE)
            rc = take_head(c, &fault);
        if (rc == HTTP_DONE) {
            rc = HTTP_MORE;
            enter(c, CONNECTION_BODY);
            if (!flush(c))
                return;
        }
    }
    if (c->state == CONNECTION_BODY && rc == HTTP_MORE)
        rc = take_body(c, &fault);
    if (rc == HTTP_BAD)
        refuse(c, &fault);
    else if (rc == HTTP_DONE)
        dispatch(c);
    /* Handlers mostly answer at once: then the answer leaves at once. */
    if (c->state == CONNECTION_WRITING)
        write_answer(c);
}

/* ---- events ------------------------------------------------------------------------------------------------------ */

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct connection *c = arg;
    ssize_t n;

    (void)what;
    buf_reserve(&c->in, READ_BYTES);
    n = recv(fd, c->in.p + c->in.len, READ_BYTES, 0);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return;
    if (n <= 0) {
        connection_close(c);
        return;
    }
    if (c->state == CONNECTION_LINGERING) {
        c->discarded += (size_t)n;
        if (c->discarded > DISCARD_MAX)
            connection_close(c);
        return;
    }
    c->in.len += (size_t)n;
    advance(c);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct connection *c = arg;

    (void)fd, (void)what;
    if (c->state == CONNECTION_WRITING)
        write_answer(c);
    else
        flush(c);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    struct connection *c = arg;

    (void)fd, (void)what;
    if (c->state == CONNECTION_HEAD || c->state == CONNECTION_BODY) {
        refuse(c, &(struct http_fault){408, "The request took too long to arrive."});
        write_answer(c);
    } else {
        connection_close(c);
    }
}

void connection_turn(struct http_server *s)
{
    struct connection *c;
    size_t count = 0;

    /* Those that get ready meanwhile wait for the next turn, in which others are heard too. */
    TAILQ_FOREACH(c, &s->ready, ready)
        count++;
    while (count-- > 0 && (c = TAILQ_FIRST(&s->ready)) != NULL) {
        TAILQ_REMOVE(&s->ready, c, ready);
        c->is_ready = false;
        advance(c);
    }
    while ((c = TAILQ_FIRST(&s->dead)) != NULL) {
        TAILQ_REMOVE(&s->dead, c, link);
        buf_free(&c->in);
        buf_free(&c->out);
        mem_free(c);
    }
}
