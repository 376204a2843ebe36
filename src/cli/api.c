/* Calls of the API: see api.h. */
#include "cli/api.h"

#include <curl/curl.h>
#include <libxml/parser.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "cli/cli.h"
#include "cli/service.h"

#define VERSION "2015-02-02"
#define PATIENCE_S 60L
#define READY_PATIENCE_S 5L
#define ANSWER_MAX (64u << 20)

static size_t on_data(char *p, size_t size, size_t n, void *arg)
{
    struct buf *b = arg;

    if (buf_live(b) + size * n > ANSWER_MAX)
        return 0;
    buf_put(b, p, size * n);
    return size * n;
}

bool api_is_ready(const struct service *s, char why[API_ERROR_MAX])
{
    char url[SERVICE_TEXT_MAX + 16], error[CURL_ERROR_SIZE] = "";
    struct buf answer = {0};
    CURL *h = curl_easy_init();
    CURLcode rc = CURLE_FAILED_INIT;
    long status = 0;

    snprintf(url, sizeof url, "%s/ready", s->api_url);
    if (h) {
        curl_easy_setopt(h, CURLOPT_URL, url);
        curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https");
        curl_easy_setopt(h, CURLOPT_NOPROXY, "*");
        curl_easy_setopt(h, CURLOPT_TIMEOUT, READY_PATIENCE_S);
        curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(h, CURLOPT_ERRORBUFFER, error);
        curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, on_data);
        curl_easy_setopt(h, CURLOPT_WRITEDATA, &answer);
        rc = curl_easy_perform(h);
        curl_easy_getinfo(h, CURLINFO_RESPONSE_CODE, &status);
    }
    curl_easy_cleanup(h);
    buf_free(&answer);
    if (rc != CURLE_OK)
        snprintf(why, API_ERROR_MAX, "%s", *error ? error : curl_easy_strerror(rc));
    else
        snprintf(why, API_ERROR_MAX, "it answers with status %ld", status);
    return rc == CURLE_OK && status == 200;
}

/* Sends the form and appends the answer's body; 0 with the HTTP status, else the exit status 1. */
static int post(const struct service *s, const char *form, struct buf *answer, long *status)
{
    char sigv4[SERVICE_TEXT_MAX + 64], key[2 * SERVICE_KEY_MAX + 1], why[CURL_ERROR_SIZE] = "";
    CURL *h = curl_easy_init();
    CURLcode rc;

    if (!h)
        return cli_fail("libcurl cannot start");
    snprintf(sigv4, sizeof sigv4, "aws:amz:%s:elasticache", s->region);
    snprintf(key, sizeof key, "%s:%s", s->access_key_id, s->secret_access_key);
    curl_easy_setopt(h, CURLOPT_URL, s->api_url);
    curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(h, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(h, CURLOPT_AWS_SIGV4, sigv4);
    curl_easy_setopt(h, CURLOPT_USERPWD, key);
    curl_easy_setopt(h, CURLOPT_POSTFIELDS, form);
    curl_easy_setopt(h, CURLOPT_TIMEOUT, PATIENCE_S);
    curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(h, CURLOPT_ERRORBUFFER, why);
    curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(h, CURLOPT_WRITEDATA, answer);
    rc = curl_easy_perform(h);
    if (rc == CURLE_OK)
        curl_easy_getinfo(h, CURLINFO_RESPONSE_CODE, status);
    curl_easy_cleanup(h);
    explicit_bzero(key, sizeof key);
    if (rc == CURLE_OK)
        return 0;
    return cli_fail("%s does not answer: %s%s", s->api_url, *why ? why : curl_easy_strerror(rc),
                    service_is_running(s->directory) ? "" : " (no larderd serves that state directory)");
}

int api_call(const struct service *s, const char *action, const char *parameters, xmlDoc **out)
{
    struct buf form = {0}, answer = {0};
    const xmlNode *root;
    long status = 0;
    int rc;

    *out = NULL;
    buf_printf(&form, "Action=%s&Version=" VERSION "%s%s", action, parameters ? "&" : "", parameters ? parameters : "");
    buf_put_char(&form, '\0');
    rc = post(s, form.p, &answer, &status);
    buf_free(&form);
    if (rc == 0)
        *out = xmlReadMemory(buf_head(&answer), (int)buf_live(&answer), NULL, NULL,
                             XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
    buf_free(&answer);
    if (rc != 0)
        return rc;
    root = *out ? xmlDocGetRootElement(*out) : NULL;
    if (status == 200 && root)
        return 0;
    if (root && *api_text(root, "Error/Code"))
        cli_fail("%s: %s: %s", action, api_text(root, "Error/Code"), api_text(root, "Error/Message"));
    else
        cli_fail("%s: %s answers with status %ld, and no XML", action, s->api_url, status);
    xmlFreeDoc(*out);
    *out = NULL;
    return 1;
}

static const xmlNode *element_from(const xmlNode *n, const char *name, size_t length)
{
    for (; n; n = n->next)
        if (n->type == XML_ELEMENT_NODE && strlen((const char *)n->name) == length &&
            memcmp(n->name, name, length) == 0)
            return n;
    return NULL;
}

const xmlNode *api_child(const xmlNode *from, const char *path)
{
    while (from && *path != '\0') {
        size_t n = strcspn(path, "/");
        from = element_from(from->children, path, n);
        path += n + (path[n] == '/');
    }
    return from;
}

const xmlNode *api_next(const xmlNode *from)
{
    return element_from(from->next, (const char *)from->name, strlen((const char *)from->name));
}

const char *api_text(const xmlNode *from, const char *path)
{
    const xmlNode *n = api_child(from, path);

    return n && n->children && n->children->type == XML_TEXT_NODE ? (const char *)n->children->content : "";
}

char *api_escape(const char *value)
{
    static const char digits[] = "0123456789ABCDEF";
    struct buf b = {0};
    char *copy;

    for (const unsigned char *p = (const unsigned char *)value; *p; p++)
        if ((*p >= '0' && *p <= '9') || (ascii_lower((char)*p) >= 'a' && ascii_lower((char)*p) <= 'z') ||
            strchr("-._~", *p)) {
            buf_put_char(&b, (char)*p);
        } else {
            buf_put_char(&b, '%');
            buf_put_char(&b, digits[*p >> 4]);
            buf_put_char(&b, digits[*p & 15]);
        }
    buf_put_char(&b, '\0');
    copy = strdup(b.p);
    buf_free(&b);
    return copy;
}
