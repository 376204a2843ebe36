/* control/api/session.h */
#include "control/api/session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#define NOW INT64_C(1000000)
#define HOUR_MS INT64_C(3600000)

static int setup(void **state)
{
    *state = sessions_new();
    return 0;
}

static int teardown(void **state)
{
    sessions_free(*state);
    return 0;
}

static void test_a_code_is_good_once(void **state)
{
    char code[SESSION_CODE + 1];
    const struct session_key *k;

    sessions_make_code(*state, NOW, code);
    assert_int_equal(sessions_exchange(*state, view_str(code), NOW, HOUR_MS, &k), SESSION_OK);
    assert_int_equal(strlen(k->id), SESSION_ID);
    assert_memory_equal(k->id, "ASIA", 4);
    assert_int_equal(strlen(k->secret), SESSION_SECRET);
    assert_int_equal(k->end_ms, NOW + HOUR_MS);
    assert_ptr_equal(sessions_find(*state, view_str(k->id)), k);
    assert_int_equal(sessions_exchange(*state, view_str(code), NOW, HOUR_MS, &k), SESSION_UNKNOWN);
    assert_null(k);
}

static void test_a_code_expires(void **state)
{
    char code[SESSION_CODE + 1];
    const struct session_key *k;

    sessions_make_code(*state, NOW, code);
    assert_int_equal(sessions_exchange(*state, view_str(code), NOW + SESSION_CODE_MS, HOUR_MS, &k), SESSION_EXPIRED);
    assert_int_equal(sessions_exchange(*state, view_str(code), NOW, HOUR_MS, &k), SESSION_UNKNOWN);
}

static void test_what_is_no_code(void **state)
{
    const struct session_key *k;
    char zeros[SESSION_CODE] = {0};

    assert_int_equal(sessions_exchange(*state, VIEW(""), NOW, HOUR_MS, &k), SESSION_UNKNOWN);
    assert_int_equal(sessions_exchange(*state, view_of(zeros, sizeof zeros), NOW, HOUR_MS, &k), SESSION_UNKNOWN);
    assert_null(sessions_find(*state, VIEW("")));
}

static void test_places_are_bounded(void **state)
{
    char first[SESSION_CODE + 1], code[SESSION_CODE + 1], id[SESSION_ID + 1];
    const struct session_key *k;

    sessions_make_code(*state, NOW, first);
    for (unsigned i = 1; i <= SESSION_CODES_MAX; i++)
        sessions_make_code(*state, NOW + i, code);
    assert_int_equal(sessions_exchange(*state, view_str(first), NOW, HOUR_MS, &k), SESSION_UNKNOWN);
    assert_int_equal(sessions_exchange(*state, view_str(code), NOW, HOUR_MS, &k), SESSION_OK);
    memcpy(id, k->id, sizeof id);
    for (unsigned i = 1; i <= SESSIONS_MAX; i++) {
        sessions_make_code(*state, NOW, code);
        assert_int_equal(sessions_exchange(*state, view_str(code), NOW, HOUR_MS + i, &k), SESSION_OK);
    }
    assert_null(sessions_find(*state, view_str(id)));
    assert_non_null(sessions_find(*state, view_str(k->id)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_code_is_good_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_code_expires, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_no_code, setup, teardown),
        cmocka_unit_test_setup_teardown(test_places_are_bounded, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
