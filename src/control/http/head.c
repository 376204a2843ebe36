/*
 * Scanning knows lines and bytes only; parsing may rely on what it found: every line ends with CR LF, no byte is a
 * control character but TAB, and no line begins with a space. Methods that the service has no use for are refused here,
 * with CONNECT and TRACE among them.
 */
#include "control/http/head.h"

#include "base/num.h"

#define CONTENT_LENGTH_DIGITS 19 /* any that many fit into 64 bits */

static const struct view methods[] = {
    {LIT("GET")}, {LIT("HEAD")}, {LIT("POST")}, {LIT("PUT")}, {LIT("DELETE")}, {LIT("OPTIONS")}, {LIT("PATCH")},
};

static bool refuse(struct http_fault *fault, unsigned status, const char *why)
{
    *fault = (struct http_fault){status, why};
    return false;
}

static enum http_parsed bad(struct http_fault *fault, unsigned status, const char *why)
{
    refuse(fault, status, why);
    return HTTP_BAD;
}

/* The LF behind a CR: a line is complete. */
static enum http_parsed end_line(struct http_scan *scan, struct http_fault *fault)
{
    bool empty = scan->at - 1 == scan->line;

    scan->cr = false;
    scan->line = ++scan->at;
    if (empty)
        return scan->lines > 0 ? HTTP_DONE : bad(fault, 400, "There is an empty line in place of a request.");
    if (++scan->lines > HTTP_HEADERS_MAX + 1)
        return bad(fault, 431, "There are too many headers.");
    return HTTP_MORE;
}

enum http_parsed http_head_scan(struct http_scan *scan, const char *p, size_t n, struct http_fault *fault)
{
    while (scan->at < n) {
        unsigned char c = (unsigned char)p[scan->at];

        if (scan->at >= HTTP_HEAD_MAX)
            return bad(fault, 431, "The request's head is too long.");
        if (scan->cr) {
            enum http_parsed rc = c != '\n' ? bad(fault, 400, "A CR stands alone.") : end_line(scan, fault);
            if (rc != HTTP_MORE)
                return rc;
            continue;
        }
        if (c == '\r')
            scan->cr = true;
        else if (scan->lines == 0 && scan->at >= HTTP_LINE_MAX)
            return bad(fault, 414, "The request line is too long.");
        else if (c == '\n')
            return bad(fault, 400, "A line ends with LF alone.");
        else if ((c < ' ' && c != '\t') || c == 0x7f)
            return bad(fault, 400, "There is a control character in the request's head.");
        else if ((c == ' ' || c == '\t') && scan->at == scan->line)
            return bad(fault, 400, "A line begins with a space.");
        scan->at++;
    }
    return HTTP_MORE;
}

/* ---- words ------------------------------------------------------------------------------------------------------- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_alnum(char c)
{
    c = ascii_lower(c);
    return is_digit(c) || (c >= 'a' && c <= 'z');
}

static bool is_hex(char c)
{
    c = ascii_lower(c);
    return is_digit(c) || (c >= 'a' && c <= 'f');
}

static bool is_one_of(char c, struct view set)
{
    return memchr(set.p, c, set.n) != NULL;
}

/* RFC 9110, 5.6.2. */
static bool is_token(struct view v)
{
    for (size_t i = 0; i < v.n; i++)
        if (!is_alnum(v.p[i]) && !is_one_of(v.p[i], VIEW("!#$%&'*+-.^_`|~")))
            return false;
    return v.n > 0;
}

static struct view trim(struct view v)
{
    while (v.n > 0 && (*v.p == ' ' || *v.p == '\t'))
        v = view_of(v.p + 1, v.n - 1);
    while (v.n > 0 && (v.p[v.n - 1] == ' ' || v.p[v.n - 1] == '\t'))
        v.n--;
    return v;
}

/* Takes what stands before the first `c`, and it, off *v; the whole of it when there is none. */
static struct view take_until(struct view *v, char c)
{
    const char *found = v->n == 0 ? NULL : memchr(v->p, c, v->n);
    struct view taken = view_of(v->p, found == NULL ? v->n : (size_t)(found - v->p));

    *v = found == NULL ? view_of(NULL, 0) : view_of(found + 1, v->n - taken.n - 1);
    return taken;
}

