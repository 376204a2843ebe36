/*
 * Commands that walk over partitions, where a partition is taken or the work is too much for a worker; and commands that
 * move values, where there is no memory. What they answer otherwise is compared with Redis elsewhere.
 */
#include "unit/support.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/num.h"
#include "engine/cmd/call.h"
#include "engine/proto/resp.h"
#include "engine/server/server.h"

#define ARGS_MAX 8

struct fixture {
    struct support *support;
    struct server server;
    struct session session;
    struct resp_writer out;
    bool in_lane;
    enum call_verdict verdict; /* of the last command */
    char text[65536];          /* what it replied */
};

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof *f);

    support_setup((void **)&f->support);
    f->server.keyspace = f->support->keyspace;
    resp_writer_init(&f->out);
    buf_reserve(&f->out.buf, sizeof f->text); /* a reply must not fail when the test lets memory fail */
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    atomic_store(&f->support->keyspace->exclusive, true);
    resp_writer_free(&f->out);
    support_teardown((void **)&f->support);
    mem_free(f);
    return 0;
}

/* Runs a command of the table with these words; the reply's bytes. */
static const char *run(struct fixture *f, const char *line)
{
    struct view argv[ARGS_MAX];
    struct key keys[ARGS_MAX];
    int index[ARGS_MAX], argc = 0, n;
    const struct command *cmd;

    for (const char *p = line; *p; p += strspn(p, " ")) {
        size_t len = strcspn(p, " ");
        assert_true(argc < ARGS_MAX);
        argv[argc++] = view_of(p, len);
        p += len;
    }
    cmd = command_find(argv[0]);
    assert_non_null(cmd);
    n = command_keys(cmd, argv, argc, index, NULL, ARGS_MAX);
    for (int i = 0; i < n; i++)
        keys[i] = key_make(keyspace_hash_key(f->support->keyspace), argv[index[i]]);

    struct call c = {
        .server = &f->server,
        .session = &f->session,
        .thread = &f->support->thread,
        .command = cmd,
        .argv = argv,
        .argc = argc,
        .reply = &f->out.base,
        .db = f->support->db,
        .keys = keys,
        .key_count = n > 0 ? (unsigned)n : 0,
        .in_lane = f->in_lane,
        .exclusive = atomic_load(&f->support->keyspace->exclusive),
        .walking = PARTITIONS,
    };
    buf_clear(&f->out.buf);
    cmd->run(&c);
    assert_int_equal(c.walking, PARTITIONS);
    f->verdict = c.verdict;
    assert_true(buf_live(&f->out.buf) < sizeof f->text);
    if (buf_live(&f->out.buf) > 0)
        memcpy(f->text, buf_head(&f->out.buf), buf_live(&f->out.buf));
    f->text[buf_live(&f->out.buf)] = '\0';
    return f->text;
}

static void add(struct fixture *f, const char *name, size_t n, int64_t expiry)
{
    struct key key = support_key(f->support, name);
    struct item *it = item_new_string(&f->support->thread, key.name, n, expiry);

    assert_non_null(it);
    memset(item_bytes(it), 'v', n);
    db_insert(f->support->db, &f->support->thread, &key, it);
}

static void add_many(struct fixture *f, unsigned n)
{
    char name[32];

    for (unsigned i = 0; i < n; i++) {
        snprintf(name, sizeof name, "key:%u", i);
        add(f, name, 1, -1);
    }
}

/* The cursor in SCAN's reply. */
static uint64_t cursor_of(const char *reply)
{
    unsigned long long cursor;

    assert_int_equal(sscanf(reply, "*2\r\n$%*d\r\n%llu\r\n", &cursor), 1);
    return cursor;
}

/* Marks the keys of a SCAN reply as seen; how many there were. */
static unsigned mark(const char *reply, bool *seen, unsigned n)
{
    unsigned found = 0, i;

    while ((reply = strstr(reply, "key:"))) {
        reply += 4;
        assert_int_equal(sscanf(reply, "%u", &i), 1);
        assert_true(i < n);
        seen[i] = true;
        found++;
    }
    return found;
}

static void test_scan_stops_at_a_taken_partition(void **state)
{
    enum { KEYS = 200 };
    struct fixture *f = *state;
    struct keyspace *ks = f->support->keyspace;
    uint32_t first, taken;
    bool seen[KEYS] = {false};
    uint64_t cursor;
    char line[64];

    add_many(f, KEYS);
    first = db_next_partition(f->support->db, 0);
    taken = db_next_partition(f->support->db, (uint64_t)(PARTITIONS / 2) << 39);
    assert_true(first < taken && taken < PARTITIONS);
    atomic_store(&ks->exclusive, false);
    assert_true(partition_try(&ks->partitions[taken]));

    cursor = cursor_of(run(f, "SCAN 0 COUNT 1000"));
    assert_int_equal(f->verdict, CALL_DONE);
    assert_int_equal(cursor >> 39, taken);
    assert_true(mark(f->text, seen, KEYS) > 0);

    snprintf(line, sizeof line, "SCAN %llu COUNT 1000", (unsigned long long)cursor);
    assert_string_equal(run(f, line), "");
    assert_int_equal(f->verdict, CALL_BUSY);
    assert_string_equal(run(f, "KEYS *"), "");
    assert_int_equal(f->verdict, CALL_BUSY);

    keyspace_release(ks, taken);
    assert_int_equal(cursor_of(run(f, line)), 0);
    mark(f->text, seen, KEYS);
    for (unsigned i = 0; i < KEYS; i++)
        assert_true(seen[i]);
}

