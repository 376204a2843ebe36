/* The catalog's tables as they were generated, and what is computed from them. */
#include "control/model/catalog.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "control/model/model.h"

#define V(s) view_str(s)

static const struct catalog_node_type *type(const char *name)
{
    const struct catalog_node_type *t = catalog_node_type(V(name));

    assert_non_null(t);
    return t;
}

static const struct catalog_version *version(enum catalog_engine engine, const char *text)
{
    const struct catalog_version *v = catalog_engine_version(engine, text ? V(text) : (struct view){0});

    assert_non_null(v);
    return v;
}

static const struct catalog_family *family(const char *name)
{
    const struct catalog_family *f = catalog_family(V(name));

    assert_non_null(f);
    return f;
}

static const struct catalog_parameter *parameter(const char *family_name, const char *name)
{
    const struct catalog_parameter *p = catalog_parameter(family(family_name), V(name));

    assert_non_null(p);
    return p;
}

static void is_text(struct view v, const char *expected)
{
    if (!view_equal(v, V(expected)))
        fail_msg("'%.*s', not '%s'", (int)v.n, v.p, expected);
}

static void tables(void **state)
{
    size_t types = 0, versions = 0, families = 0, defaults[CATALOG_ENGINES] = {0};

    (void)state;
    for (const struct catalog_node_type *t; (t = catalog_node_type_at(types)); types++) {
        assert_ptr_equal(catalog_node_type(t->name), t);
        assert_true(t->engines != 0 && t->vcpus > 0 && t->maxclients > 0 && t->memory > 0);
        assert_true(t->maxmemory > t->replica_buffer && t->replica_buffer > t->maxmemory / 20);
        assert_int_equal(t->memcached_mb > 0, (t->engines & 1u << CATALOG_MEMCACHED) != 0);
    }
    assert_int_equal(types, 112);
    for (const struct catalog_version *v; (v = catalog_engine_version_at(versions)); versions++) {
        assert_int_equal(v->family->engine, v->engine);
        assert_ptr_equal(catalog_engine_version(v->engine, v->name), v);
        assert_ptr_equal(catalog_engine_version(v->engine, v->full), v);
        defaults[v->engine] += v->initial;
    }
    assert_int_equal(versions, 22);
    for (unsigned i = 0; i < CATALOG_ENGINES; i++)
        assert_int_equal(defaults[i], 1);
    for (const struct catalog_family *f; (f = catalog_family_at(families)); families++) {
        assert_ptr_equal(catalog_family(f->name), f);
        for (size_t i = 0; i < f->count; i++) {
            const struct catalog_parameter *p = &f->parameters[i];
            if (i > 0)
                assert_true(strcmp(f->parameters[i - 1].name.p, p->name.p) < 0);
            assert_true(p->node_value == CATALOG_NODE_NONE || !p->value.p);
            if (p->value.p && !(view_is(p->name, "search-default-timeout-ms") || view_is(p->name, "cluster-databases")))
                if (!catalog_allows(p, p->value))
                    fail_msg("%s: the default of %s is not allowed", f->name.p, p->name.p);
        }
    }
    assert_int_equal(families, 13);
}

static void engines(void **state)
{
    (void)state;
    for (unsigned i = 0; i < CATALOG_ENGINES; i++)
        assert_int_equal(catalog_engine(catalog_engine_name((enum catalog_engine)i)), i);
    assert_int_equal(catalog_engine(V("mysql")), CATALOG_ENGINES);
    assert_int_equal(catalog_engine(V("")), CATALOG_ENGINES);
}

