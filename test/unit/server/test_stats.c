/* Statistics: sums over threads, latencies, spells, resets, codes of errors. */
#include "unit/support.h"

#include <math.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/mem.h"
#include "engine/server/config.h"
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
    s->config = config_new();
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
    config_free(fixture.server.config);
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

/* Every tally that is a statistic is summed over the threads, and set back. */
static void test_every_sum(void **state)
{
    struct server *s = &fixture.server;
    struct server_sums sums;
    int64_t n = 0;

    (void)state;
#define X(name)                                                                                                        \
    tally_add(&fixture.threads[0].name, ++n);                                                                          \
    tally_add(&fixture.threads[1].name, 1000 * n);
    SERVER_TALLIES(X)
#undef X
    server_stats_sums(s, &sums);
    n = 0;
#define X(name) assert_int_equal(sums.name, 1001 * ++n);
    SERVER_TALLIES(X)
#undef X
    server_stats_reset(s);
    tally_add(&fixture.threads[1].expired, 5);
    server_stats_sums(s, &sums);
    assert_int_equal(sums.expired, 5);
    sums.expired = 0;
#define X(name) assert_int_equal(sums.name, 0);
    SERVER_TALLIES(X)
#undef X
}

static void test_commands(void **state)
{
    struct server *s = &fixture.server;
    struct server_command_sums n;

    (void)state;
    command_tally_note(&fixture.commands[0][1], 100);
    command_tally_note(&fixture.commands[1][1], 23);
    tally_add(&fixture.commands[0][1].rejected, 4);
    tally_add(&fixture.commands[1][1].failed, 2);
    server_stats_command(s, 1, &n);
    assert_int_equal(n.calls, 2);
    assert_int_equal(n.ticks, 123);
    assert_int_equal(n.rejected, 4);
    assert_int_equal(n.failed, 2);
    server_stats_reset(s);
    tally_add(&fixture.commands[1][1].rejected, 1);
    server_stats_command(s, 1, &n);
    assert_int_equal(n.calls, 0);
    assert_int_equal(n.ticks, 0);
    assert_int_equal(n.rejected, 1);
    assert_int_equal(n.failed, 0);
    server_stats_command(s, 0, &n);
    assert_int_equal(n.rejected, 0);
}

/* ---- latencies ---- */

static void test_latency_buckets(void **state)
{
    (void)state;
    for (unsigned i = 0; i < LATENCY_BUCKETS; i++) {
        if (i == 1)
            continue; /* nothing falls into it */
        assert_int_equal(latency_bucket(latency_floor(i)), i);
        assert_int_equal(latency_bucket(latency_floor(i == 0 ? 2 : i + 1) - 1), i);
        assert_true(latency_floor(i) < latency_floor(i + 1));
    }
    assert_int_equal(latency_floor(LATENCY_BUCKETS), (uint64_t)1 << 32);
    assert_int_equal(latency_bucket((uint64_t)1 << 32), LATENCY_BUCKETS - 1);
    assert_int_equal(latency_bucket(UINT64_MAX), LATENCY_BUCKETS - 1);
}

static void test_latencies(void **state)
{
    struct server *s = &fixture.server;
    struct server_latency l;

    (void)state;
    server_stats_latency(s, 1, &l);
    assert_int_equal(l.calls, 0);
    assert_true(server_latency_ticks(&l, 50) == 0);

    /* 1 to 1000 ticks on two threads: a percentile is that number of ticks times ten, but for the bucket's width */
    for (unsigned i = 1; i <= 1000; i++)
        command_tally_note(&fixture.commands[i % 2][1], i);
    server_stats_latency(s, 1, &l);
    assert_int_equal(l.calls, 1000);
    for (double p = 1; p <= 99; p += 0.5)
        assert_true(fabs(server_latency_ticks(&l, p) - 10 * p) <= 2.5 * p);
    assert_true(server_latency_ticks(&l, 0) <= 2);
    assert_true(server_latency_ticks(&l, 100) > 767 && server_latency_ticks(&l, 100) <= 1024);
    server_stats_latency(s, 0, &l);
    assert_int_equal(l.calls, 0);
}

static void test_latency_of_few_calls(void **state)
{
    struct server *s = &fixture.server;
    struct server_latency l;

    (void)state;
    command_tally_note(&fixture.commands[0][2], 100000);
    server_stats_latency(s, 2, &l);
    for (double p = 0; p <= 100; p += 50)
        assert_true(fabs(server_latency_ticks(&l, p) - 100000) <= 25000);
    command_tally_note(&fixture.commands[0][2], 10);
    server_stats_latency(s, 2, &l);
    assert_true(server_latency_ticks(&l, 0) < 20);
    assert_true(server_latency_ticks(&l, 100) > 75000);
}

static void test_latencies_are_reset(void **state)
{
    struct server *s = &fixture.server;
    struct server_latency l;

    (void)state;
    command_tally_note(&fixture.commands[0][2], 5);
    command_tally_note(&fixture.commands[1][2], 5000);
    server_stats_reset(s);
    server_stats_latency(s, 2, &l);
    assert_int_equal(l.calls, 0);
    command_tally_note(&fixture.commands[1][2], 5);
    server_stats_latency(s, 2, &l);
    assert_int_equal(l.calls, 1);
    assert_int_equal(l.counts[latency_bucket(5)], 1);
    assert_int_equal(l.counts[latency_bucket(5000)], 0);
}

