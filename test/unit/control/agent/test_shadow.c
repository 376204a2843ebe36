/* Shadows, and who is in the way of an address. */
#include "control/agent/shadow.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control/agent/endpoint.h"
#include "base/holder.h"

/* Of four shadows; where no service claims any, and other runs of this test claim others. */
static struct shadow_pool pool;

static int choose_pool(void **state)
{
    (void)state;
    pool = (struct shadow_pool){0x7f800000u + ((uint32_t)getpid() % 32 << 18), 14};
    return 0;
}

static void test_pool(void **state)
{
    static const char *const wrong[] = {"",
                                        "127.64.0.0",
                                        "127.64.0.0/",
                                        "127.64.0.0/17",
                                        "127.64.0.0/7",
                                        "127.64.0.0/8",
                                        "127.64.0/10",
                                        "127.64.0.0/10 ",
                                        "127.64.0.1/10",
                                        "127.64.0.0/100",
                                        "::1/10"};
    struct shadow_pool p;

    (void)state;
    assert_true(shadow_pool_parse("127.64.0.0/10", &p));
    assert_int_equal(p.base, SHADOW_POOL_BASE);
    assert_int_equal(p.prefix, SHADOW_POOL_PREFIX);
    assert_int_equal(shadow_pool_count(&p), 64);
    assert_true(shadow_pool_parse("127.9.0.0/16", &p));
    assert_int_equal(shadow_pool_count(&p), 1);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(shadow_pool_parse(wrong[i], &p));
}

static void test_claims(void **state)
{
    struct shadow *s[5];

    (void)state;
    assert_int_equal(shadow_claim(&pool, 4, &s[0]), -EINVAL);
    assert_int_equal(shadow_claim(&pool, 2, &s[0]), 0);
    assert_int_equal(shadow_index(s[0]), 2);
    assert_int_equal(shadow_base(s[0]), pool.base + 0x20000);
    assert_int_equal(shadow_claim(&pool, 2, &s[1]), 0);
    assert_int_equal(shadow_index(s[1]), 3);
    assert_int_equal(shadow_claim(&pool, 2, &s[2]), 0);
    assert_int_equal(shadow_index(s[2]), 0);
    assert_int_equal(shadow_claim(&pool, 1, &s[3]), 0);
    assert_int_equal(shadow_index(s[3]), 1);
    assert_int_equal(shadow_claim(&pool, 1, &s[4]), -EADDRINUSE);
    assert_null(s[4]);
    shadow_release(s[1]);
    assert_int_equal(shadow_claim(&pool, 1, &s[1]), 0);
    assert_int_equal(shadow_index(s[1]), 3);
    for (unsigned i = 0; i < 4; i++)
        shadow_release(s[i]);
    shadow_release(NULL);
}

static void test_addresses(void **state)
{
    const uint32_t vpc = 0xac1f0000u; /* 172.31.0.0 */
    struct shadow *s;
    uint32_t a;

    (void)state;
    assert_int_equal(shadow_claim(&pool, 0, &s), 0);
    assert_int_equal(shadow_of(s, vpc + 13 * 256 + 5), shadow_base(s) + 13 * 256 + 5);
    assert_true(shadow_resolve(s, vpc, 16, shadow_base(s) + 0xffff, &a));
    assert_int_equal(a, vpc + 0xffff);
    assert_false(shadow_resolve(s, vpc, 16, shadow_base(s) + 0x10000, &a));
    assert_false(shadow_resolve(s, vpc, 16, vpc, &a));
    assert_true(shadow_resolve(s, vpc + 0x8000, 20, shadow_base(s) + 0x8fff, &a));
    assert_int_equal(a, vpc + 0x8fff);
    assert_false(shadow_resolve(s, vpc + 0x8000, 20, shadow_base(s) + 0x9000, &a));
    shadow_release(s);
}

static void test_the_holder_is_named(void **state)
{
    char error[ENDPOINT_ERROR_MAX], expected[128], who[HOLDER_TEXT_MAX];
    struct sockaddr_in nobody = {.sin_family = AF_INET, .sin_port = htons(1)};
    struct endpoint *all, *one;

    (void)state;
    assert_int_equal(endpoint_open("0.0.0.0", 0, false, &all, error), 0);
    assert_int_equal(endpoint_open("127.0.0.7", endpoint_port(all), false, &one, error), -EADDRINUSE);
    assert_null(one);
    snprintf(expected, sizeof expected, "process %d (", (int)getpid());
    assert_non_null(strstr(error, expected));
    snprintf(expected, sizeof expected, "listens at 0.0.0.0:%u", endpoint_port(all));
    assert_non_null(strstr(error, expected));
    endpoint_free(all);
    endpoint_free(NULL);
    assert_int_equal(endpoint_open("127.0.0", 0, false, &one, error), -EINVAL);
    assert_int_equal(endpoint_open("192.0.2.1", 0, false, &one, error), -EADDRNOTAVAIL);
    assert_false(holder_find(&nobody, who, sizeof who));
    assert_string_equal(who, "");
}

static void test_ipv6_is_in_the_way_too(void **state)
{
    struct sockaddr_in6 any = {.sin6_family = AF_INET6};
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t len = sizeof any;
    char who[HOLDER_TEXT_MAX];
    int fd = socket(AF_INET6, SOCK_STREAM, 0), off = 0;

    (void)state;
    if (fd < 0 || setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) != 0 ||
        bind(fd, (struct sockaddr *)&any, sizeof any) != 0 || listen(fd, 1) != 0 ||
        getsockname(fd, (struct sockaddr *)&any, &len) != 0) {
        close(fd);
        skip();
    }
    at.sin_port = any.sin6_port;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_true(holder_find(&at, who, sizeof who));
    assert_non_null(strstr(who, "listens at [::]:"));
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pool),
        cmocka_unit_test(test_claims),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_the_holder_is_named),
        cmocka_unit_test(test_ipv6_is_in_the_way_too),
    };

    return cmocka_run_group_tests(tests, choose_pool, NULL);
}
