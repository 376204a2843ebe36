/* Every way in which an RDB can be wrong, or of another version; and what follows one that is right. */
#include "unit/persist/rdb_support.h"

#include "unit/persist/rdb_files.h"

/* ---- how a file ends --------------------------------------------------------------------------------------------- */

static void test_what_follows(void **state)
{
    static const size_t pieces[] = {1, 3, 50, SIZE_MAX};
    struct buf file = {0};

    buf_put_view(&file, FILE_VIEW(redis_plain));
    buf_put(&file, LIT("*1\r\n$4\r\nPING\r\n"));
    for (unsigned i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        struct reading how = {.limits = usual, .feed.piece = pieces[i]};
        struct seen seen = {0};

        assert_int_equal(read_by(*state, buf_view(&file), &how, &seen), RDB_OK);
        assert_int_equal(how.offset, sizeof redis_plain);
        assert_true(view_equal(buf_view(&how.rest), VIEW("*1\r\n$4\r\nPING\r\n")));
        forget(&seen);
        buf_free(&how.rest);
    }
    buf_free(&file);
}

static void check_truncated(struct support *s, struct view file)
{
    for (size_t n = 0; n < file.n; n++)
        for (unsigned i = 0; i < 2; i++) {
            struct reading how = {.limits = usual, .feed.piece = i ? 1 : SIZE_MAX};
            struct seen seen = {0};

            how.feed.error = i ? EIO : 0;
            assert_int_equal(read_by(s, view_of(file.p, n), &how, &seen), i ? RDB_IO : RDB_TRUNCATED);
            assert_int_equal(how.error.offset, n);
            if (i)
                assert_non_null(strstr(how.error.text, strerror(EIO)));
            forget(&seen);
            buf_free(&how.rest);
        }
}

static void test_truncated(void **state)
{
    check_truncated(*state, FILE_VIEW(redis_plain));
    check_truncated(*state, FILE_VIEW(redis_lzf));
    check_truncated(*state, FILE_VIEW(redis_lru));
    check_truncated(*state, FILE_VIEW(redis_functions));
}

static void check_flips(struct support *s, struct view file)
{
    char *bytes = mem_strndup(file.p, file.n);

    for (size_t at = 0; at < file.n; at++)
        for (unsigned mask = 1; mask < 256; mask++) {
            struct seen seen = {0};

            bytes[at] ^= (char)mask;
            assert_int_not_equal(read_file(s, view_of(bytes, file.n), &seen), RDB_OK);
            forget(&seen);
            bytes[at] ^= (char)mask;
        }
    mem_free(bytes);
}

static void test_flips(void **state)
{
    check_flips(*state, FILE_VIEW(redis_plain));
    check_flips(*state, FILE_VIEW(redis_lzf));
    check_flips(*state, FILE_VIEW(redis_lfu));
    assert_int_equal(slab_used(*state), 0);
}

static void test_checksum(void **state)
{
    struct support *s = *state;
    struct buf file = BODY("\0\1a\1b");
    struct reading how = {.limits = usual, .feed.piece = SIZE_MAX};
    struct seen seen = {0};

    file.p[file.len - 1] ^= 1;
    refuse(s, buf_view(&file), RDB_DAMAGED, "checksum", file.len - 8);
    how.limits.check_checksum = false;
    assert_int_equal(read_by(s, buf_view(&file), &how, &seen), RDB_OK);
    assert_int_equal(how.offset, file.len);
    memset(file.p + file.len - 8, 0, 8);
    assert_int_equal(read_file(s, buf_view(&file), &seen), RDB_OK);
    assert_int_equal(seen.items, 2);
    forget(&seen);
    buf_free(&how.rest);
    buf_free(&file);
}

/* ---- versions and opcodes that this writer has not --------------------------------------------------------------- */

