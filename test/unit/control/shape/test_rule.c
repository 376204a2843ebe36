/* Every form of strings, with what just fits and what just does not. */
#include "control/shape/rule.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "control/shape/shape.h"

static struct arena arena;

static bool fits(enum shape_form form, const char *text)
{
    struct shape_rule rule = {.form = form};
    struct view v = view_str(text);
    char why[RULE_WHY_MAX] = "";
    bool good = rule_check_text(&rule, &v, &arena, why);

    assert_true(good || strlen(why) > 10);
    return good;
}

struct examples {
    enum shape_form form;
    const char *good[12], *bad[24];
};

static void forms(void **state)
{
    static const struct examples all[] = {
        {SHAPE_FORM_NONE, {"", "anything"}, {NULL}},
        {SHAPE_FORM_IDENTIFIER,
         {"a", "A1", "a-b-c", "z9-0"},
         {"", "1", "-a", "a-", "a--b", "a_b", "a.b", "a b", "\xc3\xa9", "a\xc3\xa9"}},
        {SHAPE_FORM_REFERENCE, {"a", "default.redis7", "a--", "1"}, {"", " ", "a b", "a\n", "\xc3\xa9"}},
        {SHAPE_FORM_MAINTENANCE_WINDOW,
         {"sun:05:00-sun:06:00", "Sun:23:30-MON:00:30", "sat:23:00-sun:00:00", "mon:00:00-sun:23:59"},
         {"", "sun:05:00-sun:05:59", "sun:05:00-sun:05:00", "sun:05:00", "sun:24:00-mon:01:00", "sun:05:60-sun:07:00",
          "son:05:00-sun:06:00", "sun:5:00-sun:06:00", "sun-05:00-sun:06:00", "sun:05:00_sun:06:00",
          "sun:05:00-sun:06:00 "}},
        {SHAPE_FORM_SNAPSHOT_WINDOW,
         {"05:00-06:00", "23:30-00:30", "00:00-23:59"},
         {"", "05:00-05:59", "05:00-05:00", "5:00-6:00", "05:00-24:00", "05:00/06:00", "05.00-06:00"}},
        {SHAPE_FORM_CIDR,
         {"10.0.0.0/16", "0.0.0.0/0", "255.255.255.255/32"},
         {"", "10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "10.0.0/16", "10.0.0.0.0/16", "256.0.0.0/8", "010.0.0.0/8",
          "10.0.0.0/08", "10.0.0.0/16 ", " 10.0.0.0/16", "10..0.0/16", "10.0.0.0/-1", "1000.0.0.0/8", "::/0"}},
        {SHAPE_FORM_ARN,
         {"arn:aws:sns:ap-northeast-2:000000000000:t", "arn:aws:elasticache:r:0:cluster:c"},
         {"", "arn", "arn:aws:sns:r:0", "arn:aws:sns:r:0:", "urn:aws:sns:r:0:t", "arn:aws:sns:r:0:t t"}},
        {SHAPE_FORM_TAG_KEY, {"Name", "a/b:c d", "\xed\x95\x9c\xea\xb5\xad", "awsx"}, {"", "aws:x", "AWS:x"}},
        {SHAPE_FORM_TAG_VALUE, {"", "x"}, {NULL}},
        {SHAPE_FORM_DIGITS, {"0", "0001"}, {"", "-1", "1a", " 1"}},
        {SHAPE_FORM_TOKEN, {"aZ09!&#$^<>-"}, {"a/b", "a\"b", "a@b", "a b", "a%b"}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        for (size_t k = 0; all[i].good[k] != NULL; k++)
            if (!fits(all[i].form, all[i].good[k]))
                fail_msg("form %d: '%s' is good", all[i].form, all[i].good[k]);
        for (size_t k = 0; all[i].bad[k] != NULL; k++)
            if (fits(all[i].form, all[i].bad[k]))
                fail_msg("form %d: '%s' is bad", all[i].form, all[i].bad[k]);
    }
}

static void tags_have_lengths(void **state)
{
    char text[300];

    (void)state;
    memset(text, 'x', sizeof text);
    text[257] = '\0';
    assert_false(fits(SHAPE_FORM_TAG_VALUE, text));
    text[256] = '\0';
    assert_true(fits(SHAPE_FORM_TAG_VALUE, text));
    text[129] = '\0';
    assert_false(fits(SHAPE_FORM_TAG_KEY, text));
    text[128] = '\0';
    assert_true(fits(SHAPE_FORM_TAG_KEY, text));
}

static void folding(void **state)
{
    struct shape_rule rule = {.form = SHAPE_FORM_IDENTIFIER};
    struct view v = VIEW("My-Group");
    char why[RULE_WHY_MAX];

    (void)state;
    assert_true(rule_check_text(&rule, &v, &arena, why));
    assert_true(view_equal(v, VIEW("my-group")));
    rule.form = SHAPE_FORM_TAG_KEY;
    v = VIEW("Name");
    assert_true(rule_check_text(&rule, &v, &arena, why));
    assert_true(view_equal(v, VIEW("Name")));
    assert_true(rule_check_text(NULL, &v, &arena, why));
}

static void words(void **state)
{
    const struct view both[] = {VIEW("redis"), VIEW("valkey")};
    struct shape_rule rule = {.words = both, .word_count = 2};
    struct view v = VIEW("valkey");
    char why[RULE_WHY_MAX];

    (void)state;
    assert_true(rule_check_text(&rule, &v, &arena, why));
    v = VIEW("Valkey");
    assert_false(rule_check_text(&rule, &v, &arena, why));
    assert_string_equal(why, "must be one of redis, valkey");
    assert_true(rule_harmless(&rule, v));
    rule.word_count = 1;
    assert_false(rule_check_text(&rule, &v, &arena, why));
    assert_string_equal(why, "must be redis");
    assert_false(rule_harmless(&rule, v));
    assert_false(rule_harmless(NULL, v));
}

static void many_words_are_cut(void **state)
{
    struct view many[200];
    struct shape_rule rule = {.words = many, .word_count = 200};
    struct view v = VIEW("x");
    char why[RULE_WHY_MAX];

    (void)state;
    for (size_t i = 0; i < 200; i++)
        many[i] = VIEW("a-long-word");
    assert_false(rule_check_text(&rule, &v, &arena, why));
    assert_int_equal(strlen(why), RULE_WHY_MAX - 1);
}

static void bounds(void **state)
{
    struct shape_rule rule = {.bounded = true, .min = 2, .max = 3};
    struct view v = VIEW("\xe2\x82\xac");
    char why[RULE_WHY_MAX];

    (void)state;
    assert_true(rule_check_integer(&rule, 2, why) && rule_check_integer(&rule, 3, why));
    assert_false(rule_check_integer(&rule, 4, why));
    assert_string_equal(why, "must be between 2 and 3");
    assert_false(rule_check_text(&rule, &v, &arena, why));
    assert_string_equal(why, "must be between 2 and 3 characters long");
    rule.max = INT64_MAX;
    assert_false(rule_check_integer(&rule, 1, why));
    assert_string_equal(why, "must be at least 2");
    rule = (struct shape_rule){.bounded = true, .min = INT64_MIN, .max = -1};
    assert_false(rule_check_integer(&rule, 0, why));
    assert_string_equal(why, "must be at most -1");
    assert_true(rule_check_integer(NULL, 0, why));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forms), cmocka_unit_test(tags_have_lengths),  cmocka_unit_test(folding),
        cmocka_unit_test(words), cmocka_unit_test(many_words_are_cut), cmocka_unit_test(bounds),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    arena_free(&arena);
    return failed;
}
