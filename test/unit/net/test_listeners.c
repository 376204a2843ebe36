/* The set of listening sockets: what stays, what goes, and who closes it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/net/listeners.h"

struct fixture {
    struct config *config;
    struct listeners ls;
    char err[256];
};

static int port_of(int fd)
{
    struct sockaddr_in sa;
    socklen_t len = sizeof sa;

    assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
    return ntohs(sa.sin_port);
}

/* Is somebody listening there? */
static bool reachable(const char *host, int port)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    bool ok;

    inet_pton(AF_INET, host, &sa.sin_addr);
    ok = connect(fd, (struct sockaddr *)&sa, sizeof sa) == 0;
    close(fd);
    return ok;
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) != -1;
}

static int set(struct fixture *f, const char *bind, int port)
{
    char text[256], err[256];

    snprintf(text, sizeof text, "bind %s\nport %d\n", bind, port);
    assert_int_equal(config_load_text(f->config, view_str(text), "t.conf", err, sizeof err), 0);
    return listeners_open(&f->ls, f->config, f->err, sizeof f->err);
}

static int setup(void **state)
{
    static struct fixture f;
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int probe = socket(AF_INET, SOCK_STREAM, 0);

    f.config = config_new();
    listeners_init(&f.ls);
    assert_int_equal(bind(probe, (struct sockaddr *)&any, sizeof any), 0);
    assert_int_equal(config_load_text(f.config, VIEW("bind 127.0.0.1\n"), "t.conf", f.err, sizeof f.err), 0);
    f.config->port = port_of(probe);
    close(probe);
    assert_int_equal(set(&f, "127.0.0.1", (int)f.config->port), 0);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    listeners_close(&f->ls, f->config);
    config_free(f->config);
    return 0;
}

static void test_the_last_watcher_closes(void **state)
{
    struct fixture *f = *state;
    struct listener *first[LISTENERS_MAX], *second[LISTENERS_MAX], *now[LISTENERS_MAX];
    int port = (int)f->config->port, fd;

    assert_int_equal(listeners_watch(&f->ls, first), 1);
    assert_int_equal(listeners_watch(&f->ls, second), 1);
    fd = first[0]->fd;

    assert_int_equal(set(f, "127.0.0.2", port), 0);
    assert_false(reachable("127.0.0.1", port));
    assert_true(reachable("127.0.0.2", port));
    assert_true(is_open(fd));
    assert_int_equal(set(f, "127.0.0.1", port), 0); /* nobody has seen that it was gone */
    assert_true(reachable("127.0.0.1", port));
    assert_false(reachable("127.0.0.2", port));

    assert_int_equal(listeners_watch(&f->ls, now), 1);
    assert_ptr_not_equal(now[0], first[0]);
    assert_int_not_equal(now[0]->fd, fd);
    listeners_unwatch(&f->ls, first, 1);
    assert_true(is_open(fd));
    listeners_unwatch(&f->ls, second, 1);
    assert_false(is_open(fd));
    assert_true(reachable("127.0.0.1", port));
    listeners_unwatch(&f->ls, now, 1);
    assert_true(reachable("127.0.0.1", port));
}

static void test_what_stays_is_not_opened_again(void **state)
{
    struct fixture *f = *state;
    struct listener *before[LISTENERS_MAX], *after[LISTENERS_MAX];
    int port = (int)f->config->port;

    assert_int_equal(listeners_watch(&f->ls, before), 1);
    assert_int_equal(set(f, "127.0.0.2 127.0.0.1", port), 0);
    assert_int_equal(listeners_watch(&f->ls, after), 2);
    assert_ptr_equal(after[1], before[0]);
    listeners_unwatch(&f->ls, before, 1);
    listeners_unwatch(&f->ls, after, 2);
}

static void test_a_failure_changes_nothing(void **state)
{
    struct fixture *f = *state;
    struct listener *before[LISTENERS_MAX], *after[LISTENERS_MAX];
    int port = (int)f->config->port;

    assert_int_equal(listeners_watch(&f->ls, before), 1);
    assert_int_equal(set(f, "127.0.0.1 127.0.0.2 192.0.2.1", port), -1);
    assert_non_null(strstr(f->err, "192.0.2.1"));
    assert_int_equal(listeners_watch(&f->ls, after), 1);
    assert_ptr_equal(after[0], before[0]);
    assert_true(reachable("127.0.0.1", port));
    assert_false(reachable("127.0.0.2", port));
    listeners_unwatch(&f->ls, before, 1);
    listeners_unwatch(&f->ls, after, 1);
}

/* ---- passed ones ---- */

/* A listening socket, and one more descriptor of it. */
static int passed(int *kept)
{
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&any, sizeof any), 0);
    assert_int_equal(listen(fd, 8), 0);
    *kept = dup(fd);
    return fd;
}

static int connect_to(int port)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    inet_pton(AF_INET, "127.0.0.1", &sa.sin_addr);
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    return fd;
}

