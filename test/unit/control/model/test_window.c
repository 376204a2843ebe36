/* control/model/window.h */
#include "control/model/window.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define MINUTE_MS INT64_C(60000)
#define SUNDAY_MS INT64_C(1795910400000) /* 2026-11-29T00:00:00Z */

static void test_overlaps(void **state)
{
    (void)state;
    assert_true(window_overlap(VIEW("sun:05:00-sun:06:00"), VIEW("05:30-06:30")));
    assert_true(window_overlap(VIEW("sun:23:30-mon:00:30"), VIEW("00:00-01:00")));
    assert_true(window_overlap(VIEW("sat:23:00-sun:01:00"), VIEW("00:30-01:30")));
    assert_true(window_overlap(VIEW("wed:00:30-wed:01:30"), VIEW("23:30-00:45")));
    assert_false(window_overlap(VIEW("sun:05:00-sun:06:00"), VIEW("06:00-07:00")));
    assert_false(window_overlap(VIEW("sun:05:00-sun:06:00"), VIEW("04:00-05:00")));
}

static void test_open_and_closed(void **state)
{
    (void)state;
    assert_false(window_is_open(VIEW("sun:05:00-sun:06:00"), SUNDAY_MS + 299 * MINUTE_MS));
    assert_true(window_is_open(VIEW("sun:05:00-sun:06:00"), SUNDAY_MS + 300 * MINUTE_MS));
    assert_true(window_is_open(VIEW("sun:05:00-sun:06:00"), SUNDAY_MS + 359 * MINUTE_MS));
    assert_false(window_is_open(VIEW("sun:05:00-sun:06:00"), SUNDAY_MS + 360 * MINUTE_MS));
    assert_true(window_is_open(VIEW("sat:23:00-sun:01:00"), SUNDAY_MS + 59 * MINUTE_MS));
    assert_true(window_is_open(VIEW("sat:23:00-sun:01:00"), SUNDAY_MS - MINUTE_MS));
    assert_false(window_is_open(VIEW("sat:23:00-sun:01:00"), SUNDAY_MS + 60 * MINUTE_MS));
}

static void test_made_ones_never_overlap(void **state)
{
    char maintenance[WINDOW_TEXT_MAX], snapshot[WINDOW_TEXT_MAX];

    (void)state;
    for (unsigned i = 0; i < 200; i++) {
        window_make(maintenance, snapshot);
        assert_false(window_overlap(view_str(maintenance), view_str(snapshot)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_overlaps),
        cmocka_unit_test(test_open_and_closed),
        cmocka_unit_test(test_made_ones_never_overlap),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
