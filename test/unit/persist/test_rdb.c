/*
 * The RDB codec at its work: what the writer writes the reader reads, and so it does with files of redis-server. What is
 * wrong with files is in test_rdb_damage.c.
 */
#include "unit/persist/rdb_support.h"

#include "engine/store/access.h"
#include "unit/persist/rdb_files.h"

/* ---- what is written is read ------------------------------------------------------------------------------------- */

static struct item *make(struct support *s, struct view key, struct view value, int64_t expiry)
{
    struct item *it = item_new_string(&s->thread, key, value.n, expiry);

    assert_non_null(it);
    if (value.n > 0)
        memcpy(item_bytes(it), value.p, value.n);
    return it;
}

/* Writes an item, with the string of a big one behind it. */
static void put(struct buf *out, const struct item *it, const struct rdb_options *o)
{
    struct blob *big = NULL;
    size_t before = out->len, n = rdb_put_item(out, it, o, &big);

    assert_int_equal(out->len - before, n);
    assert_int_equal(big != NULL, (it->flags & ITEM_BLOB) && item_string(it).n >= RDB_BIG);
    if (!big)
        return;
    assert_ptr_equal(big, item_blob(it));
    assert_int_equal(big->refs, 2);
    rdb_put_string(out, view_of(big->bytes, big->len), o->compress);
    blob_unref(big);
}

static void check_round_trip(struct support *s, struct view key, struct view value, int64_t expiry)
{
    static const size_t pieces[] = {SIZE_MAX, 1, 7, 65536, 65543};

    for (unsigned compress = 0; compress < 2; compress++) {
        struct rdb_options o = {.compress = compress};
        struct item *it = make(s, key, value, expiry);
        struct buf file = {0};

        rdb_put_header(&file);
        put(&file, it, &o);
        finish(&file);
        for (unsigned i = 0; i < sizeof pieces / sizeof *pieces; i++) {
            struct reading how = {.limits = usual, .feed.piece = pieces[i]};
            struct seen seen = {0};

            if (value.n > 300000 && pieces[i] < 1000)
                continue;
            assert_int_equal(read_by(s, buf_view(&file), &how, &seen), RDB_OK);
            assert_int_equal(how.offset, file.len);
            assert_int_equal(how.rest.len, 0);
            assert_int_equal(seen.items, 1);
            assert_int_equal(seen.item[0]->type, ITEM_STRING);
            assert_int_equal(seen.item[0]->form, ITEM_FORM_PLAIN);
            assert_true(view_equal(item_key(seen.item[0]), key));
            assert_true(view_equal(item_string(seen.item[0]), value));
            assert_true(item_expiry(seen.item[0]) == expiry);
            assert_int_equal(item_memory(seen.item[0]), item_memory(it));
            buf_free(&how.rest);
            forget(&seen);
        }
        item_free(&s->thread, it);
        buf_free(&file);
    }
}

static void test_texts(void **state)
{
    static const char *const texts[] = {
        "",
        "0",
        "1",
        "-1",
        "9",
        "127",
        "128",
        "-128",
        "-129",
        "255",
        "32767",
        "32768",
        "-32768",
        "-32769",
        "65536",
        "2147483647",
        "2147483648",
        "-2147483648",
        "-2147483649",
        "9223372036854775807",
        "12345678901",
        "007",
        "-0",
        "+1",
        " 1",
        "1 ",
        "1.5",
        "-",
        "text",
        "a text of a bit more than sixty-four bytes, which is where compression begins",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    };

    for (unsigned i = 0; i < sizeof texts / sizeof *texts; i++) {
        check_round_trip(*state, VIEW("key"), view_str(texts[i]), -1);
        check_round_trip(*state, view_str(texts[i]), VIEW("value"), 0);
        check_round_trip(*state, view_str(texts[i]), view_str(texts[i]), YEAR_2100);
    }
}

