/*
 * Connections of the service's HTTP server. The first byte of an input says in which pieces the rest comes; it goes
 * through the server whole, too, and both ways must lead to the same requests. Then:
 *
 * - http-parser reads the same bytes. It is far more lenient, so what the server took must be what it finds first: the
 *   same methods, targets, headers and bodies. A difference is a way to smuggle a request past one of the two. (Only
 *   names like "Transfer-Encoding2" are left out: version 2.9.4 takes them for Transfer-Encoding, and refuses them.)
 * - what the server sent must be whole responses, as many as there were requests, and at most one refusal behind them.
 */
#include <event2/event.h>
#include <http_parser.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "control/http/connection.h"

#define INPUT_MAX 32768
#define BODY_MAX 2048

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool good)
{
    if (!good)
        abort();
}

static void put_string(struct buf *out, char kind, struct view v)
{
    buf_printf(out, "%c%zu:", kind, v.n);
    buf_put_view(out, v);
    buf_put_char(out, '\n');
}

static struct view trim(struct view v)
{
    while (v.n > 0 && (*v.p == ' ' || *v.p == '\t'))
        v = view_of(v.p + 1, v.n - 1);
    while (v.n > 0 && (v.p[v.n - 1] == ' ' || v.p[v.n - 1] == '\t'))
        v.n--;
    return v;
}

/* ---- the server -------------------------------------------------------------------------------------------------- */

/* What came of one input; requests in a text form, one behind the other. */
struct seen {
    struct buf requests;
    struct buf methods; /* their first letters */
    bool misread;       /* by the other parser */
    struct http_exchange *waiting;
};

static struct event_base *base;
static struct http_server *server;
static struct seen *current;

static void check_request(const struct http_request *r)
{
    demand(r->method.n > 0 && r->path.n > 0 && *r->path.p == '/' && r->body.n <= BODY_MAX && r->minor <= 1);
    demand(r->header_count <= HTTP_HEADERS_MAX && (r->minor == 0 || r->host.n > 0));
    demand(http_header_count(r, VIEW("host")) <= 1 && http_header_count(r, VIEW("upgrade")) == 0);
    demand(http_header_count(r, VIEW("content-length")) + http_header_count(r, VIEW("transfer-encoding")) <= 1);
}

static void handle(void *arg, struct http_exchange *x)
{
    const struct http_request *r = http_exchange_request(x);

    (void)arg;
    check_request(r);
    put_string(&current->requests, 'm', r->method);
    put_string(&current->requests, 't', r->target);
    for (size_t i = 0; i < r->header_count; i++) {
        struct view name = r->headers[i].name;

        current->misread = current->misread || (name.n > 17 && view_is(view_of(name.p, 17), "transfer-encoding"));
        put_string(&current->requests, 'n', name);
        put_string(&current->requests, 'v', r->headers[i].value);
    }
    put_string(&current->requests, 'b', r->body);
    buf_put_char(&current->methods, *r->method.p);
    if (r->target.n % 2 == 0)
        current->waiting = x;
    else
        http_reply_text(x, 200, VIEW("text/plain"), r->body);
}

static void start(void)
{
    struct http_limits limits = http_limits_default();

    log_set_level(LOG_LEVEL_NOTHING);
    limits.connections = 1;
    limits.body = BODY_MAX;
    base = event_base_new();
    server = http_server_new(base, &limits, handle, NULL);
    http_server_allow_host(server, VIEW("h"));
    http_server_allow_host(server, VIEW("::1"));
}

static void read_output(int fd, struct buf *out)
{
    for (;;) {
        ssize_t n;

        buf_reserve(out, 65536);
        n = recv(fd, out->p + out->len, 65536, MSG_DONTWAIT);
        if (n <= 0)
            return;
        out->len += (size_t)n;
    }
}

static void turn(int fd, struct buf *out)
{
    struct http_exchange *x = current->waiting;

    event_base_loop(base, EVLOOP_NONBLOCK);
    if (x != NULL) {
        struct view body = http_exchange_request(x)->body;

        current->waiting = NULL;
        http_reply_text(x, 201, VIEW(""), body);
    }
    read_output(fd, out);
}

