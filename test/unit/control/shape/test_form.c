/* Decoding of forms, their order, and their bounds. */
#include "control/shape/form.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"

static struct arena arena;

static int reset(void **state)
{
    (void)state;
    arena_reset(&arena);
    return 0;
}

static enum form_result decode(struct form *f, const char *text)
{
    struct view culprit;
    return form_decode(f, &arena, view_str(text), &culprit);
}

static void assert_value(const struct form *f, const char *name, const char *value)
{
    struct view v = form_get(f, view_str(name));

    assert_non_null(v.p);
    assert_true(view_equal(v, view_str(value)));
}

static void escapes(void **state)
{
    struct form f = {0};

    (void)state;
    assert_int_equal(decode(&f, "a=1+2&b%2Ec=%26%3d%2B%c3%A9&&d&e=&f=a=b&"), FORM_OK);
    assert_int_equal(f.count, 5);
    assert_value(&f, "a", "1 2");
    assert_value(&f, "b.c", "&=+\xc3\xa9");
    assert_value(&f, "d", "");
    assert_value(&f, "e", "");
    assert_value(&f, "f", "a=b");
    assert_null(form_get(&f, VIEW("b")).p);
    assert_null(form_get(&f, VIEW("")).p);
    assert_null(form_get(&(struct form){0}, VIEW("a")).p);
}

static void malformed(void **state)
{
    static const char *const texts[] = {"a=%", "a=%4", "a=%4g", "a=%g4", "a%=1", "=1", "a=1&=2", "a=1&b=%1"};
    struct form f = {0};

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        assert_int_equal(decode(&f, texts[i]), FORM_MALFORMED);
    assert_int_equal(f.count, 0);
    assert_int_equal(decode(&f, ""), FORM_OK);
    assert_int_equal(decode(&f, "&&&"), FORM_OK);
    assert_int_equal(f.count, 0);
}

static void sorted_with_the_dot_first(void **state)
{
    static const char *const names[] = {"T", "T.a", "T.a.b", "T.a-b", "T.b", "T-a", "T1"};
    struct form f = {0};

    (void)state;
    assert_int_equal(decode(&f, "T1=&T-a=&T.b=&T.a-b=&T.a.b=&T.a=&T="), FORM_OK);
    assert_int_equal(f.count, 7);
    for (size_t i = 0; i < f.count; i++)
        assert_true(view_equal(f.params[i].name, view_str(names[i])));
}

static void added_to(void **state)
{
    struct form f = {0};
    struct view culprit;

    (void)state;
    assert_int_equal(decode(&f, "b=1"), FORM_OK);
    assert_int_equal(decode(&f, "a=2&c=3"), FORM_OK);
    assert_int_equal(f.count, 3);
    assert_value(&f, "b", "1");
    assert_int_equal(form_decode(&f, &arena, VIEW("x=1&%62=1"), &culprit), FORM_DUPLICATE);
    assert_true(view_equal(culprit, VIEW("b")));
    assert_int_equal(f.count, 3);
}

static void bounds(void **state)
{
    struct form f = {0};
    struct buf b = {0};
    struct view culprit;

    (void)state;
    for (int i = 0; i < FORM_PARAMS_MAX; i++)
        buf_printf(&b, "%sp%d=", i > 0 ? "&" : "", i);
    assert_int_equal(form_decode(&f, &arena, buf_view(&b), &culprit), FORM_OK);
    assert_int_equal(f.count, FORM_PARAMS_MAX);
    assert_int_equal(decode(&f, "more=1"), FORM_TOO_MANY);
    f = (struct form){0};
    buf_printf(&b, "&last=");
    assert_int_equal(form_decode(&f, &arena, buf_view(&b), &culprit), FORM_TOO_MANY);
    buf_clear(&b);
    for (int i = 0; i < FORM_NAME_MAX; i++)
        buf_put_char(&b, 'n');
    assert_int_equal(form_decode(&f, &arena, buf_view(&b), &culprit), FORM_OK);
    buf_put_char(&b, 'n');
    assert_int_equal(form_decode(&f, &arena, buf_view(&b), &culprit), FORM_TOO_MANY);
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(escapes, reset),
        cmocka_unit_test_setup(malformed, reset),
        cmocka_unit_test_setup(sorted_with_the_dot_first, reset),
        cmocka_unit_test_setup(added_to, reset),
        cmocka_unit_test_setup(bounds, reset),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    arena_free(&arena);
    return failed;
}