static void test_sizes(void **state)
{
    static const size_t sizes[] = {62,
                                   63,
                                   64,
                                   65,
                                   254,
                                   255,
                                   256,
                                   1999,
                                   2100,
                                   16382,
                                   16383,
                                   16384,
                                   65535,
                                   65536,
                                   65537,
                                   70000,
                                   200000,
                                   (1u << 20) - 1,
                                   1u << 20,
                                   (1u << 20) + 1,
                                   (5u << 20) + 3,
                                   (23u << 20) + 1};
    struct random r = support_random();

    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (unsigned dull = 0; dull < 2; dull++) {
            struct buf b = bytes_of(&r, sizes[i], dull);

            check_round_trip(*state, VIEW("key"), buf_view(&b), dull ? YEAR_2100 : -1);
            if (sizes[i] < 300000)
                check_round_trip(*state, buf_view(&b), VIEW("value"), dull ? -1 : YEAR_2100);
            buf_free(&b);
        }
}

/* The encodings, byte by byte. */
static void test_encodings(void **state)
{
    static const struct {
        struct view text, bytes;
    } all[] = {
        {{LIT("")}, {LIT("\0")}},
        {{LIT("0")}, {LIT("\xc0\0")}},
        {{LIT("-128")}, {LIT("\xc0\x80")}},
        {{LIT("128")}, {LIT("\xc1\x80\0")}},
        {{LIT("-32768")}, {LIT("\xc1\0\x80")}},
        {{LIT("32768")}, {LIT("\xc2\0\x80\0\0")}},
        {{LIT("-2147483648")}, {LIT("\xc2\0\0\0\x80")}},
        {{LIT("2147483648")},
         {LIT("\x0a"
              "2147483648")}},
        {{LIT("007")},
         {LIT("\x03"
              "007")}},
    };
    struct buf out = {0};

    (void)state;
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++) {
        buf_clear(&out);
        rdb_put_string(&out, all[i].text, true);
        assert_true(view_equal(buf_view(&out), all[i].bytes));
    }
    buf_clear(&out);
    rdb_put_length(&out, 63);
    rdb_put_length(&out, 64);
    rdb_put_length(&out, 16383);
    rdb_put_length(&out, 16384);
    rdb_put_length(&out, UINT32_MAX);
    rdb_put_length(&out, (uint64_t)UINT32_MAX + 1);
    assert_true(view_equal(buf_view(&out), VIEW("\x3f\x40\x40\x7f\xff\x80\0\0\x40\0\x80\xff\xff\xff\xff"
                                                "\x81\0\0\0\1\0\0\0\0")));
    buf_free(&out);
}

static void test_opcodes(void **state)
{
    struct support *s = *state;
    struct buf file = {0};
    struct seen seen = {0};
    struct item *it = make(s, VIEW("a"), VIEW("b"), -1);

    rdb_put_header(&file);
    rdb_put_aux(&file, VIEW("name"), VIEW("some value"));
    rdb_put_aux_int(&file, VIEW("small"), -5);
    rdb_put_aux_int(&file, VIEW("large"), INT64_MIN);
    rdb_put_select(&file, 15);
    rdb_put_resize(&file, 100000, 1000);
    put(&file, it, &(struct rdb_options){0});
    rdb_put_select(&file, 70000);
    rdb_put_resize(&file, 1, 0);
    put(&file, it, &(struct rdb_options){0});
    finish(&file);
    assert_int_equal(read_file(s, buf_view(&file), &seen), RDB_OK);
    assert_true(view_equal(buf_view(&seen.aux), VIEW("name=some value\nsmall=-5\nlarge=-9223372036854775808\n")));
    assert_int_equal(seen.keys, 100001);
    assert_int_equal(seen.expires, 1000);
    assert_int_equal(seen.items, 2);
    assert_int_equal(seen.item_db[0], 15);
    assert_int_equal(seen.item_db[1], 70000);
    forget(&seen);
    item_free(&s->thread, it);
    buf_free(&file);
}

