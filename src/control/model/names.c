/* Names of endpoints: see names.h. They are made for each comparison, so that there is one place that knows their form. */
#include "control/model/names.h"

#include <stdio.h>

#include "control/model/model.h"

#define TEXT(v) (int)(v).n, (v).p

static const struct {
    struct view region, code;
} regions[] = {
    {{LIT("us-east-1")}, {LIT("use1")}},       {{LIT("us-east-2")}, {LIT("use2")}},
    {{LIT("us-west-1")}, {LIT("usw1")}},       {{LIT("us-west-2")}, {LIT("usw2")}},
    {{LIT("ca-central-1")}, {LIT("cac1")}},    {{LIT("eu-west-1")}, {LIT("euw1")}},
    {{LIT("eu-west-2")}, {LIT("euw2")}},       {{LIT("eu-west-3")}, {LIT("euw3")}},
    {{LIT("eu-central-1")}, {LIT("euc1")}},    {{LIT("eu-north-1")}, {LIT("eun1")}},
    {{LIT("ap-northeast-1")}, {LIT("apn1")}},  {{LIT("ap-northeast-2")}, {LIT("apn2")}},
    {{LIT("ap-northeast-3")}, {LIT("apn3")}},  {{LIT("ap-south-1")}, {LIT("aps1")}},
    {{LIT("ap-southeast-1")}, {LIT("apse1")}}, {{LIT("ap-southeast-2")}, {LIT("apse2")}},
    {{LIT("sa-east-1")}, {LIT("sae1")}},       {{LIT("ap-east-1")}, {LIT("ape1")}},
};

struct view names_region_code(struct view region)
{
    for (size_t i = 0; i < sizeof regions / sizeof regions[0]; i++)
        if (view_equal(regions[i].region, region))
            return regions[i].code;
    return region;
}

void names_primary(char out[NAMES_MAX], const struct account *a, struct view suffix, struct view group_id)
{
    struct view code = names_region_code(a->region);

    snprintf(out, NAMES_MAX, "%.*s.%.*s.ng.0001.%.*s.%.*s", TEXT(group_id), TEXT(a->hash), TEXT(code), TEXT(suffix));
}

void names_reader(char out[NAMES_MAX], const struct account *a, struct view suffix, struct view group_id)
{
    struct view code = names_region_code(a->region);

    snprintf(out, NAMES_MAX, "%.*s-ro.%.*s.ng.0001.%.*s.%.*s", TEXT(group_id), TEXT(a->hash), TEXT(code), TEXT(suffix));
}

void names_node(char out[NAMES_MAX], const struct account *a, struct view suffix, struct view cluster_id)
{
    struct view code = names_region_code(a->region);

    snprintf(out, NAMES_MAX, "%.*s.%.*s.0001.%.*s.%.*s", TEXT(cluster_id), TEXT(a->hash), TEXT(code), TEXT(suffix));
}

/* Is name the same as full, or a part of it at its end? */
enum match { NO_MATCH, IS_PARENT, IS_SAME };

static enum match match(struct view name, const char *full)
{
    struct view f = view_str(full);
    struct view end;

    if (name.n > f.n)
        return NO_MATCH;
    end = view_of(f.p + f.n - name.n, name.n);
    if (!view_equal_case(name, end))
        return NO_MATCH;
    return name.n == f.n ? IS_SAME : f.p[f.n - name.n - 1] == '.' ? IS_PARENT : NO_MATCH;
}

static struct view vpc_of(const struct model *m, const struct cache_cluster *c)
{
    const struct subnet *s = c ? model_subnet(m, c->subnet_id) : NULL;

    return s ? s->vpc_id : (struct view){0};
}

/* Notes what the match means; true when it is the name itself. */
static bool note(enum match found, struct names_found *out, bool *is_known, struct view vpc_id, struct view address)
{
    *is_known |= found != NO_MATCH;
    if (found != IS_SAME || !address.p)
        return false;
    *out = (struct names_found){vpc_id, address};
    return true;
}

bool names_find(const struct model *m, struct view suffix, struct view name, struct names_found *out)
{
    const struct account *a = model_account_at(m, 0);
    bool is_known = false;
    char full[NAMES_MAX];

    *out = (struct names_found){0};
    for (size_t i = 0; i < model_count(m, MODEL_CACHE_CLUSTER); i++) {
        const struct cache_cluster *c = model_cache_cluster_at(m, i);
        names_node(full, a, suffix, c->id);
        if (note(match(name, full), out, &is_known, vpc_of(m, c), c->address))
            return true;
    }
    for (size_t i = 0; i < model_count(m, MODEL_SHARD); i++) {
        const struct shard *s = model_shard_at(m, i);
        struct view vpc_id = s->members.count > 0 ? vpc_of(m, model_cache_cluster(m, s->members.items[0])) : VIEW("");
        if (!s->grouped)
            continue;
        names_primary(full, a, suffix, s->owner);
        if (note(match(name, full), out, &is_known, vpc_id, s->primary_address))
            return true;
        names_reader(full, a, suffix, s->owner);
        if (note(match(name, full), out, &is_known, vpc_id, s->reader_address))
            return true;
    }
    return is_known;
}
