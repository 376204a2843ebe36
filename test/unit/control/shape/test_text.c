/* What counts as text. */
#include "control/shape/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

static void clean(void **state)
{
    static const char *const good[] = {"",
                                       "a",
                                       "\t\n\r ~",
                                       "\x7f",
                                       "\xc2\x80",
                                       "\xdf\xbf",
                                       "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",
                                       "\xee\x80\x80",
                                       "\xef\xbf\xbd",
                                       "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf"};
    static const char *const bad[] = {"\x01",
                                      "\x08",
                                      "\x0b",
                                      "\x1f",
                                      "\x80",
                                      "\xbf",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xc2",
                                      "\xc2z",
                                      "\xe0\x80\x80",
                                      "\xe0\x9f\xbf",
                                      "\xe1\x80",
                                      "\xed\xa0\x80",
                                      "\xed\xbf\xbf",
                                      "\xef\xbf\xbe",
                                      "\xef\xbf\xbf",
                                      "\xf0\x80\x80\x80",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xf8\x88\x80\x80\x80",
                                      "\xff"};

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(text_is_clean(view_str(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(text_is_clean(view_str(bad[i])));
    assert_false(text_is_clean(view_of("a\0b", 3)));
}

static void lengths(void **state)
{
    struct view v = VIEW("a\xc3\xa9\xe2\x82\xac\xf0\x90\x80\x80");

    (void)state;
    assert_int_equal(text_length(v), 4);
    assert_int_equal(text_length(VIEW("")), 0);
    assert_int_equal(text_fit(v, 100), v.n);
    assert_int_equal(text_fit(v, 10), 10);
    assert_int_equal(text_fit(v, 9), 6);
    assert_int_equal(text_fit(v, 6), 6);
    assert_int_equal(text_fit(v, 5), 3);
    assert_int_equal(text_fit(v, 2), 1);
    assert_int_equal(text_fit(v, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(clean), cmocka_unit_test(lengths)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
