/*
 * The phrases are those of RFC 9110. There is no Server header, which would only tell strangers versions, and there are
 * no CORS headers, as no page of another origin has a business here.
 */
#include "control/http/response.h"

#include <assert.h>
#include <time.h>

#include "base/buf.h"

static const struct {
    unsigned status;
    const char *reason;
} reasons[] = {
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Content"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
};

const char *http_response_reason(unsigned status)
{
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "";
}

/* RFC 9110, 5.6.7; strftime's names of days and months would follow the locale. */
static void put_date(struct buf *out, int64_t now_s)
{
    static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t t = (time_t)now_s;
    struct tm tm;

    if (gmtime_r(&t, &tm) != NULL)
        buf_printf(out, "Date: %s, %02d %s %d %02d:%02d:%02d GMT\r\n", days[tm.tm_wday], tm.tm_mday, months[tm.tm_mon],
                   tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

static void put_header(struct buf *out, struct view name, struct view value)
{
    assert(name.n > 0);
    for (size_t i = 0; i < name.n; i++)
        assert(name.p[i] > ' ' && name.p[i] < 0x7f && name.p[i] != ':');
    buf_put_view(out, name);
    buf_put(out, LIT(": "));
    for (size_t i = 0; i < value.n; i++) {
        unsigned char c = (unsigned char)value.p[i];
        buf_put_char(out, (c < ' ' && c != '\t') || c == 0x7f ? '?' : value.p[i]);
    }
    buf_put(out, LIT("\r\n"));
}

void http_response_put(struct buf *out, const struct http_response *r, const struct http_manner *manner)
{
    bool no_body = r->status == 204 || r->status == 304;

    assert(r->status >= 200 && r->status <= 599);
    buf_printf(out, "HTTP/1.1 %u %s\r\n", r->status, http_response_reason(r->status));
    put_date(out, manner->now_s);
    if (r->content_type.n > 0)
        put_header(out, VIEW("Content-Type"), r->content_type);
    for (size_t i = 0; i < r->header_count; i++)
        put_header(out, r->headers[i].name, r->headers[i].value);
    if (!no_body)
        buf_printf(out, "Content-Length: %zu\r\n", r->body.n);
    if (!manner->keep_alive)
        buf_put(out, LIT("Connection: close\r\n"));
    else if (manner->minor == 0)
        buf_put(out, LIT("Connection: keep-alive\r\n"));
    buf_put(out, LIT("\r\n"));
    if (!no_body && !manner->head_only)
        buf_put_view(out, r->body);
}
