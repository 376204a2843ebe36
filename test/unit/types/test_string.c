/* Strings in a keyspace: in which block a value ends up, what is shared, and what stays when there is no memory. */
#include "unit/support.h"

#include "engine/store/item.h"
#include "engine/types/string.h"

#define BIG (100 * 1024)
#define HUGE_SIZE (3u << 20)

static char big[BIG];

/* Stores under name; the item that is there then. */
static struct item *store(struct support *s, const char *name, struct view value, int64_t expiry, enum item_form form)
{
    struct key key = support_key(s, name);
    struct place at;
    struct item *old = db_find(s->db, &key, &at);
    struct item *it = string_store(s->db, &s->thread, &key, old, &at, value, expiry, form);

    if (it)
        assert_ptr_equal(db_find(s->db, &key, NULL), it);
    return it;
}

static struct item *resize(struct support *s, const char *name, size_t n, bool slack)
{
    struct key key = support_key(s, name);
    struct place at;
    struct item *old = db_find(s->db, &key, &at);
    struct item *it = string_resize(s->db, &s->thread, &key, old, &at, n, slack);

    if (it)
        assert_ptr_equal(db_find(s->db, &key, NULL), it);
    return it;
}

static void assert_value(const struct item *it, struct view expected)
{
    assert_true(view_equal(item_string(it), expected));
}

static void assert_zero(const struct item *it, size_t from)
{
    struct view v = item_string(it);

    for (size_t i = from; i < v.n; i++)
        assert_int_equal(v.p[i], 0);
}

static void test_store(void **state)
{
    struct support *s = *state;
    struct item *it = store(s, "key", VIEW("1234567890"), -1, ITEM_FORM_PLAIN);
    struct item *same;

    assert_value(it, VIEW("1234567890"));
    same = store(s, "key", VIEW("1234567891"), -1, ITEM_FORM_EMBSTR);
    assert_ptr_equal(same, it);
    assert_value(same, VIEW("1234567891"));
    assert_int_equal(same->form, ITEM_FORM_EMBSTR);
    it = store(s, "key", VIEW(""), -1, ITEM_FORM_PLAIN);
    assert_value(it, VIEW(""));
    assert_int_equal(db_size(s->db), 1);
}

static void test_store_expiry(void **state)
{
    struct support *s = *state;
    struct item *it = store(s, "key", VIEW("value"), 5000, ITEM_FORM_PLAIN), *same;

    assert_int_equal(item_expiry(it), 5000);
    same = store(s, "key", VIEW("other"), 6000, ITEM_FORM_PLAIN);
    assert_ptr_equal(same, it);
    assert_int_equal(item_expiry(same), 6000);
    assert_int_equal(db_expires(s->db), 1);
    it = store(s, "key", VIEW("other"), -1, ITEM_FORM_PLAIN);
    assert_int_equal(item_expiry(it), -1);
    assert_value(it, VIEW("other"));
    assert_int_equal(db_expires(s->db), 0);
    it = store(s, "key", VIEW("last"), 7000, ITEM_FORM_PLAIN);
    assert_int_equal(item_expiry(it), 7000);
    assert_value(it, VIEW("last"));
    assert_int_equal(db_expires(s->db), 1);
}

static void test_store_replaces_any_type(void **state)
{
    struct support *s = *state;
    struct item *it = store(s, "key", VIEW("value"), -1, ITEM_FORM_PLAIN);

    it->type = ITEM_LIST;
    it = store(s, "key", VIEW("other"), -1, ITEM_FORM_PLAIN);
    assert_int_equal(it->type, ITEM_STRING);
    assert_value(it, VIEW("other"));
}

static void test_store_sizes(void **state)
{
    struct support *s = *state;
    char name[3000];

    memset(big, 'b', sizeof big);
    memset(name, 'n', sizeof name);
    name[sizeof name - 1] = 0;
    for (size_t n = 1900; n < 2100; n++) {
        assert_value(store(s, "edge", view_of(big, n), n % 3 ? -1 : 9000, ITEM_FORM_PLAIN), view_of(big, n));
        assert_value(store(s, name, view_of(big, n - 1900), -1, ITEM_FORM_PLAIN), view_of(big, n - 1900));
        assert_value(resize(s, name, n - 1899, true), item_string(resize(s, name, n - 1899, false)));
    }
    assert_value(store(s, "edge", view_of(big, sizeof big), -1, ITEM_FORM_PLAIN), view_of(big, sizeof big));
    assert_value(store(s, "edge", VIEW("small"), -1, ITEM_FORM_PLAIN), VIEW("small"));
}

static void test_resize_grows_with_zeros(void **state)
{
    struct support *s = *state;
    const size_t sizes[] = {0, 3, 4, 11, 500, 1990, 2048, 2049, 5000, BIG, HUGE_SIZE, HUGE_SIZE + 1, 3 * HUGE_SIZE};

    for (int slack = 0; slack < 2; slack++) {
        const char *name = slack ? "slack" : "exact";

        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            struct item *it = resize(s, name, sizes[i], slack != 0);

            assert_int_equal(item_string(it).n, sizes[i]);
            assert_int_equal(it->form, ITEM_FORM_RAW);
            assert_zero(it, 1);
            if (sizes[i] > 0)
                item_bytes(it)[0] = 'x';
            assert_true(sizes[i] == 0 || item_string(it).p[0] == 'x');
        }
    }
}

