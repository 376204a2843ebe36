/* The server on real sockets, in one process with its peers: one loop runs both. */
#include "control/http/server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/num.h"

#define PATIENCE_S 30
#define IDLE_PEERS 1000
#define WAITING_MAX 8

struct world {
    struct event_base *base;
    struct http_server *server;
    struct http_limits limits;
    char address[HTTP_ADDRESS_MAX];
    uint16_t port;
    struct event watchdog;
    bool late;
    unsigned handled;
    struct http_exchange *waiting[WAITING_MAX]; /* those for /later */
    unsigned waiting_count;
    struct buf log;
    unsigned logged;
    bool stopped;
};

struct peer {
    struct world *world;
    int fd;
    struct event readable;
    struct buf got;
    bool ended; /* the server closed */
};

/* ---- the server's side ------------------------------------------------------------------------------------------- */

/* Says what it saw; /later is kept for the test to answer, /big has as many bytes as its query says. */
static void handle(void *arg, struct http_exchange *x)
{
    struct world *w = arg;
    const struct http_request *r = http_exchange_request(x);
    struct buf text = {0};
    uint64_t n = 0;

    w->handled++;
    if (view_equal(r->path, VIEW("/later"))) {
        assert_true(w->waiting_count < WAITING_MAX);
        w->waiting[w->waiting_count++] = x;
        return;
    }
    if (view_equal(r->path, VIEW("/big"))) {
        assert_true(num_parse_uint(r->query, &n));
        buf_reserve(&text, n);
        memset(text.p, 'b', n);
        text.len = n;
    } else {
        buf_printf(&text, "%.*s %.*s|%.*s|", (int)r->method.n, r->method.p, (int)r->target.n, r->target.p,
                   (int)r->body.n, r->body.n == 0 ? "" : r->body.p);
    }
    http_reply_text(x, 200, VIEW("text/plain"), buf_view(&text));
    buf_free(&text);
}

static void keep_log(void *arg, const struct http_access *a)
{
    struct world *w = arg;

    w->logged++;
    buf_clear(&w->log);
    buf_printf(&w->log, "%.*s %.*s %u%s", (int)a->method.n, a->method.p, (int)a->target.n, a->target.p, a->status,
               a->complete ? "" : " cut");
    assert_true(a->micros >= 0);
    assert_true(strncmp(a->peer, "127.0.0.1:", 10) == 0);
}

static void on_stopped(void *arg)
{
    struct world *w = arg;

    w->stopped = true;
    http_server_free(w->server);
    w->server = NULL;
}

static void on_watchdog(evutil_socket_t fd, short what, void *arg)
{
    struct world *w = arg;

    (void)fd, (void)what;
    w->late = true;
}

/* One turn of the loop; fails when the test has taken too long. */
static void turn(struct world *w)
{
    event_base_loop(w->base, EVLOOP_ONCE);
    if (w->late)
        fail_msg("nothing more happens");
}

/* Runs the loop for so many microseconds. */
static void let_pass(struct world *w, int64_t us)
{
    const struct timeval tv = {us / 1000000, us % 1000000};

    event_base_loopexit(w->base, &tv);
    event_base_dispatch(w->base);
}

static void start(struct world *w)
{
    w->server = http_server_new(w->base, &w->limits, handle, w);
    http_server_allow_host(w->server, VIEW("localhost"));
    http_server_allow_host(w->server, VIEW("127.0.0.1"));
    http_server_allow_host(w->server, VIEW("::1"));
    http_server_on_access(w->server, keep_log, w);
    assert_int_equal(http_server_listen(w->server, "127.0.0.1:0", w->address, NULL), 0);
    w->port = (uint16_t)atoi(strrchr(w->address, ':') + 1);
}

static int set_up(void **state)
{
    struct world *w = mem_zalloc(sizeof *w);
    const struct timeval patience = {PATIENCE_S, 0};

    log_set_level(LOG_LEVEL_NOTHING);
    w->base = event_base_new();
    w->limits = http_limits_default();
    evtimer_assign(&w->watchdog, w->base, on_watchdog, w);
    event_add(&w->watchdog, &patience);
    start(w);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;

    http_server_free(w->server);
    for (unsigned i = 0; i < w->waiting_count; i++)
        http_reply_text(w->waiting[i], 200, VIEW(""), VIEW(""));
    event_del(&w->watchdog);
    event_base_free(w->base);
    buf_free(&w->log);
    mem_free(w);
    return 0;
}

