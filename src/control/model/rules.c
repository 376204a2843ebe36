/* Security groups for nodes: see rules.h. */
#include "control/model/rules.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "control/model/model.h"

#define BLOCK_MASK 0xffffu /* of a VPC's addresses, what its shadow keeps */

/* What is gathered. */
struct blocks {
    struct cidr *items;
    size_t count, cap;
};

static void add(struct blocks *b, struct cidr c)
{
    for (size_t i = 0; i < b->count; i++)
        if (cidr_covers(b->items[i], c))
            return;
    if (b->count == b->cap) {
        b->cap = b->cap > 0 ? 2 * b->cap : 16;
        b->items = mem_realloc(b->items, b->cap * sizeof *b->items);
    }
    b->items[b->count++] = c;
}

/* The node whose callers are looked for. */
struct scope {
    const struct model *model;
    const struct cache_cluster *cluster;
    const struct vpc *vpc;
    struct cidr block; /* of the VPC */
    uint32_t shadow;
    struct blocks blocks;
};

static void add_host(struct scope *s)
{
    struct cidr host;

    if (cidr_parse(VIEW(RULES_HOST_BLOCK), &host, NULL))
        add(&s->blocks, host);
}

/* Part of the VPC's addresses, in its shadow. */
static void add_part(struct scope *s, struct cidr c)
{
    struct cidr part = cidr_covers(c, s->block) ? s->block : c;

    if (!cidr_overlap(c, s->block))
        return;
    add(&s->blocks, (struct cidr){s->shadow | (part.first & BLOCK_MASK), part.bits});
    if (cidr_has(part, s->block.first + RULES_HOST_ADDRESS))
        add_host(s);
}

static bool has(const struct string_list *list, struct view id)
{
    for (size_t i = 0; i < list->count; i++)
        if (view_equal(list->items[i], id))
            return true;
    return false;
}

/* Every interface that has the group. */
static void add_group(struct scope *s, struct view group_id)
{
    const struct account *a = model_account_at(s->model, 0);
    uint32_t address;

    for (size_t i = 0; i < model_count(s->model, MODEL_CACHE_CLUSTER); i++) {
        const struct cache_cluster *c = model_cache_cluster_at(s->model, i);
        if (has(&c->security_group_ids, group_id) && cidr_parse_address(c->address, &address) &&
            cidr_has(s->block, address))
            add_part(s, (struct cidr){address, 32});
    }
    if (s->vpc->is_default && has(&a->host_group_ids, group_id))
        add_host(s);
}

static bool covers_port(const struct security_group_rule *r, int64_t port)
{
    bool is_tcp = view_equal(r->protocol, VIEW("tcp")) || view_equal(r->protocol, VIEW("6"));

    if (view_equal(r->protocol, VIEW("-1")))
        return true;
    return is_tcp && ((r->from_port == -1 && r->to_port == -1) || (r->from_port <= port && port <= r->to_port));
}

static void add_rule(struct scope *s, const struct security_group_rule *r)
{
    struct cidr c;

    if (r->egress || !covers_port(r, s->cluster->port))
        return;
    if (r->cidr_ipv4.p && cidr_parse(r->cidr_ipv4, &c, NULL))
        add_part(s, c);
    if (r->peer_group_id.p)
        add_group(s, r->peer_group_id);
}

static int compare(const void *a, const void *b)
{
    const struct cidr *x = a, *y = b;

    return x->first != y->first ? (x->first > y->first) - (x->first < y->first) : (int)x->bits - (int)y->bits;
}

void rules_write(const struct model *m, const struct cache_cluster *c, uint32_t shadow, struct buf *out)
{
    const struct subnet *subnet = model_subnet(m, c->subnet_id);
    struct scope s = {.model = m, .cluster = c, .shadow = shadow};
    char text[CIDR_TEXT_MAX];
    bool first = true;

    s.vpc = subnet ? model_vpc(m, subnet->vpc_id) : NULL;
    if (!s.vpc || !cidr_parse(s.vpc->cidr_block, &s.block, NULL))
        return;
    for (size_t i = 0; i < c->security_group_ids.count; i++) {
        const struct security_group *g = model_security_group(m, c->security_group_ids.items[i]);
        for (size_t k = 0; g && k < g->rules.count; k++)
            add_rule(&s, &g->rules.items[k]);
    }
    if (s.blocks.count > 0)
        qsort(s.blocks.items, s.blocks.count, sizeof *s.blocks.items, compare);
    for (size_t i = 0; i < s.blocks.count; i++) {
        const struct cidr *b = &s.blocks.items[i];
        if (!first && cidr_covers(s.blocks.items[i - 1], *b))
            continue;
        cidr_format(text, *b);
        buf_printf(out, "%s ", text);
        first = false;
    }
    mem_free(s.blocks.items);
}
