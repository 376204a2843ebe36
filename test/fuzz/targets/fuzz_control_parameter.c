/*
 * Values of parameters. The input is a family, a parameter and a value, each on a line; the value is the rest.
 *
 * A value that is allowed is given to larder-server as one line of text, its numbers are not above what it takes, and
 * memory for data is left whatever is reserved.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "control/model/catalog.h"
#include "control/model/model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool good)
{
    if (!good)
        abort();
}

static struct view line(struct view *rest)
{
    const char *end = rest->n > 0 ? memchr(rest->p, '\n', rest->n) : NULL;
    struct view v = *rest;

    if (!end) {
        *rest = view_of(rest->p + rest->n, 0);
        return v;
    }
    v.n = (size_t)(end - v.p);
    *rest = view_of(end + 1, rest->n - v.n - 1);
    return v;
}

struct emitted {
    const struct catalog_parameter *p;
    size_t count;
};

static void check_directive(void *arg, struct view directive, struct view value, bool reboot)
{
    struct emitted *e = arg;
    uint64_t n;

    demand(directive.n > 0 && value.p && value.n <= CATALOG_VALUE_MAX);
    for (size_t i = 0; i < value.n; i++)
        demand(value.p[i] >= ' ' && value.p[i] <= '~');
    if (e->p->buffer_slot == 0 && view_equal(directive, e->p->directive)) {
        demand(reboot == e->p->reboot);
        demand(e->p->most == 0 || (num_parse_uint(value, &n) && n <= e->p->most));
    }
    e->count++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct view rest = view_of((const char *)data, size), family_name = line(&rest), name = line(&rest);
    const struct catalog_family *f = catalog_family(family_name);
    const struct catalog_parameter *p = f ? catalog_parameter(f, name) : NULL;
    struct parameter_value value = {.name = name, .value = rest};
    struct parameter_group stored = {.values = {.set = true, .count = 1, .items = &value}};
    struct catalog_group g = {.family = f, .stored = &stored, .version = 1};
    const struct catalog_node_type *t = catalog_node_type_at(size % 112);
    struct emitted e = {.p = p};
    bool user = false;

    if (!p || p->node_value != CATALOG_NODE_NONE || !catalog_allows(p, rest))
        return 0;
    demand(view_equal(catalog_group_value(&g, p, &user), rest) && user);
    demand(catalog_group_maxmemory(&g, t) > 0 && catalog_group_maxmemory(&g, t) <= t->maxmemory);
    catalog_directives(&g, t, check_directive, &e);
    demand((e.count > 0) == (f->engine != CATALOG_MEMCACHED));
    return 0;
}