/* Is the word in the comma-separated list of any header of that name? */
static bool lists(const struct http_request *r, struct view name, struct view word)
{
    for (size_t i = 0; i < r->header_count; i++) {
        struct view rest = r->headers[i].value;

        if (!view_equal_case(r->headers[i].name, name))
            continue;
        while (rest.n > 0)
            if (view_equal_case(trim(take_until(&rest, ',')), word))
                return true;
    }
    return false;
}

/* ---- the request line -------------------------------------------------------------------------------------------- */

static bool parse_version(struct view v, unsigned *minor, struct http_fault *fault)
{
    if (v.n != 8 || memcmp(v.p, "HTTP/", 5) != 0 || !is_digit(v.p[5]) || v.p[6] != '.' || !is_digit(v.p[7]))
        return refuse(fault, 400, "The request line does not end with a version of HTTP.");
    if (v.p[5] != '1' || v.p[7] > '1')
        return refuse(fault, 505, "This server speaks HTTP/1.1 and HTTP/1.0.");
    *minor = (unsigned)(v.p[7] - '0');
    return true;
}

/* What browsers leave unencoded passes too, as '|' and '['; what they encode everywhere does not. */
static bool check_target(struct view v, struct http_fault *fault)
{
    for (size_t i = 0; i < v.n; i++) {
        char c = v.p[i];

        if (c <= ' ' || c >= 0x7f || is_one_of(c, VIEW("\"#<>\\")))
            return refuse(fault, 400, "There is a character in the request's target that must be encoded.");
        if (c == '%' && (v.n - i < 3 || !is_hex(v.p[i + 1]) || !is_hex(v.p[i + 2])))
            return refuse(fault, 400, "There is a '%' without two digits in the request's target.");
    }
    return true;
}

/* Splits the target; *authority is that of an absolute one, else its pointer is NULL. */
static bool parse_target(struct http_request *r, struct view *authority, struct http_fault *fault)
{
    struct view rest = r->target;

    *authority = view_of(NULL, 0);
    if (!check_target(rest, fault))
        return false;
    for (size_t n = sizeof "http://" - 1; n <= sizeof "https://" - 1; n++) {
        struct view scheme = n == sizeof "http://" - 1 ? VIEW("http://") : VIEW("https://");

        if (rest.n <= n || !view_equal_case(view_of(rest.p, n), scheme))
            continue;
        rest = view_of(rest.p + n, rest.n - n);
        authority->p = rest.p;
        while (authority->n < rest.n && !is_one_of(rest.p[authority->n], VIEW("/?")))
            authority->n++;
        rest = view_of(rest.p + authority->n, rest.n - authority->n);
        break;
    }
    if (rest.n == 0 || *rest.p != '/')
        return refuse(fault, 400, "The request's target is not a path.");
    r->path = take_until(&rest, '?');
    r->query = rest;
    return true;
}

static bool parse_request_line(struct view line, struct http_request *r, struct view *authority,
                               struct http_fault *fault)
{
    bool known = false;

    r->method = take_until(&line, ' ');
    r->target = take_until(&line, ' ');
    if (!is_token(r->method) || r->target.n == 0)
        return refuse(fault, 400, "The request line is not one.");
    if (!parse_version(line, &r->minor, fault))
        return false;
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        known = known || view_equal(r->method, methods[i]);
    if (!known)
        return refuse(fault, 501, "This server does not know the request's method.");
    return parse_target(r, authority, fault);
}

/* ---- headers ----------------------------------------------------------------------------------------------------- */

static bool parse_header(struct view line, struct http_head *head, struct http_fault *fault)
{
    const char *colon = memchr(line.p, ':', line.n);
    struct http_header *header = &head->headers[head->request.header_count];

    if (colon == NULL)
        return refuse(fault, 400, "There is a header without a colon.");
    header->name = view_of(line.p, (size_t)(colon - line.p));
    header->value = trim(view_of(colon + 1, line.n - header->name.n - 1));
    if (!is_token(header->name))
        return refuse(fault, 400, "There is a header whose name is not a token.");
    head->request.header_count++;
    return true;
}