static void test_versions(void **state)
{
    struct support *s = *state;
    struct seen seen = {0};

    /* Before version 5 there is no checksum, before version 3 are no milliseconds. */
    assert_int_equal(read_file(s, VIEW("REDIS0001\xfe\0\xfd\x01\0\0\0\0\1a\1b\xff"), &seen), RDB_OK);
    assert_true(item_expiry(seen.item[0]) == 1000);
    forget(&seen);
    assert_int_equal(read_file(s, VIEW("REDIS0004\xff"), &seen), RDB_OK);
    refuse(s, VIEW("REDIS0005\xff"), RDB_TRUNCATED, "too early", 10);
    assert_int_equal(read_file(s, VIEW("REDIS0011\xfe\0\xfb\1\0\0\1a\1b\xff\0\0\0\0\0\0\0\0"), &seen), RDB_OK);
    assert_int_equal(seen.items, 1);
    forget(&seen);
    assert_int_equal(read_file(s, VIEW("REDIS0012\xf4\x7f\xff\1\0\0\1a\1b\xff\0\0\0\0\0\0\0\0"), &seen), RDB_OK);
    assert_int_equal(seen.items, 1);
    forget(&seen);
    refuse(s, VIEW("REDIS0013\xff\0\0\0\0\0\0\0\0"), RDB_TOO_NEW, "13", 0);
    refuse(s, VIEW("REDIS0013\xff\0\0\0\0\0\0\0\0"), RDB_TOO_NEW, "up to 12", 0);
    refuse(s, VIEW("REDIS9999"), RDB_TOO_NEW, "9999", 0);
    refuse(s, VIEW("REDIS0000\xff"), RDB_DAMAGED, "no RDB", 0);
    refuse(s, VIEW("REDIS-001\xff"), RDB_DAMAGED, "no RDB", 0);
    refuse(s, VIEW("redis0010\xff"), RDB_DAMAGED, "no RDB", 0);
    refuse(s, VIEW("*1\r\n$4\r\nPING\r\n"), RDB_DAMAGED, "no RDB", 0);
    refuse(s, VIEW(""), RDB_TRUNCATED, "too early", 0);
}

static void test_moments_before_1970(void **state)
{
    struct buf file = BODY("\xfc\xff\xff\xff\xff\xff\xff\xff\xff\0\1a\1b" /* -1 ms: none */
                           "\xfc\xfe\xff\xff\xff\xff\xff\xff\xff\0\1a\1b"
                           "\xfd\xff\xff\xff\xff\0\1a\1b"
                           "\xfc\xff\xff\xff\xff\xff\xff\xff\x7f\0\1a\1b");
    struct seen seen = {0};

    assert_int_equal(read_file(*state, buf_view(&file), &seen), RDB_OK);
    assert_int_equal(seen.items, 4);
    assert_true(item_expiry(seen.item[0]) == -1);
    assert_true(item_expiry(seen.item[1]) == 0);
    assert_true(item_expiry(seen.item[2]) == 0);
    assert_true(item_expiry(seen.item[3]) == INT64_MAX);
    forget(&seen);
    buf_free(&file);
}

static void test_module_data(void **state)
{
    struct support *s = *state;
    struct buf file = BODY("\xf7\x81\1\2\3\4\5\6\7\x08\2\1"
                           "\1\x40\x80\2\5\3abcd\4abcdefgh\5\3abc\5\xc3\6\x0a\1\xaa\x00\xe0\0\0\0"
                           "\0\1a\1b");
    struct seen seen = {0};

    /* A damaged compressed string does not pass even where it is skipped. */
    assert_int_equal(read_file(s, buf_view(&file), &seen), RDB_DAMAGED);
    forget(&seen);
    buf_free(&file);
    file = BODY("\xf7\x81\1\2\3\4\5\6\7\x08\2\1"
                "\1\x40\x80\2\5\3abcd\4abcdefgh\5\3abc\5\xc3\5\x0a\0\xaa\xe0\0\0\0"
                "\0\1a\1b");
    assert_int_equal(read_file(s, buf_view(&file), &seen), RDB_OK);
    assert_int_equal(seen.items, 1);
    forget(&seen);
    buf_free(&file);
    refuse_body(s, VIEW("\xf7\1\1\1\0"), RDB_DAMAGED, "module", 1);
    refuse_body(s, VIEW("\xf7\1\2\1\6"), RDB_DAMAGED, "kind 6", 4);
}

static void test_types(void **state)
{
    struct support *s = *state;

    refuse_body(s, VIEW("\x01\1a\0"), RDB_UNSUPPORTED, "type list is", 0);
    refuse_body(s, VIEW("\xfe\0\x10\1a\0"), RDB_UNSUPPORTED, "hash (listpack)", 2);
    refuse_body(s, VIEW("\x19"), RDB_UNSUPPORTED, "field expiry", 0);
    refuse_body(s, VIEW("\xf6"), RDB_UNSUPPORTED, "functions", 0);
    for (unsigned code = 0; code < 0xf4; code++) {
        char body[] = {(char)code, 1, 'a', 1, 'b'};
        bool known = code < 26 && code != 8;

        if (code != 0)
            refuse_body(s, view_of(body, sizeof body), known ? RDB_UNSUPPORTED : RDB_DAMAGED, known ? "type" : "code",
                        0);
    }
}

