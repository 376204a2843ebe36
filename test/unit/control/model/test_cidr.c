/* control/model/cidr.h */
#include "control/model/cidr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static void test_blocks_are_read_and_written(void **state)
{
    static const char *const good[] = {"0.0.0.0/0", "10.0.0.0/16", "172.31.16.0/20", "255.255.255.255/32"};
    char text[CIDR_TEXT_MAX];
    struct cidr c;
    bool exact;

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        assert_true(cidr_parse(view_str(good[i]), &c, &exact));
        assert_true(exact);
        cidr_format(text, c);
        assert_string_equal(text, good[i]);
    }
    assert_true(cidr_parse(VIEW("10.0.13.7/24"), &c, &exact));
    assert_false(exact);
    assert_int_equal(c.first, 0x0a000d00);
    assert_int_equal(cidr_last(c), 0x0a000dff);
}

static void test_what_is_none(void **state)
{
    static const char *const bad[] = {"",
                                      "10.0.0.0",
                                      "10.0.0.0/33",
                                      "10.0.0.0/",
                                      "10.0.0/8",
                                      "10.0.0.256/8",
                                      "010.0.0.0/8",
                                      "10.0.0.0/08",
                                      "10.0.0.0/8 ",
                                      " 10.0.0.0/8",
                                      "10.0.0.0/-1",
                                      "10..0.0/8",
                                      "10.0.0.0.0/8",
                                      "a.b.c.d/8",
                                      "1000.0.0.0/8"};
    struct cidr c;

    (void)state;
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(cidr_parse(view_str(bad[i]), &c, NULL));
}

static void test_what_covers_what(void **state)
{
    struct cidr all, vpc, subnet, other;

    (void)state;
    assert_true(cidr_parse(VIEW("0.0.0.0/0"), &all, NULL));
    assert_true(cidr_parse(VIEW("10.0.0.0/16"), &vpc, NULL));
    assert_true(cidr_parse(VIEW("10.0.13.0/24"), &subnet, NULL));
    assert_true(cidr_parse(VIEW("10.1.0.0/16"), &other, NULL));
    assert_true(cidr_covers(all, vpc));
    assert_true(cidr_covers(vpc, subnet));
    assert_false(cidr_covers(subnet, vpc));
    assert_true(cidr_overlap(subnet, vpc));
    assert_false(cidr_overlap(vpc, other));
    assert_true(cidr_has(all, 0xffffffff));
    assert_false(cidr_has(vpc, 0x0a010000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks_are_read_and_written),
        cmocka_unit_test(test_what_is_none),
        cmocka_unit_test(test_what_covers_what),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