static void test_resize_shrinks_and_clears(void **state)
{
    struct support *s = *state;

    store(s, "small", VIEW("12345678"), 5000, ITEM_FORM_PLAIN);
    assert_value(resize(s, "small", 5, false), VIEW("12345"));
    assert_value(resize(s, "small", 8, false), VIEW("12345\0\0\0"));
    assert_int_equal(item_expiry(resize(s, "small", 3000, false)), 5000);
    memset(big, 'b', sizeof big);
    store(s, "big", view_of(big, sizeof big), -1, ITEM_FORM_PLAIN);
    assert_int_equal(item_string(resize(s, "big", 10, false)).n, 10);
    assert_zero(resize(s, "big", sizeof big, false), 10);
}

static void test_resize_leaves_shared_values_alone(void **state)
{
    struct support *s = *state;
    struct item *it;
    struct blob *shared;

    memset(big, 'b', sizeof big);
    it = store(s, "key", view_of(big, sizeof big), -1, ITEM_FORM_PLAIN);
    shared = blob_ref(item_blob(it));
    it = resize(s, "key", sizeof big, false);
    assert_ptr_not_equal(item_blob(it), shared);
    item_bytes(it)[0] = 'x';
    assert_memory_equal(shared->bytes, big, sizeof big);
    assert_int_equal(shared->refs, 1);
    blob_unref(shared);
    shared = item_blob(it);
    assert_ptr_equal(item_blob(resize(s, "key", sizeof big, false)), shared);
}

static void test_slack_saves_copies(void **state)
{
    struct support *s = *state;
    unsigned moves = 0;
    struct blob *b;

    resize(s, "key", 4000, true);
    b = item_blob(resize(s, "key", 4001, true));
    for (size_t n = 4002; n < 8000; n++) {
        struct blob *now = item_blob(resize(s, "key", n, true));

        moves += now != b;
        b = now;
    }
    assert_true(moves < 10);
}

static void test_no_memory(void **state)
{
    struct support *s = *state;

    memset(big, 'b', sizeof big);
    store(s, "big", view_of(big, sizeof big), 5000, ITEM_FORM_PLAIN);
    store(s, "small", VIEW("small"), -1, ITEM_FORM_PLAIN);
    mem_fail_after(0);
    assert_null(store(s, "none", view_of(big, sizeof big), -1, ITEM_FORM_PLAIN));
    assert_null(store(s, "small", view_of(big, sizeof big), -1, ITEM_FORM_PLAIN));
    assert_null(resize(s, "none", sizeof big, false));
    assert_null(resize(s, "small", sizeof big, true));
    assert_null(resize(s, "big", 2 * sizeof big, true));
    mem_fail_after(-1);
    assert_int_equal(db_size(s->db), 2);
    assert_value(resize(s, "small", 5, false), VIEW("small"));
    assert_value(resize(s, "big", sizeof big, false), view_of(big, sizeof big));
}

static void test_int(void **state)
{
    struct support *s = *state;
    int64_t v = 1;

    assert_true(string_int(NULL, &v));
    assert_int_equal(v, 0);
    assert_true(string_int(store(s, "key", VIEW("-12"), -1, ITEM_FORM_PLAIN), &v));
    assert_int_equal(v, -12);
    assert_false(string_int(store(s, "key", VIEW("012"), -1, ITEM_FORM_PLAIN), &v));
    assert_false(string_int(store(s, "key", VIEW(""), -1, ITEM_FORM_PLAIN), &v));
}

static void test_encoding(void **state)
{
    struct support *s = *state;

    memset(big, 'b', sizeof big);
    assert_string_equal(string_encoding(store(s, "key", VIEW("12"), -1, ITEM_FORM_PLAIN)), "int");
    assert_string_equal(string_encoding(store(s, "key", VIEW("12"), -1, ITEM_FORM_EMBSTR)), "embstr");
    assert_string_equal(string_encoding(store(s, "key", VIEW("12"), -1, ITEM_FORM_RAW)), "raw");
    assert_string_equal(string_encoding(store(s, "key", VIEW("9223372036854775808"), -1, ITEM_FORM_PLAIN)), "embstr");
    assert_string_equal(string_encoding(store(s, "key", view_of(big, 44), -1, ITEM_FORM_PLAIN)), "embstr");
    assert_string_equal(string_encoding(store(s, "key", view_of(big, 45), -1, ITEM_FORM_PLAIN)), "raw");
    assert_string_equal(string_encoding(store(s, "key", view_of(big, 45), -1, ITEM_FORM_EMBSTR)), "raw");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, support_setup, support_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_store),
        TEST(test_store_expiry),
        TEST(test_store_replaces_any_type),
        TEST(test_store_sizes),
        TEST(test_resize_grows_with_zeros),
        TEST(test_resize_shrinks_and_clears),
        TEST(test_resize_leaves_shared_values_alone),
        TEST(test_slack_saves_copies),
        TEST(test_no_memory),
        TEST(test_int),
        TEST(test_encoding),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
