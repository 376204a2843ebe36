/* base/copy.h */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/copy.h"

static void test_copies_every_length_and_nothing_more(void **state)
{
    char from[COPY_SHORT_MAX], to[COPY_SHORT_MAX + 2];

    (void)state;
    for (size_t i = 0; i < sizeof from; i++)
        from[i] = (char)(i + 1);
    for (size_t n = 0; n <= COPY_SHORT_MAX; n++) {
        memset(to, 0, sizeof to);
        copy_short(to + 1, from, n);
        assert_memory_equal(to + 1, from, n);
        assert_int_equal(to[0], 0);
        assert_int_equal(to[1 + n], 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copies_every_length_and_nothing_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