/* The threads' counts wrap around; what is read does not. */
static void test_latencies_beyond_32_bits(void **state)
{
    struct server *s = &fixture.server;
    struct command_tally *t = &fixture.commands[0][1];
    unsigned k = latency_bucket(300);
    struct server_latency l;

    (void)state;
    tally_add(&t->calls, 1);
    for (int i = 0; i < 5; i++) {
        atomic_fetch_add(&t->latency[k], 3000000000u);
        for (int j = 0; j < COMMANDS; j++) /* the timer reaches every command */
            server_stats_sample(s);
    }
    command_tally_note(t, 300);
    server_stats_latency(s, 1, &l);
    assert_int_equal(l.calls, 15000000001);
    assert_int_equal(l.counts[k], 15000000001);
    server_stats_reset(s);
    command_tally_note(t, 300);
    server_stats_latency(s, 1, &l);
    assert_int_equal(l.calls, 1);
}

/* ---- spells ---- */

static void wait_ms(int64_t ms)
{
    for (int64_t end = clock_mono_us() + ms * 1000; clock_mono_us() < end;)
        ;
}

static void test_spells(void **state)
{
    struct server *s = &fixture.server;
    struct server_spells spells;
    void *block = mem_alloc(4 << 20);

    (void)state;
    server_stats_sample(s);
    server_stats_spells(s, &spells);
    assert_int_equal(spells.over_limit.total_ms, 0);
    assert_int_equal(spells.defrag.total_ms, 0);

    atomic_store(&s->config->maxmemory, 1);
    atomic_store(&s->defrag.percent, 5);
    server_stats_sample(s);
    wait_ms(3);
    server_stats_spells(s, &spells);
    assert_in_range(spells.over_limit.current_ms, 3, spells.over_limit.total_ms);
    assert_in_range(spells.defrag.current_ms, 3, spells.defrag.total_ms);

    atomic_store(&s->config->maxmemory, 0);
    server_stats_sample(s);
    server_stats_spells(s, &spells);
    assert_int_equal(spells.over_limit.current_ms, 0);
    assert_true(spells.over_limit.total_ms >= 3);

    server_stats_reset(s);
    wait_ms(2);
    server_stats_spells(s, &spells);
    assert_int_equal(spells.over_limit.total_ms, 0);
    assert_true(spells.defrag.total_ms >= 2);
    assert_int_equal(spells.defrag.total_ms, spells.defrag.current_ms);
    mem_free(block);
}

/* What eviction allows above maxmemory is no spell. */
static void test_overshoot_is_no_spell(void **state)
{
    struct server *s = &fixture.server;
    struct server_spells spells;

    (void)state;
    atomic_store(&s->config->maxmemory, server_stats_memory(s) - 1000);
    server_stats_sample(s);
    wait_ms(2);
    server_stats_spells(s, &spells);
    assert_int_equal(spells.over_limit.total_ms, 0);
}

/* ---- errors ---- */

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
    assert_int_equal(server_stats_error_total(s), 2001);
    server_stats_reset(s);
    assert_int_equal(server_stats_error_total(s), 0);
}

static void test_samples(void **state)
{
    struct server *s = &fixture.server;

    (void)state;
    tally_add(&fixture.commands[0][1].calls, 1000000);
    tally_add(&fixture.threads[0].net_in, 1 << 30);
    server_stats_sample(s);
    server_stats_sample(s);
    assert_true(atomic_load(&s->ops_per_sec) > 0);
    assert_true(atomic_load(&s->input_kbps_x100) > 0);
    assert_int_equal(atomic_load(&s->output_kbps_x100), 0);
    assert_true(atomic_load(&s->memory_peak) > 0);
    server_stats_reset(s);
    assert_int_equal(atomic_load(&s->ops_per_sec), 0);
    assert_int_equal(atomic_load(&s->input_kbps_x100), 0);
    wait_ms(1);
    server_stats_sample(s); /* what was before the reset does not come back */
    assert_int_equal(atomic_load(&s->ops_per_sec), 0);
    assert_int_equal(atomic_load(&s->input_kbps_x100), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_sums, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_sum, setup, teardown),
        cmocka_unit_test_setup_teardown(test_commands, setup, teardown),
        cmocka_unit_test(test_latency_buckets),
        cmocka_unit_test_setup_teardown(test_latencies, setup, teardown),
        cmocka_unit_test_setup_teardown(test_latency_of_few_calls, setup, teardown),
        cmocka_unit_test_setup_teardown(test_latencies_are_reset, setup, teardown),
        cmocka_unit_test_setup_teardown(test_latencies_beyond_32_bits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_spells, setup, teardown),
        cmocka_unit_test_setup_teardown(test_overshoot_is_no_spell, setup, teardown),
        cmocka_unit_test_setup_teardown(test_errors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_errors_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_samples, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
