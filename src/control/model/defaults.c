/* A new account: see defaults.h. */
#include "control/model/defaults.h"

#include <stdio.h>

#include "base/random.h"
#include "control/model/model.h"
#include "control/shape/shape.h"

#define HASH_LETTERS "abcdefghijklmnopqrstuvwxyz0123456789"

void defaults_new_id(char out[DEFAULTS_ID_MAX], const char *prefix)
{
    char digits[19];

    random_hex(digits, 18);
    snprintf(out, DEFAULTS_ID_MAX, "%s%.17s", prefix, digits);
}

static void put_rule(struct txn *t, struct security_group *g, struct security_group_rule *r, bool egress)
{
    char id[DEFAULTS_ID_MAX];

    defaults_new_id(id, "sgr-");
    *r = (struct security_group_rule){.egress = egress, .from_port = -1, .to_port = -1};
    r->rule_id = txn_text(t, g, view_str(id));
    r->protocol = txn_text(t, g, VIEW("-1"));
}

struct view defaults_security_group(struct txn *t, struct view vpc_id)
{
    char id[DEFAULTS_ID_MAX];
    struct security_group *g;

    defaults_new_id(id, "sg-");
    g = txn_add_security_group(t, view_str(id));
    g->group_id = txn_text(t, g, view_str(id));
    g->group_name = txn_text(t, g, VIEW("default"));
    g->description = txn_text(t, g, VIEW("default VPC security group"));
    g->vpc_id = txn_text(t, g, vpc_id);
    g->rules.set = true;
    g->rules.count = 2;
    g->rules.items = shape_new(&security_group_rule_shape, txn_arena(t, g), 2);
    put_rule(t, g, &g->rules.items[0], false);
    g->rules.items[0].peer_group_id = g->group_id;
    put_rule(t, g, &g->rules.items[1], true);
    g->rules.items[1].cidr_ipv4 = txn_text(t, g, VIEW("0.0.0.0/0"));
    return g->group_id;
}

static struct vpc *default_vpc(struct txn *t, int64_t now_ms)
{
    char id[DEFAULTS_ID_MAX];
    struct vpc *v;

    defaults_new_id(id, "vpc-");
    v = txn_add_vpc(t, view_str(id));
    v->vpc_id = txn_text(t, v, view_str(id));
    v->cidr_block = txn_text(t, v, VIEW("172.31.0.0/16"));
    v->is_default = true;
    v->enable_dns_hostnames = true;
    v->create_time = now_ms;
    return v;
}

static struct view default_subnet(struct txn *t, const struct vpc *v, struct view region, unsigned zone, int64_t now_ms)
{
    char id[DEFAULTS_ID_MAX], cidr[32], name[64];
    struct subnet *s;

    defaults_new_id(id, "subnet-");
    snprintf(cidr, sizeof cidr, "172.31.%u.0/20", 16 * zone);
    snprintf(name, sizeof name, "%.*s%c", (int)region.n, region.p, 'a' + (int)zone);
    s = txn_add_subnet(t, view_str(id));
    s->subnet_id = txn_text(t, s, view_str(id));
    s->vpc_id = txn_text(t, s, v->vpc_id);
    s->cidr_block = txn_text(t, s, view_str(cidr));
    s->zone = txn_text(t, s, view_str(name));
    s->is_default = true;
    s->map_public_ip_on_launch = true;
    s->create_time = now_ms;
    return s->subnet_id;
}

static void default_subnet_group(struct txn *t, const struct vpc *v, const struct view *subnets)
{
    struct cache_subnet_group *g = txn_add_cache_subnet_group(t, VIEW("default"));

    g->name = txn_text(t, g, VIEW("default"));
    g->description = txn_text(t, g, VIEW("Default CacheSubnetGroup"));
    g->vpc_id = txn_text(t, g, v->vpc_id);
    g->subnet_ids.set = true;
    g->subnet_ids.count = DEFAULTS_ZONES;
    g->subnet_ids.items = arena_alloc(txn_arena(t, g), DEFAULTS_ZONES * sizeof *subnets);
    for (unsigned i = 0; i < DEFAULTS_ZONES; i++)
        g->subnet_ids.items[i] = txn_text(t, g, subnets[i]);
}

void defaults_make(struct txn *t, struct view id, struct view region, int64_t now_ms)
{
    struct view subnets[DEFAULTS_ZONES], group;
    struct account *a = txn_add_account(t, id);
    char hash[7] = {0};
    struct random random;
    struct vpc *v;

    random_seed(&random);
    for (unsigned i = 0; i < 6; i++)
        hash[i] = HASH_LETTERS[random_below(&random, i == 0 ? 26 : 36)]; /* a label of DNS, and no number */
    a->id = txn_text(t, a, id);
    a->region = txn_text(t, a, region);
    a->hash = txn_text(t, a, view_str(hash));
    a->create_time = now_ms;
    v = default_vpc(t, now_ms);
    for (unsigned i = 0; i < DEFAULTS_ZONES; i++)
        subnets[i] = default_subnet(t, v, region, i, now_ms);
    group = defaults_security_group(t, v->vpc_id);
    a->host_group_ids.set = true;
    a->host_group_ids.count = 1;
    a->host_group_ids.items = arena_alloc(txn_arena(t, a), sizeof(struct view));
    a->host_group_ids.items[0] = txn_text(t, a, group);
    default_subnet_group(t, v, subnets);
}