static void versions(void **state)
{
    static const char *const unknown[] = {"7", "7.x", "6", "5.0", "7.2", "6.x.x", "latest", "7.1.0.0", " 7.1"};

    (void)state;
    is_text(version(CATALOG_REDIS, NULL)->full, "7.1.0");
    is_text(version(CATALOG_REDIS, "")->name, "7.1");
    is_text(version(CATALOG_REDIS, "7.1")->family->name, "redis7");
    is_text(version(CATALOG_REDIS, "6.x")->full, "6.2.6");
    is_text(version(CATALOG_REDIS, "6.x")->family->name, "redis6.x");
    is_text(version(CATALOG_REDIS, "5.0.6")->full, "5.0.6");
    is_text(version(CATALOG_VALKEY, "7.2")->family->name, "valkey7");
    is_text(version(CATALOG_MEMCACHED, NULL)->name, "1.6.22");
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++)
        assert_null(catalog_engine_version(CATALOG_REDIS, V(unknown[i])));
    assert_true(catalog_version_newer(version(CATALOG_REDIS, "7.1"), version(CATALOG_REDIS, "6.2")));
    assert_false(catalog_version_newer(version(CATALOG_REDIS, "6.2"), version(CATALOG_REDIS, "6.x")));
    assert_false(catalog_version_newer(version(CATALOG_REDIS, "5.0.6"), version(CATALOG_REDIS, "6.0")));
}

static void node_types(void **state)
{
    const struct catalog_version *redis7 = version(CATALOG_REDIS, "7.1"), *redis6 = version(CATALOG_REDIS, "6.0");

    (void)state;
    assert_int_equal(type("cache.t4g.micro")->maxmemory, 536870912);
    assert_int_equal(type("cache.t4g.micro")->maxclients, 20000);
    assert_int_equal(type("cache.t4g.micro")->vcpus, 2);
    assert_int_equal(type("cache.r6g.large")->maxmemory, 14037181030);
    assert_null(catalog_node_type(V("cache.t4g")));
    assert_null(catalog_node_type(V("")));
    assert_true(catalog_node_type_runs(type("cache.t4g.micro"), redis7));
    assert_true(catalog_node_type_runs(type("cache.t4g.small"), version(CATALOG_REDIS, "5.0.6")));
    assert_false(catalog_node_type_runs(type("cache.t4g.small"), version(CATALOG_REDIS, "4.0.10")));
    assert_false(catalog_node_type_runs(type("cache.r8g.large"), redis7));
    assert_true(catalog_node_type_runs(type("cache.r8g.large"), version(CATALOG_VALKEY, NULL)));
    assert_true(catalog_node_type_runs(type("cache.r6gd.xlarge"), redis7));
    assert_false(catalog_node_type_runs(type("cache.r6gd.xlarge"), redis6));
    assert_false(catalog_node_type_runs(type("cache.r6gd.xlarge"), version(CATALOG_MEMCACHED, NULL)));
    assert_true(catalog_node_type_scales(type("cache.t4g.micro"), type("cache.r6g.large"), redis7));
    assert_false(catalog_node_type_scales(type("cache.t4g.micro"), type("cache.t4g.micro"), redis7));
    assert_false(catalog_node_type_scales(type("cache.t4g.micro"), type("cache.r6gd.xlarge"), redis7));
    assert_true(catalog_node_type_scales(type("cache.r6gd.2xlarge"), type("cache.r6gd.xlarge"), redis7));
    assert_false(catalog_node_type_scales(type("cache.t4g.micro"), type("cache.m1.small"), redis7));
}