static void test_scan_counts(void **state)
{
    enum { KEYS = 300 };
    struct fixture *f = *state;
    bool seen[KEYS] = {false};
    uint64_t cursor = 0;
    unsigned turns = 0;
    char line[64];

    add_many(f, KEYS);
    do {
        snprintf(line, sizeof line, "SCAN %llu COUNT 7", (unsigned long long)cursor);
        cursor = cursor_of(run(f, line));
        assert_in_range(mark(f->text, seen, KEYS), 0, 40);
        turns++;
    } while (cursor != 0);
    assert_in_range(turns, 5, KEYS / 7 + 1);
    for (unsigned i = 0; i < KEYS; i++)
        assert_true(seen[i]);
    /* A cursor that no SCAN gave: the walk ends all the same. */
    run(f, "SCAN 18446744073709551615");
    assert_int_equal(f->verdict, CALL_DONE);
}

static void test_much_work_goes_to_the_lane(void **state)
{
    struct fixture *f = *state;

    add_many(f, 4000);
    assert_string_equal(run(f, "KEYS nothing"), "");
    assert_int_equal(f->verdict, CALL_TO_LANE);
    assert_string_equal(run(f, "SCAN 0 COUNT 4000"), "");
    assert_int_equal(f->verdict, CALL_TO_LANE);
    f->in_lane = true;
    assert_string_equal(run(f, "KEYS nothing"), "*0\r\n");
    assert_string_equal(run(f, "KEYS key:17"), "*1\r\n$6\r\nkey:17\r\n");
}

static void test_expired_keys_are_hidden(void **state)
{
    struct fixture *f = *state;
    int64_t past = clock_wall_ms() - 1000;

    for (int i = 0; i < 100; i++) {
        char name[16];
        snprintf(name, sizeof name, "gone:%d", i);
        add(f, name, 1, past);
    }
    assert_string_equal(run(f, "KEYS *"), "*0\r\n");
    assert_string_equal(run(f, "RANDOMKEY"), "$-1\r\n");
    assert_string_equal(run(f, "SCAN 0 COUNT 1000"), "*2\r\n$1\r\n0\r\n*0\r\n");
    add(f, "here", 1, -1);
    for (int i = 0; i < 20; i++)
        assert_string_equal(run(f, "RANDOMKEY"), "$4\r\nhere\r\n");
}

static void test_randomkey_is_fair(void **state)
{
    enum { KEYS = 16, DRAWS = 4000 };
    struct fixture *f = *state;
    unsigned count[KEYS] = {0}, i;

    add_many(f, KEYS);
    for (unsigned draw = 0; draw < DRAWS; draw++) {
        assert_int_equal(sscanf(run(f, "RANDOMKEY"), "$%*d\r\nkey:%u", &i), 1);
        count[i]++;
    }
    /* The mean is 250, the standard deviation 15: seven of them on each side. */
    for (i = 0; i < KEYS; i++)
        assert_in_range(count[i], 145, 355);
}

static void test_no_memory(void **state)
{
    struct fixture *f = *state;
    char line[600], name[301];

    memset(name, 'n', 300);
    name[300] = '\0';
    add(f, "inline", 1900, -1);
    add(f, "big", 100000, clock_wall_ms() + 60000);

    /* With the longer key, the value no longer fits into its block. */
    snprintf(line, sizeof line, "RENAME inline %s", name);
    mem_fail_after(0);
    assert_int_equal(strncmp(run(f, line), "-ERR out of memory", 18), 0);
    assert_int_equal(strncmp(run(f, "COPY big copy"), "-ERR out of memory", 18), 0);
    mem_fail_after(-1);
    assert_string_equal(run(f, "EXISTS inline big copy"), ":2\r\n");
    assert_int_equal(db_size(f->support->db), 2);
    assert_int_equal(db_expires(f->support->db), 1);

    assert_string_equal(run(f, line), "+OK\r\n");
    assert_string_equal(run(f, "RENAME big inline"), "+OK\r\n");
    assert_string_equal(run(f, "COPY inline copy"), ":1\r\n");
    assert_int_equal(db_size(f->support->db), 3);
    assert_int_equal(db_expires(f->support->db), 2);
    assert_string_equal(run(f, "MOVE copy 1"), ":1\r\n");
    assert_int_equal(db_expires(f->support->db), 1);
    assert_int_equal(db_expires(keyspace_db(f->support->keyspace, 1)), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_scan_stops_at_a_taken_partition, setup, teardown),
        cmocka_unit_test_setup_teardown(test_scan_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_much_work_goes_to_the_lane, setup, teardown),
        cmocka_unit_test_setup_teardown(test_expired_keys_are_hidden, setup, teardown),
        cmocka_unit_test_setup_teardown(test_randomkey_is_fair, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_memory, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
