/* Statistics: sums over threads, resets, codes of errors. */
#include "unit/support.h"

#include <stdio.h>

#include "engine/server/stats.h"

#define COMMANDS 3

struct fixture {
    struct server server;
    struct thread threads[2];
    struct command_tally commands[2][COMMANDS];
    struct worker_tally worker;
};

static struct fixture fixture;

static int setup(void **state)
{
    struct server *s = &fixture.server;

    (void)state;
    memset(&fixture, 0, sizeof fixture);
    s->thread_count = 2;
    for (unsigned i = 0; i < 2; i++) {
        s->threads[i] = &fixture.threads[i];
        s->command_tallies[i] = fixture.commands[i];
    }
    s->worker_tallies[0] = &fixture.worker;
    server_stats_init(s, COMMANDS);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    server_stats_free(&fixture.server);
    server_stats_free(&fixture.server);
    return 0;
}

static void test_sums(void **state)
{
    struct server *s = &fixture.server;
    struct server_sums sums;
    struct server_command_sums command;
    struct server_pauses pauses;

    (void)state;
    tally_add(&fixture.threads[0].hits, 3);
    tally_add(&fixture.threads[1].hits, 4);
    tally_add(&fixture.commands[1][2].calls, 5);
    tally_add(&fixture.worker.pause_us[4], 6);
    tally_add(&fixture.worker.pause_max_us, 20);
    server_stats_sums(s, &sums);
    assert_int_equal(sums.hits, 7);
    server_stats_command(s, 2, &command);
    assert_int_equal(command.calls, 5);
    server_stats_pauses(s, &pauses);
    assert_int_equal(pauses.counts[4], 6);
    assert_int_equal(pauses.max_us, 20);

    server_stats_reset(s);
    tally_add(&fixture.threads[1].hits, 1);
    tally_add(&fixture.commands[0][2].calls, 1);
    server_stats_sums(s, &sums);
    assert_int_equal(sums.hits, 1);
    server_stats_command(s, 2, &command);
    assert_int_equal(command.calls, 1);
    server_stats_pauses(s, &pauses);
    assert_int_equal(pauses.counts[4], 0);
    assert_int_equal(pauses.max_us, 0);
}

struct codes {
    char text[4096];
    unsigned n;
};

static void put_code(void *arg, const char *code, int64_t count)
{
    struct codes *codes = arg;
    size_t n = strlen(codes->text);

    snprintf(codes->text + n, sizeof codes->text - n, "%s=%d ", code, (int)count);
    codes->n++;
}

static void test_errors(void **state)
{
    struct server *s = &fixture.server;
    struct codes codes = {.n = 0};

    (void)state;
    server_stats_error(s, VIEW("WRONGTYPE Operation against a key"));
    server_stats_error(s, VIEW("ERR one"));
    server_stats_error(s, VIEW("ERR two"));
    server_stats_error(s, VIEW("ALONE"));
    server_stats_errors(s, put_code, &codes);
    assert_string_equal(codes.text, "ALONE=1 ERR=2 WRONGTYPE=1 ");

    server_stats_reset(s);
    codes = (struct codes){.n = 0};
    server_stats_error(s, VIEW("ERR three"));
    server_stats_errors(s, put_code, &codes);
    assert_string_equal(codes.text, "ERR=1 ");
}

static void test_errors_are_bounded(void **state)
{
    struct server *s = &fixture.server;
    struct codes codes = {.n = 0};
    char text[64];

    (void)state;
    for (int i = 0; i < 1000; i++) {
        snprintf(text, sizeof text, "CODE%040d text", i);
        server_stats_error(s, view_str(text));
        snprintf(text, sizeof text, "C%d text", i);
        server_stats_error(s, view_str(text));
    }
    server_stats_error(s, VIEW(""));
    server_stats_errors(s, put_code, &codes);
    assert_in_range(codes.n, 2, 64);
}

static void test_samples(void **state)
{
    struct server *s = &fixture.server;

    (void)state;
    tally_add(&fixture.threads[0].commands, 1000000);
    tally_add(&fixture.threads[0].net_in, 1 << 30);
    server_stats_sample(s);
    server_stats_sample(s);
    assert_true(atomic_load(&s->ops_per_sec) > 0);
    assert_true(atomic_load(&s->input_kbps_x100) > 0);
    assert_int_equal(atomic_load(&s->output_kbps_x100), 0);
    assert_true(atomic_load(&s->memory_peak) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_sums, setup, teardown),
        cmocka_unit_test_setup_teardown(test_errors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_errors_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_samples, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