/* Sends the input in pieces and gathers what comes of it. */
static void serve(const uint8_t *data, size_t size, size_t piece, struct seen *seen, struct buf *out)
{
    int fds[2];

    current = seen;
    demand(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
    connection_open(server, fds[0], "peer");
    for (size_t at = 0; at < size;) {
        size_t n = size - at < piece ? size - at : piece;
        ssize_t sent = send(fds[1], data + at, n, MSG_NOSIGNAL);

        if (sent < 0 && http_server_connections(server) == 0)
            break;
        at += sent > 0 ? (size_t)sent : 0;
        turn(fds[1], out);
    }
    shutdown(fds[1], SHUT_WR);
    while (http_server_connections(server) > 0)
        turn(fds[1], out);
    read_output(fds[1], out);
    close(fds[1]);
    event_base_loop(base, EVLOOP_NONBLOCK);
}

/* ---- what it sent ------------------------------------------------------------------------------------------------ */

/* Takes one response off *v; returns its status. */
static unsigned take_response(struct view *v, bool head_only)
{
    const char *end = memmem(v->p, v->n, "\r\n\r\n", 4), *length;
    size_t head, body = 0;
    unsigned status;
    char *text;

    demand(end != NULL);
    head = (size_t)(end - v->p) + 4;
    text = mem_strndup(v->p, head);
    demand(strncmp(text, "HTTP/1.1 ", 9) == 0);
    status = (unsigned)atoi(text + 9);
    length = strstr(text, "\r\nContent-Length: ");
    demand((length != NULL) == (status != 100));
    if (length != NULL && !head_only)
        body = (size_t)atol(length + 18);
    mem_free(text);
    /* A refusal, the last of all, may be of a HEAD that was not handled. */
    if (status >= 400 && v->n == head)
        body = 0;
    demand(v->n - head >= body);
    *v = view_of(v->p + head + body, v->n - head - body);
    return status;
}

static void check_output(const struct seen *seen, struct view out)
{
    size_t answers = 0, refusals = 0;

    while (out.n > 0) {
        unsigned status = take_response(&out, answers < seen->methods.len && seen->methods.p[answers] == 'H');

        answers += status == 200 || status == 201;
        refusals += status >= 400;
    }
    demand(answers == seen->methods.len && refusals <= 1);
}

/* ---- the other parser -------------------------------------------------------------------------------------------- */

struct oracle {
    struct buf all; /* as struct seen has it */
    struct buf url, name, value, body, headers;
    bool in_value;
};

static int on_url(http_parser *p, const char *at, size_t n)
{
    buf_put(&((struct oracle *)p->data)->url, at, n);
    return 0;
}

static void end_header(struct oracle *o)
{
    if (!o->in_value)
        return;
    put_string(&o->headers, 'n', buf_view(&o->name));
    put_string(&o->headers, 'v', trim(buf_view(&o->value)));
    buf_clear(&o->name);
    buf_clear(&o->value);
    o->in_value = false;
}

static int on_name(http_parser *p, const char *at, size_t n)
{
    struct oracle *o = p->data;

    end_header(o);
    buf_put(&o->name, at, n);
    return 0;
}

static int on_value(http_parser *p, const char *at, size_t n)
{
    struct oracle *o = p->data;

    o->in_value = true;
    buf_put(&o->value, at, n);
    return 0;
}

static int on_body(http_parser *p, const char *at, size_t n)
{
    buf_put(&((struct oracle *)p->data)->body, at, n);
    return 0;
}

static int on_complete(http_parser *p)
{
    struct oracle *o = p->data;

    end_header(o);
    put_string(&o->all, 'm', view_str(http_method_str((enum http_method)p->method)));
    put_string(&o->all, 't', buf_view(&o->url));
    buf_put_view(&o->all, buf_view(&o->headers));
    put_string(&o->all, 'b', buf_view(&o->body));
    buf_clear(&o->url);
    buf_clear(&o->headers);
    buf_clear(&o->body);
    return 0;
}

static void compare(const struct seen *seen, const uint8_t *data, size_t size)
{
    http_parser_settings settings;
    http_parser parser;
    struct oracle o = {0};

    http_parser_settings_init(&settings);
    settings.on_url = on_url;
    settings.on_header_field = on_name;
    settings.on_header_value = on_value;
    settings.on_body = on_body;
    settings.on_message_complete = on_complete;
    http_parser_init(&parser, HTTP_REQUEST);
    parser.data = &o;
    http_parser_execute(&parser, &settings, (const char *)data, size);
    demand(o.all.len >= seen->requests.len);
    demand(seen->requests.len == 0 || memcmp(o.all.p, seen->requests.p, seen->requests.len) == 0);
    buf_free(&o.all);
    buf_free(&o.url);
    buf_free(&o.name);
    buf_free(&o.value);
    buf_free(&o.body);
    buf_free(&o.headers);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct seen whole = {0}, pieces = {0};
    struct buf out = {0}, out_of_pieces = {0};

    if (size < 2 || size > INPUT_MAX)
        return 0;
    if (base == NULL)
        start();
    serve(data + 1, size - 1, size, &whole, &out);
    check_output(&whole, buf_view(&out));
    if (!whole.misread)
        compare(&whole, data + 1, size - 1);
    serve(data + 1, size - 1, 1 + *data % 64, &pieces, &out_of_pieces);
    check_output(&pieces, buf_view(&out_of_pieces));
    demand(view_equal(buf_view(&whole.requests), buf_view(&pieces.requests)));
    buf_free(&whole.requests);
    buf_free(&pieces.requests);
    buf_free(&whole.methods);
    buf_free(&pieces.methods);
    buf_free(&out);
    buf_free(&out_of_pieces);
    return 0;
}
