/* The generated tables: every service has all that they must have, and what it declares is found. */
#include "control/shape/service.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "api_ec2.h"
#include "api_elasticache.h"
#include "api_sts.h"

#define SERVICES 3

static const struct service *const all[SERVICES] = {&elasticache_service, &ec2_service, &sts_service};

static void actions_are_found(void **state)
{
    (void)state;
    for (size_t i = 0; i < SERVICES; i++) {
        for (size_t k = 0; k < all[i]->action_count; k++)
            assert_ptr_equal(service_find_action(all[i], all[i]->actions[k].name), &all[i]->actions[k]);
        assert_null(service_find_action(all[i], VIEW("")));
        assert_null(service_find_action(all[i], VIEW("A")));
        assert_null(service_find_action(all[i], VIEW("DescribeVpcsX")));
        assert_null(service_find_action(all[i], VIEW("zzz")));
    }
}

static void every_error_has_a_code_and_a_status(void **state)
{
    (void)state;
    for (size_t i = 0; i < SERVICES; i++) {
        assert_true(all[i]->error_count >= SERVICE_COMMON_ERRORS);
        for (int error = SERVICE_OK + 1; (size_t)error < all[i]->error_count; error++) {
            const struct service_error_code *code = service_error(all[i], error);

            assert_true(code->code[0] != '\0' && code->status >= 400 && code->status < 600);
        }
    }
    assert_string_equal(service_error(&ec2_service, SERVICE_UNSUPPORTED)->code, "UnsupportedOperation");
    assert_string_equal(service_error(&ec2_service, EC2_INVALID_SUBNET_ID_NOT_FOUND)->code, "InvalidSubnetID.NotFound");
    assert_int_equal(service_error(&elasticache_service, ELASTICACHE_CACHE_CLUSTER_NOT_FOUND)->status, 404);
}

static const struct service_action *find(const struct service *s, const char *name)
{
    const struct service_action *a = service_find_action(s, view_str(name));

    assert_non_null(a);
    return a;
}

static void actions_are_described(void **state)
{
    (void)state;
    assert_false(service_action_ready(find(&elasticache_service, "CreateUser")));
    assert_int_equal(find(&elasticache_service, "DescribeEvents")->dry_run, -1);
    assert_int_equal(find(&ec2_service, "DeleteVpc")->dry_run, offsetof(struct delete_vpc_request, dry_run));
    assert_int_equal(find(&ec2_service, "DescribeVpcs")->flags, SERVICE_READ_ONLY);
    assert_null(find(&elasticache_service, "CreateUser")->request);
    assert_null(find(&elasticache_service, "DeleteCacheSubnetGroup")->result);
    assert_int_equal(find(&sts_service, "AssumeRoleWithWebIdentity")->flags, SERVICE_UNSIGNED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(actions_are_found),
        cmocka_unit_test(every_error_has_a_code_and_a_status),
        cmocka_unit_test(actions_are_described),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
