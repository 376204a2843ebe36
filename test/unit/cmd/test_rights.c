/* Which commands there are for whom. */
#include "engine/cmd/rights.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine/server/config.h"

enum { ALL, RELAXED, MANAGED, STRICT, MODES };

static const struct command *named(const char *container, const char *sub)
{
    const struct command *cmd = command_find(view_str(container));

    cmd = cmd && sub ? command_find_sub(cmd, view_str(sub)) : cmd;
    assert_non_null(cmd);
    return cmd;
}

/* The first mode that withholds it; MODES: none does. */
static int withheld_from(const char *container, const char *sub)
{
    static const enum config_client_commands modes[MODES] = {CLIENT_COMMANDS_ALL, CLIENT_COMMANDS_RELAXED,
                                                             CLIENT_COMMANDS_MANAGED, CLIENT_COMMANDS_STRICT};
    const struct command *cmd = named(container, sub);
    struct session client = {.authenticated = true};
    int first = MODES;

    for (int i = MODES - 1; i >= 0; i--) {
        struct config config = {.client_commands = modes[i]};
        bool covered = rights_cover(rights_of(&config, &client), cmd);
        assert_false(!covered && first != i + 1); /* what one mode withholds, the stricter ones do */
        first = covered ? first : i;
    }
    return first;
}

static void test_modes(void **state)
{
    static const struct {
        const char *name, *sub;
        int from;
    } rows[] = {
        {"get", NULL, MODES},
        {"ping", NULL, MODES},
        {"client", "list", MODES},
        {"auth", NULL, MODES},
        {"config", NULL, STRICT},
        {"config", "get", STRICT},
        {"config", "help", STRICT},
        {"bgsave", NULL, MANAGED},
        {"config", "set", MANAGED},
        {"config", "resetstat", MANAGED},
        {"config", "rewrite", RELAXED},
        {"debug", NULL, RELAXED},
        {"psync", NULL, RELAXED},
        {"sync", NULL, RELAXED},
        {"replicaof", NULL, RELAXED},
        {"slaveof", NULL, RELAXED},
        {"save", NULL, RELAXED},
        {"shutdown", NULL, RELAXED},
        {"bgrewriteaof", NULL, RELAXED},
        {"failover", NULL, RELAXED},
        {"replconf", NULL, RELAXED},
        {"larder", NULL, RELAXED},
        {"larder", "grant", RELAXED},
        {"larder", "hello", RELAXED},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(withheld_from(rows[i].name, rows[i].sub), rows[i].from);
}

/* Whatever it is, a container is there when one of its subcommands is. */
static void test_containers_go_with_their_subcommands(void **state)
{
    (void)state;
    for (unsigned i = 0; i < command_table_count; i++)
        for (unsigned k = 0; k < command_table[i]->sub_count; k++) {
            const char *name = command_table[i]->name, *sub = command_table[i]->subs[k]->name + strlen(name) + 1;
            assert_true(withheld_from(name, NULL) >= withheld_from(name, sub));
        }
}

static void test_replicas_agents_and_logs(void **state)
{
    struct config config = {.client_commands = CLIENT_COMMANDS_STRICT};
    struct session replica = {.replica_login = true}, agent = {.admin = true}, log = {.replays = true};
    unsigned n = 0;

    (void)state;
    for (unsigned i = 0; i < command_count; i++) {
        const struct command *cmd = command_by_id[i];
        n += rights_cover(rights_of(&config, &replica), cmd);
        assert_true(rights_cover(rights_of(&config, &agent), cmd));
        assert_true(rights_cover(rights_of(&config, &log), cmd));
    }
    assert_int_equal(n, 4);
    assert_true(rights_cover(rights_of(&config, &replica), named("psync", NULL)));
    assert_true(rights_cover(rights_of(&config, &replica), named("ping", NULL)));
    assert_false(rights_cover(rights_of(&config, &replica), named("get", NULL)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_modes),
        cmocka_unit_test(test_containers_go_with_their_subcommands),
        cmocka_unit_test(test_replicas_agents_and_logs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
