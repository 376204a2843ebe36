/* control/model/rules.h: who may connect, in the addresses of the shadow; and placement and names, which need the same
 * records. */
#include "control/model/rules.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/model/defaults.h"
#include "control/model/model.h"
#include "control/model/names.h"
#include "control/model/placement.h"
#include "control/shape/shape.h"

#define SHADOW 0x7f410000u /* 127.65.0.0 */
#define SUFFIX VIEW("cache.test")

struct fixture {
    char path[64];
    struct model *model;
    struct txn *txn;
    char group[DEFAULTS_ID_MAX];
};

/* A VPC 10.0.0.0/16 with a subnet in each of two zones, a group, and a cluster at 10.0.13.4 that has it. */
static void make_world(struct fixture *f)
{
    static const char *const subnets[][3] = {{"subnet-a", "10.0.13.0/24", "ap-northeast-2a"},
                                             {"subnet-c", "10.0.23.0/28", "ap-northeast-2c"}};
    struct txn *t = f->txn;
    struct vpc *v = txn_add_vpc(t, VIEW("vpc-1"));
    struct cache_subnet_group *g = txn_add_cache_subnet_group(t, VIEW("redis"));
    struct cache_cluster *c = txn_add_cache_cluster(t, VIEW("demo-001"));
    struct view group;

    v->vpc_id = VIEW("vpc-1");
    v->cidr_block = VIEW("10.0.0.0/16");
    g->name = VIEW("redis");
    g->subnet_ids = (struct string_list){true, 2, arena_alloc(txn_arena(t, g), 2 * sizeof(struct view))};
    for (unsigned i = 0; i < 2; i++) {
        struct subnet *s = txn_add_subnet(t, view_str(subnets[i][0]));
        s->subnet_id = g->subnet_ids.items[i] = view_str(subnets[i][0]);
        s->vpc_id = VIEW("vpc-1");
        s->cidr_block = view_str(subnets[i][1]);
        s->zone = view_str(subnets[i][2]);
    }
    group = defaults_security_group(t, VIEW("vpc-1"));
    snprintf(f->group, sizeof f->group, "%.*s", (int)group.n, group.p);
    c->id = VIEW("demo-001");
    c->port = 6379;
    c->subnet_id = VIEW("subnet-a");
    c->address = VIEW("10.0.13.4");
    c->security_group_ids = (struct string_list){true, 1, arena_alloc(txn_arena(t, c), sizeof(struct view))};
    c->security_group_ids.items[0] = txn_text(t, c, group);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    char error[MODEL_ERROR_MAX];

    snprintf(f->path, sizeof f->path, "/tmp/larder-rules-%d.db", (int)getpid());
    unlink(f->path);
    if (model_open(&f->model, f->path, error) != 0)
        fail_msg("%s", error);
    f->txn = txn_begin(f->model);
    defaults_make(f->txn, VIEW("123456789012"), VIEW("ap-northeast-2"), 1);
    make_world(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    txn_abort(f->txn);
    model_close(f->model);
    unlink(f->path);
    free(f);
    return 0;
}

/* The group has this rule alone. */
static void set_rule(struct fixture *f, struct security_group_rule rule)
{
    struct security_group *g = txn_edit_security_group(f->txn, view_str(f->group));

    g->rules.count = 1;
    g->rules.items = shape_new(&security_group_rule_shape, txn_arena(f->txn, g), 1);
    g->rules.items[0] = rule;
}

static void assert_allowed(struct fixture *f, const char *expected)
{
    struct buf out = {0};

    rules_write(f->model, model_cache_cluster(f->model, VIEW("demo-001")), SHADOW, &out);
    buf_put_char(&out, '\0');
    assert_string_equal(out.p, expected);
    buf_free(&out);
}

static struct security_group_rule tcp(const char *cidr, int64_t from, int64_t to)
{
    return (struct security_group_rule){
        .protocol = VIEW("tcp"), .from_port = from, .to_port = to, .cidr_ipv4 = view_str(cidr)};
}

static void test_a_block_of_the_vpc(void **state)
{
    set_rule(*state, tcp("10.0.13.0/24", 6379, 6379));
    assert_allowed(*state, "127.65.13.0/24 ");
}

static void test_the_host_is_the_fourth_address(void **state)
{
    set_rule(*state, tcp("10.0.0.4/32", 6379, 6379));
    assert_allowed(*state, "127.0.0.0/10 127.65.0.4/32 ");
    set_rule(*state, tcp("10.0.0.0/16", 6379, 6379));
    assert_allowed(*state, "127.0.0.0/10 127.65.0.0/16 ");
    set_rule(*state, tcp("0.0.0.0/0", 0, 65535));
    assert_allowed(*state, "127.0.0.0/10 127.65.0.0/16 ");
}

static void test_what_does_not_match(void **state)
{
    struct security_group_rule r = tcp("10.0.0.0/16", 6379, 6379);

    set_rule(*state, tcp("10.0.0.0/16", 6380, 65535));
    assert_allowed(*state, "");
    set_rule(*state, tcp("10.1.0.0/16", 6379, 6379));
    assert_allowed(*state, "");
    r.protocol = VIEW("udp");
    set_rule(*state, r);
    assert_allowed(*state, "");
    r = tcp("10.0.0.0/16", 6379, 6379);
    r.egress = true;
    set_rule(*state, r);
    assert_allowed(*state, "");
    r = (struct security_group_rule){.protocol = VIEW("-1"), .cidr_ipv6 = VIEW("::/0")};
    set_rule(*state, r);
    assert_allowed(*state, "");
}

static void test_a_group_is_its_interfaces(void **state)
{
    struct fixture *f = *state;

    set_rule(f, (struct security_group_rule){.protocol = VIEW("-1"), .peer_group_id = view_str(f->group)});
    assert_allowed(f, "127.65.13.4/32 ");
}

static void test_addresses_are_given_in_order(void **state)
{
    struct fixture *f = *state;
    const struct cache_subnet_group *g = model_cache_subnet_group(f->model, VIEW("redis"));
    char address[CIDR_TEXT_MAX];

    assert_true(placement_address(f->model, model_subnet(f->model, VIEW("subnet-a")), address));
    assert_string_equal(address, "10.0.13.5");
    assert_int_equal(placement_free(f->model, model_subnet(f->model, VIEW("subnet-a"))), 250);
    assert_int_equal(placement_free(f->model, model_subnet(f->model, VIEW("subnet-c"))), 11);
    assert_string_equal(placement_subnet(f->model, g, (struct view){0})->subnet_id.p, "subnet-a");
    assert_null(placement_subnet(f->model, g, VIEW("ap-northeast-2b")));
    assert_true(view_equal(placement_zone(f->model, g, 1), VIEW("ap-northeast-2c")));
    assert_true(view_equal(placement_zone(f->model, g, 2), VIEW("ap-northeast-2a")));
}

static void test_names_lead_to_addresses(void **state)
{
    struct fixture *f = *state;
    struct account *a = txn_edit_account(f->txn, VIEW("123456789012"));
    struct shard *s = txn_add_shard(f->txn, VIEW("demo/0001"));
    struct names_found found;

    a->hash = VIEW("abc123");
    s->id = VIEW("demo/0001");
    s->owner = VIEW("demo");
    s->grouped = true;
    s->members = (struct string_list){true, 1, arena_alloc(txn_arena(f->txn, s), sizeof(struct view))};
    s->members.items[0] = VIEW("demo-001");
    s->primary_address = VIEW("10.0.13.9");
    s->reader_address = VIEW("10.0.13.10");
    assert_true(names_find(f->model, SUFFIX, VIEW("demo.abc123.ng.0001.apn2.cache.test"), &found));
    assert_string_equal(found.address.p, "10.0.13.9");
    assert_true(names_find(f->model, SUFFIX, VIEW("Demo-RO.abc123.NG.0001.apn2.cache.test"), &found));
    assert_string_equal(found.address.p, "10.0.13.10");
    assert_true(names_find(f->model, SUFFIX, VIEW("demo-001.abc123.0001.apn2.cache.test"), &found));
    assert_string_equal(found.address.p, "10.0.13.4");
    assert_true(view_equal(found.vpc_id, VIEW("vpc-1")));
    assert_true(names_find(f->model, SUFFIX, VIEW("0001.apn2.cache.test"), &found));
    assert_null(found.address.p);
    assert_false(names_find(f->model, SUFFIX, VIEW("other.abc123.0001.apn2.cache.test"), &found));
    assert_false(names_find(f->model, SUFFIX, VIEW("1.apn2.cache.test"), &found));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_block_of_the_vpc, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_host_is_the_fourth_address, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_does_not_match, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_group_is_its_interfaces, setup, teardown),
        cmocka_unit_test_setup_teardown(test_addresses_are_given_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_names_lead_to_addresses, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
