/* The front of the API: see front.h. */
#include "control/api/front.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "api_ec2.h"
#include "api_elasticache.h"
#include "api_sts.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "control/api/keys.h"
#include "control/auth/sigv4.h"
#include "control/http/server.h"
#include "control/shape/answer.h"
#include "control/shape/form.h"
#include "control/shape/query.h"
#include "control/shape/shape.h"

#define REQUEST_ID 36 /* characters of a UUID */

struct front {
    const struct api *api;
    bool ready;
};

/* A call from the request to the answer; it outlives the handler when a commit has to be waited for. */
struct task {
    struct front *front;
    struct http_exchange *exchange;
    struct api_call call;
    struct arena arena;
    char request_id[REQUEST_ID + 1];
    char access_key[SIGV4_NAME_MAX + 1]; /* whose signature was good; "" for none */
    struct buf answer;
};

static const struct service *const services[] = {&elasticache_service, &ec2_service, &sts_service};
static const char *const service_names[] = {"elasticache", "ec2", "sts", NULL};

#define SERVICES (sizeof services / sizeof services[0])

struct front *front_new(const struct api *api)
{
    struct front *f = mem_zalloc(sizeof *f);

    f->api = api;
    return f;
}

void front_free(struct front *f)
{
    mem_free(f);
}

void front_set_ready(struct front *f)
{
    f->ready = true;
}

/* A random UUID (RFC 9562, version 4). */
static void make_request_id(char out[REQUEST_ID + 1])
{
    char hex[33];

    random_hex(hex, 32);
    snprintf(out, REQUEST_ID + 1, "%.8s-%.4s-4%.3s-%c%.3s-%.12s", hex, hex + 8, hex + 13, "89ab"[hex[16] & 3], hex + 17,
             hex + 20);
}

static struct task *task_new(struct front *f, struct http_exchange *x)
{
    struct task *t = mem_zalloc(sizeof *t);

    t->front = f;
    t->exchange = x;
    make_request_id(t->request_id);
    t->call = (struct api_call){
        .api = f->api,
        .model = f->api->model,
        .account = model_account_at(f->api->model, 0),
        .arena = &t->arena,
        .now_ms = clock_wall_ms(),
        .service = services[0],
    };
    return t;
}

/* "elasticache.CreateReplicationGroup KEY REQUEST-ID": only what was recognised and verified, so that nobody writes lines of
 * their own into the log. */
static void note(const struct task *t)
{
    const struct api_call *c = &t->call;
    struct view action = c->action ? c->action->name : VIEW("-");
    struct buf b = {0};

    buf_printf(&b, "%s.%.*s %s %s", c->service->name, (int)action.n, action.p, t->access_key[0] ? t->access_key : "-",
               t->request_id);
    http_exchange_note(t->exchange, buf_view(&b));
    buf_free(&b);
}

/* Sends t->answer, and ends the task. */
static void reply(struct task *t, int status)
{
    const struct http_header id = {VIEW("x-amzn-RequestId"), view_of(t->request_id, REQUEST_ID)};
    const struct http_response r = {
        .status = (unsigned)status,
        .content_type = VIEW(ANSWER_TYPE),
        .headers = &id,
        .header_count = 1,
        .body = buf_view(&t->answer),
    };

    note(t);
    http_reply(t->exchange, &r);
    buf_free(&t->answer);
    buf_free(&t->call.message);
    arena_free(&t->arena);
    mem_free(t);
}

static void reply_error(struct task *t, int error, struct view message)
{
    buf_clear(&t->answer);
    reply(t, answer_write_error(t->call.service, error, message, view_of(t->request_id, REQUEST_ID), &t->answer));
}

/* ---- who calls ---- */

/* The service that has an action of that name; the first of all when none has. */
static const struct service *service_with(struct view action)
{
    for (size_t i = 0; i < SERVICES; i++)
        if (service_find_action(services[i], action))
            return services[i];
    return services[0];
}

static const struct service *service_named(const char *name)
{
    for (size_t i = 0; i < SERVICES; i++)
        if (strcmp(service_names[i], name) == 0)
            return services[i];
    return services[0];
}

static int error_of(enum sigv4_result result)
{
    switch (result) {
    case SIGV4_MISSING:
        return SERVICE_MISSING_AUTHENTICATION;
    case SIGV4_INCOMPLETE:
        return SERVICE_INCOMPLETE_SIGNATURE;
    case SIGV4_UNKNOWN_KEY:
        return SERVICE_INVALID_CLIENT_TOKEN;
    case SIGV4_EXPIRED_TOKEN:
        return SERVICE_EXPIRED_TOKEN;
    default:
        return SERVICE_SIGNATURE_MISMATCH;
    }
}

/* False: it has been answered. */
static bool authenticate(struct task *t, const struct http_request *r, struct view action)
{
    struct keys_finder finder = {.api = t->front->api, .now_ms = t->call.now_ms};
    const struct sigv4_policy policy = {
        .lookup = keys_find,
        .lookup_arg = &finder,
        .services = service_names,
    };
    const struct service_action *known;
    struct sigv4_caller caller;
    struct sigv4_refusal refusal;
    struct buf why = {0};
    enum sigv4_result result;

    t->call.service = service_with(action);
    known = service_find_action(t->call.service, action);
    if (known && (known->flags & SERVICE_UNSIGNED))
        return true;
    result = sigv4_verify(&policy, r, t->call.now_ms / 1000, &caller, &why);
    keys_forget(&finder);
    if (result == SIGV4_OK) {
        t->call.service = service_named(caller.service);
        memcpy(t->access_key, caller.access_key, sizeof t->access_key);
        buf_free(&why);
        return true;
    }
    refusal = sigv4_refusal(result, t->call.service->protocol == SERVICE_EC2 ? SIGV4_EC2 : SIGV4_QUERY);
    reply_error(t, error_of(result), refusal.message ? view_str(refusal.message) : buf_view(&why));
    buf_free(&why);
    return false;
}

