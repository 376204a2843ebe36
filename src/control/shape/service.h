/*
 * What a service of the API consists of: its actions, each with the shapes of its request and its result, and its
 * errors. The tables are generated from spec/api by tools/gen_api.py. Handlers name an error by its constant and never
 * spell its code or its HTTP status.
 */
#ifndef CONTROL_SHAPE_SERVICE_H
#define CONTROL_SHAPE_SERVICE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/view.h"

struct api_call; /* the call that is being answered: control/api's */
struct shape;

/* Errors that every service has, each under a code and a status of its own. A service's own ones follow. */
enum service_error {
    SERVICE_OK,
    SERVICE_ACCESS_DENIED,
    SERVICE_EXPIRED_TOKEN,
    SERVICE_INCOMPLETE_SIGNATURE,
    SERVICE_INTERNAL_FAILURE,
    SERVICE_INVALID_ACTION,
    SERVICE_INVALID_CLIENT_TOKEN, /* an access key that nobody has */
    SERVICE_INVALID_PARAMETER_COMBINATION,
    SERVICE_INVALID_PARAMETER_VALUE,
    SERVICE_MALFORMED_QUERY,
    SERVICE_MISSING_ACTION,
    SERVICE_MISSING_AUTHENTICATION,
    SERVICE_MISSING_PARAMETER,
    SERVICE_REQUEST_EXPIRED,
    SERVICE_SIGNATURE_MISMATCH,
    SERVICE_THROTTLING,
    SERVICE_UNAVAILABLE,
    SERVICE_UNKNOWN_PARAMETER,
    SERVICE_UNSUPPORTED, /* AWS has it, Larder does not */
    SERVICE_COMMON_ERRORS
};

enum service_protocol { SERVICE_QUERY, SERVICE_EC2 };

enum service_flag {
    SERVICE_READ_ONLY = 1,
    SERVICE_UNSIGNED = 2, /* needs no signature */
};

typedef void (*service_function)(void);

struct service_action {
    struct view name;
    unsigned flags; /* enum service_flag */
    const struct shape *request;
    const struct shape *result; /* NULL: there is none */
    int dry_run;                /* where the bool DryRun is in a request, -1 when there is none */
    service_function handler;   /* only whether it is NULL matters: run calls it */
    /* in: a structure of `request`; out: a zeroed one of `result`. Returns 0 or an error of the service. */
    int (*run)(struct api_call *call, const void *in, void *out);
};

struct service_error_code {
    const char *code;
    int status; /* of HTTP */
};

struct service {
    const char *name;       /* in credential scopes and host names */
    struct view version;    /* of the API */
    const char *name_space; /* of the XML */
    enum service_protocol protocol;
    const struct service_action *actions; /* sorted by name */
    size_t action_count;
    const struct service_error_code *errors; /* by enum service_error, then the service's own */
    size_t error_count;
};

/* The action of that name, exactly spelled; NULL when there is none. */
const struct service_action *service_find_action(const struct service *s, struct view name);

/* Can it be run? Some actions are declared only so that they can be refused by name (SERVICE_UNSUPPORTED). */
static inline bool service_action_ready(const struct service_action *a)
{
    return a->handler != NULL;
}

/* The code and status of an error of this service, which must not be SERVICE_OK. */
const struct service_error_code *service_error(const struct service *s, int error);

#endif