/* How many listeners that epoll has that are readable. */
static int readable(int epoll)
{
    struct epoll_event events[8];

    return epoll_wait(epoll, events, 8, 0);
}

static void test_withdrawn_means_deaf_at_once(void **state)
{
    struct fixture *f = *state;
    struct listener *watched[LISTENERS_MAX];
    struct sockaddr_storage peer;
    int kept, fd = passed(&kept), epoll = epoll_create1(0), client, accepted, back;
    unsigned n;

    listeners_add_epoll(&f->ls, epoll);
    assert_int_equal(listeners_pass(&f->ls, VIEW("primary"), fd, f->err, sizeof f->err), 0);
    n = listeners_watch(&f->ls, watched);
    assert_int_equal(n, 2);
    for (unsigned i = 0; i < n; i++)
        listeners_hear(&f->ls, watched[i], epoll, NULL);
    client = connect_to(port_of(kept));
    assert_int_equal(readable(epoll), 1);

    assert_int_equal(listeners_withdraw(&f->ls, VIEW("primary"), &back), 0);
    assert_int_equal(readable(epoll), 0);
    for (unsigned i = 0; i < n; i++) {
        listeners_hear(&f->ls, watched[i], epoll, NULL); /* as a worker does that has not heard of it yet */
        assert_int_equal(listener_accept(watched[i], &peer), -1);
        assert_int_equal(errno, EAGAIN);
    }
    assert_int_equal(readable(epoll), 0);
    assert_true(is_open(fd)); /* a worker may still take the number for the listener */
    listeners_unwatch(&f->ls, watched, n);
    assert_false(is_open(fd));

    accepted = accept(back, NULL, NULL);
    assert_true(accepted >= 0);
    close(accepted);
    close(client);
    close(back);
    assert_true(reachable("127.0.0.1", port_of(kept)));
    close(kept);
    close(epoll);
    assert_int_equal(listeners_withdraw(&f->ls, VIEW("primary"), NULL), -ENOENT);
}

static void test_cut_finds_those_that_left(void **state)
{
    struct fixture *f = *state;
    struct listener *watched[LISTENERS_MAX], *first;
    struct sockaddr_storage peer;
    int kept, fd = passed(&kept), client, accepted;

    assert_int_equal(listeners_pass(&f->ls, VIEW("primary"), fd, f->err, sizeof f->err), 0);
    assert_false(listeners_cut(&f->ls, VIEW("primary"))); /* it is in use */
    assert_int_equal(listeners_watch(&f->ls, watched), 2);
    first = watched[0]->passed ? watched[0] : watched[1];
    client = connect_to(port_of(kept));
    accepted = listener_accept(first, &peer);
    assert_true(accepted >= 0);
    assert_int_equal(atomic_load(&first->accepted), 1);
    listeners_unwatch(&f->ls, watched, 2);
    assert_int_equal(listeners_withdraw(&f->ls, VIEW("primary"), NULL), 0);
    assert_false(is_open(fd));

    assert_int_equal(listeners_pass(&f->ls, VIEW("primary"), dup(kept), f->err, sizeof f->err), 0);
    assert_false(atomic_load(&first->cut));
    assert_true(listeners_cut(&f->ls, VIEW("primary")));
    assert_true(atomic_load(&first->cut));
    listener_release(&f->ls, first);
    assert_false(listeners_cut(&f->ls, VIEW("primary")));
    assert_int_equal(listeners_watch(&f->ls, watched), 2);
    for (unsigned i = 0; i < 2; i++)
        assert_false(atomic_load(&watched[i]->cut));
    listeners_unwatch(&f->ls, watched, 2);
    close(accepted);
    close(client);
    close(kept);
}

static void test_nobody_is_not_everybody(void **state)
{
    struct fixture *f = *state;
    struct sockaddr_storage peer = {0};
    struct sockaddr_in *sa = (struct sockaddr_in *)&peer;
    struct config_cidr block;

    sa->sin_family = AF_INET;
    inet_pton(AF_INET, "10.1.2.3", &sa->sin_addr);
    assert_true(listeners_allowed(&f->ls, &peer));
    assert_true(config_parse_cidr(VIEW("10.1.2.0/24"), &block));
    listeners_restrict(&f->ls, &block, 1, 0, false);
    assert_true(listeners_allowed(&f->ls, &peer));
    listeners_restrict(&f->ls, &block, 0, 0, false);
    assert_false(listeners_allowed(&f->ls, &peer));
    peer.ss_family = AF_UNIX;
    assert_true(listeners_allowed(&f->ls, &peer));
    assert_int_equal(listeners_allow(&f->ls, f->config, f->err, sizeof f->err), 0); /* which says nothing */
    peer.ss_family = AF_INET;
    assert_true(listeners_allowed(&f->ls, &peer));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_last_watcher_closes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_stays_is_not_opened_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_failure_changes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_withdrawn_means_deaf_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cut_finds_those_that_left, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nobody_is_not_everybody, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
