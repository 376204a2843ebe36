/* Heads and chunks: what is taken, what is refused and how, and that it does not matter in which pieces they come. */
#include "control/http/head.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "control/http/chunked.h"
#include "control/http/request.h"

/* Scans p in one piece and byte by byte, and parses it; the result of both ways must be the same. */
static enum http_parsed read_head(struct http_head *head, const char *p, size_t n, struct http_fault *fault)
{
    struct http_scan whole = {0}, stepwise = {0};
    struct http_fault other = {0};
    enum http_parsed rc = http_head_scan(&whole, p, n, fault), step = HTTP_MORE;

    for (size_t i = 1; i <= n && step == HTTP_MORE; i++)
        step = http_head_scan(&stepwise, p, i, &other);
    assert_int_equal(rc, step);
    if (rc == HTTP_BAD)
        assert_int_equal(fault->status, other.status);
    if (rc != HTTP_DONE)
        return rc;
    assert_int_equal(whole.at, stepwise.at);
    return http_head_parse(p, whole.at, head, fault) ? HTTP_DONE : HTTP_BAD;
}

static void assert_view(struct view v, const char *text)
{
    if (!view_equal(v, view_str(text)))
        fail_msg("'%.*s' is not '%s'", (int)v.n, v.p, text);
}

static void takes_a_request_apart(void **state)
{
    static const char text[] =
        "POST /a/b%2F?x=1&y HTTP/1.1\r\nHOST:\t localhost:8000 \r\nX-Empty:\r\nContent-Length: 007\r\n"
        "x-twice: 1\r\nX-Twice: caf\xc3\xa9, 2\r\n\r\nmore";
    struct http_head head;
    struct http_fault fault;
    const struct http_request *r = &head.request;

    (void)state;
    assert_int_equal(read_head(&head, text, sizeof text - 1, &fault), HTTP_DONE);
    assert_view(r->method, "POST");
    assert_view(r->target, "/a/b%2F?x=1&y");
    assert_view(r->path, "/a/b%2F");
    assert_view(r->query, "x=1&y");
    assert_view(r->host, "localhost:8000");
    assert_view(head.host, "localhost");
    assert_int_equal(r->minor, 1);
    assert_int_equal(r->header_count, 5);
    assert_view(http_header(r, VIEW("x-empty")), "");
    assert_view(http_header(r, VIEW("x-twice")), "1");
    assert_int_equal(http_header_count(r, VIEW("X-TWICE")), 2);
    assert_view(r->headers[4].value, "caf\xc3\xa9, 2");
    assert_null(http_header(r, VIEW("x-none")).p);
    assert_int_equal(head.content_length, 7);
    assert_false(head.chunked);
    assert_true(head.keep_alive);
}

#define HOST "Host: h\r\n"

