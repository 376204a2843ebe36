/*
 * Placement: see placement.h. What has an address in a VPC are cache clusters (their nodes), shards (their endpoints), and the host;
 * they are looked through each time, for there are hundreds at most, and an index could be wrong.
 */
#include "control/model/placement.h"

#include <string.h>

#include "base/mem.h"
#include "control/model/model.h"
#include "control/model/rules.h"

bool placement_has_zone(struct view region, struct view zone)
{
    return zone.n == region.n + 1 && memcmp(zone.p, region.p, region.n) == 0 && zone.p[region.n] >= 'a' &&
           zone.p[region.n] <= 'd';
}

/* Bits of a subnet's addresses that are taken. */
struct taken {
    struct cidr block;
    unsigned char *bits;
    size_t count;
    size_t host; /* of them, 0 or 1: the host's */
};

static bool is_taken(const struct taken *t, uint32_t address)
{
    uint32_t i = address - t->block.first;

    return t->bits[i / 8] >> (i % 8) & 1;
}

static void take(struct taken *t, struct view text)
{
    uint32_t address;

    if (!text.p || !cidr_parse_address(text, &address) || !cidr_has(t->block, address) || is_taken(t, address))
        return;
    t->bits[(address - t->block.first) / 8] |= (unsigned char)(1u << ((address - t->block.first) % 8));
    t->count++;
}

/* False when the subnet's block is none that can be looked through. */
static bool find_taken(const struct model *m, const struct subnet *s, struct taken *t)
{
    const struct vpc *vpc = model_vpc(m, s->vpc_id);
    char host[CIDR_TEXT_MAX];
    struct cidr whole;

    if (!cidr_parse(s->cidr_block, &t->block, NULL) || t->block.bits < 16)
        return false;
    t->count = t->host = 0;
    t->bits = mem_zalloc(((size_t)cidr_last(t->block) - t->block.first) / 8 + 1);
    if (vpc && cidr_parse(vpc->cidr_block, &whole, NULL)) {
        cidr_format_address(host, whole.first + RULES_HOST_ADDRESS);
        take(t, view_str(host));
        t->host = t->count;
    }
    for (size_t i = 0; i < model_count(m, MODEL_CACHE_CLUSTER); i++) {
        const struct cache_cluster *c = model_cache_cluster_at(m, i);
        if (view_equal(c->subnet_id, s->subnet_id))
            take(t, c->address);
    }
    for (size_t i = 0; i < model_count(m, MODEL_SHARD); i++) {
        const struct shard *h = model_shard_at(m, i);
        const struct cache_cluster *first = h->members.count > 0 ? model_cache_cluster(m, h->members.items[0]) : NULL;
        const struct subnet *there = first ? model_subnet(m, first->subnet_id) : NULL;
        if (!there || !view_equal(there->vpc_id, s->vpc_id))
            continue;
        take(t, h->primary_address);
        take(t, h->reader_address);
    }
    return true;
}

size_t placement_free(const struct model *m, const struct subnet *s)
{
    struct taken t;
    size_t size;

    if (!find_taken(m, s, &t))
        return 0;
    mem_free(t.bits);
    size = (size_t)cidr_last(t.block) - t.block.first + 1;
    return size - PLACEMENT_RESERVED_FIRST - PLACEMENT_RESERVED_LAST - t.count;
}

size_t placement_used(const struct model *m, const struct subnet *s)
{
    struct taken t;

    if (!find_taken(m, s, &t))
        return 0;
    mem_free(t.bits);
    return t.count - t.host;
}

bool placement_address(const struct model *m, const struct subnet *s, char out[CIDR_TEXT_MAX])
{
    struct taken t;
    bool found = false;

    if (!find_taken(m, s, &t))
        return false;
    for (uint32_t a = t.block.first + PLACEMENT_RESERVED_FIRST; a <= cidr_last(t.block) - PLACEMENT_RESERVED_LAST; a++)
        if (!is_taken(&t, a)) {
            cidr_format_address(out, a);
            found = true;
            break;
        }
    mem_free(t.bits);
    return found;
}

const struct subnet *placement_subnet(const struct model *m, const struct cache_subnet_group *g, struct view zone)
{
    const struct subnet *best = NULL;
    size_t most = 0;

    for (size_t i = 0; i < g->subnet_ids.count; i++) {
        const struct subnet *s = model_subnet(m, g->subnet_ids.items[i]);
        size_t free;
        if (!s || (zone.p && !view_equal(s->zone, zone)))
            continue;
        free = placement_free(m, s);
        if (free > most) {
            best = s;
            most = free;
        }
    }
    return best;
}

bool placement_covers(const struct model *m, const struct cache_subnet_group *g, struct view zone)
{
    for (size_t i = 0; i < g->subnet_ids.count; i++) {
        const struct subnet *s = model_subnet(m, g->subnet_ids.items[i]);
        if (s && view_equal(s->zone, zone))
            return true;
    }
    return false;
}

struct view placement_zone(const struct model *m, const struct cache_subnet_group *g, size_t n)
{
    struct view zones[4] = {{0}};
    size_t count = 0;

    for (char letter = 'a'; letter <= 'd'; letter++)
        for (size_t i = 0; i < g->subnet_ids.count; i++) {
            const struct subnet *s = model_subnet(m, g->subnet_ids.items[i]);
            if (s && s->zone.n > 0 && s->zone.p[s->zone.n - 1] == letter) {
                zones[count++] = s->zone;
                break;
            }
        }
    return count > 0 ? zones[n % count] : (struct view){0};
}