/* The same world with other limits. */
static void restart(struct world *w)
{
    http_server_free(w->server);
    start(w);
}

/* ---- the peers' side --------------------------------------------------------------------------------------------- */

static void on_peer_readable(evutil_socket_t fd, short what, void *arg)
{
    struct peer *p = arg;
    ssize_t n;

    (void)what;
    buf_reserve(&p->got, 65536);
    n = recv(fd, p->got.p + p->got.len, 65536, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        p->ended = true;
        event_del(&p->readable);
        return;
    }
    p->got.len += (size_t)n;
}

static struct peer *join_with_buffer(struct world *w, int receive_bytes)
{
    struct peer *p = mem_zalloc(sizeof *p);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(w->port)};

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    p->world = w;
    p->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(p->fd >= 0);
    if (receive_bytes > 0)
        setsockopt(p->fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes);
    assert_int_equal(connect(p->fd, (struct sockaddr *)&to, sizeof to), 0);
    event_assign(&p->readable, w->base, p->fd, EV_READ | EV_PERSIST, on_peer_readable, p);
    event_add(&p->readable, NULL);
    return p;
}

static struct peer *join(struct world *w)
{
    return join_with_buffer(w, 0);
}

static void leave(struct peer *p)
{
    event_del(&p->readable);
    close(p->fd);
    buf_free(&p->got);
    mem_free(p);
}

static void say_bytes(struct peer *p, const void *bytes, size_t n)
{
    assert_int_equal(send(p->fd, bytes, n, MSG_NOSIGNAL), n);
}

static void say(struct peer *p, const char *text)
{
    say_bytes(p, text, strlen(text));
}

static void await_end(struct peer *p)
{
    while (!p->ended)
        turn(p->world);
}

/* Where the first response's head ends, 0 when it is not whole. */
static size_t head_end(const struct peer *p)
{
    const char *found = buf_live(&p->got) == 0 ? NULL : memmem(buf_head(&p->got), buf_live(&p->got), "\r\n\r\n", 4);

    return found == NULL ? 0 : (size_t)(found - buf_head(&p->got)) + 4;
}

/* Waits for a response with a body (of a HEAD request: without), checks its status, and drops it. */
static void expect(struct peer *p, unsigned status, const char *in_head, const char *body, bool has_body)
{
    char start_line[32], *head, *length;
    size_t end, n = 0;

    while ((end = head_end(p)) == 0 && !p->ended)
        turn(p->world);
    if (end == 0)
        fail_msg("no response of status %u, but '%.*s'", status, (int)buf_live(&p->got), buf_head(&p->got));
    head = mem_strndup(buf_head(&p->got), end);
    snprintf(start_line, sizeof start_line, "HTTP/1.1 %u ", status);
    if (strncmp(head, start_line, strlen(start_line)) != 0)
        fail_msg("not %u: %s", status, head);
    if (in_head != NULL && strstr(head, in_head) == NULL)
        fail_msg("no '%s' in %s", in_head, head);
    if (status != 100)
        assert_non_null(strstr(head, "\r\nDate: "));
    length = strstr(head, "Content-Length: ");
    if (length != NULL && has_body)
        n = (size_t)atol(length + strlen("Content-Length: "));
    mem_free(head);
    while (buf_live(&p->got) < end + n && !p->ended)
        turn(p->world);
    assert_true(buf_live(&p->got) >= end + n);
    if (body != NULL && (n != strlen(body) || memcmp(buf_head(&p->got) + end, body, n) != 0))
        fail_msg("'%.*s' is not '%s'", (int)n, buf_head(&p->got) + end, body);
    buf_consume(&p->got, end + n);
}

#define HOST "Host: localhost\r\n"
#define GET(path) "GET " path " HTTP/1.1\r\n" HOST "\r\n"

static void await_handled(struct world *w, unsigned count)
{
    while (w->handled < count)
        turn(w);
}

static void await_connections(struct world *w, unsigned count)
{
    while (http_server_connections(w->server) != count)
        turn(w);
}

/* ---- requests and answers ---------------------------------------------------------------------------------------- */

