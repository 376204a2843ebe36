/* Messages to a worker: order, the eventfd, and many posters. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <pthread.h>

#include "engine/net/inbox.h"

#define POSTERS 4
#define POSTS 20000

static bool readable(struct inbox *in, int timeout_ms)
{
    struct pollfd p = {in->eventfd, POLLIN, 0};

    return poll(&p, 1, timeout_ms) == 1;
}

static void test_order_and_room(void **state)
{
    const struct message *messages;
    struct inbox in;

    (void)state;
    inbox_init(&in);
    assert_false(readable(&in, 0));
    for (int round = 0; round < 3; round++) {
        int n = round == 1 ? 5000 : 3;
        for (int i = 0; i < n; i++)
            inbox_post(&in, (struct message){MESSAGE_KILL, i, (uint64_t)round});
        assert_true(readable(&in, 0));
        assert_int_equal(inbox_take(&in, &messages), n);
        for (int i = 0; i < n; i++) {
            assert_int_equal(messages[i].fd, i);
            assert_int_equal(messages[i].id, round);
        }
        assert_false(readable(&in, 0));
        assert_int_equal(inbox_take(&in, &messages), 0);
    }
    inbox_free(&in);
}

static void *post_many(void *arg)
{
    for (int i = 0; i < POSTS; i++)
        inbox_post(arg, (struct message){MESSAGE_RESUME, i, 0});
    return NULL;
}

/* The reader sleeps whenever it has taken all: every message must wake it. */
static void test_nothing_is_slept_over(void **state)
{
    const struct message *messages;
    pthread_t threads[POSTERS];
    struct inbox in;
    size_t n = 0;

    (void)state;
    inbox_init(&in);
    for (int i = 0; i < POSTERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, post_many, &in), 0);
    while (n < POSTERS * POSTS) {
        assert_true(readable(&in, 10000));
        n += inbox_take(&in, &messages);
    }
    for (int i = 0; i < POSTERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(n, POSTERS * POSTS);
    inbox_free(&in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_and_room),
        cmocka_unit_test(test_nothing_is_slept_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