/* ---- what is called ---- */

/* The parameters of the query and, for a form, of the body. False: it has been answered. */
static bool read_form(struct task *t, const struct http_request *r, struct form *form)
{
    struct view culprit = {0};
    enum form_result result = form_decode(form, &t->arena, r->query, &culprit);

    if (result == FORM_OK && r->body.n > 0)
        result = form_decode(form, &t->arena, r->body, &culprit);
    switch (result) {
    case FORM_OK:
        return true;
    case FORM_TOO_MANY:
        reply_error(t, SERVICE_MALFORMED_QUERY, VIEW("The request has too many parameters."));
        return false;
    case FORM_DUPLICATE:
        reply_error(t, SERVICE_MALFORMED_QUERY, VIEW("The request has a parameter more than once."));
        return false;
    default:
        reply_error(t, SERVICE_MALFORMED_QUERY, VIEW("The request's parameters are not URL-encoded."));
        return false;
    }
}

/* False: it has been answered. */
static bool find_action(struct task *t, const struct form *form)
{
    struct api_call *c = &t->call;
    struct view name = form_get(form, VIEW("Action")), version = form_get(form, VIEW("Version"));

    if (!name.p || name.n == 0) {
        reply_error(t, SERVICE_MISSING_ACTION, VIEW("The request must contain the parameter Action."));
        return false;
    }
    c->action = service_find_action(c->service, name);
    if (!c->action || (version.p && !view_equal(version, c->service->version))) {
        reply_error(t, SERVICE_INVALID_ACTION,
                    call_text(c, "Could not find operation %.*s for version %.*s", CALL_TEXT(name),
                              CALL_TEXT(version.p ? version : c->service->version)));
        return false;
    }
    if (!service_action_ready(c->action)) {
        reply_error(t, SERVICE_UNSUPPORTED, call_text(c, "The operation %.*s is not supported yet.", CALL_TEXT(name)));
        return false;
    }
    return true;
}

/* ---- the answer ---- */

static void committed(void *arg, const char *error)
{
    struct task *t = arg;

    if (!error) {
        reply(t, 200);
        return;
    }
    reply_error(t, SERVICE_UNAVAILABLE,
                call_text(&t->call, "Nothing was changed, as the state could not be written: %s", error));
}

static void run(struct task *t, const void *request)
{
    struct api_call *c = &t->call;
    void *result = c->action->result ? shape_new(c->action->result, &t->arena, 1) : NULL;
    int error = c->action->run(c, request, result);

    if (error != 0) {
        txn_abort(c->txn);
        reply_error(t, error, buf_view(&c->message));
        return;
    }
    answer_write_result(c->service, c->action, result, view_of(t->request_id, REQUEST_ID), &t->answer);
    if (!c->txn || !txn_commit(c->txn, committed, t)) {
        reply(t, 200);
        return;
    }
    if (c->api->changed)
        c->api->changed(c->api->changed_arg);
}

static void answer_call(struct task *t, const struct http_request *r)
{
    struct api_call *c = &t->call;
    struct form form = {0};
    struct query_problem problem = {0};
    bool dry_run = false;
    void *request;

    if (!read_form(t, r, &form) || !authenticate(t, r, form_get(&form, VIEW("Action"))) || !find_action(t, &form))
        return;
    request = shape_new(c->action->request, &t->arena, 1);
    if (query_parse(c->service, c->action->request, &form, &t->arena, request, &problem) != 0) {
        reply_error(t, problem.error, view_str(problem.message));
        return;
    }
    if (c->action->dry_run >= 0)
        memcpy(&dry_run, (char *)request + c->action->dry_run, sizeof dry_run);
    if (dry_run)
        reply_error(t, EC2_DRY_RUN_OPERATION, VIEW("Request would have succeeded, but DryRun flag is set."));
    else
        run(t, request);
}

/* ---- what is no call ---- */

static bool answer_plain(struct front *f, struct http_exchange *x, const struct http_request *r)
{
    static const struct view text = {LIT("text/plain; charset=utf-8")};

    if (!view_is(r->method, "GET") && !view_is(r->method, "HEAD")) {
        if (view_is(r->method, "POST"))
            return false;
        http_reply_text(x, 405, text, VIEW("GET and POST are what is understood here.\n"));
        return true;
    }
    if (view_equal(r->path, VIEW("/health"))) {
        http_reply_text(x, 200, text, VIEW("ok\n"));
        return true;
    }
    if (view_equal(r->path, VIEW("/ready"))) {
        http_reply_text(x, f->ready ? 200 : 503, text, f->ready ? VIEW("ready\n") : VIEW("starting\n"));
        return true;
    }
    if (r->query.n > 0 && view_equal(r->path, VIEW("/")))
        return false;
    http_reply_text(x, 404, text, VIEW("There is nothing here. The API takes POST requests to /.\n"));
    return true;
}

void front_handle(void *arg, struct http_exchange *x)
{
    struct front *f = arg;
    const struct http_request *r = http_exchange_request(x);

    if (!answer_plain(f, x, r))
        answer_call(task_new(f, x), r);
}
