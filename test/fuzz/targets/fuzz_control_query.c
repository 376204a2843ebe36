/*
 * Requests of the Query protocols: forms, which are parsed as what their Action says.
 *
 * A request that is accepted is a structure in which every string is text that XML can hold; as JSON it comes back the
 * same, a copy of it is equal, and the same form parsed again gives the same. One that is refused has an error and a
 * message that an answer can hold.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "api_ec2.h"
#include "api_elasticache.h"
#include "api_sts.h"
#include "base/arena.h"
#include "base/buf.h"
#include "control/shape/answer.h"
#include "control/shape/form.h"
#include "control/shape/json.h"
#include "control/shape/query.h"
#include "control/shape/shape.h"
#include "control/shape/text.h"
#include "control/shape/xml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool good)
{
    if (!good)
        abort();
}

static void check_value(const struct shape_member *m, const void *value);

static void check_shape(const struct shape *shape, const void *value)
{
    for (size_t i = 0; i < shape->count; i++) {
        const struct shape_member *m = &shape->members[i];
        const void *at = shape_at(m, value), *inner;
        struct shape_list list;

        if (m->type == SHAPE_REFUSED)
            continue;
        if (m->list) {
            list = shape_load_list(at);
            demand(list.count <= SHAPE_ITEMS_MAX && (list.set || (list.count == 0 && !m->required)));
            for (size_t k = 0; k < list.count; k++)
                check_value(m, (const char *)list.items + k * shape_item_size(m));
        } else if (m->type == SHAPE_STRUCT ? (inner = shape_load_pointer(at)) != NULL : shape_scalar(m, at, &inner)) {
            check_value(m, inner);
        } else {
            demand(!m->required);
        }
    }
}

static void check_value(const struct shape_member *m, const void *value)
{
    if (m->type == SHAPE_STRUCT)
        check_shape(m->shape, value);
    else if (m->type == SHAPE_STRING)
        demand(text_is_clean(*(const struct view *)value));
}

static void check_accepted(const struct shape *shape, const void *value, struct arena *a)
{
    char why[JSON_WHY_MAX];
    void *copy = shape_new(shape, a, 1), *back = shape_new(shape, a, 1);
    struct buf json = {0}, xml = {0};
    struct xml *x = xml_new(&xml, false);

    check_shape(shape, value);
    shape_copy(shape, value, copy, a);
    demand(shape_equal(shape, value, copy));
    if (json_write_shape(shape, value, &json) == 0) { /* infinity is not for JSON */
        demand(json_read_shape(shape, buf_view(&json), a, back, why) == 0);
        demand(shape_equal(shape, value, back));
    }
    xml_open(x, "request");
    xml_write_shape(x, shape, value);
    xml_free(x);
    demand(text_is_clean(buf_view(&xml)));
    buf_free(&json);
    buf_free(&xml);
}

static void check_refused(const struct service *service, const struct query_problem *problem)
{
    struct view message = view_str(problem->message);
    struct buf out = {0};

    demand(message.n > 10 && text_is_clean(message));
    demand(problem->error > SERVICE_OK && problem->error < SERVICE_COMMON_ERRORS);
    demand(answer_write_error(service, problem->error, message, VIEW("id"), &out) >= 400);
    demand(text_is_clean(buf_view(&out)));
    buf_free(&out);
}

static void parse(const struct service *service, const struct shape *shape, const struct form *form, struct arena *a)
{
    struct query_problem problem = {0};
    void *value = shape_new(shape, a, 1), *again = shape_new(shape, a, 1);

    if (query_parse(service, shape, form, a, value, &problem) != 0) {
        check_refused(service, &problem);
        return;
    }
    check_accepted(shape, value, a);
    demand(query_parse(service, shape, form, a, again, &problem) == 0);
    demand(shape_equal(shape, value, again));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct service *services[] = {&ec2_service, &elasticache_service, &sts_service};
    struct arena a = {0};
    struct form form = {0};
    struct view culprit;

    if (form_decode(&form, &a, view_of((const char *)data, size), &culprit) != FORM_OK)
        demand(form.count == 0);
    demand(form.count <= FORM_PARAMS_MAX);
    for (size_t i = 0; i < form.count; i++)
        demand(form_get(&form, form.params[i].name).p == form.params[i].value.p);
    for (size_t i = 0; i < sizeof services / sizeof services[0]; i++) {
        const struct service_action *action = service_find_action(services[i], form_get(&form, VIEW("Action")));

        if (action != NULL && action->request != NULL)
            parse(services[i], action->request, &form, &a);
    }
    arena_free(&a);
    return 0;
}