static void answers_one_after_the_other(void **state)
{
    struct world *w = *state;
    struct peer *p = join(w);

    say(p, GET("/a?b"));
    expect(p, 200, "\r\nContent-Type: text/plain\r\n", "GET /a?b||", true);
    assert_true(view_equal(buf_view(&w->log), VIEW("GET /a?b 200")));
    say(p, "POST / HTTP/1.1\r\nHost: 127.0.0.1:1\r\nContent-Length: 5\r\n\r\nhello");
    expect(p, 200, NULL, "POST /|hello|", true);
    say(p, "POST / HTTP/1.1\r\nHost: [::1]:1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n");
    expect(p, 200, NULL, "POST /|hello|", true);
    say(p, "HEAD /x HTTP/1.1\r\n" HOST "\r\n");
    expect(p, 200, "\r\nContent-Length: 9\r\n", NULL, false);
    say(p, GET("http://localhost/y"));
    expect(p, 200, NULL, "GET http://localhost/y||", true);
    assert_int_equal(buf_live(&p->got), 0);
    say(p, "GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
    expect(p, 200, "\r\nConnection: close\r\n", "GET /||", true);
    await_end(p);
    assert_int_equal(w->logged, 6);
    leave(p);
}

static void speaks_the_old_version(void **state)
{
    struct world *w = *state;
    struct peer *p = join(w);

    say(p, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    expect(p, 200, "\r\nConnection: keep-alive\r\n", "GET /||", true);
    say(p, "GET / HTTP/1.0\r\n\r\n");
    expect(p, 200, "\r\nConnection: close\r\n", "GET /||", true);
    await_end(p);
    leave(p);
}

static void waits_for_every_byte(void **state)
{
    struct world *w = *state;
    struct peer *p = join(w);
    static const char texts[][160] = {
        "POST /slow?1 HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc",
        "POST /slow?2 HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n2\r\nde\r\n1\r\nf\r\n0\r\n\r\n",
    };

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        for (const char *c = texts[i]; *c != '\0'; c++) {
            assert_int_equal(w->handled, i);
            say_bytes(p, c, 1);
            turn(w);
        }
    expect(p, 200, NULL, "POST /slow?1|abc|", true);
    expect(p, 200, NULL, "POST /slow?2|def|", true);
    leave(p);
}

static void keeps_the_order_of_a_pipeline(void **state)
{
    struct world *w = *state;
    struct peer *p = join(w);

    say(p, GET("/later") GET("/2") "POST /3 HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\nx" GET("/later") GET("/5"));
    await_handled(w, 1);
    for (int i = 0; i < 3; i++)
        event_base_loop(w->base, EVLOOP_NONBLOCK);
    assert_int_equal(w->handled, 1);
    assert_int_equal(buf_live(&p->got), 0);
    http_reply_text(w->waiting[0], 200, VIEW(""), VIEW("one"));
    w->waiting_count = 0;
    expect(p, 200, NULL, "one", true);
    expect(p, 200, NULL, "GET /2||", true);
    expect(p, 200, NULL, "POST /3|x|", true);
    await_handled(w, 4);
    assert_int_equal(w->handled, 4);
    http_reply_text(w->waiting[0], 204, VIEW(""), VIEW("four"));
    w->waiting_count = 0;
    expect(p, 204, NULL, "", true);
    expect(p, 200, NULL, "GET /5||", true);
    leave(p);
}

/* A peer may say that it will send nothing more, and is still answered. */
static void answers_half_closed_peers(void **state)
{
    struct world *w = *state;
    struct peer *p = join(w);

    say(p, GET("/1") GET("/later") GET("/3"));
    shutdown(p->fd, SHUT_WR);
    await_handled(w, 2);
    http_reply_text(w->waiting[0], 200, VIEW(""), VIEW("two"));
    w->waiting_count = 0;
    expect(p, 200, NULL, "GET /1||", true);
    expect(p, 200, NULL, "two", true);
    expect(p, 200, NULL, "GET /3||", true);
    await_end(p);
    leave(p);
}

static void asks_for_the_body(void **state)
{
    struct world *w = *state;
    struct peer *p = join(w);

    say(p, "POST / HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    expect(p, 100, NULL, NULL, false);
    say(p, "abc");
    expect(p, 200, NULL, "POST /|abc|", true);
    say(p, "POST / HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc");
    expect(p, 200, NULL, "POST /|abc|", true);
    say(p, "POST / HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 2000000\r\n\r\n");
    expect(p, 413, NULL, NULL, true);
    leave(p);
}

static void refuses_and_closes(void **state)
{
    struct world *w = *state;
    static const struct {
        struct view text;
        unsigned status;
        const char *logged;
    } cases[] = {
        {VIEW("nonsense\r\n\r\n"), 400, "- - 400"},
        {VIEW("GET / HTTP/1.1\r\nHost: localhost\nX: y"), 400, "- - 400"},
        {VIEW("GET / HTTP/1.1\r\n" HOST "X: a\0b\r\n\r\n"), 400, "- - 400"},
        {VIEW("POST /?k=v HTTP/1.1\r\n" HOST "Content-Length: 1\r\nContent-Length: 1\r\n\r\na"), 400, "POST /?k=* 400"},
        {VIEW("POST / HTTP/1.1\r\n" HOST "Content-Length: 1048577\r\n\r\n"), 413, "POST / 413"},
        {VIEW("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n100001\r\n"), 413, "POST / 413"},
        {VIEW("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1\r\naX"), 400, "POST / 400"},
        {VIEW("GET / HTTP/3.0\r\n\r\n"), 505, "- - 505"},
        {VIEW("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n"), 421, "GET / 421"},
        {VIEW("GET / HTTP/1.1\r\nHost: localhost.evil.example\r\n\r\n"), 421, "GET / 421"},
        {VIEW("GET / HTTP/1.0\r\nHost: evil.example\r\n\r\n"), 421, "GET / 421"},
        {VIEW("GET / HTTP/1.1\r\n" HOST "Upgrade: h2c\r\n\r\n"), 501, "GET / 501"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct peer *p = join(w);

        say_bytes(p, cases[i].text.p, cases[i].text.n);
        expect(p, cases[i].status, "\r\nConnection: close\r\n", NULL, true);
        await_end(p);
        assert_int_equal(buf_live(&p->got), 0);
        if (!view_equal(buf_view(&w->log), view_str(cases[i].logged)))
            fail_msg("'%.*s' is not '%s'", (int)buf_live(&w->log), buf_head(&w->log), cases[i].logged);
        leave(p);
    }
    assert_int_equal(w->handled, 0);
}

static void bounds_heads(void **state)
{
    struct world *w = *state;
    struct peer *p = join(w);
    struct buf text = {0};

    buf_put(&text, LIT("GET / HTTP/1.1\r\n" HOST));
    while (text.len < 20000)
        buf_put(&text, LIT("X: 0123456789012345678901234567890123456789\r\n"));
    say_bytes(p, text.p, text.len);
    expect(p, 431, NULL, NULL, true);
    leave(p);

    p = join(w);
    buf_clear(&text);
    buf_put(&text, LIT("GET /"));
    while (text.len < 20000)
        buf_put_char(&text, 'a');
    say_bytes(p, text.p, text.len);
    expect(p, 414, NULL, NULL, true);
    leave(p);
    buf_free(&text);
}

/* A refused request whose sender goes on sending still gets the answer, and no reset. */
static void lets_a_refused_peer_read(void **state)
{
    struct world *w = *state;
    struct peer *p = join(w);
    char *bytes = mem_zalloc(100000);

    say(p, "POST / HTTP/1.1\r\n" HOST "Content-Length: 3000000\r\n\r\n");
    say_bytes(p, bytes, 100000);
    expect(p, 413, NULL, NULL, true);
    await_end(p);
    for (int i = 0; i < 10; i++) {
        say_bytes(p, bytes, 100000);
        event_base_loop(w->base, EVLOOP_NONBLOCK);
    }
    assert_int_equal(http_server_connections(w->server), 1);
    mem_free(bytes);
    leave(p);
    await_connections(w, 0);
}

static void takes_the_greatest_body(void **state)
{
    struct world *w = *state;
    struct peer *p = join(w);
    struct buf text = {0};
    size_t sent = 0;

    buf_put(&text, LIT("POST /big?3 HTTP/1.1\r\n" HOST "Content-Length: 1048576\r\n\r\n"));
    for (size_t i = 0; i < 1048576; i++)
        buf_put_char(&text, 'x');
    while (sent < text.len) {
        ssize_t n = send(p->fd, text.p + sent, text.len - sent, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n > 0)
            sent += (size_t)n;
        event_base_loop(w->base, EVLOOP_NONBLOCK);
    }
    expect(p, 200, NULL, "bbb", true);
    buf_free(&text);
    leave(p);
}

static void writes_headers_safely(void **state)
{
    struct world *w = *state;
    struct peer *p = join(w);
    const struct http_header headers[] = {{VIEW("X-A"), VIEW("one\r\nSet-Cookie: x\x7f")}};
    struct http_response r = {
        .status = 403, .content_type = VIEW("text/xml"), .headers = headers, .header_count = 1, .body = VIEW("<a/>")};

    say(p, GET("/later"));
    await_handled(w, 1);
    http_reply(w->waiting[0], &r);
    w->waiting_count = 0;
    expect(p, 403, "\r\nX-A: one??Set-Cookie: x?\r\n", "<a/>", true);
    leave(p);
}

static void bounds_answers(void **state)
{
    struct world *w = *state;
    struct peer *p;

    w->limits.reply = 1000;
    restart(w);
    p = join(w);
    say(p, GET("/big?1000") GET("/big?1001"));
    expect(p, 200, "Content-Length: 1000\r\n", NULL, true);
    expect(p, 500, NULL, "", true);
    leave(p);
}

/* ---- time -------------------------------------------------------------------------------------------------------- */

static void sets_deadlines(void **state)
{
    struct world *w = *state;
    struct peer *head, *body, *idle;

    w->limits.head_ms = 20;
    w->limits.request_ms = 40;
    w->limits.idle_ms = 60;
    restart(w);
    head = join(w);
    body = join(w);
    idle = join(w);
    say(head, "GET / HT");
    say(body, "POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nab");
    expect(head, 408, "\r\nConnection: close\r\n", NULL, true);
    expect(body, 408, "\r\nConnection: close\r\n", NULL, true);
    await_end(idle);
    assert_int_equal(buf_live(&idle->got), 0);
    leave(head);
    leave(body);
    leave(idle);
    await_connections(w, 0);
    assert_int_equal(w->handled, 0);
}

/* The deadlines of a request end with it: what takes long afterwards is the handler's affair. */
static void gives_handlers_time(void **state)
{
    struct world *w = *state;
    struct peer *p, *other;

    w->limits.head_ms = w->limits.request_ms = w->limits.idle_ms = w->limits.write_ms = 30;
    restart(w);
    p = join(w);
    other = join(w);
    say(p, GET("/later"));
    await_end(other); /* 30 ms and more */
    leave(other);
    other = join(w);
    await_end(other);
    leave(other);
    assert_false(p->ended);
    http_reply_text(w->waiting[0], 200, VIEW(""), VIEW("late"));
    w->waiting_count = 0;
    expect(p, 200, NULL, "late", true);
    leave(p);
}

static void closes_peers_that_do_not_read(void **state)
{
    struct world *w = *state;
    struct peer *p;

    w->limits.write_ms = 50;
    restart(w);
    p = join_with_buffer(w, 4096);
    event_del(&p->readable);
    say(p, GET("/big?16000000"));
    await_handled(w, 1);
    assert_int_equal(http_server_connections(w->server), 1);
    await_connections(w, 0);
    assert_true(view_equal(buf_view(&w->log), VIEW("GET /big?16000000 200 cut")));
    leave(p);
}

static void writes_to_slow_readers(void **state)
{
    struct world *w = *state;
    struct peer *p = join_with_buffer(w, 4096);

    say(p, GET("/big?3000000") GET("/2"));
    expect(p, 200, "Content-Length: 3000000\r\n", NULL, true);
    expect(p, 200, NULL, "GET /2||", true);
    leave(p);
}

/* ---- lifetime ---------------------------------------------------------------------------------------------------- */

static void drops_answers_for_those_who_left(void **state)
{
    struct world *w = *state;
    struct peer *p = join(w);
    struct linger reset = {1, 0};

    say(p, GET("/later"));
    await_handled(w, 1);
    setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    leave(p);
    http_reply_text(w->waiting[0], 200, VIEW(""), VIEW("nobody reads this"));
    w->waiting_count = 0;
    await_connections(w, 0);
    assert_int_equal(w->logged, 1);
}

static void outlives_its_server(void **state)
{
    struct world *w = *state;
    struct peer *p = join(w), *q = join(w);

    say(p, GET("/later"));
    say(q, "GET / HT");
    await_handled(w, 1);
    http_server_free(w->server);
    w->server = NULL;
    await_end(p);
    await_end(q);
    assert_true(view_equal(http_exchange_request(w->waiting[0])->path, VIEW("/later")));
    leave(p);
    leave(q);
    /* tear_down answers */
}

static void stops_in_order(void **state)
{
    struct world *w = *state;
    struct peer *answering = join(w), *idle = join(w), *sending = join(w), *late;

    say(answering, GET("/later"));
    say(sending, "GET / HT");
    await_handled(w, 1);
    await_connections(w, 3);
    http_server_stop(w->server, on_stopped, w);
    await_end(idle);
    await_end(sending);
    late = mem_zalloc(sizeof *late);
    late->fd = socket(AF_INET, SOCK_STREAM, 0);
    {
        struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(w->port)};

        to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        assert_int_equal(connect(late->fd, (struct sockaddr *)&to, sizeof to), -1);
    }
    close(late->fd);
    mem_free(late);
    assert_false(w->stopped);
    http_reply_text(w->waiting[0], 200, VIEW(""), VIEW("the last"));
    w->waiting_count = 0;
    expect(answering, 200, "\r\nConnection: close\r\n", "the last", true);
    await_end(answering);
    leave(answering);
    while (!w->stopped)
        turn(w);
    leave(idle);
    leave(sending);
}

static void stops_without_connections(void **state)
{
    struct world *w = *state;

    http_server_stop(w->server, on_stopped, w);
    assert_false(w->stopped);
    while (!w->stopped)
        turn(w);
}

/* ---- crowds ------------------------------------------------------------------------------------------------------ */

static bool many_files(void)
{
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) != 0)
        return false;
    files.rlim_cur = files.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur >= 2 * IDLE_PEERS + 100;
}

/* A house full of idle connections, a thousand, does not keep a caller out: the one that has been idle for longest
 * goes. */
static void replaces_the_longest_idle(void **state)
{
    struct world *w = *state;
    static struct peer *idle[IDLE_PEERS];
    struct peer *p;

    if (!many_files())
        skip();
    w->limits.connections = IDLE_PEERS;
    restart(w);
    for (size_t i = 0; i < IDLE_PEERS; i++) {
        idle[i] = join(w);
        if (i % 100 == 99)
            await_connections(w, (unsigned)i + 1);
    }
    say(idle[0], GET("/0")); /* so the next one has been idle for longer */
    expect(idle[0], 200, NULL, NULL, true);
    for (int i = 0; i < 20; i++) {
        p = join(w);
        say(p, GET("/caller"));
        expect(p, 200, NULL, "GET /caller||", true);
        assert_int_equal(http_server_connections(w->server), IDLE_PEERS);
        leave(p);
        await_connections(w, IDLE_PEERS - 1);
        p = join(w);
        await_connections(w, IDLE_PEERS);
        leave(p);
        await_connections(w, IDLE_PEERS - 1);
        p = join(w);
        say(p, GET("/later"));
        await_handled(w, w->handled + 1);
        http_reply_text(w->waiting[0], 200, VIEW(""), VIEW(""));
        w->waiting_count = 0;
        expect(p, 200, NULL, "", true);
        leave(p);
        await_connections(w, IDLE_PEERS - 1);
    }
    await_end(idle[1]);
    assert_false(idle[0]->ended);
    assert_false(idle[2]->ended);
    for (size_t i = 0; i < IDLE_PEERS; i++)
        leave(idle[i]);
}

static void replaces_slow_senders(void **state)
{
    struct world *w = *state;
    struct peer *slow[4], *busy, *p;

    w->limits.connections = 5;
    restart(w);
    busy = join(w);
    say(busy, GET("/later"));
    for (size_t i = 0; i < 4; i++) {
        slow[i] = join(w);
        say(slow[i], "POST / HTTP/1.1\r\n");
    }
    await_connections(w, 5);
    await_handled(w, 1);
    for (int i = 0; i < 5; i++)
        event_base_loop(w->base, EVLOOP_NONBLOCK);
    p = join(w);
    say(p, GET("/"));
    while (!p->ended && head_end(p) == 0)
        turn(w);
    assert_true(memmem(p->got.p, p->got.len, "HTTP/1.1 503 ", 13) != NULL);
    leave(p);
    let_pass(w, 1100000);
    p = join(w);
    say(p, GET("/"));
    expect(p, 200, NULL, NULL, true);
    await_end(slow[0]);
    assert_false(slow[1]->ended);
    assert_false(busy->ended);
    leave(p);
    for (size_t i = 0; i < 4; i++)
        leave(slow[i]);
    http_reply_text(w->waiting[0], 200, VIEW(""), VIEW(""));
    w->waiting_count = 0;
    expect(busy, 200, NULL, "", true);
    leave(busy);
}

/* Without a free descriptor an idle connection makes way, too; where there is none, newcomers wait for one. */
static void goes_on_without_descriptors(void **state)
{
    struct world *w = *state;
    struct peer *idle = join(w), *busy, *p;
    struct rlimit files, few;

    await_connections(w, 1);
    p = join(w);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
    few = files;
    few.rlim_cur = (rlim_t)dup(p->fd);
    close((int)few.rlim_cur);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    say(p, GET("/later"));
    await_handled(w, 1);
    await_end(idle);
    assert_int_equal(http_server_connections(w->server), 1);

    setrlimit(RLIMIT_NOFILE, &files);
    busy = p;
    p = join(w);
    few.rlim_cur = (rlim_t)dup(p->fd);
    close((int)few.rlim_cur);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    say(p, GET("/2"));
    for (int i = 0; i < 5; i++)
        event_base_loop(w->base, EVLOOP_NONBLOCK);
    assert_int_equal(w->handled, 1);
    setrlimit(RLIMIT_NOFILE, &files);
    expect(p, 200, NULL, "GET /2||", true);
    http_reply_text(w->waiting[0], 200, VIEW(""), VIEW("done"));
    w->waiting_count = 0;
    expect(busy, 200, NULL, "done", true);
    leave(idle);
    leave(busy);
    leave(p);
}

/* ---- addresses --------------------------------------------------------------------------------------------------- */

static void says_why_it_cannot_listen(void **state)
{
    struct world *w = *state;
    static const char *const bad[] = {"localhost:80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:70000",
                                      "::1:80:",      ""};
    char error[HTTP_ERROR_MAX], bound[HTTP_ADDRESS_MAX];

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        error[0] = '\0';
        assert_int_equal(http_server_listen(w->server, bad[i], NULL, error), -EINVAL);
        assert_non_null(strstr(error, "is not ADDRESS:PORT"));
    }
    assert_int_equal(http_server_listen(w->server, w->address, bound, error), -EADDRINUSE);
    assert_non_null(strstr(error, w->address));
    assert_non_null(strstr(error, "in use"));
    assert_int_equal(http_server_listen(w->server, "127.0.0.2:0", bound, error), 0);
    assert_true(strncmp(bound, "127.0.0.2:", 10) == 0 && strcmp(bound, "127.0.0.2:0") != 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(answers_one_after_the_other),
        TEST(speaks_the_old_version),
        TEST(waits_for_every_byte),
        TEST(keeps_the_order_of_a_pipeline),
        TEST(answers_half_closed_peers),
        TEST(asks_for_the_body),
        TEST(refuses_and_closes),
        TEST(bounds_heads),
        TEST(lets_a_refused_peer_read),
        TEST(takes_the_greatest_body),
        TEST(writes_headers_safely),
        TEST(bounds_answers),
        TEST(sets_deadlines),
        TEST(gives_handlers_time),
        TEST(closes_peers_that_do_not_read),
        TEST(writes_to_slow_readers),
        TEST(drops_answers_for_those_who_left),
        TEST(outlives_its_server),
        TEST(stops_in_order),
        TEST(stops_without_connections),
        TEST(replaces_the_longest_idle),
        TEST(replaces_slow_senders),
        TEST(goes_on_without_descriptors),
        TEST(says_why_it_cannot_listen),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