static void allowed_values(void **state)
{
    static const struct {
        const char *family, *parameter, *good[8], *bad[14];
    } all[] = {
        {"redis7", "timeout", {"0", "20", "86400"}, {"", "1", "19", "-1", "x", "020", "20.5", "0,20-", "0,20"}},
        {"redis7", "maxmemory-policy", {"noeviction", "allkeys-lru"}, {"", "allkeys", "noeviction,allkeys-lru"}},
        {"redis7", "slowlog-log-slower-than", {"-1", "0", "10000"}, {"", "a", "--1", "99999999999999999999"}},
        {"redis7", "list-max-listpack-size", {"-5", "-1", "1", "128"}, {"-6", "0", "-", "1-"}},
        {"redis7", "reserved-memory-percent", {"0", "25", "100"}, {"101", "-1", "25%", "1e1"}},
        {"redis7", "lua-time-limit", {"5000"}, {"4999", "5001"}},
        {"redis7", "lazyfree-lazy-user-del", {"yes", "no"}, {"", "YES", "true", "yes,no"}},
        {"redis7", "notify-keyspace-events", {"", "KEA", "Egx"}, {"KEQ", "K A", "K\n"}},
        {"redis7",
         "rename-commands",
         {"", "KEYS blocked", "keys hidden FLUSHALL blocked"},
         {"KEYS", "KEYS ", "KEYS a KEYS b", "KEYS a keys b", "CONFIG a", " KEYS a", "KEYS a ", "KEYS  a",
          "KEYS,MONITOR a", "KEYS \xc3\xa9"}},
        {"memcached1.6",
         "chunk_size_growth_factor",
         {"1", "1.25", "10"},
         {"", "0.9", "10.1", "inf", "nan", "0x2", "1.2.3"}},
        {"memcached1.6", "slab_automove", {"0", "1", "2"}, {"3", "", "yes"}},
        {"memcached1.6", "slab_chunk_max", {"0", "1024"}, {"-1", "", "x"}},
        {"memcached1.6", "cas_disabled", {"0", "1"}, {"2", "no"}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        const struct catalog_parameter *p = parameter(all[i].family, all[i].parameter);
        for (size_t k = 0; k < 8 && all[i].good[k]; k++)
            if (!catalog_allows(p, V(all[i].good[k])))
                fail_msg("%s refuses '%s'", all[i].parameter, all[i].good[k]);
        for (size_t k = 0; k < 14 && all[i].bad[k]; k++)
            if (catalog_allows(p, V(all[i].bad[k])))
                fail_msg("%s takes '%s'", all[i].parameter, all[i].bad[k]);
    }
}

static void long_values(void **state)
{
    char text[CATALOG_VALUE_MAX + 1];

    (void)state;
    memset(text, 'K', sizeof text);
    assert_false(catalog_allows(parameter("redis7", "notify-keyspace-events"), view_of(text, sizeof text)));
    memset(text, '1', sizeof text);
    assert_false(catalog_allows(parameter("redis7", "timeout"), view_of(text, 400)));
    assert_false(catalog_allows(parameter("memcached1.6", "chunk_size_growth_factor"), view_of(text, 400)));
}

/* ---- groups ---- */

static struct catalog_group default_group(const char *name)
{
    struct catalog_group g;

    for (size_t i = 0; catalog_default_group_at(i, &g); i++)
        if (view_equal(g.name, V(name)))
            return g;
    fail_msg("no group %s", name);
    return g;
}

static void default_groups(void **state)
{
    struct catalog_group g, before;
    size_t count = 0;

    (void)state;
    for (; catalog_default_group_at(count, &g); count++, before = g)
        if (count > 0)
            assert_true(strcmp(before.name.p, g.name.p) < 0);
    assert_int_equal(count, 13 + 8);
    g = default_group("default.redis7");
    assert_false(catalog_group_cluster_mode(&g));
    assert_int_equal(g.version, 1);
    g = default_group("default.redis7.cluster.on");
    assert_true(catalog_group_cluster_mode(&g));
    is_text(g.family->name, "redis7");
    g = default_group("default.memcached1.6");
    assert_false(catalog_group_cluster_mode(&g));
}

static void memory(void **state)
{
    struct parameter_value values[2] = {{.name = VIEW("reserved-memory-percent"), .value = VIEW("100")}};
    struct parameter_group stored = {.name = VIEW("mine"), .values = {.set = true, .count = 1, .items = values}};
    struct catalog_group g = default_group("default.redis7");
    const struct catalog_node_type *t = type("cache.t4g.micro");

    (void)state;
    assert_int_equal(catalog_group_maxmemory(&g, t), 402653184);
    assert_int_equal(catalog_group_maxmemory(&g, type("cache.r5.24xlarge")), 511864480358);
    g = default_group("default.redis2.8");
    assert_int_equal(catalog_group_maxmemory(&g, t), t->maxmemory);
    g = default_group("default.redis7");
    g.stored = &stored;
    assert_int_equal(catalog_group_maxmemory(&g, t), 1);
    values[0].value = VIEW("0");
    assert_int_equal(catalog_group_maxmemory(&g, t), t->maxmemory);
    g.family = family("redis4.0");
    values[1] = (struct parameter_value){.name = VIEW("reserved-memory"), .value = VIEW("1000")};
    stored.values.count = 2;
    assert_int_equal(catalog_group_maxmemory(&g, t), t->maxmemory - 1000);
    values[1].value = VIEW("99999999999999");
    assert_int_equal(catalog_group_maxmemory(&g, t), 1);
}

struct seen {
    struct buf text;
    size_t count;
};

static void collect(void *arg, struct view directive, struct view value, bool reboot)
{
    struct seen *s = arg;

    buf_printf(&s->text, "\n%.*s=%.*s%s;", (int)directive.n, directive.p, (int)value.n, value.p,
               reboot ? " (reboot)" : "");
    s->count++;
}

static void has(struct seen *s, const char *line)
{
    buf_put_char(&s->text, '\0');
    if (!strstr(s->text.p, line))
        fail_msg("'%s' is not in %s", line, s->text.p);
    s->text.len--;
}

static void directives(void **state)
{
    struct parameter_value values[] = {
        {.name = VIEW("client-output-buffer-limit-normal-soft-seconds"), .value = VIEW("7")},
        {.name = VIEW("timeout"), .value = VIEW("300")},
        {.name = VIEW("databases"), .value = VIEW("4")},
        {.name = VIEW("tcp-keepalive"), .value = VIEW("99999999999")},
        {.name = VIEW("client-output-buffer-limit-pubsub-soft-seconds"), .value = VIEW("99999999999")},
        {.name = VIEW("slowlog-log-slower-than"), .value = VIEW("-1")},
    };
    struct parameter_group stored = {.name = VIEW("mine"), .values = {.set = true, .count = 6, .items = values}};
    struct catalog_group g = default_group("default.redis7");
    struct seen s = {0};

    (void)state;
    g.stored = &stored;
    catalog_directives(&g, type("cache.t4g.micro"), collect, &s);
    has(&s, "\nmaxmemory=402653184;");
    has(&s, "\nmaxclients=20000 (reboot);");
    has(&s, "\ntimeout=300;");
    has(&s, "\ndatabases=4 (reboot);");
    has(&s, "\nmaxmemory-policy=volatile-lru;");
    has(&s, "\nnotify-keyspace-events=;");
    has(&s, "\nbusy-reply-threshold=5000;");
    has(&s,
        "\nclient-output-buffer-limit=normal 0 0 7 replica 53687091 53687091 60 pubsub 33554432 8388608 2147483647;");
    has(&s, "\ntcp-keepalive=2147483647;");
    has(&s, "\nslowlog-log-slower-than=-1;");
    assert_null(strstr(s.text.p, "close-on-replica-write"));
    assert_null(strstr(s.text.p, "cluster-enabled"));
    assert_null(strstr(s.text.p, "reserved-memory"));
    buf_free(&s.text);

    s = (struct seen){0};
    g = default_group("default.redis2.8");
    catalog_directives(&g, type("cache.t2.micro"), collect, &s);
    has(&s, "\nmin-replicas-to-write=0;");
    has(&s, "\nhash-max-listpack-entries=512;");
    has(&s, " replica 58195968 58195968 60 ");
    buf_free(&s.text);

    s = (struct seen){0};
    g = default_group("default.memcached1.6");
    catalog_directives(&g, type("cache.t2.micro"), collect, &s);
    assert_int_equal(s.count, 0);
    buf_free(&s.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables),         cmocka_unit_test(engines),        cmocka_unit_test(versions),
        cmocka_unit_test(node_types),     cmocka_unit_test(allowed_values), cmocka_unit_test(long_values),
        cmocka_unit_test(default_groups), cmocka_unit_test(memory),         cmocka_unit_test(directives),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