/* ---- lies -------------------------------------------------------------------------------------------------------- */

static void test_lengths(void **state)
{
    struct support *s = *state;
    struct buf file = BODY("\0\x81\0\0\0\0\0\0\0\1k\x80\0\0\0\3abc"
                           "\0\x40\1l\x40\0");
    struct seen seen = {0};

    /* Longer than need be, as some writers have them. */
    assert_int_equal(read_file(s, buf_view(&file), &seen), RDB_OK);
    check_item(&seen, VIEW("k"), VIEW("abc"), -1);
    check_item(&seen, VIEW("l"), VIEW(""), -1);
    forget(&seen);
    buf_free(&file);
    refuse_body(s, VIEW("\0\x82"), RDB_DAMAGED, "0x82", 1);
    refuse_body(s, VIEW("\0\1a\xc4"), RDB_DAMAGED, "0xc4", 3);
    refuse_body(s, VIEW("\xfe\xc0\1"), RDB_DAMAGED, "0xc0", 1);
    refuse_body(s, VIEW("\0\x80\x20\0\0\0"), RDB_DAMAGED, "536870912", 1);
    refuse_body(s, VIEW("\0\1a\x80\x20\0\0\1"), RDB_DAMAGED, "536870913", 3);
    refuse_body(s, VIEW("\0\1a\x81\xff\xff\xff\xff\xff\xff\xff\xff"), RDB_DAMAGED, "18446744073709551615", 3);
    refuse_body(s, VIEW("\xfa\x81\xff\xff\xff\xff\xff\xff\xff\xff"), RDB_DAMAGED, "limit", 1);
}

static void test_limit(void **state)
{
    struct reading how = {.limits = usual, .feed.piece = SIZE_MAX};
    struct buf good = BODY("\0\5abcde\3abc"), bad = BODY("\0\5abcde\4abcd");
    struct seen seen = {0};

    how.limits.max_string = 3; /* not of keys */
    assert_int_equal(read_by(*state, buf_view(&good), &how, &seen), RDB_OK);
    assert_int_equal(read_by(*state, buf_view(&bad), &how, &seen), RDB_DAMAGED);
    assert_int_equal(how.error.offset, HEADER_SIZE + 7);
    forget(&seen);
    buf_free(&how.rest);
    buf_free(&good);
    buf_free(&bad);
}

/* A promise of much does not take memory for it. */
static void test_promises(void **state)
{
    static const struct view bodies[] = {
        {LIT("\0\1a\x80\x20\0\0\0some")},                   /* a value */
        {LIT("\0\x80\x1f\xff\xff\xffsome")},                /* a key */
        {LIT("\xfa\1a\x80\x20\0\0\0some")},                 /* a field about the file */
        {LIT("\xf5\x80\x20\0\0\0some")},                    /* functions */
        {LIT("\0\1a\xc3\x80\x20\0\0\0\x80\x20\0\0\0some")}, /* compressed */
        {LIT("\0\1a\xc3\4\x80\x20\0\0\0some\0\1b\1c")},     /* compressed, little */
    };

    for (unsigned i = 0; i < sizeof bodies / sizeof *bodies; i++)
        for (unsigned more = 0; more < 2; more++) {
            struct reading how = {.limits = usual, .feed.piece = SIZE_MAX};
            struct seen seen = {0};
            struct buf file = {0};

            rdb_put_header(&file);
            buf_put_view(&file, bodies[i]);
            for (unsigned n = 0; more && n < 9u << 20; n++)
                buf_put_char(&file, (char)(n % 7));
            how.feed.before = mem_used();
            assert_int_not_equal(read_by(*state, buf_view(&file), &how, &seen), RDB_OK);
            assert_in_range(how.feed.most_used, 0, (2u << 20) + (more ? 14u << 20 : 0));
            forget(&seen);
            buf_free(&how.rest);
            buf_free(&file);
        }
    assert_int_equal(slab_used(*state), 0);
}