static void knows_what_the_peer_wants(void **state)
{
    static const struct {
        const char *text;
        bool keep_alive, chunked, expect;
    } cases[] = {
        {"GET / HTTP/1.1\r\n" HOST "\r\n", true, false, false},
        {"GET / HTTP/1.1\r\n" HOST "Connection: foo , Close\r\n\r\n", false, false, false},
        {"GET / HTTP/1.1\r\n" HOST "Connection: foo\r\nconnection: close\r\n\r\n", false, false, false},
        {"GET / HTTP/1.0\r\n\r\n", false, false, false},
        {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true, false, false},
        {"PUT / HTTP/1.1\r\n" HOST "Transfer-Encoding: Chunked\r\n\r\n", true, true, false},
        {"PUT / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nExpect: 100-Continue\r\n\r\n", true, false, true},
        {"PUT / HTTP/1.0\r\nContent-Length: 1\r\nExpect: 100-Continue\r\n\r\n", false, false, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct http_head head;
        struct http_fault fault;

        assert_int_equal(read_head(&head, cases[i].text, strlen(cases[i].text), &fault), HTTP_DONE);
        assert_int_equal(head.keep_alive, cases[i].keep_alive);
        assert_int_equal(head.chunked, cases[i].chunked);
        assert_int_equal(head.expect_continue, cases[i].expect);
    }
}

static void takes_hosts_and_absolute_targets(void **state)
{
    static const struct {
        const char *text, *path, *query, *host;
    } cases[] = {
        {"GET http://H.x:80/p?q HTTP/1.1\r\nHost: h.X:80\r\n\r\n", "/p", "q", "h.X"},
        {"GET HTTPS://h/ HTTP/1.1\r\nHost: h\r\n\r\n", "/", "", "h"},
        {"GET / HTTP/1.1\r\nHost: [::1]:8\r\n\r\n", "/", "", "::1"},
        {"GET /?a?b HTTP/1.1\r\nHost: [::ffff:127.0.0.1]\r\n\r\n", "/", "a?b", "::ffff:127.0.0.1"},
        {"GET // HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", "//", "", "127.0.0.1"},
        {"GET /{x}|[y]^`%e3 HTTP/1.1\r\nHost: a-b.c_d\r\n\r\n", "/{x}|[y]^`%e3", "", "a-b.c_d"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct http_head head;
        struct http_fault fault;

        assert_int_equal(read_head(&head, cases[i].text, strlen(cases[i].text), &fault), HTTP_DONE);
        assert_view(head.request.path, cases[i].path);
        assert_view(head.request.query, cases[i].query);
        assert_view(head.host, cases[i].host);
    }
}

#define GET "GET / HTTP/1.1\r\n"

static void refuses(void **state)
{
    static const struct {
        struct view text;
        unsigned status;
    } cases[] = {
        {VIEW("\r\n"), 400},
        {VIEW("GET / HTTP/1.1\n"), 400},
        {VIEW("GET / HTTP/1.1\r\r\n"), 400},
        {VIEW(GET "Host: h\n"), 400},
        {VIEW(GET HOST "\n"), 400},
        {VIEW(GET HOST "\rX"), 400},
        {VIEW(GET HOST "a: b\0c\r\n"), 400},
        {VIEW(GET HOST "a\0: b\r\n"), 400},
        {VIEW(GET HOST "a: \x01\r\n"), 400},
        {VIEW(GET HOST "a: \x7f\r\n"), 400},
        {VIEW(GET HOST "a: b\r\n c\r\n"), 400},
        {VIEW(GET HOST "a: b\r\n\tc\r\n"), 400},
        {VIEW(GET " Host: h\r\n"), 400},
        {VIEW(GET HOST "a : b\r\n\r\n"), 400},
        {VIEW(GET HOST "a\r\n\r\n"), 400},
        {VIEW(GET HOST ": b\r\n\r\n"), 400},
        {VIEW(GET HOST "a(b): c\r\n\r\n"), 400},
        {VIEW(GET HOST "caf\xc3\xa9: c\r\n\r\n"), 400},
        {VIEW(GET "\r\n"), 400},
        {VIEW(GET "Host:\r\n\r\n"), 400},
        {VIEW(GET HOST HOST "\r\n"), 400},
        {VIEW(GET "Host: a b\r\n\r\n"), 400},
        {VIEW(GET "Host: a,b\r\n\r\n"), 400},
        {VIEW(GET "Host: u@a\r\n\r\n"), 400},
        {VIEW(GET "Host: a:\r\n\r\n"), 400},
        {VIEW(GET "Host: a:b\r\n\r\n"), 400},
        {VIEW(GET "Host: a:123456\r\n\r\n"), 400},
        {VIEW(GET "Host: [::1\r\n\r\n"), 400},
        {VIEW(GET "Host: []\r\n\r\n"), 400},
        {VIEW(GET "Host: [::1]8\r\n\r\n"), 400},
        {VIEW("GET / HTTP/1.0\r\n" HOST HOST "\r\n"), 400},
        {VIEW("GET http://g/ HTTP/1.1\r\n" HOST "\r\n"), 400},
        {VIEW("GET http://h:80/ HTTP/1.1\r\n" HOST "\r\n"), 400},
        {VIEW("GET http://u@h/ HTTP/1.1\r\n" HOST "\r\n"), 400},
        {VIEW("GET http:///p HTTP/1.1\r\n" HOST "\r\n"), 400},
        {VIEW("GET http://h HTTP/1.1\r\n" HOST "\r\n"), 400},
        {VIEW("GET ftp://h/ HTTP/1.1\r\n" HOST "\r\n"), 400},
        {VIEW("GET h HTTP/1.1\r\n" HOST "\r\n"), 400},
        {VIEW("GET /a#b HTTP/1.1\r\n" HOST "\r\n"), 400},
        {VIEW("GET /\"a HTTP/1.1\r\n" HOST "\r\n"), 400},
        {VIEW("GET /\xc3\xa9 HTTP/1.1\r\n" HOST "\r\n"), 400},
        {VIEW("GET /%4 HTTP/1.1\r\n" HOST "\r\n"), 400},
        {VIEW("GET /%zz HTTP/1.1\r\n" HOST "\r\n"), 400},
        {VIEW("GET /? HTTP/1.1 \r\n" HOST "\r\n"), 400},
        {VIEW("GET  / HTTP/1.1\r\n" HOST "\r\n"), 400},
        {VIEW("GET / \r\n" HOST "\r\n"), 400},
        {VIEW("GET /\r\n\r\n"), 400},
        {VIEW("GET\r\n\r\n"), 400},
        {VIEW("G(T / HTTP/1.1\r\n" HOST "\r\n"), 400},
        {VIEW("GET / http/1.1\r\n" HOST "\r\n"), 400},
        {VIEW("GET / HTTP/11\r\n" HOST "\r\n"), 400},
        {VIEW("GET / HTTP/1.2\r\n" HOST "\r\n"), 505},
        {VIEW("PRI * HTTP/2.0\r\n\r\n"), 505},
        {VIEW("GET / HTTP/0.9\r\n\r\n"), 505},
        {VIEW("get / HTTP/1.1\r\n" HOST "\r\n"), 501},
        {VIEW("TRACE / HTTP/1.1\r\n" HOST "\r\n"), 501},
        {VIEW("CONNECT h:1 HTTP/1.1\r\n" HOST "\r\n"), 501},
        {VIEW("OPTIONS * HTTP/1.1\r\n" HOST "\r\n"), 400},
        {VIEW(GET HOST "Content-Length: 1\r\nContent-Length: 1\r\n\r\n"), 400},
        {VIEW(GET HOST "Content-Length: 1, 1\r\n\r\n"), 400},
        {VIEW(GET HOST "Content-Length: +1\r\n\r\n"), 400},
        {VIEW(GET HOST "Content-Length: -1\r\n\r\n"), 400},
        {VIEW(GET HOST "Content-Length: 0x1\r\n\r\n"), 400},
        {VIEW(GET HOST "Content-Length:\r\n\r\n"), 400},
        {VIEW(GET HOST "Content-Length: 99999999999999999999\r\n\r\n"), 413},
        {VIEW(GET HOST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"), 400},
        {VIEW(GET HOST "Transfer-Encoding: gzip, chunked\r\n\r\n"), 501},
        {VIEW(GET HOST "Transfer-Encoding: identity\r\n\r\n"), 501},
        {VIEW(GET HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"), 501},
        {VIEW("GET / HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"), 400},
        {VIEW(GET HOST "Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n"), 501},
        {VIEW(GET HOST "Expect: tea\r\n\r\n"), 417},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct http_head head;
        struct http_fault fault = {0};
        enum http_parsed rc = read_head(&head, cases[i].text.p, cases[i].text.n, &fault);

        if (rc != HTTP_BAD || fault.status != cases[i].status)
            fail_msg("%zu: '%.*s' gives %d, %u", i, (int)cases[i].text.n, cases[i].text.p, rc, fault.status);
        assert_true(strlen(fault.why) > 0);
    }
}

/* A head of that many bytes in its request line, headers, and bytes of each header. */
static struct buf long_head(size_t line, size_t headers, size_t each)
{
    struct buf b = {0};

    buf_put(&b, LIT("GET /"));
    while (b.len < line - (sizeof " HTTP/1.1" - 1))
        buf_put_char(&b, 'a');
    buf_put(&b, LIT(" HTTP/1.1\r\n"));
    for (size_t i = 0; i < headers; i++) {
        buf_put(&b, i == 0 ? "host:" : "name:", 5);
        for (size_t j = 7; j < each; j++)
            buf_put_char(&b, 'x');
        buf_put(&b, LIT("\r\n"));
    }
    buf_put(&b, LIT("\r\n"));
    return b;
}

static void bounds_the_head(void **state)
{
    static const struct {
        size_t line, headers, each;
        unsigned status;
    } cases[] = {
        {HTTP_LINE_MAX, 1, 20, 0},
        {HTTP_LINE_MAX + 1, 1, 20, 414},
        {100, HTTP_HEADERS_MAX, 20, 0},
        {100, HTTP_HEADERS_MAX + 1, 20, 431},
        {100 - 4, 2, (HTTP_HEAD_MAX - 100) / 2, 0},
        {100 - 3, 2, (HTTP_HEAD_MAX - 100) / 2, 431},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf b = long_head(cases[i].line, cases[i].headers, cases[i].each);
        struct http_head head;
        struct http_fault fault = {0};
        enum http_parsed rc = read_head(&head, b.p, b.len, &fault);

        assert_int_equal(fault.status, cases[i].status);
        assert_int_equal(rc, cases[i].status == 0 ? HTTP_DONE : HTTP_BAD);
        buf_free(&b);
    }
}

static void logs_no_secrets(void **state)
{
    static const struct {
        const char *path, *query, *logged;
    } cases[] = {
        {"/", "", "/"},
        {"/p", "Action=X&AuthToken=secret&flag&Version=1", "/p?Action=X&AuthToken=*&flag&Version=1"},
        {"/", "X-Amz-Signature=ab&=v&", "/?X-Amz-Signature=*&=*"},
        {"/01234567890123456789012345678901234567890123", "a=b", "/012345678901234567890123456789012345..."},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct http_request r = {.path = view_str(cases[i].path), .query = view_str(cases[i].query)};
        struct buf out = {0};

        http_request_put_target(&out, &r, 40);
        assert_view(buf_view(&out), cases[i].logged);
        buf_free(&out);
    }
}

/* Decodes a body that comes in pieces of `step` bytes; returns the status of what is wrong, 0 for nothing, 1 for "not
 * whole yet". */
static unsigned decode(struct view v, size_t step, uint64_t max, struct buf *body, size_t *consumed)
{
    struct http_chunked d = {0};

    *consumed = 0;
    while (*consumed < v.n) {
        size_t taken, n = v.n - *consumed < step ? v.n - *consumed : step;
        struct view data;
        struct http_fault fault;
        enum http_parsed rc = http_chunked_take(&d, v.p + *consumed, n, max, &taken, &data, &fault);

        assert_true(taken > 0 && taken <= n);
        *consumed += taken;
        buf_put_view(body, data);
        if (rc != HTTP_MORE)
            return rc == HTTP_DONE ? 0 : fault.status;
    }
    return 1;
}

static void decodes_chunks(void **state)
{
    static const struct {
        struct view text;
        unsigned status;
        const char *body;
        size_t left;
    } cases[] = {
        {VIEW("5\r\nhello\r\n0\r\n\r\nGET"), 0, "hello", 3},
        {VIEW("0\r\n\r\n"), 0, "", 0},
        {VIEW("00a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n"), 0, "01234567890123456789", 0},
        {VIEW("14\r\n01234567890123456789\r\n0\r\n\r\n"), 0, "01234567890123456789", 0},
        {VIEW("5\r\nhell"), 1, "hell", 0},
        {VIEW("15\r\n"), 413, "", 0},
        {VIEW("ffffffff\r\n"), 413, "", 0},
        {VIEW("14\r\n01234567890123456789\r\n1\r\n"), 413, "01234567890123456789", 0},
        {VIEW("000000001\r\n"), 400, "", 0},
        {VIEW("\r\n"), 400, "", 0},
        {VIEW("5;a=b\r\nhello\r\n"), 400, "", 0},
        {VIEW("5 \r\nhello\r\n"), 400, "", 0},
        {VIEW("-1\r\n"), 400, "", 0},
        {VIEW("0x5\r\n"), 400, "", 0},
        {VIEW("5\nhello\r\n"), 400, "", 0},
        {VIEW("5\rXhello\r\n"), 400, "", 0},
        {VIEW("5\r\nhelloX"), 400, "hello", 0},
        {VIEW("5\r\nhello\n"), 400, "hello", 0},
        {VIEW("5\r\nhello\rX"), 400, "hello", 0},
        {VIEW("0\r\nTrailer: x\r\n\r\n"), 400, "", 0},
        {VIEW("0\r\n\rX"), 400, "", 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (size_t step = 1; step <= cases[i].text.n; step++) {
            struct buf body = {0};
            size_t consumed;
            unsigned status = decode(cases[i].text, step, 20, &body, &consumed);

            if (status != cases[i].status)
                fail_msg("%zu: '%.*s' gives %u", i, (int)cases[i].text.n, cases[i].text.p, status);
            assert_view(buf_view(&body), cases[i].body);
            if (status == 0)
                assert_int_equal(cases[i].text.n - consumed, cases[i].left);
            buf_free(&body);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_a_request_apart),
        cmocka_unit_test(knows_what_the_peer_wants),
        cmocka_unit_test(takes_hosts_and_absolute_targets),
        cmocka_unit_test(refuses),
        cmocka_unit_test(bounds_the_head),
        cmocka_unit_test(logs_no_secrets),
        cmocka_unit_test(decodes_chunks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
