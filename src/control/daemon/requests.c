/* Requests of the operator: see requests.h. */
#include "control/daemon/requests.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "control/api/call.h"
#include "control/api/session.h"
#include "control/daemon/control_socket.h"
#include "control/daemon/root_key.h"

struct requests {
    const struct api *api;
    const char *state_dir;
    struct control_call *backup, *rotation; /* under way; NULL: none */
    char copy[PATH_MAX];
};

struct requests *requests_new(const struct api *api, const char *state_dir)
{
    struct requests *r = mem_zalloc(sizeof *r);

    *r = (struct requests){.api = api, .state_dir = state_dir};
    snprintf(r->copy, sizeof r->copy, "%s/backup.db", state_dir);
    return r;
}

void requests_free(struct requests *r)
{
    mem_free(r);
}

static void on_copied(void *arg, const char *error)
{
    struct requests *r = arg;
    struct control_call *call = r->backup;
    int fd = -1, rc = 0;

    r->backup = NULL;
    if (!error)
        rc = file_open(r->copy, &fd);
    file_remove(r->copy);
    if (error)
        control_call_refuse(call, "%s", error);
    else if (rc != 0)
        control_call_refuse(call, "%s: %s", r->copy, strerror(-rc));
    else
        control_call_answer(call, json_object(), fd);
}

static void backup(struct requests *r, struct control_call *call)
{
    if (r->backup) {
        control_call_refuse(call, "another backup is under way");
        return;
    }
    r->backup = call;
    model_backup(r->api->model, r->copy, on_copied, r);
}

static void on_rotated(void *arg, const char *error)
{
    struct requests *r = arg;
    struct control_call *call = r->rotation;
    const struct access_key *k = root_key_find(r->api->model);
    char text[ROOT_KEY_ERROR_MAX];

    r->rotation = NULL;
    if (error) {
        control_call_refuse(call, "the key stays as it was: %s", error);
        return;
    }
    sessions_clear(r->api->sessions);
    log_notice("The root access key is %.*s from now on", CALL_TEXT(k->id));
    if (root_key_publish(r->api, r->state_dir, text) != 0)
        control_call_refuse(call, "there is a new key, but %s; it will be when larderd starts again", text);
    else
        control_call_answer(call, json_pack("{s:o}", "access_key_id", json_stringn_nocheck(k->id.p, k->id.n)), -1);
}

static void rotate_key(struct requests *r, struct control_call *call)
{
    struct txn *t;

    if (r->rotation) {
        control_call_refuse(call, "the key is being changed already");
        return;
    }
    r->rotation = call;
    t = txn_begin(r->api->model);
    root_key_replace(r->api, t, NULL, NULL);
    txn_commit(t, on_rotated, r);
}

/* Whoever may open the socket may read the root key as well. */
static void sign_in(struct requests *r, struct control_call *call)
{
    char code[SESSION_CODE + 1];

    sessions_make_code(r->api->sessions, clock_wall_ms(), code);
    control_call_answer(call, json_pack("{s:s, s:i}", "code", code, "seconds", SESSION_CODE_MS / 1000), -1);
}

void requests_handle(void *arg, struct control_call *call, const json_t *request)
{
    static const struct {
        const char *name;
        void (*fn)(struct requests *r, struct control_call *call);
    } rows[] = {{"backup", backup}, {"rotate-key", rotate_key}, {"sign-in", sign_in}};
    const char *name = json_string_value(json_object_get(request, "request"));

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strcmp(rows[i].name, name) == 0) {
            rows[i].fn(arg, call);
            return;
        }
    control_call_refuse(call, "there is no request of that name");
}