static void test_compressed_lies(void **state)
{
    struct support *s = *state;
    struct buf file = BODY("\0\1a\xc3\x0b\x0d\5abcdef\x40\5\0g\0h"); /* abcdef, 4 of 6 back, gh */
    struct seen seen = {0};

    file.p[HEADER_SIZE + 5] = 12;
    assert_int_equal(read_file(s, buf_view(&file), &seen), RDB_DAMAGED);
    buf_free(&file);
    file = BODY("\0\1a\xc3\x0d\x0c\5abcdef\x40\5\0g\0h");
    assert_int_equal(read_file(s, buf_view(&file), &seen), RDB_OK);
    check_item(&seen, VIEW("a"), VIEW("abcdefabcdgh"), -1);
    forget(&seen);
    for (unsigned n = 0; n < 40; n++) {
        file.p[HEADER_SIZE + 5] = (char)n; /* the plain length; the checksum is wrong as well */
        if (n != 12)
            refuse(s, buf_view(&file), RDB_DAMAGED, "compressed", HEADER_SIZE + 3);
    }
    buf_free(&file);
    refuse_body(s, VIEW("\0\1a\xc3\0\0"), RDB_DAMAGED, "compressed", 3);           /* nothing for nothing */
    refuse_body(s, VIEW("\0\1a\xc3\2\3\x20\0"), RDB_DAMAGED, "compressed", 3);     /* back before the start */
    refuse_body(s, VIEW("\0\1a\xc3\4\4\0a\x20\1"), RDB_DAMAGED, "compressed", 3);  /* ... by one */
    refuse_body(s, VIEW("\0\1a\xc3\2\3\5a"), RDB_DAMAGED, "compressed", 3);        /* fewer bytes than it says */
    refuse_body(s, VIEW("\0\1a\xc3\3\4\0a\x20"), RDB_DAMAGED, "compressed", 3);    /* half a reference */
    refuse_body(s, VIEW("\0\1a\xc3\4\xa\0a\xe0\0"), RDB_DAMAGED, "compressed", 3); /* ... a long one */
    refuse_body(s, VIEW("\0\1a\xc3\xc0\xa\0a\xe0\0"), RDB_DAMAGED, "0xc0", 4);     /* a length that is none */
}

/* ---- failures ---------------------------------------------------------------------------------------------------- */

static void test_stopped(void **state)
{
    for (unsigned n = 1; n < 12; n++) {
        struct seen seen = {.stop_after = n};

        assert_int_equal(read_file(*state, FILE_VIEW(redis_plain), &seen), RDB_STOPPED);
        forget(&seen);
    }
    for (unsigned n = 1; n <= 10; n++) {
        struct seen seen = {.stop_after = n};

        assert_int_equal(read_file(*state, FILE_VIEW(redis_functions), &seen), n < 10 ? RDB_STOPPED : RDB_OK);
        forget(&seen);
    }
    assert_int_equal(slab_used(*state), 0);
}

static void test_no_memory(void **state)
{
    struct support *s = *state;
    struct random r = support_random();
    bool read = false;

    for (unsigned dull = 0; dull < 2; dull++) {
        struct buf b = bytes_of(&r, 9u << 20, dull), file = {0};

        rdb_put_header(&file);
        rdb_put_aux(&file, VIEW("name"), view_of(b.p, 3u << 20));
        buf_put_char(&file, 0);
        rdb_put_string(&file, view_of(b.p, 90000), false);
        rdb_put_string(&file, buf_view(&b), true);
        finish(&file);
        for (int n = 0; !read; n++) {
            struct reading how = {.limits = usual, .feed.piece = SIZE_MAX};
            struct rdb_visitor v = {.item = see_item};
            struct seen seen = {.thread = &s->thread};
            struct rdb_reader *reader;
            enum rdb_result rc;

            v.arg = &seen;
            how.feed.bytes = buf_view(&file);
            reader = rdb_reader_new(&(struct rdb_source){feed_read, &how.feed}, &s->thread, &how.limits);
            mem_fail_after(n);
            rc = rdb_read(reader, &v, &how.error);
            mem_fail_after(-1);
            rdb_reader_free(reader);
            assert_true(rc == RDB_OK || rc == RDB_NO_MEMORY);
            read = rc == RDB_OK;
            assert_int_equal(seen.items, read);
            assert_true(!read || n > 2);
            forget(&seen);
        }
        read = false;
        buf_free(&b);
        buf_free(&file);
    }
    assert_int_equal(slab_used(s), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, support_setup, support_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_what_follows), TEST(test_truncated), TEST(test_flips),
        TEST(test_checksum),     TEST(test_versions),  TEST(test_moments_before_1970),
        TEST(test_module_data),  TEST(test_types),     TEST(test_lengths),
        TEST(test_limit),        TEST(test_promises),  TEST(test_compressed_lies),
        TEST(test_stopped),      TEST(test_no_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
