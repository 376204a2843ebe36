/* Error lines: how a message becomes one, whatever a client put into it. */
#include "unit/support.h"

#include "engine/cmd/reply.h"

struct fixture {
    struct reply reply; /* first: the operations get a pointer to it */
    char text[2 * ERROR_LINE_MAX];
    size_t n;
    unsigned told;
};

static void keep(struct reply *r, const char *p, size_t n)
{
    struct fixture *f = (struct fixture *)r;

    assert_in_range(n, 1, sizeof f->text - 1);
    memcpy(f->text, p, n);
    f->text[n] = '\0';
    f->n = n;
}

static void tell(void *arg, struct view text)
{
    struct fixture *f = arg;

    assert_int_equal(text.n > 0, 1);
    f->told++;
}

static void init(struct fixture *f)
{
    static const struct reply_ops ops = {.error = keep};

    *f = (struct fixture){.reply = {.ops = &ops}};
}

static void test_arguments_are_filled_in(void **state)
{
    struct fixture f;

    (void)state;
    init(&f);
    reply_error(&f.reply, ERROR_EXPIRE_OPTION, ERROR_SHOWN(VIEW("a\r\nb")));
    assert_string_equal(f.text, "ERR Unsupported option a  b");
    reply_error(&f.reply, ERROR_EXPIRE_OPTION, ERROR_SHOWN(view_of(NULL, 0)));
    assert_string_equal(f.text, "ERR Unsupported option ");
    reply_error_text(&f.reply, "ERR 100%s\n");
    assert_string_equal(f.text, "ERR 100%s ");
    assert_int_equal(f.reply.errors, 3);
}

static void test_long_arguments_are_cut(void **state)
{
    static char bytes[4 * ERROR_LINE_MAX];
    struct fixture f;

    (void)state;
    init(&f);
    memset(bytes, 'x', sizeof bytes);
    /* A length that an int does not hold; what is shown is all that is read. */
    reply_error(&f.reply, ERROR_EXPIRE_OPTION, ERROR_SHOWN(view_of(bytes, (size_t)3 << 30)));
    assert_int_equal(f.n, ERROR_LINE_MAX - 1);
    assert_int_equal(f.text[f.n - 1], 'x');
}

static void test_errors_are_told(void **state)
{
    struct fixture f;

    (void)state;
    init(&f);
    f.reply.on_error = tell;
    f.reply.on_error_arg = &f;
    reply_error(&f.reply, ERROR_SYNTAX);
    reply_error(&f.reply, ERROR_WRONGTYPE);
    assert_int_equal(f.told, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arguments_are_filled_in),
        cmocka_unit_test(test_long_arguments_are_cut),
        cmocka_unit_test(test_errors_are_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
