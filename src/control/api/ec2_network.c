/* Networks: see ec2_network.h. */
#include "control/api/ec2_network.h"

#include <assert.h>
#include <string.h>

#include "control/api/ec2_id.h"
#include "control/model/defaults.h"
#include "control/model/rules.h"

int ec2_network_vpc(struct api_call *c, struct view id, const struct vpc **out)
{
    int error = ec2_id_check(c, EC2_ID_VPC, id);

    *out = error == 0 ? model_vpc(c->model, id) : NULL;
    return error != 0 || *out ? error : ec2_id_fail(c, EC2_ID_VPC, id);
}

int ec2_network_subnet(struct api_call *c, struct view id, const struct subnet **out)
{
    int error = ec2_id_check(c, EC2_ID_SUBNET, id);

    *out = error == 0 ? model_subnet(c->model, id) : NULL;
    return error != 0 || *out ? error : ec2_id_fail(c, EC2_ID_SUBNET, id);
}

int ec2_network_group(struct api_call *c, struct view id, const struct security_group **out)
{
    int error = ec2_id_check(c, EC2_ID_SECURITY_GROUP, id);

    *out = error == 0 ? model_security_group(c->model, id) : NULL;
    return error != 0 || *out ? error : ec2_id_fail(c, EC2_ID_SECURITY_GROUP, id);
}

const struct vpc *ec2_network_default(struct api_call *c)
{
    for (size_t i = 0; i < model_count(c->model, MODEL_VPC); i++)
        if (model_vpc_at(c->model, i)->is_default)
            return model_vpc_at(c->model, i);
    return NULL;
}

const struct security_group *ec2_network_group_named(struct api_call *c, struct view vpc_id, struct view name)
{
    for (size_t i = 0; i < model_count(c->model, MODEL_SECURITY_GROUP); i++) {
        const struct security_group *g = model_security_group_at(c->model, i);
        if (view_equal(g->vpc_id, vpc_id) && view_equal(g->group_name, name))
            return g;
    }
    return NULL;
}

struct cidr ec2_network_block(struct view text)
{
    struct cidr block = {0, 32};
    bool good = cidr_parse(text, &block, NULL);

    assert(good);
    (void)good;
    return block;
}

/* ---- zones ---- */

struct view ec2_network_zone_name(struct api_call *c, unsigned zone)
{
    return call_text(c, "%.*s%c", CALL_TEXT(c->account->region), (char)('a' + zone));
}

/* How many characters AWS keeps of a direction: "ne" of northeast, "n" of north, "c" of central. */
static struct view short_direction(struct view word)
{
    static const struct view longs[] = {{LIT("northeast")}, {LIT("northwest")}, {LIT("southeast")}, {LIT("southwest")}};
    static const struct view shorts[] = {{LIT("ne")}, {LIT("nw")}, {LIT("se")}, {LIT("sw")}};

    for (size_t i = 0; i < sizeof longs / sizeof longs[0]; i++)
        if (view_equal(longs[i], word))
            return shorts[i];
    return view_of(word.p, word.n > 0 ? 1 : 0);
}

static struct view next_word(struct view *rest)
{
    const char *end = memchr(rest->p, '-', rest->n);
    struct view word = view_of(rest->p, end ? (size_t)(end - rest->p) : rest->n);

    *rest = end ? view_of(end + 1, rest->n - word.n - 1) : view_of(rest->p + rest->n, 0);
    return word;
}

/* "apne2-az1" in ap-northeast-2: the first word and the number whole, what is between them short. */
struct view ec2_network_zone_id(struct api_call *c, unsigned zone)
{
    struct view rest = c->account->region, first = next_word(&rest), text = first;

    while (rest.n > 0) {
        struct view word = next_word(&rest), part = rest.n > 0 ? short_direction(word) : word;

        text = call_text(c, "%.*s%.*s", CALL_TEXT(text), CALL_TEXT(part));
    }
    return call_text(c, "%.*s-az%u", CALL_TEXT(text), zone + 1);
}

unsigned ec2_network_zone_named(struct api_call *c, struct view name)
{
    unsigned zone = 0;

    while (zone < DEFAULTS_ZONES && !view_equal(ec2_network_zone_name(c, zone), name))
        zone++;
    return zone;
}

unsigned ec2_network_zone_with_id(struct api_call *c, struct view id)
{
    unsigned zone = 0;

    while (zone < DEFAULTS_ZONES && !view_equal(ec2_network_zone_id(c, zone), id))
        zone++;
    return zone;
}

/* ---- the host ---- */

struct view ec2_network_host_id(struct api_call *c)
{
    return ec2_id_derive(c, "eni-", c->account->id);
}

uint32_t ec2_network_host_address(struct api_call *c)
{
    const struct vpc *v = ec2_network_default(c);

    return v ? ec2_network_block(v->cidr_block).first + RULES_HOST_ADDRESS : 0;
}

const struct subnet *ec2_network_host_subnet(struct api_call *c)
{
    const struct vpc *v = ec2_network_default(c);

    for (size_t i = 0; v && i < model_count(c->model, MODEL_SUBNET); i++) {
        const struct subnet *s = model_subnet_at(c->model, i);
        if (view_equal(s->vpc_id, v->vpc_id) && cidr_has(ec2_network_block(s->cidr_block), ec2_network_host_address(c)))
            return s;
    }
    return NULL;
}

bool ec2_network_listed(const struct string_list *list, struct view id)
{
    for (size_t i = 0; i < list->count; i++)
        if (view_equal(list->items[i], id))
            return true;
    return false;
}