/* What is known of accesses comes back, under a policy that wants it, and is good for one key only. */
static void test_access(void **state)
{
    struct support *s = *state;
    const int64_t then = INT64_C(1700000000000), later = then + 100000000;

    for (unsigned lfu = 0; lfu < 2; lfu++)
        for (unsigned wanted = 0; wanted < 2; wanted++) {
            struct rdb_options o = {.lru = !lfu, .lfu = lfu, .lfu_decay_minutes = 1, .now_ms = then};
            struct reading how = {.limits = usual, .feed.piece = SIZE_MAX};
            struct item *it = make(s, VIEW("a"), VIEW("1"), -1);
            struct seen seen = {0};
            struct buf file = {0};

            how.limits.lru = wanted && !lfu;
            how.limits.lfu = wanted && lfu;
            how.limits.now_ms = later;
            it->access =
                lfu ? (uint32_t)((then / 60000 - 7) & 0xffff) << 8 | 100 : (uint32_t)(then / 1000 - 77777) & 0xffffff;
            rdb_put_header(&file);
            put(&file, it, &o);
            put(&file, it, &(struct rdb_options){0});
            finish(&file);
            assert_int_equal(read_by(s, buf_view(&file), &how, &seen), RDB_OK);
            if (!wanted)
                assert_int_equal(seen.item[0]->access, access_now());
            else if (lfu)
                assert_int_equal(access_frequency(seen.item[0], later, 1), 93);
            else
                assert_int_equal(access_idle_seconds(seen.item[0], later), 77777);
            assert_int_equal(seen.item[1]->access, access_now());
            forget(&seen);
            item_free(&s->thread, it);
            buf_free(&file);
            buf_free(&how.rest);
        }
}

static void test_expired_are_dropped(void **state)
{
    struct support *s = *state;
    struct reading how = {.limits = usual, .feed.piece = SIZE_MAX};
    struct seen seen = {0};
    struct buf file = {0};

    rdb_put_header(&file);
    for (int64_t expiry = -1; expiry < 6; expiry++) {
        struct item *it = make(s, VIEW("key"), VIEW("value"), expiry);
        put(&file, it, &(struct rdb_options){0});
        item_free(&s->thread, it);
    }
    finish(&file);
    how.limits.drop_expired_before_ms = 3;
    assert_int_equal(read_by(s, buf_view(&file), &how, &seen), RDB_OK);
    assert_int_equal(seen.items, 3);
    assert_true(item_expiry(seen.item[0]) == -1 && item_expiry(seen.item[1]) == 4 && item_expiry(seen.item[2]) == 5);
    forget(&seen);
    buf_free(&how.rest);
    buf_free(&file);
}

/* ---- what Redis wrote -------------------------------------------------------------------------------------------- */

static void test_redis_plain(void **state)
{
    static const char *const pairs[] = {
        "empty",      "",
        "one",        "1",
        "minus",      "-1",
        "int8",       "-128",
        "int16",      "32767",
        "int32",      "-2147483648",
        "int33",      "2147483648",
        "zeros",      "007",
        "minus zero", "-0",
        "text",       "some text",
        "12345",      "key is a number",
        "in nine",    "9",
    };
    char binary[40];
    struct seen seen = {0};

    for (unsigned i = 0; i < sizeof binary; i++)
        binary[i] = (char)i;
    assert_int_equal(read_file(*state, FILE_VIEW(redis_plain), &seen), RDB_OK);
    assert_int_equal(seen.items, 14);
    assert_int_equal(seen.keys, 14);
    assert_int_equal(seen.expires, 1);
    for (unsigned i = 0; i < sizeof pairs / sizeof *pairs; i += 2)
        check_item(&seen, view_str(pairs[i]), view_str(pairs[i + 1]), -1);
    check_item(&seen, VIEW("expires"), VIEW("later"), YEAR_2100);
    check_item(&seen, VIEW("bin\0\xff\r\n"), view_of(binary, sizeof binary), -1);
    assert_true(view_equal(item_key(seen.item[13]), VIEW("in nine")));
    for (unsigned i = 0; i < 14; i++)
        assert_int_equal(seen.item_db[i], i == 13 ? 9 : 0);
    buf_put_char(&seen.aux, '\0');
    assert_non_null(strstr(seen.aux.p, "redis-ver=7.0.15\nredis-bits=64\n"));
    assert_non_null(strstr(seen.aux.p, "\naof-base=0\n"));
    forget(&seen);
}