/* The name in "name", "name:port" or "[address]:port", without brackets. */
static bool parse_host(struct view v, struct view *name, struct http_fault *fault)
{
    struct view rest = v;
    bool good;

    if (v.n > 0 && *v.p == '[') {
        const char *end = memchr(v.p, ']', v.n);

        *name = view_of(v.p + 1, end == NULL ? 0 : (size_t)(end - v.p) - 1);
        good = name->n > 0;
        for (size_t i = 0; i < name->n; i++)
            good = good && (is_hex(name->p[i]) || is_one_of(name->p[i], VIEW(":.")));
        rest = end == NULL ? view_of(NULL, 0) : view_of(end + 1, v.n - name->n - 2);
    } else {
        name->p = v.p;
        for (name->n = 0; name->n < v.n && v.p[name->n] != ':'; name->n++)
            ;
        good = name->n > 0;
        for (size_t i = 0; i < name->n; i++)
            good = good && (is_alnum(name->p[i]) || is_one_of(name->p[i], VIEW("-._~")));
        rest = view_of(v.p + name->n, v.n - name->n);
    }
    good = good && (rest.n == 0 || (*rest.p == ':' && rest.n >= 2 && rest.n <= sizeof ":65535" - 1));
    for (size_t i = 1; i < rest.n; i++)
        good = good && is_digit(rest.p[i]);
    return good ? true : refuse(fault, 400, "Host is not a name or an address.");
}

static bool take_host(struct http_head *head, struct view authority, struct http_fault *fault)
{
    struct http_request *r = &head->request;
    size_t count = http_header_count(r, VIEW("host"));

    if (count > 1)
        return refuse(fault, 400, "There is more than one Host.");
    if (count == 0 && r->minor > 0)
        return refuse(fault, 400, "There is no Host.");
    if (count == 1) {
        r->host = http_header(r, VIEW("host"));
        if (!parse_host(r->host, &head->host, fault))
            return false;
    }
    if (authority.p != NULL && !view_equal_case(authority, r->host))
        return refuse(fault, 400, "The request's target and its Host disagree.");
    return true;
}

static bool take_length(struct http_head *head, struct http_fault *fault)
{
    const struct http_request *r = &head->request;
    size_t lengths = http_header_count(r, VIEW("content-length"));
    size_t codings = http_header_count(r, VIEW("transfer-encoding"));

    if (lengths > 1)
        return refuse(fault, 400, "There is more than one Content-Length.");
    if (lengths > 0 && codings > 0)
        return refuse(fault, 400, "There are a Content-Length and a Transfer-Encoding.");
    if (codings > 0) {
        if (r->minor == 0)
            return refuse(fault, 400, "HTTP/1.0 has no Transfer-Encoding.");
        if (codings > 1 || !view_is(http_header(r, VIEW("transfer-encoding")), "chunked"))
            return refuse(fault, 501, "This server knows no Transfer-Encoding but chunked.");
        head->chunked = true;
    }
    if (lengths > 0) {
        struct view v = http_header(r, VIEW("content-length"));

        for (size_t i = 0; i < v.n; i++)
            if (!is_digit(v.p[i]))
                return refuse(fault, 400, "Content-Length is not a number.");
        if (v.n == 0)
            return refuse(fault, 400, "Content-Length is not a number.");
        if (v.n > CONTENT_LENGTH_DIGITS)
            return refuse(fault, 413, "The request's body is too long.");
        num_parse_uint(v, &head->content_length);
    }
    return true;
}

static bool take_wishes(struct http_head *head, struct http_fault *fault)
{
    const struct http_request *r = &head->request;
    size_t expectations = http_header_count(r, VIEW("expect"));

    if (http_header_count(r, VIEW("upgrade")) > 0)
        return refuse(fault, 501, "This server does not change to another protocol.");
    head->keep_alive = !lists(r, VIEW("connection"), VIEW("close")) &&
                       (r->minor > 0 || lists(r, VIEW("connection"), VIEW("keep-alive")));
    if (expectations > 0 && r->minor > 0) {
        if (expectations > 1 || !view_is(http_header(r, VIEW("expect")), "100-continue"))
            return refuse(fault, 417, "This server meets no expectation but 100-continue.");
        head->expect_continue = true;
    }
    return true;
}

bool http_head_parse(const char *p, size_t n, struct http_head *head, struct http_fault *fault)
{
    struct view rest = view_of(p, n), line, authority = {NULL, 0};

    head->request = (struct http_request){.headers = head->headers};
    head->content_length = 0;
    head->chunked = head->keep_alive = head->expect_continue = false;
    head->host = view_of(NULL, 0);
    for (bool first = true; (line = take_until(&rest, '\r')).n > 0; first = false) {
        rest = view_of(rest.p + 1, rest.n - 1); /* the LF */
        if (first ? !parse_request_line(line, &head->request, &authority, fault) : !parse_header(line, head, fault))
            return false;
    }
    return take_host(head, authority, fault) && take_length(head, fault) && take_wishes(head, fault);
}
