/* Patterns with the answers of Redis 7.0's KEYS (and, where case is ignored, CONFIG GET). */
#include "base/glob.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

struct sample {
    const char *pattern, *text;
    bool match;
};

/* Copies of exactly the right size, so that the sanitizer sees any byte read behind them. */
static bool matches(const char *pattern, const char *text, bool ignore_case)
{
    size_t pn = strlen(pattern), tn = strlen(text);
    char *p = malloc(pn != 0 ? pn : 1), *t = malloc(tn != 0 ? tn : 1);

    memcpy(p, pattern, pn);
    memcpy(t, text, tn);
    bool match = glob_match(view_of(p, pn), view_of(t, tn), ignore_case);
    free(p);
    free(t);
    return match;
}

static void check(const struct sample *samples, size_t n, bool ignore_case)
{
    for (size_t i = 0; i < n; i++)
        if (matches(samples[i].pattern, samples[i].text, ignore_case) != samples[i].match)
            fail_msg("'%s' on '%s' must be %d", samples[i].pattern, samples[i].text, samples[i].match);
}

static void stars(void **state)
{
    static const struct sample samples[] = {
        {"*", "a", true},          {"**", "abc", true},        {"user:*", "user:1", true},
        {"user:*", "user:", true}, {"user:*", "user", false},  {"*:1", "user:1", true},
        {"*:1", "user:12", false}, {"a*b*c", "aXXbYYc", true}, {"a*b*c", "aXXbYYcZ", false},
        {"a*b*c", "abbcbc", true}, {"*ab*", "aaab", true},     {"*a", "aab", false},
        {"a***", "a", true},       {"?*", "a", true},          {"*?", "a", true},
        {"?*?", "a", false},       {"a?c", "abc", true},       {"a?c", "ac", false},
        {"abc", "abc", true},      {"abc", "ab", false},       {"ab", "abc", false},
    };

    (void)state;
    check(samples, COUNT(samples), false);
}

static void nothing(void **state)
{
    static const struct sample samples[] = {
        {"", "", true}, {"", "a", false}, {"**", "", false}, {"*", "", false}, {"?", "", false}, {"[^a]", "", false},
    };

    (void)state;
    check(samples, COUNT(samples), false);
    assert_true(glob_match(view_of(NULL, 0), view_of(NULL, 0), false));
}

static void sets(void **state)
{
    static const struct sample samples[] = {
        {"[abc]", "b", true},       {"[abc]", "d", false},
        {"[^abc]", "d", true},      {"[^abc]", "a", false},
        {"[a-c]x", "bx", true},     {"[c-a]x", "bx", true}, /* a reversed range */
        {"[a-c]", "-", false},      {"[-a]", "-", true},
        {"[a-]", "a", true}, /* a range up to ']', and the set stays open */
        {"[a-]", "^", true},        {"[a-]", "-", false},
        {"[a-]b]", "b", true},      {"[]", "]", false}, /* ']' first closes */
        {"[]a]", "a", false},       {"[]a]", "]", false},
        {"[^]", "x", true},         {"[^]b", "ab", true},
        {"[a^]", "^", true},        {"[^^]", "^", false},
        {"[*]", "*", true},         {"[*]", "a", false},
        {"[?]", "a", false},        {"*[ab]", "xxb", true},
        {"*[ab]*c", "xxbyc", true},
    };

    (void)state;
    check(samples, COUNT(samples), false);
}

static void open_sets(void **state)
{
    static const struct sample samples[] = {
        {"[", "[", false},   {"[", "a", false},   {"[ab", "a", true},  {"[ab", "b", true},   {"[ab", "ab", false},
        {"[^", "a", true},   {"[^", "^", true},   {"[^ab", "c", true}, {"[^ab", "a", false}, {"[a-", "-", true},
        {"[a-", "b", false}, {"[a-c", "b", true}, {"[ab*", "*", true}, {"a*[", "ab", false}, {"[\\", "\\", true},
    };

    (void)state;
    check(samples, COUNT(samples), false);
}

static void escapes(void **state)
{
    static const struct sample samples[] = {
        {"\\*", "*", true},      {"\\*", "a", false},    {"\\a", "a", true},
        {"a\\", "a\\", true}, /* a '\' that ends the pattern stands for itself */
        {"\\\\", "\\", true},    {"\\[a]", "[a]", true}, {"[\\]]", "]", true},
        {"[\\]]", "\\", false},  {"[\\a-c]", "a", true}, /* an escaped byte starts no range: a, -, c */
        {"[\\a-c]", "b", false}, {"[\\a-c]", "-", true}, {"[a-\\]", "b", false}, /* '\' as a range's end */
        {"[a-\\]", "]", true},
    };

    (void)state;
    check(samples, COUNT(samples), false);
}

static void ignoring_case(void **state)
{
    static const struct sample samples[] = {
        {"MAX*", "maxmemory", true}, {"max?EMORY", "MAXMEMORY", true},
        {"[M]ax", "max", true},      {"[^M]ax", "max", false},
        {"[A-Z]", "q", true},        {"[a-z]", "Q", true},
        {"[Z-a]", "q", false}, /* in order already, and folded to z-a */
        {"[a-Z]", "q", false}, /* put in order to Z-a before */
        {"[\\M]ax", "max", false},   {"[\\m]ax", "max", true},
        {"\\MAX", "max", true},
    };

    (void)state;
    check(samples, COUNT(samples), true);
    assert_false(matches("MAX*", "maxmemory", false));
}

static void all_bytes(void **state)
{
    (void)state;
    assert_true(glob_match(VIEW("a?c"), VIEW("a\0c"), false));
    assert_true(glob_match(VIEW("*\0*"), VIEW("a\0c"), false));
    assert_false(glob_match(VIEW("a\0"), VIEW("a"), false));
    assert_true(matches("[\x80-\xff]", "\x90", false));
    /* Bytes compare as signed: from 0xff (-1) to 'a' there is ASCII between, not 0x80 to 0xfe. */
    assert_true(matches("[a-\xff]", "A", false));
    assert_false(matches("[a-\xff]", "\x90", false));
}

/* Exponential matchers do not come back from this. */
static void many_stars(void **state)
{
    enum { STARS = 5000, TEXT = 20000 };
    char *pattern = malloc(2 * STARS + 1), *text = malloc(TEXT);

    (void)state;
    memset(text, 'a', TEXT);
    for (size_t i = 0; i < STARS; i++)
        memcpy(pattern + 2 * i, "*a", 2);
    pattern[2 * STARS] = 'b';
    assert_false(glob_match(view_of(pattern, 2 * STARS + 1), view_of(text, TEXT), false));
    assert_true(glob_match(view_of(pattern, 2 * STARS), view_of(text, TEXT), false));
    free(pattern);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stars),     cmocka_unit_test(nothing),    cmocka_unit_test(sets),
        cmocka_unit_test(open_sets), cmocka_unit_test(escapes),    cmocka_unit_test(ignoring_case),
        cmocka_unit_test(all_bytes), cmocka_unit_test(many_stars),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