static void test_redis_lzf(void **state)
{
    char squeezed[240], key[300], value[50];
    struct seen seen = {0};

    for (unsigned i = 0; i < sizeof squeezed; i++)
        squeezed[i] = "abcdefgh"[i % 8];
    memset(key, 'k', sizeof key);
    memset(value, 'x', sizeof value);
    assert_int_equal(read_file(*state, FILE_VIEW(redis_lzf), &seen), RDB_OK);
    assert_int_equal(seen.items, 3);
    check_item(&seen, VIEW("squeezed"), view_of(squeezed, sizeof squeezed), -1);
    check_item(&seen, view_of(key, sizeof key), view_of(value, sizeof value), -1);
    check_item(&seen, VIEW("short"), VIEW("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), -1);
    forget(&seen);
}

static void test_redis_access(void **state)
{
    struct reading how = {.limits = usual, .feed.piece = 1};
    struct seen seen = {0};

    how.limits.now_ms = INT64_C(1700000000000);
    how.limits.lru = true;
    assert_int_equal(read_by(*state, FILE_VIEW(redis_lru), &how, &seen), RDB_OK);
    assert_int_equal(seen.items, 2);
    check_item(&seen, VIEW("b"), VIEW("text"), YEAR_2100);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(access_idle_seconds(seen.item[i], how.limits.now_ms), 2);
    forget(&seen);
    how.limits.lru = false;
    how.limits.lfu = true;
    assert_int_equal(read_by(*state, FILE_VIEW(redis_lfu), &how, &seen), RDB_OK);
    assert_int_equal(seen.items, 1);
    assert_int_equal(access_frequency(seen.item[0], how.limits.now_ms, 1), 9);
    forget(&seen);
    buf_free(&how.rest);
}

/* This one was also written without a checksum. */
static void test_redis_functions(void **state)
{
    struct rdb_visitor nobody = {0};
    struct support *s = *state;
    struct feed feed = {FILE_VIEW(redis_functions), SIZE_MAX, 0, 0, 0};
    struct rdb_reader *r = rdb_reader_new(&(struct rdb_source){feed_read, &feed}, &s->thread, &usual);
    struct rdb_error err;
    struct seen seen = {0};

    assert_int_equal(read_file(s, FILE_VIEW(redis_functions), &seen), RDB_OK);
    assert_int_equal(seen.items, 1);
    assert_true(seen.functions.len > 60);
    assert_memory_equal(seen.functions.p, "#!lua name=lib\n", 15);
    forget(&seen);
    assert_int_equal(rdb_read(r, &nobody, &err), RDB_OK);
    assert_int_equal(rdb_reader_offset(r), sizeof redis_functions);
    rdb_reader_free(r);
}

static void test_redis_hash(void **state)
{
    refuse(*state, FILE_VIEW(redis_hash), RDB_UNSUPPORTED, "hash (listpack)", 85);
}

/* ---- single values ----------------------------------------------------------------------------------------------- */

static enum rdb_result read_value(struct support *s, struct view payload, struct item **out, struct rdb_error *err)
{
    char *copy = malloc(payload.n + 1);
    enum rdb_result rc;

    memcpy(copy + 1, payload.p, payload.n);
    rc = rdb_read_payload(&s->thread, view_of(copy + 1, payload.n), VIEW("key"), 55, out, err);
    free(copy);
    return rc;
}

static void test_payloads(void **state)
{
    static const size_t sizes[] = {0, 3, 100, 3000, 70000, 3u << 20};
    struct support *s = *state;
    struct random r = support_random();
    struct rdb_error err;

    for (unsigned i = 0; i < 2 * sizeof sizes / sizeof *sizes; i++) {
        struct buf b = bytes_of(&r, sizes[i / 2], i % 2), out = {0};
        struct item *it = make(s, VIEW("another key"), buf_view(&b), -1), *again = NULL;

        buf_put(&out, LIT("before"));
        rdb_put_payload(&out, it, true);
        assert_int_equal(read_value(s, view_of(out.p + 6, out.len - 6), &again, &err), RDB_OK);
        assert_true(view_equal(item_key(again), VIEW("key")));
        assert_true(view_equal(item_string(again), buf_view(&b)));
        assert_true(item_expiry(again) == 55);
        item_free(&s->thread, it);
        item_free(&s->thread, again);
        buf_free(&b);
        buf_free(&out);
    }
}

static void test_redis_payloads(void **state)
{
    struct support *s = *state;
    struct buf bytes = {0};
    struct rdb_error err;
    struct item *it;

    assert_int_equal(read_value(s, FILE_VIEW(redis_dump_x), &it, &err), RDB_OK);
    assert_true(view_equal(item_string(it), VIEW("payload")));
    buf_clear(&bytes);
    rdb_put_payload(&bytes, it, true);
    assert_true(view_equal(buf_view(&bytes), FILE_VIEW(redis_dump_x)));
    item_free(&s->thread, it);
    assert_int_equal(read_value(s, FILE_VIEW(redis_dump_y), &it, &err), RDB_OK);
    assert_true(view_equal(item_string(it), VIEW("77")));
    item_free(&s->thread, it);
    for (size_t n = 0; n < bytes.len; n++)
        assert_int_not_equal(read_value(s, view_of(bytes.p, n), &it, &err), RDB_OK);
    for (size_t at = 0; at < bytes.len; at++)
        for (unsigned mask = 1; mask < 256; mask++) {
            bytes.p[at] ^= (char)mask;
            assert_int_not_equal(read_value(s, buf_view(&bytes), &it, &err), RDB_OK);
            bytes.p[at] ^= (char)mask;
        }
    buf_free(&bytes);
}

/* Right checksums around wrong values. */
static void test_damaged_payloads(void **state)
{
    static const struct {
        struct view bytes;
        enum rdb_result rc;
    } all[] = {
        {{LIT("\0\1a\x0c\0")}, RDB_OK},
        {{LIT("\0\1a\x0d\0")}, RDB_TOO_NEW},
        {{LIT("\0\1ab\x0a\0")}, RDB_DAMAGED},
        {{LIT("\0\2a\x0a\0")}, RDB_TRUNCATED},
        {{LIT("\0\x0a\0")}, RDB_TRUNCATED},
        {{LIT("\0\x80\0\x01\0\0\0\x0a\0")}, RDB_TRUNCATED},
        {{LIT("\0\xc3\x80\0\x01\0\0\1\0\x0a\0")}, RDB_TRUNCATED},
        {{LIT("\x10\1a\x0a\0")}, RDB_UNSUPPORTED},
        {{LIT("\x63\1a\x0a\0")}, RDB_DAMAGED},
        {{LIT("\x0a\0")}, RDB_TRUNCATED},
    };
    struct support *s = *state;

    for (unsigned i = 0; i < sizeof all / sizeof *all; i++) {
        struct buf b = {0};
        struct rdb_error err;
        struct item *it;

        buf_put_view(&b, all[i].bytes);
        rdb_put_checksum(&b, crc64(0, b.p, b.len));
        assert_int_equal(read_value(s, buf_view(&b), &it, &err), all[i].rc);
        if (all[i].rc == RDB_OK)
            item_free(&s->thread, it);
        buf_free(&b);
    }
    assert_int_equal(slab_used(s), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, support_setup, support_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_texts),          TEST(test_sizes),
        TEST(test_encodings),      TEST(test_opcodes),
        TEST(test_access),         TEST(test_expired_are_dropped),
        TEST(test_redis_plain),    TEST(test_redis_lzf),
        TEST(test_redis_access),   TEST(test_redis_functions),
        TEST(test_redis_hash),     TEST(test_payloads),
        TEST(test_redis_payloads), TEST(test_damaged_payloads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
